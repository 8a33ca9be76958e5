"""A market of named people for the tests of settlement: the real engine, settlement's own state, and tables to compare.

    market = Market("ana bert carl")
    market.trade("ana sells 1 to bert at 2.00")
    market.end_hour()
    market.deliver("all")
    assert market.money() == table(...)

After every record the ledger is held against the engine (M7), and every batch is stored and loaded again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

import msgspec

from schemas import commands as cmd
from schemas import requests as rq
from schemas.codec import EventsRecord
from schemas.commands import Fees, Ground, Role, Side, Tif
from schemas.delivery import Delivered, Refund
from schemas.events import Event, OutboxSkipped, Rejected
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, format_usd, parse_usd
from services.matching.engine import Engine
from services.settlement import deliveries, events, requests, rows
from services.settlement.backing import BackingBook
from services.settlement.ledger import (
    CLEARING,
    COLLATERAL,
    ESCROW,
    EXTERNAL,
    NOVATION,
    TITLES,
    TRADING,
    TRANSIT,
    TREASURY,
    USD,
    WALLET,
)
from services.settlement.state import Batch, State, decode_outbox
from tests.settlement.dict_store import DictStore

T0 = 1_790_000_000_000 // MS_PER_HOUR * MS_PER_HOUR
HOUR = T0 // MS_PER_HOUR + 2
CONTRACT = contract_of(1, HOUR)
RICH = 10**12


class Market:
    """One or more shards with one class each; contract `CONTRACT` is traded unless another is named."""

    def __init__(
        self, names: str = "", *, shards: int = 1, money: str = "1000.00", fees: Fees | None = None, version: int = 1
    ) -> None:
        self.store = DictStore()
        self.state = State(shards)
        self.engines = [Engine() for _ in range(shards)]
        self.seqs = [0] * shards
        self.stamps = [T0] * shards
        self.offsets: defaultdict[str, int] = defaultdict(int)
        self.numbers: dict[str, int] = {}
        self.said: list[Event] = []
        """Events of the last record."""
        for shard in range(shards):
            self.command(cmd.StartShard(shard, version, T0), shard=shard)
        for shard in range(shards):
            self.ask(
                rq.ListClass(
                    f"class-{shard}",
                    shard,
                    f"TEST.{shard}",
                    b"name = 'TEST'",
                    1,
                    1,
                    2_000_000,
                    fees or Fees(),
                    48,
                    collar_low_bp=1,
                    collar_high_bp=100_000,
                )
            )
        for name in names.split():
            self.open(name, money=money)

    def open(self, name: str, *, money: str = "1000.00", backing: int = 1000, role: int = Role.PROVIDER) -> int:
        """A member with money in shard 0 and, as a provider, declared machines for the traded hour."""
        self.ask(rq.OpenAccount(f"open-{name}", 0, name, role))
        number = self.numbers[name] = self.state.last("account")
        if amount := parse_usd(money):
            self.ask(rq.Deposit(f"deposit-{name}", number, amount, "simulated-faucet", name))
            self.ask(rq.ToTrading(f"to-{name}", number, 0, amount))
        if backing and role == Role.PROVIDER:
            self.back(name, Ground.DECLARED, backing)
        return number

    def back(
        self, name: str, ground: int, qty: int, price: int = 0, version: int = 1, hours: Sequence[int] = (HOUR,)
    ) -> str:
        """Absolute backing; the request's state."""
        request_id = f"back-{name}-{ground}-{version}-{hours[0]}"
        return self.ask(rq.Back(request_id, self.numbers[name], 1, tuple(hours), ground, qty, price, version)).state

    # --- What goes in --------------------------------------------------------------------------------------

    def ask(self, request: rq.Request) -> rows.RequestRow:
        """A request, settled to its end; its row."""
        self.tell(msgspec.msgpack.encode(request))
        self.carry()
        return self.store.request(request.request_id)

    def tell(self, value: bytes) -> str:
        """A record of `requests`; the code of its refusal."""
        offset = self._offset("requests")
        asked = requests.decode(offset, T0, value)
        ids, refs = requests.ids([asked])
        code = requests.take(self.state, asked, requests.Known(self.store.digests(ids), self.store.deposits(refs)))
        self._commit(rows.Cursor("requests", 0, offset + 1, b"h", 0, b"", T0))
        return code

    def carry(self) -> None:
        """Bring every message of the outbox to its shard, and settle what the shard says."""
        for shard in self.state.shards:
            while shard.unconfirmed:
                bodies = list(shard.unconfirmed.values())[:64]
                self.command(*(decode_outbox(row.body) for row in bodies), shard=shard.number)

    def command(self, *commands: cmd.Command, shard: int = 0, stamp_ms: int = 0) -> list[Event]:
        """A frame into a shard; its events, settled."""
        self.stamps[shard] = max(self.stamps[shard] + 1, stamp_ms)
        offset = self._offset(f"commands-{shard}")
        said = self.engines[shard].apply(offset, self.stamps[shard], commands)
        self.settle(said, shard=shard)
        assert not any(isinstance(event, OutboxSkipped) for event in said), said
        self.said = said
        return said

    def settle(self, said: list[Event], *, shard: int = 0) -> Batch:
        """Events of one record → one batch."""
        self.seqs[shard] += 1
        time_ms, offset = self.engines[shard].time_ms, self._offset(f"events-{shard}")
        record = EventsRecord(1, shard, self.seqs[shard], offset, 0, True, time_ms, 1, 1, said)
        events.settle(self.state, record)
        batch = self._commit(rows.Cursor("events", shard, offset + 1, b"h", self.seqs[shard], bytes(16), time_ms))
        check(self.state, self.engines)
        return batch

    def order(
        self, name: str, side: int, qty: int, price: int, *, tif: int = Tif.GTC, contract: int = CONTRACT
    ) -> list[Event]:
        """An order of a person."""
        valid = self.engines[0].time_ms + 60_000
        return self.command(cmd.PlaceOrder(self.numbers[name], contract, side, qty, price, tif, 0, "", valid))

    def trade(self, sentence: str, contract: int = CONTRACT) -> None:
        """`ana sells 2 to bert at 2.00`: an ask, and a bid that takes it."""
        match = re.fullmatch(r"(\w+) sells (\d+) to (\w+) at ([0-9.]+)", sentence)
        assert match is not None, sentence
        seller, qty, buyer, price = match[1], int(match[2]), match[3], parse_usd(match[4])
        for name, side in ((seller, Side.SELL), (buyer, Side.BUY)):
            said = self.order(name, side, qty, price, contract=contract)
            refused = [event for event in said if isinstance(event, Rejected)]
            assert not refused, f"{sentence}: {refused}"
        assert not self.engines[0].orders, f"{sentence}: something rests in the book"

    def tick(self, until_ms: int, shard: int = 0) -> list[Event]:
        return self.command(cmd.Tick(until_ms), shard=shard, stamp_ms=until_ms)

    def at_minute(self, minute: int) -> list[Event]:
        """Of the traded hour, and a moment before it: each record takes a millisecond."""
        return self.tick(HOUR * MS_PER_HOUR + minute * MS_PER_MINUTE - 50)

    def end_hour(self, hour: int = HOUR) -> None:
        self.tick((hour + 1) * MS_PER_HOUR)

    def deliver(
        self,
        which: str | int,
        undelivered: int = 0,
        contract: int = CONTRACT,
        source: str = "simulated",
        allowance: int = 0,
        moved: int = 0,
        refunds: dict[str, int] | None = None,
    ) -> str:
        """A delivery record of title `which` or of `all`; the code of its refusal. `refunds`: name (or number) → GPU-minutes."""
        back = tuple(Refund(self.numbers.get(name) or int(name), minutes) for name, minutes in (refunds or {}).items())
        title = 0 if which == "all" else int(which)
        record = Delivered(contract, title, undelivered, source, "r", allowance, moved, back)
        offset = self._offset("delivery")
        known = self.store.deliveries(deliveries.keys(record))
        code = deliveries.take(self.state, offset, T0, record, known)
        self._commit(rows.Cursor("delivery", 0, offset + 1, b"h", 0, b"", T0))
        check(self.state, self.engines)
        return code

    def _offset(self, log: str) -> int:
        self.offsets[log] += 1
        return self.offsets[log] - 1

    def _commit(self, cursor: rows.Cursor) -> Batch:
        batch = self.state.take(cursor)
        self.store.commit_now(batch)
        check_batch(batch)
        return batch

    def restart(self) -> None:
        """Memory is lost; what was stored is loaded, and is the same."""
        loaded = State(len(self.engines), self.store.loaded())
        assert memory(loaded) == memory(self.state)
        self.state = loaded

    # --- What comes out ------------------------------------------------------------------------------------

    def money(self) -> list[list[str]]:
        """name | wallet | trading; then what is nobody's yet, where there is any."""
        ledger, found = self.state.ledger, [["who", "wallet", "trading"]]
        for name, number in self.numbers.items():
            trading = sum(ledger.balance(TRADING, shard.number, number) for shard in self.state.shards)
            found.append([name, _usd(ledger.wallet(number)), _usd(trading)])
        for label, kind in (
            ("escrow", ESCROW),
            ("clearing", CLEARING),
            ("treasury", TREASURY),
            ("collateral", COLLATERAL),
        ):
            amount = sum(amount for key, amount in ledger.balances().items() if key[0] == kind)
            if amount:
                found.append([label, _usd(amount), ""])
        return found

    def titles(self) -> list[list[str]]:
        """Live titles with every claim on their escrow."""
        who = {number: name for name, number in self.numbers.items()} | {0: "-"}
        found = [["title", "obligor", "holder", "qty", "escrow", "proceeds", "gains", "fees", "cost", "losses"]]
        book = self.state.shards[0].titles
        for title in sorted(book.titles.values(), key=lambda title: title.title):
            claims = book.claims_of(title)
            gains = " ".join(f"{who[claim.account]} {_usd(claim.gain)}" for claim in claims if claim.gain)
            losses = " ".join(f"{who[claim.account]} {_usd(claim.loss)}" for claim in claims if claim.loss)
            found.append(
                [
                    str(title.title),
                    who[title.obligor],
                    who[title.holder],
                    str(title.qty),
                    _usd(title.escrow),
                    _usd(title.proceeds),
                    gains,
                    _usd(title.fees),
                    _usd(title.cost),
                    losses,
                ]
            )
        return found


