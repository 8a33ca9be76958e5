"""What is to be ordered for a rental now, and why an hour of it cannot be had. Pure: the same in, the same out.

1. The window: `look_ahead` hours from the first one that is still wanted. What is held, or may be by an order under way, is not
   bought again.
2. For each other hour the class: that of the hour before, so that the machine may stay; without one the class that has the whole
   window at the lowest total; else whichever has this hour at the lowest price.
3. The order: fill-or-kill, exactly `gpus`, up to the highest price that all limits allow, and only where the book shows that it
   would be filled.
4. Stopped: nothing is bought; what is held of later hours is offered, down to the lowest price by `asking_price`.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.commands import Side
from schemas.edge import iso_hour
from schemas.ids import class_no_of, contract_of
from schemas.rentals_log import Terms
from schemas.units import HOURS_PER_DAY, MINUTES_PER_HOUR, MS_PER_HOUR, Gpus, Hour, Micros, Millis, Price, format_usd
from services.router.books import AWAY, Books
from services.router.holding import Holding, holdings
from services.router.market import Listed, Market, Phase, minutes_left
from services.router.state import Rental

PAUSE_MS: Final = 5_000
"""After the first refused try of an hour, in market time; twice as long after each that follows,"""
PAUSE_MS_MAX: Final = 300_000
"""but no longer."""
STEPS: Final = 10
"""Of the curve on stop."""

Code = Literal["away", "unlisted", "closed", "nothing_offered", "too_few", "outside_collar", "too_dear", "over_spend"]
_RANK: Final[tuple[str, ...]] = (
    "away", "unlisted", "closed", "nothing_offered", "too_few", "outside_collar", "too_dear", "over_spend",
)  # fmt: skip
"""Of several classes the one that comes nearest has the word."""
_QUIET: Final = frozenset({"away", "unlisted", "cannot_fill", "no_effect"})
"""Nothing that the owner could do about it, and not for long."""


class Wish(Struct, frozen=True, gc=False):
    """An order to be sent."""

    number: int
    """Of the refused one whose place it takes; -1: a new one."""
    contract: int
    side: int
    qty: Gpus
    price: Price


class Why(Struct, frozen=True, gc=False):
    """Why an hour cannot be had."""

    contract: int
    """That came nearest."""
    code: str
    detail: str
    is_told: bool
    """Its owner must know now."""


class Decision(Struct, gc=False):
    """Of one rental, at one moment."""

    place: list[Wish] = msgspec.field(default_factory=list)
    cancel: list[int] = msgspec.field(default_factory=list)
    """Orders, by the exchange's id."""
    missing: dict[Hour, Why] = msgspec.field(default_factory=dict)
    is_over: bool = False


class Offer(Struct, frozen=True, gc=False):
    """A class has the hour within the limits."""

    contract: int
    limit: Price
    cost: Micros
    """By the book."""
    most: Micros
    """At the limit."""


