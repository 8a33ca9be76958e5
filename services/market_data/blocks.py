"""The public block book of a shard: who would trade contiguous hours at which average, in total per range and price. Pure.

A block trades in all its hours or in none, so it is in no hour's book. The engine says of each what is still open.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from schemas.units import Gpus, Hour, Price
from services.market_data.books import Contradiction


class Range(NamedTuple):
    """Where and how: blocks that agree in this stand in one level."""

    class_no: int
    first_hour: Hour
    hours: int
    side: int
    price: Price
    """Limit on the average over the hours."""


class Level(NamedTuple):
    """What stands in a range at a price; zeros: nothing."""

    qty: Gpus
    qty_min: Gpus
    """The least that one of the blocks takes."""
    blocks: int


NOTHING = Level(0, 0, 0)


class Block(Struct, gc=False):
    """A block that may still trade."""

    where: Range
    leaves: Gpus
    qty_min: Gpus


class BlockBook:
    """Blocks of a shard."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._at: dict[Range, dict[int, Block]] = {}
        self._told: dict[Range, Level] = {}
        """What has been touched since `turn`, as it was then."""

    def __contains__(self, order: int) -> bool:
        return order in self._blocks

    def accepted(self, order: int, where: Range, qty: Gpus, qty_min: Gpus) -> None:
        """Raises Contradiction."""
        if order in self._blocks:
            raise Contradiction(f"block {order} is not new")
        self._touch(where)
        block = self._blocks[order] = Block(where, qty, qty_min)
        self._at.setdefault(where, {})[order] = block

    def filled(self, order: int, qty: Gpus, leaves: Gpus) -> None:
        """Raises Contradiction where `leaves` does not follow."""
        block = self._find(order)
        if block.leaves - qty != leaves:
            raise Contradiction(f"block {order} of {block.leaves} is filled by {qty} and leaves {leaves}")
        self._touch(block.where)
        block.leaves = leaves
        if leaves == 0:
            self._drop(order, block)

    def cancelled(self, order: int) -> None:
        """Raises Contradiction."""
        block = self._find(order)
        self._touch(block.where)
        self._drop(order, block)

    def level(self, where: Range) -> Level:
        """As it stands."""
        blocks = self._at.get(where)
        if not blocks:
            return NOTHING
        sizes = [(block.leaves, min(block.leaves, block.qty_min)) for block in blocks.values()]
        return Level(sum(leaves for leaves, _ in sizes), min(least for _, least in sizes), len(sizes))

    def levels(self, class_no: int) -> list[tuple[Range, Level]]:
        """Of a class, by range, bids before asks, best first."""
        found = [where for where in self._at if where.class_no == class_no]
        return [(where, self.level(where)) for where in sorted(found, key=rank)]

    def turn(self) -> list[tuple[Range, Level]]:
        """Levels that stand otherwise than when this was last asked."""
        if not self._told:
            return []
        changed = [(where, now) for where, before in self._told.items() if (now := self.level(where)) != before]
        self._told.clear()
        changed.sort(key=lambda pair: rank(pair[0]))
        return changed

    def _touch(self, where: Range) -> None:
        if where not in self._told:
            self._told[where] = self.level(where)

    def _find(self, order: int) -> Block:
        block = self._blocks.get(order)
        if block is None:
            raise Contradiction(f"block {order} is not open")
        return block

    def _drop(self, order: int, block: Block) -> None:
        del self._blocks[order], self._at[block.where][order]
        if not self._at[block.where]:
            del self._at[block.where]


def rank(where: Range) -> tuple[int, Hour, int, int, int]:
    """The order in which levels are shown."""
    return where.class_no, where.first_hour, where.hours, where.side, -where.price if where.side == 1 else where.price
