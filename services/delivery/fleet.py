"""What the assignment works on: titles, machines, and the slots in which they meet. Pure.

All of it is of one class: classes share no machine, so each is assigned for itself. A *seat* is room for one lot in one machine:
seat i of a machine is its GPUs [i × lot, (i + 1) × lot). So a lot never stretches over two machines, and whatever is counted
here is counted in lots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros

Lots = int
"""GPUs divided by the lot of the class."""
Seats = int
"""Seats of one machine as a set of bits: 0b101 are the seats 0 and 2."""

NEVER: Final = 1 << 60
"""Later than every hour."""


class Title(Struct, frozen=True, gc=False):
    """GPUs of one hour that `obligor` owes to `holder`."""

    hour: Hour
    number: int
    """Unique in the class; a later title has a higher one."""
    obligor: int
    holder: int
    qty: Gpus
    """A multiple of the lot."""
    cost: Micros
    """What its holder gets back per GPU if it is not delivered."""


class Machine(Struct, frozen=True, gc=False):
    """One machine of a provider."""

    number: int
    """Unique in the fleet."""
    obligor: int
    gpus: Gpus
    """What does not make a whole lot stays empty."""
    out: tuple[tuple[Hour, Hour], ...] = ()
    """[from, until): hours in which it is withdrawn or has failed, in any order."""


class Slot(Struct, frozen=True, gc=False):
    """Seats of one machine that serve one title in its hour."""

    hour: Hour
    title: int
    """The title that is served."""
    holder: int
    machine: int
    seats: Seats
    counts_for: int
    """The title of the machine's own obligor that is delivered, or not, by these seats: `title` itself, unless exchanged."""


class Unplaced(Struct, frozen=True, gc=False):
    """What of a title has no seat."""

    hour: Hour
    title: int
    qty: Gpus


class Fleet(Struct, frozen=True):
    """The machines of a class, and what may pay for exchanges."""

    lot: Gpus
    machines: tuple[Machine, ...]
    cover: Mapping[tuple[int, Hour], Micros] = {}
    """(obligor, hour) → how much of his collateral exchanges of that hour may use up; none where it is not said."""

    def seats_in(self, machine: Machine) -> Lots:
        """How many lots find room in it."""
        return machine.gpus // self.lot


def lots_of(seats: Seats) -> Lots:
    """How many seats these are."""
    return seats.bit_count()


def lowest(seats: Seats, count: Lots) -> Seats:
    """The `count` lowest of them. Raises AssertionError where there are not so many."""
    assert seats.bit_count() >= count, "more seats wanted than there are"
    if seats.bit_count() == count:
        return seats
    chosen = 0
    for _ in range(count):
        bit = seats & -seats
        chosen |= bit
        seats ^= bit
    return chosen


def gpus_of(seats: Seats, lot: Gpus) -> tuple[int, ...]:
    """The GPUs of a machine that these seats are, rising."""
    return tuple(seat * lot + gpu for seat in range(seats.bit_length()) if seats >> seat & 1 for gpu in range(lot))


def is_out(machine: Machine, hour: Hour) -> bool:
    """Whether it is not there in this hour."""
    return any(start <= hour < end for start, end in machine.out)


def there_until(machine: Machine, hour: Hour) -> Hour:
    """The first hour from `hour` on in which it is not there; NEVER."""
    ends = [max(start, hour) for start, end in machine.out if end > hour and end > start]
    return min(ends, default=NEVER)
