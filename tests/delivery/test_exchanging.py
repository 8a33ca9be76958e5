"""Machines of two titles are exchanged where their costs are equal: who stays, who went without, who had to move."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.delivery import Refund
from schemas.ids import contract_of
from schemas.leases import LeaseServes, MachineMaintained, MachineRetired, Served, TitleCounted
from services.delivery import deciding
from services.delivery.board import Board
from tests.delivery.room import ANA, BERT, CARL, CLASS, DANA, HOUR, Room, moment

EVA = 23
HOST = 13


def crossed(*, price: int = 100) -> Room:
    """In the first hour Ana sits with Carl and Bert with Dana; of the second each has bought from the other's host."""
    room = Room()
    room.machine(CARL, "c", 1)
    room.machine(DANA, "d", 1)
    room.sell(CARL, ANA, 0, 1)
    room.sell(DANA, BERT, 0, 1)
    room.gate(0)
    room.sell(DANA, ANA, 1, 1)
    room.sell(CARL, BERT, 1, 1, price=price)
    return room


def serving(room: Room, hour: int) -> dict[int, tuple[int, str, tuple[Served, ...]]]:
    """Holder → (lease, machine, titles) of those who have one."""
    return {
        each.holder: (each.lease, each.machine, each.titles)
        for each in room.gate(hour)
        if isinstance(each, LeaseServes)
    }


def counted(room: Room, hour: int) -> dict[int, TitleCounted]:
    return {each.title: each for each in room.count(hour) if isinstance(each, TitleCounted)}


def test_where_costs_are_equal_both_stay_and_each_machine_counts_for_its_owner_s_title() -> None:
    room = crossed()

    assert serving(room, 1) == {ANA: (1, "c", (Served(3, 1, 4),)), BERT: (2, "d", (Served(4, 1, 3),))}


def test_where_costs_differ_both_move_and_it_is_said() -> None:
    room = crossed(price=101)

    assert serving(room, 1) == {ANA: (3, "d", (Served(3, 1, 0, 1),)), BERT: (4, "c", (Served(4, 1, 0, 1),))}
    room.check(3, moment(1))
    room.check(4, moment(1))
    assert [(each.moved, each.undelivered) for each in counted(room, 1).values()] == [(1, 0), (1, 0)]


def test_whose_machine_fails_has_not_delivered_and_who_sat_there_gets_it_back() -> None:
    room = crossed()
    room.gate(1)
    room.check(1, moment(0))
    room.check(2, moment(0))
    room.check(1, moment(1, 20), works=False)

    told = counted(room, 1)

    assert (told[3].undelivered, told[3].refunds) == (0, ())
    assert (told[4].undelivered, told[4].refunds) == (40, (Refund(ANA, 40),))


def test_who_withdraws_a_machine_takes_it_from_who_has_bought_of_him_and_from_nobody_else() -> None:
    """Carl's title is Bert's, Ana sits on his machine. It goes before the hour begins: exchanges of that hour are made anew."""
    room = crossed()
    room.gate(1)
    room.take(MachineMaintained(1, moment(0, 57), CARL, "c", ((HOUR + 1, HOUR + 2),)))
    anew = [each for each in room.place(1, moment(0, 58)) if isinstance(each, LeaseServes)]
    assert [(each.holder, each.machine, each.titles) for each in anew] == [(ANA, "d", (Served(3, 1, 0, 1),))]
    room.pass_to(moment(1))
    room.check(anew[0].lease, moment(1))

    told = counted(room, 1)

    assert (told[3].undelivered, told[3].refunds) == (0, ())
    assert (told[4].undelivered, told[4].refunds) == (60, ()), "Bert's own"


def test_who_went_without_gets_it_back_where_half_of_an_exchange_was_all_that_was_written() -> None:
    """A room dies between the two leases; before the next one Dana's machine is gone, in which Bert was to stay."""
    room = crossed()
    contract = contract_of(CLASS, HOUR + 1)
    first, _ = deciding.placements(room.state, room.titles, contract, 1, moment(0, 55))
    room.take(first, MachineRetired(1, moment(0, 56), DANA, "d"))
    room.place(1, moment(0, 57))
    room.check(1, moment(1))

    told = counted(room, 1)

    assert isinstance(first, LeaseServes)
    assert (first.holder, first.titles) == (ANA, (Served(3, 1, 4),))
    assert (told[4].undelivered, told[4].refunds) == (0, ()), "Carl's machine works"
    assert (told[3].undelivered, told[3].refunds) == (60, (Refund(BERT, 60),)), "Dana has none"


