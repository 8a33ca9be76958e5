"""The room at work: reads `rentals` and `events`, decides, records, and trades at the gateway on behalf of who rents.

1. `load`: a record says that this room has begun, `rentals` is read up to it, then `events` of every shard. Until then nobody is
   answered.
2. `follow`: what the market says from then on; each fill may let something else be bought.
3. `work`, in turns: a bounded number of rentals is looked at, with the books that they need, each read once; what is to be
   ordered is recorded, then sent.
4. Members ask through `app`.

Every decision is made and recorded under one lock. An order is recorded before it is sent, so whoever comes after a crash sends
the very same order; and a purchase keeps its client order id until it succeeds, so the exchange itself buys no hour twice. A
notice is a record before it is sent, and how that has ended is another: without it whoever comes after sends it again.
A record that may or may not have been written ends this life; the next one reads what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Final

from schemas import rental as bodies
from schemas.commands import Side
from schemas.ids import class_no_of, format_symbol, hour_of
from schemas.market_clock import MarketClock
from schemas.rentals_log import (
    NoticeClosed,
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalNoticed,
    RentalOver,
    RentalRecord,
    RentalStopped,
    RouterBegan,
    Terms,
    client_id,
)
from schemas.units import MS_PER_HOUR, Hour, Millis
from services.router import answers, asking, previewing
from services.router.books import Book
from services.router.deciding import Decision, Why, Wish, decide, wanted
from services.router.holding import has_until, holdings, past_hour
from services.router.market import Market
from services.router.refusals import Refused
from services.router.sending import LIFE_MS, Attempt, OrderName, Sending, again_ms, is_hopeless
from services.router.state import CLASH, BadRecord, Order, PastHour, Rental, State
from services.router.trading import VALID_MS, Accepted, Away, Exchange, Hooks, Notice, Outcome, Reading, Sent, Unknown
from services.router.trading import Refused as NotTaken
from services.runtime.archive import end_of_whole
from services.runtime.decided import Decided
from services.runtime.log import Clock, Log
from services.runtime.reading import EventsReader
from services.runtime.status import Status

TURN_MS: Final = 250
RENTALS_PER_TURN: Final = 200
DECISIONS_AT_ONCE: Final = 16
"""Then whoever else waits has his turn: one takes up to two milliseconds."""
FOLDS_AT_ONCE: Final = 200
SENDING_MAX: Final = 32
"""Requests to the gateway at one time."""
RENTALS_MAX: Final = 100
"""Of an account, that are not over."""
AWAY_MS_MAX: Final = 10_000
"""A gateway that was away is asked again after that long at the latest."""


class Router:
    """One life. Raises Halt, Superseded, LogError."""

    def __init__(
        self,
        epoch: int,
        rentals: Log,
        events: Sequence[Log],
        exchange: Exchange,
        reading: Reading,
        hooks: Hooks,
        market_clock: MarketClock,
        clock: Clock,
        status: Status,
    ) -> None:
        self.state = State()
        self.market = Market()
        self.ready = False
        self._epoch = epoch
        self._rentals = Decided[RentalRecord](rentals, RentalRecord, epoch, self._take, BadRecord)
        self._events = [EventsReader(log) for log in events]
        self._exchange = exchange
        self._reading = reading
        self._hooks = hooks
        self._market_clock = market_clock
        self._clock = clock
        self._status = status
        self._deciding = asyncio.Lock()
        self._woken = asyncio.Event()
        self._sending = Sending()
        self._ring: deque[int] = deque()
        """Rentals that are not over, in the order of their next turn."""
        self._first: dict[int, None] = {}
        """Rentals of which something is new: looked at before the others."""
        self._whys: dict[int, dict[Hour, Why]] = {}
        """Why hours are missing, by the last look."""
        self._cancelling: dict[int, Millis] = {}
        """Order → elapsed time from which on its cancellation may be asked for again."""
        self._out = 0
        """Requests to the gateway that are not answered yet."""
        self._away_tries = 0
        self._away_until_ms: Millis = 0
        """Elapsed time."""

    @property
    def now_ms(self) -> Millis:
        """Market time."""
        return self._market_clock.market_ms(self._clock.now_ms())

    @property
    def _lapse_ms(self) -> Millis:
        """After so much market time no copy of an order can reach its shard: its validity, and clocks that differ."""
        return 2 * VALID_MS * self._market_clock.rate

    # --- Step 1 ------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Raises Halt, Superseded."""
        self._status.set(role="recovering")
        await self._rentals.begin(RouterBegan(self._epoch, self.now_ms))
        for shard, reader in enumerate(self._events):
            end = await end_of_whole(reader.log)
            while reader.next_offset < end:
                await self._read_events(shard)
                await self._fold()
        self._resume()
        self.ready = True
        self._status.set(role="active")

    def _resume(self) -> None:
        """What an earlier life has left under way: each of its orders may have been sent, each of its notices may be unheard."""
        for rental in self.state.live.values():
            for order in rental.orders.values():
                if not order.refused_code and not self.market.fates.get((rental.account, rental.rental, order.number)):
                    self._begin(rental, order, self.now_ms + self._lapse_ms)
            for notice in rental.untold.values():
                if notice.hour >= self.now_ms // MS_PER_HOUR:
                    self._tell_owner(notice)

    def _begin(self, rental: Rental, order: Order, doubt_ms: Millis) -> None:
        attempt = Attempt(
            account=rental.account,
            shard=self.market.listed(order.contract).shard,
            begun_ms=self._clock.elapsed_ms(),
            contract=order.contract,
            bid=order.qty if order.side == Side.BUY else 0,
            doubt_ms=doubt_ms,
        )
        self._sending.add((rental.rental, order.number), attempt)

    def _take(self, record: RentalRecord) -> None:
        if not self.state.take(record):
            return
        match record:
            case RentalMade():
                self._ring.append(record.rental)
            case RentalOver():
                self._whys.pop(record.rental, None)
            case OrderSent() if self.ready:
                rental = self.state.rentals[record.rental]
                self._begin(rental, rental.orders[record.number], 0)
            case OrderRefused():
                self._sending.drop((record.rental, record.number))
            case RentalNoticed() if self.ready:
                self._tell_owner(record)
            case _:
                pass

    # --- Step 2 ------------------------------------------------------------------------------------------------

    async def follow(self, shard: int) -> None:
        """For ever."""
        while True:
            await self._read_events(shard)

    async def _read_events(self, shard: int) -> None:
        reader = self._events[shard]
        for record in await reader.read():
            output = reader.output(record)
            if output is not None:
                self.market.take(output, self.state)
        self._status.set_of(shard, seq=reader.seq)
        self._look_at_orders()

    def _look_at_orders(self) -> None:
        """Orders that the exchange has told of are under way no more; their rentals are looked at first."""
        for account, number, order in self.market.changed:
            rental = self.state.live.get(number)
            if rental is not None and rental.account == account:
                self._sending.drop((number, order))
                self._first[number] = None
        if self.market.changed:
            self.market.changed.clear()
            self._woken.set()

    async def _fold(self) -> None:
        """Hours that are over become a line of their rentals. Each by itself: others have their turns in between."""
        for contract in sorted(self.market.ended):
            for place, number in enumerate(sorted(self.state.of_contract.pop(contract, ()))):
                if place % FOLDS_AT_ONCE == FOLDS_AT_ONCE - 1:
                    await asyncio.sleep(0)
                rental = self.state.rentals.get(number)
                if rental is not None:
                    self._fold_hour(rental, contract)
            self.market.drop(contract)

    def _fold_hour(self, rental: Rental, contract: int) -> None:
        hour = hour_of(contract)
        for order in rental.orders.values():
            if order.contract == contract:
                self._sending.drop((rental.rental, order.number))
        holding = holdings(rental, self.market).get(hour)
        if holding is not None and holding.contract == contract:
            self.state.fold(rental, past_hour(holding), hour)
        else:
            self.state.fold(rental, PastHour(contract, 0, 0, 0, 0, 0), hour)

    # --- Step 3 ------------------------------------------------------------------------------------------------

    async def work(self, tasks: asyncio.TaskGroup) -> None:
        """For ever. `tasks`: where requests to the gateway run, beside this."""
        while True:
            await self.turn()
            self._send(tasks)
            self._show()
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_MS / 1000):
                    await self._woken.wait()

    async def turn(self) -> None:
        """Look at so many rentals as one turn has room for, and record what is due."""
        await self._fold()
        async with self._deciding:
            await self._rentals.record([*self._without_effect(), *self._told()])
        await self._look_at(self._due())

    def _due(self) -> list[Rental]:
        due: dict[int, None] = {}
        while self._first and len(due) < RENTALS_PER_TURN:
            number = next(iter(self._first))
            del self._first[number]
            due[number] = None
        for _ in range(min(len(self._ring), RENTALS_PER_TURN - len(due))):
            rental = self._ring.popleft()
            if rental in self.state.live:
                self._ring.append(rental)
                due[rental] = None
        return [self.state.live[rental] for rental in due if rental in self.state.live]

    async def _look_at(self, rentals: Sequence[Rental]) -> None:
        """Read the books that they need, decide, and record."""
        books = await self._read_books(rentals)
        async with self._deciding:
            for contract, qty in self._sending.claimed.items():
                if contract in books:
                    books[contract] = books[contract].without(qty)
            records: list[RentalRecord] = []
            begun: dict[tuple[int, int], int] = {}
            for place, rental in enumerate(rentals):
                if place % DECISIONS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if rental.rental in self.state.live:
                    decision = decide(rental, self.market, books, self.now_ms)
                    records += self._records(rental, decision, books, begun)
            await self._rentals.record(records)
            if records:
                self._woken.set()

    async def _read_books(self, rentals: Sequence[Rental]) -> dict[int, Book]:
        now_ms = self.now_ms
        contracts = {
            contract
            for rental in rentals
            for contract in wanted(rental, holdings(rental, self.market), self.market, now_ms)
        }
        symbols = {contract: self._symbol(contract) for contract in contracts}
        books = await self._reading.books(symbols.values()) if symbols else {}
        return {contract: books[symbol] for contract, symbol in symbols.items()}

    def _records(
        self, rental: Rental, decision: Decision, books: dict[int, Book], begun: dict[tuple[int, int], int]
    ) -> Iterable[RentalRecord]:
        """Of one decision. What it takes out of the books is not there for those that follow in this turn."""
        at = (self._epoch, self.now_ms)
        self._whys[rental.rental] = decision.missing
        for order in decision.cancel:
            self._cancelling.setdefault(order, 0)
        numbers = rental.numbers
        for wish in decision.place:
            where = (rental.account, self.market.listed(wish.contract).shard)
            if not self._may_order(begun) or not self._sending.has_room(*where, more=begun.get(where, 0)):
                continue
            begun[where] = begun.get(where, 0) + 1
            number = wish.number if wish.number >= 0 else numbers
            numbers += wish.number < 0
            yield OrderSent(*at, rental.rental, number, wish.contract, wish.side, wish.qty, wish.price)
            self._take_out(books, wish)
        for hour, why in decision.missing.items():
            if why.is_told and (hour, why.code) not in rental.noticed:
                yield RentalNoticed(*at, rental.rental, hour, why.code, why.detail)
        if decision.is_over:
            yield RentalOver(*at, rental.rental)

    def _may_order(self, begun: Collection[object]) -> bool:
        """While nobody is there, one order at a time finds out whether somebody is again."""
        return not self._away_tries or not (self._is_away() or self._sending.of or begun)

    def _take_out(self, books: dict[int, Book], wish: Wish) -> None:
        if wish.side == Side.BUY:
            books[wish.contract] = books[wish.contract].without(wish.qty)

    def _without_effect(self) -> list[RentalRecord]:
        """Orders of which it is certain by now that nothing came of them."""
        self._leave_alone()
        found = list[RentalRecord]()
        for (number, order), attempt in self._sending.of.items():
            if is_hopeless(attempt, self.market.time_ms.get(attempt.shard, 0)):
                code, detail = attempt.code or "no_effect", attempt.detail or "the order was not taken in time"
                found.append(OrderRefused(self._epoch, self.now_ms, number, order, code, detail))
        return found

    # --- Sending -----------------------------------------------------------------------------------------------

    def _leave_alone(self) -> None:
        """What is too old, or not wanted as it is any more, is not sent again."""
        elapsed_ms = self._clock.elapsed_ms()
        for name, attempt in self._sending.of.items():
            attempt.is_left |= elapsed_ms >= attempt.begun_ms + LIFE_MS or not self._is_wanted(name)

    def _is_wanted(self, name: OrderName) -> bool:
        rental = self.state.live.get(name[0])
        if rental is None:
            return False
        order = rental.orders[name[1]]
        return order.side == Side.SELL or not (rental.stopped_ms or order.is_outdated)

    def _send(self, tasks: asyncio.TaskGroup) -> None:
        """As many orders and cancellations as there is room for."""
        if self._is_away():
            return
        self._leave_alone()
        elapsed_ms = self._clock.elapsed_ms()
        room = SENDING_MAX - self._out
        for name in self._sending.take(elapsed_ms, min(1, room) if self._away_tries else room):
            self._out += 1
            tasks.create_task(self._place(self._sending.of[name], self._sent(name)))
        due = [order for order, from_ms in self._cancelling.items() if from_ms <= elapsed_ms]
        for order in due[: SENDING_MAX - self._out]:
            account = self.market.owner_of(order)
            if account:
                self._cancelling[order] = elapsed_ms + again_ms(4)
                self._out += 1
                tasks.create_task(self._asked(self._exchange.cancel(account, order)))
            else:
                del self._cancelling[order]

    def _sent(self, name: OrderName) -> Sent:
        rental = self.state.rentals[name[0]]
        order = rental.orders[name[1]]
        return Sent(
            account=rental.account,
            client_id=client_id(*name),
            symbol=self._symbol(order.contract),
            side=order.side,
            qty=order.qty,
            price=order.price,
            launch=rental.terms.launch,
        )

    async def _place(self, attempt: Attempt, sent: Sent) -> None:
        outcome = await self._asked(self._exchange.place(sent))
        attempt.is_out = False
        attempt.tries += 1
        attempt.next_ms = self._clock.elapsed_ms() + again_ms(attempt.tries)
        match outcome:
            case Accepted() | NotTaken(code="duplicate_client_id"):
                # What stands under this id is our own order, and `events` tells of it soon; or one that its owner made before.
                attempt.code, attempt.detail = CLASH, "its client order id stands for another order of yours"
                attempt.doubt_ms = max(attempt.doubt_ms, self.now_ms + self._lapse_ms)
            case NotTaken():
                attempt.code, attempt.detail = outcome.code, outcome.detail
            case Unknown():
                attempt.doubt_ms = self.now_ms + self._lapse_ms
            case Away():
                pass
        self._woken.set()

    async def _asked(self, request: Awaitable[Outcome]) -> Outcome:
        try:
            outcome = await request
        finally:
            self._out -= 1
        self._note(outcome)
        return outcome

    def _note(self, outcome: Outcome) -> None:
        """Whether anybody is there."""
        if isinstance(outcome, Away) and outcome.is_everything:
            self._away_until_ms = self._clock.elapsed_ms() + min(again_ms(self._away_tries), AWAY_MS_MAX)
            self._away_tries += 1
            self._status.wait("gateway", outcome.why)
        elif self._away_tries:
            self._away_tries = 0
            self._away_until_ms = 0
            self._status.go_on("gateway")

    def _is_away(self) -> bool:
        return self._clock.elapsed_ms() < self._away_until_ms

    # --- Telling -----------------------------------------------------------------------------------------------

    def _told(self) -> list[RentalRecord]:
        """Of notices that webhooks are told no more: one of each, since it is not told again after that."""
        return [
            NoticeClosed(self._epoch, self.now_ms, notice.rental, notice.hour, notice.code, is_taken)
            for notice, is_taken in self._hooks.ended()
        ]

    def _tell_owner(self, record: RentalNoticed) -> None:
        rental = self.state.rentals[record.rental]
        if rental.terms.webhook:
            self._hooks.tell(
                Notice(
                    rental=record.rental,
                    account=rental.account,
                    webhook=rental.terms.webhook,
                    hour=record.hour,
                    code=record.code,
                    detail=record.detail,
                    at_ms=record.time_ms,
                )
            )

    def _show(self) -> None:
        """In numbers, for `/status` and `/metrics`."""
        self._status.set(
            rentals=len(self.state.live),
            rentals_short=sum(bool(whys) for whys in self._whys.values()),
            orders_under_way=len(self._sending.of),
        )

    def _symbol(self, contract: int) -> str:
        return format_symbol(self.market.by_number[class_no_of(contract)].class_id, hour_of(contract))

    # --- Step 4: members ---------------------------------------------------------------------------------------

    async def make(self, account: int, key: str, request: bodies.RentalRequest) -> bodies.RentalAnswer:
        """A new rental; the same again under the same key is the first one. Raises Refused."""
        self._check_ready()
        async with self._deciding:
            known = self.state.by_key.get((account, key))
            if known is None:
                terms = self._terms(request, self.now_ms)
                if self.state.live_of(account) >= RENTALS_MAX:
                    raise Refused("too_many_rentals", f"an account has at most {RENTALS_MAX} rentals; stop one")
                number = self.state.rental_last + 1
                await self._rentals.record([RentalMade(self._epoch, self.now_ms, number, account, key, terms)])
            else:
                number, made = known, self.state.rentals[known].made
                if not asking.is_same(request, made, self.market, sandbox=self._market_clock.sandbox):
                    raise Refused(
                        "request_reused", f"this key stands for rental {known}, which asks for something else"
                    )
        return await self._looked_at(self.state.rentals[number])

    async def change(self, account: int, number: int, change: bodies.RentalChange) -> bodies.RentalAnswer:
        """Raises Refused."""
        async with self._deciding:
            rental = self._of(account, number)
            if rental.over_ms or rental.stopped_ms:
                raise Refused("rental_over", f"rental {number} was stopped or is over: make a new one")
            until = has_until(rental, self.market, self.now_ms)
            terms = asking.changed(rental.terms, change, self.market, until, sandbox=self._market_clock.sandbox)
            if terms != rental.terms:
                await self._rentals.record([RentalChanged(self._epoch, self.now_ms, number, terms)])
        return await self._looked_at(rental)

    async def stop(self, account: int, number: int, asked: bodies.RentalStop) -> bodies.RentalAnswer:
        """Nothing more is bought. Again, it changes nothing. Raises Refused."""
        async with self._deciding:
            rental = self._of(account, number)
            if not rental.over_ms and not rental.stopped_ms:
                on_stop = asked.on_stop or rental.terms.on_stop
                await self._rentals.record([RentalStopped(self._epoch, self.now_ms, number, on_stop)])
        return await self._looked_at(rental)

    def rental(self, account: int, number: int) -> bodies.RentalAnswer:
        """Raises Refused."""
        return self._answer(self._of(account, number))

    def rentals(self, account: int) -> list[bodies.RentalAnswer]:
        """An account's, the newest first. Raises Refused."""
        self._check_ready()
        return [self._answer(self.state.rentals[number]) for number in reversed(self.state.of_account.get(account, []))]

    def _terms(self, request: bodies.RentalRequest, now_ms: Millis) -> Terms:
        """What it asks for, as it would be kept now. Raises Refused."""
        self._check_ready()
        return asking.terms_of(request, self.market, now_ms, sandbox=self._market_clock.sandbox)

    async def preview(self, request: bodies.RentalRequest) -> bodies.RentalPreviewAnswer:
        """What a rental would do now; nothing changes. Raises Refused."""
        now_ms = self.now_ms
        terms = self._terms(request, now_ms)
        contracts = {contract: self._symbol(contract) for contract in previewing.wanted(terms, self.market, now_ms)}
        books = await self._reading.books(contracts.values())
        by_contract = {contract: books[symbol] for contract, symbol in contracts.items()}
        return previewing.preview(terms, self.market, by_contract, now_ms)

    async def _looked_at(self, rental: Rental) -> bodies.RentalAnswer:
        """What cannot be had is said at once."""
        if not rental.over_ms:
            await self._look_at([rental])
            self._woken.set()
        return self._answer(rental)

    def _answer(self, rental: Rental) -> bodies.RentalAnswer:
        key = self._hooks.key(rental.rental) if rental.terms.webhook else ""
        return answers.rental(rental, self.market, self._whys.get(rental.rental, {}), self.now_ms, key)

    def _of(self, account: int, number: int) -> Rental:
        self._check_ready()
        rental = self.state.rentals.get(number)
        if rental is None or rental.account != account:
            raise Refused("unknown_rental", "you have no such rental; GET /v1/rentals lists yours")
        return rental

    def _check_ready(self) -> None:
        if not self.ready:
            raise Refused("not_ready", "the router is catching up: it reads the log from its beginning")
