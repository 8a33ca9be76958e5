"""A title bought in mid-hour is placed on what is free, and nobody moves for it."""

from random import Random

import pytest
from hypothesis import given

from services.delivery.assignment import assign
from services.delivery.fleet import Slot, Title
from services.delivery.placing import place
from tests.delivery.checker import check
from tests.delivery.drawing import account, fleet, titles
from tests.delivery.worlds import large, seeds

ANA = account("ana")


def running(hour: int, holder: str, obligor: str, qty: int) -> Title:
    return Title(hour, 99, account(obligor), account(holder), qty, 100)


def test_it_gets_free_seats_of_its_own_obligor() -> None:
    both = fleet("1 carl 4\n2 dana 8")
    assigned = assign(both, titles("5-6 bert carl 3 @ 100"))
    assert place(both, assigned, running(5, "ana", "carl", 1)) == (Slot(5, 99, ANA, 1, 0b1000, 99),)


def test_where_there_are_too_few_it_gets_fewer() -> None:
    carl = fleet("1 carl 4\n2 carl 1 out 5-6")
    assigned = assign(carl, titles("5-6 bert carl 3 @ 100"))
    (slot,) = place(carl, assigned, running(5, "ana", "carl", 2))
    assert (slot.machine, slot.seats) == (1, 0b1000)
    assert place(carl, assign(carl, titles("5-6 bert carl 4 @ 100")), running(5, "ana", "carl", 2)) == ()


def test_it_gets_the_seats_that_its_holder_has_next_hour() -> None:
    """Machine 2 would fit better."""
    carl = fleet("1 carl 4\n2 carl 1")
    assigned = assign(carl, titles("6-7 bert carl 1 @ 100\n6-7 ana carl 2 @ 100"))
    (slot,) = place(carl, assigned, running(5, "ana", "carl", 1))
    (then, _) = [one for one in assigned.slots[6] if one.holder == ANA] * 2
    assert slot.machine == then.machine == 1
    assert slot.seats & then.seats


def test_it_gets_the_machine_that_is_there_longest() -> None:
    carl = fleet("1 carl 1 out 6-7\n2 carl 4")
    assigned = assign(carl, titles("9-10 bert carl 1 @ 100"))
    (slot,) = place(carl, assigned, running(5, "ana", "carl", 1))
    assert slot.machine == 2


def test_what_is_no_multiple_of_the_lot_is_refused() -> None:
    carl = fleet("1 carl 8", lot=8)
    with pytest.raises(ValueError, match="no multiple"):
        place(carl, assign(carl, []), running(5, "ana", "carl", 4))


@given(seeds)
def test_it_takes_all_that_is_free_and_what_it_took_can_be_fixed(seed: int) -> None:
    draw = Random(seed)
    fleet, titles = large(draw)
    assigned = assign(fleet, titles)
    hour, obligor, wanted = draw.randrange(12), draw.randint(1, 5), draw.randint(1, 6)
    title = Title(hour, 10_000, obligor, draw.randint(11, 16), wanted * fleet.lot, 100)
    slots = place(fleet, assigned, title)
    all_titles = [*titles, title]
    fixed = [*assigned.slots.get(hour, ()), *slots]
    again = assign(fleet, all_titles, fixed)
    check(fleet, all_titles, again, fixed)
    assert set(again.slots[hour]) == set(fixed), "there was a free seat that was not given"
