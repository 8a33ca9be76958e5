"""A number of hand-overs below which no assignment can come. Knows machines and titles as numbers, and nothing of any solver.

Each boundary between two hours is looked at for itself, as if the others could be had for nothing. A lot stays if one seat of
one provider serves its holder in both hours, so what stays is at most

1. what the holders could keep:    Σ over holders of min(lots now, lots then);
2. what the providers could keep:  Σ over providers of min(lots owed now, lots owed then, seats there in both hours);
3. what the two could keep together. In one hour, lots can only change places within a *circle*: provider P's seat that counts
   for a lot of cost c may serve one of cost c' only where c' ≤ c, or his cover of that hour pays the difference, and every
   chain of exchanges must close (strongly connected components of that graph; without cover a circle is all lots of one cost).
   A lot that is kept from circle k to circle k' needs a holder who has both and a provider who has both, so per pair of circles
   at most min(1., 2.), counted within the pair, can stay.

Hand-overs are at least 1. less the least of the three. The sum over all boundaries is a bound for the whole, since every
assignment has to pass each of them. That is quick, and says nothing of what hangs together over several hours: who is kept here
must be there. So hours can also be looked at a `window` at a time, as a linear program: how much of a lot sits with whom, in
each hour, within its circle, each provider as full as he owes; what is kept is at most what sits there in both hours. Parts of
lots may do what whole lots cannot, so no assignment has fewer hand-overs. Windows share no boundary, so they add up.

Not counted against the solver: that cover is used up, that a machine goes while others stay, and what hangs together over more
than a window.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Owed = tuple[int, int, int, int, int, int]
"""Hour, number, obligor, holder, lots, cost per GPU."""
Room = tuple[int, int, Sequence[tuple[int, int]]]
"""Obligor, lots that a machine takes, [from, until) of the hours in which it is not there."""


class Hour(NamedTuple):
    """What is placed in one hour, by circle."""

    held: Mapping[int, Mapping[int, int]]
    """Circle → holder → lots."""
    owed: Mapping[int, Mapping[int, int]]
    """Circle → obligor → lots."""


def least_handovers(
    lot: int,
    rooms: Sequence[Room],
    titles: Iterable[Owed],
    cover: Mapping[tuple[int, int], int],
    window: int = 1,
    tell: Callable[[], None] = lambda: None,
) -> int:
    """Lots that change their seats at least, over all boundaries. `cover`: (obligor, hour) → µUSD.

    `window`: how many boundaries are looked at together; more than one needs scipy. `tell` is called after each.
    """
    by_hour: defaultdict[int, list[Owed]] = defaultdict(list)
    for title in titles:
        by_hour[title[0]].append(title)
    left: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for (name, hour), amount in cover.items():
        left[hour][name] = amount
    total = 0
    for run in runs(sorted(by_hour)):
        hours = [by_circle(place(by_hour[hour], seats(rooms, hour)), lot, left[hour]) for hour in run]
        both = [seats(rooms, hour, hour + 1) for hour in run[:-1]]
        for start in range(0, len(both), window):
            room = both[start : start + window]
            within = hours[start : start + len(room) + 1]
            counted = sum(
                between(before, now, there) for before, now, there in zip(within, within[1:], room, strict=False)
            )
            total += max(counted, program(within, room)) if window > 1 else counted
            tell()
    return total


def runs(hours: Sequence[int]) -> Iterator[list[int]]:
    """Hours that follow each other."""
    run: list[int] = []
    for hour in hours:
        if run and hour != run[-1] + 1:
            yield run
            run = []
        run.append(hour)
    if run:
        yield run


def seats(rooms: Sequence[Room], *hours: int) -> dict[int, int]:
    """Obligor → seats that are there in all of these hours."""
    found: defaultdict[int, int] = defaultdict(int)
    for obligor, lots, out in rooms:
        if not any(start <= hour < end for start, end in out for hour in hours):
            found[obligor] += lots
    return found


def place(titles: Iterable[Owed], room: Mapping[int, int]) -> list[Owed]:
    """What has seats: the earlier titles of each obligor."""
    left = dict(room)
    placed = []
    for title in sorted(titles, key=lambda one: one[1]):
        hour, number, obligor, holder, lots, cost = title
        given = min(lots, left.get(obligor, 0))
        if given:
            left[obligor] -= given
            placed.append((hour, number, obligor, holder, given, cost))
    return placed


def by_circle(titles: Iterable[Owed], lot: int, cover: Mapping[int, int]) -> Hour:
    """Lots of one hour by the circle that they can go round in. `cover` is that of the hour."""
    nodes: defaultdict[tuple[int, int], int] = defaultdict(int)
    lots_held: defaultdict[tuple[int, int, int], int] = defaultdict(int)
    for _, _, obligor, holder, lots, cost in titles:
        nodes[obligor, cost] += lots
        lots_held[obligor, cost, holder] += lots
    circle = circles(list(nodes), lot, cover)
    held: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    owed: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (obligor, cost), lots in nodes.items():
        owed[circle[obligor, cost]][obligor] += lots
    for (obligor, cost, holder), lots in lots_held.items():
        held[circle[obligor, cost]][holder] += lots
    return Hour(held, owed)


def circles(nodes: Sequence[tuple[int, int]], lot: int, cover: Mapping[int, int]) -> dict[tuple[int, int], int]:
    """(obligor, cost) → its circle.

    Whoever serves up to cost u serves everything below, so in the order of cost a circle is an interval, and two neighbours
    belong together just when a seat at or below the lower one may serve the upper.
    """
    found: dict[tuple[int, int], int] = {}
    number = -1
    serves_up_to = -1
    for cost in sorted({cost for _, cost in nodes}):
        if cost > serves_up_to:
            number += 1
        for node in nodes:
            if node[1] == cost:
                found[node] = number
                serves_up_to = max(serves_up_to, cost + cover.get(node[0], 0) // lot)
    return found


def between(before: Hour, now: Hour, room: Mapping[int, int]) -> int:
    """Hand-overs at one boundary, at least. `room`: seats that are there on both sides of it."""
    holders = kept(whole(before.held), whole(now.held))
    providers = kept(whole(before.owed), whole(now.owed), room)
    together = sum(
        min(kept(before.held[k], now.held[after]), kept(before.owed[k], now.owed[after], room))
        for k in before.held
        for after in now.held
    )
    return holders - min(holders, providers, together)


def kept(before: Mapping[int, int], now: Mapping[int, int], at_most: Mapping[int, int] | None = None) -> int:
    """Σ min(before, now) over who is in both, none above his `at_most`."""
    both = before.keys() & now.keys()
    if at_most is None:
        return sum(min(before[name], now[name]) for name in both)
    return sum(min(before[name], now[name], at_most.get(name, 0)) for name in both)


def whole(by_circle: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    """All circles together."""
    found: defaultdict[int, int] = defaultdict(int)
    for lots in by_circle.values():
        for name, count in lots.items():
            found[name] += count
    return found


class Rows:
    """Constraints of a linear program: a sparse matrix, row by row, and its right side."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.columns: list[int] = []
        self.values: list[int] = []
        self.right: list[int] = []

    def add(self, right: int, plus: Iterable[int], minus: Iterable[int] = ()) -> None:
        row = len(self.right)
        self.right.append(right)
        for value, columns in ((1, plus), (-1, minus)):
            for column in columns:
                self.rows.append(row)
                self.columns.append(column)
                self.values.append(value)


