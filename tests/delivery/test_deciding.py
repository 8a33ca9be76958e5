"""Which seats a title gets, and whether its holder stays where he is."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.ids import contract_of
from schemas.leases import LeaseEnded, LeaseServes, MachineEnrolled, MachineRetired, TitleUnplaced
from services.delivery import deciding
from services.delivery.state import BadRecord
from tests.delivery.room import ANA, BERT, CARL, CLASS, DANA, HOUR, Room, moment, where


def test_a_title_gets_seats_of_its_obligor_s_machine_and_of_no_other() -> None:
    room = Room()
    room.machine(DANA, "a", 2)
    room.machine(CARL, "b", 4)
    title = room.sell(CARL, ANA, 0, 2)

    assert where(room.gate(0)) == [(1, {title: 2}, "b", (0, 1))]


def test_the_fullest_machine_that_takes_it_all_is_taken() -> None:
    room = Room()
    room.machine(CARL, "large", 8)
    room.machine(CARL, "small", 2)
    title = room.sell(CARL, ANA, 0, 2)

    assert where(room.gate(0)) == [(1, {title: 2}, "small", (0, 1))]


def test_a_holder_stays_on_his_machine_and_keeps_his_lease() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.machine(CARL, "b", 2)
    room.sell(CARL, BERT, 0, 1)
    room.sell(CARL, ANA, 0, 2)
    first = where(room.gate(0))
    stays = room.sell(CARL, ANA, 1, 2)
    room.sell(CARL, BERT, 1, 2)

    second = where(room.gate(1))

    lease, _, machine, seats = next(row for row in first if row[1] == {2: 2})
    assert (lease, {stays: 2}, machine, seats) in second
    assert room.pass_to(moment(1)) == []


def test_who_stays_is_seen_to_before_anybody_moves_in() -> None:
    """Bert's title is the older one, and Ana's machine is the fullest."""
    room = Room()
    room.machine(CARL, "a", 1)
    room.machine(CARL, "b", 3)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.sell(CARL, BERT, 1, 1)
    room.sell(CARL, ANA, 1, 1)

    assert where(room.gate(1)) == [(1, {3: 1}, "a", (0,)), (2, {2: 1}, "b", (0,))]


def test_a_lease_has_the_same_seats_for_as_long_as_it_lasts() -> None:
    """What a container was given cannot be taken from it: who has more gets another lease beside it, who has less another."""
    room = Room()
    room.machine(CARL, "a", 4)
    room.sell(CARL, ANA, 0, 2)
    room.gate(0)
    room.sell(CARL, ANA, 1, 3)
    more = where(room.gate(1))
    room.pass_to(moment(1))
    room.sell(CARL, ANA, 2, 1)
    fewer = where(room.gate(2))
    room.pass_to(moment(2))

    assert more == [(1, {2: 2}, "a", (0, 1)), (2, {2: 1}, "a", (2,))]
    assert fewer == [(2, {3: 1}, "a", (2,))]
    assert room.state.leases[1].ended_ms == moment(2)


def test_a_holder_with_two_titles_on_one_machine_has_one_lease() -> None:
    room = Room()
    room.machine(CARL, "a", 4)
    room.sell(CARL, ANA, 0, 1)
    room.sell(CARL, ANA, 0, 2)

    assert where(room.gate(0)) == [(1, {1: 1, 2: 2}, "a", (0, 1, 2))]


def test_a_lease_ends_with_its_last_title() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    assert room.pass_to(moment(1) - 1) == []
    assert room.pass_to(moment(1)) == [LeaseEnded(1, moment(1), 1)]


def test_after_a_break_of_an_hour_it_is_another_lease() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.pass_to(moment(1))
    title = room.sell(CARL, ANA, 2, 1)

    assert where(room.gate(2)) == [(2, {title: 1}, "a", (0,))]


def test_what_is_sold_in_the_running_hour_begins_at_once() -> None:
    """On a machine of its obligor's, and if another's fits better."""
    room = Room()
    room.machine(DANA, "b", 1)
    room.machine(CARL, "a", 2)
    title = room.sell(CARL, ANA, 0, 1, minutes=41)

    (placed,) = room.place(0, moment(0, 18.5), [title])

    assert isinstance(placed, LeaseServes)
    assert (placed.machine, placed.from_ms, placed.until_ms) == ("a", moment(0, 18.5), moment(1))


def test_a_lot_is_in_one_machine() -> None:
    """Two machines with four free seats each do not make a node of eight."""
    room = Room(lot=8)
    room.machine(CARL, "a", 12)
    room.machine(CARL, "b", 4)
    title = room.sell(CARL, ANA, 0, 16)

    records = room.gate(0)

    assert where(records) == [(1, {title: 8}, "a", tuple(range(8)))]
    assert records[1:] == [TitleUnplaced(1, moment(0, -5), contract_of(CLASS, HOUR), title, 8)]


def test_a_title_is_spread_over_machines_where_none_takes_it_whole() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.machine(CARL, "b", 3)
    title = room.sell(CARL, ANA, 0, 4)

    assert where(room.gate(0)) == [(1, {title: 1}, "a", (0,)), (2, {title: 3}, "b", (0, 1, 2))]


def test_a_seat_that_somebody_has_is_not_given_to_another() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    late = room.sell(CARL, BERT, 0, 1, minutes=40)
    contract = contract_of(CLASS, HOUR)

    decided = deciding.placements(room.state, room.titles, contract, 1, moment(0, 20), [late])

    assert decided == [TitleUnplaced(0, moment(0, 20), contract, late, 1)]


def test_what_found_no_machine_gets_the_one_that_comes() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    late = room.sell(CARL, BERT, 0, 2)
    room.gate(0)
    assert room.state.unplaced == {(contract_of(CLASS, HOUR), late): 2}
    assert room.place(0, moment(0, 1)) == [], "the same is not said twice"

    room.machine(CARL, "b", 1, now=moment(0, 10))
    (first, rest) = room.place(0, moment(0, 10))

    assert isinstance(first, LeaseServes)
    assert (first.machine, first.from_ms) == ("b", moment(0, 10))
    assert rest == TitleUnplaced(1, moment(0, 10), contract_of(CLASS, HOUR), late, 1)


def test_a_retired_machine_is_given_to_nobody_else_and_keeps_whom_it_has() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.take(MachineRetired(1, moment(0, 5), CARL, "a"))
    room.sell(CARL, BERT, 0, 1, minutes=50)

    assert where(room.place(0, moment(0, 9))) == []
    assert not room.state.leases[1].ended_ms


def test_a_seat_that_is_taken_is_not_given_whatever_the_log_says() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    (placed,) = room.gate(0)
    assert isinstance(placed, LeaseServes)

    again = msgspec.structs.replace(placed, lease=2, holder=BERT, from_ms=placed.from_ms + 1)
    with pytest.raises(BadRecord, match="takes seats that lease 1 has"):
        room.take(again)


def test_a_record_of_a_room_that_was_late_is_passed_over() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.take()
    newer = TitleUnplaced(1, moment(0), contract_of(CLASS, HOUR), 1, 1)
    room.state.epoch = 2

    assert not room.state.take(newer)
    assert room.state.unplaced == {}


sales = st.lists(
    st.tuples(
        st.sampled_from((CARL, DANA)), st.sampled_from((ANA, BERT, 23, 24)), st.integers(0, 5), st.integers(1, 3)
    ),
    max_size=30,
)


@settings(max_examples=200)
@given(sales=sales, machines=st.lists(st.tuples(st.sampled_from((CARL, DANA)), st.integers(1, 6)), max_size=5))
def test_no_seat_serves_two_holders_in_one_minute_and_all_that_fits_is_placed(
    sales: list[tuple[int, int, int, int]], machines: list[tuple[int, int]]
) -> None:
    """Whatever was sold, also more than there is: the state refuses a record that gives a seat twice."""
    room = Room()
    for number, (provider, seats) in enumerate(machines):
        room.machine(provider, f"m{number}", seats)
    for hour in range(6):
        for obligor, holder, at, qty in sales:
            if at == hour:
                room.sell(obligor, holder, hour, qty)
        room.gate(hour)
        room.pass_to(moment(hour))
        contract = contract_of(CLASS, HOUR + hour)
        for provider in (CARL, DANA):
            owed = sum(title.qty for title in room.titles.of.get(contract, {}).values() if title.obligor == provider)
            there = sum(seats for owner, seats in machines if owner == provider)
            placed = sum(
                len(lease.seats)
                for lease in room.state.leases.values()
                for part in lease.parts
                if part.contract == contract and lease.machine[0] == provider
            )
            assert placed == min(owed, there)


# --- Half a decision, machines that shrink -------------------------------------------------------------------


def half_placed() -> Room:
    """Ana's two GPUs are on two machines; a room died between the two leases."""
    room = Room()
    for name in "cde":
        room.machine(CARL, name, 1)
    room.sell(CARL, ANA, 0, 2)
    first, _ = deciding.placements(room.state, room.titles, contract_of(CLASS, HOUR), 1, moment(0, -5))
    room.take(first)
    return room


