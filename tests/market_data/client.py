"""A client of the feed, written from docs/feeds.md alone: it shares no code with what it reads.

client = Client()
client.read(text)                   # every message; asserts that it follows, and that its checksum is that of our book
client.books["book:..."].bids       # {Decimal: int}
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Row = dict[str, Any]


class Book:
    """Both sides; prices as they were written."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, tuple[str, int]] = {}
        self.asks: dict[Decimal, tuple[str, int]] = {}

    def put(self, side: str, levels: list[list[Any]]) -> int:
        at: dict[Decimal, tuple[str, int]] = getattr(self, side)
        for price, qty in levels:
            if qty:
                at[Decimal(price)] = price, qty
            else:
                assert at.pop(Decimal(price), None), f"a level at {price} is taken away that was not there"
        return len(levels)

    def checksum(self) -> int:
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)[:10]]
        asks = [self.asks[price] for price in sorted(self.asks)[:10]]
        sides = [",".join(f"{price}:{qty}" for price, qty in side) for side in (bids, asks)]
        return zlib.crc32("/".join(sides).encode())

    def levels(self, side: str) -> dict[Decimal, int]:
        return {price: qty for price, (_, qty) in getattr(self, side).items()}


class Account:
    """The account in one shard."""

    def __init__(self, snapshot: Row) -> None:
        self.orders: dict[str, Row] = {order["order_id"]: order for order in snapshot["orders"]}
        self.positions: dict[str, Row] = {each["contract"]: each for each in snapshot["positions"]}
        self.fills: list[Row] = list(snapshot["fills"])
        self.balance: Row = snapshot["balance"]

    def change(self, message: Row) -> None:
        for order in message["orders"]:
            if order["state"] == "open":
                self.orders[order["order_id"]] = order
            else:
                self.orders.pop(order["order_id"], None)
        for position in message["positions"]:
            if any(position[name] for name in ("held", "owed", "running_held", "running_owed")):
                self.positions[position["contract"]] = position
            else:
                self.positions.pop(position["contract"], None)
        self.fills += message["fills"]
        self.balance = message["balance"] or self.balance


