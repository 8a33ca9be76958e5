"""What is to be recorded next. Pure: state and titles as they are, the market's time, and nothing else.

A title is placed when nothing can change it any more: one of the forward phase at its hour's gate, one of the running phase when
it is sold. What finds no machine is tried again whenever one comes, until its hour is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from schemas.ids import class_no_of, hour_of
from schemas.leases import LeaseEnded, LeaseRecord, LeaseServes, Served, TitleCounted, TitleUnplaced
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.delivery import minutes
from services.delivery.minutes import Share
from services.delivery.state import DEFAULT_LAUNCH, Lease, MachineId, State
from services.delivery.titles import Title, Titles

EPOCH: Final = 0
"""Whoever writes a record puts its own."""


def placements(
    state: State, titles: Titles, contract: int, lot: Gpus, now_ms: Millis, numbers: Iterable[int] | None = None
) -> list[LeaseRecord]:
    """Of every title of a contract that is not wholly placed yet, or of those named. To be applied before anything else.

    First whoever can stay stays: a lease goes on where its holder has as many GPUs of the same obligor as it has seats, and the
    machine still takes part. Then the others, each holder by his oldest title, get whole lots on the fullest machine that takes
    all that he has of its owner, else on several.
    """
    hour_ms = hour_of(contract) * MS_PER_HOUR
    placing = _Placing(state, contract, lot, max(hour_ms, now_ms), hour_ms + MS_PER_HOUR, now_ms)
    if placing.from_ms >= placing.until_ms:
        return []
    wanted = titles.of.get(contract, {})
    todo = [
        _Todo(wanted[number], left)
        for number in sorted(wanted if numbers is None else numbers)
        if (left := _left(state, wanted[number]))
    ]
    before = {each.title.title: each.left for each in todo}
    records: list[LeaseRecord] = [*placing.stay(todo), *placing.move_in(todo)]
    for each in todo:
        number = each.title.title
        if each.left and state.unplaced.get((contract, number)) != each.left:
            records.append(TitleUnplaced(EPOCH, now_ms, contract, number, each.left))
        assert each.left <= before[number]
    return records


def _left(state: State, title: Title) -> Gpus:
    """GPUs of a title that have no machine."""
    key = (title.contract, title.title)
    if not title.obligor or title.title in state.counted.get(title.contract, {}):
        return 0
    return state.unplaced.get(key, 0) if key in state.unplaced or key in state.of_title else title.qty


class _Todo:
    """A title, and what of it is not placed."""

    def __init__(self, title: Title, left: Gpus) -> None:
        self.title = title
        self.left = left


class _Placing:
    """One contract's titles onto machines, on top of what is recorded."""

    def __init__(
        self, state: State, contract: int, lot: Gpus, from_ms: Millis, until_ms: Millis, now_ms: Millis
    ) -> None:
        self.state = state
        self.contract = contract
        self.lot = lot
        self.from_ms = from_ms
        self.until_ms = until_ms
        self.now_ms = now_ms
        self._lease_last = state.lease_last
        self._taken: dict[MachineId, set[int]] = {}

    def stay(self, todo: list[_Todo]) -> Iterator[LeaseServes]:
        """Leases that go on, largest first."""
        ending = [
            lease
            for lease in self.state.leases.values()
            if not lease.ended_ms and lease.until_ms == self.from_ms and self._takes_part(lease.machine)
        ]
        for lease in sorted(ending, key=lambda lease: (-len(lease.seats), lease.lease)):
            mine = [
                each
                for each in todo
                if (each.title.holder, each.title.obligor) == (lease.holder, lease.machine[0]) and each.left
            ]
            is_free = set(lease.seats) <= set(self._free(lease.machine))
            if is_free and sum(each.left for each in mine) >= len(lease.seats):
                yield self._serve(lease.lease, lease.holder, lease.machine, lease.seats, mine)

    def move_in(self, todo: list[_Todo]) -> Iterator[LeaseServes]:
        """New leases, one for each holder and machine."""
        for first in todo:
            title = first.title
            mine = [each for each in todo if (each.title.holder, each.title.obligor) == (title.holder, title.obligor)]
            for machine in self._machines(title.obligor, sum(each.left for each in mine)):
                left = sum(each.left for each in mine)
                free = self._free(machine)
                count = min(left, len(free)) // self.lot * self.lot
                if count:
                    self._lease_last += 1
                    yield self._serve(self._lease_last, title.holder, machine, tuple(free[:count]), mine)

    def _serve(
        self, lease: int, holder: int, machine: MachineId, seats: tuple[int, ...], mine: list[_Todo]
    ) -> LeaseServes:
        self._taken.setdefault(machine, set()).update(seats)
        return LeaseServes(
            EPOCH, self.now_ms, lease, holder, *machine, seats, self.contract, tuple(_take(mine, len(seats))),
            self.from_ms, self.until_ms, DEFAULT_LAUNCH,
        )  # fmt: skip

    def _machines(self, obligor: int, wanted: Gpus) -> list[MachineId]:
        """The obligor's, the fullest that takes it all first; those that do not, the emptiest first."""
        mine = [machine for machine in self.state.machines if machine[0] == obligor and self._takes_part(machine)]

        def order(machine: MachineId) -> tuple[bool, int, str]:
            free = len(self._free(machine)) // self.lot * self.lot
            return (free < wanted, free if free >= wanted else -free, machine[1])

        return sorted(mine, key=order)

    def _takes_part(self, machine: MachineId) -> bool:
        is_of_class = self.state.machines[machine].class_no == class_no_of(self.contract)
        return is_of_class and machine not in self.state.retired

    def _free(self, machine: MachineId) -> list[int]:
        """Seats that nobody has in all that time."""
        taken = self._taken.get(machine, set()) | {
            seat for number in self.state.on.get(machine, ()) for seat in self._seats(self.state.leases[number])
        }
        return [seat for seat in self.state.usable(self.state.machines[machine]) if seat not in taken]

    def _seats(self, lease: Lease) -> tuple[int, ...]:
        overlaps = max(lease.from_ms, self.from_ms) < min(lease.until_ms, self.until_ms)
        return lease.seats if overlaps else ()


def _take(mine: list[_Todo], count: Gpus) -> Iterator[Served]:
    """So many GPUs of these titles, the oldest first."""
    for each in mine:
        taken = min(each.left, count)
        if taken:
            each.left -= taken
            count -= taken
            yield Served(each.title.title, taken)
    assert count == 0, "a lease is given for titles that there are"


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
        for part in lease.parts:
            if part.contract == title.contract:
                qty = sum(served.qty for served in part.titles if served.title == title.title)
                shares.append(Share(qty, lease.checks, is_new=part is lease.parts[0]))
    return shares
