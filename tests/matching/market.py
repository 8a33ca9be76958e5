"""A market drawn as text: people, books and sentences in, tables and sentences out.

    market = Market.given('''
        bid    | price | ask
               |  2.05 | 3 bert, 1 carl     (oldest first)
        2 emil |  1.90 |
    ''')
    market.when("ana buys 10 at 2.10")
    assert market.trades() == rows(...); assert market.book() == rows(...)

One class (lot 1, tick 0.01, list price 2.00, so the collar is 1.00 to 4.00; seller's fee 50 bp), its hours, one at
the centre of the story. Whoever is mentioned is a provider with 1,000.00 USD and 100 declared GPUs unless `given` says
otherwise. Every record goes through the bytes of the log, and through a second engine loaded from a snapshot taken just
before: both must say the same (D2). Every invariant is checked after each.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import CHAIN_START, Malformed, decode_frame, decode_record, encode_frame, seal
from schemas.commands import Command, Fees, Flag, Ground, Role, Side, State, Tif
from schemas.events import Code, Event, Reason
from schemas.ids import contract_of, hour_of
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, format_usd, parse_usd
from services import matching
from services.matching.engine import Engine
from services.matching.snapshot import dump, load

HOUR_NOW = 498_741
T0_MS = HOUR_NOW * MS_PER_HOUR + 10 * MS_PER_MINUTE
CLASS = 1
OPERATOR = 900
VALID_MS = 30_000
FEES = Fees()
"""Buyers nothing, sellers 50 bp."""

Table = list[tuple[str, ...]]


def rows(drawn: str) -> Table:
    """A drawn table → its rows of cells, the head included."""
    return [tuple(cell.strip() for cell in line.split("|")) for line in drawn.strip().splitlines()]


def lines(drawn: str) -> list[str]:
    """A drawn list of sentences → the sentences."""
    return [line.strip() for line in drawn.strip().splitlines()]


MODULES = (
    "literals", "titles", "book", "invariants", "state", "trading", "orders", "blocks", "quotes", "backing", "moments",
    "settling", "operating", "engine",
)  # fmt: skip
"""The engine, each after those that it imports."""


def engine_with(**bounds: int) -> Engine:
    """An engine with other bounds. Those in capitals are part of the code: it is made anew from its sources for them."""
    constants = tuple(sorted((name, value) for name, value in bounds.items() if name.isupper()))
    made: Engine = modules_with(constants)["engine"].Engine()
    for name, value in bounds.items():
        if not name.isupper():
            assert isinstance(getattr(made, name), int), f"the engine has no bound {name}"
            setattr(made, name, value)
    return made


@functools.cache
def modules_with(bounds: tuple[tuple[str, int], ...]) -> dict[str, ModuleType]:
    """The engine's modules from their sources, with other bounds; whoever imports them otherwise has the usual ones."""
    kept = {name: sys.modules.pop(f"services.matching.{name}", None) for name in MODULES}
    found: dict[str, ModuleType] = {}
    try:
        for name in MODULES:
            found[name] = _from_source(name)
            for bound, value in bounds:
                if hasattr(found[name], bound):
                    setattr(found[name], bound, value)
    finally:
        for name, module in kept.items():
            if module is None:
                del sys.modules[f"services.matching.{name}"]
            else:
                sys.modules[f"services.matching.{name}"] = module
                setattr(matching, name, module)
    for bound, _ in bounds:
        assert any(isinstance(vars(module).get(bound), int) for module in found.values()), f"no bound {bound}"
    return found


def _from_source(name: str) -> ModuleType:
    """A compiled module takes no other bounds."""
    loader = SourceFileLoader(f"services.matching.{name}", str(Path(matching.__path__[0]) / f"{name}.py"))
    module = module_from_spec(spec_from_loader(loader.name, loader))  # type: ignore[arg-type]  # the loader is there
    sys.modules[loader.name] = module
    setattr(matching, name, module)
    loader.exec_module(module)
    return module


