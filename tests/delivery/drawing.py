"""Fleets and titles in words: `carl: 2 machines of 8`, `5-8 ana carl 2 @ 100`."""

from services.delivery.assignment import Assignment
from services.delivery.fleet import Fleet, Machine, Title, gpus_of

PEOPLE = ("ana", "bert", "carl", "dana", "emil", "fay")


def account(name: str) -> int:
    return 1 + PEOPLE.index(name)


def fleet(text: str, *, lot: int = 1, cover: dict[tuple[str, int], int] | None = None) -> Fleet:
    """Lines of `number owner GPUs`, then hours in which it is out: `7 carl 8 out 3-5`: not there in 3 and 4."""
    machines = []
    for line in text.strip().splitlines():
        number, owner, gpus, *out = line.split()
        hours = [tuple(map(int, word.split("-"))) for word in out if word != "out"]
        machines.append(Machine(int(number), account(owner), int(gpus), tuple((start, end) for start, end in hours)))
    left = {(account(name), hour): amount for (name, hour), amount in (cover or {}).items()}
    return Fleet(lot, tuple(machines), left)


def titles(text: str) -> list[Title]:
    """Lines of `from-until holder obligor GPUs @ cost`, a title for each hour, numbered as they are written."""
    found = []
    for line in text.strip().splitlines():
        hours, holder, obligor, qty, _, cost = line.split()
        start, end = map(int, hours.split("-"))
        for hour in range(start, end):
            number = len(found) + 1
            found.append(Title(hour, number, account(obligor), account(holder), int(qty), int(cost)))
    return found


def seats(assignment: Assignment, lot: int = 1) -> list[str]:
    """A line per hour and holder: `5 ana 1:01 2:0` is GPUs 0 and 1 of machine 1, and GPU 0 of machine 2."""
    lines = []
    for hour, slots in sorted(assignment.slots.items()):
        mine: dict[int, dict[int, int]] = {}
        for slot in slots:
            places = mine.setdefault(slot.holder, {})
            places[slot.machine] = places.get(slot.machine, 0) | slot.seats
        for holder in sorted(mine):
            where = " ".join(
                f"{number}:{''.join(map(str, gpus_of(has, lot)))}" for number, has in sorted(mine[holder].items())
            )
            lines.append(f"{hour} {PEOPLE[holder - 1]} {where}")
    return lines