def test_a_minute_of_one_gpu_of_sixty_is_no_minute_of_sixty() -> None:
    """Ana sits on one of the GPUs that Carl owes to Bert. What does not divide is paid back to Bert, not to her."""
    room = Room()
    room.machine(CARL, "c", 60)
    room.machine(DANA, "d", 1)
    room.sell(CARL, ANA, 0, 1)
    room.sell(DANA, BERT, 0, 1)
    room.gate(0)
    bert = room.sell(CARL, BERT, 1, 60)
    room.sell(DANA, ANA, 1, 1)
    lease, _, (served,) = serving(room, 1)[ANA]
    for number, each in list(room.state.leases.items()):
        room.check(number, each.from_ms)
    room.check(lease, moment(1, 20.5), works=False)
    room.check(lease, moment(1, 21.5))

    told = counted(room, 1)[bert]

    assert served.counts_for == bert
    assert (told.undelivered, told.refunds) == (1, (Refund(ANA, 1), Refund(BERT, 59)))


def test_who_is_new_is_not_put_elsewhere_for_an_hour_so_that_another_stays() -> None:
    """Ana buys two hours from Carl. Bert, who sits there, has bought the first of them from Dana for as much."""
    room = Room()
    room.machine(CARL, "c", 1)
    room.machine(DANA, "d", 1)
    room.sell(CARL, BERT, 0, 1)
    room.gate(0)
    room.sell(DANA, BERT, 1, 1)
    room.sell(CARL, ANA, 1, 1)
    room.sell(CARL, ANA, 2, 1, price=101)

    assert [serving(room, hour)[ANA][1] for hour in (1, 2)] == ["c", "c"]


def test_who_must_move_is_not_put_where_he_must_leave_again() -> None:
    """Ana goes from Eva's host to Carl's whatever happens; at Dana's for an hour she would only let Bert stay at Carl's."""
    room = Room()
    for host, name in ((HOST, "e"), (CARL, "c"), (DANA, "d")):
        room.machine(host, name, 1)
    room.sell(CARL, BERT, 0, 1)
    room.sell(HOST, ANA, 0, 1, price=102)
    room.gate(0)
    room.sell(DANA, BERT, 1, 1)
    room.sell(CARL, ANA, 1, 1)
    room.sell(CARL, ANA, 2, 1, price=101)

    assert [sum(each.moved for each in serving(room, hour)[ANA][2]) for hour in (1, 2)] == [1, 0]


