"""One side of a book against the obvious one: a list that is sorted after every step."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.commands import Side
from services.matching.book import HalfBook, Order


class Naive:
    """What the fast book must be: [price, arrival, leaves, order], best price first, oldest first."""

    def __init__(self, side: int) -> None:
        self.sign = -1 if side == Side.BUY else 1
        self.waiting: list[Order] = []

    def add(self, order: Order) -> None:
        self.waiting.append(order)
        self.waiting.sort(key=lambda order: (self.sign * order.price, order.order))


class Step(NamedTuple):
    """What happens next: an order comes, the first one is filled, or one that waits leaves."""

    what: str
    price: int
    qty: int
    which: int


KINDS = st.sampled_from(["come", "come", "leave", "leave", "fill"])
STEPS = st.lists(
    st.builds(Step, KINDS, st.integers(1, 3), st.integers(1, 4), st.integers(0, 99)), min_size=20, max_size=60
)


def order_of(number: int, side: int, price: int, qty: int) -> Order:
    return Order(
        order=number, accepted_ms=0, account=1, client_id="", contract=1, side=side, qty=qty, price=price, tif=1, flags=0
    )  # fmt: skip


def gone(half: HalfBook, naive: Naive, order: Order) -> None:
    order.leaves = 0
    naive.waiting.remove(order)
    half.remove(order)


@given(st.sampled_from([Side.BUY, Side.SELL]), STEPS)
def test_a_half_book_is_a_list_sorted_by_price_and_time(side: Side, steps: list[Step]) -> None:
    """After each step: the same orders in the same order, the same best, the same first."""
    half, naive = HalfBook(side), Naive(side)
    for number, step in enumerate(steps):
        if step.what == "come":
            order = order_of(number, side, step.price, step.qty)
            half.add(order)
            naive.add(order)
        elif not naive.waiting:
            continue
        elif step.what == "leave":
            gone(half, naive, naive.waiting[step.which % len(naive.waiting)])
        else:
            first = half.first()
            assert first is naive.waiting[0]
            first.leaves -= min(first.leaves, step.qty)
            if not first.leaves:
                gone(half, naive, first)
        assert list(half) == naive.waiting
        assert half.best() == (naive.waiting[0].price if naive.waiting else 0)
        assert not naive.waiting or half.first() is naive.waiting[0]
        for limit in range(5):
            reached = any(limit >= o.price if side == Side.SELL else limit <= o.price for o in naive.waiting)
            assert half.reached_by(limit) == reached


def test_whoever_leaves_a_price_leaves_those_that_wait_in_their_order() -> None:
    """Of twenty at one price every third stays; the others leave from the front, the back and between."""
    half = HalfBook(Side.SELL)
    orders = [order_of(number, Side.SELL, 5, 1) for number in range(20)]
    for order in orders:
        half.add(order)

    for place in (19, 0, 1, 18, 3, 16, 4, 15, 6, 13, 7, 12, 9, 10):
        orders[place].leaves = 0
        half.remove(orders[place])
        assert list(half) == [order for order in orders if order.leaves]

    assert [order.order for order in half] == [2, 5, 8, 11, 14, 17]
    assert all(orders[place].level is orders[place].before is orders[place].after is None for place in (19, 0, 6, 7))


def test_an_empty_side_has_no_best_price() -> None:
    assert HalfBook(Side.BUY).best() == HalfBook(Side.SELL).best() == 0
    assert list(HalfBook(Side.BUY)) == []


def test_an_order_that_still_waits_is_not_removed() -> None:
    half = HalfBook(Side.BUY)
    order = order_of(1, Side.BUY, 5, 1)
    half.add(order)

    with pytest.raises(AssertionError):
        half.remove(order)


def test_a_queue_in_which_one_order_waits_keeps_nothing_of_those_that_left_behind_it() -> None:
    """A desk that quotes the same price again and again behind a member's old order, for the week that an hour is listed."""
    half = HalfBook(Side.BUY)
    half.add(order_of(0, Side.BUY, 5, 1))

    for number in range(1, 10_000):
        order = order_of(number, Side.BUY, 5, 1)
        half.add(order)
        order.leaves = 0
        half.remove(order)

    assert sum(1 for level in half.levels.values() for _ in level) == 1
