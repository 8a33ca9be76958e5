"""What is recorded, in the words of the assignment, and slots in the words of leases. Pure.

One class at a time. A machine's number is its place among the class's machines by name; of its seats those count that may be
used, in order, lot by lot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from schemas.ids import class_no_of, contract_of, hour_of
from schemas.leases import Served
from schemas.units import MINUTES_PER_HOUR, Gpus, Hour
from services.delivery import fleet
from services.delivery.assignment import Assignment, handovers
from services.delivery.fleet import Fleet, Machine, Seats, Slot
from services.delivery.maintenance import is_out
from services.delivery.renting import Seat, Use, keep_first, rental_of, share_out
from services.delivery.state import Lease, MachineId, Part, State, counts_for
from services.delivery.titles import Title, Titles

NOT_HERE: Final = ((0, fleet.NEVER),)
CLOSED: Final = -1
"""Who has seats that are closed: no account."""
NO_COST: Final = -fleet.NEVER
"""That no title has."""


class Board:
    """Machines of a class, and what leases say of two hours: the one that is placed, and the one before."""

    def __init__(
        self, state: State, titles: Titles, contract: int, lot: Gpus, silent: Collection[MachineId] = ()
    ) -> None:
        """`silent`: machines whose agents have not been heard of lately."""
        self.state = state
        self.wanted = titles.of.get(contract, {})
        self.contract = contract
        self.hour: Hour = hour_of(contract)
        self.lot = lot
        class_no = class_no_of(contract)
        self.machines: list[MachineId] = sorted(
            machine for machine, enrolled in state.machines.items() if enrolled.class_no == class_no
        )
        self._number = {machine: number for number, machine in enumerate(self.machines)}
        self._silent = {number for number, machine in enumerate(self.machines) if machine in silent}
        self._usable = [state.usable(state.machines[machine]) for machine in self.machines]
        self._blocked: set[int] = set()
        """Machines with tenants on seats that are gone: nobody else moves in there."""
        self._apart: dict[int, int] = {}
        """Lease on such seats → its number among the machines: it stands for one of its own, to which nobody comes."""
        self.leases = [
            (lease, rental_of(lease, contract - 1, titles.of.get(contract - 1, {})))
            for lease in state.leases.values()
            if lease.machine in self._number and not lease.ended_ms
            if any(part.contract == contract - 1 for part in lease.parts)
        ]
        """Those of the hour before, each with the rental that it is for; 0: none."""
        self._rental = {lease.lease: rental for lease, rental in self.leases}
        self.slots = {
            hour: self._slots(contract_of(class_no, hour)) for hour in (self.hour - 1, self.hour, self.hour + 1)
        }

    def as_fleet(self, *, heard: bool = False) -> Fleet:
        """With nothing to pay for exchanges: they are made where costs are equal. `heard`: without machines that are silent."""
        gone = self._silent if heard else ()
        return Fleet(
            self.lot,
            tuple(
                Machine(
                    number, machine[0], len(self._usable[number]), NOT_HERE if number in gone else self._out(number)
                )
                for number, machine in enumerate(self.machines)
            ),
        )

    def _out(self, number: int) -> tuple[tuple[Hour, Hour], ...]:
        if number in self._blocked or self.machines[number] in self.state.retired:
            return ((self.hour, fleet.NEVER),)
        return self.state.maintenance.get(self.machines[number], ())

    # --- Titles ----------------------------------------------------------------------------------------------

    def titles_of(self, wanted: Iterable[Title], apart: Collection[int] | None = None) -> Iterator[fleet.Title]:
        """Those that anybody owes. Where a GPU cost the same, machines may be exchanged.

        Not of holders who stand `apart` (None: all), nor in the running phase: each of these has a cost that no other has.
        """
        for title in wanted:
            if title.obligor:
                cost, rest = divmod(title.cost, title.qty)
                alone = apart is None or title.holder in apart or rest or title.minutes < MINUTES_PER_HOUR
                yield fleet.Title(
                    hour_of(title.contract), title.title, title.obligor, title.holder, title.qty,
                    -title.title if alone else cost,
                )  # fmt: skip

    def before(self) -> tuple[list[fleet.Title], list[Slot]]:
        """The hour before, as it is for certain: each lease is a slot of a title of its own, in the order of keeping."""
        titles, slots = [], []
        for number, lease in enumerate(keep_first(self.leases, self.wanted), start=1):
            machine = self._apart.get(lease.lease, self._number[lease.machine])
            places = self._places(machine, lease.seats)
            assert places is not None, f"{lease} is neither on seats that are there nor apart"
            qty, seats = len(places) * self.lot, sum(1 << place for place in places)
            titles.append(fleet.Title(self.hour - 1, number, lease.machine[0], lease.holder, qty, -number))
            slots.append(Slot(self.hour - 1, number, lease.holder, machine, seats, number))
        return titles, slots

    def closed(self) -> tuple[list[fleet.Title], list[Slot]]:
        """Seats of silent machines that nobody had before, as if somebody had them, where their host has room elsewhere.

        Who sits there stays while the login works; who comes is not sent to a door that perhaps nobody opens.
        """
        spare: Counter[int] = Counter()
        free: dict[int, Seats] = {}
        for number, machine in enumerate(self.machines):
            if not is_out(self._out(number), self.hour):
                free[number] = (1 << len(self._usable[number]) // self.lot) - 1
                spare[machine[0]] += fleet.lots_of(free[number])
        for title in self.wanted.values():
            spare[title.obligor] -= title.qty // self.lot
        for slot in (*self.slots[self.hour - 1], *self.slots[self.hour]):
            if slot.machine in free:
                free[slot.machine] &= ~slot.seats
        titles, slots = [], []
        for place in sorted(self._silent & free.keys()):
            host, seats = self.machines[place][0], free[place]
            lots = fleet.lots_of(seats)
            if lots and lots <= spare[host]:
                spare[host] -= lots
                titles.append(fleet.Title(self.hour, -1 - place, host, CLOSED, lots * self.lot, NO_COST - place))
                slots.append(Slot(self.hour, -1 - place, CLOSED, place, seats, -1 - place))
        return titles, slots

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
            number = self._set_apart(lease)
            places = list(range(len(lease.seats) // self.lot))
        for served in part.titles:
            mine, places = places[: served.qty // self.lot], places[served.qty // self.lot :]
            seats: Seats = sum(1 << place for place in mine)
            yield Slot(hour_of(part.contract), served.title, lease.holder, number, seats, counts_for(served))

    def _set_apart(self, lease: Lease) -> int:
        number = self._apart.get(lease.lease)
        if number is None:
            number = self._apart[lease.lease] = len(self.machines)
            self.machines.append(lease.machine)
            self._usable.append(list(lease.seats))
            self._blocked.add(number)
        return number

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

    def may_stay(self) -> set[int]:
        """Holders who sat with a host in the hour before that owes them less in this one: by an exchange they may stay."""
        owed: Counter[tuple[int, int]] = Counter()
        for title in self.wanted.values():
            owed[title.holder, title.obligor] += title.qty // self.lot
        return {holder for (holder, host), lots in self._sat().items() if lots > owed[holder, host]}

    def strangers(self, slots: Iterable[Slot]) -> set[int]:
        """Holders whom an exchange has put where they neither sat before nor are owed."""
        stays, come = self._sat(), Counter[tuple[int, int]]()
        for slot in slots:
            at = slot.holder, self.machines[slot.machine][0]
            if slot.title == slot.counts_for:
                stays[at] -= fleet.lots_of(slot.seats)
            else:
                come[at] += fleet.lots_of(slot.seats)
        return {at[0] for at, lots in come.items() if lots > stays[at]}

    def _sat(self) -> Counter[tuple[int, int]]:
        """(holder, host) → lots in the hour before."""
        sat: Counter[tuple[int, int]] = Counter()
        for slot in self.slots[self.hour - 1]:
            sat[slot.holder, self.machines[slot.machine][0]] += fleet.lots_of(slot.seats)
        return sat

    def hosts(self, slots: Iterable[Slot]) -> dict[tuple[int, MachineId], dict[int, Use]]:
        """(holder, machine) → seat → what it is for, of slots that are not recorded yet."""
        recorded = set(self.slots[self.hour])
        uses: dict[tuple[int, int], dict[Seat, Use]] = {}
        for slot in slots:
            if slot not in recorded:
                machine, use = self.machines[slot.machine], Use(slot.title, slot.counts_for)
                of_provider = uses.setdefault((slot.holder, machine[0]), {})
                of_provider.update({(machine, seat): use for seat in self.seats(slot)})
        leases: dict[int, list[tuple[Lease, int]]] = {}
        for lease, rental in self.leases:
            leases.setdefault(lease.holder, []).append((lease, rental))
        found: dict[tuple[int, MachineId], dict[int, Use]] = {}
        for (holder, _), of_provider in uses.items():
            share_out(of_provider, leases.get(holder, ()), self.wanted)
            for (machine, seat), use in of_provider.items():
                found.setdefault((holder, machine), {})[seat] = use
        return found

    def may_go_on(self, lease: int, uses: Iterable[Use]) -> bool:
        """A machine was prepared for the rental that it is for: another one gets its own, with what it is to begin with."""
        rental = self._rental.get(lease, 0)
        return not rental or {self.wanted[use.title].rental for use in uses} <= {rental, 0}

    def moved(self, slots: Iterable[Slot]) -> dict[int, Gpus]:
        """Holder → GPUs that take the place of others, which he must leave as the hour begins: none of who has fewer or more."""
        slots = tuple(slots)
        both = Assignment({self.hour - 1: self.slots[self.hour - 1], self.hour: slots}, (), {})
        return {each.holder: each.lots * self.lot for each in handovers(both)}

    def had(self, holder: int, machine: MachineId) -> set[int]:
        """Seats of a machine that were his in the hour before."""
        return {
            seat
            for slot in self.slots[self.hour - 1]
            if slot.holder == holder and self.machines[slot.machine] == machine
            for seat in self.seats(slot)
        }

    def not_yet_said(self, moved: Mapping[int, Gpus]) -> dict[int, Gpus]:
        """What of `moved` no lease of the hour says."""
        left = dict(moved)
        for lease in self.state.leases.values():
            for part in lease.parts:
                if part.contract == self.contract and lease.holder in left:
                    left[lease.holder] -= sum(each.moved for each in part.titles)
        return {holder: gpus for holder, gpus in left.items() if gpus > 0}


def served(seats: Sequence[int], of: Mapping[int, Use], new: Collection[int], moved: Gpus) -> tuple[Served, ...]:
    """Titles of these seats with their GPUs, in the order of the seats; so many of the first ones that are `new` have `moved`."""
    found = []
    for use, qty in Counter(of[seat] for seat in seats).items():
        of_these = min(moved, sum(of[seat] == use for seat in new))
        moved -= of_these
        found.append(Served(use.title, qty, 0 if use.counts_for == use.title else use.counts_for, of_these))
    return tuple(found)
