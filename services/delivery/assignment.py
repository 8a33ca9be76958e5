"""Which seats serve which title. Pure, and the same whatever the order in which titles, machines and slots are listed.

Begin with `assign`. Per class; it is provisional until somebody fixes it: what is final (hours past their gate, titles bought in
mid-hour, `placing`) comes back as `fixed` slots and stays. What happens, in this order:

1. Who has no seat: where a provider owes more than his machines can take, his latest titles lose, lot by lot.
2. Whose machines serve whom (`hosting`): holders stay with their host, through exchanges where they are allowed.
3. Which seats (`seating`): holders keep their seats while their machines are there.

A *hand-over* is a lot that a holder has in two consecutive hours and that changes its seat between them; of as many lots as he
holds in both, those that keep none of his seats. How few there are:
- Where costs differ everywhere and no machine goes, exactly those that the purchases themselves cause.
- With exchanges never more lots change their host than without: where the search does worse, it is not used.
- How near that is to a bound is measured by `bench.assignment`; small cases are held against all possible ones in the tests.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from schemas.units import Hour, Micros
from services.delivery.fleet import Fleet, Lots, Machine, Seats, Slot, Title, Unplaced, is_out, lots_of, lowest
from services.delivery.hosting import Demand, Group, Hosting, Hosts, Served, host
from services.delivery.seating import Guests, Lease, Places, seat


class Assignment(Struct, frozen=True):
    """All hours of a class."""

    slots: Mapping[Hour, tuple[Slot, ...]]
    """By title, then machine; fixed ones included."""
    unplaced: tuple[Unplaced, ...]
    titles: Mapping[Hour, Mapping[int, Title]]
    """By number."""


class Handover(Struct, frozen=True):
    """Lots of a holder that change their seats as an hour begins."""

    hour: Hour
    holder: int
    lots: Lots


class Exchange(Struct, frozen=True):
    """Seats that serve a title of another obligor. `counts_for` is delivered, or not, by them."""

    hour: Hour
    title: int
    counts_for: int
    lots: Lots


class Owed(Struct):
    """A title of one hour while it is being assigned."""

    title: Title
    lots: Lots
    """To be served yet."""
    seats: Lots
    """Of its obligor's, to be given yet. Less than `lots` or more only where fixed slots are exchanged ones."""


def assign(fleet: Fleet, titles: Iterable[Title], fixed: Iterable[Slot] = ()) -> Assignment:
    """Seats for all titles of a class, and what has none.

    A fixed slot stands even on a machine that is not there. Raises ValueError for what contradicts itself: a quantity that is no
    multiple of the lot, fixed slots of unknown titles or machines, two of one seat, more of them than the title has lots.
    """
    room = Room(fleet)
    by_hour: defaultdict[Hour, list[Title]] = defaultdict(list)
    for title in titles:
        by_hour[title.hour].append(title)
    fixed_by_hour: defaultdict[Hour, list[Slot]] = defaultdict(list)
    for slot in fixed:
        fixed_by_hour[slot.hour].append(slot)
    if unknown := fixed_by_hour.keys() - by_hour.keys():
        raise ValueError(f"fixed slots of hour {min(unknown)}, in which there is no title")
    hours = [Hourly(room, hour, by_hour[hour], fixed_by_hour.get(hour, [])) for hour in sorted(by_hour)]
    hostings = host([hourly.demand() for hourly in hours], fleet.lot)
    if (alone := without_exchanges(hours)) and stays(hours, alone) > stays(hours, hostings):
        hostings = alone
    for hourly, hosting in zip(hours, hostings, strict=True):
        hourly.pair(hosting)
    seat_all(room, hours)
    unplaced = [
        Unplaced(hourly.hour, number, lots * fleet.lot)
        for hourly in hours
        for number, lots in sorted(hourly.unplaced.items())
    ]
    return Assignment(
        {hourly.hour: hourly.slots() for hourly in hours},
        tuple(unplaced),
        {hourly.hour: {number: owed.title for number, owed in hourly.owed.items()} for hourly in hours},
    )


