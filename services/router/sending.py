"""Orders that were recorded and have no outcome yet: which of them may be sent now, and when one is known to have none. Pure.

An order is sent again, as the very same, until something is known of it. After `LIFE_MS`, or when its rental was stopped or has
other limits since, it is left to itself: it is sent no more, and has had no effect once no copy of it can reach a shard any more.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from schemas.units import Gpus, Millis

OrderName = tuple[int, int]
"""(rental, number)."""

ACCOUNT_MAX: Final = 8
"""Orders of one account under way in one shard,"""
SHARD_MAX: Final = 256
"""and of all."""
LIFE_MS: Final = 30_000
"""Of everybody's time."""
AGAIN_MS: Final = 500
AGAIN_MS_MAX: Final = 8_000


class Attempt(Struct, gc=False):
    """An order under way."""

    account: int
    shard: int
    begun_ms: Millis
    """Elapsed time."""
    contract: int = 0
    bid: Gpus = 0
    """What it would take out of the book; 0: it is an offer."""
    tries: int = 0
    next_ms: Millis = 0
    """Elapsed time of the next try."""
    is_out: bool = False
    """A try is under way."""
    is_left: bool = False
    """To itself: it is not sent again."""
    doubt_ms: Millis = 0
    """Market time until which a copy of it may be on its way; 0: none is."""
    code: str = ""
    """What the last try was refused with, or will have been unless `events` tells of it until the doubt is over."""
    detail: str = ""


class Sending:
    """All of them. Fair: of each account a few, and of the accounts each in turn."""

    def __init__(self) -> None:
        self.of: dict[OrderName, Attempt] = {}
        self._counts: Counter[tuple[int, int]] = Counter()
        """(account, shard) → orders; (0, shard): of all accounts."""
        self.claimed: Counter[int] = Counter()
        """Contract → GPUs that orders under way would take out of its book."""
        self._queues: dict[int, deque[OrderName]] = {}
        """Account → its orders, in the order of their next turn. Accounts in the order of theirs."""

    def add(self, name: OrderName, attempt: Attempt) -> None:
        """Recorded."""
        if name in self.of:
            return
        self.of[name] = attempt
        self._counts.update([(attempt.account, attempt.shard), (0, attempt.shard)])
        self.claimed[attempt.contract] += attempt.bid
        self._queues.setdefault(attempt.account, deque()).append(name)

    def drop(self, name: OrderName) -> None:
        """Its outcome is known."""
        attempt = self.of.pop(name, None)
        if attempt is not None:
            self._counts.subtract([(attempt.account, attempt.shard), (0, attempt.shard)])
            self.claimed[attempt.contract] -= attempt.bid
            if not self.claimed[attempt.contract]:
                del self.claimed[attempt.contract]

    def has_room(self, account: int, shard: int, more: int = 0) -> bool:
        """Whether another order may be recorded, beside `more` that will be."""
        return self._counts[account, shard] + more < ACCOUNT_MAX and self._counts[0, shard] + more < SHARD_MAX

    def take(self, elapsed_ms: Millis, count: int) -> Iterator[OrderName]:
        """Up to `count` that are to be sent now, and are out from here on: one of each account, then the next of each."""
        passed = 0
        while self._queues and count > 0 and passed < len(self._queues):
            account = next(iter(self._queues))
            queue = self._queues.pop(account)
            name = self._next(queue, elapsed_ms)
            if queue:
                self._queues[account] = queue  # last in turn
            if name is None:
                passed += 1
                continue
            passed, count = 0, count - 1
            yield name

    def _next(self, queue: deque[OrderName], elapsed_ms: Millis) -> OrderName | None:
        for _ in range(len(queue)):
            name = queue.popleft()
            attempt = self.of.get(name)
            if attempt is None:
                continue
            queue.append(name)
            if not (attempt.is_out or attempt.is_left or attempt.code) and elapsed_ms >= attempt.next_ms:
                attempt.is_out = True
                return name
        return None


def again_ms(tries: int) -> Millis:
    """Between two tries, in everybody's time."""
    return min(AGAIN_MS << min(tries, 8), AGAIN_MS_MAX)


def is_hopeless(attempt: Attempt, shard_ms: Millis) -> bool:
    """Whether it has had no effect for certain and is not to be sent again. `shard_ms`: its engine's time, as read."""
    if attempt.is_out or not (attempt.is_left or attempt.code):
        return False
    return attempt.doubt_ms <= shard_ms
