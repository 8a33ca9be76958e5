"""A log as the shells see it: one partition of one topic, read by offset, appended in order.

Shells are written against these interfaces. `services.runtime.kafka` gives them sockets; the simulation gives them
a seeded world in one process. Nothing else may differ between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Record(NamedTuple):
    """A record as it stands in the log."""

    offset: int
    """Rises; brokers may skip some."""
    time_ms: int
    """The broker's append time where it keeps one, else the writer's."""
    value: bytes
    headers: Headers = ()
    key: bytes | None = None


class Outgoing(NamedTuple):
    """A record to be appended."""

    value: bytes
    headers: Headers = ()
    key: bytes | None = None


class LogError(Exception):
    """What a log answers instead of a result.

    ├── OutOfRange     the offset is below the first record or above the end
    ├── Forbidden      the broker's access lists do not let this login read it
    ├── Unreachable    the broker does not answer; nothing was read
    ├── WriteRefused   nothing was written, and nothing after it will be by this writer
    └── WriteUnknown   it may or may not have been written: read the end of the log to know
    """


class OutOfRange(LogError):
    """The offset is not in the log: it was cut, replaced, or never existed."""


class Forbidden(LogError):
    """The broker's access lists say no. Only whoever keeps them can change that."""


class Unreachable(LogError):
    """The broker does not answer. Waiting and asking again is all that can be done."""


class WriteRefused(LogError):
    """Nothing of it was written."""


class WriteUnknown(LogError):
    """Some prefix of it may have been written."""


class Log(Protocol):
    """One partition of one topic."""

    topic: str
    partition: int

    async def bounds(self) -> tuple[int, int]:
        """(offset of the first record, offset that the next record will get). Raises Unreachable."""

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        """Records from `offset` on, in order, at most about `count`; empty when none came within `wait_ms`.

        Raises OutOfRange, Unreachable.
        """

    async def append(self, records: Sequence[Outgoing]) -> None:
        """Write all, in order, durably (acks=all), before it returns. Raises WriteRefused, WriteUnknown."""


class Clock(Protocol):
    """Time and waiting, so that a simulation can own both."""

    def now_ms(self) -> int:
        """Wall time: milliseconds since the Unix epoch. It may be wrong, and jump in either direction when that is mended."""

    def elapsed_ms(self) -> int:
        """Milliseconds since some moment of the past: for spans of time. It never jumps."""

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let others run for so long."""
