"""The real engine behind the desk's view of the exchange, in place of gateway, log and settlement.

Faults are drawn or scripted: `lost` (the request never arrives, the caller cannot know), `late` (it arrives, the answer does
not), and `away` (nothing is answered at all).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

from schemas import events as ev
from schemas.commands import (
    CancelOrder,
    Command,
    Credit,
    Fees,
    Ground,
    PlaceOrder,
    Role,
    SetAccount,
    SetBacking,
    SetClass,
    Side,
    StartShard,
    Tif,
)
from schemas.events import Code
from schemas.ids import contract_of, format_order, format_symbol, hour_of, parse_order, parse_symbol
from services.market_maker.exchange import (
    Accepted,
    Backing,
    Contract,
    GatewayAway,
    ListedClass,
    OpenOrder,
    Outcome,
    Refused,
    Unknown,
)
from services.market_maker.quoting import Terms
from services.matching.book import key_of
from services.matching.engine import Engine
from services.runtime.log import Clock

HOUR_MS = 3_600_000
T0_MS = 497_000 * HOUR_MS
DESK, BUYER = 1, 2


class HallClock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.ms = T0_MS

    def now_ms(self) -> int:
        return self.ms

    async def sleep_ms(self, duration_ms: int) -> None:
        self.ms += duration_ms
        await asyncio.sleep(0)


class Hall:
    """One shard, the desk's account, and a buyer."""

    def __init__(self, clock: HallClock, *, wallet: int = 10**12, horizon: int = 6) -> None:
        self.clock: Clock = clock
        self.engine = Engine()
        self.engine.apply(0, T0_MS, [StartShard(0, 1, T0_MS)])
        self.wallet = wallet
        self.horizon = horizon
        self.away = False
        self.faults: deque[str] = deque()
        self.chance: random.Random | None = None
        self.requests = 0
        self.placed: list[str] = []
        """Client ids of orders that the engine accepted, in order."""
        self._outbox = 0
        self._numbers: dict[str, int] = {}
        self._terms: dict[str, Terms] = {}
        for account, role in ((DESK, Role.MARKET_MAKER), (BUYER, Role.MEMBER)):
            self.settle(SetAccount(self.next_outbox(), account, account, role, 0))
        self.settle(Credit(self.next_outbox(), BUYER, 10**13))

    # --- The world outside --------------------------------------------------------------------------------------------

    def list(self, class_id: str, *, lot: int = 1, tick: int = 10, list_price: int = 10_000) -> None:
        number = len(self._numbers) + 1
        spec = SetClass(self.next_outbox(), number, class_id, lot, tick, list_price, Fees(), self.horizon)
        self.settle(spec)
        self._numbers[class_id] = number
        self._terms[class_id] = Terms(
            class_id=class_id, lot=lot, tick=tick, low=list_price // 2, high=list_price * 2,
            buyer_taker_bp=0, seller_bp=50,
        )  # fmt: skip

    def buy(self, symbol: str, qty: int, price: int) -> int:
        """The buyer takes what is there; how much."""
        class_id, hour = parse_symbol(symbol)
        contract = contract_of(self._numbers[class_id], hour)
        valid = self.engine.time_ms + 30_000
        order = PlaceOrder(BUYER, contract, Side.BUY, qty, price, Tif.IOC, 0, "", valid)
        return sum(event.qty for event in self.apply(order) if isinstance(event, ev.Filled))

    def apply(self, *commands: Command) -> list[ev.Event]:
        return self.engine.apply(self.engine.offset + 1, self.clock.now_ms(), commands)

    def settle(self, command: Command) -> ev.Event:
        (outcome, *_) = [event for event in self.apply(command) if getattr(event, "index", None) == 0]
        return outcome

    def next_outbox(self) -> int:
        self._outbox += 1
        return self._outbox

    # --- What the desk reads ------------------------------------------------------------------------------------------

    async def classes(self) -> list[ListedClass]:
        await self._read()
        return [ListedClass(terms, takes_orders=True) for terms in self._terms.values()]

    async def contracts(self, class_id: str) -> list[Contract]:
        await self._read()
        number = self._numbers[class_id]
        hours = sorted((hour_of(c), book) for c, book in self.engine.contracts.items() if c >> 24 == number)
        return [Contract(format_symbol(class_id, hour), hour, book.forward, takes_orders=True) for hour, book in hours]

    async def open_orders(self) -> list[OpenOrder]:
        await self._read()
        names = {known.order: name for name, known in self.engine.accounts[DESK].client_ids.items()}
        return [
            OpenOrder(
                self._symbol(order.contract), format_order(order.order), names.get(order.order, ""), order.side == Side.SELL,
                order.price, order.leaves,
            )
            for order in self.engine.orders.values()
            if order.account == DESK
        ]  # fmt: skip

    async def backing(self) -> list[Backing]:
        await self._read()
        found = []
        for number, book in self.engine.contracts.items():
            position = book.register.positions.get(DESK)
            if position:
                own = position.on(Ground.PROMISED)
                found.append(
                    Backing(self._symbol(number), own.qty, own.owed_qty, own.collateral_price, own.version)
                )  # fmt: skip
        return found

    async def find(self, client_id: str) -> Accepted | None:
        await self._read()
        known = self.engine.accounts[DESK].client_ids.get(client_id)
        return Accepted(format_order(known.order), self._leaves(known.order)) if known else None

    # --- What the desk asks -------------------------------------------------------------------------------------------

    async def place(self, symbol: str, qty: int, price: int, client_id: str, valid_ms: int) -> Outcome:
        class_id, hour = parse_symbol(symbol)
        contract = contract_of(self._numbers[class_id], hour)
        valid_until_ms = self._market_ms() + valid_ms
        order = PlaceOrder(DESK, contract, Side.SELL, qty, price, Tif.GTC, 0, client_id, valid_until_ms)
        return await self._ask(order)

    async def cancel(self, order: str) -> Outcome:
        return await self._ask(CancelOrder(DESK, parse_order(order), "", self._market_ms() + 5_000))

    async def back(
        self, class_id: str, first_hour: int, hours: int, qty: int, collateral_price: int, version: int
    ) -> Outcome:
        run = tuple(range(first_hour, first_hour + hours))
        number = self._numbers[class_id]
        return await self._ask(
            SetBacking(0, DESK, number, run, Ground.PROMISED, qty, collateral_price, version)
        )  # fmt: skip

    async def fund(self, class_id: str, amount: int) -> Outcome:
        assert class_id in self._numbers
        if amount > self.wallet:
            return Refused("insufficient_funds", need=amount, have=self.wallet)
        outcome = await self._ask(Credit(0, DESK, amount))
        if isinstance(outcome, Accepted):
            self.wallet -= amount
        return outcome

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        self.requests += 1
        await asyncio.sleep(0)
        if self.away:
            raise GatewayAway("away")

    async def _ask(self, command: PlaceOrder | CancelOrder | SetBacking | Credit) -> Outcome:
        self.requests += 1
        await asyncio.sleep(0)
        fault = self._fault()
        if fault == "lost":
            return Unknown("no answer")
        if isinstance(command, SetBacking):
            command = SetBacking(self.next_outbox(), *(getattr(command, f) for f in SetBacking.__struct_fields__[1:]))
        elif isinstance(command, Credit):
            command = Credit(self.next_outbox(), command.account, command.amount)
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
        match outcome:
            case ev.OrderAccepted():
                self.placed.append(outcome.client_id)
                return Accepted(format_order(outcome.order), self._leaves(outcome.order))
            case ev.OrderRepeated():
                return Accepted(format_order(outcome.order), self._leaves(outcome.order))
            case ev.Rejected() | ev.OutboxRejected():
                return Refused(Code(outcome.code).name.lower(), need=outcome.need, have=outcome.have)
        return Accepted()

    def _leaves(self, number: int) -> int:
        order = self.engine.orders.get(key_of(number))
        return order.leaves if order else 0

    def _symbol(self, contract: int) -> str:
        (class_id,) = [name for name, number in self._numbers.items() if number == contract >> 24]
        return format_symbol(class_id, hour_of(contract))