class Client:
    """One connection's messages, and what they come to."""

    def __init__(self, on_book: Callable[[str, int, Book], None] | None = None) -> None:
        self._on_book = on_book
        """Called with (channel, at, book) at every checksum."""
        self.seqs: dict[str, int] = {}
        self.shard_seqs: dict[int, int] = {}
        self.books: dict[str, Book] = {}
        self.grids: dict[str, dict[str, Row]] = {}
        self.blocks: dict[str, dict[tuple[Any, ...], Row]] = {}
        self.trades: dict[str, list[Row]] = {}
        """Oldest first."""
        self.corrections: list[Row] = []
        self.accounts: dict[int, Account] = {}
        self.rentals: dict[str, Row] = {}
        """Those that are not over."""
        self.notices: dict[str, Row] = {}
        """By id, oldest first."""
        self.ended: list[str] = []
        self.errors: list[Row] = []
        self.other: list[Row] = []
        self.kinds: list[str] = []
        """Types of the messages, in order."""
        self.changes = 0
        """Levels that changes of books have told of."""
        self.checksums = 0

    def read(self, text: str | bytes) -> Row:
        message: Row = json.loads(text)
        kind = message["type"]
        self.kinds.append(kind)
        if kind in ("account", "account_snapshot"):
            self._account(message)
            return message
        if "seq" in message:
            self._count(message)
        handler: Callable[[Row], None] | None = getattr(self, f"_{kind}", None)
        if handler is not None:
            handler(message)
        elif kind == "error":
            self.errors.append(message)
            if message["code"] == "unknown_contract":  # its hour has ended while we were away
                self.books.pop(message["channel"], None)
                self.seqs.pop(message["channel"], None)
        else:
            self.other.append(message)
        return message

    def _count(self, message: Row) -> None:
        channel = message["channel"]
        if "prev_seq" in message:
            seq, before, known = message["seq"], message["prev_seq"], self.seqs.get(channel)
            assert before == known, f"{channel}: {seq} follows {before}, here is {known}"
            # Private numbers are those of a log, in which others are told of, too.
            assert seq == before + 1 or (channel == "rentals" and seq > before), f"{channel}: {seq} after {before}"
        self.seqs[channel] = message["seq"]

    def _check(self, message: Row) -> None:
        channel = message["channel"]
        book = self.books[channel]
        assert book.checksum() == message["checksum"], f"{channel}, seq {message['seq']}: the checksum is another"
        self.checksums += 1
        if self._on_book is not None:
            self._on_book(channel, message["at"], book)

    def _book_snapshot(self, message: Row) -> None:
        book = self.books[message["channel"]] = Book()
        book.put("bids", message["bids"])
        book.put("asks", message["asks"])
        self._check(message)

    def _book(self, message: Row) -> None:
        book = self.books[message["channel"]]
        changed = book.put("bids", message["bids"]) + book.put("asks", message["asks"])
        assert changed, f"{message['channel']}, seq {message['seq']}: nothing has changed"
        self.changes += changed
        self._check(message)

    def _trades_snapshot(self, message: Row) -> None:
        self.trades[message["channel"]] = list(reversed(message["trades"]))

    def _trades(self, message: Row) -> None:
        self.trades[message["channel"]] += message["trades"]

    def _grid_snapshot(self, message: Row) -> None:
        self.grids[message["channel"]] = {row["contract"]: row for row in message["rows"]}

    def _grid(self, message: Row) -> None:
        rows = self.grids[message["channel"]]
        for row in message["rows"]:
            if row["phase"] == "ended":
                rows.pop(row["contract"], None)
            else:
                rows[row["contract"]] = row

    def _blocks_snapshot(self, message: Row) -> None:
        self.blocks[message["channel"]] = {_place(level): level for level in message["blocks"]}

    def _blocks(self, message: Row) -> None:
        levels = self.blocks[message["channel"]]
        for level in message["blocks"]:
            if level["qty"]:
                levels[_place(level)] = level
            else:
                assert levels.pop(_place(level), None), f"{level} is taken away and was not there"

    def _corrections_snapshot(self, message: Row) -> None:
        self.corrections = list(reversed(message["corrections"]))

    def _corrections(self, message: Row) -> None:
        self.corrections += message["corrections"]

    def _rentals_snapshot(self, message: Row) -> None:
        self.rentals.clear()
        self._rentals(message)

    def _rentals(self, message: Row) -> None:
        for rental in message["rentals"]:
            self.rentals[rental["rental"]] = rental
            if rental["state"] == "over":
                del self.rentals[rental["rental"]]
        self.notices |= {notice["id"]: notice for notice in message["notices"]}

    def _end(self, message: Row) -> None:
        self.ended.append(message["channel"])
        self.books.pop(message["channel"], None)
        del self.seqs[message["channel"]]

    def _account(self, message: Row) -> None:
        shard = message["shard"]
        if message["type"] == "account_snapshot":
            self.accounts[shard] = Account(message)
        else:
            seq, before, known = message["seq"], message["prev_seq"], self.shard_seqs.get(shard)
            assert before == known, f"shard {shard}: {seq} follows {before}, here is {known}"
            self.accounts[shard].change(message)
        self.shard_seqs[shard] = message["seq"]

    def resume(self) -> bytes:
        """What to send to go on."""
        op: Row = {"op": "resume", "channels": self.seqs}
        if self.shard_seqs:
            op["account"] = {str(shard): seq for shard, seq in self.shard_seqs.items()}
        return json.dumps(op).encode()


def _place(level: Row) -> tuple[Any, ...]:
    return level["first_hour"], level["hours"], level["side"], Decimal(level["price"])