def program(hours: Sequence[Hour], room: Sequence[Mapping[int, int]]) -> int:
    """Hand-overs within a window, at least, by a linear program. `room`: seats that are there on both sides of each boundary.

    Holders who have the same in every hour, or a multiple of it, are one: what one may do, each may do in proportion.
    """
    sits: list[dict[tuple[int, int], list[int]]] = []
    exactly, at_most = Rows(), Rows()
    columns = 0
    guests: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for path, lots in paths(hours).items():
        places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for at, circle, part in path:
            names = list(hours[at].owed[circle])
            new = list(range(columns, columns + len(names)))
            columns += len(names)
            exactly.add(part * lots, new)
            for name, column in zip(names, new, strict=True):
                places[at, name].append(column)
                guests[at, circle, name].append(column)
        sits.append(places)
    for (at, circle, name), here in guests.items():
        exactly.add(hours[at].owed[circle][name], here)
    first_kept = columns
    kept_at: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for places in sits:
        for (at, name), here in places.items():
            if there := places.get((at + 1, name)):
                at_most.add(0, [columns], here)
                at_most.add(0, [columns], there)
                kept_at[at, name].append(columns)
                columns += 1
    for (at, name), here in kept_at.items():
        at_most.add(room[at].get(name, 0), here)
    continuing = sum(kept(whole(now.held), whole(then.held)) for now, then in pairwise(hours))
    return continuing - most(columns, first_kept, exactly, at_most)


def paths(hours: Sequence[Hour]) -> dict[tuple[tuple[int, int, int], ...], int]:
    """Ways through a window, as (hour in it, circle, lots of one part), → how many parts go that way."""
    ways: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for at, hour in enumerate(hours):
        for circle, held in hour.held.items():
            for holder, lots in held.items():
                ways[holder].append((at, circle, lots))
    found: defaultdict[tuple[tuple[int, int, int], ...], int] = defaultdict(int)
    for way in ways.values():
        parts = math.gcd(*(lots for _, _, lots in way))
        found[tuple((at, circle, lots // parts) for at, circle, lots in way)] += parts
    return found


def most(columns: int, first_kept: int, exactly: Rows, at_most: Rows) -> int:
    """The greatest sum of the columns from `first_kept` on, rounded down; the solver's tolerance is not held against it."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix

    if columns == first_kept:
        return 0
    solved = linprog(
        [0] * first_kept + [-1] * (columns - first_kept),
        A_ub=csr_matrix((at_most.values, (at_most.rows, at_most.columns)), shape=(len(at_most.right), columns)),
        b_ub=at_most.right,
        A_eq=csr_matrix((exactly.values, (exactly.rows, exactly.columns)), shape=(len(exactly.right), columns)),
        b_eq=exactly.right,
        method="highs-ipm",
    )
    assert solved.status == 0, solved.message
    return math.floor(-solved.fun + 1e-3)