def without_exchanges(hours: Sequence[Hourly]) -> list[Hosting] | None:
    """Every title with its own obligor; None where fixed slots are exchanged ones and leave no such way."""
    hostings = []
    for hourly in hours:
        served: dict[tuple[int, Micros], list[Served]] = {}
        for owed in hourly.owed.values():
            title = owed.title
            if owed.lots != owed.seats:
                return None
            if owed.lots:
                served.setdefault((title.holder, title.cost), []).append((title.obligor, title.cost, owed.lots))
        hostings.append(Hosting(served, {}))
    return hostings


def stays(hours: Sequence[Hourly], hostings: Sequence[Hosting]) -> Lots:
    """How many lots have the same host as in the hour before."""
    found = 0
    before: dict[tuple[int, int], Lots] = {}
    last = None
    for hourly, hosting in zip(hours, hostings, strict=True):
        now: dict[tuple[int, int], Lots] = {}
        for holder, hosts in hourly.fixed_hosts.items():
            for name, lots in hosts.items():
                now[holder, name] = lots
        for (holder, _), served in hosting.served.items():
            for name, _, lots in served:
                key = holder, name
                now[key] = now.get(key, 0) + lots
        if last == hourly.hour - 1:
            found += sum([min(had, lots) for key, lots in now.items() if (had := before.get(key))])
        before, last = now, hourly.hour
    return found


class Room:
    """A fleet, looked up by number, obligor and hour."""

    def __init__(self, fleet: Fleet) -> None:
        self.lot = fleet.lot
        self.cover: defaultdict[Hour, dict[int, Micros]] = defaultdict(dict)
        for (obligor, hour), left in fleet.cover.items():
            self.cover[hour][obligor] = left
        self.machines = {machine.number: machine for machine in sorted(fleet.machines, key=lambda one: one.number)}
        if len(self.machines) != len(fleet.machines):
            raise ValueError("two machines have the same number")
        self.size = {number: fleet.seats_in(machine) for number, machine in self.machines.items()}
        self.of: defaultdict[int, dict[int, Machine]] = defaultdict(dict)
        self.all_seats: defaultdict[int, Lots] = defaultdict(int)
        self.coming_and_going: defaultdict[int, list[Machine]] = defaultdict(list)
        for number, machine in self.machines.items():
            self.of[machine.obligor][number] = machine
            self.all_seats[machine.obligor] += self.size[number]
            if machine.out:
                self.coming_and_going[machine.obligor].append(machine)

    def seats(self, obligor: int, hour: Hour) -> Lots:
        """Of all his machines that are there."""
        out = sum(self.size[one.number] for one in self.coming_and_going.get(obligor, ()) if is_out(one, hour))
        return self.all_seats.get(obligor, 0) - out