def memory(state: State) -> dict[str, object]:
    """All that a state knows, comparable."""
    known = {
        name: value
        for name, value in vars(state).items()
        if name not in ("changes", "ledger", "shards", "class_nos", "owners")
    }
    known["balances"] = state.ledger.balances()
    for shard in state.shards:
        known[f"shard {shard.number}"] = (
            shard.outbox,
            shard.confirmed,
            shard.unconfirmed,
            shard.start,
            shard.titles.titles,
            shard.titles.claims,
            shard.titles.of_contract,
            {contract: rows for contract, rows in shard.backing.of_contract.items() if rows},
            shard.roles,
        )
    return known


def _usd(amount: int) -> str:
    return format_usd(amount)


def table(text: str) -> list[list[str]]:
    """A drawn table → its cells."""
    lines = [line for line in text.splitlines() if line.strip()]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def check_batch(batch: Batch) -> None:
    """M1 and M8 of every entry, from the postings alone; every posting has its entry."""
    sums: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for *entry, _line, kind, _shard, _ref, asset, amount in batch.posted.postings:
        sums[(*entry, asset)] += amount
        if kind == NOVATION:
            sums[(*entry, "novation")] += amount
    assert not any(sums.values()), f"M1, M8: {sums}"
    assert {key[:4] for key in sums} == {entry[:4] for entry in batch.posted.entries}


