"""What is to be recorded next. Pure: state and titles as they are, the market's time, and nothing else.

A title is placed when nothing can change it any more: one of the forward phase at its hour's gate, one of the running phase when
it is sold. What finds no machine is tried again whenever one comes, until its hour is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from schemas.ids import class_no_of, contract_of, hour_of
from schemas.leases import LeaseEnded, LeaseRecord, LeaseServes, TitleUnplaced
from schemas.rental import DEFAULT_LAUNCH
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.delivery.assignment import Assignment, assign
from services.delivery.board import CLOSED, Board, served
from services.delivery.fleet import Slot, lots_of
from services.delivery.placing import place
from services.delivery.state import EPOCH, MachineId, State
from services.delivery.titles import Title, Titles

AHEAD_HOURS: Final = 24
"""As many hours are looked at together: who will stay longest is seated where he can."""

TRIES: Final = 8
"""Of an hour with exchanges, each with fewer; then it goes without."""


def placements(
    state: State,
    titles: Titles,
    contract: int,
    lot: Gpus,
    now_ms: Millis,
    numbers: Iterable[int] | None = None,
    silent: Collection[MachineId] = (),
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
    board = Board(state, titles, contract, lot, silent)
    sold = [(wanted[number], left) for number, left in todo.items()]
    slots = _all(board, titles) if numbers is None else _at_once(board, sold)
    records: list[LeaseRecord] = []
    launches = {number: title.launch or DEFAULT_LAUNCH for number, title in wanted.items()}
    # Who buys after the gate has not been moved.
    moved = board.moved(slots) if now_ms < hour_ms and numbers is None else {}
    for serves in _leases(board, slots, launches, moved, from_ms, until_ms, now_ms):
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
    if not title.obligor or title.title in state.counted.get(title.contract, {}):
        return 0
    # Not what was last said of it: a room may have died between two records of one title.
    return title.qty - state.served(title.contract, title.title)


def _all(board: Board, titles: Titles) -> Iterable[Slot]:
    """The slots of the board's hour, once all that is known of it and of the next ones is assigned.

    Machines are exchanged only between holders who all stay where they are by it. Whoever else were put on another's machine
    would have to leave it again for his own obligor's.
    """
    class_no = class_no_of(board.contract)
    known = [
        title
        for hour in range(board.hour, board.hour + AHEAD_HOURS)
        for _, title in sorted(titles.of.get(contract_of(class_no, hour), {}).items())
    ]
    machines = board.as_fleet()
    titles_before, slots_before = board.before()
    titles_closed, slots_closed = board.closed()
    fixed = [*slots_before, *board.slots[board.hour], *slots_closed]

    def slots(apart: Collection[int] | None) -> tuple[Slot, ...]:
        wanted = [*titles_before, *titles_closed, *board.titles_of(known, apart)]
        found = assign(machines, wanted, fixed).slots.get(board.hour, ())
        return tuple(slot for slot in found if slot.holder != CLOSED)

    if any(slot.counts_for != slot.title for slot in board.slots[board.hour]):
        # Machines have been exchanged already: who has lost his gets another by exchange, or none.
        return slots(())
    staying = board.may_stay()
    for _ in range(TRIES):
        if not staying:
            break
        found = slots({title.holder for title in board.wanted.values()} - staying)
        strangers = board.strangers(found)
        if not strangers:
            return found
        staying -= strangers
    return slots(None)


def _at_once(board: Board, titles: Iterable[tuple[Title, Gpus]]) -> Iterable[Slot]:
    """Slots of the board's hour with so many GPUs of these titles, one after the other."""
    slots = dict(board.slots)
    for title, qty in titles:
        (wanted,) = board.titles_of([title])
        wanted = msgspec.structs.replace(wanted, qty=qty)
        for machines in (board.as_fleet(heard=True), board.as_fleet()):
            found = place(machines, Assignment(slots, (), {}), wanted) if wanted.qty else ()
            slots[board.hour] += found
            left = wanted.qty - sum(lots_of(slot.seats) for slot in found) * board.lot
            wanted = msgspec.structs.replace(wanted, qty=left)
    return slots[board.hour]


def _leases(
    board: Board,
    slots: Iterable[Slot],
    launches: Mapping[int, str],
    moved: dict[int, Gpus],
    from_ms: Millis,
    until_ms: Millis,
    now_ms: Millis,
) -> Iterator[LeaseServes]:
    """Leases go on where their holder has all of their seats again, and not for another rental; what else he has is new.

    What goes on keeps what it began with. Of what is new, each rental has leases of its own, and so has each specification that
    titles name (`launches`); his first GPUs that were not his before have `moved` there.
    """
    number = board.state.lease_last
    left = board.not_yet_said(moved)
    for (holder, machine), of in sorted(board.hosts(slots).items()):
        had = board.had(holder, machine) if left.get(holder) else set()
        seats_of: list[tuple[int, tuple[int, ...], str]] = []
        for lease in sorted(board.state.on.get(machine, ())):
            going_on = board.state.leases[lease]
            is_his = going_on.holder == holder and going_on.until_ms == from_ms and set(going_on.seats) <= set(of)
            if is_his and board.may_go_on(lease, [of[seat] for seat in going_on.seats]):
                seats_of.append((lease, going_on.seats, going_on.launch_name))
        kept = {seat for _, seats, _ in seats_of for seat in seats}
        others: dict[tuple[str, int], list[int]] = {}
        for seat in sorted(of.keys() - kept):
            title = of[seat].title
            others.setdefault((launches[title], board.wanted[title].rental), []).append(seat)
        for (launch, _), new in sorted(others.items()):
            number += 1
            seats_of.append((number, tuple(new), launch))
        for lease, seats, launch in seats_of:
            titles = served(seats, of, set(seats) - had, left.get(holder, 0))
            left[holder] = left.get(holder, 0) - sum(each.moved for each in titles)
            yield LeaseServes(
                EPOCH, now_ms, lease, holder, *machine, seats, board.contract, titles, from_ms, until_ms, launch
            )  # fmt: skip


def endings(state: State, now_ms: Millis) -> list[LeaseRecord]:
    """Leases whose last hour is over."""
    return [
        LeaseEnded(EPOCH, max(lease.until_ms, 0), number)
        for number, lease in sorted(state.leases.items())
        if not lease.ended_ms and lease.until_ms <= now_ms
    ]
