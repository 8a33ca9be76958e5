"""One book: who waits at which price, oldest first.

Pure. Prices in µUSD per GPU-hour, quantities in GPUs. The orders at a price are linked through themselves, so that one leaves
at once from wherever it stands. Whoever leaves takes off its links, because such cycles are never freed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from schemas.ids import INDEX_BITS, LEG_BITS
from schemas.units import Gpus, Micros, Millis, Price
from services.matching.literals import BUY
from services.matching.native import mypyc_attr
from services.matching.titles import Position

if TYPE_CHECKING:
    from mypy_extensions import i16, i64

_OFFSET_SHIFT: Final = INDEX_BITS + LEG_BITS
_INDEX_MASK: Final = (1 << INDEX_BITS) - 1
_STRIDE: Final = 0x9E3779B97F
"""Golden section of 2⁴⁰: its multiples lie far apart, whatever power of 2 they are taken modulo."""


def key_of(order: int) -> i64:
    """Order id → key for a dict of orders of one shard.

    An id ends in zeros, and Python looks where a number's last bits say: with ids as keys it looks eight times to find an
    order. Keys of one index rise by one from record to record, and those of one record are `_STRIDE` apart. Ids that differ
    in shard or leg may have one key: whoever asks with a foreign id compares.
    """
    offset: i64 = order >> _OFFSET_SHIFT
    index: i64 = order >> LEG_BITS & _INDEX_MASK
    return offset + index * _STRIDE


@mypyc_attr(acyclic=True)
class Order:
    """An order: on its way into a book, in it, or ended and remembered for the sake of its client id."""

    __slots__ = (
        "accepted_ms", "account", "after", "before", "client_id", "contract", "flags", "hold", "leaves", "level",
        "maker_bp", "order", "position", "price", "qty", "side", "taker_bp", "tif",
    )  # fmt: skip

    def __init__(
        self,
        order: int,
        accepted_ms: Millis,
        account: int,
        client_id: str,
        contract: int,
        side: int,
        qty: Gpus,
        price: Price,
        tif: int,
        flags: int,
    ) -> None:
        self.order = order
        self.accepted_ms = accepted_ms
        self.account = account
        self.client_id = client_id
        """Empty: it came without one."""
        self.contract = contract
        self.side = side
        self.qty = qty
        self.price = price
        self.tif = tif
        self.flags = flags
        self.leaves: Gpus = qty
        self.maker_bp: i16 = 0
        self.taker_bp: i16 = 0
        """Frozen at acceptance. Rates are at most 1,000 basis points: two bytes each in a compiled build."""
        self.hold: Micros = 0
        """Cash held for a bid's leaves; 0 for an ask."""
        self.position: Position | None = None
        """What an ask sells from; a bid has none."""
        self.level: Level | None = None
        """Where it rests; None: it does not."""
        self.before: Order | None = None
        """The next older one at its price."""
        self.after: Order | None = None
        """The next younger one."""


@mypyc_attr(acyclic=True)
class Level:
    """The orders at one price, oldest first."""

    __slots__ = ("first", "key", "last")

    def __init__(self, key: int) -> None:
        self.key = key
        self.first: Order | None = None
        self.last: Order | None = None

    def append(self, order: Order) -> None:
        """The youngest."""
        order.level = self
        last = self.last
        if last is None:
            self.first = order
        else:
            order.before = last
            last.after = order
        self.last = order

    def unlink(self, order: Order) -> None:
        """It rests no more."""
        before, after = order.before, order.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        order.level = order.before = order.after = None

    def __iter__(self) -> Iterator[Order]:
        """Oldest first."""
        order = self.first
        while order is not None:
            yield order
            order = order.after


class HalfBook:
    """One side. `keys` are prices, or minus prices for asks, so that the best is always the last."""

    __slots__ = ("keys", "levels", "sign", "top")

    def __init__(self, side: int) -> None:
        self.sign = 1 if side == BUY else -1
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        """None is empty."""
        self.top: Level | None = None
        """The best one."""

    def add(self, order: Order) -> None:
        """Queue it last at its price."""
        key = order.price if self.sign > 0 else -order.price
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(key)
            insort(self.keys, key)
            if self.top is None or key > self.top.key:
                self.top = level
        level.append(order)

    def best(self) -> Price:
        """Best price; 0 when empty."""
        return self.top.key * self.sign if self.top is not None else 0

    def reached_by(self, limit: Price) -> bool:
        """Whether somebody waits here at `limit` or at a price that is better for the newcomer."""
        top = self.top
        return top is not None and top.key >= (limit if self.sign > 0 else -limit)

    def first(self) -> Order:
        """The order that is next in priority."""
        assert self.top is not None
        order = self.top.first
        assert order is not None
        return order

    def remove(self, order: Order) -> None:
        """Its leaves are 0 now: it leaves its level, and the level the book when it was the last."""
        assert order.leaves == 0
        level = order.level
        assert level is not None
        level.unlink(order)
        if level.first is None:
            keys = self.keys
            del self.levels[level.key], keys[bisect_left(keys, level.key)]
            if level is self.top:
                self.top = self.levels[keys[-1]] if keys else None

    def __iter__(self) -> Iterator[Order]:
        """Best first, oldest first in a price."""
        for key in reversed(self.keys):
            yield from self.levels[key]
