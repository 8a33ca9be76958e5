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
    list_price: Price
    collar_low_bp: BasisPoints
    collar_high_bp: BasisPoints
    buyer_taker_bp: BasisPoints
    seller_bp: BasisPoints
    """The higher of the seller's two rates."""

    @property
    def floor(self) -> Price:
        """The lowest price that the book takes: on the tick and in the collar."""
        return _up(-(-self.list_price * self.collar_low_bp // BP), self.tick)

    @property
    def cap(self) -> Price:
        """The highest price that the collar allows; not always on the tick."""
        return self.list_price * self.collar_high_bp // BP

    @property
    def collateral(self) -> Micros:
        """Held per promised GPU-hour, at the least collateral price that is allowed: the cap."""
        return promise_collateral(self.cap, self.buyer_taker_bp)


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
    highest = terms.cap // terms.tick * terms.tick
    price = min(max(wanted, terms.floor), highest)
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
