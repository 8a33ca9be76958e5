"""Machines that their provider takes away for some hours: nobody is there in them, and who had to go goes elsewhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import rental
from schemas.edge import iso_hour
from schemas.ids import contract_of, hour_of
from schemas.leases import LeaseEnded, MachineMaintained
from services.delivery.maintenance import LONGEST, Windows, is_out, parse, renewed
from services.delivery.refusals import Refused
from tests.delivery.room import ANA, BERT, CARL, CLASS, HOUR, Room, moment, where


def maintain(room: Room, name: str, *windows: tuple[int, int], now: int = moment(-1)) -> None:
    """Hours are counted from HOUR."""
    room.take(MachineMaintained(1, now, CARL, name, tuple((HOUR + begin, HOUR + end) for begin, end in windows)))


# --- What is given to whom -----------------------------------------------------------------------------------


def test_in_its_window_a_machine_is_given_to_nobody() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    maintain(room, "a", (0, 2))
    for hour in range(3):
        room.sell(CARL, ANA, hour, 1)

    assert [where(room.gate(hour)) for hour in range(3)] == [[], [], [(1, {3: 1}, "a", (0,))]]
    assert room.state.unplaced == {(contract_of(CLASS, HOUR + hour), hour + 1): 1 for hour in range(2)}, "it stays owed"


def test_what_is_sold_in_the_running_hour_does_not_go_there_either() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    maintain(room, "a", (0, 1))
    title = room.sell(CARL, ANA, 0, 1, minutes=30)

    assert where(room.place(0, moment(0, 30), [title])) == []


def test_who_stays_longer_than_the_machine_is_there_gets_another() -> None:
    """Known beforehand, nobody has to move: the window is seen from the first hour on."""
    room = Room()
    room.machine(CARL, "a", 1)
    room.machine(CARL, "b", 1)
    maintain(room, "a", (1, 2))
    for hour in range(2):
        room.sell(CARL, ANA, hour, 1)

    assert [where(room.gate(hour)) for hour in range(2)] == [[(1, {1: 1}, "b", (0,))], [(1, {2: 1}, "b", (0,))]]


def test_a_lease_that_runs_into_it_ends_at_its_beginning_and_goes_on_elsewhere() -> None:
    """Said when the next hour had been placed already."""
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    title = room.sell(CARL, ANA, 1, 1)
    room.gate(1)
    room.machine(CARL, "b", 1, now=moment(0, 56))

    maintain(room, "a", (1, 2), now=moment(0, 57))

    assert room.state.leases[1].until_ms == moment(1)
    assert room.state.unplaced == {(contract_of(CLASS, HOUR + 1), title): 1}
    assert where(room.place(1, moment(0, 57))) == [(2, {title: 1}, "b", (0,))]
    assert room.state.leases[2].from_ms == moment(1), "and not before"
    assert room.pass_to(moment(1)) == [LeaseEnded(1, moment(1), 1)]


def test_a_lease_that_had_not_begun_never_was() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.sell(CARL, BERT, 0, 1)
    room.gate(0)

    maintain(room, "a", (0, 1), now=moment(0, -1))

    assert room.state.leases == {}
    assert room.state.on == {(CARL, "a"): set()}
    assert room.state.unplaced == {(contract_of(CLASS, HOUR), 1): 1, (contract_of(CLASS, HOUR), 2): 1}
    assert room.pass_to(moment(1)) == []


def test_without_another_machine_its_minutes_are_not_delivered() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    maintain(room, "a", (0, 1), now=moment(0, -1))

    (counted,) = room.count(0)

    assert (counted.delivered, counted.allowance, counted.undelivered) == (0, 0, 60)


def test_a_machine_that_is_back_takes_what_waits() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    maintain(room, "a", (0, 3))
    title = room.sell(CARL, ANA, 1, 1)
    room.gate(1)

    maintain(room, "a", (0, 1), now=moment(0, 58))

    assert where(room.place(1, moment(0, 58))) == [(1, {title: 1}, "a", (0,))]


def test_hours_that_have_begun_stay_as_they_are() -> None:
    """What was recorded late, too: its tenant is in already."""
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    maintain(room, "a", (0, 1), now=moment(0))

    assert room.state.leases[1].until_ms == moment(1)


# --- What a provider may say ---------------------------------------------------------------------------------

NOW = 100


@pytest.mark.parametrize(
    ("planned", "asked", "becomes"),
    [
        ((), ((105, 107), (101, 102)), ((101, 102), (105, 107))),
        (((101, 103),), (), ()),
        (((98, 103),), ((98, 101),), ((98, 101),)),
        (((98, 103),), ((98, 110), (120, 121)), ((98, 110), (120, 121))),
        (((90, 95), (98, 103)), ((98, 103),), ((98, 103),)),
        (((90, 100),), (), ()),
        ((), ((90, 100), (101, 102)), ((101, 102),)),
        ((), ((101, 103), (103, 104)), ((101, 103), (103, 104))),
    ],
)
def test_windows_take_the_place_of_those_planned_before(planned: Windows, asked: Windows, becomes: Windows) -> None:
    assert renewed(planned, asked, NOW) == becomes


@pytest.mark.parametrize(
    ("planned", "asked", "words"),
    [
        ((), ((100, 102),), "would have begun: the first hour that can be taken is"),
        ((), ((90, 102),), "would have begun"),
        (((101, 102),), ((100, 102),), "would have begun"),
        (((98, 103),), (), "has begun: say it again"),
        (((98, 103),), ((101, 103),), "has begun: say it again"),
        (((98, 103),), ((99, 103),), "would have begun"),
        ((), ((101, 101),), "a window lasts 1 to"),
        ((), ((103, 101),), "a window lasts 1 to"),
        ((), ((101, 102 + LONGEST),), "a window lasts 1 to"),
        ((), ((101, 104), (103, 105)), "overlap"),
    ],
)
def test_what_has_begun_is_not_moved(planned: Windows, asked: Windows, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        renewed(planned, asked, NOW)

    assert refused.value.code == "wrong_window"


@pytest.mark.parametrize("text", ["2026-13-01T00:00Z", "2026-11-22T24:00Z", "9999-12-31T23:00Z"])
def test_an_hour_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="hour"):
        parse([rental.MaintenanceWindow(from_hour=text, until=iso_hour(HOUR))])


windows = st.lists(st.tuples(st.integers(90, 115), st.integers(90, 115)), max_size=3).map(tuple)


@given(st.lists(windows, max_size=4), windows)
def test_the_hour_that_runs_is_never_changed(before: list[Windows], asked: Windows) -> None:
    planned: Windows = ()
    for hour, each in enumerate(before):
        try:
            planned = renewed(planned, each, 92 + 2 * hour)
        except Refused:
            continue
    try:
        becomes = renewed(planned, asked, NOW)
    except Refused:
        return
    assert is_out(planned, NOW) == is_out(becomes, NOW)
    assert all(one[1] <= other[0] for one, other in pairwise(becomes))
    assert all(is_out(becomes, hour) == is_out(asked, hour) for hour in range(NOW + 1, 120))


# --- Any day -------------------------------------------------------------------------------------------------

days = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), st.integers(0, 3), st.sampled_from((ANA, BERT)), st.integers(1, 2)),
        st.tuples(st.just("gate")),
        st.tuples(st.just("maintain"), st.sampled_from("ab"), st.integers(-1, 4), st.integers(1, 3)),
    ),
    max_size=25,
)


@given(days)
def test_nobody_is_on_a_machine_that_is_away_and_whoever_can_be_placed_is(day: list[tuple[object, ...]]) -> None:
    room = Room()
    for name in "ab":
        room.machine(CARL, name, 2)
    hour = 0
    for what, *words in day:
        if what == "sell" and words[0] >= hour:
            room.sell(CARL, words[1], words[0], words[2])
        elif what == "gate":
            room.gate(hour)
            hour += 1
        elif what == "maintain":
            # Between the gate and the beginning of the hour that was placed last.
            now = moment(hour - 1, -2)
            begin = hour + words[1]
            if begin * 60 > (now - moment(0)) // 60_000:
                maintain(room, words[0], (begin, begin + words[2]), now=now)
                for placed in range(max(0, hour - 1), hour):
                    room.place(placed, now)
    for lease in room.state.leases.values():
        for part in lease.parts:
            assert not is_out(room.state.maintenance.get(lease.machine, ()), hour_of(part.contract))
    for (contract, number), qty in room.state.unplaced.items():
        if hour_of(contract) < HOUR + hour - 1:
            continue  # it is over: nothing is placed there, whatever is planned since
        there = [name for name in "ab" if not is_out(room.state.maintenance.get((CARL, name), ()), hour_of(contract))]
        taken = sum(
            len(lease.seats)
            for lease in room.state.leases.values()
            if any(part.contract == contract for part in lease.parts)
        )
        assert taken == 2 * len(there), f"{qty} GPUs of title {number} wait, and there is room"
