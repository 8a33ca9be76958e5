"""What is due at one and the same moment, and in one record after a silence: one order, by moment, kind, class and hour."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Side
from tests.matching.market import CLASS, OPERATOR, Market, lines

ALL_AT_TEN = {"horizon_hours": 4, "gate_ms": 0, "cover_ms": 3_600_000, "running_close_ms": 0}
"""At a full hour one hour ends, its running phase closes, the gate of the next closes, one is listed, one must be covered."""


def test_every_kind_at_one_moment() -> None:
    """Ends, running phases, gates, listings, deadlines, states, dates, switches; the class's own state is its hour 0."""
    market = Market.given(promises={"mike": 0}, first_hour=498_741, **ALL_AT_TEN).when("""
        mike promises 2 in hours +0
        ana buys 1 at 1.90 in hour +1
        bert buys 2 at 1.90 in hour +1
        carl buys 3 at 1.90 until 22:00 in hour +1
        dana buys 4 at 1.90 in hour -1
    """)
    market.wait(to="21:59")
    market.tell(
        cmd.SetState(OPERATOR, CLASS, market.hour + 1, cmd.State.HALTED, ""),
        cmd.SetState(OPERATOR, CLASS, 0, cmd.State.HALTED, ""),
        cmd.SetState(OPERATOR, CLASS, market.hour + 1, cmd.State.OPEN, ""),
        cmd.SetState(OPERATOR, CLASS, 0, cmd.State.OPEN, ""),
    )
    market.when("bert's switch is set to 60000 ms\nana's switch is set to 60000 ms")

    market.wait(to="22:00")

    assert market.said() == lines("""
        hour -2: ended
        hour -2: running closed
        dana loses 4 of an order: gate_closed
        hour -1: gate closed
        hour +3: listed
        hour +3: post_only
        mike has 2 promised less
        the class: post_only
        hour +1: post_only
        carl loses 3 of an order: expired
        ana's switch goes off
        ana loses 1 of an order: dead_man
        bert's switch goes off
        bert loses 2 of an order: dead_man
        a tick
    """)


def test_of_one_kind_the_lower_class_comes_first_and_then_the_earlier_hour() -> None:
    """Two classes at a full hour; of one class two hours whose deadlines are an hour apart are due in one record in turn."""
    market = Market.given(first_hour=498_741, **ALL_AT_TEN)
    market.tell(cmd.SetClass(market.outbox(), 2, "B", 1, 10_000, 2_000_000, Fees(), **ALL_AT_TEN))
    market.wait(to="22:00", ms=-1)

    market.wait(to="23:00")

    seen = [
        (type(event).__name__, event.contract >> 24, (event.contract & 0xFFFFFF) - market.hour)
        for event in market.events
        if isinstance(event, (ev.HourEnded, ev.RunningClosed, ev.GateClosed, ev.ContractListed))
    ]
    ten = [("HourEnded", -2), ("RunningClosed", -2), ("GateClosed", -1), ("ContractListed", 3)]
    assert seen == [(kind, class_no, hour + passed) for passed in (0, 1) for kind, hour in ten for class_no in (1, 2)]


def test_an_earlier_moment_comes_first_whatever_its_kind() -> None:
    """A switch at 21:59:59 before the hour's end at 22:00."""
    market = Market.given(first_hour=498_741, **ALL_AT_TEN).when("ana buys 1 at 1.90").wait(to="21:59")
    market.when("ana's switch is set to 59999 ms")

    market.wait(to="22:00")

    assert market.said()[:3] == ["ana's switch goes off", "ana loses 1 of an order: dead_man", "hour -2: ended"]


def test_a_date_at_the_gate_s_moment_has_nothing_left_to_end() -> None:
    """The gate cancels it, as a bid of its phase."""
    market = Market.given().when("ana buys 1 at 1.90 until 22:55")

    market.wait(to="22:55", ms=-1).wait(ms=1)

    assert market.said() == ["ana loses 1 of an order: gate_closed", "hour +0: gate closed", "a tick"]


def test_what_a_moment_makes_due_takes_its_place_among_what_is_still_to_do() -> None:
    """Four hours of silence with a horizon of one: each hour is listed, closed and ended before the next one's turn is over."""
    market = Market.given(horizon_hours=2)

    market.wait(to="01:30")

    assert market.said() == lines("""
        hour -1: gate closed
        hour +1: listed
        hour +1: post_only
        hour -1: running closed
        hour +0: gate closed
        hour -1: ended
        hour +2: listed
        hour +2: post_only
        hour +0: running closed
        hour +1: gate closed
        hour +0: ended
        hour +3: listed
        hour +3: post_only
        hour +1: running closed
        hour +2: gate closed
        hour +1: ended
        hour +4: listed
        hour +4: post_only
        a tick
    """)
    assert sorted(contract & 0xFFFFFF for contract in market.engine.contracts) == [market.hour + n for n in (2, 3, 4)]


@pytest.mark.parametrize("steps", [1, 7, 60])
def test_however_often_somebody_speaks_the_same_becomes_of_orders_and_titles(steps: int) -> None:
    """Three hours in one record, in seven, in sixty: openings begin when they are heard of; everything else is the same."""
    market = Market.given(promises={"mike": 5}, hours=3).when("""
        mike sells 2 at 2.00
        ana buys 2 at 2.00
        carl sells 3 at 2.40 in hour +0
        carl readies 3
        dana bids a block of 2 for 2 hours from +0 at 1.90
        emil buys 1 at 1.50 until 22:10 in hour +1
        carl sells 2 at 3.00 running
    """)
    said = []
    for step in range(1, steps + 1):
        market.wait(to="21:10", ms=step * 3 * 3_600_000 // steps)
        said += [line for line in market.said() if line != "a tick" and "post_only" not in line and "open" not in line]

    assert said == lines("""
        hour -1: gate closed
        hour +3: listed
        emil loses 1 of an order: expired
        mike has 3 promised less
        bought in for mike: 2 at 4.00
        mike buys 2 from carl at 2.40
        hour -1: running closed
        carl loses 1 of an order: gate_closed
        dana loses 2 of an order: gate_closed
        hour +0: gate closed
        hour -1: ended
        hour +4: listed
        mike has 5 promised less
        carl loses 2 of an order: running_closed
        hour +0: running closed
        hour +1: gate closed
        title 1 ends: carl owes 2 to ana
        hour +0: ended
        hour +5: listed
    """)


def test_commands_come_after_all_of_it() -> None:
    """Whoever comes with the record that lists an hour finds it in its opening."""
    market = Market.given()
    market.account("ana")
    market.wait(to="22:00", ms=-1).stamp_ms += 1

    market.tell(
        replace(market.order("ana", Side.BUY, 1, "2.00", later=3), tif=3),
        market.order("ana", Side.BUY, 1, "2.00", later=3),
    )

    assert market.said()[-4:] == [
        "hour +3: listed",
        "hour +3: post_only",
        "ana is refused: wrong_tif",
        "ana bids 1 at 2.00",
    ]
