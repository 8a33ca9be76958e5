"""The log of what a room has decided: written by whoever has its lease, and a decision counts once it is read back from there.

A room begins with a record of its own. What an earlier one still writes comes after it, and the room's state passes it over; a
record of a later epoch ends this life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from schemas.codec import UNREADABLE
from services.runtime.errors import Halt, Superseded
from services.runtime.log import Log, Outgoing

T = TypeVar("T")
READ_MAX: Final = 500
READ_WAIT_MS: Final = 1_000


class Decided(Generic[T]):
    """Of one life. Records have the `epoch` of their writer."""

    def __init__(self, log: Log, kind: Any, epoch: int, take: Callable[[T], None], wrong: type[Exception]) -> None:  # noqa: ANN401 # a union of structs
        """`kind`: of its records. `take` applies one, and raises `wrong` for what contradicts those before it."""
        self._log = log
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._epoch = epoch
        self._take = take
        self._wrong = wrong
        self._offset = 0

    async def begin(self, record: T) -> None:
        """`record` says that this room has begun; takes all up to it. Raises Halt, Superseded."""
        first, _ = await self._log.bounds()
        if first > 0:
            raise Halt(f"{self._log.topic} begins at {first}: it is to be kept whole")
        await self.record([record])

    async def record(self, records: Sequence[T]) -> None:
        """Write, and go by what the log then has: only so much has been decided. Raises Halt, Superseded."""
        if not records:
            return
        await self._log.append([Outgoing(msgspec.msgpack.encode(record)) for record in records])
        await self._read()

    async def _read(self) -> None:
        """To the end that it has now."""
        _, end = await self._log.bounds()
        while self._offset < end:
            for record in await self._log.read(self._offset, count=READ_MAX, wait_ms=READ_WAIT_MS):
                try:
                    self._apply(self._decoder.decode(record.value))
                except (*UNREADABLE, self._wrong) as error:
                    raise Halt(f"{self._log.topic} offset {record.offset}: {error}") from error
                self._offset = record.offset + 1

    def _apply(self, record: Any) -> None:  # noqa: ANN401 # one of `kind`
        if record.epoch > self._epoch:
            raise Superseded(f"a room of epoch {record.epoch} has begun, ours is {self._epoch}")
        self._take(record)
