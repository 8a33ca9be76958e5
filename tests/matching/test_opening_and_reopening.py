"""How an hour opens when it is listed, and again after a halt: prices form before anybody trades.

Listed: post-only for a minute, then open. Halted and opened again: cancel-only for a minute, post-only for half a minute, open.
"""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import State
from tests.matching.market import CLASS, OPERATOR, Market, lines, rows

BOOK = "bid | price | ask\n | 2.10 | 4 carl\n2 emil | 1.90 |"
TRIES = "ana buys 1 at 2.00\nana buys 1 at 2.10\nana buys 1 at 2.10 ioc\nana cancels bid 2.00"


# --- Listing -----------------------------------------------------------------------------------------------------


def test_a_new_hour_collects_orders_for_a_minute_and_then_trades() -> None:
    """What crosses waits outside; the first who comes after the opening trades at the best of what has gathered."""
    market = Market.given(backs={"carl": 0}).wait(to="22:00")
    assert market.said()[-3:] == ["hour +3: listed", "hour +3: post_only", "a tick"]
    market.when("""
        carl declares 9 in hours +3
        carl sells 2 at 2.10 in hour +3
        ana buys 1 at 2.10 in hour +3
        ana buys 1 at 2.00 fok in hour +3
        ana buys 1 at 2.00 in hour +3
        carl sells 1 at 2.05 post-only in hour +3
    """)
    assert market.said() == lines("""
        carl declares 9
        carl offers 2 at 2.10
        ana is refused: would_trade
        ana is refused: wrong_tif
        ana bids 1 at 2.00
        carl offers 1 at 2.05
    """)

    assert market.wait(to="22:01", ms=-1).said() == ["a tick"]
    assert market.wait(ms=1).said() == ["hour +3: open", "a tick"]

    market.when("bert buys 3 at 2.10 in hour +3")
    assert market.fills()[1:] == [
        ("+3", "carl", "bert", "1", "2.05", "60", "2.05"),
        ("+3", "carl", "bert", "2", "2.10", "60", "4.20"),
    ]


def test_the_minute_begins_when_the_hour_is_listed_and_not_when_it_was_due() -> None:
    """After a silence nobody could have placed anything before."""
    market = Market.given().wait(to="22:30", ms=17)

    assert market.wait(to="22:31", ms=16).said() == ["a tick"]
    assert market.wait(ms=1).said() == ["hour +3: open", "a tick"]


def test_hours_of_a_class_that_is_new_are_open_at_once() -> None:
    """Nobody is there yet whom an opening would protect."""
    market = Market.given()

    market.when("ana buys 1 at 2.00 ioc in hour +2")

    assert market.said()[0] == "ana bids 1 at 2.00"


def test_an_opening_that_an_operator_ends_is_not_gone_on_with() -> None:
    """Whatever state he says: it holds, and the minute means nothing any more."""
    for state in ("open", "post-only", "cancel-only", "halted"):
        market = Market.given().wait(to="22:00")
        number = State[state.upper().replace("-", "_")]
        (said,) = market.tell(cmd.SetState(OPERATOR, CLASS, market.hour + 3, number, "because"))
        assert said == ev.StateSet(0, OPERATOR, CLASS, market.hour + 3, number, "because")

        assert market.wait(to="22:40").said() == ["a tick"]
        assert market.engine.contracts[market.contract(3)].state == number


def test_an_opening_goes_on_below_a_halt_of_the_class() -> None:
    """They are kept apart: when the class opens again, the hour has opened long ago."""
    market = Market.given().when("the class is halted").wait(to="22:00")

    assert market.wait(to="22:01").said() == ["hour +3: open", "a tick"]
    market.when("ana buys 1 at 2.00 in hour +3\nthe class is open")
    assert market.said() == ["ana is refused: halted", "the class is cancel_only"]


# --- Reopening ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["hour", "class"])
def test_what_was_halted_opens_in_three_steps(what: str) -> None:
    """Members take away what they do not want any more, then say their prices, then trade."""
    market = Market.given(BOOK).when(f"ana buys 1 at 2.00\nthe {what} is halted").wait(minutes=5)
    name = "hour +0" if what == "hour" else "the class"

    market.when(f"the {what} is open\n{TRIES}")
    assert market.said() == lines(f"""
        the {what} is cancel_only
        ana is refused: halted
        ana is refused: halted
        ana is refused: halted
        ana cancels
        ana loses 1 of an order: asked
    """)
    assert market.wait(ms=59_999).said() == ["a tick"]
    assert market.wait(ms=1).said() == [f"{name}: post_only", "a tick"]
    market.when(TRIES)
    assert market.said() == lines("""
        ana bids 1 at 2.00
        ana is refused: would_trade
        ana is refused: wrong_tif
        ana cancels
        ana loses 1 of an order: asked
    """)
    assert market.wait(ms=29_999).said() == ["a tick"]
    assert market.wait(ms=1).said() == [f"{name}: open", "a tick"]
    assert market.when("ana buys 1 at 2.10").trades()[1:] == [("carl", "ana", "1", "2.10")]
    assert market.book() == rows("""
        bid    | price | ask
               |  2.10 | 3 carl
        2 emil |  1.90 |
    """)


