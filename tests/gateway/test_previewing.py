"""What an order would do to a book that is shown: pure, drawn as books."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import Side
from schemas.units import parse_usd
from services.gateway.previewing import (
    BlockPlan,
    Level,
    RestingBlock,
    cost,
    first,
    likely_handovers,
    plan,
    running_need,
    take,
    within,
)


def book(text: str) -> list[Level]:
    """`4 @ 2.10, 3 @ 2.15`, best first."""
    pairs = (part.split(" @ ") for part in text.split(", ") if part)
    return [(parse_usd(price), int(qty)) for qty, price in pairs]


def usd(text: str) -> int:
    return parse_usd(text)


def test_an_order_takes_the_best_prices_up_to_its_limit() -> None:
    asks, bids = book("4 @ 2.10, 3 @ 2.15, 9 @ 2.20"), book("2 @ 2.00, 5 @ 1.90")
    assert take(asks, Side.BUY, usd("2.15"), 10) == tuple(book("4 @ 2.10, 3 @ 2.15"))
    assert take(asks, Side.BUY, usd("2.15"), 5) == tuple(book("4 @ 2.10, 1 @ 2.15"))
    assert take(bids, Side.SELL, usd("1.95"), 5) == tuple(book("2 @ 2.00"))
    assert take(bids, Side.SELL, usd("2.05"), 5) == ()
    assert first(bids, 4) == tuple(book("2 @ 2.00, 2 @ 1.90"))


def test_a_trade_comes_to_cash_and_fees_rounded_up_per_price() -> None:
    made = cost(book("1 @ 3.39, 2 @ 3.40"), 50)
    assert (made.qty, made.cash, made.fee) == (3, usd("10.19"), usd("0.01695") + usd("0.034"))
    assert (made.total(Side.BUY), made.total(Side.SELL)) == (made.cash + made.fee, made.cash - made.fee)
    half = cost(book("1 @ 3.39"), 0, minutes=29)
    assert half.cash == -(-3_390_000 * 29 // 60), "the rest of a running hour"
    assert running_need(usd("3.00"), 2, 1, 0, 30) == 3_000_000 + 2 + 2


# --- Blocks --------------------------------------------------------------------------------------------------

TWO_HOURS = [book("2 @ 2.00, 2 @ 2.40"), book("3 @ 2.20, 3 @ 2.60")]


def test_an_average_lets_a_dear_hour_pass_beside_a_cheap_one() -> None:
    """2 GPUs cost 2.10 on average; 3 cost (2.00·2 + 2.40 + 2.20·3) / 6 = 2.1666…; 4 cost 2.25."""
    limits = {"2.05": 0, "2.10": 2, "2.16": 2, "2.17": 3, "2.25": 4, "3.00": 4}
    assert {limit: within(TWO_HOURS, Side.BUY, usd(limit), 1) for limit in limits} == limits
    assert within(TWO_HOURS, Side.BUY, usd("2.17"), 2) == 2, "whole lots"
    assert within([*TWO_HOURS, []], Side.BUY, usd("9"), 1) == 0, "all hours or none"


def test_hour_books_come_before_a_resting_block_of_the_same_price() -> None:
    waiting = [RestingBlock(usd("2.10"), 5, 1), RestingBlock(usd("2.05"), 1, 1)]
    assert plan(TWO_HOURS, waiting, Side.BUY, usd("2.10"), 4, 4, 1) == BlockPlan(
        2, ((usd("2.05"), 1), (usd("2.10"), 1))
    )
    assert plan(TWO_HOURS, waiting, Side.BUY, usd("2.04"), 4, 1, 1) == BlockPlan(0, ())
    assert plan(TWO_HOURS, [RestingBlock(usd("2.05"), 5, 5)], Side.BUY, usd("2.05"), 4, 1, 1) == BlockPlan(0, ())
    assert plan(TWO_HOURS, [], Side.BUY, usd("2.25"), 9, 5, 1) == BlockPlan(0, ()), "less than its minimum is nothing"


def test_a_seller_takes_the_best_bids_first() -> None:
    bids = [book("2 @ 2.00, 2 @ 1.60"), book("2 @ 1.80")]
    waiting = [RestingBlock(usd("1.95"), 1, 1)]
    assert plan(bids, waiting, Side.SELL, usd("1.90"), 3, 1, 1) == BlockPlan(2, ((usd("1.95"), 1),))


def test_the_same_prices_and_quantities_are_probably_one_sellers() -> None:
    hours = [
        tuple(book("2 @ 2.00")),
        tuple(book("2 @ 2.00")),
        tuple(book("1 @ 2.00, 1 @ 2.10")),
        tuple(book("2 @ 2.00")),
    ]
    assert likely_handovers(hours) == 2
    assert likely_handovers(hours[:1]) == 0


LEVELS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), max_size=4)


@given(
    st.lists(LEVELS, min_size=1, max_size=3),
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(1, 9),
    st.integers(1, 3),
)
def test_no_quantity_beyond_what_is_within_the_limit_would_be(
    books: list[Sequence[Level]], side: Side, limit: int, lot: int
) -> None:
    """Against trying every multiple of the lot."""
    books = [sorted(levels, reverse=side == Side.SELL) for levels in books]

    def cash(qty: int) -> int:
        return sum(price for levels in books for price in itertools.islice(_each(levels), qty))

    depth = min(sum(qty for _, qty in levels) for levels in books)
    fits = [
        qty
        for qty in range(lot, depth + 1, lot)
        if (cash(qty) <= limit * len(books) * qty if side == Side.BUY else cash(qty) >= limit * len(books) * qty)
    ]
    assert within(books, side, limit, lot) == max(fits, default=0)


def _each(levels: Sequence[Level]) -> list[int]:
    """The price of each single GPU."""
    return [price for price, qty in levels for _ in range(qty)]
