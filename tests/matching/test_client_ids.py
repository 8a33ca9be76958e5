"""A member's own order ids: a repeat is harmless, for as long as it can arrive."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Flag, Side, Tif
from schemas.events import Code
from schemas.units import MS_PER_HOUR
from tests.matching.market import Market, lines, rows

WINDOW_MS = 900_000


def test_the_same_body_again_is_answered_with_the_first_order() -> None:
    """No second order, and no second trade."""
    market = Market.given("bid | price | ask\n | 2.10 | 1 bert").when("ana buys 3 at 2.10 as spring-1")
    first = market.events[0]
    assert isinstance(first, ev.OrderAccepted)

    market.when("ana buys 3 at 2.10 as spring-1")

    assert market.events == [ev.OrderRepeated(0, market.account("ana"), first.order, "spring-1")]
    assert market.book() == rows("""
        bid   | price | ask
        2 ana |  2.10 |
    """)


@pytest.mark.parametrize("ending", ["bert sells 1 at 1.90", "ana cancels spring-1"])
def test_an_order_that_has_ended_is_still_remembered(ending: str) -> None:
    market = Market.given().when("ana buys 1 at 1.90 as spring-1").when(ending)

    market.when("""
        ana buys 1 at 1.90 as spring-1
        ana buys 2 at 1.90 as spring-1
    """)

    assert [type(event).__name__ for event in market.events] == ["OrderRepeated", "Rejected"]


OTHERS: dict[str, dict[str, Any]] = {
    "side": {"side": Side.SELL},
    "qty": {"qty": 2},
    "price": {"price": 1_910_000},
    "tif": {"tif": Tif.IOC},
    "flags": {"flags": Flag.CANCEL_OLDEST},
    "contract": {"contract": 1},
    "date": {"expires_ms": 1},
    "a body that would be refused anyway": {"price": -1, "qty": 0},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_another_body_under_the_same_id_is_refused_and_hears_which_order_has_it(changes: dict[str, Any]) -> None:
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "1.90", client="spring-1")
    (first,) = market.tell(body)
    assert isinstance(first, ev.OrderAccepted)

    events = market.tell(replace(body, **changes))

    assert events == [ev.Rejected(0, body.account, Code.DUPLICATE_CLIENT_ID, "spring-1", 0, first.order)]


def test_how_long_a_command_is_valid_is_not_part_of_what_is_asked() -> None:
    """Whoever repeats it says a later time."""
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "1.90", client="spring-1")
    market.tell(body)

    (again,) = market.tell(replace(body, valid_until_ms=body.valid_until_ms + 60_000))

    assert isinstance(again, ev.OrderRepeated)


def test_a_repeat_that_comes_too_late_is_not_answered_with_the_order() -> None:
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "1.90", client="spring-1")
    market.tell(body)

    market.send(replace(body, valid_until_ms=market.engine.time_ms - 1))

    assert market.said() == ["ana is refused: too_late"]


def test_each_account_has_ids_of_its_own() -> None:
    market = Market.given(owners="ana=anton")

    market.when("""
        ana buys 1 at 1.90 as spring-1
        bert buys 1 at 1.90 as spring-1
        anton buys 1 at 1.90 as spring-1
    """)

    assert market.said() == lines("""
        ana bids 1 at 1.90
        bert bids 1 at 1.90
        anton bids 1 at 1.90
    """)


def test_a_refused_order_does_not_use_up_its_id() -> None:
    """The door tries a bid, moves the money that it lacks, and sends the same bid again."""
    market = Market.given(money={"ana": "1.00"})

    market.when("""
        ana buys 1 at 1.90 as spring-1
        ana is given 5.00
        ana buys 1 at 1.90 as spring-1
    """)

    assert market.said() == lines("""
        ana is refused: insufficient_funds (needs 1.900001, has 1.00)
        ana is given 5.00
        ana bids 1 at 1.90
    """)


def test_a_repeat_is_known_whatever_has_become_of_the_market() -> None:
    """The hour is halted, then its gate closes and the order is gone: the first outcome stands. A new one may not wait."""
    market = Market.given(gate_ms=0)
    market.wait(to_ms=market.hour * MS_PER_HOUR - 60_000).when("ana buys 1 at 1.90 as spring-1")

    market.when("the hour is halted\nana buys 1 at 1.90 as spring-1")
    assert market.said()[1:] == ["ana repeats spring-1"]

    market.wait(minutes=1).when("ana buys 1 at 1.90 as spring-1\nana buys 1 at 1.90 as spring-2")
    assert market.said() == ["ana repeats spring-1", "ana is refused: halted"]


# --- How long -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_ms", "answer"),
    [(WINDOW_MS - 1, "ana repeats spring-1"), (WINDOW_MS, "ana bids 1 at 1.90")],
)
def test_an_ended_order_s_id_is_in_use_for_fifteen_minutes_after_its_acceptance(after_ms: int, answer: str) -> None:
    """Longer than any command is valid, so no copy can still be on its way."""
    market = Market.given().when("ana buys 1 at 1.90 ioc as spring-1")
    assert market.said()[1] == "ana loses 1 of an order: ioc"

    market.wait(ms=after_ms).when("ana buys 1 at 1.90 ioc as spring-1")

    assert market.said()[0] == answer


def test_a_resting_order_s_id_is_in_use_for_as_long_as_it_rests() -> None:
    """It may be cancelled by that id hours later."""
    market = Market.given().when("ana buys 1 at 1.90 as spring-1")

    market.wait(ms=WINDOW_MS + 60_000).when("""
        ana buys 1 at 1.90 as spring-1
        ana buys 2 at 1.90 as spring-1
        ana cancels spring-1
        ana buys 2 at 1.90 as spring-1
    """)

    (_, refused, *_) = market.events
    assert isinstance(refused, ev.Rejected)
    assert market.said() == [
        "ana repeats spring-1",
        f"ana is refused: duplicate_client_id (needs 0, has {refused.have})",
        "ana cancels",
        "ana loses 1 of an order: asked",
        "ana bids 2 at 1.90",
    ]


def test_an_id_that_was_given_again_is_not_forgotten_with_its_first_order() -> None:
    """The first order ends after its window, a second one takes the id, and the first one's memory fades."""
    market = Market.given().when("ana buys 1 at 1.90 as spring-1")
    market.wait(ms=WINDOW_MS).when("ana cancels spring-1\nana buys 2 at 1.90 ioc as spring-1")

    market.wait(ms=WINDOW_MS - 1).when("ana buys 2 at 1.90 ioc as spring-1")
    assert market.said() == ["ana repeats spring-1"]

    market.wait(ms=1).when("ana buys 2 at 1.90 ioc as spring-1")
    assert market.said()[0] == "ana bids 2 at 1.90"


