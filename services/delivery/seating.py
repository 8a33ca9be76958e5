"""Which seats of one host's machines its guests have, hour after hour, so that nobody moves without need. Pure.

A guest keeps his seats while their machine is there. Who has fewer gives up whole leases where he can, so that the others go on.
Who comes, or must move, gets seats that last: of machines that are there as long as he stays the one that goes first, else the
one that goes last; then one on which he sits already, then one that he fills best, so that the lots of a guest are together and
whole machines stay free for whoever wants them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from schemas.units import Hour
from services.delivery.fleet import NEVER, Lots, Machine, Seats, lots_of, lowest, there_until

Places = dict[int, Seats]
"""Machine → seats."""


Lease = tuple[int, Seats]
"""Seats of one machine that go on together, or not at all."""


class Guests(Struct):
    """One hour of one host."""

    hour: Hour
    lots: dict[int, Lots]
    """Holder → his lots, without those of fixed slots."""
    fixed: Mapping[int, Places] = {}
    """Holder → seats that are his for certain."""
    leases: Mapping[int, Sequence[Lease]] = {}
    """The same as leases, in the order in which he keeps them."""


def seat(machines: Mapping[int, Machine], size: Mapping[int, Lots], hours: Sequence[Guests]) -> list[dict[int, Places]]:
    """Per hour: holder → his seats, without the fixed ones. `hours` rise; `size`: seats of each machine.

    Raises AssertionError where there are more guests than seats.
    """
    host = _Host(machines, size, hours)
    return [host.next(at) for at in range(len(hours))]


class _Host:
    def __init__(self, machines: Mapping[int, Machine], size: Mapping[int, Lots], hours: Sequence[Guests]) -> None:
        self.machines = machines
        self.whole = {number: (1 << size[number]) - 1 for number in sorted(machines)}
        self.hours = hours
        self.coming_and_going = [machine for machine in machines.values() if machine.out]
        self.goes: dict[int, Hour] = {}
        """The first hour from now on in which a machine is not there, of those that ever go."""
        self.out: set[int] = set()
        self.free: Places = {number: seats for number, seats in self.whole.items() if seats}
        """Of machines that are there, none without a free seat."""
        self.sits: dict[int, Places] = {}
        self.blocked: Places = {}
        """Seats of fixed slots."""

    def next(self, at: int) -> dict[int, Places]:
        """The next hour."""
        guests = self.hours[at]
        if at and self.hours[at - 1].hour != guests.hour - 1:
            self._leave_all()
        self._machines_come_and_go(guests.hour)
        if guests.fixed or self.blocked:
            self._fix(guests)
        for holder in [holder for holder in self.sits if holder not in guests.lots]:
            self._leave(self.sits.pop(holder))
        new: list[tuple[int, Lots]] = []
        for holder, lots in guests.lots.items():
            has = sum(map(lots_of, self.sits.get(holder, {}).values()))
            if has > lots:
                self._give_up(holder, has, lots, self.hours[at - 1].leases.get(holder, ()) if at else ())
            elif has < lots:
                new.append((holder, lots - has))
        for holder, lots in self._longest_first(at, new):
            self._enter(holder, lots, at)
        # Copies, because who sits on may have other seats in the next hour.
        taken = {holder: dict(places) for holder, places in self.sits.items()}
        for holder, places in guests.fixed.items():
            for number, seats in places.items():
                mine = self.sits.setdefault(holder, {})
                mine[number] = mine.get(number, 0) | seats
        return taken

    def _machines_come_and_go(self, hour: Hour) -> None:
        """Nobody sits on a machine that is not there."""
        for machine in self.coming_and_going:
            if self.goes.get(machine.number, -1) < hour:
                self.goes[machine.number] = there_until(machine, hour)
        out = {number for number, goes in self.goes.items() if goes == hour}
        if out == self.out and not self.blocked:  # a fixed slot may have been on a machine that was gone already
            return
        for number in sorted(self.out - out):
            if self.whole[number]:
                self.free[number] = self.whole[number]
        for number in out:
            self.free.pop(number, None)
        self.out = out
        for holder, places in list(self.sits.items()):
            for number in [number for number in places if number in out]:
                del places[number]
            if not places:
                del self.sits[holder]

    def _fix(self, guests: Guests) -> None:
        """Fixed seats of this hour are taken; those of the hour before are their holders' to keep, or free."""
        blocked: Places = {}
        for places in guests.fixed.values():
            for number, seats in places.items():
                blocked[number] = blocked.get(number, 0) | seats
        for holder, places in list(self.sits.items()):
            for number in list(places):
                places[number] &= ~blocked.get(number, 0)
                if not places[number]:
                    del places[number]
            if not places:
                del self.sits[holder]
        self.blocked = blocked
        taken = dict(blocked)
        for places in self.sits.values():
            for number, seats in places.items():
                taken[number] = taken.get(number, 0) | seats
        self.free = {
            number: seats & ~taken.get(number, 0)
            for number, seats in self.whole.items()
            if number not in self.out and seats & ~taken.get(number, 0)
        }

    def _leave_all(self) -> None:
        for places in self.sits.values():
            self._leave(places)
        self.sits = {}

    def _leave(self, places: Places) -> None:
        for number, seats in places.items():
            if number not in self.out:
                self.free[number] = self.free.get(number, 0) | seats

    def _give_up(self, holder: int, has: Lots, keeps: Lots, leases: Iterable[Lease]) -> None:
        """Leases are kept where they fit; the rest goes from the machine that goes first, then from that with fewest of it."""
        places = self.sits[holder]
        spare, room = dict(places), keeps
        for number, seats in sorted(leases, key=lambda lease: self.goes.get(lease[0], NEVER), reverse=True):
            if lots_of(seats) <= room and seats & places.get(number, 0) == seats:
                spare[number] ^= seats
                room -= lots_of(seats)
        lots = has - keeps
        for number in sorted(places, key=lambda one: (self.goes.get(one, NEVER), lots_of(places[one]), -one)):
            given_up = lowest(spare[number], min(lots, lots_of(spare[number])))
            places[number] ^= given_up
            if not places[number]:
                del places[number]
            self._leave({number: given_up})
            lots -= lots_of(given_up)
            if not lots:
                return

    def _longest_first(self, at: int, new: list[tuple[int, Lots]]) -> list[tuple[int, Lots]]:
        """Who stays longest chooses first; among equals who wants most."""
        if len(new) < 2:
            return new
        return sorted(new, key=lambda one: (-self._stays(one[0], at), -one[1], one[0]))

    def _stays(self, holder: int, at: int) -> Hour:
        """The first hour in which he is not here any more."""
        hour = self.hours[at].hour
        for guests in self.hours[at:]:
            if guests.hour != hour or holder not in guests.lots:
                break
            hour += 1
        return hour

    def _enter(self, holder: int, lots: Lots, at: int) -> None:
        until = self._stays(holder, at) if self.coming_and_going else NEVER
        places = self.sits.setdefault(holder, {})
        while lots:
            assert self.free, "more guests than seats"
            number = self._choose(places, lots, until)
            taken = lowest(self.free[number], min(lots, lots_of(self.free[number])))
            self.free[number] ^= taken
            if not self.free[number]:
                del self.free[number]
            places[number] = places.get(number, 0) | taken
            lots -= lots_of(taken)

    def _choose(self, places: Places, lots: Lots, until: Hour) -> int:
        """The best machine for so many more lots of one who sits on `places` and stays until then."""
        best, rank = 0, (2, 0, 2, 0, 0)
        goes = self.goes
        for number, seats in self.free.items():
            last, room = goes.get(number, NEVER), seats.bit_count()
            this = (
                0 if last >= until else 1,
                last if last >= until else -last,
                0 if number in places else 1,
                0 if room >= lots else 1,
                room if room >= lots else -room,
            )
            if this < rank or (this == rank and number < best):
                best, rank = number, this
        return best
