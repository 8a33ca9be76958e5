"""What is to be recorded next. Pure: state and titles as they are, the market's time, and nothing else.

A title is placed when nothing can change it any more: one of the forward phase at its hour's gate, one of the running
phase when it is sold. What finds no machine is tried again whenever one comes, until its hour is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.ids import class_no_of, hour_of
from schemas.leases import LeaseEnded, LeaseRecord, TitleCounted, TitlePlaced, TitleUnplaced
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.delivery import minutes
from services.delivery.minutes import Share
from services.delivery.state import DEFAULT_LAUNCH, MachineId, State
from services.delivery.titles import Title, Titles


def placements(
    state: State, titles: Titles, contract: int, lot: Gpus, now_ms: Millis, numbers: Iterable[int] | None = None
) -> list[LeaseRecord]:
    """Of every title of a contract that is not wholly placed yet, or of those named, oldest first.

    To be applied before anything else. Holders stay where they are where the obligor's machine and its seats are free; the
    others get the fullest machine that has room.
    """
    records: list[LeaseRecord] = []
    wanted = titles.of.get(contract, {})
    seen = _Free(state)
    for number in sorted(wanted if numbers is None else numbers):
        title = wanted[number]
        if title.obligor == 0 or (contract, number) in _counted(state):
            continue
        records += _place(state, seen, title, lot, now_ms)
    return records


def _counted(state: State) -> set[tuple[int, int]]:
    return {(contract, title) for contract, of_contract in state.counted.items() for title in of_contract}


class _Free:
    """Seats of machines and leases as they are, and as they become by what is about to be recorded."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.lease_last = state.lease_last
        self.placed: list[TitlePlaced] = []

    def seats(self, machine: MachineId, from_ms: Millis, until_ms: Millis) -> list[int]:
        """Nobody's in all that time."""
        enrolled = self.state.machines[machine]
        taken = {
            seat
            for number in self.state.on.get(machine, ())
            for part in self.state.leases[number].parts
            if max(part.from_ms, from_ms) < min(part.until_ms, until_ms)
            for seat in part.seats
        }
        for each in self.placed:
            if (each.provider, each.machine) == machine and max(each.from_ms, from_ms) < min(each.until_ms, until_ms):
                taken.update(each.seats)
        return [seat for seat in self.state.usable(enrolled) if seat not in taken]

    def lease(self, holder: int, machine: MachineId, from_ms: Millis) -> tuple[int, tuple[int, ...]]:
        """The holder's lease on the machine that goes on at that moment, and its seats just before; (0, ()): he has none."""
        for each in reversed(self.placed):
            if (each.holder, (each.provider, each.machine)) == (holder, machine) and each.until_ms >= from_ms:
                return each.lease, ()
        for number in sorted(self.state.on.get(machine, ())):
            lease = self.state.leases[number]
            if lease.holder == holder and lease.from_ms <= from_ms <= lease.until_ms:
                return number, lease.seats_at(min(from_ms, lease.until_ms - 1))
        return 0, ()


def _place(state: State, free: _Free, title: Title, lot: Gpus, now_ms: Millis) -> Iterator[LeaseRecord]:
    key = (title.contract, title.title)
    hour_ms = hour_of(title.contract) * MS_PER_HOUR
    until_ms = hour_ms + MS_PER_HOUR
    from_ms = max(hour_ms, now_ms)
    known = key in state.unplaced
    left = state.unplaced.get(key, 0) if known or key in state.of_title else title.qty
    if not left or from_ms >= until_ms:
        return
    before = left
    for machine, there in _choices(free, title, lot, left, from_ms, until_ms):
        seats = there[: left - left % lot]
        if not seats:
            break
        number, _ = free.lease(title.holder, machine, from_ms)
        if not number:
            number = free.lease_last = free.lease_last + 1
        record = TitlePlaced(
            0, now_ms, number, title.holder, *machine, title.contract, title.title, tuple(sorted(seats)), from_ms,
            until_ms, DEFAULT_LAUNCH,
        )  # fmt: skip
        free.placed.append(record)
        left -= len(seats)
        yield record
    if left and not (known and left == before):
        yield TitleUnplaced(0, now_ms, title.contract, title.title, left)


def _choices(
    free: _Free, title: Title, lot: Gpus, left: Gpus, from_ms: Millis, until_ms: Millis
) -> list[tuple[MachineId, list[int]]]:
    """Machines of the obligor's with free seats, whole lots: where the holder is already, then the fullest that takes all."""
    found: list[tuple[tuple[bool, bool, int, str], MachineId, list[int]]] = []
    for machine, enrolled in free.state.machines.items():
        if (
            machine[0] != title.obligor
            or enrolled.class_no != class_no_of(title.contract)
            or machine in free.state.retired
        ):
            continue
        stays = free.lease(title.holder, machine, from_ms)[1]
        unused = free.seats(machine, from_ms, until_ms)
        seats = [seat for seat in unused if seat in stays] + [seat for seat in unused if seat not in stays]
        seats = seats[: len(seats) - len(seats) % lot]
        if seats:
            is_there = bool(free.lease(title.holder, machine, from_ms)[0])
            found.append(((not is_there, len(seats) < left, len(seats), machine[1]), machine, seats))
    return [(machine, seats) for _, machine, seats in sorted(found, key=lambda each: each[0])]


def endings(state: State, now_ms: Millis) -> list[LeaseRecord]:
    """Leases whose last hour is over."""
    return [
        LeaseEnded(0, max(lease.until_ms, 0), number)
        for number, lease in sorted(state.leases.items())
        if not lease.ended_ms and lease.until_ms <= now_ms
    ]


def counts(state: State, titles: Titles, contract: int, setup_minutes: int, now_ms: Millis) -> list[LeaseRecord]:
    """Of each title of an hour that is over and has no count yet."""
    done = state.counted.get(contract, {})
    records: list[LeaseRecord] = []
    for number, title in sorted(titles.of.get(contract, {}).items()):
        if number in done or not title.obligor:
            continue
        found = minutes.count(hour_of(contract), title.minutes, title.qty, _shares(state, title), setup_minutes)
        records.append(TitleCounted(0, now_ms, contract, number, *found))
    return records


def _shares(state: State, title: Title) -> list[Share]:
    shares = []
    for number in state.of_title.get((title.contract, title.title), ()):
        lease = state.leases[number]
        qty = sum(
            len(part.seats) for part in lease.parts if (part.contract, part.title) == (title.contract, title.title)
        )
        first = min(
            part.from_ms for part in lease.parts if (part.contract, part.title) == (title.contract, title.title)
        )
        shares.append(Share(qty, lease.checks, is_new=first == lease.from_ms))
    return shares
