"""The real engine behind the desk's view of the exchange, in place of gateway, log and settlement.

Faults are drawn or scripted: `lost` (the request never arrives, the caller cannot know), `late` (it arrives, the answer does
not), and `away` (nothing is answered at all).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import (
    CancelAllAfter,
    CancelOrder,
    Command,
    Credit,
    Fees,
    Ground,
    MassCancel,
    PlaceOrder,
    PutQuotes,
    QuoteHour,
    Role,
    SetAccount,
    SetBacking,
    SetClass,
    Side,
    StartShard,
    Tick,
    Tif,
)
from schemas.events import Code
from schemas.ids import class_no_of, contract_of, format_order, format_symbol, hour_of, parse_order, parse_symbol
from services.market_maker.exchange import (
    FILLS_MAX,
    Accepted,
    Backing,
    BookHour,
    Fill,
    GatewayAway,
    ListedClass,
    OpenOrder,
    Outcome,
    Position,
    Refused,
    Unknown,
)
from services.market_maker.quoting import HourQuote, Terms
from services.matching.book import HalfBook, Order
from services.matching.engine import Engine
from services.matching.literals import CANCEL_ONLY
from services.runtime.log import Clock
from tests.clock import HandClock

HOUR_MS = 3_600_000
T0_MS = 497_000 * HOUR_MS
DESK, OTHER = 1, 2
FEES = Fees()


class Hall:
    """One shard, the desk's account, and another member with money and machines."""

    def __init__(self, clock: HandClock, *, wallet: int = 10**12, horizon: int = 6) -> None:
        self.clock: Clock = clock
        self.engine = Engine()
        self.engine.apply(0, T0_MS, [StartShard(0, 2, T0_MS)])
        self.wallet = wallet
        self.horizon = horizon
        self.away = False
        self.faults: deque[str] = deque()
        self.chance: random.Random | None = None
        self.requests = 0
        self.halted: set[int] = set()
        """Shards that do not answer."""
        self.in_vain = 0
        """Requests to shards that do not answer, beside those for the switch."""
        self.lived_ms = 0
        """When the dead man's switch was last set."""
        self._outbox = 0
        self._fills: list[tuple[int, str]] = []
        self._numbers: dict[str, int] = {}
        self._shards: dict[str, int] = {}
        self._terms: dict[str, Terms] = {}
        for account, role in ((DESK, Role.MARKET_MAKER), (OTHER, Role.PROVIDER)):
            self.settle(SetAccount(self.next_outbox(), account, account, role, 0))
        self.settle(Credit(self.next_outbox(), OTHER, 10**13))

    # --- The world outside --------------------------------------------------------------------------------------------

    def list(self, class_id: str, *, lot: int = 1, tick: int = 10, list_price: int = 10_000, shard: int = 0) -> None:
        """`shard`: as the gateway tells it, and as `halted` means it; the engine is one."""
        number = len(self._numbers) + 1
        self._shards[class_id] = shard
        spec = SetClass(self.next_outbox(), number, class_id, lot, tick, list_price, FEES, self.horizon)
        self.settle(spec)
        self._numbers[class_id] = number
        self.settle_time()  # the gate of the hour that runs has passed
        mine = [
            book for book in self.engine.contracts.values() if class_no_of(book.contract) == number and book.forward
        ]
        hours = tuple(sorted(hour_of(book.contract) for book in mine))
        self.settle(SetBacking(self.next_outbox(), OTHER, number, hours, Ground.DECLARED, 10_000 * lot, 0, 1))
        self._terms[class_id] = Terms(
            class_id=class_id, lot=lot, tick=tick, reference=list_price, low=list_price // 2, high=list_price * 2,
            gate_ms=300_000, cover_ms=1_800_000, buyer_maker_bp=0, buyer_taker_bp=0, seller_bp=50,
        )  # fmt: skip

    def trade(self, symbol: str, side: Side, qty: int, price: int, tif: Tif = Tif.IOC) -> list[ev.Filled]:
        """What the other member buys or sells."""
        class_id, hour = parse_symbol(symbol)
        contract = contract_of(self._numbers[class_id], hour)
        valid = self.engine.time_ms + 30_000
        order = PlaceOrder(OTHER, contract, side, qty, price, tif, 0, "", valid)
        return [event for event in self.apply(order) if isinstance(event, ev.Filled)]

    def apply(self, *commands: Command) -> list[ev.Event]:
        events = self.engine.apply(self.engine.offset + 1, self.clock.now_ms(), commands)
        for event in events:
            if isinstance(event, ev.Filled) and DESK in {event.buyer, event.seller}:
                self._fills.append((event.trade, self._symbol(event.contract)))
        return events

    def settle(self, command: Command) -> ev.Event:
        (outcome, *_) = [event for event in self.apply(command) if getattr(event, "index", None) == 0]
        return outcome

    def settle_time(self) -> None:
        """The engine's time comes up to the clock's."""
        self.apply(Tick(self.clock.now_ms()))

    def next_outbox(self) -> int:
        self._outbox += 1
        return self._outbox

    # --- What the desk reads ------------------------------------------------------------------------------------------

    async def classes(self) -> list[ListedClass]:
        await self._read()
        return [
            ListedClass(
                terms, self._shards[name], takes_orders=self.engine.classes[self._numbers[name]].state < CANCEL_ONLY
            )
            for name, terms in self._terms.items()
        ]

    async def grid(self, terms: Terms) -> list[BookHour]:
        await self._read()
        number = self._numbers[terms.class_id]
        found = []
        for contract, book in sorted(self.engine.contracts.items()):
            if class_no_of(contract) == number:
                phase = "forward" if book.forward else "closed" if book.closed else "running"
                found.append(
                    BookHour(
                        hour=hour_of(contract), symbol=self._symbol(contract), phase=phase,
                        takes_orders=book.state_now() < CANCEL_ONLY, bid=book.bids.best(), bid_qty=_best(book.bids),
                        bid_next=_next(book.bids), ask=book.asks.best(), ask_qty=_best(book.asks),
                        ask_next=_next(book.asks), high=book.high,
                    )
                )  # fmt: skip
        return found

    async def positions(self) -> list[Position]:
        await self._read()
        found = []
        for number, book in sorted(self.engine.contracts.items()):
            own = book.register.positions.get(DESK)
            if own:
                proceeds = sum(t.proceeds for backing in (own.declared, own.promised, own.ready) for t in backing)
                owed = own.owed_qty() + own.ready.owed_qty
                found.append(Position(self._symbol(number), own.held.qty + own.running.qty, owed, proceeds))
        return found

    async def backing(self) -> list[Backing]:
        await self._read()
        found = []
        for number, book in sorted(self.engine.contracts.items()):
            own = book.register.positions.get(DESK)
            for ground, backing in (("promised", own.promised), ("ready", own.ready)) if own else ():
                found.append(
                    Backing(
                        self._symbol(number), ground, backing.qty, backing.owed_qty, backing.collateral_price, backing.version
                    )
                )  # fmt: skip
        return found

    async def orders(self) -> list[OpenOrder]:
        await self._read()
        return [
            OpenOrder(self._symbol(order.contract), format_order(order.order), order.price, order.leaves)
            for order in self.own()
            if not self.engine.contracts[order.contract].forward
        ]

    async def fills(self) -> list[Fill]:
        await self._read()
        return [Fill(str(trade), symbol) for trade, symbol in self._fills[-FILLS_MAX:][::-1]]

    async def money(self) -> int:
        await self._read()
        return self.wallet + self.engine.accounts[DESK].cash

    def own(self) -> list[Order]:
        """The desk's open orders, quotes included, by contract, bids first."""
        found = [order for order in self.engine.orders.values() if order.account == DESK]
        return sorted(found, key=lambda order: (order.contract, order.side, order.order))

    # --- What the desk asks -------------------------------------------------------------------------------------------

    async def quote(self, class_id: str, number: int, quotes: Sequence[tuple[int, HourQuote]]) -> Outcome:
        lines = tuple(QuoteHour(hour, q.bid, q.bid_qty, q.ask, q.ask_qty) for hour, q in quotes)
        cash = sum(q.bid * q.bid_qty + q.bid_qty for _, q in quotes)
        await self.fund(class_id, cash)  # the door moves what bids lack
        put = PutQuotes(DESK, self._numbers[class_id], number, lines, self._market_ms() + 5_000)
        return await self._ask_of(class_id, put)

    async def back(
        self, class_id: str, first_hour: int, hours: int, ground: str, qty: int, collateral_price: int, version: int
    ) -> Outcome:
        run = tuple(range(first_hour, first_hour + hours))
        number, kind = self._numbers[class_id], Ground[ground.upper()]
        return await self._ask_of(class_id, SetBacking(0, DESK, number, run, kind, qty, collateral_price, version))

    async def fund(self, class_id: str, amount: int) -> Outcome:
        assert class_id in self._numbers
        if amount > self.wallet:
            return Refused("insufficient_funds", need=amount, have=self.wallet)
        if not amount:
            return Accepted()
        outcome = await self._ask(Credit(0, DESK, amount))
        if isinstance(outcome, Accepted):
            self.wallet -= amount
        return outcome

    async def place(self, symbol: str, qty: int, price: int, client_id: str) -> Outcome:
        class_id, hour = parse_symbol(symbol)
        contract = contract_of(self._numbers[class_id], hour)
        valid = self._market_ms() + 5_000
        order = PlaceOrder(DESK, contract, Side.SELL, qty, price, Tif.GTC, 0, client_id, valid)
        return await self._ask_of(class_id, order)

    async def cancel(self, order: str) -> Outcome:
        return await self._ask(CancelOrder(DESK, parse_order(order), "", self._market_ms() + 5_000))

    async def pull(self, class_id: str) -> Outcome:
        cancel = MassCancel(DESK, self._numbers.get(class_id, 0), 0, 0, self._market_ms() + 5_000)
        return await self._ask_of(class_id, cancel)

    async def live_for(self, class_id: str, after_ms: int) -> Outcome:
        if self._shards[class_id] in self.halted:
            return Unknown("outcome_unknown")
        outcome = await self._ask(CancelAllAfter(DESK, after_ms, self._market_ms() + 5_000))
        if isinstance(outcome, Accepted):
            self.lived_ms = self.clock.now_ms()
        return outcome

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        self.requests += 1
        await asyncio.sleep(0)
        if self.away:
            raise GatewayAway("away")

    async def _ask_of(self, class_id: str, command: Command) -> Outcome:
        if self._shards.get(class_id) in self.halted:
            self.in_vain += 1
            return Unknown("outcome_unknown")
        return await self._ask(command)

    async def _ask(self, command: Command) -> Outcome:
        self.requests += 1
        await asyncio.sleep(0)
        fault = self._fault()
        if fault == "lost":
            return Unknown("no answer")
        if isinstance(command, SetBacking | Credit):
            command = replace(command, outbox=self.next_outbox())
        answer = self._answer(self.apply(command))
        return Unknown("no answer") if fault == "late" else answer

    def _market_ms(self) -> int:
        """What the gateway takes for the time: no further ahead than the next record can bring the engine."""
        return max(self.engine.time_ms, min(self.clock.now_ms(), self.engine.time_ms + 60_000))

    def _fault(self) -> str:
        if self.away:
            return "lost"
        if self.faults:
            return self.faults.popleft()
        if self.chance is not None and self.chance.random() < 0.2:
            return self.chance.choice(("lost", "late"))
        return ""

    def _answer(self, events: list[ev.Event]) -> Outcome:
        (outcome, *_) = [event for event in events if getattr(event, "index", None) == 0]
        if isinstance(outcome, ev.Rejected | ev.OutboxRejected):
            return Refused(Code(outcome.code).name.lower(), need=outcome.need, have=outcome.have)
        if isinstance(outcome, ev.QuotesPut):
            refused = [(each.hour, Code(each.code).name.lower()) for each in outcome.outcomes if each.code]
            return Accepted(tuple(refused), outcome.number)
        return Accepted()

    def _symbol(self, contract: int) -> str:
        (class_id,) = [name for name, number in self._numbers.items() if number == class_no_of(contract)]
        return format_symbol(class_id, hour_of(contract))


def _best(half: HalfBook) -> int:
    return sum(order.leaves for order in half.top) if half.top is not None else 0


def _next(half: HalfBook) -> int:
    return half.keys[-2] * half.sign if len(half.keys) > 1 else 0
