"""Price, then time: who is served first."""

from __future__ import annotations

from tests.matching.market import Market, lines, rows


def test_the_older_order_at_a_price_is_filled_first() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.10 | 4 carl, 4 dana
    """)

    market.when("ana buys 5 at 2.10")

    assert market.trades() == rows("""
        maker | taker | lots | price
        carl  | ana   |    4 |  2.10
        dana  | ana   |    1 |  2.10
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.10 | 3 dana
    """)


def test_the_better_price_goes_before_the_older_order() -> None:
    market = Market.given().when("""
        carl sells 4 at 2.10
        dana sells 4 at 2.09
    """)

    market.when("ana buys 4 at 2.10")

    assert market.trades() == rows("""
        maker | taker | lots | price
        dana  | ana   |    4 |  2.09
    """)


def test_a_seller_is_served_from_the_highest_bid_down_oldest_first() -> None:
    market = Market.given("""
        bid            | price | ask
        2 bert         |  1.99 |
        2 carl, 2 dana |  1.98 |
        2 emil         |  1.97 |
    """)

    market.when("ana sells 5 at 1.98")

    assert market.trades() == rows("""
        maker | taker | lots | price
        bert  | ana   |    2 |  1.99
        carl  | ana   |    2 |  1.98
        dana  | ana   |    1 |  1.98
    """)
    assert market.book() == rows("""
        bid    | price | ask
        1 dana |  1.98 |
        2 emil |  1.97 |
    """)


def test_an_order_that_was_filled_in_part_keeps_its_place() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.10 | 4 carl, 4 dana
    """)

    market.when("""
        ana buys 1 at 2.10
        ana buys 1 at 2.10
        ana buys 3 at 2.10
    """)

    assert market.trades() == rows("""
        maker | taker | lots | price
        carl  | ana   |    1 |  2.10
        carl  | ana   |    1 |  2.10
        carl  | ana   |    2 |  2.10
        dana  | ana   |    1 |  2.10
    """)


def test_an_order_that_is_cancelled_and_placed_again_waits_behind_the_others() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.10 | 4 carl, 4 dana
    """)

    market.when("""
        carl cancels ask 2.10
        carl sells 4 at 2.10
    """)

    assert market.book() == rows("""
        bid | price | ask
            |  2.10 | 4 dana, 4 carl
    """)


def test_who_leaves_the_middle_of_a_queue_moves_nobody_else() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.10 | 1 carl, 2 dana, 3 emil, 4 fay
    """)

    market.when("""
        dana cancels ask 2.10
        emil cancels ask 2.10
        ana buys 2 at 2.10
    """)

    assert market.trades() == rows("""
        maker | taker | lots | price
        carl  | ana   |    1 |  2.10
        fay   | ana   |    1 |  2.10
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.10 | 3 fay
    """)


def test_commands_of_one_frame_arrive_in_the_order_in_which_they_stand() -> None:
    market = Market.given()
    for name in ("ana", "bert", "carl"):
        market.account(name)

    market.together("""
        bert sells 1 at 2.10
        carl sells 1 at 2.10
        ana buys 1 at 2.10
    """)

    assert market.said() == lines("""
        bert offers 1 at 2.10
        carl offers 1 at 2.10
        ana bids 1 at 2.10
        ana buys 1 from bert at 2.10
    """)


def test_a_price_that_meets_trades_and_one_tick_away_waits() -> None:
    """The book is never crossed, and it may stand one tick apart."""
    market = Market.given("""
        bid | price | ask
            |  2.10 | 1 carl
    """)

    market.when("""
        ana buys 1 at 2.09
        bert buys 1 at 2.10
        dana sells 1 at 2.10
    """)

    assert market.trades() == rows("""
        maker | taker | lots | price
        carl  | bert  |    1 |  2.10
    """)
    assert market.book() == rows("""
        bid   | price | ask
              |  2.10 | 1 dana
        1 ana |  2.09 |
    """)


def test_a_level_that_was_emptied_can_be_filled_again() -> None:
    """Whatever emptied it: a trade, a cancellation."""
    market = Market.given("""
        bid | price | ask
            |  2.12 | 1 fay
            |  2.11 | 1 dana
            |  2.10 | 1 carl
    """)

    market.when("""
        ana buys 1 at 2.10
        dana cancels ask 2.11
        emil sells 2 at 2.11
        carl sells 2 at 2.10
    """)

    assert market.book() == rows("""
        bid | price | ask
            |  2.12 | 1 fay
            |  2.11 | 2 emil
            |  2.10 | 2 carl
    """)