def check(state: State, engines: Sequence[Engine], quotes: Collection[int] = ()) -> None:
    """M2, M3, M7, C1, C6: the ledger against the engines at the same seq. `quotes`: orders that are not projected."""
    balances = state.ledger.balances()
    per_asset: defaultdict[int, int] = defaultdict(int)
    for (kind, _, _, asset), amount in balances.items():
        per_asset[asset] += amount
        assert amount >= 0 or kind in (EXTERNAL, TITLES), f"M3: {kind} {amount}"
    assert not any(per_asset.values()), f"M2, C1: {dict(per_asset)}"
    state.check_transit()
    for shard, engine in zip(state.shards, engines, strict=True):
        of_shard = {key[0]: {} for key in balances} | {TRADING: {}, ESCROW: {}, TITLES: {}}
        for (kind, number, ref, asset), amount in balances.items():
            if number == shard.number:
                of_shard[kind][ref, asset] = amount
        assert {ref: amount for (ref, _), amount in of_shard[TRADING].items()} == _some(engine.balances()), "M7 trading"
        assert {ref: amount for (ref, _), amount in of_shard[ESCROW].items()} == _some(engine.escrows()), "M7 escrow"
        live = {key: amount for key, amount in of_shard[TITLES].items() if key[1] in engine.contracts}
        assert live == _minutes(engine), f"C1: {live}"
        _check_titles(shard.titles, engine)
        _check_backing(shard.backing, engine)
        resting = {order: rest for order, *rest in engine.open_orders() if order not in quotes}
        ours = {
            o.order_id: [o.account, o.contract, o.side, o.leaves, o.price]
            for o in state.orders.values()
            if o.shard == shard.number
        }
        ours |= {
            b.order_id: [b.account, contract_of(b.class_no, b.first_hour), b.side, b.leaves, b.price]
            for b in state.blocks.values()
            if b.shard == shard.number
        }
        assert ours == resting, "open orders"
        assert not any(block.trade_qty for block in state.blocks.values()), "B8: a trade is under way at rest"


