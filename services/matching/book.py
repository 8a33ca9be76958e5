"""One book: who waits at which price, oldest first.

Pure. Prices in µUSD per GPU-hour, quantities in GPUs. The orders at a price are linked through themselves, so that one leaves
at once from wherever it stands. Whoever leaves takes off its links, because such cycles are never freed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from schemas.ids import INDEX_BITS, LEG_BITS, OFFSET_BITS
from schemas.units import Gpus, Hour, Micros, Millis, Price
from services.matching.literals import BUY, SELL
from services.matching.native import mypyc_attr
from services.matching.titles import Position

if TYPE_CHECKING:
    from mypy_extensions import i16, i64

    from services.matching.state import Contract

_OFFSET_SHIFT: Final = INDEX_BITS + LEG_BITS
_OFFSET_BITS_ALL: Final = (1 << OFFSET_BITS) - 1
_INDEX_BITS_ALL: Final = (1 << INDEX_BITS) - 1
_LEG_BITS_ALL: Final = (1 << LEG_BITS) - 1
_STRIDE: Final = 0x9E3779B97F
"""Golden section of 2⁴⁰: its multiples lie far apart, whatever power of 2 they are taken modulo. More than any offset."""
_LEG_STRIDE: Final = 0x1F83D9ABFB41B
"""The same for legs: more than any offset and index together."""
assert _STRIDE >= 1 << OFFSET_BITS
assert _LEG_STRIDE > (1 << OFFSET_BITS) + _INDEX_BITS_ALL * _STRIDE


def key_of(order: int) -> i64:
    """Order id → key for a dict of orders of one shard.

    An id ends in zeros, and Python looks where a number's last bits say: with ids as keys it looks eight times to find an
    order. Keys of one index rise by one from record to record, and those of one record are strides apart. Ids that differ
    in the shard alone have one key: whoever asks with a foreign id compares.
    """
    offset: i64 = order >> _OFFSET_SHIFT & _OFFSET_BITS_ALL
    index: i64 = order >> LEG_BITS & _INDEX_BITS_ALL
    leg: i64 = order & _LEG_BITS_ALL
    return offset + index * _STRIDE + leg * _LEG_STRIDE


@mypyc_attr(acyclic=True)
class Order:
    """An order: on its way into a book, in it, or ended and remembered for the sake of its client id."""

    __slots__ = (
        "accepted_ms", "account", "after", "before", "client_id", "contract", "expires_ms", "flags", "hold", "leaves", "level",
        "maker_bp", "newer", "older", "order", "position", "price", "qty", "side", "taker_bp", "tif",
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
        expires_ms: Millis = 0,
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
        """Bits of `Flag`, and `AMENDED`."""
        self.expires_ms = expires_ms
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
        self.older: Order | None = None
        """Of its account's open orders, the one that came to rest before it."""
        self.newer: Order | None = None


@mypyc_attr(acyclic=True)
class Range(Order):
    """The same order in many hours, as its client id remembers it. Its legs are orders of their own; it never rests.

    `order` is the id of leg 0, `contract` the class's hour 0.
    """

    __slots__ = ("hours",)

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
        expires_ms: Millis,
        hours: tuple[Hour, ...],
    ) -> None:
        super().__init__(order, accepted_ms, account, client_id, contract, side, qty, price, tif, flags, expires_ms)
        self.hours = hours


class Block(Order):
    """Contiguous hours, equal quantity, one limit on the average. `contract` is its first hour's."""

    __slots__ = ("asked", "contracts", "hours", "positions", "qty_min")

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
        expires_ms: Millis,
        hours: int,
        qty_min: Gpus,
        contracts: list[Contract],
    ) -> None:
        super().__init__(order, accepted_ms, account, client_id, contract, side, qty, price, tif, flags, expires_ms)
        self.hours = hours
        self.qty_min = qty_min
        self.contracts = contracts
        """One per hour, rising."""
        self.positions: list[Position] = []
        """What a sell block sells from, one per hour."""
        self.asked: Gpus = 0
        """How much of it stands among the open asks of each position: its leaves, while it rests."""

    def forget_hours(self) -> None:
        """It has ended. Its client id is remembered for a while; the hours need not be."""
        self.contracts, self.positions = [], []

    @property
    def least(self) -> Gpus:
        """Less than this it does not trade."""
        return self.qty_min if self.qty_min < self.leaves else self.leaves


@mypyc_attr(acyclic=True)
class Level:
    """The orders at one price, oldest first."""

    __slots__ = ("first", "key", "last", "price")

    def __init__(self, key: int, price: Price) -> None:
        self.key = key
        self.price = price
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
            level = self.levels[key] = Level(key, order.price)
            insort(self.keys, key)
            if self.top is None or key > self.top.key:
                self.top = level
        order.price = level.price  # the same number: all orders of a level share one object
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

    def first_below(self, key: int) -> Order | None:
        """The first order at the next worse price than that of `key`, a level that is here."""
        place = bisect_left(self.keys, key)
        return self.levels[self.keys[place - 1]].first if place else None

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


class BlockBook:
    """Blocks that rest over one and the same range."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = HalfBook(BUY)
        self.asks = HalfBook(SELL)

    def half(self, side: int) -> HalfBook:
        """The blocks of a side."""
        return self.bids if side == BUY else self.asks

    def __bool__(self) -> bool:
        """Whether any is here."""
        return self.bids.top is not None or self.asks.top is not None
