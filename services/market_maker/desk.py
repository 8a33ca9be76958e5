"""The loop of the desk: read what stands, compare it with what should, and mend the difference.

Two tasks. `follow` reads the topic `offers` and notes each change. `trade` reads everything of its own from the gateway (classes,
contracts, open orders, backing), at the start and every `refresh_ms`, and plans after each reading, after each change of the
catalogues, and when a source grows stale. Between two readings it keeps account of its own acknowledgements only.

What may happen at any time, and the answer:
- the gateway does not answer: nothing is known to have changed; wait and read everything again;
- an order's outcome is unknown: ask by its client id, send the very same order again while it is still wanted; its contract
  waits meanwhile. Whatever came of it shows at the next reading, since plans start from what stands and not from what was sent;
- the catalogue moves while a plan is carried out: what is left of the plan is dropped, and a new one made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.ids import parse_symbol
from schemas.supply import OfferRecord
from schemas.units import Gpus, Hour, Price, format_usd
from services.market_maker.exchange import Accepted, Exchange, GatewayAway, Outcome, Refused, Unknown
from services.market_maker.limits import Limits
from services.market_maker.offers import Offers
from services.market_maker.planning import Ask, HourState, Plan, Requote, SetBacking, plan
from services.market_maker.quoting import NoQuote, Quote, Terms, quote, sizes
from services.runtime.errors import Halt
from services.runtime.log import Clock, Log, LogError, OutOfRange
from services.runtime.status import Status

PASSES_MAX: Final = 4
"""Plans in a row without a reading between them: backing, orders on it, and what a fill has changed meanwhile."""
RETRY_MS: Final = 250
FOLLOW_MS: Final = 500
AWAY_MS_MAX: Final = 2_000
STOP_MS_MAX: Final = 8_000
"""For pulling asks at an orderly stop."""

_decoder = msgspec.msgpack.Decoder(OfferRecord)


class _Class(Struct):
    """A listed class and the desk's own things in its hours."""

    terms: Terms
    hours: dict[Hour, HourState]
    version: int
    """The highest version of its backing."""