def test_who_buys_after_the_gate_has_not_been_moved() -> None:
    room = Room()
    room.machine(CARL, "c", 1)
    room.machine(DANA, "d", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    late = room.sell(DANA, ANA, 1, 1)

    (serves,) = room.place(1, moment(1, -2), [late])

    assert isinstance(serves, LeaseServes)
    assert serves.titles == (Served(late, 1),)


def test_nobody_is_moved_so_that_another_stays() -> None:
    """Both sit with Dana. Ana has bought the next hour from Carl; Eva, who stays with Dana, would have to go in her place."""
    room = Room()
    room.machine(CARL, "c", 3)
    room.machine(DANA, "d", 3)
    room.sell(DANA, EVA, 0, 1)
    room.sell(DANA, ANA, 0, 1)
    room.gate(0)
    room.sell(CARL, ANA, 1, 1)
    room.sell(DANA, EVA, 1, 1)

    assert {holder: machine for holder, (_, machine, _) in serving(room, 1).items()} == {ANA: "c", EVA: "d"}


def test_who_has_one_hour_only_has_not_moved() -> None:
    room = Room()
    room.machine(CARL, "c", 2)
    room.machine(DANA, "d", 1)
    room.sell(CARL, ANA, 0, 2)
    room.gate(0)
    room.sell(CARL, ANA, 1, 1)
    room.sell(DANA, BERT, 1, 1)

    serves = serving(room, 1)

    assert [served.moved for _, _, titles in serves.values() for served in titles] == [0, 0]


# --- Any market ----------------------------------------------------------------------------------------------

sales = st.tuples(
    st.integers(0, 3),
    st.sampled_from((CARL, DANA)),
    st.sampled_from((ANA, BERT, EVA)),
    st.sampled_from((100, 100, 101)),
)
failures = st.tuples(st.integers(0, 3), st.sampled_from("cd"), st.integers(0, 59))
withdrawals = st.tuples(st.integers(1, 3), st.sampled_from("cd"))


def went_without(room: Room, hour: int) -> Counter[int]:
    """Holder → minutes that he bought and had no working seat for, from leases and checks alone."""
    contract = contract_of(CLASS, HOUR + hour)
    lost: Counter[int] = Counter()
    for title in room.titles.of.get(contract, {}).values():
        lost[title.holder] += title.qty * 60
    for lease in room.state.leases.values():
        if any(part.contract == contract for part in lease.parts):
            for minute in range(60):
                last = [check.works for check in lease.checks if check.time_ms < moment(hour, minute + 1)]
                lost[lease.holder] -= len(lease.seats) if last and last[-1] else 0
    return lost


@example([(0, CARL, ANA, 100), (0, DANA, BERT, 100), (1, DANA, ANA, 100), (1, CARL, BERT, 100)], [(1, "c", 20)], [])
@given(st.lists(sales, max_size=14), st.lists(failures, max_size=3), st.lists(withdrawals, max_size=2))
def test_everybody_gets_back_what_he_went_without_and_nobody_moves_for_others(
    sold: list[tuple[int, int, int, int]], failing: list[tuple[int, str, int]], withdrawn: list[tuple[int, str]]
) -> None:
    """Two machines with three seats each, all titles of one GPU: so a title's minutes are somebody's own."""
    room = Room()
    room.machine(CARL, "c", 3)
    room.machine(DANA, "d", 3)
    for hour in range(4):
        contract = contract_of(CLASS, HOUR + hour)
        for at, obligor, holder, price in sold:
            if at == hour:
                room.sell(obligor, holder, hour, 1, price=price)
        board = Board(room.state, room.titles, contract, 1)
        titles_before, slots_before = board.before()
        wanted = [*titles_before, *board.titles_of(room.titles.of.get(contract, {}).values())]
        alone = deciding.assign(board.as_fleet(), wanted, slots_before).slots.get(board.hour, ())
        least = board.moved(alone)

        room.gate(hour)

        moved = Board(room.state, room.titles, contract, 1).moved(
            Board(room.state, room.titles, contract, 1).slots[HOUR + hour]
        )
        assert all(gpus <= least.get(holder, 0) for holder, gpus in moved.items()), f"hour {hour}: {moved}, {least}"
        said = Counter[int]()
        for lease in room.state.leases.values():
            said[lease.holder] += sum(
                served.moved for part in lease.parts if part.contract == contract for served in part.titles
            )
        assert +said == Counter(moved)
        for at, name in withdrawn:
            if at == hour:
                provider = CARL if name == "c" else DANA
                room.take(MachineMaintained(1, moment(hour, -2), provider, name, ((HOUR + hour, HOUR + hour + 1),)))
                room.place(hour, moment(hour, -1))
        room.pass_to(moment(hour))
        for number, lease in list(room.state.leases.items()):
            if not lease.ended_ms and not lease.checks:
                room.check(number, lease.from_ms)
        for at, name, minute in failing:
            for number, lease in list(room.state.leases.items()):
                if at == hour and lease.machine[1] == name and not lease.ended_ms and lease.works:
                    room.check(number, moment(hour, minute), works=False)

        back: Counter[int] = Counter()
        for told in counted(room, hour).values():
            holder = room.titles.of[contract][told.title].holder
            for refund in told.refunds or (Refund(holder, told.undelivered),):
                back[refund.account] += refund.gpu_minutes
            assert sum(refund.gpu_minutes for refund in told.refunds) in {0, told.undelivered}
        assert back == went_without(room, hour)
