"""One book: who waits at which price, oldest first.

Pure. Prices in µUSD per GPU-hour, quantities in GPUs. An order knows neither its level nor its book: such cycles are
never freed. A cancelled or filled order keeps its place in the queue (leaves 0) until it reaches the front, or until
there are more of them than orders that wait.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from typing import Final

from schemas.units import BasisPoints, Gpus, Micros, Millis, Price
from services.matching.literals import BUY

DEAD_MAX: Final = 64
"""How many orders without leaves a queue may keep above one for each that waits: then they are swept out, all at once."""


class ClientId:
    """A client order id of an account, and the order that it stands for."""

    __slots__ = (
        "accepted_ms", "account", "client_id", "contract", "flags", "order", "price", "qty", "side", "tif",
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
        self.contract = contract
        self.side = side
        self.qty = qty
        self.price = price
        self.tif = tif
        self.flags = flags


class Order:
    """An order in a book, or on its way into it."""

    __slots__ = (
        "account", "contract", "hold", "known", "leaves", "maker_bp", "order", "price", "side", "taker_bp",
    )  # fmt: skip

    def __init__(
        self,
        order: int,
        account: int,
        contract: int,
        side: int,
        price: Price,
        leaves: Gpus,
        maker_bp: BasisPoints,
        taker_bp: BasisPoints,
        known: ClientId | None,
        hold: Micros,
    ) -> None:
        self.order = order
        self.account = account
        self.contract = contract
        self.side = side
        self.price = price
        self.leaves = leaves
        self.maker_bp = maker_bp
        self.taker_bp = taker_bp
        self.known = known
        """None: it came without a client id."""
        self.hold = hold
        """Cash held for a bid's leaves; 0 for an ask."""


class HalfBook:
    """One side. `keys` are prices, or minus prices for asks, so that the best is always the last."""

    __slots__ = ("keys", "levels", "live", "sign")

    def __init__(self, side: int) -> None:
        self.sign = 1 if side == BUY else -1
        self.keys: list[int] = []
        self.levels: dict[int, deque[Order]] = {}
        self.live: dict[int, int] = {}
        """Orders with leaves per level; a level without any is gone."""

    def add(self, order: Order) -> None:
        """Queue it last at its price."""
        key = order.price * self.sign
        level = self.levels.get(key)
        if level is not None:
            level.append(order)
            self.live[key] += 1
            return
        keys = self.keys
        if not keys or key > keys[-1]:
            keys.append(key)
        else:
            insort(keys, key)
        self.levels[key] = deque((order,))
        self.live[key] = 1

    def best(self) -> Price:
        """Best price; 0 when empty."""
        return self.keys[-1] * self.sign if self.keys else 0

    def reached_by(self, limit: Price) -> bool:
        """Whether somebody waits here at `limit` or at a price that is better for the newcomer."""
        keys = self.keys
        return len(keys) > 0 and keys[-1] >= limit * self.sign

    def first(self) -> Order:
        """The order that is next in priority."""
        level = self.levels[self.keys[-1]]
        order = level[0]
        while not order.leaves:
            level.popleft()
            order = level[0]
        return order

    def remove(self, order: Order) -> None:
        """Its leaves are 0 now: it leaves the count, and its level when it was the last."""
        assert order.leaves == 0
        key = order.price * self.sign
        left = self.live[key] - 1
        if left:
            self.live[key] = left
            level = self.levels[key]
            if len(level) > 2 * left + DEAD_MAX:
                self.levels[key] = deque([waiting for waiting in level if waiting.leaves])
            return
        del self.live[key], self.levels[key]
        keys = self.keys
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]

    def __iter__(self) -> Iterator[Order]:
        """Best first, oldest first in a price."""
        for key in reversed(self.keys):
            for order in self.levels[key]:
                if order.leaves:
                    yield order
