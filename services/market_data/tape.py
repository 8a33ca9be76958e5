"""What has been traded: the newest trades, and sums per minute of the last 24 hours of market time. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from schemas.units import MS_PER_MINUTE, Gpus, Micros, Millis, Price

KEPT: Final = 500
"""Trades of one contract; the newest."""
DAY_MINUTES: Final = 1_440
PAIRS_KEPT: Final = 2
"""Of one minute: whether there were two different ones is all that is ever asked."""

Kind = Literal["order", "block", "buy_in"]
Pair = tuple[int, int]
"""Owners of the two sides, the smaller number first."""


class Trade(Struct, frozen=True, gc=False):
    """One fill, without names."""

    trade: int
    contract: int
    price: Price
    qty: Gpus
    minutes: int
    maker_side: int
    kind: Kind
    time_ms: Millis


class Sums(Struct, gc=False):
    """Of trades that both sides wanted."""

    qty: Gpus = 0
    value: Micros = 0
    """Sum of price × quantity."""
    trades: int = 0
    pairs: tuple[Pair, ...] = ()

    def average(self) -> Price:
        """Weighted by quantity, rounded down; 0: none."""
        return self.value // self.qty if self.qty else 0


class Minute(Struct, gc=False):
    """The trades of one minute."""

    minute: int
    low: Price
    high: Price
    qty: Gpus = 0
    trades: int = 0
    free: Sums = msgspec.field(default_factory=Sums)
    """Without buy-ins: a sale that its buyer could not refuse says nothing of what the hour is worth."""


class Statistics(NamedTuple):
    """Of the last 24 hours; zeros: no trade."""

    low: Price
    high: Price
    average: Price
    qty: Gpus
    trades: int


class Tape:
    """Trades of one contract."""

    __slots__ = ("minutes", "newest")

    def __init__(self) -> None:
        self.newest: deque[Trade] = deque(maxlen=KEPT)
        self.minutes: deque[Minute] = deque()

    def add(self, trade: Trade, pair: Pair) -> None:
        """One more; they come in the order of time."""
        self.newest.append(trade)
        number = trade.time_ms // MS_PER_MINUTE
        minutes = self.minutes
        if not minutes or minutes[-1].minute != number:
            minutes.append(Minute(number, trade.price, trade.price))
            while minutes[0].minute <= number - DAY_MINUTES:
                minutes.popleft()
        minute = minutes[-1]
        minute.low, minute.high = min(minute.low, trade.price), max(minute.high, trade.price)
        minute.qty += trade.qty
        minute.trades += 1
        if trade.kind != "buy_in":
            free = minute.free
            free.qty += trade.qty
            free.value += trade.price * trade.qty
            free.trades += 1
            if pair not in free.pairs and len(free.pairs) < PAIRS_KEPT:
                free.pairs = (*free.pairs, pair)

    @property
    def last(self) -> Price:
        """Of the newest trade; 0: there was none."""
        return self.newest[-1].price if self.newest else 0

    def since(self, minutes: int, now_ms: Millis) -> Iterator[Minute]:
        """The last so many minutes, the running one included, newest first."""
        oldest = now_ms // MS_PER_MINUTE - minutes
        for minute in reversed(self.minutes):
            if minute.minute <= oldest:
                return
            yield minute

    def statistics(self, now_ms: Millis) -> Statistics:
        """Of the last 24 hours, to the minute."""
        total = merged(self.since(DAY_MINUTES, now_ms))
        return Statistics(total.low, total.high, total.free.average(), total.qty, total.trades)

    def tail(self, count: int) -> list[Trade]:
        """The newest, newest first."""
        return list(islice(reversed(self.newest), count))


def merged(minutes: Iterable[Minute]) -> Minute:
    """Several as one; zeros: there is none."""
    total = Minute(0, 0, 0)
    for minute in minutes:
        total.low = min(total.low, minute.low) if total.trades else minute.low
        total.high = max(total.high, minute.high)
        total.qty += minute.qty
        total.trades += minute.trades
        total.free.qty += minute.free.qty
        total.free.value += minute.free.value
        total.free.trades += minute.free.trades
        total.free.pairs = tuple(dict.fromkeys((*total.free.pairs, *minute.free.pairs)))[:PAIRS_KEPT]
    return total
