"""What a purchase would mean for its buyer: hand-overs to be expected, before anything is bought. Pure, and quick.

Nothing is assigned anew: only the buyer is followed through his hours, among the others as they are assigned now. That others
who have not begun may still be put elsewhere is taken into account in one way: he can stay with a host by an exchange with
somebody who is new there in that hour. Moves because a machine goes are not foreseen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros
from services.delivery.assignment import Assignment, Handover
from services.delivery.fleet import Fleet, Lots, Title, is_out, lots_of
from services.delivery.hosting import Hosts


class Foreseen(Struct, frozen=True):
    """Of one holder, in the hours that he wants and the one after each."""

    handovers: tuple[Handover, ...]
    """With what he holds already."""
    lacking: dict[Hour, Gpus]
    """What his obligors would have no machines for."""


def foresee(fleet: Fleet, assignment: Assignment, wanted: Iterable[Title]) -> Foreseen:
    """`wanted`: titles of one holder that do not exist yet; their numbers say nothing. Raises ValueError for several holders."""
    titles = sorted(wanted, key=lambda title: (title.hour, title.obligor, title.cost))
    if not titles:
        return Foreseen((), {})
    holder = titles[0].holder
    if any(title.holder != holder for title in titles):
        raise ValueError("what is wanted is wanted by several holders")
    if any(title.qty <= 0 or title.qty % fleet.lot for title in titles):
        raise ValueError(f"what is wanted is no multiple of the lot of {fleet.lot}")
    by_hour: defaultdict[Hour, list[Title]] = defaultdict(list)
    for title in titles:
        by_hour[title.hour].append(title)
    path = _Path(fleet, assignment, holder)
    found: list[Handover] = []
    for hour in sorted({hour + step for hour in by_hour for step in (0, 1)}):
        lots = path.enter(hour, by_hour.get(hour, []))
        found += [Handover(hour, holder, lots)] * (lots > 0)
    return Foreseen(tuple(found), path.lacking)


class _Path:
    """One holder's way through the hours."""

    def __init__(self, fleet: Fleet, assignment: Assignment, holder: int) -> None:
        self.fleet = fleet
        self.assignment = assignment
        self.holder = holder
        self.host = {machine.number: machine.obligor for machine in fleet.machines}
        self.hour: Hour = -1
        self.sits: Hosts = {}
        self.lacking: dict[Hour, Gpus] = {}

    def enter(self, hour: Hour, titles: Iterable[Title]) -> Lots:
        """How many lots change hands as the hour begins."""
        before = self.sits if self.hour == hour - 1 else self._has(hour - 1)
        sits = self._has(hour)
        elsewhere: list[list[int]] = []
        for title in titles:
            lots = self._given(title)
            stays = min(lots, max(before.get(title.obligor, 0) - sits.get(title.obligor, 0), 0))
            if stays:
                sits[title.obligor] = sits.get(title.obligor, 0) + stays
            if lots > stays:
                elsewhere.append([title.obligor, title.cost, lots - stays])
        for want in elsewhere:
            for name in sorted(before):
                if name != want[0] and (could := max(before[name] - sits.get(name, 0), 0)):
                    lots = min(could, want[2], self._exchangeable(hour, name, want[0], want[1]))
                    sits[name] = sits.get(name, 0) + lots
                    want[2] -= lots
            sits[want[0]] = sits.get(want[0], 0) + want[2]
        self.hour, self.sits = hour, sits
        both = min(sum(before.values()), sum(sits.values()))
        return both - min(both, sum(min(lots, before.get(name, 0)) for name, lots in sits.items()))

    def _has(self, hour: Hour) -> Hosts:
        """Host → his lots as assigned."""
        found: Hosts = {}
        for slot in self.assignment.slots.get(hour, ()):
            if slot.holder == self.holder:
                name = self.host[slot.machine]
                found[name] = found.get(name, 0) + lots_of(slot.seats)
        return found

    def _given(self, title: Title) -> Lots:
        """How many lots of it the obligor would have seats for, after all that he owes already."""
        there = sum(
            self.fleet.seats_in(machine)
            for machine in self.fleet.machines
            if machine.obligor == title.obligor and not is_out(machine, title.hour)
        )
        owed = sum(
            other.qty // self.fleet.lot
            for other in self.assignment.titles.get(title.hour, {}).values()
            if other.obligor == title.obligor
        )
        lots = title.qty // self.fleet.lot
        given = min(max(there - owed, 0), lots)
        if given < lots:
            self.lacking[title.hour] = self.lacking.get(title.hour, 0) + (lots - given) * self.fleet.lot
        return given

    def _exchangeable(self, hour: Hour, name: int, own: int, cost: Micros) -> Lots:
        """Lots of a title of this cost, owed by `own`, that could sit with `name` instead of somebody who is new there."""
        titles = self.assignment.titles.get(hour, {})
        here: defaultdict[tuple[int, Micros], Lots] = defaultdict(int)
        used: defaultdict[int, Micros] = defaultdict(int)
        there: defaultdict[int, Lots] = defaultdict(int)
        for slot in self.assignment.slots.get(hour, ()):
            host, counted = self.host[slot.machine], titles[slot.counts_for].cost
            used[host] += max(titles[slot.title].cost - counted, 0) * lots_of(slot.seats) * self.fleet.lot
            if host == name and slot.holder != self.holder and titles[slot.title].cost == counted:
                here[slot.holder, counted] += lots_of(slot.seats)
        for slot in self.assignment.slots.get(hour - 1, ()):
            if self.host[slot.machine] == name:
                there[slot.holder] += lots_of(slot.seats)
        found = 0
        for (holder, counted), lots in sorted(here.items()):
            new = max(lots - there[holder], 0)
            there[holder] = max(there[holder] - lots, 0)
            payer, each = (name, cost - counted) if cost > counted else (own, counted - cost)
            left = self.fleet.cover.get((payer, hour), 0) - used[payer]
            payable = new if not each else max(min(new, left // (each * self.fleet.lot)), 0)
            used[payer] += payable * each * self.fleet.lot
            found += payable
        return found
