"""A market drawn as text: people, books and sentences in, tables and sentences out.

    market = Market.given('''
        bid    | price | ask
               |  2.05 | 3 bert, 1 carl     (oldest first)
        2 emil |  1.90 |
    ''')
    market.when("ana buys 10 at 2.10")
    assert market.trades() == rows(...); assert market.book() == rows(...)

One class (lot 1, tick 0.01, list price 2.00, so the collar is 1.00 to 4.00; seller's fee 50 bp), its hours from 22:00 on, one
at the centre of the story: 23:00, told from 21:10 on; cover deadline 22:30, gate 22:55, end of the running phase 23:50.
Whoever is mentioned is a provider with 1,000.00 USD and 100 declared GPUs unless `given` says otherwise. Every record goes
through the bytes of the log, and through a second engine loaded from a snapshot taken just before: both must say the same
(D2). Every invariant is checked after each, by the engine itself and by the auditor, who knows the rules and not the engine.
What can be said is in `sentences`, what is answered in `words`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import CHAIN_START, Malformed, decode_frame, decode_record, encode_frame, seal
from schemas.commands import Command, Fees, Ground, Role, Side, Tif
from schemas.events import Event
from schemas.ids import contract_of, hour_of
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, format_usd, parse_usd
from services.audit.log_model import ShardModel
from services.audit.market import Contradiction
from services.audit.report import Findings
from services.matching.engine import Engine
from services.matching.snapshot import dump, load
from tests.matching.drawing import HOUR_NOW, T0_MS, Table, clock, lines, rows
from tests.matching.sentences import CLASS, OPERATOR, VALID_MS, command_of
from tests.matching.words import GROUNDS, sentence_of

__all__ = ["CLASS", "HOUR_NOW", "OPERATOR", "T0_MS", "VALID_MS", "Market", "Table", "clock", "lines", "rows"]

FEES = Fees()
"""Buyers nothing, sellers 50 bp."""


def bounds_of(engine: Engine) -> dict[str, int]:
    """What a test may set lower."""
    return {name: getattr(engine, name) for name in dir(engine) if name.endswith("_max")}


USUAL_BOUNDS = bounds_of(Engine())


def check_blocks(events: list[Event]) -> None:
    """B8: what a block says that it has, it has in each of its hours; and for as much as it says."""
    traded: Counter[tuple[int, int]] = Counter()
    paid: Counter[int] = Counter()
    for fill in events:
        if isinstance(fill, ev.Filled):
            for order in (fill.maker_order, fill.taker_order):
                traded[order, fill.contract] += fill.qty
                paid[order] += fill.qty * fill.price
    said: dict[int, list[ev.BlockFilled]] = {}
    for event in events:
        if isinstance(event, ev.BlockFilled):
            said.setdefault(event.order, []).append(event)
    for order, parts in said.items():
        first, hours = contract_of(parts[0].class_no, parts[0].first_hour), parts[0].hours
        in_each = {traded.pop((order, contract), 0) for contract in range(first, first + hours)}
        assert in_each == {sum(part.qty for part in parts)}, f"B8: block {order} has {in_each} in its hours"
        assert paid[order] == sum(part.average_price_num for part in parts), f"B8: block {order} paid {paid[order]}"
        assert not any(number == order for number, _ in traded), f"B8: block {order} traded in other hours"


class Market:
    """One shard with one class, told in sentences."""

    def __init__(
        self, *, fees: Fees, lot: int, tick: str, list_price: str, engine: Engine | None, version: int = 2, **rules: int
    ) -> None:
        self.engine = engine or Engine()
        self.events: list[Event] = []
        """Of the last `when`."""
        self.hour = HOUR_NOW + 2
        self.stamp_ms = T0_MS
        self.accounts: dict[str, int] = {}
        self.owners: dict[str, str] = {}
        self.money: dict[str, str] = {}
        self.backs: dict[str, int] = {}
        self.promises: dict[str, int] = {}
        self.hours: tuple[int, ...] = (0,)
        self.cap = 0
        self.version = 0
        self.approvals = 0
        """Of corrections; each has its own."""
        self._offset = 0
        self._unsent = 0
        """Messages of settlement's in the frame that is being written."""
        self._seq, self._chain = 0, CHAIN_START
        self._judge = ShardModel(Findings()) if engine is None else None
        """The auditor; its bounds are the usual ones."""
        self.tell(cmd.StartShard(0, version, T0_MS))
        spec = cmd.SetClass(
            self.outbox(), CLASS, "H100.SXM.80.US", lot, parse_usd(tick), parse_usd(list_price), fees,
            **{"horizon_hours": 4, "first_hour": HOUR_NOW + 1, **rules},
        )  # fmt: skip
        self.tell(spec)
        self.cap = self.engine.classes[CLASS].high

    @classmethod
    def given(
        cls,
        book: str = "",
        *,
        owners: str = "",
        money: dict[str, str] | None = None,
        backs: dict[str, int] | None = None,
        promises: dict[str, int] | None = None,
        hours: int = 1,
        fees: Fees = FEES,
        lot: int = 1,
        tick: str = "0.01",
        list_price: str = "2.00",
        engine: Engine | None = None,
        **rules: int,
    ) -> Market:
        """A market in which this book stands: of the story's hour, or with a column `hour` of several.

        `owners`: "ana=anton" gives two people's accounts one owner. `money`: USD. `backs`: declared GPUs.
        `promises`: GPUs promised at the collar's cap, which makes the account a market maker's. `hours`: in how many hours
        machines and promises are there. `engine`: one with other bounds (`sources.engine_with`); it has a twin unless it was
        made anew, as a snapshot is loaded into the usual one.
        """
        market = cls(fees=fees, lot=lot, tick=tick, list_price=list_price, engine=engine, **rules)
        market.hours = tuple(range(hours))
        for pair in owners.split():
            first, *others = pair.split("=")
            market.owners.update(dict.fromkeys(others, first))
        market.money, market.backs, market.promises = money or {}, backs or {}, promises or {}
        for name in [*market.money, *market.backs, *market.promises]:
            market.account(name)
        market.draw(book)
        return market

    def draw(self, book: str) -> Market:
        """Let this book stand: bids and asks are placed, worst ones first, those of one price oldest first."""
        for *hour, bids, price, asks in reversed(rows(book)[1:] if book else []):
            where = f" in hour {hour[0]}" if hour else ""
            for side, queue in (("buys", bids), ("sells", asks)):
                for waiting in filter(None, queue.split(", ")):
                    qty, name = waiting.split()
                    self.when(f"{name} {side} {qty} at {price}{where}")
                    assert isinstance(self.events[0], ev.OrderAccepted), f"the drawn book is impossible: {self.said()}"
        self.events = []
        return self

    # --- Saying something ----------------------------------------------------------------------------------

    def when(self, story: str) -> Market:
        """One sentence a line; each is a record of its own. What happens is in `events` until the next `when`."""
        self.events = []
        for sentence in lines(story):
            self.tell(command_of(self, sentence))
        return self

    def send(self, *commands: Command | Malformed) -> Market:
        """As `when`, for bodies that no sentence says: each is a record of its own."""
        self.events = []
        for command in commands:
            self.tell(command)
        return self

    def together(self, story: str) -> Market:
        """All sentences in one frame."""
        commands = []
        for sentence in lines(story):
            commands.append(command_of(self, sentence))
            self._unsent += isinstance(commands[-1], cmd.OutboxCommand)
        self._unsent = 0
        self.events = []
        self.tell(*commands)
        return self

    def wait(self, *, to_ms: int = 0, to: str = "", **duration: int) -> Market:
        """Let time pass by a tick: `minutes=5`, `ms=1`, or to a moment; `to="22:30", ms=-1`: just before."""
        passing = (
            duration.get("minutes", 0) * MS_PER_MINUTE + duration.get("hours", 0) * MS_PER_HOUR + duration.get("ms", 0)
        )
        self.events = []
        self.stamp_ms = to_ms or (clock(to) if to else self.engine.time_ms) + passing
        self.tell(cmd.Tick(self.stamp_ms))
        return self

    def tell(self, *commands: Command | Malformed) -> list[Event]:
        """One record, through the bytes of both logs, and through an engine that has just been loaded."""
        bodies: Any = [[999] if isinstance(command, Malformed) else command for command in commands]
        frame = decode_frame(encode_frame(2, self._offset, bodies))
        assert list(frame.commands) == list(commands)
        twin = self._twin() if type(self.engine) is Engine else None
        events = self.engine.apply(self._offset, self.stamp_ms, frame.commands)
        if twin is not None:
            assert twin.apply(self._offset, self.stamp_ms, frame.commands) == events, (
                "D2: a loaded engine says otherwise"
            )
            assert dump(twin) == dump(self.engine), "D2: a loaded engine comes to another state"
        self.engine.check()
        check_blocks(events)
        for sealed in seal(0, self._seq, self._chain, self._offset, self.engine.time_ms, frame, events):
            self._seq, self._chain = sealed.seq, sealed.chain
            record = decode_record(sealed.body)
            assert record.events == events
            if self._judge is not None and bounds_of(self.engine) == USUAL_BOUNDS:
                try:
                    self._judge.apply(record, frame)
                except Contradiction as error:
                    raise AssertionError(f"the auditor cannot go on: {error}") from error
                broken = {finding.name: finding.breaches for finding in self._judge.found if finding.broken}
                assert not broken, broken
        self._offset += 1
        self.events += events
        return events

    def _twin(self) -> Engine:
        """Loaded from a snapshot, with the same bounds."""
        twin = load(dump(self.engine)) if self._offset else Engine()
        for name, value in bounds_of(self.engine).items():
            setattr(twin, name, value)
        return twin

    def outbox(self) -> int:
        """Settlement's next number."""
        return self.engine.outbox_last + 1 + self._unsent

    def account(self, name: str) -> int:
        """A person's account, opened at the first mention."""
        number = self.accounts.get(name)
        if number is None:
            owner = self.account(self.owners[name]) if name in self.owners else 0
            kept, self.events = self.events, []
            number = self.accounts[name] = 101 + len(self.accounts)
            role = Role.MARKET_MAKER if name in self.promises else Role.PROVIDER
            self.tell(cmd.SetAccount(self.outbox(), number, owner or number, role, 0))
            if parse_usd(self.money.get(name, "1000")):
                self.tell(cmd.Credit(self.outbox(), number, parse_usd(self.money.get(name, "1000"))))
            if name in self.promises:
                self.tell(self.promise(name, self.promises[name], hours=self.hours))
            elif self.backs.get(name, 100) and self.engine.contracts[self.contract()].forward:
                self.tell(self.declare(name, self.backs.get(name, 100), hours=self.hours))
            assert not any(isinstance(event, ev.OutboxRejected) for event in self.events), self.said()
            self.events = kept
        return number

    def contract(self, later: int = 0) -> int:
        """The hour of the story, or a later one."""
        return contract_of(CLASS, self.hour + later)

    def order(
        self,
        name: str,
        side: Side,
        qty: int,
        price: str,
        *,
        tif: Tif = Tif.GTC,
        flags: int = 0,
        client: str = "",
        later: int = 0,
        expires_ms: int = 0,
    ) -> cmd.PlaceOrder:
        """An order's body."""
        return cmd.PlaceOrder(
            self.account(name), self.contract(later), side, qty, parse_usd(price), tif, flags, client,
            self.engine.time_ms + VALID_MS, expires_ms,
        )  # fmt: skip

    def declare(self, name: str, qty: int, *, version: int = 0, hours: Iterable[int] = (0,)) -> cmd.SetBacking:
        """Machines."""
        return self.backing(name, qty, Ground.DECLARED, 0, version=version, hours=hours)

    def promise(
        self, name: str, qty: int, price: str = "", *, version: int = 0, hours: Iterable[int] = (0,)
    ) -> cmd.SetBacking:
        """A market maker's promise, at the collar's cap unless a price is said."""
        collateral = parse_usd(price) if price else self.cap
        return self.backing(name, qty, Ground.PROMISED, collateral, version=version, hours=hours)

    def backing(
        self, name: str, qty: int, ground: Ground, price: int, *, version: int = 0, hours: Iterable[int] = (0,)
    ) -> cmd.SetBacking:
        """What stands behind asks, in the next version."""
        number = self.account(name)
        self.version += 1
        at = tuple(self.hour + later for later in hours)
        return cmd.SetBacking(self.outbox(), number, CLASS, at, ground, qty, price, version or self.version)

    # --- What there is to see ------------------------------------------------------------------------------

    def said(self) -> list[str]:
        """The events of the last `when`, each as a sentence."""
        return [sentence_of(self, event) for event in self.events]

    def trades(self) -> Table:
        """Fills of the last `when`."""
        return [(maker, taker, qty, price) for _, maker, taker, qty, price, _, _ in self.fills()]

    def fills(self) -> Table:
        """The same with hour, minutes and cash."""
        table: Table = [("hour", "maker", "taker", "lots", "price", "minutes", "cash")]
        for fill in self.events:
            if isinstance(fill, ev.Filled):
                buyer, seller = self.name(fill.buyer), self.name(fill.seller)
                maker, taker = (seller, buyer) if fill.taker_side == Side.BUY else (buyer, seller)
                hour = f"{hour_of(fill.contract) - self.hour:+}"
                money = (format_usd(fill.price), str(fill.minutes), format_usd(fill.notional))
                table.append((hour, maker, taker, str(fill.qty), *money))
        return table

    def book(self, later: int = 0) -> Table:
        """The hour's resting orders, best ask highest up to worst bid, oldest first at a price."""
        contract = self.engine.contracts[self.contract(later)]
        levels: dict[int, tuple[list[str], list[str]]] = {}
        for place, half in enumerate((contract.bids, contract.asks)):
            for order in half:
                level = levels.setdefault(order.price, ([], []))
                level[place].append(f"{order.leaves} {self.name(order.account)}")
        table: Table = [("bid", "price", "ask")]
        for price, (bids, asks) in sorted(levels.items(), reverse=True):
            table.append((", ".join(bids), format_usd(price), ", ".join(asks)))
        return table

    def books(self) -> Table:
        """`book` of every hour in which somebody waits."""
        table: Table = [("hour", "bid", "price", "ask")]
        for contract in sorted(self.engine.contracts):
            later = hour_of(contract) - self.hour
            table += [(f"{later:+}", *row) for row in self.book(later)[1:]]
        return table

    def blocks(self) -> Table:
        """Resting blocks by range, as `book` draws them; `min`: the least that a block takes, where that is not all of it."""
        table: Table = [("from", "hours", "bid", "price", "ask")]
        for (first, hours), book in sorted(self.engine.block_books.items()):
            levels: dict[int, tuple[list[str], list[str]]] = {}
            for place, half in enumerate((book.bids, book.asks)):
                for block in half:
                    least = f" (min {block.least})" if block.least < block.leaves else ""  # type: ignore[attr-defined]  # a block's book
                    level = levels.setdefault(block.price, ([], []))
                    level[place].append(f"{block.leaves} {self.name(block.account)}{least}")
            for price, (bids, asks) in sorted(levels.items(), reverse=True):
                where = (f"{hour_of(first) - self.hour:+}", str(hours))
                table.append((*where, ", ".join(bids), format_usd(price), ", ".join(asks)))
        return table

    def balances(self, *names: str) -> Table:
        """What each has, what of it is held and promised, what is free."""
        table: Table = [("who", "cash", "held", "collateral", "free")]
        for name in names or self.accounts:
            a = self.engine.accounts[self.account(name)]
            table.append((name, *map(format_usd, (a.cash, a.holds, a.collateral, a.available))))
        return table

    def positions(self, later: int = 0) -> Table:
        """Whoever holds or owes GPUs of the hour."""
        at = self.contract(later)
        table: Table = [("who", "holds", "owes")]
        for (number, contract), (held, owed) in sorted(self.engine.positions().items()):
            if contract == at:
                table.append((self.name(number), str(held), str(owed)))
        return table

    def titles(self, later: int = 0) -> Table:
        """Titles of the hour, by number."""
        register = self.engine.contracts[self.contract(later)].register
        table: Table = [("title", "obligor", "holder", "ground", "gpus", "proceeds", "cost", "escrow")]
        for t in register.titles():
            money = map(format_usd, (t.proceeds, t.cost, t.escrow))
            who = (self.name(t.obligor), self.name(t.holder), GROUNDS[int(t.ground)])
            table.append((str(t.number), *who, str(t.qty), *money))
        return table

    def moves(self) -> Table:
        """What the fills of the last `when` did to titles."""
        table: Table = [("from", "title", "gpus", "net", "cost", "to seller", "closes", "closed", "to buyer")]
        for fill in self.events:
            for m in fill.moves if isinstance(fill, ev.Filled) else ():
                source = str(m.source) if m.source else GROUNDS[m.ground]
                closing = (str(m.closes), str(m.closed), format_usd(m.released_buyer)) if m.closes else ("", "", "")
                money = (format_usd(m.net), format_usd(m.cost), format_usd(m.released_seller))
                table.append((source, str(m.title), str(m.qty), *money, *closing))
        return table

    def free_to_offer(self, name: str) -> int:
        """GPUs that may still be put into asks of the hour."""
        contract = self.engine.contracts[self.contract()]
        return contract.free(contract.register.positions[self.account(name)])

    def name(self, account: int) -> str:
        """Whose account it is."""
        return next((name for name, number in self.accounts.items() if number == account), str(account))
