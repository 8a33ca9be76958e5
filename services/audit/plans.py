"""What a block can trade: the plan of docs/engine.md (Blocks), worked out from the books as the log has made them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.commands import Side, State
from schemas.units import Gpus, Price
from services.audit.market import Block, Market

Ladder = list[tuple[Price, Gpus]]
"""What an hour gives, best first."""
Step = tuple[int, Gpus]
"""(resting block, 0: the hour books; GPUs)."""


def plan_of(market: Market, block: Block) -> list[Step]:
    """What it would do now as a taker, in order; empty: nothing."""
    if any(market.state(contract) != State.OPEN for contract in block.contracts):
        return []
    lot = market.classes[block.class_no].lot
    buys = block.side == Side.BUY
    ladders = [_ladder(market, block, contract) for contract in block.contracts]
    of_hours = taken = 0
    steps: list[Step] = []
    for other in _opposite(market, block):
        of_hours = max(of_hours, min(_within(ladders, other.price, lot, buys=buys), block.leaves - taken))
        qty = min(block.leaves - taken - of_hours, other.leaves)
        if qty > 0 and qty >= min(other.qty_min, other.leaves):
            steps.append((other.order, qty))
            taken += qty
    of_hours = max(of_hours, min(_within(ladders, block.price, lot, buys=buys), block.leaves - taken))
    if of_hours + taken < min(block.qty_min, block.leaves):
        return []
    return [(0, of_hours)] * (of_hours > 0) + steps


def _opposite(market: Market, block: Block) -> Sequence[Block]:
    """Resting blocks of the same range that it meets: best limit first, then the oldest."""
    owner, buys = market.owner(block.account), block.side == Side.BUY
    met = [
        other
        for other in market.resting_blocks[block.range].values()
        if other.side != block.side
        and market.owner(other.account) != owner
        and (other.price <= block.price if buys else other.price >= block.price)
    ]
    return sorted(met, key=lambda other: other.price if buys else -other.price)


def _ladder(market: Market, block: Block, contract: int) -> Ladder:
    """Opposite orders of an hour in priority, up to the first of the block's owner."""
    owner, sign = market.owner(block.account), 1 if block.side == Side.BUY else -1
    orders = [order for order in market.resting[contract].values() if order.side != block.side]
    ladder: Ladder = []
    for order in sorted(orders, key=lambda order: sign * order.price):
        if market.owner(order.account) == owner:
            break
        ladder.append((order.price, order.leaves))
    return ladder


def _within(ladders: Sequence[Ladder], limit: Price, lot: Gpus, *, buys: bool) -> Gpus:
    """The most that every hour gives at no worse an average; the average only gets worse with the quantity."""
    low, high = 0, min(sum(gpus for _, gpus in ladder) for ladder in ladders) // lot
    while low < high:
        middle = (low + high + 1) // 2
        qty = middle * lot
        cost, allowed = sum(_cost(ladder, qty) for ladder in ladders), limit * len(ladders) * qty
        if cost <= allowed if buys else cost >= allowed:
            low = middle
        else:
            high = middle - 1
    return low * lot


def _cost(ladder: Iterable[tuple[Price, Gpus]], qty: Gpus) -> int:
    """Of the first `qty` GPUs."""
    cost = 0
    for price, gpus in ladder:
        part = min(gpus, qty)
        cost += price * part
        qty -= part
    return cost
