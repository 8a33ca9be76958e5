"""Judges an assignment by the rules, from its inputs alone. Shares nothing with the solver but the structs."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from services.delivery.assignment import Assignment
from services.delivery.fleet import Fleet, Slot, Title


def check(fleet: Fleet, titles: Iterable[Title], assignment: Assignment, fixed: Iterable[Slot] = ()) -> None:
    """Raises AssertionError for the first rule that is broken. Prints nothing; looks at every seat."""
    machines = {machine.number: machine for machine in fleet.machines}
    by_number = {(title.hour, title.number): title for title in titles}
    fixed = set(fixed)
    served: Counter[tuple[int, int]] = Counter()
    counted: Counter[tuple[int, int]] = Counter()
    covered: Counter[tuple[int, int]] = Counter()
    taken: set[tuple[int, int, int]] = set()
    listed = set()
    for hour, slots in assignment.slots.items():
        for slot in slots:
            assert slot.hour == hour
            listed.add(slot)
            machine = machines[slot.machine]
            title, owed = by_number[hour, slot.title], by_number[hour, slot.counts_for]
            seats = [seat for seat in range(64) if slot.seats >> seat & 1]
            assert seats, "a slot without a seat"
            assert (seats[-1] + 1) * fleet.lot <= machine.gpus, "a lot stretches beyond its machine"
            for seat in seats:
                assert (hour, slot.machine, seat) not in taken, "a seat has two buyers in one hour"
                taken.add((hour, slot.machine, seat))
            if slot not in fixed:
                assert not any(start <= hour < end for start, end in machine.out), "a machine that is not there"
            assert slot.holder == title.holder
            assert machine.obligor == owed.obligor, "a seat counts for what its owner does not owe"
            served[hour, slot.title] += len(seats)
            counted[hour, slot.counts_for] += len(seats)
            covered[machine.obligor, hour] += max(title.cost - owed.cost, 0) * len(seats) * fleet.lot
    for key, amount in covered.items():
        if not any(slot.hour == key[1] for slot in fixed):
            assert amount <= fleet.cover.get(key, 0), "exchanges took more cover than there is"
    assert fixed <= listed, "a fixed slot was moved"
    _check_unplaced(fleet, by_number, assignment, served, counted, {slot.hour for slot in fixed})


def _check_unplaced(
    fleet: Fleet,
    by_number: dict[tuple[int, int], Title],
    assignment: Assignment,
    served: Counter[tuple[int, int]],
    counted: Counter[tuple[int, int]],
    touched: set[int],
) -> None:
    """Every lot has a seat or is said to have none; only where seats lack, and then the latest titles."""
    missing = {(one.hour, one.title): one.qty // fleet.lot for one in assignment.unplaced}
    assert len(missing) == len(assignment.unplaced)
    there: Counter[tuple[int, int]] = Counter()
    hours = {title.hour for title in by_number.values()}
    for machine in fleet.machines:
        for hour in hours:
            if not any(start <= hour < end for start, end in machine.out):
                there[machine.obligor, hour] += machine.gpus // fleet.lot
    owed: defaultdict[tuple[int, int], list[Title]] = defaultdict(list)
    for key, title in by_number.items():
        assert served[key] + missing.get(key, 0) == title.qty // fleet.lot
        owed[title.obligor, title.hour].append(title)
    for (obligor, hour), all_owed in owed.items():
        if hour in touched:
            continue
        left = there[obligor, hour]
        for title in sorted(all_owed, key=lambda one: one.number):
            given = min(left, title.qty // fleet.lot)
            left -= given
            assert served[hour, title.number] == given, "somebody else than the latest has no seat"
            assert counted[hour, title.number] == given, "a title that is served counts for no seat, or too many"


def forced(titles: Iterable[Title], lot: int) -> int:
    """Hand-overs of holders who stay with an obligor as far as their titles do: what purchases alone cause, without exchanges."""
    held: defaultdict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    for title in titles:
        held[title.holder, title.hour][title.obligor] += title.qty // lot
    total = 0
    for (holder, hour), now in held.items():
        before = held.get((holder, hour - 1), Counter())
        total += min(now.total(), before.total()) - (now & before).total()
    return total