class Market:
    """One shard with one class, told in sentences."""

    def __init__(
        self, *, fees: Fees, lot: int, tick: str, list_price: str, engine: Engine | None, version: int = 1, **rules: int
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
        self.cap = 0
        self.version = 0
        self._offset = 0
        self._unsent = 0
        """Messages of settlement's in the frame that is being written."""
        self._seq, self._chain = 0, CHAIN_START
        self.tell(cmd.StartShard(0, version, T0_MS))
        spec = cmd.SetClass(
            self.outbox(), CLASS, "H100.SXM.80.US", lot, parse_usd(tick), parse_usd(list_price), fees,
            **{"horizon_hours": 4, **rules},
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
        fees: Fees = FEES,
        lot: int = 1,
        tick: str = "0.01",
        list_price: str = "2.00",
        engine: Engine | None = None,
        **rules: int,
    ) -> Market:
        """A market in which this book stands.

        `owners`: "ana=anton" gives two people's accounts one owner. `money`: USD. `backs`: declared GPUs.
        `promises`: GPUs promised at the collar's cap, which makes the account a market maker's. `engine`: one with other
        bounds (`engine_with`); it has no twin, as a snapshot is loaded into the usual one.
        """
        market = cls(fees=fees, lot=lot, tick=tick, list_price=list_price, engine=engine, **rules)
        for pair in owners.split():
            first, *others = pair.split("=")
            market.owners.update(dict.fromkeys(others, first))
        market.money, market.backs, market.promises = money or {}, backs or {}, promises or {}
        for name in [*market.money, *market.backs, *market.promises]:
            market.account(name)
        for bids, price, asks in reversed(rows(book)[1:] if book else []):
            for side, queue in (("buys", bids), ("sells", asks)):
                for waiting in filter(None, queue.split(", ")):
                    qty, name = waiting.split()
                    market.when(f"{name} {side} {qty} at {price}")
                    assert isinstance(market.events[0], ev.OrderAccepted), (
                        f"the drawn book is impossible: {market.said()}"
                    )
        market.events = []
        return market

    # --- Saying something ----------------------------------------------------------------------------------

    def when(self, story: str) -> Market:
        """One sentence a line; each is a record of its own. What happens is in `events` until the next `when`."""
        self.events = []
        for sentence in lines(story):
            self.tell(self._command(sentence))
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
            commands.append(self._command(sentence))
            self._unsent += isinstance(commands[-1], cmd.OutboxCommand)
        self._unsent = 0
        self.events = []
        self.tell(*commands)
        return self

    def wait(self, *, to_ms: int = 0, **duration: int) -> Market:
        """Let time pass by a tick: `minutes=5`, `ms=1`, or to a moment."""
        passing = (
            duration.get("minutes", 0) * MS_PER_MINUTE + duration.get("hours", 0) * MS_PER_HOUR + duration.get("ms", 0)
        )
        self.events = []
        self.stamp_ms = to_ms or self.engine.time_ms + passing
        self.tell(cmd.Tick(self.stamp_ms))
        return self

    def tell(self, *commands: Command | Malformed) -> list[Event]:
        """One record, through the bytes of both logs, and through an engine that has just been loaded."""
        bodies: Any = [[999] if isinstance(command, Malformed) else command for command in commands]
        frame = decode_frame(encode_frame(2, self._offset, bodies))
        assert list(frame.commands) == list(commands)
        twin = None if type(self.engine) is not Engine else load(dump(self.engine)) if self._offset else Engine()
        events = self.engine.apply(self._offset, self.stamp_ms, frame.commands)
        if twin is not None:
            assert twin.apply(self._offset, self.stamp_ms, frame.commands) == events, (
                "D2: a loaded engine says otherwise"
            )
            assert dump(twin) == dump(self.engine), "D2: a loaded engine comes to another state"
        self.engine.check()
        for sealed in seal(0, self._seq, self._chain, self._offset, self.engine.time_ms, frame, events):
            self._seq, self._chain = sealed.seq, sealed.chain
            record = decode_record(sealed.body)
            assert record.events == events
        self._offset += 1
        self.events += events
        return events

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
                self.tell(self.promise(name, self.promises[name]))
            elif self.backs.get(name, 100) and self.engine.contracts[self.contract()].forward:
                self.tell(self.declare(name, self.backs.get(name, 100)))
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
    ) -> cmd.PlaceOrder:
        """An order's body."""
        return cmd.PlaceOrder(
            self.account(name), self.contract(later), side, qty, parse_usd(price), tif, flags, client,
            self.engine.time_ms + VALID_MS,
        )  # fmt: skip

    def declare(self, name: str, qty: int, *, version: int = 0, hours: Iterable[int] = (0,)) -> cmd.SetBacking:
        """A provider's machines."""
        return self._backing(name, qty, Ground.DECLARED, 0, version, hours)

    def promise(
        self, name: str, qty: int, price: str = "", *, version: int = 0, hours: Iterable[int] = (0,)
    ) -> cmd.SetBacking:
        """A market maker's promise, at the collar's cap unless a price is said."""
        return self._backing(name, qty, Ground.PROMISED, parse_usd(price) if price else self.cap, version, hours)

    def money_moves(self, kind: type[cmd.Credit | cmd.Sweep], name: str, usd: str) -> Command:
        """Into the trading balance, or out of it."""
        number = self.account(name)
        return kind(self.outbox(), number, parse_usd(usd))

    def role(self, name: str, role: Role) -> cmd.SetAccount:
        """What the account may do from now on."""
        number = self.account(name)
        return cmd.SetAccount(self.outbox(), number, self.account(self.owners.get(name, name)), role, 0)

    def _backing(
        self, name: str, qty: int, ground: Ground, price: int, version: int, hours: Iterable[int]
    ) -> cmd.SetBacking:
        number = self.account(name)
        self.version += 1
        at = tuple(self.hour + later for later in hours)
        return cmd.SetBacking(self.outbox(), number, CLASS, at, ground, qty, price, version or self.version)

    # --- Sentences -----------------------------------------------------------------------------------------

    def _command(self, sentence: str) -> Command:
        for pattern, make in _SENTENCES.items():
            match = re.fullmatch(pattern, sentence)
            if match is not None:
                command: Command = make(self, *match.groups())
                return command
        raise AssertionError(f"nobody understands: {sentence}")

    def _order(self, name: str, verb: str, qty: str, price: str, how: str, client: str | None) -> cmd.PlaceOrder:
        tif, flags = Tif.GTC, 0
        for word in how.split():
            if word in {"ioc", "fok"}:
                tif = Tif[word.upper()]
            else:
                flags |= Flag[word.upper().replace("-", "_")]
        side = Side.BUY if verb == "buys" else Side.SELL
        return self.order(name, side, int(qty), price, tif=tif, flags=flags, client=client or "")

    def _cancel_at(self, name: str, side: str, price: str) -> cmd.CancelOrder:
        half = (
            self.engine.contracts[self.contract()].bids
            if side == "bid"
            else self.engine.contracts[self.contract()].asks
        )
        (order,) = (o.order for o in half if o.account == self.account(name) and o.price == parse_usd(price))
        return cmd.CancelOrder(self.account(name), order, "", self.engine.time_ms + VALID_MS)

    def _cancel(self, name: str, client: str) -> cmd.CancelOrder:
        return cmd.CancelOrder(self.account(name), 0, client, self.engine.time_ms + VALID_MS)

    def _state(self, what: str, state: str) -> cmd.SetState:
        hour = self.hour if what == "hour" else cmd.ALL_HOURS
        return cmd.SetState(OPERATOR, CLASS, hour, State[state.upper().replace("-", "_")], "because")

    # --- What there is to see ------------------------------------------------------------------------------

    def said(self) -> list[str]:
        """The events of the last `when`, each as a sentence."""
        return [self._sentence(event) for event in self.events]

    def trades(self) -> Table:
        """Fills of the last `when`."""
        fills = [event for event in self.events if isinstance(event, ev.Filled)]
        table: Table = [("maker", "taker", "lots", "price")]
        for fill in fills:
            buyer, seller = self.name(fill.buyer), self.name(fill.seller)
            maker, taker = (seller, buyer) if fill.taker_side == Side.BUY else (buyer, seller)
            table.append((maker, taker, str(fill.qty), format_usd(fill.price)))
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

    def balances(self, *names: str) -> Table:
        """What each has, what of it is held and promised, what is free."""
        table: Table = [("who", "cash", "held", "collateral", "free")]
        for name in names or self.accounts:
            a = self.engine.accounts[self.account(name)]
            table.append((name, *map(format_usd, (a.cash, a.holds, a.collateral, a.available))))
        return table

    def positions(self) -> Table:
        """Whoever holds or owes GPUs of the hour."""
        at = self.contract()
        table: Table = [("who", "holds", "owes")]
        for (number, contract), (held, owed) in sorted(self.engine.positions().items()):
            if contract == at:
                table.append((self.name(number), str(held), str(owed)))
        return table

    def titles(self) -> Table:
        """Titles of the hour, by number."""
        register = self.engine.contracts[self.contract()].register
        table: Table = [("title", "obligor", "holder", "ground", "gpus", "proceeds", "cost", "escrow")]
        for t in register.titles():
            grounds = {int(Ground.DECLARED): "declared", int(Ground.PROMISED): "promised"}
            money = map(format_usd, (t.proceeds, t.cost, t.escrow))
            who = (self.name(t.obligor), self.name(t.holder), grounds[int(t.ground)])
            table.append((str(t.number), *who, str(t.qty), *money))
        return table

    def moves(self) -> Table:
        """What the fills of the last `when` did to titles."""
        table: Table = [("from", "title", "gpus", "net", "cost", "to seller", "closes", "closed", "to buyer")]
        for fill in self.events:
            for m in fill.moves if isinstance(fill, ev.Filled) else ():
                source = str(m.source) if m.source else {1: "declared", 2: "promised"}[m.ground]
                closing = (str(m.closes), str(m.closed), format_usd(m.released_buyer)) if m.closes else ("", "", "")
                money = (format_usd(m.net), format_usd(m.cost), format_usd(m.released_seller))
                table.append((source, str(m.title), str(m.qty), *money, *closing))
        return table

    def free_to_offer(self, name: str) -> int:
        """GPUs that may still be put into asks of the hour."""
        position = self.engine.contracts[self.contract()].register.positions[self.account(name)]
        return position.capacity() - position.open_asks

    def name(self, account: int) -> str:
        """Whose account it is."""
        return next((name for name, number in self.accounts.items() if number == account), str(account))

    def _sentence(self, event: Event) -> str:
        return " ".join(filter(None, self._words(event)))

    def _words(self, event: Event) -> Iterator[str]:
        kind = type(event).__name__
        match event:
            case ev.Rejected() | ev.OutboxRejected():
                yield from (self.name(event.account), "is refused:", Code(event.code).name.lower())
                if event.need or event.have:
                    yield from self._numbers(event)
            case ev.OrderAccepted():
                verb = "bids" if event.side == Side.BUY else "offers"
                yield from (self.name(event.account), verb, str(event.qty), "at", format_usd(event.price))
            case ev.OrderRepeated():
                yield from (self.name(event.account), "repeats", event.client_id)
            case ev.CancelAccepted():
                yield from (self.name(event.account), "cancels")
            case ev.OrderCancelled():
                yield from (
                    self.name(event.account),
                    "loses",
                    str(event.qty),
                    "of an order:",
                    Reason(event.reason).name.lower(),
                )
            case ev.Filled():
                yield from (self.name(event.buyer), "buys", str(event.qty), "from", self.name(event.seller))
                yield from ("at", format_usd(event.price))
            case ev.BackingSet():
                ground = "declares" if event.ground == Ground.DECLARED else "promises"
                yield from (self.name(event.account), ground, str(event.qty), "" if event.changed else "again")
                yield f"and is short of {event.short}" if event.short else ""
            case ev.TitleCovered():
                yield f"title {event.title} of {event.qty} is covered"
                yield f"as a piece of title {event.source}" if event.source != event.title else ""
            case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed() | ev.HourEnded():
                yield f"hour {hour_of(event.contract) - self.hour:+}: {_MOMENTS[kind]}"
            case ev.TitleEnded():
                yield from (f"title {event.title}", "ends:", self.name(event.obligor), "owes", str(event.qty))
                yield from ("to", self.name(event.holder))
            case ev.CollateralMoved():
                yield from (self.name(event.account), "leaves", format_usd(event.amount), "of collateral")
            case ev.StateSet():
                yield from ("the hour" if event.hour else "the class", "is", State(event.state).name.lower())
            case ev.Ticked():
                yield "a tick"
            case ev.Credited() | ev.Swept():
                yield from (
                    self.name(event.account),
                    "is given" if kind == "Credited" else "gives back",
                    format_usd(event.amount),
                )
            case ev.OutboxSkipped():
                yield f"message {event.outbox} is passed over: {event.expected} is the next"
            case _:
                yield kind

    @staticmethod
    def _numbers(event: ev.Rejected | ev.OutboxRejected) -> Iterator[str]:
        money = event.code in {Code.INSUFFICIENT_FUNDS, Code.OUTSIDE_COLLAR, Code.WRONG_PRICE, Code.WRONG_COLLATERAL}
        need, have = (format_usd(n) if money else str(n) for n in (event.need, event.have))
        yield f"(needs {need}" + (f", has {have})" if event.have or event.code in _TWO_NUMBERS else ")")


