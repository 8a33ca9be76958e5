"""Titles become seats: who stays where, who has none, what is exchanged, and what is final."""

import pytest

from services.delivery.assignment import Exchange, Handover, assign, exchanges, handovers
from services.delivery.fleet import Slot, Unplaced, gpus_of
from tests.delivery.checker import check
from tests.delivery.drawing import account, fleet, seats, titles


def test_a_holder_keeps_his_seats_from_hour_to_hour_and_others_come_and_go_around_him() -> None:
    carl = fleet("1 carl 4")
    sold = titles("""
        5-8 ana carl 2 @ 100
        5-6 bert carl 2 @ 100
        6-8 emil carl 1 @ 100
    """)
    assigned = assign(carl, sold)
    check(carl, sold, assigned)
    assert seats(assigned) == ["5 ana 1:01", "5 bert 1:23", "6 ana 1:01", "6 emil 1:2", "7 ana 1:01", "7 emil 1:2"]
    assert handovers(assigned) == []


def test_eight_singles_are_not_a_node() -> None:
    """A lot of 8 needs 8 GPUs of one machine: two machines of 12 hold two lots, and 8 GPUs are left over."""
    carl = fleet("1 carl 12\n2 carl 12", lot=8)
    sold = titles("5-6 ana carl 24 @ 100")
    assigned = assign(carl, sold)
    check(carl, sold, assigned)
    assert seats(assigned, lot=8) == ["5 ana 1:01234567 2:01234567"]
    assert assigned.unplaced == (Unplaced(5, 1, 8),)
    assert gpus_of(0b10, 8) == (8, 9, 10, 11, 12, 13, 14, 15)


def test_lots_of_one_holder_come_together_on_the_machine_that_they_fill_best() -> None:
    carl = fleet("1 carl 8\n2 carl 4\n3 carl 2")
    assigned = assign(carl, titles("5-6 ana carl 4 @ 100\n5-6 bert carl 2 @ 100"))
    assert seats(assigned) == ["5 ana 2:0123", "5 bert 3:01"]


def test_where_machines_lack_the_latest_title_loses_lot_by_lot() -> None:
    carl = fleet("1 carl 4")
    sold = titles("""
        5-6 ana carl 2 @ 100
        5-6 bert carl 1 @ 100
        5-6 emil carl 2 @ 100
        5-6 fay carl 1 @ 100
    """)
    assigned = assign(carl, sold)
    check(carl, sold, assigned)
    assert assigned.unplaced == (Unplaced(5, 3, 1), Unplaced(5, 4, 1))


def test_nobody_else_gives_seats_for_what_lacks() -> None:
    """Dana has machines enough; she owes nothing."""
    both = fleet("1 carl 1\n2 dana 8")
    assigned = assign(both, titles("5-6 ana carl 2 @ 100"))
    assert assigned.unplaced == (Unplaced(5, 1, 1),)
    assert seats(assigned) == ["5 ana 1:0"]