def window(terms: Terms, now_ms: Millis) -> range:
    """The hours that are to be kept bought."""
    first = max(terms.from_hour, now_ms // MS_PER_HOUR)
    last = first + terms.look_ahead
    return range(first, min(last, terms.from_hour + terms.hours) if terms.hours else last)


def wanted(rental: Rental, held: Mapping[Hour, Holding], market: Market, now_ms: Millis) -> list[int]:
    """Contracts whose books a decision needs now, of every class of each hour: what is held or tried just now needs none."""
    if rental.stopped_ms:
        return [
            holding.contract
            for holding in held.values()
            if _is_for_sale(rental, holding, market, now_ms) and not holding.first_ask
        ]
    hours = [hour for hour in window(rental.terms, now_ms) if _is_open(held.get(hour), now_ms)]
    listed = [market.classes[class_id] for class_id in rental.terms.classes]
    return [contract_of(each.class_no, hour) for hour in hours for each in listed]


def decide(rental: Rental, market: Market, books: Books, now_ms: Millis) -> Decision:
    """What to do for it now."""
    held = holdings(rental, market)
    if rental.stopped_ms:
        return _stopped(rental, held, market, books, now_ms)
    buyer = _Buyer(rental, held, market, books, now_ms)
    for hour in window(rental.terms, now_ms):
        buyer.look_at(hour)
    terms = rental.terms
    ended = terms.hours and now_ms >= (terms.from_hour + terms.hours) * MS_PER_HOUR
    buyer.decision.is_over = bool(ended) and not any(holding.buying for holding in held.values())
    return buyer.decision


class _Buyer:
    """Goes through the window, hour by hour."""

    def __init__(
        self, rental: Rental, held: Mapping[Hour, Holding], market: Market, books: Books, now_ms: Millis
    ) -> None:
        self.decision = Decision()
        self._terms = rental.terms
        self._held = held
        self._market = market
        self._books = books
        self._now_ms = now_ms
        self._classes = [market.classes[class_id] for class_id in rental.terms.classes]
        self._spent: defaultdict[int, Micros] = defaultdict(int, rental.spent)
        """Day of delivery → what it has cost, or may have when all that is under way is filled at its limit."""
        self._class_no = 0
        """Of the hour before; 0: it has none."""
        for holding in held.values():
            under_way = (market.listed(o.contract).most(o.price, o.qty, 60) for o in holding.buying)
            self._spent[holding.hour // HOURS_PER_DAY] += holding.cost + sum(under_way)

    def look_at(self, hour: Hour) -> None:
        """Buy it, or say why not."""
        holding = self._held.get(hour)
        if holding is not None and (holding.bought or holding.buying):
            self._class_no = class_no_of(holding.contract)
            return
        if holding is not None and not _is_open(holding, self._now_ms):
            self._class_no = 0
            self.decision.missing[hour] = self._refused(holding)
            return
        left = self._left(hour)
        judged = {each.class_no: self._judge(each, hour, left) for each in self._classes}
        offers = {number: said for number, said in judged.items() if isinstance(said, Offer)}
        if not offers:
            self._class_no = 0
            whys = [said for said in judged.values() if isinstance(said, Why)]
            self.decision.missing[hour] = nearest(whys)
            return
        self._class_no = self._choose(hour, offers)
        offer = offers[self._class_no]
        number = holding.number if holding is not None else -1
        self.decision.place.append(Wish(number, offer.contract, Side.BUY, self._terms.gpus, offer.limit))
        self._spent[hour // HOURS_PER_DAY] += offer.most

    def _refused(self, holding: Holding) -> Why:
        """Of an hour that is not tried again yet."""
        code = holding.refused_code
        said = f"the order was refused: {holding.refused_detail}"
        if code in _QUIET:
            said = "somebody else was faster, or an offer of your own stands before the others"
        name = f"{self._market.listed(holding.contract).class_id} at {iso_hour(holding.hour)}"
        return Why(holding.contract, code, f"{name}: {said}; it is tried again", is_told=code not in _QUIET)

    def _left(self, hour: Hour) -> Micros | None:
        """Of what may be spent on the hour's day; None: no limit."""
        terms = self._terms
        return terms.max_spend - self._spent[hour // HOURS_PER_DAY] if terms.max_spend else None

    def _judge(self, listed: Listed, hour: Hour, left: Micros | None) -> Offer | Why:
        return judge(self._terms, self._market, self._books, listed, hour, left, self._now_ms)

    def _choose(self, hour: Hour, offers: Mapping[int, Offer]) -> int:
        if self._class_no in offers:
            return self._class_no
        totals = {number: self._total(number, hour) for number in offers}
        whole = {number: total for number, total in totals.items() if total is not None}
        if whole:
            return min(whole, key=lambda number: (whole[number], number))
        return min(offers, key=lambda number: (offers[number].cost, number))

    def _total(self, class_no: int, first: Hour) -> Micros | None:
        """Of what the window still lacks from this hour on, in one class; None: it has not all of it.

        An hour that is not tried again yet does not count: nobody has read its books.
        """
        total = 0
        for hour in window(self._terms, self._now_ms):
            if hour < first or not _is_open(self._held.get(hour), self._now_ms):
                continue
            offer = self._judge(self._market.by_number[class_no], hour, None)
            if isinstance(offer, Why):
                return None
            total += offer.cost
        return total


def judge(
    terms: Terms, market: Market, books: Books, listed: Listed, hour: Hour, left: Micros | None, now_ms: Millis
) -> Offer | Why:
    """Can the hour be had in this class? `left`: of what may be spent on its day; None: no limit."""
    qty = terms.gpus
    contract = contract_of(listed.class_no, hour)
    book = books.get(contract, AWAY)
    minutes = minutes_left(hour, now_ms)
    # By the shard's own clock, which may be a little behind, there may be one more.
    minutes_most = min(MINUTES_PER_HOUR, minutes + 1)
    name = f"{listed.class_id} at {iso_hour(hour)}"

    def why(code: Code, detail: str) -> Why:
        return Why(contract, code, f"{name}: {detail}", is_told=code not in _QUIET and not book.is_cut)

    if listed.phase(hour, now_ms) == "closed":
        return why("closed", "nothing more of this hour is sold")
    if book.fault == "away":
        return why("away", "the book cannot be read just now; it is asked again")
    if book.fault == "unlisted":
        return why("unlisted", "the hour is not listed yet")
    worst = book.worst(qty)
    if not worst:
        return why("too_few" if book.asks else "nothing_offered", f"{book.offered} of {qty} GPUs are offered")
    said = f"{qty} GPUs are offered up to {format_usd(worst)} USD"
    if worst > terms.max_price:
        return why("too_dear", f"{said}, max_price is {format_usd(terms.max_price)}")
    low, high = market.collar(listed, hour)
    limit = min(terms.max_price // listed.tick * listed.tick, high)
    if limit < max(worst, low):
        return why("outside_collar", f"{said}, the book takes bids from {format_usd(low)} to {format_usd(high)}")
    if left is not None:
        limit = min(limit, affordable(listed, qty, minutes_most, left))
        if limit < max(worst, low):
            spare, day = format_usd(max(0, left)), iso_hour(hour)[:10]
            return why("over_spend", f"{said}, max_spend leaves {spare} USD of {day}")
    return Offer(contract, limit, book.cost(listed, qty, minutes), listed.most(limit, qty, minutes_most))


def nearest(whys: Sequence[Why]) -> Why:
    """Of several classes the one that came nearest, and of equals the first."""
    return max(whys, key=lambda why: _RANK.index(why.code))


def affordable(listed: Listed, qty: Gpus, minutes: int, left: Micros) -> Price:
    """The highest price on the tick whose worst case is at most `left`; 0: none is."""
    ticks = range(max(0, left) * 60 // max(1, qty * minutes * listed.tick) + 2)
    return listed.tick * (
        bisect.bisect_right(ticks, left, key=lambda n: listed.most(n * listed.tick, qty, minutes)) - 1
    )


def pause_ms(refusals: int) -> Millis:
    """How long after the last of so many refused tries of an hour the next may come, in market time."""
    return min(PAUSE_MS << min(refusals, 16) - 1, PAUSE_MS_MAX) if refusals else 0


def _is_open(holding: Holding | None, now_ms: Millis) -> bool:
    """The hour is not had, and may be tried now."""
    if holding is None:
        return True
    return not (holding.bought or holding.buying) and now_ms >= holding.refused_ms + pause_ms(holding.refusals)


# --- Stopped --------------------------------------------------------------------------------------------------


def asking_price(first: Price, low: Price, from_ms: Millis, gate_ms: Millis, now_ms: Millis, tick: Price) -> Price:
    """What an hour of a stopped rental is offered at: down from `first` to `low` in ten steps of equal length until its gate.

    With k = ⌊10 × (now − from) / (gate − from)⌋, at least 0 and at most 9:  price = first − (first − low) × k / 9,  up to the
    next tick. So the last tenth of the time is spent at the lowest price that the book takes.
    """
    if first <= low or now_ms >= gate_ms:
        return low
    step = min(STEPS - 1, max(0, STEPS * (now_ms - from_ms) // max(1, gate_ms - from_ms)))
    price = first - (first - low) * step // (STEPS - 1)
    return -(-price // tick) * tick


def _is_for_sale(rental: Rental, holding: Holding, market: Market, now_ms: Millis) -> bool:
    if rental.on_stop != "sell" or not holding.held:
        return False
    return _phase(holding, market, now_ms) == "forward"


def _phase(holding: Holding, market: Market, now_ms: Millis) -> Phase:
    return market.listed(holding.contract).phase(holding.hour, now_ms)


def _stopped(rental: Rental, held: Mapping[Hour, Holding], market: Market, books: Books, now_ms: Millis) -> Decision:
    decision = Decision()
    for _, holding in sorted(held.items()):
        if _is_for_sale(rental, holding, market, now_ms):
            _sell(decision, rental, holding, market, books, now_ms)
    decision.is_over = not any(_is_left(holding, now_ms) for holding in held.values())
    return decision


def _is_left(holding: Holding, now_ms: Millis) -> bool:
    return bool(holding.buying or holding.asks or (holding.held and now_ms < (holding.hour + 1) * MS_PER_HOUR))


def _sell(decision: Decision, rental: Rental, holding: Holding, market: Market, books: Books, now_ms: Millis) -> None:
    listed = market.listed(holding.contract)
    low, high = market.collar(listed, holding.hour)
    gate_ms = holding.hour * MS_PER_HOUR - listed.gate_ms
    first = holding.first_ask or _first_price(holding, books, listed.tick)
    price = asking_price(first, low, rental.stopped_ms, gate_ms, now_ms, listed.tick) if holding.first_ask else first
    price = min(high, max(low, price))
    # A new offer waits until the last one is gone for certain: what is held is never offered twice.
    if holding.asks:
        decision.cancel += [ask.order for ask in holding.asks if ask.order and ask.price > price]
    elif not first:
        pass  # the book cannot be read just now
    elif now_ms >= holding.refused_ms + pause_ms(holding.refusals):
        decision.place.append(Wish(-1, holding.contract, Side.SELL, holding.held, price))


def _first_price(holding: Holding, books: Books, tick: Price) -> Price:
    """The best bid; without one what was paid. 0: the book is not known."""
    book = books.get(holding.contract, AWAY)
    if book.fault:
        return 0
    return book.best_bid or -(-holding.average // tick) * tick


def worst_day(terms: Terms, classes: Iterable[Listed]) -> Micros:
    """What a whole day may cost at most, µUSD."""
    hours = min(HOURS_PER_DAY, terms.hours) if terms.hours else HOURS_PER_DAY
    most = hours * max(each.most(terms.max_price // each.tick * each.tick, terms.gpus, 60) for each in classes)
    return min(most, terms.max_spend) if terms.max_spend else most
