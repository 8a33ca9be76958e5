"""What a purchase would mean is said before, and comes true where nobody else buys."""

from random import Random

import pytest
from hypothesis import given
from msgspec.structs import replace

from services.delivery.assignment import Handover, assign, handovers
from services.delivery.fleet import Title
from services.delivery.foresight import Foreseen, foresee
from tests.delivery.drawing import account, fleet, titles
from tests.delivery.worlds import large, seeds

ANA = account("ana")


def test_hours_of_one_obligor_need_no_hand_over_and_hours_of_two_need_one() -> None:
    both = fleet("1 carl 4\n2 dana 4")
    nothing = assign(both, [])
    assert foresee(both, nothing, titles("5-8 ana carl 2 @ 100")).handovers == ()
    wanted = titles("5-7 ana carl 2 @ 100\n7-9 ana dana 2 @ 100")
    assert foresee(both, nothing, wanted).handovers == (Handover(7, ANA, 2),)


def test_what_is_held_already_counts() -> None:
    """Ana has hours 5 and 7 of Carl's. Hour 6 of Dana's would make her move twice, of Carl's not at all."""
    both = fleet("1 carl 4\n2 dana 4")
    assigned = assign(both, titles("5-6 ana carl 1 @ 100\n7-8 ana carl 1 @ 100"))
    assert foresee(both, assigned, titles("6-7 ana dana 1 @ 100")).handovers == (
        Handover(6, ANA, 1),
        Handover(7, ANA, 1),
    )
    assert foresee(both, assigned, titles("6-7 ana carl 1 @ 100")).handovers == ()


def test_an_exchange_with_somebody_new_is_seen() -> None:
    """Bert comes to Carl in hour 6 and paid as much as Ana would. Had he paid less, Carl would have to cover it."""
    both = fleet("1 carl 2\n2 dana 2")
    assigned = assign(both, titles("6-7 bert carl 1 @ 100"))
    wanted = titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 100")
    assert foresee(both, assigned, wanted).handovers == ()
    dearer = [wanted[0], replace(wanted[1], cost=130)]
    assert foresee(both, assigned, dearer).handovers == (Handover(6, ANA, 1),)
    covered = replace(both, cover={(account("carl"), 6): 30})
    assert foresee(covered, assigned, dearer).handovers == ()


def test_somebody_who_sits_there_already_makes_no_room() -> None:
    both = fleet("1 carl 2\n2 dana 2")
    assigned = assign(both, titles("5-7 bert carl 1 @ 100"))
    wanted = titles("5-6 ana carl 1 @ 100\n6-7 ana dana 1 @ 100")
    assert foresee(both, assigned, wanted).handovers == (Handover(6, ANA, 1),)


def test_what_machines_lack_is_said() -> None:
    carl = fleet("1 carl 4 out 6-7\n2 carl 2")
    assigned = assign(carl, titles("5-7 bert carl 1 @ 100"))
    assert foresee(carl, assigned, titles("5-7 ana carl 2 @ 100")) == Foreseen((), {6: 1})


def test_one_holder_at_a_time_in_whole_lots() -> None:
    carl = fleet("1 carl 8", lot=8)
    nothing = assign(carl, [])
    assert foresee(carl, nothing, []) == Foreseen((), {})
    with pytest.raises(ValueError, match="several holders"):
        foresee(carl, nothing, titles("5-6 ana carl 8 @ 100\n5-6 bert carl 8 @ 100"))
    with pytest.raises(ValueError, match="no multiple"):
        foresee(carl, nothing, titles("5-6 ana carl 4 @ 100"))


@given(seeds)
def test_without_exchanges_and_outages_it_comes_true(seed: int) -> None:
    """A newcomer buys some hours of some obligors: what was foreseen is what happens."""
    draw = Random(seed)
    fleet, titles = large(draw, exchanges=False, outs=False)
    assigned = assign(fleet, titles)
    wanted = [
        Title(hour, 1_000 + hour, draw.randint(1, 5), 99, draw.randint(1, 3) * fleet.lot, 10_000 + hour)
        for hour in range(12)
        if draw.random() < 0.8
    ]
    foreseen = foresee(fleet, assigned, wanted)
    bought = assign(fleet, [*titles, *wanted])
    lacking = {one.hour: 0 for one in bought.unplaced if one.title >= 1_000}
    for one in bought.unplaced:
        if one.title >= 1_000:
            lacking[one.hour] += one.qty
    assert foreseen.lacking == lacking
    assert foreseen.handovers == tuple(one for one in handovers(bought) if one.holder == 99)
