"""Depth of one contract: what stands at each price, in total. Pure.

Prices in µUSD per GPU-hour, quantities in GPUs. A book is told of orders one by one and knows of each side only its totals.
What happens within one record of `events` is one change: in between a book may be crossed, afterwards never.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

from schemas.commands import Side
from schemas.units import Gpus, Price, format_usd

CHECKED: Final = 10
"""Levels of each side that the checksum is over."""
_NAMES_MAX: Final = 100_000
_names: dict[Price, str] = {}


class Contradiction(Exception):
    """Events speak of what they never made: nothing that follows could be believed."""


def price_text(price: Price) -> str:
    """2_050_000 → `2.05`, remembered: the same few prices are said again and again."""
    text = _names.get(price)
    if text is None:
        if len(_names) >= _NAMES_MAX:
            _names.clear()
        text = _names[price] = format_usd(price)
    return text


class Levels:
    """One side. `keys` are prices, or minus prices for asks, so that the best is always the last."""

    __slots__ = ("keys", "sign", "told", "totals")

    def __init__(self, side: int) -> None:
        self.sign = 1 if side == Side.BUY else -1
        self.keys: list[int] = []
        self.totals: dict[Price, Gpus] = {}
        self.told: dict[Price, Gpus] = {}
        """Prices that have changed since `changes`, with what stood there then."""

    def add(self, price: Price, qty: Gpus) -> None:
        """More at a price."""
        total = self.totals.get(price, 0)
        if price not in self.told:
            self.told[price] = total
        if total == 0:
            insort(self.keys, price * self.sign)
        self.totals[price] = total + qty

    def take(self, price: Price, qty: Gpus) -> None:
        """Less at a price. Raises Contradiction."""
        total = self.totals.get(price, 0)
        if not 0 <= qty <= total:
            raise Contradiction(f"{qty} GPUs leave a level of {total} at {price}")
        if price not in self.told:
            self.told[price] = total
        if qty == total:
            if total:
                keys = self.keys
                del self.totals[price], keys[bisect_left(keys, price * self.sign)]
        else:
            self.totals[price] = total - qty

    def best(self) -> tuple[Price, Gpus]:
        """(price, quantity) of the best level; zeros: the side is empty."""
        if not self.keys:
            return 0, 0
        price = self.keys[-1] * self.sign
        return price, self.totals[price]

    def second(self) -> Price:
        """The price behind the best; 0: there is none."""
        return self.keys[-2] * self.sign if len(self.keys) > 1 else 0

    def top(self, depth: int) -> Iterator[tuple[Price, Gpus]]:
        """The best levels, best first."""
        keys, totals, sign = self.keys, self.totals, self.sign
        for place in range(len(keys) - 1, max(-1, len(keys) - 1 - depth), -1):
            price = keys[place] * sign
            yield price, totals[price]

    def changes(self) -> list[tuple[Price, Gpus]]:
        """Levels that stand otherwise than when this was last asked, with what stands there now, best first; 0: none."""
        totals = self.totals
        changed = [(price, now) for price, before in self.told.items() if (now := totals.get(price, 0)) != before]
        self.told.clear()
        changed.sort(reverse=self.sign > 0)
        return changed


class Book:
    """Both sides of one contract."""

    __slots__ = ("asks", "bids", "contract")

    def __init__(self, contract: int) -> None:
        self.contract = contract
        self.bids = Levels(Side.BUY)
        self.asks = Levels(Side.SELL)

    def is_empty(self) -> bool:
        """Nothing rests."""
        return not self.bids.keys and not self.asks.keys

    def forget(self) -> None:
        """Nobody wants to know what has changed."""
        self.bids.told.clear()
        self.asks.told.clear()

    def checksum(self) -> int:
        """CRC32 of `2.04:3,2.03:1/2.05:2`: price:quantity of the ten best bids, a slash, the same of the asks, best first."""
        return zlib.crc32(f"{_text(self.bids)}/{_text(self.asks)}".encode())


def _text(levels: Levels) -> str:
    return ",".join([f"{price_text(price)}:{qty}" for price, qty in levels.top(CHECKED)])


class Resting:
    """An order as far as the public sees it: where it stands, and how much of it."""

    __slots__ = ("leaves", "levels", "price")

    def __init__(self, levels: Levels, price: Price, leaves: Gpus) -> None:
        self.levels = levels
        self.price = price
        self.leaves = leaves


class Depth:
    """All books of a shard, and the orders in them by id.

    An order stands in its book from its acceptance on, at its limit: what it trades at once is taken off as it is told, within
    the same record. So nothing has to be known of when matching ends.
    """

    def __init__(self) -> None:
        self.books: dict[int, Book] = {}
        self.touched: dict[int, Book] = {}
        """Since `turn`."""
        self._orders: dict[int, tuple[Resting, Book]] = {}

    def __contains__(self, order: int) -> bool:
        return order in self._orders

    def turn(self) -> list[Book]:
        """Books that were touched since this was last asked; their `changes` say what is different."""
        touched = list(self.touched.values())
        self.touched.clear()
        return touched

    def listed(self, contract: int) -> None:
        """Raises Contradiction."""
        if contract in self.books:
            raise Contradiction(f"contract {contract} is listed twice")
        self.books[contract] = Book(contract)

    def ended(self, contract: int) -> None:
        """Raises Contradiction."""
        book = self.books.pop(contract, None)
        if book is None or not book.is_empty():
            raise Contradiction(f"contract {contract} ends, and it is unknown or orders rest in it")
        self.touched.pop(contract, None)

    def accepted(self, order: int, contract: int, side: int, qty: Gpus, price: Price) -> None:
        """Raises Contradiction."""
        book = self.books.get(contract)
        if book is None or order in self._orders:
            raise Contradiction(
                f"order {order} in contract {contract}: the contract is unknown, or the order is not new"
            )
        levels = book.bids if side == Side.BUY else book.asks
        levels.add(price, qty)
        self.touched[contract] = book
        self._orders[order] = Resting(levels, price, qty), book

    def filled(self, order: int, qty: Gpus, leaves: Gpus) -> None:
        """Raises Contradiction where `leaves` does not follow."""
        resting, book = self._find(order)
        if resting.leaves - qty != leaves:
            raise Contradiction(f"order {order} of {resting.leaves} is filled by {qty} and leaves {leaves}")
        resting.levels.take(resting.price, qty)
        resting.leaves = leaves
        self.touched[book.contract] = book
        if leaves == 0:
            del self._orders[order]

    def cancelled(self, order: int) -> None:
        """It is gone, whatever was left of it. Raises Contradiction."""
        resting, book = self._find(order)
        resting.levels.take(resting.price, resting.leaves)
        self.touched[book.contract] = book
        del self._orders[order]

    def amended(self, order: int, qty: Gpus, price: Price) -> None:
        """Open quantity and price are now these. Raises Contradiction."""
        resting, book = self._find(order)
        resting.levels.take(resting.price, resting.leaves)
        resting.levels.add(price, qty)
        resting.price, resting.leaves = price, qty
        self.touched[book.contract] = book

    def _find(self, order: int) -> tuple[Resting, Book]:
        found = self._orders.get(order)
        if found is None:
            raise Contradiction(f"order {order} does not rest")
        return found