_TWO_NUMBERS = {Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING, Code.CANNOT_FILL}
_MOMENTS = {
    "ContractListed": "listed",
    "GateClosed": "gate closed",
    "RunningClosed": "running closed",
    "HourEnded": "ended",
}
_SENTENCES: dict[str, Any] = {
    r"(\w+) (buys|sells) (\d+) at ([\d.]+)((?: (?:ioc|fok|post-only|cancel-oldest))*)(?: as (\S+))?": Market._order,
    r"(\w+) cancels (bid|ask) ([\d.]+)": Market._cancel_at,
    r"(\w+) cancels (\S+)": Market._cancel,
    r"(\w+) declares (\d+)": lambda market, name, qty: market.declare(name, int(qty)),
    r"(\w+) promises (\d+)(?: at ([\d.]+))?": lambda market, name, qty, price: market.promise(
        name, int(qty), price or ""
    ),
    r"(\w+) is given ([\d.]+)": lambda market, name, usd: market.money_moves(cmd.Credit, name, usd),
    r"(\w+) gives back ([\d.]+)": lambda market, name, usd: market.money_moves(cmd.Sweep, name, usd),
    r"(\w+) is a (member|provider|market_maker)": lambda market, name, role: market.role(name, Role[role.upper()]),
    r"the (hour|class) is (open|post-only|cancel-only|halted)": Market._state,
}
