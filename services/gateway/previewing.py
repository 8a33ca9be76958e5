"""What an order would do to a book as it is shown: levels taken, averages, blocks over hours. Pure.

The engine's rules (docs/engine.md), over price levels instead of orders: whose they are and how many stand at a price is not
public, so self-trades and minima of single blocks are not seen, and a fee may be a µUSD more per order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas.commands import Side
from schemas.units import BasisPoints, Gpus, Micros, Price, fee, notional

Level = tuple[Price, Gpus]
Levels = Sequence[Level]
"""Of one side, best first."""


class Cost(NamedTuple):
    """What trading some levels comes to."""

    levels: tuple[Level, ...]
    qty: Gpus
    cash: Micros
    fee: Micros

    def total(self, side: Side) -> Micros:
        """What a buyer pays, what a seller gets."""
        return self.cash + self.fee if side == Side.BUY else self.cash - self.fee


class RestingBlock(NamedTuple):
    """A level of the block book, of the very hours that are asked for."""

    price: Price
    qty: Gpus
    qty_min: Gpus


class BlockPlan(NamedTuple):
    """What a block would trade at once: so many GPUs of each hour's book, and from resting blocks at their limits."""

    from_hours: Gpus
    from_blocks: tuple[tuple[Price, Gpus], ...]

    @property
    def total(self) -> Gpus:
        """GPUs in each hour."""
        return self.from_hours + sum(qty for _, qty in self.from_blocks)


def meets(side: Side, limit: Price, price: Price) -> bool:
    """Whether an order with this limit takes the price."""
    return price <= limit if side == Side.BUY else price >= limit


def take(levels: Levels, side: Side, limit: Price, qty: Gpus) -> tuple[Level, ...]:
    """The levels that an order would trade, best first."""
    taken, left = list[Level](), qty
    for price, there in levels:
        if left == 0 or not meets(side, limit, price):
            break
        taken.append((price, min(left, there)))
        left -= taken[-1][1]
    return tuple(taken)


def first(levels: Levels, qty: Gpus) -> tuple[Level, ...]:
    """The first so many GPUs, whatever their price."""
    taken, left = list[Level](), qty
    for price, there in levels:
        if left == 0:
            break
        taken.append((price, min(left, there)))
        left -= taken[-1][1]
    return tuple(taken)


def cost(levels: Iterable[Level], rate: BasisPoints, minutes: int = 60) -> Cost:
    """With the fee of one side, a fill per level."""
    taken = tuple(levels)
    cash = [notional(price, qty, minutes) for price, qty in taken]
    return Cost(taken, sum(qty for _, qty in taken), sum(cash), sum(fee(each, rate) for each in cash))


def running_need(price: Price, qty: Gpus, lot: Gpus, rate: BasisPoints, minutes: int) -> Micros:
    """What a bid in the running hour must find free."""
    lots = qty // lot
    most = notional(price, qty, minutes) + lots
    return most + most * rate // 10_000 + lots


# --- Blocks -------------------------------------------------------------------------------------------------


def plan(
    books: Sequence[Levels],
    resting: Iterable[RestingBlock],
    side: Side,
    limit: Price,
    qty: Gpus,
    qty_min: Gpus,
    lot: Gpus,
) -> BlockPlan:
    """Hour books first at an equal price, resting blocks of the same hours at their limits. Less than `qty_min` is nothing."""
    sign = 1 if side == Side.BUY else -1
    candidates = sorted(
        (each for each in resting if meets(side, limit, each.price)), key=lambda each: each.price * sign
    )
    from_hours, taken, from_blocks = 0, 0, list[tuple[Price, Gpus]]()
    for block in candidates:
        from_hours = max(from_hours, min(within(books, side, block.price, lot), qty - taken))
        k = min(qty - taken - from_hours, block.qty)
        if k > 0 and k >= min(block.qty_min, block.qty):
            from_blocks.append((block.price, k))
            taken += k
    from_hours = max(from_hours, min(within(books, side, limit, lot), qty - taken))
    whole = BlockPlan(from_hours, tuple(from_blocks))
    return whole if whole.total >= min(qty_min, qty) else BlockPlan(0, ())


def within(books: Sequence[Levels], side: Side, limit: Price, lot: Gpus) -> Gpus:
    """The most GPUs, a multiple of the lot, that every hour gives at `limit` or better on average."""
    depth = min(sum(qty for _, qty in levels) for levels in books) // lot
    low, high = 0, depth
    # Each further lot costs at least as much as the one before, so the average only gets worse.
    while low < high:
        middle = (low + high + 1) // 2
        qty = middle * lot
        cash = sum(price * part for levels in books for price, part in first(levels, qty))
        if meets(side, limit * len(books) * qty, cash):
            low = middle
        else:
            high = middle - 1
    return low * lot


def likely_handovers(by_hour: Sequence[tuple[Level, ...]]) -> int:
    """From hour to hour, how often other prices or quantities are taken: the same ones are probably the same seller's."""
    return sum(before != after for before, after in itertools.pairwise(by_hour))