class Desk:
    """One account's asks in every listed class."""

    def __init__(self, exchange: Exchange, limits: Limits, clock: Clock, status: Status) -> None:
        self.offers = Offers(limits.stale_after_ms)
        self.classes: dict[str, _Class] = {}
        self.quotes: dict[str, Quote | NoQuote] = {}
        self._exchange = exchange
        self._limits = limits
        self._clock = clock
        self._status = status
        self._changed = asyncio.Event()
        """Set when the catalogues have moved since the last plan."""
        self._caught_up = asyncio.Event()
        """Set when `follow` has read what was on the topic when it began."""
        self._in_flight = asyncio.Semaphore(limits.in_flight_max)
        self._orders = 0
        self._run = secrets.token_hex(6)
        """Makes client ids differ from those of every process before, also where a clock was set back."""
        self._counts = {"placed": 0, "cancelled": 0, "refused": 0, "unknown": 0}
        self._last_refusal = ""
        self._lines = logging.getLogger("hourbook.market_maker")

    # --- The catalogues -----------------------------------------------------------------------------------------------

    async def follow(self, log: Log) -> None:
        """Read `offers` from its beginning, for ever. While the broker is away, sources grow stale. Raises Halt."""
        offset, end = -1, 0
        while True:
            try:
                if offset < 0:
                    offset, end = await log.bounds()
                    self.offers = Offers(self._limits.stale_after_ms)
                records = await log.read(offset, wait_ms=FOLLOW_MS)
            except LogError as error:
                self._status.set(offers_error=str(error))
                if isinstance(error, OutOfRange):
                    # Another log than the one that was read: what it said counts no more.
                    offset = -1
                await self._clock.sleep_ms(RETRY_MS)
                continue
            self._status.set(offers_error="", offers_offset=offset)
            for record in records:
                try:
                    self.offers.apply(_decoder.decode(record.value))
                except UNREADABLE as error:
                    # It may say that an offer is gone: asks that cannot be judged do not stay.
                    raise Halt(f"{log.topic} offset {record.offset} is not an offer record: {error}") from error
                offset = record.offset + 1
            if records:
                self._changed.set()
            if offset >= end:
                self._caught_up.set()

    # --- The books ----------------------------------------------------------------------------------------------------

    async def trade(self) -> None:
        """For ever; an orderly stop pulls the asks."""
        try:
            # Asks of the process before are judged by the catalogues, not by not having read them yet.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._caught_up.wait(), self._limits.stale_after_ms / 1_000)
            while True:
                await self._away(self.read)
                await self._mend_until(self._clock.now_ms() + self._limits.refresh_ms)
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def read(self) -> None:
        """Everything of its own, from the gateway. Raises GatewayAway."""
        listed = await self._exchange.classes()
        contracts = await asyncio.gather(*(self._exchange.contracts(each.terms.class_id) for each in listed))
        # Backing before orders: a fill between the two then shows as too few asks, never as too many.
        backing = {each.symbol: each for each in await self._exchange.backing()}
        asks: dict[str, list[Ask]] = {}
        for order in await self._exchange.open_orders():
            if order.is_ask:
                asks.setdefault(order.symbol, []).append(Ask(order.order, order.price, order.leaves))
        self.classes = {}
        for each, hours in zip(listed, contracts, strict=True):
            known = {hour.symbol: backing[hour.symbol] for hour in hours if hour.symbol in backing}
            states = {}
            for hour in hours:
                own = known.get(hour.symbol)
                states[hour.hour] = HourState(
                    hour=hour.hour, symbol=hour.symbol, forward=hour.forward,
                    takes_orders=hour.takes_orders and each.takes_orders,
                    asks=tuple(asks.get(hour.symbol, ())), backing=own.qty if own else 0,
                    owed=own.owed if own else 0, collateral_price=own.collateral_price if own else 0,
                )  # fmt: skip
            version = max((own.version for own in known.values()), default=0)
            self.classes[each.terms.class_id] = _Class(each.terms, states, version)

    async def _mend_until(self, deadline_ms: int) -> None:
        """Plan and act, now and whenever the catalogues move or a source grows stale."""
        while True:
            self._changed.clear()
            await self.mend()
            wait_ms = deadline_ms - self._clock.now_ms()
            if wait_ms <= 0:
                return
            stale_at_ms = self.offers.stale_at_ms()
            if stale_at_ms is not None and stale_at_ms > self._clock.now_ms():
                wait_ms = min(wait_ms, stale_at_ms - self._clock.now_ms())
            try:
                await asyncio.wait_for(self._changed.wait(), wait_ms / 1_000)
            except TimeoutError:
                # The deadline, or a source that has just grown stale: either way look again.
                if self._clock.now_ms() >= deadline_ms:
                    return

    async def mend(self) -> None:
        """Plan and act until everything stands where it should, nothing gets better, or the catalogues have moved."""
        self._quote()
        for _ in range(PASSES_MAX):
            plans = {name: self._plan(name) for name in self.classes}
            if all(each.idle for each in plans.values()):
                break
            done = await asyncio.gather(*(self._back(b) for each in plans.values() for b in each.backing))
            requotes = [requote for each in plans.values() for requote in each.requotes]
            # Pulls first: an ask that rests on nothing costs more than one that is missing. Then the nearest hours.
            requotes.sort(key=lambda requote: (requote.qty > 0, requote.hour, requote.symbol))
            done += await asyncio.gather(*(self._requote(requote) for requote in requotes))
            if self._changed.is_set() or not any(done):
                break
        self._tell()

    def _quote(self) -> None:
        self.quotes = {name: each for name, each in self.quotes.items() if name in self.classes}
        size = sizes([each.terms for each in self.classes.values()], self._limits)
        now_ms = self._clock.now_ms()
        for name, each in self.classes.items():
            offer = self.offers.cheapest(name, now_ms)
            result = quote(each.terms, offer, self._limits.margin_of(name), size[name])
            if words(self.quotes.get(name)) != words(result):
                self._lines.info("quote", extra={"fields": {"class": name, "asks": words(result)}})
            self.quotes[name] = result

    def _plan(self, name: str) -> Plan:
        each = self.classes[name]
        hours = sorted(each.hours.values(), key=lambda state: state.hour)
        return plan(each.terms, self.quotes[name], hours, self._limits.window_hours)

    # --- Acting -------------------------------------------------------------------------------------------------------

    async def _back(self, wanted: SetBacking) -> bool:
        """True: it stands."""
        each = self.classes[wanted.class_id]
        # A version of the clock's is above every earlier one of this account, whoever set it.
        each.version = max(each.version + 1, self._clock.now_ms())
        outcome = await self._send_backing(wanted, each.version)
        if isinstance(outcome, Refused) and outcome.code == "insufficient_funds":
            missing = outcome.need - outcome.have if outcome.need > outcome.have else self._increase(wanted)
            outcome = await self._exchange.fund(wanted.class_id, missing)
            if isinstance(outcome, Accepted):
                outcome = await self._send_backing(wanted, each.version)
        self._count(outcome, "backed", f"backing of {wanted.class_id}")
        if not isinstance(outcome, Accepted):
            return False
        for hour in range(wanted.first_hour, wanted.first_hour + wanted.hours):
            each.hours[hour] = msgspec.structs.replace(
                each.hours[hour], backing=wanted.qty, collateral_price=wanted.collateral_price
            )
        return True

    async def _send_backing(self, wanted: SetBacking, version: int) -> Outcome:
        return await self._exchange.back(
            wanted.class_id, wanted.first_hour, wanted.hours, wanted.qty, wanted.collateral_price, version
        )

    def _increase(self, wanted: SetBacking) -> int:
        each = self.classes[wanted.class_id]
        hours = range(wanted.first_hour, wanted.first_hour + wanted.hours)
        return sum(max(0, wanted.qty - each.hours[hour].backing) * each.terms.collateral for hour in hours)

    async def _requote(self, wanted: Requote) -> bool:
        """Cancel, and when all is gone place. True: something stands better than before."""
        async with self._in_flight:
            if self._changed.is_set() and wanted.qty:
                return False
            class_id, _ = parse_symbol(wanted.symbol)
            hours = self.classes[class_id].hours
            better = False
            for order in wanted.cancels:
                outcome = await self._exchange.cancel(order)
                self._count(outcome, "cancelled", wanted.symbol)
                # Not there any more: filled, or cancelled by its gate. The next reading tells.
                if not isinstance(outcome, Accepted) and not (
                    isinstance(outcome, Refused) and outcome.code == "unknown_order"
                ):
                    return better
                better = True
                state = hours[wanted.hour]
                hours[wanted.hour] = msgspec.structs.replace(
                    state, asks=tuple(ask for ask in state.asks if ask.order != order)
                )
            if wanted.qty and not self._changed.is_set():
                better = await self._place(wanted.symbol, hours, wanted.hour, wanted.price, wanted.qty) or better
            return better

    async def _place(self, symbol: str, hours: dict[Hour, HourState], hour: Hour, price: Price, qty: Gpus) -> bool:
        self._orders += 1
        client_id = f"desk-{self._run}-{self._orders:x}"
        outcome = await self._exchange.place(symbol, qty, price, client_id, self._limits.order_valid_ms)
        if isinstance(outcome, Unknown):
            self._count(outcome, "placed", symbol)
            outcome = await self._resolve(symbol, qty, price, client_id)
        self._count(outcome, "placed", symbol)
        if not isinstance(outcome, Accepted):
            return False
        state = hours[hour]
        asks = (*state.asks, Ask(outcome.order, price, outcome.leaves)) if outcome.leaves else state.asks
        hours[hour] = msgspec.structs.replace(state, asks=asks, owed=state.owed + qty - outcome.leaves)
        return True

    async def _resolve(self, symbol: str, qty: Gpus, price: Price, client_id: str) -> Outcome:
        """What became of an order whose outcome is unknown.

        While it is wanted the very same order is sent again: the client id makes that harmless. When it is not, wait until it
        can no longer reach the book; should it have, the next reading shows it and the next plan cancels it.
        """
        hopeless_ms = self._clock.now_ms() + 2 * self._limits.order_valid_ms
        while self._clock.now_ms() < hopeless_ms:
            await self._clock.sleep_ms(RETRY_MS)
            try:
                found = await self._exchange.find(client_id)
            except GatewayAway:
                continue
            if found is not None:
                return found
            if not self._changed.is_set():
                outcome = await self._exchange.place(symbol, qty, price, client_id, self._limits.order_valid_ms)
                if not isinstance(outcome, Unknown):
                    return outcome
                hopeless_ms = self._clock.now_ms() + 2 * self._limits.order_valid_ms
        return Refused("not_found")

    async def _stop(self) -> None:
        """Pull every ask. What cannot be pulled in time stays, and is said."""
        try:
            async with asyncio.timeout(STOP_MS_MAX / 1_000):
                await self.read()
                asks = [ask for each in self.classes.values() for state in each.hours.values() for ask in state.asks]
                outcomes = await asyncio.gather(*(self._pull(ask.order) for ask in asks))
        except (TimeoutError, GatewayAway) as error:
            self._lines.error("stopped with asks in the book", extra={"fields": {"why": repr(error)}})
            return
        left = sum(not isinstance(outcome, Accepted) for outcome in outcomes)
        self._lines.info("asks pulled", extra={"fields": {"pulled": len(asks) - left, "left": left}})

    async def _pull(self, order: str) -> Outcome:
        async with self._in_flight:
            return await self._exchange.cancel(order)

    # --- Telling ------------------------------------------------------------------------------------------------------

    async def _away(self, read: Callable[[], Awaitable[None]]) -> None:
        """`read()`, again and again while the gateway is away."""
        pause_ms = RETRY_MS
        while True:
            try:
                await read()
            except GatewayAway as error:
                self._status.wait("gateway", str(error))
                await self._clock.sleep_ms(pause_ms)
                pause_ms = min(2 * pause_ms, AWAY_MS_MAX)
            else:
                self._status.go_on("gateway")
                return

    def _count(self, outcome: Outcome, what: str, where: str) -> None:
        if isinstance(outcome, Accepted):
            self._counts[what] = self._counts.get(what, 0) + 1
            return
        self._counts["refused" if isinstance(outcome, Refused) else "unknown"] += 1
        why = f"{outcome.code} {outcome.why}".rstrip() if isinstance(outcome, Refused) else outcome.why
        self._last_refusal = f"{what} {where}: {why}"
        self._lines.warning("not done", extra={"fields": {"what": what, "where": where, "why": why}})

    def _tell(self) -> None:
        plans = [self._plan(name) for name in self.classes]
        states = [state for each in self.classes.values() for state in each.hours.values()]
        self._status.set(
            offers=len(self.offers),
            classes=len(self.classes),
            quoted=sum(isinstance(each, Quote) for each in self.quotes.values()),
            asks=sum(len(state.asks) for state in states),
            asked_gpus=sum(ask.leaves for state in states for ask in state.asks),
            owed_gpus=sum(state.owed for state in states),
            hours_waiting=sum(each.waiting for each in plans),
            last_refusal=self._last_refusal,
            **{f"requests_{what}": count for what, count in self._counts.items()},
            **{f"quote {name}": words(each) for name, each in self.quotes.items()},
        )


def words(result: Quote | NoQuote | None) -> str:
    """A quote for people: what is asked, and on the strength of what; or why nothing is."""
    if result is None:
        return ""
    if isinstance(result, NoQuote):
        return f"none: {result.why}"
    offer = result.offer
    return (
        f"{result.qty} at {format_usd(result.price)} on {offer.cloud} {offer.instance_type} in {offer.region} "
        f"at {format_usd(offer.price)} ({offer.source})"
    )
