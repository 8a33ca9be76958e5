"""A number of hand-overs below which no assignment can come. Knows machines and titles as plain numbers, and nothing of any solver.

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
assignment has to pass each of them. Not counted against the solver: that cover is used up, and that hours hang together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    lot: int, rooms: Sequence[Room], titles: Iterable[Owed], cover: Mapping[tuple[int, int], int]
) -> int:
    """Lots that change their seats at least, over all boundaries. `cover`: (obligor, hour) → µUSD."""
    by_hour: defaultdict[int, list[Owed]] = defaultdict(list)
    for title in titles:
        by_hour[title[0]].append(title)
    total = 0
    before: Hour | None = None
    for hour in sorted(by_hour):
        placed = place(by_hour[hour], seats(rooms, hour, hour))
        now = by_circle(placed, lot, {name: left for (name, when), left in cover.items() if when == hour and left > 0})
        if before is not None and hour - 1 in by_hour:
            total += between(before, now, seats(rooms, hour - 1, hour))
        before = now
    return total


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
