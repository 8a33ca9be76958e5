"""A title bought in mid-hour gets seats at once, among those that are free. Pure; nobody moves for it."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.units import Hour
from services.delivery.assignment import Assignment
from services.delivery.fleet import Fleet, Lots, Slot, Title, is_out, lots_of, lowest, there_until
from services.delivery.seating import Places


def place(fleet: Fleet, assignment: Assignment, title: Title) -> tuple[Slot, ...]:
    """Seats of the title's own obligor that nobody has in its hour; fewer lots than it has where there are no more.

    First those that its holder has in the hour before or after, so that he stays; then those of the machine that is there
    longest, on which it fits best. Give them back as `fixed` slots. Raises ValueError where the quantity is no multiple of
    the lot.
    """
    if title.qty <= 0 or title.qty % fleet.lot:
        raise ValueError(f"title {title.number}: {title.qty} GPUs are no multiple of the lot of {fleet.lot}")
    lots: Lots = title.qty // fleet.lot
    free = _free(fleet, assignment, title)
    taken: Places = {}
    for hour in (title.hour + 1, title.hour - 1):
        for number, seats in _places(assignment, hour, title.holder).items():
            his = seats & free.get(number, 0)
            lots -= _take(free, taken, number, lowest(his, min(lots, lots_of(his))))
    until = {machine.number: there_until(machine, title.hour) for machine in fleet.machines if machine.number in free}
    while lots and free:
        number = min(free, key=lambda one: (-until[one], *_fit(lots_of(free[one]), lots), one))
        lots -= _take(free, taken, number, lowest(free[number], min(lots, lots_of(free[number]))))
    return tuple(
        Slot(title.hour, title.number, title.holder, number, taken[number], title.number) for number in sorted(taken)
    )


def _free(fleet: Fleet, assignment: Assignment, title: Title) -> Places:
    """Machine → seats that nobody has, none without any."""
    busy: Places = {}
    for slot in assignment.slots.get(title.hour, ()):
        busy[slot.machine] = busy.get(slot.machine, 0) | slot.seats
    free = {
        machine.number: ((1 << fleet.seats_in(machine)) - 1) & ~busy.get(machine.number, 0)
        for machine in fleet.machines
        if machine.obligor == title.obligor and not is_out(machine, title.hour)
    }
    return {number: seats for number, seats in free.items() if seats}


def _places(assignment: Assignment, hour: Hour, holder: int) -> Mapping[int, int]:
    """The holder's seats in an hour, by machine."""
    found: Places = {}
    for slot in assignment.slots.get(hour, ()):
        if slot.holder == holder:
            found[slot.machine] = found.get(slot.machine, 0) | slot.seats
    return dict(sorted(found.items()))


def _fit(room: Lots, lots: Lots) -> tuple[int, int]:
    return (0, room) if room >= lots else (1, -room)


def _take(free: Places, taken: Places, number: int, seats: int) -> Lots:
    """Moves seats from `free` to `taken`; how many."""
    if seats:
        free[number] ^= seats
        if not free[number]:
            del free[number]
        taken[number] = taken.get(number, 0) | seats
    return lots_of(seats)