def test_nothing_is_remembered_beyond_its_window() -> None:
    """The older half goes first, then the rest: a busy account does not fill the shard's memory."""
    market = Market.given()
    for number in range(50):
        market.wait(minutes=10 if number == 25 else 0).when(f"ana buys 1 at 1.90 ioc as c{number}")
    remembered = market.engine.accounts[market.account("ana")].client_ids
    assert len(remembered) == 50

    market.wait(ms=WINDOW_MS - 600_000)
    assert sorted(remembered) == [f"c{number}" for number in range(25, 50)]

    market.wait(minutes=10)
    assert (len(remembered), len(market.engine.ids_by_age)) == (0, 0)


# --- What an id may look like -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["!", "~", "x" * 36, "a/b:c"])
def test_an_id_is_1_to_36_printable_ascii_characters(client: str) -> None:
    market = Market.given()

    (event,) = market.tell(market.order("ana", Side.BUY, 1, "1.90", client=client))

    assert isinstance(event, ev.OrderAccepted)
    assert event.client_id == client


@pytest.mark.parametrize("client", [" ", "a b", "x" * 37, "ü", "a\n", "\x7f", "\x00"])
def test_another_text_is_refused_and_repeated_in_the_answer(client: str) -> None:
    market = Market.given()

    (event,) = market.tell(market.order("ana", Side.BUY, 1, "1.90", client=client))

    assert event == ev.Rejected(0, market.account("ana"), Code.WRONG_CLIENT_ID, client)


def test_orders_without_an_id_are_never_repeats() -> None:
    market = Market.given()

    market.when("ana buys 1 at 1.90\nana buys 1 at 1.90")

    assert market.book() == rows("""
        bid          | price | ask
        1 ana, 1 ana |  1.90 |
    """)
