"""The least number of hand-overs, by trying every seat for every lot in every hour. For a few lots and hours."""

from collections import Counter
from collections.abc import Iterator
from itertools import permutations

from services.delivery.fleet import Fleet, Title

State = frozenset[tuple[tuple[int, int], int]]
"""((machine, seat), holder) of one hour."""


def least(fleet: Fleet, titles: list[Title]) -> int:
    """Of all ways through the hours that keep every rule, the one with the fewest."""
    hours = sorted({title.hour for title in titles})
    best: dict[State, int] = {frozenset(): 0}
    last = None
    for hour in hours:
        states = set(_states(fleet, [title for title in titles if title.hour == hour], hour))
        if last != hour - 1:
            best = {frozenset(): min(best.values())}
        best = {state: min(cost + _moved(before, state) for before, cost in best.items()) for state in states}
        last = hour
    return min(best.values())


def _moved(before: State, now: State) -> int:
    had, has = Counter(holder for _, holder in before), Counter(holder for _, holder in now)
    return (had & has).total() - len(before & now)


def _states(fleet: Fleet, titles: list[Title], hour: int) -> Iterator[State]:
    there = [machine for machine in fleet.machines if not any(start <= hour < end for start, end in machine.out)]
    seats = [
        ((machine.number, seat), machine.obligor) for machine in there for seat in range(machine.gpus // fleet.lot)
    ]
    room = Counter(obligor for _, obligor in seats)
    lots = []
    for title in sorted(titles, key=lambda one: one.number):
        given = min(title.qty // fleet.lot, room[title.obligor])
        room[title.obligor] -= given
        lots += [title] * given
    owed: dict[int, list[int]] = {}
    for title in lots:
        owed.setdefault(title.obligor, []).append(title.cost)
    for chosen in permutations(seats, len(lots)):
        serves: dict[int, list[int]] = {}
        for (_, obligor), title in zip(chosen, lots, strict=True):
            serves.setdefault(obligor, []).append(title.cost)
        if all(_covered(fleet, hour, name, owed.get(name, []), costs) for name, costs in serves.items()):
            yield frozenset((seat, title.holder) for (seat, _), title in zip(chosen, lots, strict=True))


def _covered(fleet: Fleet, hour: int, obligor: int, owed: list[int], serves: list[int]) -> bool:
    """As many as he owes, and the differences at their least are within his cover."""
    if len(owed) != len(serves):
        return False
    over = sum(max(dear - own, 0) for dear, own in zip(sorted(serves), sorted(owed), strict=True))
    return over * fleet.lot <= fleet.cover.get((obligor, hour), 0)
