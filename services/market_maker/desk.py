"""The loop of the desk: read what there is, decide what should stand, and ask for the difference.

Two tasks. `follow` reads the topic `offers` and notes each change. `trade` reads everything of its own from the gateway, at
the start and every `refresh_ms`, and quotes after each reading, after each change of the catalogues, and when a source grows
stale. Quotes and promises are absolute and numbered, so whatever became of a request, the next one puts it right:

- the gateway does not answer: nothing is known to have changed; wait and read everything again. The dead man's switch, set
  at every reading, takes the quotes away when that lasts;
- a shard does not answer: nothing is asked of it until it takes the switch again; the other shards' classes are quoted on;
- an outcome is unknown, or an hour was refused: nothing is taken to stand there, and the next round says it anew;
- a limit is reached: what it forbids is pulled first, and said; then everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.ids import parse_symbol
from schemas.supply import OfferRecord
from schemas.units import Gpus, Hour, Micros, Millis, Price, format_usd
from services.market_maker.exchange import (
    FILLS_MAX,
    Accepted,
    Backing,
    BookHour,
    Exchange,
    Fill,
    GatewayAway,
    Ground,
    ListedClass,
    OpenOrder,
    Outcome,
    Position,
    Refused,
)
from services.market_maker.limits import Limits
from services.market_maker.offers import NoView, Offers, View
from services.market_maker.planning import Anchors, Plan, Promise, Rules, plan
from services.market_maker.quoting import NOTHING, HourQuote, Standing, Terms, half_spread_bp, running_ask, sizes
from services.market_maker.reached import Stand, Watch
from services.market_maker.risk import (
    Day,
    Exposure,
    day_of,
    dump_day,
    equity,
    load_day,
    loss_reached,
    open_promises,
    promises_reached,
)
from services.runtime.errors import Halt
from services.runtime.log import Clock, Log, LogError, OutOfRange
from services.runtime.status import Status

ROUNDS_MAX: Final = 3
"""Of promises and quotes without a reading between them: the promises first, then what rests on them."""
RETRY_MS: Final = 250
FOLLOW_MS: Final = 500
AWAY_MS_MAX: Final = 2_000
RENEW_ALL_MS: Final = 60_000
"""Quotes are said anew after so long, all of them, whatever is thought to stand: who cancelled them need not have told us."""
STOP_MS_MAX: Final = 8_000
"""For pulling everything at an orderly stop."""

_decoder = msgspec.msgpack.Decoder(OfferRecord)


class _Class(Struct):
    """A listed class and the desk's own things in its hours."""

    terms: Terms
    shard: int
    takes_orders: bool
    hours: list[BookHour]
    """As the grid has them."""
    others: dict[Hour, tuple[Price, Price]]
    """The best bid and ask that are not ours; 0: none."""
    positions: dict[Hour, Position]
    promises: dict[Hour, Backing]
    ready: dict[Hour, Backing]
    orders: dict[Hour, list[OpenOrder]]
    version: int
    """The highest version of its backing."""

    def standing(self) -> list[Standing]:
        """The forward hours that take orders, without our own quotes."""
        found = []
        for row in self.hours:
            if row.phase != "forward" or not row.takes_orders:
                continue
            bid, ask = self.others[row.hour]
            position, promise = self.positions.get(row.hour), self.promises.get(row.hour)
            found.append(
                Standing(
                    hour=row.hour, high=row.high, bid=bid, ask=ask,
                    held=position.held if position else 0, owed=position.owed if position else 0,
                    exposed=promise.owed if promise else 0, promised=promise.qty if promise else 0,
                    collateral_price=promise.collateral_price if promise else 0,
                )
            )  # fmt: skip
        return found


