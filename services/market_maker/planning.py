"""What should stand in the books of a class, against what does → what to ask of the exchange. Pure.

Promises come first, since asks rest on them; then quotes, only of hours in which something is different. The desk never
touches an hour outside its window but to pull, nor a promise above what it needs: what it owes stays owed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from schemas.units import BP, BasisPoints, Gpus, Hour, Millis, Price
from services.market_maker.limits import Limits
from services.market_maker.offers import NoView, View
from services.market_maker.quoting import (
    NOTHING,
    HourQuote,
    Size,
    Standing,
    Terms,
    half_spread_bp,
    quote_hour,
)


class Promise(Struct, frozen=True):
    """Bring what is promised in contiguous hours to this, sold and unsold together."""

    first_hour: Hour
    hours: int
    qty: Gpus
    collateral_price: Price


class Plan(Struct, frozen=True):
    """What to ask for now."""

    promises: tuple[Promise, ...] = ()
    quotes: tuple[tuple[Hour, HourQuote], ...] = ()
    """Rising; hours whose quotes stand as they should are left out."""

    @property
    def idle(self) -> bool:
        """Everything stands as it should."""
        return not (self.promises or self.quotes)


class Rules(Struct, frozen=True, kw_only=True):
    """How a class is quoted now, beside its view."""

    terms: Terms
    limits: Limits
    size: Size
    promises: bool
    """Whether more may be promised: open promises are within their limit."""


def plan(rules: Rules, view: View, hours: Sequence[Standing], stands: Mapping[Hour, HourQuote], now_ms: Millis) -> Plan:
    """`hours`: the forward hours that take orders, rising. `stands`: our quotes as last acknowledged."""
    limits, terms = rules.limits, rules.terms
    spread_bp = half_spread_bp(view, limits, limits.spread_of(terms.class_id))
    size = rules.size if rules.promises else Size(rules.size.buy, 0)
    window = hours[: limits.window_hours]
    inside = {at.hour for at in window}
    quotes = [(at.hour, quote_hour(terms, view, limits, spread_bp, size, at, now_ms)) for at in window]
    quotes += [(hour, NOTHING) for hour in stands if hour not in inside and hour in {at.hour for at in hours}]
    return Plan(
        promises=tuple(_promises(rules, window, now_ms)),
        quotes=tuple(sorted((hour, new) for hour, new in quotes if not _same(new, stands.get(hour, NOTHING)))),
    )


def _same(one: HourQuote, other: HourQuote) -> bool:
    """A side without a quantity has no price."""
    return (one.bid_qty, one.ask_qty, one.bid_qty and one.bid, one.ask_qty and one.ask) == (
        other.bid_qty, other.ask_qty, other.bid_qty and other.bid, other.ask_qty and other.ask,
    )  # fmt: skip


def _promises(rules: Rules, window: Sequence[Standing], now_ms: Millis) -> Iterator[Promise]:
    """Runs of contiguous hours that need the same change. Enough for the size; more only where more is owed already."""
    run: list[Standing] = []
    last: tuple[Gpus, Price] | None = None
    for at in window:
        wanted = _wanted(rules, at, now_ms)
        if run and (wanted is None or wanted != last or at.hour != run[-1].hour + 1):
            assert last is not None
            yield Promise(run[0].hour, len(run), *last)
            run = []
        if wanted is not None:
            run.append(at)
            last = wanted
    if run:
        assert last is not None
        yield Promise(run[0].hour, len(run), *last)


def _wanted(rules: Rules, at: Standing, now_ms: Millis) -> tuple[Gpus, Price] | None:
    """(quantity, collateral price) to bring the hour to; None: it stands as it should, or cannot be changed any more."""
    terms, limits = rules.terms, rules.limits
    if now_ms >= at.hour * 3_600_000 - terms.cover_ms - limits.cover_lead_ms:
        return None
    qty = max(rules.size.sell, at.exposed) if rules.promises else at.promised
    if qty == at.promised and (not qty or at.collateral_price >= at.high):
        return None
    return qty, limits.collateral_price(at.high) if qty else 0


class Anchors:
    """Which view of each class is believed. A cheapest price that jumps is not, before it has stood for a while.

    A cloud may list nonsense (another unit, a decimal too many), and whoever is fast would trade on it before the next poll.
    """

    def __init__(self, jump_bp: BasisPoints, settle_ms: Millis) -> None:
        self._jump_bp = jump_bp
        self._settle_ms = settle_ms
        self._believed: dict[str, Price] = {}
        self._since: dict[str, tuple[Price, Millis]] = {}
        """Class -> the price that jumped, and when it was first seen."""

    def believe(self, class_id: str, view: View | NoView, now_ms: Millis) -> View | NoView:
        """The view, or why not yet. `now_ms`: of a clock that never jumps, else a price would have stood for its jump."""
        if isinstance(view, NoView):
            return view
        before = self._believed.setdefault(class_id, view.cheapest)
        if abs(view.cheapest - before) * BP <= before * self._jump_bp:
            self._believed[class_id] = view.cheapest
            self._since.pop(class_id, None)
            return view
        price, since_ms = self._since.get(class_id, (0, 0))
        if price != view.cheapest:
            since_ms = now_ms
            self._since[class_id] = (view.cheapest, now_ms)
        if now_ms - since_ms >= self._settle_ms:
            self._believed[class_id] = view.cheapest
            self._since.pop(class_id, None)
            return view
        why = f"the cheapest offer jumped from {before} to {view.cheapest} µUSD: believed when it has stood"
        return NoView(why, "jump_bp")

    def jumped_bp(self) -> BasisPoints:
        """The largest jump that is not believed yet."""
        jumps = ((self._believed[name], price) for name, (price, _) in self._since.items())
        return max((abs(price - before) * BP // before for before, price in jumps), default=0)

    def settles_at_ms(self) -> Millis | None:
        """When the next jump will be believed, by the same clock."""
        return min((since_ms + self._settle_ms for _, since_ms in self._since.values()), default=None)
