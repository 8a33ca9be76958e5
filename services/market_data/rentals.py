"""Rentals of every account and what their owners must know of them, from the records of `rentals`. Pure.

What the router does for a rental is its own affair, and what it has bought is in `holdings`: here is what an owner wants, and
what he was told.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from msgspec import Struct, field

from schemas.rentals_log import RentalChanged, RentalMade, RentalNoticed, RentalOver, RentalRecord, RentalStopped, Terms
from schemas.units import Millis
from services.market_data.books import Contradiction

NOTICES_KEPT: Final = 100
"""Of an account, the newest: so much of what was missed can be told after a restart."""


class Rental(Struct, gc=False):
    """A standing instruction."""

    rental: int
    account: int
    terms: Terms
    made_ms: Millis
    stopped_ms: Millis = 0
    over_ms: Millis = 0


class Notice(NamedTuple):
    """What an owner was told."""

    seq: int
    """Of its record."""
    said: RentalNoticed


class Owner(Struct):
    """An account that has rented."""

    rentals: dict[int, Rental] = field(default_factory=dict)
    """Those that are not over, by age."""
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=NOTICES_KEPT))


class Touched(NamedTuple):
    """What a record did."""

    account: int
    rental: Rental | None
    notice: Notice | None


class Rentals:
    """Of all accounts, up to record `seq`; the first is 1."""

    def __init__(self) -> None:
        self.seq = 0
        self.time_ms: Millis = 0
        self.owners: dict[int, Owner] = {}
        self._epoch = 0
        self._running: dict[int, Rental] = {}
        """Those that are not over."""

    def take(self, seq: int, record: RentalRecord) -> Touched | None:
        """The next record. None: nobody is told of it. Raises Contradiction."""
        assert seq > self.seq
        self.seq = seq
        if record.epoch < self._epoch:
            return None  # of a router that was late: it counts for nobody
        self._epoch, self.time_ms = record.epoch, record.time_ms
        match record:
            case RentalMade():
                rental = Rental(record.rental, record.account, record.terms, record.time_ms)
                self._running[record.rental] = rental
                self.owners.setdefault(record.account, Owner()).rentals[record.rental] = rental
                return Touched(record.account, rental, None)
            case RentalChanged():
                rental = self._known(record.rental)
                rental.terms = record.terms
                return Touched(rental.account, rental, None)
            case RentalStopped():
                rental = self._known(record.rental)
                rental.stopped_ms = record.time_ms
                return Touched(rental.account, rental, None)
            case RentalOver():
                rental = self._known(record.rental)
                rental.over_ms = record.time_ms
                del self._running[record.rental], self.owners[rental.account].rentals[record.rental]
                return Touched(rental.account, rental, None)
            case RentalNoticed():
                rental = self._known(record.rental)
                notice = Notice(seq, record)
                self.owners[rental.account].notices.append(notice)
                return Touched(rental.account, None, notice)
            case _:
                return None

    def _known(self, number: int) -> Rental:
        rental = self._running.get(number)
        if rental is None:
            raise Contradiction(f"rental {number} does not run")
        return rental
