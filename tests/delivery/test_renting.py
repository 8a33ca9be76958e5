"""Who has several rentals: each keeps its own machine, whatever becomes of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import contract_of
from schemas.leases import LeaseServes
from tests.delivery.room import ANA, BERT, CARL, CLASS, DANA, HOUR, Room, moment


def placed(room: Room, hour: int) -> dict[int, set[tuple[int, str, tuple[int, ...]]]]:
    """Rental → (lease, machine, seats), of an hour that is placed now."""
    titles = room.titles.of.get(contract_of(CLASS, HOUR + hour), {})
    found: dict[int, set[tuple[int, str, tuple[int, ...]]]] = {}
    for each in room.gate(hour):
        if isinstance(each, LeaseServes):
            for served in each.titles:
                rental = titles[served.title].rental
                found.setdefault(rental, set()).add((each.lease, each.machine, each.seats))
    room.pass_to(moment(hour))
    return found


def renting(**gpus: int) -> Room:
    """Of Ana, in the first hour."""
    room = Room()
    room.machine(CARL, "c", 4)
    for name, qty in gpus.items():
        room.sell(CARL, ANA, 0, qty, rental=int(name.removeprefix("r")))
    return room


def test_two_rentals_that_begin_together_have_leases_of_their_own() -> None:
    assert placed(renting(r7=1, r9=1), 0) == {7: {(1, "c", (0,))}, 9: {(2, "c", (1,))}}


def test_the_machine_of_a_rental_that_ends_is_given_up_and_that_of_the_other_stays() -> None:
    for ends, stays in ((7, 9), (9, 7)):
        room = renting(r7=1, r9=1)
        before = placed(room, 0)
        room.sell(CARL, ANA, 1, 1, rental=stays)

        assert placed(room, 1) == {stays: before[stays]}, f"rental {ends} has ended"


def test_a_large_rental_ends_and_a_small_one_stays() -> None:
    """Nobody cuts a lease in two where whole ones can go."""
    for gpus in ({"r7": 1, "r9": 2}, {"r7": 2, "r9": 1}):
        room = renting(**gpus)
        before = placed(room, 0)
        small = 7 if gpus["r7"] == 1 else 9
        room.sell(CARL, ANA, 1, 1, rental=small)

        assert placed(room, 1) == {small: before[small]}


def test_another_rental_on_the_same_seats_begins_anew() -> None:
    """With what it is to begin with; whoever goes on by hand where a rental has ended stays."""
    room = renting(r7=1)
    before = placed(room, 0)
    room.sell(CARL, ANA, 1, 1, rental=9)
    assert placed(room, 1) == {9: {(2, "c", (0,))}}

    room = renting(r7=1)
    room.sell(CARL, ANA, 1, 1)
    assert placed(room, 0) == before
    assert placed(room, 1) == {0: before[7]}


def test_what_was_bought_by_hand_is_no_rental_s() -> None:
    room = renting(r0=2, r7=1)
    before = placed(room, 0)
    room.sell(CARL, ANA, 1, 2)

    assert placed(room, 1) == {0: before[0]}


rentals = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(1, 5), st.integers(1, 2), st.sampled_from((ANA, BERT)),
        st.sampled_from((CARL, DANA)),
    ),
    min_size=1,
    max_size=7,
)  # fmt: skip


@given(rentals)
def test_a_rental_keeps_its_leases_for_as_long_as_it_holds_hours_of_one_host(
    drawn: list[tuple[int, int, int, int, int]],
) -> None:
    """(first hour, hours, GPUs, who, whose machines), and room for all of them."""
    room = Room()
    for host in (CARL, DANA):
        for name in "ab":
            room.machine(host, name, 7)
    before: dict[int, set[tuple[int, str, tuple[int, ...]]]] = {}
    for hour in range(10):
        for number, (first, hours, gpus, who, host) in enumerate(drawn, start=1):
            if first <= hour < first + hours:
                room.sell(host, who, hour, gpus, rental=number, price=100 + number)
        now = placed(room, hour)
        for number in before.keys() & now.keys():
            assert now[number] == before[number], f"rental {number} in hour {hour}"
        before = now