def test_the_next_room_gives_the_rest_of_a_title_its_machine() -> None:
    assert where(half_placed().gate(0)) == [(2, {1: 1}, "d", (0,))]


def test_the_next_room_places_others_beside_half_of_a_title() -> None:
    room = half_placed()
    bert = room.sell(CARL, BERT, 0, 1)

    assert where(room.gate(0)) == [(2, {1: 1}, "d", (0,)), (3, {bert: 1}, "e", (0,))]


def test_tenants_on_seats_that_are_gone_keep_their_leases_and_others_are_placed() -> None:
    """The machine has come back with one GPU fewer, after its gate, while somebody waits for a seat."""
    room = Room()
    room.machine(CARL, "c", 2)
    room.sell(CARL, ANA, 0, 2)
    bert = room.sell(CARL, BERT, 0, 1)
    room.gate(0)
    uuids = tuple(f"{CARL}-c-{seat}" for seat in range(2))
    room.take(MachineEnrolled(1, moment(0, -4), CARL, "c", CLASS, "declared", "open", "127.0.0.1", uuids, (1,)))
    room.machine(CARL, "spare", 2, now=moment(0, -3))

    assert where(room.place(0, moment(0, -3))) == [(2, {bert: 1}, "spare", (0,))]
    room.pass_to(moment(0))
    assert len(room.count(0)) == 2


