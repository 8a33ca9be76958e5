"""What is recorded, in the words of the assignment, and slots in the words of leases. Pure.

One class at a time. A machine's number is its place among the class's machines by name; of its seats those count that may be
used, in order, lot by lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.ids import class_no_of, contract_of, hour_of
from schemas.leases import Served
from schemas.units import Gpus, Hour
from services.delivery import fleet
from services.delivery.fleet import Fleet, Machine, Seats, Slot
from services.delivery.state import Lease, MachineId, Part, State
from services.delivery.titles import Title


class Board:
    """Machines of a class, and what leases say of two hours: the one that is placed, and the one before."""

    def __init__(self, state: State, contract: int, lot: Gpus) -> None:
        self.state = state
        self.contract = contract
        self.hour: Hour = hour_of(contract)
        self.lot = lot
        class_no = class_no_of(contract)
        self.machines: list[MachineId] = sorted(
            machine for machine, enrolled in state.machines.items() if enrolled.class_no == class_no
        )
        self._number = {machine: number for number, machine in enumerate(self.machines)}
        self._usable = [state.usable(state.machines[machine]) for machine in self.machines]
        self._blocked: set[int] = set()
        """Machines with tenants on seats that are gone: nobody else moves in there."""
        self.slots = {
            hour: self._slots(contract_of(class_no, hour)) for hour in (self.hour - 1, self.hour, self.hour + 1)
        }

    def as_fleet(self) -> Fleet:
        """With nothing to pay for exchanges: settlement does not know of any yet, so none is made (`titles`)."""
        return Fleet(
            self.lot,
            tuple(
                Machine(number, machine[0], len(self._usable[number]), self._out(number))
                for number, machine in enumerate(self.machines)
            ),
        )

    def _out(self, number: int) -> tuple[tuple[Hour, Hour], ...]:
        if number in self._blocked or self.machines[number] in self.state.retired:
            return ((self.hour, fleet.NEVER),)
        return self.state.maintenance.get(self.machines[number], ())

    # --- Titles ----------------------------------------------------------------------------------------------

    def titles(self, wanted: Iterable[Title]) -> Iterator[fleet.Title]:
        """Those of this hour and later ones; of the hour before, what is on machines."""
        yield from self.titles_of(wanted)
        before: dict[int, list[Slot]] = {}
        for slot in self.slots[self.hour - 1]:
            before.setdefault(slot.title, []).append(slot)
        for number, slots in before.items():
            qty = sum(fleet.lots_of(slot.seats) for slot in slots) * self.lot
            obligor = self.machines[slots[0].machine][0]
            yield _title(self.hour - 1, number, obligor, slots[0].holder, qty)

    def titles_of(self, wanted: Iterable[Title]) -> Iterator[fleet.Title]:
        """Those that anybody owes. No two have the same cost, and there is no cover: no machine serves another's title."""
        for title in wanted:
            if title.obligor:
                yield _title(hour_of(title.contract), title.title, title.obligor, title.holder, title.qty)

    # --- Slots -----------------------------------------------------------------------------------------------

    def _slots(self, contract: int) -> tuple[Slot, ...]:
        return tuple(
            slot
            for lease in self.state.leases.values()
            if not lease.ended_ms and lease.machine in self._number
            for part in lease.parts
            if part.contract == contract
            for slot in self._of_part(lease, part)
        )

    def _of_part(self, lease: Lease, part: Part) -> Iterator[Slot]:
        number = self._number[lease.machine]
        places = self._places(number, lease.seats)
        if places is None:
            self._blocked.add(number)
            return
        for served in part.titles:
            mine, places = places[: served.qty // self.lot], places[served.qty // self.lot :]
            seats: Seats = sum(1 << place for place in mine)
            yield Slot(hour_of(part.contract), served.title, lease.holder, number, seats, served.title)

    def _places(self, number: int, seats: Sequence[int]) -> list[int] | None:
        """Which lots of the machine these seats are; None: a seat of them is gone, or they are no whole lots any more."""
        usable = self._usable[number]
        if any(seat not in usable for seat in seats):
            return None
        places = [usable.index(seat) for seat in seats]
        lots = sorted({place // self.lot for place in places})
        return lots if len(lots) * self.lot == len(seats) else None

    def seats(self, slot: Slot) -> tuple[int, ...]:
        """Numbers of its GPUs in the machine."""
        usable = self._usable[slot.machine]
        return tuple(usable[place] for place in fleet.gpus_of(slot.seats, self.lot))

    # --- Leases ----------------------------------------------------------------------------------------------

    def hosts(self, slots: Iterable[Slot]) -> dict[tuple[int, MachineId], dict[int, int]]:
        """(holder, machine) → seat → title, of slots that are not recorded yet."""
        found: dict[tuple[int, MachineId], dict[int, int]] = {}
        recorded = set(self.slots[self.hour])
        for slot in slots:
            if slot not in recorded:
                of = found.setdefault((slot.holder, self.machines[slot.machine]), {})
                of.update(dict.fromkeys(self.seats(slot), slot.title))
        return found


def _title(hour: Hour, number: int, obligor: int, holder: int, qty: Gpus) -> fleet.Title:
    return fleet.Title(hour, number, obligor, holder, qty, cost=number)


def served(seats: Sequence[int], of: Mapping[int, int]) -> tuple[Served, ...]:
    """Titles of these seats with their GPUs, in the order of the seats."""
    counts: dict[int, int] = {}
    for seat in seats:
        counts[of[seat]] = counts.get(of[seat], 0) + 1
    return tuple(Served(title, qty) for title, qty in counts.items())