def test_the_second_step_ends_half_a_minute_after_the_first_was_due_whenever_somebody_speaks() -> None:
    """The record comes 20 s late: 10 s of the post-only phase are left. One that comes later finds it over."""
    market = Market.given(BOOK).when("the hour is halted\nthe hour is open")
    assert market.wait(ms=80_000).said() == ["hour +0: post_only", "a tick"]
    assert market.wait(ms=9_999).said() == ["a tick"]
    assert market.wait(ms=1).said() == ["hour +0: open", "a tick"]

    late = Market.given(BOOK).when("the hour is halted\nthe hour is open")
    assert late.wait(ms=90_000).said() == ["hour +0: post_only", "hour +0: open", "a tick"]


@pytest.mark.parametrize("before", ["open", "post-only", "cancel-only"])
def test_only_a_halt_is_followed_by_a_reopening(before: str) -> None:
    market = Market.given(BOOK).when(f"the hour is {before}\nthe hour is open")

    assert market.said()[-1] == "the hour is open"
    assert market.when("ana buys 1 at 2.10").trades()[1:] == [("carl", "ana", "1", "2.10")]
    assert market.wait(minutes=3).said() == ["a tick"]


@pytest.mark.parametrize("step_ms", [0, 70_000])
@pytest.mark.parametrize("state", ["open", "post-only", "cancel-only", "halted"])
def test_a_reopening_that_is_under_way_ends_with_what_the_operator_says(state: str, step_ms: int) -> None:
    """Who is in a hurry opens twice; who halts again begins anew."""
    market = Market.given(BOOK).when("the hour is halted\nthe hour is open").wait(ms=step_ms)

    market.when(f"the hour is {state}")
    assert market.said() == [f"the hour is {state.replace('-', '_')}"]

    assert market.wait(minutes=5).said() == ["a tick"]
    assert market.engine.contracts[market.contract()].state == State[state.upper().replace("-", "_")]


def test_a_halt_in_the_middle_of_a_reopening_and_another_opening_count_from_their_own_moment() -> None:
    market = Market.given(BOOK).when("the hour is halted\nthe hour is open").wait(ms=50_000)

    market.when("the hour is halted\nthe hour is open")

    assert market.wait(ms=59_999).said() == ["a tick"]
    assert market.wait(ms=1).said() == ["hour +0: post_only", "a tick"]


def test_a_class_and_its_hour_reopen_each_by_itself() -> None:
    """The hour was halted on its own: opening the class does not open it, nor the other way round."""
    market = Market.given(BOOK).when("the hour is halted\nthe class is halted\nthe class is open").wait(ms=90_000)
    assert market.said() == ["the class: post_only", "the class: open", "a tick"]
    assert market.when("ana buys 1 at 2.00").said() == ["ana is refused: halted"]

    market.when("the hour is open").wait(ms=90_000)

    assert market.said() == ["hour +0: post_only", "hour +0: open", "a tick"]
    assert market.when("ana buys 1 at 2.10").trades()[1:] == [("carl", "ana", "1", "2.10")]


def test_an_hour_that_ends_during_its_reopening_takes_its_moments_with_it() -> None:
    """They mean nothing any more: nobody hears of them."""
    market = Market.given(BOOK).wait(to="23:59", ms=1).when("the hour is halted\nthe hour is open")

    market.wait(to="00:00")
    assert [said for said in market.said() if "hour +0" in said] == ["hour +0: ended"]
    assert market.engine.due_dead == 1
    assert [said for said in market.wait(to="00:40").said() if "hour +0" in said] == []
    assert market.engine.due_dead == 0


def test_a_reopening_opens_the_running_phase_as_well() -> None:
    market = (
        Market.given()
        .when("carl readies 2")
        .wait(to="23:10")
        .when("the hour is halted\nthe hour is open")
        .wait(ms=60_000)
    )

    market.when("carl sells 2 at 3.00\nana buys 1 at 3.00 ioc").wait(ms=30_000).when("ana buys 1 at 3.00 ioc")

    assert market.fills()[1:] == [("+0", "carl", "ana", "1", "3.00", "48", "2.40")]
