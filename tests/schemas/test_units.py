"""Money, quantities and the rounding that two rooms must agree on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.units import (
    AMOUNT_MAX,
    PRICE_MAX,
    QTY_MAX,
    bid_hold,
    fee,
    format_usd,
    notional,
    parse_usd,
    portion,
    promise_collateral,
)

# --- Decimals at the edge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("0.000001", 1),
        ("2.49", 2_490_000),
        ("2.490000", 2_490_000),
        ("10", 10_000_000),
        ("0.5", 500_000),
        ("999999999999.999999", 999_999_999_999_999_999),
    ],
)
def test_plain_decimals_are_read_exactly(text: str, micros: int) -> None:
    assert parse_usd(text) == micros


@pytest.mark.parametrize(
    "text",
    ["", " ", "1e3", "1E3", "1e-3", "-1", "+1", "-0", "1.0000001", "0.0000000", ".5", "5.", ".", "00", "01", "00.5", " 1", "1 ",
     "1\n", "1,000", "1_000", "1.2.3", "0x10", "NaN", "Infinity", "1000000000000", "9" * 400, "$1", "1USD", "١", "１",
     "1/2", "½", "1.-5"],
)  # fmt: skip
def test_other_texts_are_no_amounts_and_nothing_is_rounded(text: str) -> None:
    """Exponents, signs, a seventh digit, thirteen digits before the point, other alphabets' digits."""
    with pytest.raises(ValueError, match="is not an amount: write plain decimals such as"):
        parse_usd(text)


@pytest.mark.parametrize(
    ("micros", "places_min", "text"),
    [
        (2_490_000, 2, "2.49"),
        (2_000_000, 2, "2.00"),
        (2_000_000, 0, "2"),
        (2_500_000, 0, "2.5"),
        (1, 2, "0.000001"),
        (0, 2, "0.00"),
        (-12_600_000, 2, "-12.60"),
        (-1, 0, "-0.000001"),
        (2_490_000, 6, "2.490000"),
        (10**16, 2, "10000000000.00"),
    ],
)
def test_amounts_are_written_with_as_many_digits_as_they_need(micros: int, places_min: int, text: str) -> None:
    assert format_usd(micros, places_min) == text


@given(st.integers(0, 10**18 - 1), st.integers(0, 6))
def test_what_is_written_is_read_back(micros: int, places_min: int) -> None:
    assert parse_usd(format_usd(micros, places_min)) == micros


# --- Rounding: against the payer, per fill -----------------------------------------------------------------


def test_the_cash_of_a_whole_hour_is_price_times_quantity() -> None:
    assert notional(2_490_000, 3) == 7_470_000


@pytest.mark.parametrize(("minutes", "micros"), [(60, 100), (59, 99), (31, 52), (30, 50), (1, 2), (0, 0)])
def test_the_cash_of_a_running_hour_is_rounded_up_to_a_micro(minutes: int, micros: int) -> None:
    assert notional(100, 1, minutes) == micros


@pytest.mark.parametrize(
    ("amount", "rate", "micros"), [(0, 50, 0), (1, 0, 0), (1, 1, 1), (10_000, 50, 50), (10_001, 50, 51), (1, 10_000, 1)]
)
def test_a_fee_is_rounded_up_to_a_micro(amount: int, rate: int, micros: int) -> None:
    assert fee(amount, rate) == micros


def test_the_collateral_of_a_promised_hour_is_its_price_and_the_buyer_s_fee_on_it() -> None:
    assert promise_collateral(4_260_000, 10) == 4_264_260
    assert promise_collateral(4_260_001, 10) == 4_260_001 + 4_261


PRICES, QTYS, RATES = st.integers(1, PRICE_MAX), st.integers(1, QTY_MAX), st.integers(0, 1_000)


