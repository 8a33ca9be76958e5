"""A shard whose events are written by hand: what settlement makes of them, with no engine that could share its mistakes.

    told = Told("ana bob")
    ask = told.order("ana", SELL, 3, 2_000_000)
    told.fill(ask, told.order("bob", BUY, 3, 2_000_000), 3, ground=Ground.DECLARED)

After every record the batch is checked (M1, M8), stored, loaded again and found the same: any record may be a life's last.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas import commands as cmd
from schemas import events as ev
from schemas import requests as rq
from schemas.codec import EventsRecord
from schemas.commands import Fees, Ground, OutboxCommand, Role, Side, Tif
from schemas.events import Event, TitleMove
from schemas.ids import contract_of, hour_of, order_id
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, fee, notional
from services.settlement import deliveries, events, requests, rows
from services.settlement.ledger import EXTERNAL, TITLES
from services.settlement.state import State, decode_outbox
from tests.settlement.dict_store import DictStore
from tests.settlement.people import CONTRACT, HOUR, T0, check_batch, memory

BUY, SELL = Side.BUY, Side.SELL
FEES = Fees(0, 10, 50, 70)
LIST_PRICE = 2_000_000
CAP = 4_000_000
"""Of the class's collar."""
USD = 1_000_000
PEOPLE = ("account", "payer", "payee", "operator", "second_operator", "obligor", "holder")
"""Columns that name an account."""


