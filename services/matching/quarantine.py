"""Records of `commands` that an operator has taken out of the market: topic `quarantine`, read before `commands`.

Record: `[1, partition, offset, hash, reason, operator]`, one MessagePack document; `hash` is BLAKE2b-128 of the banned record's
value. The banned record causes no command; its output is one record of `events` without events, so `seq` stays a function
of the log. A record is banned for ever, and only before it has had an output: afterwards every replay would
contradict what was said.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE, decode_record
from services.runtime.errors import Halt
from services.runtime.log import Log, Outgoing, Record
from services.runtime.positions import read_one, record_hash

_FORMAT: Final = 1


class Quarantine(Struct, array_like=True, frozen=True, gc=False):
    """One record of the topic."""

    format: int
    partition: int
    offset: int
    hash: bytes
    reason: str
    operator: str


_decoder = msgspec.msgpack.Decoder(Quarantine)


class QuarantineReader:
    """What is banned in one partition, as far as the topic has been read."""

    def __init__(self, log: Log, partition: int) -> None:
        self._log = log
        self._partition = partition
        self._next = 0
        self.banned: dict[int, bytes] = {}
        """Offset → hash."""

    async def refresh(self) -> None:
        """Read on to the topic's present end. Raises Halt for a record that is not one."""
        first, end = await self._log.bounds()
        if first > 0:
            raise Halt(f"quarantine was cut: it begins at {first}, and every replay needs all of it")
        while self._next < end:
            for record in await self._log.read(self._next, wait_ms=1000):
                self._take(record)
                self._next = record.offset + 1

    def _take(self, record: Record) -> None:
        try:
            entry = _decoder.decode(record.value)
        except UNREADABLE as error:
            raise Halt(f"quarantine offset {record.offset} is not a quarantine record: {error}") from error
        if entry.format != _FORMAT:
            raise Halt(f"quarantine offset {record.offset} has format {entry.format}, this build reads {_FORMAT}")
        if entry.partition == self._partition:
            self.banned.setdefault(entry.offset, entry.hash)


async def ban(
    commands: Log, events: Log, quarantine: Log, *, offset: int, hash_hex: str, reason: str, operator: str
) -> None:
    """Ban the record at `offset` of `commands`; `hash_hex` is what matching said when it stopped.

    Raises Halt, and writes nothing, when the record there has another hash or has had its output already.
    """
    record = await read_one(commands, offset)
    if record is None or record.offset != offset:
        raise Halt(f"commands/{commands.partition} has no record {offset}")
    found = record_hash(record.value)
    if found.hex() != hash_hex:
        raise Halt(f"commands/{commands.partition} offset {offset} has hash {found.hex()}, not {hash_hex}")
    done = await last_offset_answered(events)
    if done >= offset:
        raise Halt(f"commands/{commands.partition} offset {offset} was applied already: events has come to {done}")
    # From here on it is banned.
    entry = Quarantine(_FORMAT, commands.partition, offset, found, reason, operator)
    await quarantine.append([Outgoing(msgspec.msgpack.encode(entry))])


async def last_offset_answered(events: Log) -> int:
    """The highest offset of `commands` with an output among the last records of `events`; -1: none."""
    first, end = await events.bounds()
    answered = -1
    start = max(first, end - 1000)
    while start < end:
        for record in await events.read(start, wait_ms=1000):
            # Repeats of a stale writer may follow newer records: the highest counts.
            answered = max(answered, decode_record(record.value).offset)
            start = record.offset + 1
    return answered