def _minutes(engine: Engine) -> dict[tuple[int, int], int]:
    """(account, contract) → GPU-minutes held minus owed."""
    net: defaultdict[tuple[int, int], int] = defaultdict(int)
    for number, contract in engine.contracts.items():
        for title in contract.register.titles():
            net[title.holder, number] += title.qty * title.minutes
            net[title.obligor, number] -= title.qty * title.minutes
    return {key: minutes for key, minutes in net.items() if minutes}


def _check_titles(book: object, engine: Engine) -> None:
    ours = {}
    for title in book.titles.values():  # type: ignore[attr-defined]
        book.check(title)  # type: ignore[attr-defined]
        if title.state == "live":
            ours[title.title] = (
                title.contract,
                title.obligor,
                title.holder,
                title.ground,
                title.qty,
                title.minutes,
                title.escrow,
                title.proceeds,
                title.cost,
            )
    theirs = {
        t.number: (number, t.obligor, t.holder, t.ground, t.qty, t.minutes, t.escrow, t.proceeds, t.cost)
        for number, contract in engine.contracts.items()
        for t in contract.register.titles()
    }
    assert ours == theirs, "C6: titles"


def _check_backing(book: BackingBook, engine: Engine) -> None:
    of_books = {
        (row.account, row.contract, row.ground): (row.qty, row.owed)
        for of_contract in book.of_contract.values()
        for row in of_contract.values()
        if row.qty or row.owed
    }
    of_engine = {
        (account, number, int(ground)): (position.on(ground).qty, position.on(ground).owed_qty)
        for number, contract in engine.contracts.items()
        for account, position in contract.register.positions.items()
        for ground in Ground
        if position.on(ground).qty or position.on(ground).owed_qty
    }
    assert of_books == of_engine, "C2: backing"


def _some(amounts: dict[int, int]) -> dict[int, int]:
    return {key: amount for key, amount in amounts.items() if amount}


def total_usd(state: State) -> int:
    return sum(amount for (_, _, _, asset), amount in state.ledger.balances().items() if asset == USD)


__all__ = ["CONTRACT", "HOUR", "T0", "TRANSIT", "WALLET", "Market", "check", "check_batch", "table", "total_usd"]
