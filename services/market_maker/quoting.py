"""An offer plus a margin → the price to ask; capital → the size. Pure: integers of µUSD and GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from schemas.supply import OfferSeen
from schemas.units import BP, BasisPoints, Gpus, Micros, Price, fee, promise_collateral
from services.market_maker.limits import Limits
from services.market_maker.offers import NoOffer


class Terms(Struct, frozen=True, kw_only=True):
    """A listed class, as the gateway publishes it."""

    class_id: str
    lot: Gpus
    tick: Price
    low: Price
    """The collar: what the book takes, from"""
    high: Price
    """to."""
    buyer_taker_bp: BasisPoints
    seller_bp: BasisPoints
    """The higher of the seller's two rates."""

    @property
    def collateral(self) -> Micros:
        """Held per promised GPU-hour, at the least collateral price that is allowed: the collar's upper bound."""
        return promise_collateral(self.high, self.buyer_taker_bp)


class Quote(Struct, frozen=True):
    """Ask this, on the strength of this offer."""

    price: Price
    qty: Gpus
    """In each hour, sold and unsold together."""
    offer: OfferSeen


class NoQuote(Struct, frozen=True):
    """Ask nothing."""

    why: str


def quote(terms: Terms, offer: OfferSeen | NoOffer, margin_bp: BasisPoints, qty: Gpus) -> Quote | NoQuote:
    """The offer's price plus the margin, rounded up to the tick, inside the collar, and never at a loss."""
    if isinstance(offer, NoOffer):
        return NoQuote(offer.why)
    if offer.gpus != terms.lot:
        return NoQuote(f"the offer is of {offer.gpus} GPUs, a lot is {terms.lot}")
    wanted = _up(-(-offer.price * (BP + margin_bp) // BP), terms.tick)
    lowest, highest = _up(terms.low, terms.tick), terms.high // terms.tick * terms.tick
    price = min(max(wanted, lowest), highest)
    if price - fee(price, terms.seller_bp) < offer.price:
        return NoQuote(f"at {price} µUSD, less the fee, it would sell below the offer's {offer.price}")
    if qty < terms.lot:
        return NoQuote("the capital is not enough for one lot in each hour")
    return Quote(price, qty, offer)


def sizes(terms: Sequence[Terms], limits: Limits) -> Mapping[str, Gpus]:
    """GPUs per hour of each class: an equal share of the capital, spread over the window, in whole lots."""
    if not terms:
        return {}
    share = limits.capital_micros // len(terms)
    result: dict[str, Gpus] = {}
    for each in terms:
        affordable = share // (each.collateral * limits.window_hours)
        gpus = min(affordable, limits.gpus_of(each.class_id))
        result[each.class_id] = gpus // each.lot * each.lot
    total = sum(result[each.class_id] * each.collateral * limits.window_hours for each in terms)
    assert total <= limits.capital_micros
    return result


def _up(price: Price, tick: Price) -> Price:
    return -(-price // tick) * tick