# --- Machines that nobody has heard of -----------------------------------------------------------------------


def test_who_comes_is_not_sent_to_a_machine_that_is_silent_while_another_is_heard_of() -> None:
    for numbers in (None, [1]):
        room = Room()
        room.machine(CARL, "a", 1)
        room.machine(CARL, "b", 2)
        room.silent = {(CARL, "a")}
        room.sell(CARL, ANA, 0, 1)

        assert where(room.place(0, moment(0, -4), numbers)) == [(1, {1: 1}, "b", (0,))]


def test_who_sits_on_a_machine_that_is_silent_stays() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.machine(CARL, "b", 2)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.silent = {(CARL, "a")}
    room.sell(CARL, ANA, 1, 1)
    room.sell(CARL, BERT, 1, 1)

    assert where(room.gate(1)) == [(1, {2: 1}, "a", (0,)), (2, {3: 1}, "b", (0,))]


def test_a_machine_that_is_silent_is_better_than_none() -> None:
    for numbers in (None, [1]):
        room = Room()
        room.machine(CARL, "a", 1)
        room.machine(CARL, "b", 1)
        room.silent = {(CARL, "a")}
        room.sell(CARL, ANA, 0, 2)

        assert {machine for _, _, machine, _ in where(room.place(0, moment(0, -4), numbers))} == {"a", "b"}
