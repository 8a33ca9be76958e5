"""What an hour is worth, and what to bid and ask for it. Pure: integers of µUSD, GPUs and basis points.

**Fair value** of a class's hour is what it costs to replace: the cheapest firm offer of a cloud. The book moves it a little,
and within a band, so that whoever paints a book moves us by no more than `book_share × book_band`.

**Spread**, on each side: `spread_bp`, more while the sources grow old, and more where clouds disagree (the median above the
cheapest). The ask also earns the seller's fee. What is sold and not held must bring at least what it costs to replace.

**Skew**: each GPU held of the most that may be held moves both prices down, each owed moves them up, by `skew_bp` in all.
What is held and draws near its gate is worth less, down to `perish_bp` below.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.units import BP, BasisPoints, Gpus, Hour, Micros, Millis, Price, promise_collateral
from services.market_maker.limits import Limits
from services.market_maker.offers import View

PERISHING_MS = 6 * 3_600_000
"""How long before its gate what is held begins to go cheaper."""


class Terms(Struct, frozen=True, kw_only=True):
    """A listed class, as the gateway publishes it."""

    class_id: str
    lot: Gpus
    tick: Price
    reference: Price
    """What the collar is made of."""
    low: Price
    """The collar: what the book takes, from"""
    high: Price
    """to."""
    gate_ms: Millis
    """Before the hour begins."""
    cover_ms: Millis
    """Before the hour begins promises end."""
    buyer_maker_bp: BasisPoints
    buyer_taker_bp: BasisPoints
    seller_bp: BasisPoints
    """The higher of the seller's two rates."""

    def collateral(self, price: Price) -> Micros:
        """Held per promised GPU-hour at this collateral price."""
        return promise_collateral(price, self.buyer_taker_bp)


class Standing(Struct, frozen=True, kw_only=True):
    """One forward hour: the book without us, and what we have there."""

    hour: Hour
    high: Price
    """The collar's cap of this hour."""
    bid: Price = 0
    """Best of others; 0: none."""
    ask: Price = 0
    held: Gpus = 0
    owed: Gpus = 0
    """On either ground."""
    exposed: Gpus = 0
    """Owed as promised: what still has to be bought somewhere."""
    promised: Gpus = 0
    """Backing in force, sold and unsold together."""
    collateral_price: Price = 0


class HourQuote(Struct, frozen=True):
    """What to stand for in one hour. A quantity of 0: nothing on that side."""

    bid: Price
    bid_qty: Gpus
    ask: Price
    ask_qty: Gpus


NOTHING = HourQuote(0, 0, 0, 0)


class Size(Struct, frozen=True):
    """GPUs per hour of a class."""

    buy: Gpus
    sell: Gpus


def sizes(terms: Terms, view: View, limits: Limits, classes: int) -> Size:
    """An equal share of the capital per class, spread over the window; half of it stands behind asks, half behind bids."""
    share = limits.capital_micros // (max(classes, 1) * limits.window_hours * 2)
    most = limits.gpus_of(terms.class_id)
    sell = min(share // terms.collateral(limits.collateral_price(terms.high)), most)
    buy = min(share // max(view.cheapest, 1), most)
    return Size(buy // terms.lot * terms.lot, sell // terms.lot * terms.lot)


def fair(view: View, bid: Price, ask: Price, limits: Limits) -> Price:
    """The cheapest offer, moved a little towards the middle of others' book where that has two sides."""
    anchor = view.cheapest
    if not (bid and ask):
        return anchor
    band = anchor * limits.book_band_bp // BP
    middle = min(max((bid + ask) // 2, anchor - band), anchor + band)
    return anchor + (middle - anchor) * limits.book_share_bp // BP


def half_spread_bp(view: View, limits: Limits, spread_bp: BasisPoints) -> BasisPoints:
    """Wider while sources are old, and where clouds disagree."""
    # A source that is polled as it should be is never half as old as a stale one: its quotes stand still.
    young_ms = limits.stale_after_ms // 2
    age = limits.age_bp * min(max(view.age_ms - young_ms, 0), young_ms) // young_ms
    apart = (view.median - view.cheapest) * BP // view.cheapest
    return spread_bp + age + min(apart * limits.dispersion_share_bp // BP, limits.dispersion_bp)


def quote_hour(
    terms: Terms, view: View, limits: Limits, spread_bp: BasisPoints, size: Size, at: Standing, now_ms: Millis
) -> HourQuote:
    """Both sides of one forward hour. `spread_bp`: of `half_spread_bp`, which is the class's."""
    begins_ms = at.hour * 3_600_000
    value = fair(view, at.bid, at.ask, limits)
    if at.held:
        value -= value * _perished_bp(limits, begins_ms - terms.gate_ms - now_ms) // BP
    most = max(size.buy, size.sell, 1)
    position = at.held - at.owed
    lean = -limits.skew_bp * min(max(position, -most), most) // most
    low, high = -(-terms.low // terms.tick) * terms.tick, at.high // terms.tick * terms.tick
    bid_qty = max(0, size.buy - at.held)
    bid = value * (BP - spread_bp + lean) // (BP + terms.buyer_maker_bp)
    if at.exposed and now_ms >= begins_ms - terms.cover_ms - limits.cover_lead_ms:
        # What is promised must be covered soon: worth all that replacing it elsewhere costs.
        bid, bid_qty = view.cheapest, at.exposed
    # Quotes that would trade at once are refused: they stand behind the others' best.
    bid = min(bid, high, at.ask - terms.tick if at.ask else high) // terms.tick * terms.tick
    wanted = value * (BP + spread_bp + lean)
    if at.held:
        ask_qty = at.held
    else:
        wanted = max(wanted, view.cheapest * (BP + limits.margin_bp))
        ask_qty = _may_promise(terms, limits, size, at, begins_ms, now_ms)
    ask = -(-wanted // (BP - terms.seller_bp))
    ask = -(-max(ask, low, bid + terms.tick, at.bid + terms.tick) // terms.tick) * terms.tick
    return HourQuote(
        bid if bid >= low else 0,
        bid_qty // terms.lot * terms.lot if bid >= low else 0,
        ask if ask <= high else 0,
        ask_qty // terms.lot * terms.lot if ask <= high else 0,
    )


def _perished_bp(limits: Limits, left_ms: Millis) -> BasisPoints:
    """How much cheaper what is held goes, with so much time to its gate."""
    return limits.perish_bp * (PERISHING_MS - min(max(left_ms, 0), PERISHING_MS)) // PERISHING_MS


def _may_promise(terms: Terms, limits: Limits, size: Size, at: Standing, begins_ms: Millis, now_ms: Millis) -> Gpus:
    """What the promise in force leaves to sell; nothing shortly before it must be covered."""
    if now_ms >= begins_ms - terms.cover_ms - limits.cover_lead_ms:
        return 0
    return max(0, min(size.sell, at.promised) - at.owed)


def running_ask(terms: Terms, view: View, limits: Limits, spread_bp: BasisPoints, high: Price) -> Price:
    """Of the rest of the running hour, which cannot be sold before it is bought; 0: none inside the collar."""
    wanted = view.cheapest * (BP + max(spread_bp, limits.margin_bp))
    ask = -(-wanted // (BP - terms.seller_bp))
    ask = max(-(-ask // terms.tick), -(-terms.low // terms.tick)) * terms.tick
    return ask if ask <= high else 0
