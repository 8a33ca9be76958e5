"""An order against several prices: the best first, each at the price of whoever waits there."""

from __future__ import annotations

from tests.matching.market import Market, lines, rows


def test_a_buyer_sweeps_two_levels_and_waits_with_the_rest() -> None:
    """Ana wants more than the best ask offers: she pays two prices, each seller's own."""
    market = Market.given("""
        bid    | price | ask
               |  2.10 | 4 carl, 2 dana
               |  2.05 | 3 bert
        2 emil |  1.90 |
    """)

    market.when("ana buys 10 at 2.10")

    assert market.trades() == rows("""
        maker | taker | lots | price
        bert  | ana   |    3 |  2.05
        carl  | ana   |    4 |  2.10
        dana  | ana   |    2 |  2.10
    """)
    assert market.book() == rows("""
        bid    | price | ask
        1 ana  |  2.10 |
        2 emil |  1.90 |
    """)


def test_a_seller_sweeps_two_levels_and_waits_with_the_rest() -> None:
    market = Market.given("""
        bid    | price | ask
               |  2.20 | 1 carl
        3 bert |  2.10 |
        2 emil |  2.05 |
        1 fay  |  1.90 |
    """)

    market.when("ana sells 9 at 2.05")

    assert market.trades() == rows("""
        maker | taker | lots | price
        bert  | ana   |    3 |  2.10
        emil  | ana   |    2 |  2.05
    """)
    assert market.book() == rows("""
        bid   | price | ask
              |  2.20 | 1 carl
              |  2.05 | 4 ana
        1 fay |  1.90 |
    """)


def test_a_sweep_never_goes_beyond_its_limit() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.11 | 9 dana
            |  2.10 | 1 carl
    """)

    market.when("ana buys 5 at 2.10")

    assert market.book() == rows("""
        bid   | price | ask
              |  2.11 | 9 dana
        4 ana |  2.10 |
    """)


def test_a_trade_is_at_the_maker_s_price_and_the_difference_is_the_taker_s() -> None:
    """Ana would have paid 4.00: she pays 2.05, and nothing stays held."""
    market = Market.given(
        """
        bid | price | ask
            |  2.05 | 3 bert
        """,
        money={"ana": "20.00"},
    )

    market.when("ana buys 3 at 4.00")

    assert market.said() == lines("""
        ana bids 3 at 4.00
        ana buys 3 from bert at 2.05
    """)
    assert market.balances("ana") == rows("""
        who | cash  | held | collateral | free
        ana | 13.85 | 0.00 | 0.00       | 13.85
    """)


def test_a_sweep_of_a_whole_book_leaves_it_empty_and_sound() -> None:
    """Three hundred orders at a hundred prices, in one command: one fill each, in order."""
    market = Market.given(backs={"bert": 300, "carl": 300}, money={"ana": "100000"})
    prices = [f"2.{cents:02}" for cents in range(100)]
    market.when(
        "\n".join(f"{name} sells 1 at {price}" for price in reversed(prices) for name in ("carl", "bert", "carl"))
    )

    market.when("ana buys 301 at 3.00")

    fills = market.trades()[1:]
    assert [(maker, price) for maker, _, _, price in fills] == [
        (name, price) for price in prices for name in ("carl", "bert", "carl")
    ]
    assert market.book() == rows("""
        bid   | price | ask
        1 ana |  3.00 |
    """)
