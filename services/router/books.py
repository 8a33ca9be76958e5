"""Books as a decision sees them: levels, or why nothing is known of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from schemas.feeds import MarketBook
from schemas.units import Gpus, Micros, Price, fee, notional, parse_usd
from services.router.market import Listed

Level = tuple[Price, Gpus]
Fault = Literal["", "away", "unlisted"]


class Book(Struct, frozen=True, gc=False):
    """One hour's levels, best first."""

    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    fault: Fault = ""
    """`away`: nobody could be asked. `unlisted`: the hour has no book."""
    is_cut: bool = False
    """Some of what stood there has been asked for a moment ago, by another rental."""

    @property
    def offered(self) -> Gpus:
        """At any price."""
        return sum(qty for _, qty in self.asks)

    @property
    def best_bid(self) -> Price:
        """0: there is none."""
        return self.bids[0][0] if self.bids else 0

    def worst(self, qty: Gpus) -> Price:
        """The dearest level of the cheapest `qty` GPUs; 0: there are not so many."""
        left = qty
        for price, there in self.asks:
            left -= there
            if left <= 0:
                return price
        return 0

    def taken(self, levels: Iterable[Level], qty: Gpus) -> list[Level]:
        """The first `qty` of `levels`."""
        parts: list[Level] = []
        for price, there in levels:
            part = min(qty, there)
            if part:
                parts.append((price, part))
            qty -= part
        return parts

    def cost(self, listed: Listed, qty: Gpus, minutes: int) -> Micros:
        """Of the cheapest `qty`, fees included, µUSD."""
        fills = [notional(price, part, minutes) for price, part in self.taken(self.asks, qty)]
        return sum(cash + fee(cash, listed.buyer_bp) for cash in fills)

    def worth(self, listed: Listed, qty: Gpus) -> Micros:
        """What up to `qty` GPUs of a whole hour would bring at the bids, fees taken off, µUSD."""
        fills = [price * part for price, part in self.taken(self.bids, qty)]
        return sum(cash - fee(cash, listed.seller_bp) for cash in fills)

    def without(self, qty: Gpus) -> Book:
        """Its asks less the cheapest `qty`."""
        left: list[Level] = []
        for price, there in self.asks:
            part = min(qty, there)
            qty -= part
            if there > part:
                left.append((price, there - part))
        return Book(self.bids, tuple(left), is_cut=True)


AWAY: Final = Book(fault="away")
UNLISTED: Final = Book(fault="unlisted")
Books = Mapping[int, Book]
"""By contract. One that is not there was not asked for, and counts as `AWAY`."""


def book_of(answer: MarketBook) -> Book:
    """As market data tells it."""
    return Book(_levels(answer.bids), _levels(answer.asks))


def _levels(pairs: Iterable[tuple[str, int]]) -> tuple[Level, ...]:
    return tuple((parse_usd(price), qty) for price, qty in pairs)
