"""What is to be recorded next. Pure: state and titles as they are, the market's time, and nothing else.

A title is placed when nothing can change it any more: one of the forward phase at its hour's gate, one of the running phase when
it is sold. What finds no machine is tried again whenever one comes, until its hour is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from schemas.ids import class_no_of, contract_of, hour_of
from schemas.leases import LeaseEnded, LeaseRecord, LeaseServes, TitleCounted, TitleUnplaced
from schemas.rental import DEFAULT_LAUNCH
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.delivery import minutes
from services.delivery.assignment import Assignment, assign
from services.delivery.board import Board, served
from services.delivery.fleet import Slot
from services.delivery.minutes import Share
from services.delivery.placing import place
from services.delivery.state import State
from services.delivery.titles import Title, Titles

AHEAD_HOURS: Final = 24
"""As many hours are looked at together: who will stay longest is seated where he can."""

EPOCH: Final = 0
"""Whoever writes a record puts its own."""


def placements(
    state: State, titles: Titles, contract: int, lot: Gpus, now_ms: Millis, numbers: Iterable[int] | None = None
) -> list[LeaseRecord]:
    """Of every title of a contract that is not wholly placed yet, or of those named. To be applied before anything else.

    All of an hour are placed together, so that holders stay where they are (`assignment`), with an eye on the hours that follow;
    titles that are named were sold in the running hour, and nobody moves for them (`placing`).
    """
    hour_ms = hour_of(contract) * MS_PER_HOUR
    from_ms, until_ms = max(hour_ms, now_ms), hour_ms + MS_PER_HOUR
    if from_ms >= until_ms:
        return []
    wanted = titles.of.get(contract, {})
    named = wanted if numbers is None else wanted.keys() & set(numbers)
    todo = {number: left for number in sorted(named) if (left := _left(state, wanted[number]))}
    if not todo:
        return []
    board = Board(state, contract, lot)
    sold = [(wanted[number], left) for number, left in todo.items()]
    slots = _all(board, titles) if numbers is None else _at_once(board, sold)
    records: list[LeaseRecord] = []
    launches = {number: title.launch or DEFAULT_LAUNCH for number, title in wanted.items()}
    for serves in _leases(board, slots, launches, from_ms, until_ms, now_ms):
        records.append(serves)
        for each in serves.titles:
            todo[each.title] -= each.qty
    for number, left in todo.items():
        assert left >= 0, f"title {number} has more seats than it is wanted on"
        if left and state.unplaced.get((contract, number)) != left:
            records.append(TitleUnplaced(EPOCH, now_ms, contract, number, left))
    return records


def _left(state: State, title: Title) -> Gpus:
    """GPUs of a title that have no machine."""
    key = (title.contract, title.title)
    if not title.obligor or title.title in state.counted.get(title.contract, {}):
        return 0
    return state.unplaced.get(key, 0) if key in state.unplaced or key in state.of_title else title.qty


def _all(board: Board, titles: Titles) -> Iterable[Slot]:
    """The slots of the board's hour, once all that is known of it and of the next ones is assigned."""
    class_no = class_no_of(board.contract)
    known = [
        title
        for hour in range(board.hour, board.hour + AHEAD_HOURS)
        for _, title in sorted(titles.of.get(contract_of(class_no, hour), {}).items())
    ]
    fixed = [*board.slots[board.hour - 1], *board.slots[board.hour]]
    return assign(board.as_fleet(), board.titles(known), fixed).slots.get(board.hour, ())


def _at_once(board: Board, titles: Iterable[tuple[Title, Gpus]]) -> Iterable[Slot]:
    """Slots of the board's hour with so many GPUs of these titles, one after the other."""
    fleet, slots = board.as_fleet(), dict(board.slots)
    for title, left in titles:
        (wanted,) = board.titles_of([title])
        slots[board.hour] += place(fleet, Assignment(slots, (), {}), msgspec.structs.replace(wanted, qty=left))
    return slots[board.hour]


def _leases(
    board: Board,
    slots: Iterable[Slot],
    launches: Mapping[int, str],
    from_ms: Millis,
    until_ms: Millis,
    now_ms: Millis,
) -> Iterator[LeaseServes]:
    """Leases go on where their holder has all of their seats again; what else he has on a machine is new.

    What goes on keeps what it began with. Of what is new, each specification that titles name (`launches`) has a lease.
    """
    number = board.state.lease_last
    for (holder, machine), of in sorted(board.hosts(slots).items()):
        seats_of: list[tuple[int, tuple[int, ...], str]] = []
        for lease in sorted(board.state.on.get(machine, ())):
            going_on = board.state.leases[lease]
            if going_on.holder == holder and going_on.until_ms == from_ms and set(going_on.seats) <= set(of):
                seats_of.append((lease, going_on.seats, going_on.launch_name))
        kept = {seat for _, seats, _ in seats_of for seat in seats}
        others: dict[str, list[int]] = {}
        for seat in sorted(of.keys() - kept):
            others.setdefault(launches[of[seat]], []).append(seat)
        for launch, new in sorted(others.items()):
            number += 1
            seats_of.append((number, tuple(new), launch))
        for lease, seats, launch in seats_of:
            yield LeaseServes(
                EPOCH, now_ms, lease, holder, *machine, seats, board.contract, served(seats, of), from_ms, until_ms,
                launch,
            )  # fmt: skip


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