class Told:
    """One shard, one class; `open` its people with 1,000 USD of trading balance each."""

    def __init__(self, names: str = "", *, running_close_ms: int = 600_000) -> None:
        self.store = DictStore()
        self.state = State(1)
        self.time_ms = T0
        self.seq = self.requests = self.deliveries = 0
        self.numbers: dict[str, int] = {}
        self.trades = self.titles = 0
        self.say(ev.ShardStarted(0, 0, 2, T0, 1, True))
        listing = rq.ListClass("class", 0, "TEST.0", b"", 1, 1, LIST_PRICE, FEES, 48, running_close_ms=running_close_ms)
        self.ask(listing)
        self.say(*(ev.ContractListed(contract_of(1, hour)) for hour in range(HOUR, HOUR + 4)))
        for name in names.split():
            self.open(name)

    def open(self, name: str, role: int = Role.PROVIDER, owner: str = "") -> int:
        self.ask(rq.OpenAccount(f"open-{name}", self.numbers.get(owner, 0), name, role))
        number = self.numbers[name] = self.state.last("account")
        self.ask(rq.Deposit(f"in-{name}", number, 2_000 * USD, "simulated-faucet", name))
        self.ask(rq.ToTrading(f"to-{name}", number, 0, 1_000 * USD))
        return number

    def back(self, name: str, ground: int, qty: int, price: int = 0, hours: Sequence[int] = (HOUR,)) -> None:
        version = 1 + max((row.version for row in self.backing(name)), default=0)
        request = rq.Back(f"back-{name}-{version}", self.numbers[name], 1, tuple(hours), ground, qty, price, version)
        assert self.ask(request).state == "done"

    def backing(self, name: str) -> list[rows.Backing]:
        of_contract = self.state.shards[0].backing.of_contract
        return [row for of in of_contract.values() for row in of.values() if row.account == self.numbers[name]]

    # --- What goes in --------------------------------------------------------------------------------------

    def ask(self, request: rq.Request, answer: bool = True) -> rows.RequestRow:
        """A request; the shard takes its messages, unless it is told otherwise."""
        asked = requests.decode(self.requests, self.time_ms, msgspec.msgpack.encode(request))
        ids, refs = requests.ids([asked])
        requests.take(self.state, asked, requests.Known(self.store.digests(ids), self.store.deposits(refs)))
        self.requests += 1
        self._commit(rows.Cursor("requests", 0, self.requests, b"h", 0, b"", self.time_ms))
        while answer and self.state.shards[0].unconfirmed:
            self.say(self.taken(next(iter(self.state.shards[0].unconfirmed.values()))))
        return self.store.request(request.request_id)

    def taken(self, row: rows.OutboxRow) -> Event:
        """What a shard says that does as it is told."""
        message: OutboxCommand = decode_outbox(row.body)
        match message:
            case cmd.SetAccount(outbox, account, owner, role, fee_plan):
                return ev.AccountSet(0, outbox, account, owner, role, fee_plan)
            case cmd.Credit(outbox, account, amount):
                return ev.Credited(0, outbox, account, amount, self.trading(account) + amount)
            case cmd.SetClass():
                return ev.ClassSet(0, *msgspec.structs.astuple(message))
            case cmd.SetBacking(outbox, account, class_no, hours, ground, qty, price, version):
                return ev.BackingSet(0, outbox, account, class_no, hours, ground, qty, price, version, True)
        raise AssertionError(message)

    def say(self, *said: Event, after_ms: int = 1, last: bool = True) -> None:
        """One record of `events`."""
        self.time_ms += after_ms
        self.seq += 1
        events.settle(self.state, EventsRecord(1, 0, self.seq, self.seq, 0, last, self.time_ms, 1, 1, said))
        self._commit(rows.Cursor("events", 0, self.seq, b"h", self.seq, bytes(16), self.time_ms))

    def until(self, time_ms: int, *said: Event) -> None:
        """The same, at a moment."""
        self.say(*said, after_ms=time_ms - self.time_ms)

    def deliver(self, undelivered: int, contract: int = CONTRACT, title: int = 0) -> str:
        record = deliveries.Delivered(contract, title, undelivered, "simulated", "r")
        known = self.store.deliveries(deliveries.keys(record))
        code = deliveries.take(self.state, self.deliveries, self.time_ms, record, known)
        self.deliveries += 1
        self._commit(rows.Cursor("delivery", 0, self.deliveries, b"h", 0, b"", self.time_ms))
        return code

    def _commit(self, cursor: rows.Cursor) -> None:
        batch = self.state.take(cursor)
        check_batch(batch)
        self.store.commit_now(batch)
        known = memory(self.state)
        self.state = State(1, self.store.loaded())
        assert memory(self.state) == known
        balances = self.state.ledger.balances()
        assert sum(amount for key, amount in balances.items() if key[3] == 0) == 0, "M2"
        assert all(amount >= 0 or key[0] in (EXTERNAL, TITLES) for key, amount in balances.items()), "M3"

    # --- Orders and fills, as an engine would write them ---------------------------------------------------

    def id(self, leg: int = 0) -> int:
        """Of an order that the next record accepts."""
        return order_id(0, self.seq + 1, 0, leg)

    def last(self, leg: int) -> int:
        """Of a leg of the command that the last record answered."""
        return order_id(0, self.seq, 0, leg)

    def order(self, name: str, side: int, qty: int, price: int, *, contract: int = CONTRACT, **other: int) -> int:
        number = self.id()
        maker, taker = (FEES.buyer_maker, FEES.buyer_taker) if side == BUY else (FEES.seller_maker, FEES.seller_taker)
        account, tif, flags = self.numbers[name], other.get("tif", Tif.GTC), other.get("flags", 0)
        expires_ms = other.get("expires_ms", 0)
        self.say(
            ev.OrderAccepted(0, number, account, contract, side, qty, price, tif, flags, "", maker, taker, expires_ms)
        )
        return number

    def block(self, name: str, side: int, qty: int, price: int, hours: int = 2, qty_min: int = 1) -> int:
        number = self.id()
        maker, taker = (FEES.buyer_maker, FEES.buyer_taker) if side == BUY else (FEES.seller_maker, FEES.seller_taker)
        self.say(
            ev.BlockAccepted(
                0, number, self.numbers[name], 1, HOUR, hours, side, qty, qty_min, price, 1, 0, "", maker, taker
            )
        )
        return number

    def fill(
        self,
        maker: int,
        taker: int,
        qty: int,
        price: int,
        buyer: str,
        seller: str,
        *,
        leaves: tuple[int, int] = (0, 0),
        ground: int = Ground.DECLARED,
        taker_side: int = BUY,
        contract: int = CONTRACT,
        minutes: int = 60,
        maker_bp: int | None = None,
        move: TitleMove | None = None,
    ) -> ev.Filled:
        """A fill that makes one new title, unless a move is given; `leaves` of maker and taker. To be said."""
        cash = notional(price, qty, minutes)
        of_buyer, of_seller = (
            (FEES.buyer_taker, FEES.seller_maker) if taker_side == BUY else (FEES.buyer_maker, FEES.seller_taker)
        )
        if maker_bp is not None:
            of_seller = maker_bp
        buyer_fee, seller_fee = fee(cash, of_buyer), fee(cash, of_seller)
        self.trades += 1
        if move is None:
            self.titles += 1
            move = TitleMove(0, self.titles, ground, qty, cash - seller_fee, cash + buyer_fee, 0)
        who = (self.numbers[buyer], self.numbers[seller])
        money = (cash, buyer_fee, seller_fee)
        return ev.Filled(
            self.trades, contract, price, qty, minutes, taker_side, maker, taker, *leaves, *who, *money, (move,)
        )

    def end(self, *also: Event, contract: int = CONTRACT) -> None:
        """The hour ends: titles as our books have them, collateral as it is said, everything told."""
        book = self.state.shards[0].titles
        titles = book.of(contract)
        live = [title for title in titles if title.state == "live"]
        ended = [
            ev.TitleEnded(
                contract, t.title, t.obligor, t.holder, t.ground, t.qty, t.minutes, t.proceeds, t.cost, t.escrow
            )
            for t in live
        ]
        moved = sum(one.amount for one in also if isinstance(one, ev.CollateralMoved))
        over = ev.HourEnded(contract, len(live), sum(title.escrow for title in titles), moved)
        self.until((hour_of(contract) + 1) * MS_PER_HOUR, *ended, *also, over)

    def close_gate(self, *before: Event) -> None:
        self.until(HOUR * MS_PER_HOUR - 300_000, *before, ev.GateClosed(CONTRACT))

    def at_minute(self, minute: int, *said: Event) -> None:
        """Of the hour."""
        self.until(HOUR * MS_PER_HOUR + minute * MS_PER_MINUTE, *said)

    # --- What comes out ------------------------------------------------------------------------------------

    def trading(self, account: int) -> int:
        return self.state.ledger.balance(5, 0, account)

    def row(self, kind: type[rows.Row], *key: int) -> dict[str, object]:
        """A stored row, by column."""
        return dict(zip(kind.__struct_fields__, self.store.rows[kind.TABLE.name][key], strict=True))

    def rows_of(self, kind: type[rows.Row], *columns: str) -> list[list[str]]:
        """A table of stored rows with these columns; accounts by their people's names."""
        names = {number: name for name, number in self.numbers.items()}
        found = []
        for key in sorted(self.store.rows[kind.TABLE.name]):
            row = self.row(kind, *key)
            shown = [names.get(row[name], row[name]) if name in PEOPLE else row[name] for name in columns]
            found.append([str(cell) for cell in shown])
        return [list(columns), *found]