class Hourly:
    """One hour on its way from titles to slots."""

    def __init__(self, room: Room, hour: Hour, titles: Iterable[Title], fixed: Iterable[Slot]) -> None:
        self.room = room
        self.hour = hour
        self.owed: dict[int, Owed] = {}
        for title in sorted(titles, key=lambda one: one.number):
            if title.qty <= 0 or title.qty % room.lot:
                raise ValueError(f"title {title.number}: {title.qty} GPUs are no multiple of the lot of {room.lot}")
            if title.number in self.owed:
                raise ValueError(f"title {title.number} is there twice in hour {hour}")
            lots = title.qty // room.lot
            self.owed[title.number] = Owed(title, lots, lots)
        self.cover = dict(room.cover.get(hour, {}))
        self.fixed = sorted(fixed, key=lambda slot: (slot.title, slot.machine, slot.seats))
        self.fixed_hosts: dict[int, Hosts] = {}
        self.fixed_places: dict[int, dict[int, Places]] = {}
        """Host → holder → seats."""
        self.fixed_leases: dict[int, dict[int, list[Lease]]] = {}
        """The same, one for each fixed slot, in the order of titles."""
        self.unplaced: dict[int, Lots] = {}
        self.waiting: dict[int, dict[int, list[tuple[int, int, Lots]]]] = {}
        """Host → holder → (title, counts for, lots) that want seats."""
        self.seated: dict[int, dict[int, Places]] = {}
        """Host → holder → seats for these."""
        busy = self._take_fixed()
        self._drop_latest(busy)

    def _take_fixed(self) -> Hosts:
        """Host → seats that fixed slots take of machines that are there."""
        busy: Hosts = {}
        taken: Places = {}
        for slot in self.fixed:
            machine, served = self.room.machines.get(slot.machine), self.owed.get(slot.title)
            counted = self.owed.get(slot.counts_for)
            if machine is None or served is None or counted is None:
                raise ValueError(f"a fixed slot of title {slot.title} names a machine or a title that is not there")
            if counted.title.obligor != machine.obligor or served.title.holder != slot.holder:
                raise ValueError(f"a fixed slot of title {slot.title} is not that of its obligor and holder")
            if slot.seats & taken.get(slot.machine, 0) or slot.seats >> self.room.size[slot.machine] or not slot.seats:
                raise ValueError(f"fixed slots of machine {slot.machine}: a seat taken twice, or not there")
            lots = lots_of(slot.seats)
            if served.lots < lots or counted.seats < lots:
                raise ValueError(f"fixed slots of title {slot.title}: more lots than it has")
            # --- from here on it counts
            served.lots -= lots
            counted.seats -= lots
            taken[slot.machine] = taken.get(slot.machine, 0) | slot.seats
            difference = max(served.title.cost - counted.title.cost, 0) * lots * self.room.lot
            if difference:
                self.cover[machine.obligor] = max(self.cover.get(machine.obligor, 0) - difference, 0)
            if not is_out(machine, self.hour):
                busy[machine.obligor] = busy.get(machine.obligor, 0) + lots
            hosts = self.fixed_hosts.setdefault(slot.holder, {})
            hosts[machine.obligor] = hosts.get(machine.obligor, 0) + lots
            places = self.fixed_places.setdefault(machine.obligor, {}).setdefault(slot.holder, {})
            places[slot.machine] = places.get(slot.machine, 0) | slot.seats
            leases = self.fixed_leases.setdefault(machine.obligor, {}).setdefault(slot.holder, [])
            leases.append((slot.machine, slot.seats))
        return busy

    def _drop_latest(self, busy: Hosts) -> None:
        """Nobody gives more seats than he has: his latest titles lose, lot by lot."""
        wanted: Hosts = {}
        for owed in self.owed.values():
            wanted[owed.title.obligor] = wanted.get(owed.title.obligor, 0) + owed.seats
        short = {
            obligor: lacking
            for obligor, seats in wanted.items()
            if (lacking := seats - self.room.seats(obligor, self.hour) + busy.get(obligor, 0)) > 0
        }
        if not short:
            return
        for number in sorted(self.owed, reverse=True):
            owed = self.owed[number]
            lost = min(short.get(owed.title.obligor, 0), owed.seats)
            if lost:
                short[owed.title.obligor] -= lost
                owed.seats -= lost
                # Where its lots sit elsewhere for certain, somebody else finds no seat: `pair` says who.
                without = min(lost, owed.lots)
                owed.lots -= without
                if without:
                    self.unplaced[number] = without

    def demand(self) -> Demand:
        """What `hosting` is asked."""
        groups: dict[Micros, Group] = {}
        for owed in self.owed.values():
            title = owed.title
            group = groups.get(title.cost)
            if group is None:
                group = groups[title.cost] = Group({}, {})
            if owed.lots:
                group.lots[title.holder] = group.lots.get(title.holder, 0) + owed.lots
            if owed.seats:
                group.seats[title.obligor] = group.seats.get(title.obligor, 0) + owed.seats
        return Demand(self.hour, groups, dict(self.cover), self.fixed_hosts)

    def pair(self, hosting: Hosting) -> None:
        """Each lot of a title gets a host and the title that it counts for: itself wherever that is possible."""
        strangers: list[Owed] = []
        for owed in self.owed.values():
            if not owed.lots:
                continue
            title = owed.title
            for at, (name, cost, lots) in enumerate(served := hosting.served.get((title.holder, title.cost), [])):
                if name == title.obligor and cost == title.cost and lots and owed.seats:
                    count = min(lots, owed.lots, owed.seats)
                    served[at] = (name, cost, lots - count)
                    owed.lots -= count
                    owed.seats -= count
                    self._wait(name, title.holder, title.number, title.number, count)
            if owed.lots:
                strangers.append(owed)
        if not strangers:
            return
        given: defaultdict[tuple[int, Micros], deque[Owed]] = defaultdict(deque)
        for owed in self.owed.values():
            if owed.seats:
                given[owed.title.obligor, owed.title.cost].append(owed)
        for owed in strangers:
            self._pair_stranger(owed, hosting, given)

    def _pair_stranger(self, owed: Owed, hosting: Hosting, given: Mapping[tuple[int, Micros], deque[Owed]]) -> None:
        title = owed.title
        for at, (name, cost, lots) in enumerate(served := hosting.served.get((title.holder, title.cost), [])):
            left, queue = lots, given[name, cost]
            while left and owed.lots:
                other = queue[0]
                count = min(left, owed.lots, other.seats)
                left -= count
                owed.lots -= count
                other.seats -= count
                if not other.seats:
                    queue.popleft()
                self._wait(name, title.holder, title.number, other.title.number, count)
            served[at] = (name, cost, left)
        if owed.lots:
            self.unplaced[title.number] = self.unplaced.get(title.number, 0) + owed.lots

    def _wait(self, name: int, holder: int, title: int, counts_for: int, lots: Lots) -> None:
        self.waiting.setdefault(name, {}).setdefault(holder, []).append((title, counts_for, lots))

    def guests(self, name: int) -> Guests:
        """What `seating` is asked of one host."""
        waiting = self.waiting.get(name, {})
        lots = {holder: sum(one[2] for one in waiting[holder]) for holder in sorted(waiting)}
        return Guests(self.hour, lots, self.fixed_places.get(name, {}), self.fixed_leases.get(name, {}))

    def slots(self) -> tuple[Slot, ...]:
        """Of the whole hour, once everybody has seats."""
        found = list(self.fixed)
        for name, waiting in self.waiting.items():
            seated = self.seated[name]
            for holder, wants in waiting.items():
                places = seated[holder]
                if len(wants) == 1:
                    title, counts_for, _ = wants[0]
                    found += [Slot(self.hour, title, holder, number, has, counts_for) for number, has in places.items()]
                else:
                    found += self._cut(holder, wants, dict(places))
        found.sort(key=lambda slot: (slot.title, slot.machine, slot.counts_for, slot.seats))
        return tuple(found)

    def _cut(self, holder: int, wants: Iterable[tuple[int, int, Lots]], places: Places) -> Iterable[Slot]:
        """A holder's seats, by title."""
        numbers = sorted(places)
        for title, counts_for, wanted in wants:
            lots = wanted
            while lots:
                number = numbers[0]
                taken: Seats = lowest(places[number], min(lots, lots_of(places[number])))
                places[number] ^= taken
                lots -= lots_of(taken)
                if not places[number]:
                    del numbers[0]
                yield Slot(self.hour, title, holder, number, taken, counts_for)


