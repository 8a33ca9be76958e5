"""Nobody trades with himself: prevention acts on the owner, whichever of his accounts it is."""

from __future__ import annotations

from tests.matching.market import Market, lines, rows


def test_the_newcomer_is_cancelled_where_it_meets_its_owner_s_order() -> None:
    """The default: what it bought before stays bought, the old order stays where it is."""
    market = Market.given("""
        bid | price | ask
            |  2.10 | 2 bert, 3 ana, 4 carl
    """)

    market.when("ana buys 9 at 2.10")

    assert market.said() == lines("""
        ana bids 9 at 2.10
        ana buys 2 from bert at 2.10
        ana loses 7 of an order: self_trade_newest
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.10 | 3 ana, 4 carl
    """)


def test_the_oldest_is_cancelled_for_a_newcomer_that_asks_for_it() -> None:
    """Every own order on the way goes, and matching goes on behind it."""
    market = Market.given("""
        bid | price | ask
            |  2.11 | 1 ana, 1 dana
            |  2.10 | 2 bert, 3 ana, 4 carl
    """)

    market.when("ana buys 9 at 2.11 cancel-oldest")

    assert market.said() == lines("""
        ana bids 9 at 2.11
        ana buys 2 from bert at 2.10
        ana loses 3 of an order: self_trade_oldest
        ana buys 4 from carl at 2.10
        ana loses 1 of an order: self_trade_oldest
        ana buys 1 from dana at 2.11
    """)
    assert market.book() == rows("""
        bid   | price | ask
        2 ana |  2.11 |
    """)


def test_two_accounts_of_one_owner_do_not_trade_either() -> None:
    market = Market.given(
        """
        bid             | price | ask
        2 anton, 2 bert |  2.10 |
        """,
        owners="ana=anton",
    )

    market.when("""
        ana sells 3 at 2.10
        ana sells 3 at 2.10 cancel-oldest
    """)

    assert market.said() == lines("""
        ana offers 3 at 2.10
        ana loses 3 of an order: self_trade_newest
        ana offers 3 at 2.10
        anton loses 2 of an order: self_trade_oldest
        bert buys 2 from ana at 2.10
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.10 | 1 ana
    """)


def test_accounts_of_different_owners_trade_whoever_opened_them() -> None:
    market = Market.given("bid | price | ask\n | 2.10 | 2 bert", owners="ana=anton")

    market.when("anton buys 2 at 2.10")

    assert market.trades() == rows("""
        maker | taker | lots | price
        bert  | anton |    2 |  2.10
    """)


def test_an_own_order_that_is_not_reached_is_left_alone() -> None:
    """Behind the one that fills the newcomer, or beyond his limit."""
    book = """
        bid | price | ask
            |  2.11 | 1 ana
            |  2.10 | 2 bert, 3 ana
    """
    market = Market.given(book)

    market.when("ana buys 2 at 2.11 cancel-oldest")

    assert market.said() == lines("""
        ana bids 2 at 2.11
        ana buys 2 from bert at 2.10
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.11 | 1 ana
            |  2.10 | 3 ana
    """)


def test_an_ioc_that_meets_its_owner_s_order_is_cancelled_once() -> None:
    """By the prevention, and not again for being immediate."""
    market = Market.given("bid | price | ask\n | 2.10 | 2 ana")

    market.when("ana buys 2 at 2.10 ioc")

    assert market.said() == lines("""
        ana bids 2 at 2.10
        ana loses 2 of an order: self_trade_newest
    """)


def test_money_held_for_a_bid_that_the_newcomer_cancels_is_free_at_once() -> None:
    market = Market.given("bid | price | ask\n4 ana | 2.00 |", money={"ana": "10.00"})

    market.when("ana sells 1 at 2.00 cancel-oldest")

    assert market.balances("ana") == rows("""
        who | cash  | held | collateral | free
        ana | 10.00 | 0.00 | 0.00       | 10.00
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.00 | 1 ana
    """)
