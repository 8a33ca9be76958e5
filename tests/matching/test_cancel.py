"""Taking an order out of the book."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas.commands import Side
from tests.matching.market import Market, lines, rows

BOOK = """
    bid          | price | ask
                 |  2.10 | 4 carl
    2 ana, 1 fay |  1.90 |
"""


def test_a_cancelled_order_leaves_the_book_and_its_money_is_free() -> None:
    market = Market.given(BOOK, money={"ana": "10.00"})

    market.when("ana cancels bid 1.90")

    assert market.said() == lines("""
        ana cancels
        ana loses 2 of an order: asked
    """)
    assert market.book() == rows("""
        bid   | price | ask
              |  2.10 | 4 carl
        1 fay |  1.90 |
    """)
    assert market.balances("ana") == rows("""
        who | cash  | held | collateral | free
        ana | 10.00 | 0.00 | 0.00       | 10.00
    """)


def test_only_what_is_open_is_cancelled() -> None:
    """What was filled is somebody's money."""
    market = Market.given(BOOK).when("dana buys 3 at 2.10")

    market.when("carl cancels ask 2.10")

    assert market.said() == lines("""
        carl cancels
        carl loses 1 of an order: asked
    """)


def test_an_order_is_cancelled_by_the_account_s_own_id() -> None:
    market = Market.given().when("ana buys 2 at 1.90 as spring-1")

    market.when("ana cancels spring-1")

    assert market.said() == lines("""
        ana cancels
        ana loses 2 of an order: asked
    """)


def test_with_both_ids_the_exchange_s_one_counts() -> None:
    market = Market.given().when("""
        ana buys 1 at 1.90 as first
        ana buys 2 at 1.90 as second
    """)
    first = market.engine.accounts[market.account("ana")].client_ids["first"].order

    market.send(cmd.CancelOrder(market.account("ana"), first, "second", market.engine.time_ms))

    assert market.book() == rows("""
        bid   | price | ask
        2 ana |  1.90 |
    """)


def test_an_order_that_has_ended_is_not_there_to_be_cancelled() -> None:
    """Cancelled before, filled, or never in the book."""
    market = Market.given().when("""
        ana buys 1 at 1.90 as gone
        ana cancels gone
        ana buys 1 at 1.91 as filled
        bert sells 1 at 1.91
        ana buys 1 at 1.90 ioc as fleeting
    """)

    market.when("""
        ana cancels gone
        ana cancels filled
        ana cancels fleeting
        ana cancels unheard-of
    """)

    assert market.said() == ["ana is refused: unknown_order"] * 4


def test_another_account_s_order_is_not_there_either() -> None:
    """By number, by that account's id; also when both have one owner. Nothing is told about it."""
    market = Market.given(owners="ana=anton").when("ana buys 1 at 1.90 as mine")
    number = market.engine.accounts[market.account("ana")].client_ids["mine"].order
    market.account("anton")

    market.send(cmd.CancelOrder(market.account("anton"), number, "", market.engine.time_ms))
    market.tell(cmd.CancelOrder(market.account("anton"), 0, "mine", market.engine.time_ms))

    assert market.said() == ["anton is refused: unknown_order"] * 2
    assert market.book() == rows("""
        bid   | price | ask
        1 ana |  1.90 |
    """)


@pytest.mark.parametrize(
    ("late_ms", "answer"),
    [
        (-1, "ana is refused: too_late"),
        (0, "ana cancels"),
        (600_000, "ana cancels"),
        (600_001, "ana is refused: wrong_validity"),
    ],
)
def test_a_cancellation_is_good_for_at_most_ten_minutes(late_ms: int, answer: str) -> None:
    """One that waited somewhere does not come back."""
    market = Market.given().when("ana buys 1 at 1.90 as mine")

    market.send(cmd.CancelOrder(market.account("ana"), 0, "mine", market.engine.time_ms + late_ms))

    assert market.said()[0] == answer


@pytest.mark.parametrize("order", [-1, 1, 2**63 - 1, 2**64 - 1])
def test_a_number_that_is_no_order_of_the_account_is_unknown(order: int) -> None:
    market = Market.given(BOOK)

    market.send(cmd.CancelOrder(market.account("ana"), order, "", market.engine.time_ms))

    assert market.said() == ["ana is refused: unknown_order"]


def test_an_account_that_was_never_opened_has_no_orders() -> None:
    market = Market.given(BOOK)

    market.send(cmd.CancelOrder(77, 1, "", market.engine.time_ms))

    assert market.said() == ["77 is refused: unknown_account"]


@pytest.mark.parametrize("state", ["post-only", "cancel-only", "halted"])
def test_cancels_pass_in_every_state(state: str) -> None:
    market = Market.given(BOOK).when(f"the hour is {state}\nthe class is {state}")

    market.when("ana cancels bid 1.90")

    assert market.said() == lines("""
        ana cancels
        ana loses 2 of an order: asked
    """)


def test_what_is_cancelled_in_a_frame_is_gone_for_the_next_command_of_it() -> None:
    market = Market.given("bid | price | ask\n | 2.10 | 4 carl")
    buy = market.order("ana", Side.BUY, 4, "2.10")
    (number,) = (order for order, *_ in market.engine.open_orders())

    market.send().tell(cmd.CancelOrder(market.account("carl"), number, "", market.engine.time_ms), buy)

    assert market.said() == lines("""
        carl cancels
        carl loses 4 of an order: asked
        ana bids 4 at 2.10
    """)
