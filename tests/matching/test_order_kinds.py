"""Immediate-or-cancel, fill-or-kill, post-only."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas.commands import Flag, Side
from tests.matching.market import Market, lines, rows

BOOK = """
    bid    | price | ask
           |  2.10 | 4 carl
           |  2.05 | 3 bert
    2 emil |  1.90 |
"""


# --- Immediate or cancel -----------------------------------------------------------------------------------


def test_what_an_ioc_cannot_fill_at_once_is_cancelled() -> None:
    market = Market.given(BOOK)

    market.when("ana buys 5 at 2.05 ioc")

    assert market.said() == lines("""
        ana bids 5 at 2.05
        ana buys 3 from bert at 2.05
        ana loses 2 of an order: ioc
    """)
    assert market.book() == rows("""
        bid    | price | ask
               |  2.10 | 4 carl
        2 emil |  1.90 |
    """)


def test_an_ioc_that_meets_nobody_is_accepted_and_gone() -> None:
    market = Market.given(BOOK)

    market.when("ana sells 5 at 2.00 ioc")

    assert market.said() == lines("""
        ana offers 5 at 2.00
        ana loses 5 of an order: ioc
    """)
    assert market.book() == rows(BOOK)


def test_an_ioc_that_is_filled_whole_says_nothing_of_a_cancellation() -> None:
    market = Market.given(BOOK)

    market.when("ana buys 3 at 2.05 ioc")

    assert market.said() == lines("""
        ana bids 3 at 2.05
        ana buys 3 from bert at 2.05
    """)


# --- Fill or kill ------------------------------------------------------------------------------------------


def test_a_fok_is_filled_whole_over_several_prices() -> None:
    market = Market.given(BOOK)

    market.when("ana buys 7 at 2.10 fok")

    assert market.trades() == rows("""
        maker | taker | lots | price
        bert  | ana   |    3 |  2.05
        carl  | ana   |    4 |  2.10
    """)


@pytest.mark.parametrize(
    ("sentence", "answer"),
    [
        ("ana buys 8 at 2.10 fok", "ana is refused: cannot_fill (needs 8, has 7)"),
        ("ana buys 4 at 2.09 fok", "ana is refused: cannot_fill (needs 4, has 3)"),
        ("ana buys 1 at 2.04 fok", "ana is refused: cannot_fill (needs 1, has 0)"),
        ("ana sells 3 at 1.90 fok", "ana is refused: cannot_fill (needs 3, has 2)"),
        ("ana sells 1 at 1.91 fok", "ana is refused: cannot_fill (needs 1, has 0)"),
    ],
)
def test_a_fok_that_cannot_be_filled_within_its_limit_changes_nothing(sentence: str, answer: str) -> None:
    """It hears how much could have been had."""
    market = Market.given(BOOK)

    market.when(sentence)

    assert market.said() == [answer]
    assert market.book() == rows(BOOK)


def test_a_fok_counts_only_as_far_as_the_first_order_of_its_own_owner() -> None:
    """There the default prevention would end it."""
    market = Market.given("""
        bid | price | ask
            |  2.10 | 4 carl, 1 ana, 9 dana
            |  2.05 | 3 bert
    """)

    market.when("""
        ana buys 8 at 2.10 fok
        ana buys 7 at 2.10 fok
    """)

    assert market.said() == lines("""
        ana is refused: cannot_fill (needs 8, has 7)
        ana bids 7 at 2.10
        ana buys 3 from bert at 2.05
        ana buys 4 from carl at 2.10
    """)


def test_a_fok_that_cancels_the_oldest_counts_past_its_owner_s_orders() -> None:
    market = Market.given("""
        bid | price | ask
            |  2.10 | 4 carl, 1 ana, 2 dana
            |  2.05 | 3 bert
    """)

    market.when("""
        ana buys 10 at 2.10 fok cancel-oldest
        ana buys 9 at 2.10 fok cancel-oldest
    """)

    assert market.said() == lines("""
        ana is refused: cannot_fill (needs 10, has 9)
        ana bids 9 at 2.10
        ana buys 3 from bert at 2.05
        ana buys 4 from carl at 2.10
        ana loses 1 of an order: self_trade_oldest
        ana buys 2 from dana at 2.10
    """)


# --- Post-only ---------------------------------------------------------------------------------------------


def test_a_post_only_order_waits_where_nobody_meets_it() -> None:
    market = Market.given(BOOK)

    market.when("""
        ana buys 1 at 2.04 post-only
        fay sells 1 at 2.05 post-only
    """)

    assert market.book() == rows("""
        bid    | price | ask
               |  2.10 | 4 carl
               |  2.05 | 3 bert, 1 fay
        1 ana  |  2.04 |
        2 emil |  1.90 |
    """)


@pytest.mark.parametrize(
    "sentence", ["ana buys 1 at 2.05 post-only", "ana buys 1 at 2.50 post-only", "ana sells 1 at 1.90 post-only"]
)
def test_a_post_only_order_that_would_trade_is_refused(sentence: str) -> None:
    market = Market.given(BOOK)

    market.when(sentence)

    assert market.said() == ["ana is refused: would_trade"]
    assert market.book() == rows(BOOK)


def test_a_post_only_order_that_meets_its_owner_s_order_is_refused_too() -> None:
    """It is judged by the best price, whoever waits there; also where it would cancel him."""
    market = Market.given(BOOK)

    market.when("""
        bert buys 1 at 2.05 post-only
        bert buys 1 at 2.05 post-only cancel-oldest
    """)

    assert market.said() == ["bert is refused: would_trade"] * 2


def test_post_only_is_for_orders_that_wait() -> None:
    market = Market.given(BOOK)

    market.when("""
        ana buys 1 at 2.00 ioc post-only
        ana buys 1 at 2.00 fok post-only
    """)

    assert market.said() == ["ana is refused: wrong_flags"] * 2


# --- What no order may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (0, "ana bids 1 at 2.00"),
        (Flag.POST_ONLY, "ana bids 1 at 2.00"),
        (Flag.CANCEL_OLDEST, "ana bids 1 at 2.00"),
        (Flag.POST_ONLY | Flag.CANCEL_OLDEST, "ana bids 1 at 2.00"),
        (8, "ana is refused: wrong_flags"),
        (16 | Flag.POST_ONLY, "ana is refused: wrong_flags"),
        (1 << 40, "ana is refused: wrong_flags"),
        (-1, "ana is refused: wrong_flags"),
        (-(2**63), "ana is refused: wrong_flags"),
    ],
)
def test_flags_are_bits_and_unknown_ones_are_refused(flags: int, answer: str) -> None:
    """A negative number has every bit set, also that of `running`: it is no set of flags at all."""
    market = Market.given(BOOK)
    market.account("ana")

    market.send(market.order("ana", Side.BUY, 1, "2.00", flags=flags))

    assert market.said() == [answer]


@pytest.mark.parametrize(("tif", "expires_ms"), [(0, 0), (5, 0), (-1, 0), (1, 1), (1, -1), (3, 1), (4, 1)])
def test_other_times_in_force_are_refused_and_only_a_date_has_a_date(tif: int, expires_ms: int) -> None:
    market = Market.given(BOOK)
    good = market.order("ana", Side.BUY, 1, "2.00")

    market.send(
        cmd.PlaceOrder(
            *(getattr(good, f) for f in good.__struct_fields__[:5]), tif, 0, "", good.valid_until_ms, expires_ms
        )
    )

    assert market.said() == ["ana is refused: wrong_tif"]