class Desk:
    """One account's quotes in every listed class."""

    def __init__(self, exchange: Exchange, limits: Limits, clock: Clock, status: Status, day_file: Path) -> None:
        """`day_file`: where the day's beginning is kept over restarts."""
        self.offers = Offers(limits.stale_after_ms)
        self.classes: dict[str, _Class] = {}
        self.stands: dict[str, dict[Hour, HourQuote]] = {}
        """Quotes as last acknowledged, by class."""
        self._ours: dict[str, dict[Hour, HourQuote]] = {}
        """Quotes as last acknowledged, also where they may have traded or gone since: by them our own are known in the books.

        What stands in an hour that is not here nobody knows: a desk that has just begun, an outcome that is unknown.
        """
        self.why: dict[str, str] = {}
        """What each class rests on, or why it is not quoted."""
        self._exchange = exchange
        self._limits = limits
        self._clock = clock
        self._status = status
        self._day_file = day_file
        self._anchors = Anchors(limits.jump_bp, limits.settle_ms)
        self._marks: dict[str, Price] = {}
        """Class -> the last price of replacement that was believed."""
        self._money: Micros = 0
        self._worth: Micros = 0
        self._views: dict[str, View | NoView] = {}
        """What each class rested on when it was last looked at."""
        self._loss: Micros = 0
        """Since the day's beginning; below 0: a gain."""
        self._watch = Watch()
        self._lost = ""
        """Why nothing is quoted: the day's loss; empty: it is within its limit."""
        self._open = 0
        """GPU-hours promised, sold and not covered."""
        self._promised = ""
        """Why nothing is sold that is not held: open promises; empty: they are within theirs."""
        self._begin: Day | None = None
        self._changed = asyncio.Event()
        """Set when the catalogues have moved since the last round."""
        self._caught_up = asyncio.Event()
        """Set when `follow` has read what was on the topic when it began."""
        self._lived_ms: dict[int, Millis] = {}
        """Shard -> when its dead man's switch was last set."""
        self._silent: set[int] = set()
        """The shards that did not take the switch at the last reading."""
        self._renewed_ms: Millis = 0
        self._number = 0
        """Of the last quotes."""
        self._seen: set[str] = set()
        """The trades of the last reading."""
        self._placed = 0
        self._run = secrets.token_hex(6)
        """Makes client ids differ from those of every process before, also where a clock was set back."""
        self._counts = {"quoted": 0, "promised": 0, "pulled": 0, "refused": 0, "unknown": 0}
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
                    # It may say that an offer is gone: quotes that cannot be judged do not stay.
                    raise Halt(f"{log.topic} offset {record.offset} is not an offer record: {error}") from error
                offset = record.offset + 1
            if records:
                self._changed.set()
            if offset >= end:
                self._caught_up.set()

    # --- The books ----------------------------------------------------------------------------------------------------

    async def trade(self) -> None:
        """For ever; an orderly stop pulls everything."""
        try:
            # Quotes of the process before are judged by the catalogues, not by not having read them yet.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._caught_up.wait(), self._limits.stale_after_ms / 1_000)
            while True:
                await self._away(self.read)
                await self._quote_until(self._clock.elapsed_ms() + self._limits.refresh_ms)
        except asyncio.CancelledError:
            await self._stop()
            raise

    async def read(self) -> None:
        """Set the switches anew, and read everything from the gateway. Raises GatewayAway."""
        listed = await self._exchange.classes()
        await self._live(listed)
        grids = await asyncio.gather(*(self._exchange.grid(each.terms) for each in listed))
        # Backing before positions: a fill between the two then shows as too few asks, never as too many.
        backing, positions = await self._exchange.backing(), await self._exchange.positions()
        orders, fills = await self._exchange.orders(), await self._exchange.fills()
        self.classes = {
            each.terms.class_id: _Class(
                each.terms,
                each.shard,
                each.takes_orders,
                hours,
                self._others(each.terms.class_id, hours),
                {},
                {},
                {},
                {},
                0,
            )
            for each, hours in zip(listed, grids, strict=True)
        }
        for own in backing:
            class_id, hour = parse_symbol(own.symbol)
            if each_class := self.classes.get(class_id):
                (each_class.ready if own.ground == "ready" else each_class.promises)[hour] = own
                each_class.version = max(each_class.version, own.version)
        for position in positions:
            class_id, hour = parse_symbol(position.symbol)
            if each_class := self.classes.get(class_id):
                each_class.positions[hour] = position
        for order in orders:
            class_id, hour = parse_symbol(order.symbol)
            if each_class := self.classes.get(class_id):
                each_class.orders.setdefault(hour, []).append(order)
        self._money = await self._exchange.money()
        self._forget_what_traded(fills)

    def _others(self, class_id: str, hours: list[BookHour]) -> dict[Hour, tuple[Price, Price]]:
        """What others bid and ask in the books as they were read; nobody, where it cannot be told from ours."""
        ours = self._ours.get(class_id, {})
        return {row.hour: _of_others(row, ours[row.hour]) if row.hour in ours else (0, 0) for row in hours}

    def _forget_what_traded(self, fills: list[Fill]) -> None:
        """A quote that traded stands for less than it did, whatever became of the position: it is said anew."""
        new = [fill for fill in fills if fill.trade not in self._seen]
        self._seen = {fill.trade for fill in fills}
        if len(new) == FILLS_MAX:
            # There may have been more: of all of them nobody knows what is left.
            self.stands.clear()
        for fill in new:
            class_id, hour = parse_symbol(fill.symbol)
            self.stands.get(class_id, {}).pop(hour, None)

    async def _live(self, listed: list[ListedClass]) -> None:
        """Each shard has a switch of its own. Raises GatewayAway: none took it."""
        now_ms = self._clock.elapsed_ms()
        classes: dict[int, list[str]] = {}
        for each in listed:
            classes.setdefault(each.shard, []).append(each.terms.class_id)
        outcomes = await asyncio.gather(
            *(self._exchange.live_for(names[0], self._limits.dead_man_ms) for names in classes.values())
        )
        failed = {s: o for s, o in zip(classes, outcomes, strict=True) if not isinstance(o, Accepted)}
        for shard, outcome in failed.items():
            self._count(outcome, "lived", f"dead man's switch of shard {shard}")
        self._silent = set(failed)
        # Never set: what a process before has left is judged like quotes that a switch may have taken.
        never_ms = now_ms - self._limits.dead_man_ms
        self._lived_ms = {shard: self._lived_ms.get(shard, never_ms) for shard in classes}
        if self._silent and len(self._silent) == len(classes):
            raise GatewayAway(f"no shard takes the dead man's switch: {outcomes[0]}")
        for shard in classes.keys() - self._silent:
            if now_ms - self._lived_ms[shard] >= self._limits.dead_man_ms:
                # It may have fired: nothing is taken to stand.
                for name in classes[shard]:
                    self.stands.pop(name, None)
            self._lived_ms[shard] = now_ms
        if now_ms - self._renewed_ms >= RENEW_ALL_MS:
            # Somebody else may have cancelled.
            self.stands.clear()
            self._renewed_ms = now_ms

    def _value(self) -> None:
        """What the desk is worth now, against the day's beginning."""
        now_ms = self._clock.now_ms()
        exposures = [
            Exposure(name, own.held, _owed(each.promises.get(hour)) + _owed(each.ready.get(hour)), own.proceeds)
            for name, each in self.classes.items()
            for hour, own in each.positions.items()
        ]
        self._worth = equity(self._money, exposures, self._marks, self._limits)
        if self._begin is None and self._day_file.exists():
            self._begin = load_day(self._day_file.read_bytes())
        marked = all(name in self._marks for name, each in self.classes.items() if each.positions)
        if (self._begin is None or self._begin.day != day_of(now_ms)) and marked:
            self._begin = Day(day_of(now_ms), self._worth)
            self._day_file.write_bytes(dump_day(self._begin))
        self._loss = self._begin.equity - self._worth if self._begin and marked else 0
        self._lost = loss_reached(self._begin, self._worth, self._limits) if self._begin and marked else ""
        self._open = open_promises(exposures)
        self._promised = promises_reached(self._open, self._limits)

    async def _quote_until(self, deadline_ms: Millis) -> None:
        """Quote, now and whenever the catalogues move or a source grows stale."""
        while True:
            self._changed.clear()
            await self.quote()
            now_ms, elapsed_ms = self._clock.now_ms(), self._clock.elapsed_ms()
            moments = (
                (deadline_ms, elapsed_ms),
                (self._anchors.settles_at_ms(), elapsed_ms),
                (self.offers.stale_at_ms(now_ms), now_ms),
            )
            wait_ms = min(moment - now for moment, now in moments if moment is not None)
            try:
                await asyncio.wait_for(self._changed.wait(), max(wait_ms, 1) / 1_000)
            except TimeoutError:
                # The deadline, or a source that has just grown stale: either way look again.
                if self._clock.elapsed_ms() >= deadline_ms:
                    return

    async def quote(self) -> None:
        """Pull what must go, then promise and quote until everything stands as it should or the catalogues have moved."""
        self._views = views = {name: self._view(each) for name, each in self.classes.items()}
        self._value()
        self._look_at_limits()
        if self._lost:
            views = {name: NoView(self._lost, "loss_per_day_micros") for name in views}
        await asyncio.gather(*(self._pull(name) for name, view in views.items() if isinstance(view, NoView)))
        alive = {name: view for name, view in views.items() if isinstance(view, View)}
        await asyncio.gather(*(self._quote_class(name, view) for name, view in alive.items()))
        await asyncio.gather(*(self._ask_running(name, view) for name, view in alive.items()))
        self._tell(views)

    def _view(self, each: _Class) -> View | NoView:
        """What the class rests on."""
        name = each.terms.class_id
        offered = self.offers.view(name, each.terms.lot, self._clock.now_ms())
        view = self._anchors.believe(name, offered, self._clock.elapsed_ms())
        if isinstance(view, View):
            self._marks[name] = view.cheapest
            if each.shard in self._silent:
                return NoView(f"shard {each.shard} does not answer", "dead_man_ms")
            if not each.takes_orders:
                return NoView("the class is halted")
        return view

    async def _quote_class(self, name: str, view: View) -> None:
        each = self.classes[name]
        stands = self.stands.setdefault(name, {})
        rules = Rules(
            terms=each.terms, limits=self._limits, size=sizes(each.terms, view, self._limits, len(self.classes)),
            promises=not self._promised,
        )  # fmt: skip
        for _ in range(ROUNDS_MAX):
            wanted = plan(rules, view, each.standing(), stands, self._clock.now_ms())
            if wanted.idle or not await self._carry_out(each, stands, wanted) or self._changed.is_set():
                return

    async def _carry_out(self, each: _Class, stands: dict[Hour, HourQuote], wanted: Plan) -> bool:
        """True: something stands better than before."""
        promised = await asyncio.gather(*(self._promise(each, promise) for promise in wanted.promises))
        if any(promised):
            # What is asked rests on what is promised: decide anew.
            return True
        if not wanted.quotes:
            return False
        name = each.terms.class_id
        # A number of the clock's is above every earlier one of this account, whoever put it.
        self._number = max(self._number + 1, self._clock.now_ms())
        ours = self._ours.setdefault(name, {})
        outcome = await self._exchange.quote(name, self._number, wanted.quotes)
        for hour, _ in wanted.quotes:
            stands.pop(hour, None)
            ours.pop(hour, None)
        if not isinstance(outcome, Accepted):
            self._count(outcome, "quoted", name)
            return False
        self._number = max(self._number, outcome.number)
        refused = dict(outcome.refused)
        stands.update((hour, quote) for hour, quote in wanted.quotes if hour not in refused)
        ours.update((hour, NOTHING if hour in refused else quote) for hour, quote in wanted.quotes)
        self._counts["quoted"] += len(wanted.quotes) - len(refused)
        self._counts["refused"] += len(refused)
        if refused:
            self._last_refusal = f"quotes of {name}: " + ", ".join(sorted(set(refused.values())))
        return False

    async def _promise(self, each: _Class, wanted: Promise) -> bool:
        """True: it stands."""
        hours = range(wanted.first_hour, wanted.first_hour + wanted.hours)
        if not await self._back(each, wanted.first_hour, wanted.hours, "promised", wanted.qty, wanted.collateral_price):
            return False
        for hour in hours:
            each.promises[hour] = Backing(
                "", "promised", wanted.qty, _owed(each.promises.get(hour)), wanted.collateral_price, each.version
            )
        return True

    async def _back(
        self, each: _Class, first_hour: Hour, hours: int, ground: Ground, qty: Gpus, collateral_price: Price
    ) -> bool:
        name = each.terms.class_id
        each.version = max(each.version + 1, self._clock.now_ms())
        version = each.version
        outcome = await self._exchange.back(name, first_hour, hours, ground, qty, collateral_price, version)
        if isinstance(outcome, Refused) and outcome.code == "insufficient_funds" and outcome.need > outcome.have:
            outcome = await self._exchange.fund(name, outcome.need - outcome.have)
            if isinstance(outcome, Accepted):
                outcome = await self._exchange.back(name, first_hour, hours, ground, qty, collateral_price, version)
        self._count(outcome, "promised", name)
        return isinstance(outcome, Accepted)

    # --- The running hour, on demand ----------------------------------------------------------------------------------

    async def _ask_running(self, name: str, view: View) -> None:
        """One ask in the hour that runs, of capacity that the cloud has now; what was sold is not offered again."""
        each, limits = self.classes[name], self._limits
        row = next((row for row in each.hours if row.phase == "running" and row.takes_orders), None)
        qty = limits.running_gpus // each.terms.lot * each.terms.lot
        if row is None or not qty:
            return
        ready = each.ready.get(row.hour)
        if ready is None or ready.qty != qty or ready.collateral_price < row.high:
            price = limits.collateral_price(row.high)
            if not await self._back(each, row.hour, 1, "ready", qty, price):
                return
            ready = each.ready[row.hour] = Backing(row.symbol, "ready", qty, _owed(ready), price, each.version)
        price = running_ask(each.terms, view, limits, half_spread_bp(view, limits, limits.spread_of(name)), row.high)
        left = qty - ready.owed
        stale = [order for order in each.orders.get(row.hour, ()) if order.price != price]
        if not all(order.order for order in stale):
            return  # one of them was placed since the last reading: the next one tells its id
        outcomes = [await self._exchange.cancel(order.order) for order in stale]
        if not all(isinstance(outcome, Accepted) for outcome in outcomes):
            return  # the next reading tells
        each.orders[row.hour] = kept = [order for order in each.orders.get(row.hour, ()) if order.price == price]
        missing = left - sum(order.leaves for order in kept)
        if price and missing > 0:
            self._placed += 1
            client_id = f"desk-{self._run}-{self._placed:x}"
            outcome = await self._exchange.place(row.symbol, missing, price, client_id)
            self._count(outcome, "quoted", row.symbol)
            # Whatever came of it shows at the next reading; until then it counts as open.
            kept.append(OpenOrder(row.symbol, "", price, missing))

    # --- Pulling ------------------------------------------------------------------------------------------------------

    async def _pull(self, name: str) -> None:
        """Nothing of ours stays in the class."""
        each = self.classes[name]
        if each.shard in self._silent or (self.stands.get(name) == {} and not any(each.orders.values())):
            return
        outcome = await self._exchange.pull(name)
        self._count(outcome, "pulled", name)
        if isinstance(outcome, Accepted):
            self.stands[name] = {}
            self._ours[name] = {row.hour: NOTHING for row in each.hours}
            each.orders.clear()

    async def _stop(self) -> None:
        """Pull everything. What cannot be pulled in time is the dead man's switch's to take."""
        try:
            async with asyncio.timeout(STOP_MS_MAX / 1_000):
                outcome = await self._exchange.pull("")
        except TimeoutError as error:
            self._lines.error("stopped with quotes in the book", extra={"fields": {"why": repr(error)}})
            return
        self._lines.info("quotes pulled", extra={"fields": {"outcome": str(outcome)}})

    # --- Limits -------------------------------------------------------------------------------------------------------

    def _look_at_limits(self) -> None:
        """Before anything is pulled: whoever reads that quotes go reads why."""
        now_ms = self._clock.now_ms()
        stands = self._stands(now_ms)
        for stand, reached in self._watch.look(stands, now_ms):
            if reached:
                self._lines.warning("limit reached", extra={"fields": {"limit": stand.name, "why": stand.why}})
            else:
                self._lines.info("within the limit again", extra={"fields": {"limit": stand.name}})
        reached_now = [stand.why for stand in stands if stand.why]
        self._status.set(limits_reached="; ".join(reached_now), limits_reached_count=len(reached_now))
        for stand in stands:
            self._status.set(**_fields(stand, self._watch.since_ms(stand.name)))

    def _stands(self, now_ms: Millis) -> list[Stand]:
        """Those that pull quotes, and those that bound their size."""
        limits = self._limits
        held_back = {
            limit: ", ".join(sorted(n for n, v in self._views.items() if isinstance(v, NoView) and v.limit == limit))
            for limit in ("stale_after_ms", "jump_bp")
        }
        stale, jumped = held_back["stale_after_ms"], held_back["jump_bp"]
        full = [
            (max(own.held, own.owed), own.symbol, limits.gpus_of(name))
            for name, each in self.classes.items()
            for own in each.positions.values()
        ]
        most = [symbol for qty, symbol, bound in full if qty >= bound]
        counted = "1 hour" if len(most) == 1 else f"{len(most)} hours"
        used = self._used()
        silences_ms = {shard: self._clock.elapsed_ms() - lived_ms for shard, lived_ms in self._lived_ms.items()}
        silent_ms = max(silences_ms.values(), default=0)
        silent = ", ".join(str(shard) for shard, ms in silences_ms.items() if ms >= limits.dead_man_ms)
        return [
            Stand(
                name="loss_per_day_micros", what="loss since the day began (UTC)", bound=limits.loss_per_day_micros,
                stands=max(0, self._loss), why=self._lost,
            ),
            Stand(
                name="gpu_hours_max", what="GPU-hours promised, sold and not covered", bound=limits.gpu_hours_max,
                stands=self._open, why=self._promised,
            ),
            Stand(
                name="stale_after_ms", what="since the source polled longest ago was polled", bound=limits.stale_after_ms,
                stands=self.offers.oldest_ms(now_ms), why=f"stale sources: {stale} not quoted" if stale else "",
            ),
            Stand(
                name="jump_bp", what="largest jump of a cheapest offer, not believed yet", bound=limits.jump_bp,
                stands=self._anchors.jumped_bp(), why=f"a jump not believed yet: {jumped} not quoted" if jumped else "",
            ),
            Stand(
                name="capital_micros", what="behind bids and promises of hours to come", bound=limits.capital_micros,
                stands=used, why=f"capital: {format_usd(used)} USD are in use" if used >= limits.capital_micros else "",
            ),
            Stand(
                name="gpus_max", what="GPUs held, or owed, in one hour of a class", bound=limits.gpus_max,
                stands=max((qty for qty, _, _ in full), default=0),
                why=f"GPUs of an hour: no more on that side in {counted}" if most else "",
            ),
            Stand(
                name="dead_man_ms", what="since each shard has heard of the desk", bound=limits.dead_man_ms,
                stands=silent_ms,
                why=f"dead man's switch: nothing of the desk's is left in shard {silent}" if silent else "",
            ),
        ]  # fmt: skip

    def _used(self) -> Micros:
        """Collateral of promises, and what bids hold; the running hour's comes on top."""
        promised = sum(
            max(own.qty, own.owed) * each.terms.collateral(own.collateral_price)
            for each in self.classes.values()
            for own in each.promises.values()
        )
        return promised + sum(q.bid * q.bid_qty for stands in self.stands.values() for q in stands.values())

    # --- Telling ------------------------------------------------------------------------------------------------------

    async def _away(self, read: Callable[[], Awaitable[None]]) -> None:
        """`read()`, again and again while the gateway is away."""
        pause_ms = RETRY_MS
        while True:
            try:
                await read()
            except GatewayAway as error:
                self._status.wait("gateway", str(error))
                self._look_at_limits()
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

    def _tell(self, views: dict[str, View | NoView]) -> None:
        self._look_at_limits()
        for name, view in views.items():
            said = words(view)
            if self.why.get(name) != said:
                self._lines.info("view", extra={"fields": {"class": name, "rests on": said}})
            self.why[name] = said
        self.why = {name: said for name, said in self.why.items() if name in views}
        quotes = [quote for stands in self.stands.values() for quote in stands.values()]
        own = [position for each in self.classes.values() for position in each.positions.values()]
        promises = [backing for each in self.classes.values() for backing in each.promises.values()]
        self._status.set(
            offers=len(self.offers),
            classes=len(self.classes),
            quoted=sum(isinstance(view, View) for view in views.values()),
            bids=sum(quote.bid_qty > 0 for quote in quotes),
            asks=sum(quote.ask_qty > 0 for quote in quotes),
            bid_gpus=sum(quote.bid_qty for quote in quotes),
            ask_gpus=sum(quote.ask_qty for quote in quotes),
            held_gpu_hours=sum(position.held for position in own),
            open_promises=sum(backing.owed for backing in promises),
            worth_micros=self._worth,
            day_begin_micros=self._begin.equity if self._begin else 0,
            last_refusal=self._last_refusal,
            **{f"requests_{what}": count for what, count in self._counts.items()},
            **{f"quote {name}": said for name, said in self.why.items()},
        )


def _fields(stand: Stand, since_ms: Millis) -> dict[str, int | bool | str]:
    """One limit in `/status`; its numbers are metrics as well."""
    name = f"limit_{stand.name}"
    return {
        f"limit {stand.name}": stand.what,
        f"{name}_bound": stand.bound,
        f"{name}_stands": stand.stands,
        f"{name}_reached": bool(stand.why),
        f"{name}_since_ms": since_ms,
        f"{name}_why": stand.why,
    }


def _of_others(row: BookHour, own: HourQuote) -> tuple[Price, Price]:
    """The best bid and ask without our own, where they are the best and alone."""
    return (
        row.bid_next if own.bid == row.bid and own.bid_qty >= row.bid_qty else row.bid,
        row.ask_next if own.ask == row.ask and own.ask_qty >= row.ask_qty else row.ask,
    )


def _owed(backing: Backing | None) -> Gpus:
    return backing.owed if backing else 0


def words(view: View | NoView) -> str:
    """What a class rests on, for people; or why it is not quoted."""
    if isinstance(view, NoView):
        return f"none: {view.why}"
    return f"{format_usd(view.cheapest)} of {view.clouds} clouds (median {format_usd(view.median)}): {view.where}"