@given(PRICES, QTYS, st.integers(0, 60), RATES)
def test_rounding_is_that_of_exact_fractions(price: int, qty: int, minutes: int, rate: int) -> None:
    cash = notional(price, qty, minutes)

    assert cash == ceil(Fraction(price * qty * minutes, 60))
    assert fee(cash, rate) == ceil(Fraction(cash * rate, 10_000))
    assert bid_hold(price, qty, 1, rate) == price * qty + floor(Fraction(price * qty * rate, 10_000)) + qty


def test_the_largest_amounts_fit_64_bits() -> None:
    assert notional(PRICE_MAX, QTY_MAX) == AMOUNT_MAX
    assert bid_hold(PRICE_MAX, QTY_MAX, 1, 1_000) < 2**63
    assert QTY_MAX * promise_collateral(PRICE_MAX, 1_000) < 2**63


# --- Portions ------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**16), st.lists(st.integers(1, 1_000), min_size=1, max_size=20))
def test_portions_of_an_amount_are_never_negative_and_add_up_to_it(amount: int, pieces: list[int]) -> None:
    total, done, portions = sum(pieces), 0, []
    for k in pieces:
        portions.append(portion(amount, done, k, total))
        done += k

    assert sum(portions) == amount
    assert min(portions) >= 0
    assert all(abs(part - Fraction(amount * k, total)) < 1 for part, k in zip(portions, pieces, strict=True))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.integers(1, 50), min_size=1, max_size=9))
def test_the_smaller_of_two_amounts_has_the_smaller_share_in_every_first_part(
    net: int, fees: int, pieces: list[int]
) -> None:
    """Cost is cut as net + fees: a piece's fees are a portion of their own and so never negative."""
    total, done = sum(pieces), 0
    for k in pieces:
        assert portion(fees, done, k, total) >= 0
        assert portion(net, 0, done + k, total) <= portion(net + fees, 0, done + k, total)
        done += k


# --- What a bid holds ----------------------------------------------------------------------------------------

HoldOf = Callable[[int, int, int, int], int]


def obvious(price: int, leaves: int, _lot: int, rate_max: int) -> int:
    """What one would hold at first thought: the notional and its fee."""
    return price * leaves + fee(price * leaves, rate_max)


def pays(hold_of: HoldOf, price: int, lot: int, rate_max: int, fills: list[tuple[int, int, int]]) -> bool:
    """Whether a bid's hold pays for each (lots, price, rate), and then still holds what is due for the rest."""
    leaves = lot * sum(lots for lots, _, _ in fills)
    hold = hold_of(price, leaves, lot, rate_max)
    for lots, at, rate in fills:
        qty = lots * lot
        leaves -= qty
        rest = hold_of(price, leaves, lot, rate_max) if leaves else 0
        if at * qty + fee(at * qty, rate) + rest > hold:
            return False
        hold = rest
    return True


FILLS = st.tuples(st.integers(1, 40), st.floats(0, 1), st.integers(0, 1_000))


@given(PRICES, st.sampled_from([1, 2, 8, 1_000]), st.lists(FILLS, min_size=1, max_size=12))
def test_a_bid_s_hold_pays_for_every_fill_however_it_is_cut(
    limit: int, lot: int, drawn: list[tuple[int, float, int]]
) -> None:
    """At its limit or better, as maker and as taker: fees are rounded up per fill, 1 µUSD per lot covers each rounding."""
    fills = [(lots, max(1, int(limit * share)), rate) for lots, share, rate in drawn]

    assert pays(bid_hold, limit, lot, max(rate for _, _, rate in fills), fills)


def test_the_obvious_hold_is_broken_by_most_bids_that_are_filled_lot_by_lot() -> None:
    """Why it is not notional + fee: each fill's fee is rounded up, and a hold that rounds once is short of the rest."""
    chance = random.Random("holds")
    broken: Counter[str] = Counter()
    for _ in range(20_000):
        price, rate = chance.randint(1, 4_000_000), chance.randint(1, 100)
        fills = [(1, price, rate)] * chance.randint(1, 20)
        for hold_of in (bid_hold, obvious):
            broken[hold_of.__name__] += not pays(hold_of, price, 1, rate, fills)

    assert broken == {"bid_hold": 0, "obvious": 16_275}