def seat_all(room: Room, hours: Sequence[Hourly]) -> None:
    """Every host's guests get their seats."""
    for name in sorted({name for hourly in hours for name in (*hourly.waiting, *hourly.fixed_places)}):
        machines = room.of[name]
        taken = seat(machines, room.size, [hourly.guests(name) for hourly in hours])
        for hourly, seated in zip(hours, taken, strict=True):
            hourly.seated[name] = seated


def handovers(assignment: Assignment) -> list[Handover]:
    """By hour, then holder."""
    found = []
    before: dict[int, Places] = {}
    last = None
    for hour in sorted(assignment.slots):
        now: dict[int, Places] = {}
        for slot in assignment.slots[hour]:
            places = now.setdefault(slot.holder, {})
            places[slot.machine] = places.get(slot.machine, 0) | slot.seats
        if last == hour - 1:
            for holder in sorted(now.keys() & before.keys()):
                if (has := now[holder]) != (had := before[holder]):
                    both = min(_count(has), _count(had))
                    kept = sum((had[number] & seats).bit_count() for number, seats in has.items() if number in had)
                    if both > kept:
                        found.append(Handover(hour, holder, both - kept))
        before, last = now, hour
    return found


def exchanges(assignment: Assignment) -> list[Exchange]:
    """By hour, then title."""
    return [
        Exchange(hour, slot.title, slot.counts_for, lots_of(slot.seats))
        for hour in sorted(assignment.slots)
        for slot in assignment.slots[hour]
        if slot.title != slot.counts_for
    ]


def _count(places: Places) -> Lots:
    return sum(map(lots_of, places.values()))