def test_who_changes_his_obligor_changes_his_machine() -> None:
    both = fleet("1 carl 1\n2 dana 1")
    assigned = assign(both, titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 100"))
    assert handovers(assigned) == [Handover(6, account("ana"), 1)]
    assert exchanges(assigned) == []


def test_equal_costs_are_exchanged_so_that_a_holder_stays() -> None:
    """In hour 6 Ana's title is Dana's and Bert's is Carl's. Bert comes anew, so he takes Dana's machine."""
    both = fleet("1 carl 1\n2 dana 1")
    sold = titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 110\n6-7 bert carl 1 @ 110")
    assigned = assign(both, sold)
    check(both, sold, assigned)
    assert seats(assigned) == ["5 ana 1:0", "6 ana 1:0", "6 bert 2:0"]
    assert exchanges(assigned) == [Exchange(6, 2, 3, 1), Exchange(6, 3, 2, 1)]
    assert handovers(assigned) == []


@pytest.mark.parametrize(
    ("costs", "cover", "stays"),
    [
        ((120, 110), {}, False),
        ((120, 110), {("carl", 6): 9}, False),
        ((120, 110), {("carl", 6): 10}, True),
        ((120, 110), {("dana", 6): 10}, False),
        ((110, 120), {("carl", 6): 10}, False),
        ((110, 120), {("dana", 6): 10}, True),
        ((110, 120), {("dana", 7): 10}, False),
    ],
)
def test_who_serves_the_dearer_title_covers_the_difference(
    costs: tuple[int, int], cover: dict[tuple[str, int], int], stays: bool
) -> None:
    """If his machine fails, his own title gives back too little for whoever sat there."""
    both = fleet("1 carl 1\n2 dana 1", cover=cover)
    sold = titles(f"5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ {costs[0]}\n6-7 bert carl 1 @ {costs[1]}")
    assigned = assign(both, sold)
    check(both, sold, assigned)
    assert (handovers(assigned) == []) is stays
    assert len(exchanges(assigned)) == (2 if stays else 0)


def test_cover_is_used_up_per_gpu() -> None:
    """Lots of 8 GPUs: a difference of 10 takes 80 of Carl's cover. It is enough for one of Ana's two lots."""
    both = fleet("1 carl 16\n2 dana 16", lot=8, cover={("carl", 6): 159})
    sold = titles("5-6 ana carl 16 @ 100\n6-7 ana dana 16 @ 120\n6-7 bert carl 16 @ 110")
    assigned = assign(both, sold)
    check(both, sold, assigned)
    assert handovers(assigned) == [Handover(6, account("ana"), 1)]


def test_whoever_leaves_soon_gets_the_machine_that_goes_soon() -> None:
    """Machine 1 goes at 7. Ana stays until 9 and Bert until 7, whoever bought first."""
    carl = fleet("1 carl 1 out 7-9\n2 carl 1")
    assigned = assign(carl, titles("5-7 bert carl 1 @ 100\n5-9 ana carl 1 @ 100"))
    assert handovers(assigned) == []
    assert [line for line in seats(assigned) if line.startswith("5")] == ["5 ana 2:0", "5 bert 1:0"]


def test_who_sits_on_a_machine_that_goes_moves_once_and_does_not_come_back() -> None:
    carl = fleet("1 carl 1 out 0-5 out 6-7\n2 carl 1 out 5-6")
    assigned = assign(carl, titles("5-9 ana carl 1 @ 100"))
    assert seats(assigned) == ["5 ana 1:0", "6 ana 2:0", "7 ana 2:0", "8 ana 2:0"]
    assert handovers(assigned) == [Handover(6, account("ana"), 1)]


def test_after_an_hour_without_a_title_nothing_is_a_hand_over() -> None:
    carl = fleet("1 carl 2 out 7-8\n2 carl 1")
    assigned = assign(carl, titles("5-6 ana carl 2 @ 100\n7-8 ana carl 1 @ 100"))
    assert handovers(assigned) == []


def test_what_is_fixed_stays_and_the_hours_after_follow_it() -> None:
    """Left to itself Ana would sit on machine 1."""
    carl = fleet("1 carl 1\n2 carl 1")
    sold = titles("5-8 ana carl 1 @ 100")
    fixed = [Slot(5, 1, account("ana"), 2, 1, 1)]
    assert seats(assign(carl, sold)) == ["5 ana 1:0", "6 ana 1:0", "7 ana 1:0"]
    assigned = assign(carl, sold, fixed)
    check(carl, sold, assigned, fixed)
    assert seats(assigned) == ["5 ana 2:0", "6 ana 2:0", "7 ana 2:0"]


def test_a_fixed_slot_on_a_machine_that_fails_stays_and_its_holder_moves_afterwards() -> None:
    carl = fleet("1 carl 1 out 5-9\n2 carl 1")
    sold = titles("5-7 ana carl 1 @ 100")
    assigned = assign(carl, sold, [Slot(5, 1, account("ana"), 1, 1, 1)])
    assert seats(assigned) == ["5 ana 1:0", "6 ana 2:0"]


def test_when_one_half_of_a_fixed_exchange_is_lost_it_is_placed_where_its_seat_still_is() -> None:
    """Ana sits on Carl's machine for her title of Dana's. What Bert had on Dana's machine 2 goes to her 3."""
    both = fleet("1 carl 1\n2 dana 1 out 6-7\n3 dana 1")
    sold = titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 110\n6-7 bert carl 1 @ 110")
    fixed = [Slot(6, 2, account("ana"), 1, 1, 3)]
    assigned = assign(both, sold, fixed)
    check(both, sold, assigned, fixed)
    assert seats(assigned)[-1] == "6 bert 3:0"
    assert assigned.unplaced == ()


def test_without_that_seat_its_holder_has_none() -> None:
    both = fleet("1 carl 1\n2 dana 1 out 6-7")
    sold = titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 110\n6-7 bert carl 1 @ 110")
    fixed = [Slot(6, 2, account("ana"), 1, 1, 3)]
    assigned = assign(both, sold, fixed)
    check(both, sold, assigned, fixed)
    assert assigned.unplaced == (Unplaced(6, 3, 1),)


@pytest.mark.parametrize(
    ("slots", "why"),
    [
        ([Slot(9, 1, 1, 1, 1, 1)], "no title"),
        ([Slot(5, 7, 1, 1, 1, 7)], "not there"),
        ([Slot(5, 1, 1, 3, 1, 1)], "not there"),
        ([Slot(5, 1, 1, 2, 1, 1)], "obligor and holder"),
        ([Slot(5, 1, 2, 1, 1, 1)], "obligor and holder"),
        ([Slot(5, 1, 1, 1, 0b10000, 1)], "not there"),
        ([Slot(5, 1, 1, 1, 0, 1)], "not there"),
        ([Slot(5, 1, 1, 1, 1, 1), Slot(5, 1, 1, 1, 1, 1)], "taken twice"),
        ([Slot(5, 1, 1, 1, 0b111, 1)], "more lots"),
    ],
)
def test_fixed_slots_that_contradict_the_titles_are_refused(slots: list[Slot], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        assign(fleet("1 carl 4\n2 dana 4"), titles("5-6 ana carl 2 @ 100"), slots)


@pytest.mark.parametrize("qty", [0, 3])
def test_what_is_no_multiple_of_the_lot_is_refused(qty: int) -> None:
    with pytest.raises(ValueError, match="no multiple"):
        assign(fleet("1 carl 8", lot=2), titles(f"5-6 ana carl {qty} @ 100"))


def test_numbers_that_are_there_twice_are_refused() -> None:
    (title,) = titles("5-6 ana carl 1 @ 100")
    with pytest.raises(ValueError, match="title 1 is there twice"):
        assign(fleet("1 carl 2"), [title, title])
    with pytest.raises(ValueError, match="two machines"):
        assign(fleet("1 carl 2\n1 dana 2"), [title])
