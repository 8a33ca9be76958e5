"""The collar: half and twice the list price, unless the class says otherwise. Its edges belong to it."""

from __future__ import annotations

import pytest

from tests.matching.market import Market


@pytest.mark.parametrize("verb", ["buys", "sells"])
@pytest.mark.parametrize(
    ("price", "answer"),
    [
        ("0.99", "outside_collar (needs 1.00)"),
        ("1.00", None),
        ("4.00", None),
        ("4.01", "outside_collar (needs 4.00)"),
        ("100000.00", "outside_collar (needs 4.00)"),
    ],
)
def test_a_price_on_the_edge_is_taken_and_one_tick_beyond_hears_the_bound(
    verb: str, price: str, answer: str | None
) -> None:
    """For both sides: also a bid that is too low, and an ask that is too high."""
    market = Market.given()

    market.when(f"ana {verb} 1 at {price}")

    word = "bids" if verb == "buys" else "offers"
    assert market.said() == [f"ana is refused: {answer}" if answer else f"ana {word} 1 at {price}"]


@pytest.mark.parametrize(
    ("price", "answer"),
    [
        ("0.000007", "outside_collar (needs 0.000008)"),
        ("0.000008", None),
        ("0.000017", None),
        ("0.000018", "outside_collar (needs 0.000017)"),
    ],
)
def test_bounds_between_two_prices_are_rounded_into_the_collar(price: str, answer: str | None) -> None:
    """List price 15 µUSD: half is 7.5, so 8; 118 % is 17.7, so 17."""
    market = Market.given(list_price="0.000015", tick="0.000001", collar_high_bp=11_800)

    market.when(f"ana buys 1 at {price}")

    assert market.said() == [f"ana is refused: {answer}" if answer else f"ana bids 1 at {price}"]


@pytest.mark.parametrize(
    ("price", "answer"),
    [
        ("1.01", "is refused: outside_collar (needs 1.015)"),
        ("1.02", "bids 1 at 1.02"),
        ("4.06", "bids 1 at 4.06"),
        ("4.07", "is refused: outside_collar (needs 4.060203)"),
    ],
)
def test_a_bound_need_not_be_a_price_of_the_class(price: str, answer: str) -> None:
    """The bound that is told is the exact one; the next price inside it is the caller's to find."""
    market = Market.given(list_price="2.03", collar_high_bp=20_001)

    market.when(f"ana buys 1 at {price}")

    assert market.said() == [f"ana {answer}"]


def test_a_collar_of_one_price_takes_that_price() -> None:
    market = Market.given(collar_low_bp=10_000, collar_high_bp=10_000)

    market.when("ana buys 1 at 1.99\nana buys 1 at 2.00\nana buys 1 at 2.01")

    assert market.said() == [
        "ana is refused: outside_collar (needs 2.00)",
        "ana bids 1 at 2.00",
        "ana is refused: outside_collar (needs 2.00)",
    ]


def test_a_price_is_a_multiple_of_the_tick_before_it_is_inside_the_collar() -> None:
    """Half a cent is no price, near or far."""
    market = Market.given()

    market.when("ana buys 1 at 2.005\nana buys 1 at 0.005\nana buys 1 at 9.999999\nana buys 1 at 0")

    assert market.said() == ["ana is refused: wrong_price (needs 0.01)"] * 4
