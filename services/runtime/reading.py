"""How a room follows a log for ever: record by record, and `events` of a shard as the outputs that they are.

reader = EventsReader(log)
for record in await reader.read():
    output = reader.output(record)   # None: a repeat

What cannot be read on ends the room's life, with its place: nothing is ever skipped.
"""

from __future__ import annotations

from typing import Final

from schemas.codec import BrokenRecord, ChainReader, EventsRecord, Gap
from services.runtime.errors import Halt
from services.runtime.log import Log, OutOfRange, Record

READ_MAX: Final = 500
READ_WAIT_MS: Final = 1_000


class Reader:
    """One log."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.next_offset = 0

    @property
    def where(self) -> str:
        """For sentences."""
        return f"{self.log.topic}/{self.log.partition}"

    async def read(self) -> list[Record]:
        """The next records; empty: there are none. Raises Halt."""
        try:
            records = await self.log.read(self.next_offset, count=READ_MAX, wait_ms=READ_WAIT_MS)
        except OutOfRange as error:
            raise Halt(f"{self.where}: {error}") from error
        if records:
            self.next_offset = records[-1].offset + 1
        return records

    def halt(self, record: Record, error: Exception) -> Halt:
        """What of a record contradicts what is known."""
        return Halt(f"{self.where} offset {record.offset}: {type(error).__name__}: {error}")


class EventsReader(Reader):
    """`events` of a shard."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._chain = ChainReader()

    @property
    def seq(self) -> int:
        """Of the last output that was read."""
        return self._chain.seq

    def output(self, record: Record) -> EventsRecord | None:
        """What a record says; None: it repeats another. Raises Halt."""
        try:
            return self._chain.read(record.headers, record.value, self.log.partition)
        except (Gap, BrokenRecord) as error:
            raise self.halt(record, error) from error
