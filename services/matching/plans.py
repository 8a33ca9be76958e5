"""What a block would trade now: so much from the books of its hours, so much with each opposite block of its very range. Pure.

Nothing is changed by making a plan; `blocks.carry_out` does what it says. Prices in µUSD per GPU-hour, quantities in GPUs.
"""

from __future__ import annotations

from schemas.units import Gpus, Micros, Price
from services.matching.book import Block, Order
from services.matching.literals import BUY, OPEN, SELL
from services.matching.state import Shard


class Plan:
    """What a block would trade now."""

    __slots__ = ("hours_qty", "least", "total", "with_blocks")

    def __init__(self, least: Gpus) -> None:
        self.hours_qty: Gpus = 0
        """From the books of its hours, in each of them."""
        self.with_blocks: list[tuple[Block, Gpus]] = []
        """With opposite blocks of the same range, in this order."""
        self.total: Gpus = 0
        self.least = least

    @property
    def trades(self) -> bool:
        """Whether it is enough for anything to trade."""
        return self.total >= self.least


def make_plan(shard: Shard, block: Block, owner: int) -> Plan:
    """Hour orders come first at an equal price; blocks of one owner never meet."""
    leaves = block.leaves
    plan = Plan(block.least)
    if any(contract.state_now() != OPEN for contract in block.contracts):
        return plan
    depth = Depth(shard, block, owner, leaves)
    taken: Gpus = 0
    book = shard.block_books.get((block.contract, block.hours))
    half = book.half(BUY + SELL - block.side) if book is not None else None
    if half is not None and half.reached_by(block.price):
        for other in half:
            if (other.price - block.price) * half.sign < 0 or plan.hours_qty + taken >= leaves:
                break
            if shard.accounts[other.account].owner == owner:
                continue
            assert isinstance(other, Block)
            plan.hours_qty = max(plan.hours_qty, min(depth.within(other.price), leaves - taken))
            qty = min(leaves - taken - plan.hours_qty, other.leaves)
            if qty > 0 and qty >= other.least:
                plan.with_blocks.append((other, qty))
                taken += qty
    plan.hours_qty = max(plan.hours_qty, min(depth.within(block.price), leaves - taken))
    plan.total = plan.hours_qty + taken
    return plan


class Depth:
    """What the orders on the other side of a block's hours give it, walked once, from the best price on.

    With q GPUs taken in each hour the cost is convex (concave for a seller) and linear between the places where some hour
    goes on to its next order, so the average only gets worse: each stretch is walked at most once.
    """

    __slots__ = (
        "_cost", "_done", "_ends", "_halves", "_hours", "_lot", "_next", "_orders", "_owner", "_qty_max", "_shard", "_sign",
        "_slope",
    )  # fmt: skip

    def __init__(self, shard: Shard, block: Block, owner: int, qty_max: Gpus) -> None:
        self._shard = shard
        self._owner = owner
        self._sign = 1 if block.side == BUY else -1
        self._hours = block.hours
        self._qty_max = qty_max
        self._lot: Gpus = block.contracts[0].listed.lot
        self._done: Gpus = 0
        """GPUs walked in each hour."""
        self._cost: Micros = 0
        """Of them, over all hours."""
        self._slope: Price = 0
        """Sum of the hours' prices of the next GPU."""
        self._halves = [contract.half(BUY + SELL - block.side) for contract in block.contracts]
        self._orders: list[Order] = []
        """Of each hour, the order that gives the next GPU."""
        self._ends: list[Gpus] = []
        """How many GPUs an hour has given when this order is used up."""
        self._next: Gpus = qty_max
        """Where the first of them is."""
        for half in self._halves:
            order = half.first() if half.top is not None else None
            if order is None or shard.accounts[order.account].owner == owner:
                self._qty_max = 0
                return
            self._orders.append(order)
            self._ends.append(order.leaves)
            self._slope += order.price
        self._next = min(self._ends)

    def within(self, limit: Price) -> Gpus:
        """The largest multiple of the lot whose average is no worse than `limit`; limits get no better from call to call."""
        per_gpu = limit * self._hours
        while self._done < self._qty_max:
            stretch = (self._next if self._next < self._qty_max else self._qty_max) - self._done
            # What is left of the limit after this stretch: for a buyer limit × q − cost, for a seller the other way.
            room = (per_gpu * self._done - self._cost) * self._sign
            loss = (self._slope - per_gpu) * self._sign
            if room - loss * stretch < 0:
                reached = room // loss // self._lot * self._lot
                return self._done + reached
            self._done += stretch
            self._cost += self._slope * stretch
            if self._done < self._qty_max and not self._go_on():
                self._qty_max = self._done
        return self._done

    def _go_on(self) -> bool:
        """Every hour whose order is used up turns to its next one; False where there is none for this block."""
        done, nearest = self._done, self._qty_max
        for place in range(len(self._ends)):
            end = self._ends[place]
            if end == done:
                order = self._after(place)
                if order is None or self._shard.accounts[order.account].owner == self._owner:
                    return False
                self._slope += order.price - self._orders[place].price
                self._orders[place] = order
                end += order.leaves
                self._ends[place] = end
            if end < nearest:
                nearest = end
        self._next = nearest
        return True

    def _after(self, place: int) -> Order | None:
        order = self._orders[place]
        if order.after is not None:
            return order.after
        level = order.level
        assert level is not None
        return self._halves[place].first_below(level.key)
