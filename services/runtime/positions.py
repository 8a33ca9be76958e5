"""Positions in a log: where a reader goes on, and the hash of the last record it consumed.

An offset alone says nothing: a log may have been cut, or replaced by another that happens to be as long. So every stored
position carries BLAKE2b-128 of the value of the record before it, and whoever takes it up reads that record again.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from services.runtime.errors import Halt
from services.runtime.log import Log, OutOfRange, Record

_PATIENCE_MS: Final = 10_000


class Position(NamedTuple):
    """`next_offset`: one above the last record consumed. `last_hash`: of that record; empty at offset 0."""

    next_offset: int
    last_hash: bytes


START: Final = Position(0, b"")


def record_hash(value: bytes) -> bytes:
    """BLAKE2b-128 of a record's value, 16 bytes."""
    return hashlib.blake2b(value, digest_size=16).digest()


def after(record: Record) -> Position:
    """The position of whoever has consumed `record` and everything before it."""
    return Position(record.offset + 1, record_hash(record.value))


async def verify(log: Log, position: Position) -> None:
    """The log still holds what was consumed up to here. Raises Halt with the reason why not."""
    reason = await contradiction(log, position)
    if reason:
        raise Halt(reason)


async def contradiction(log: Log, position: Position) -> str:
    """Why the log is not the one that `position` was taken in; empty: it is."""
    where = f"{log.topic}/{log.partition}"
    first, end = await log.bounds()
    if position.next_offset == 0:
        if first == 0:
            return ""
        return (
            f"{where} was cut: it begins at {first}, and nothing of it has been read yet; "
            "what was before is in the archive (HOURBOOK_DATA/archive)"
        )
    last = position.next_offset - 1
    if not first <= last < end:
        return f"{where} holds {first}..{end - 1}, and record {last} has been read from it: it was cut or replaced"
    record = await read_one(log, last)
    if record is None or record.offset != last:
        return f"{where} has no record {last} any more, and it has been read: the log was replaced"
    found = record_hash(record.value)
    if found != position.last_hash:
        return (
            f"{where} record {last} has hash {found.hex()}, and {position.last_hash.hex()} was read there: "
            "the log was replaced"
        )
    return ""


async def read_one(log: Log, offset: int) -> Record | None:
    """The first record at or after `offset`, if there is one within ten seconds."""
    try:
        records = await log.read(offset, count=1, wait_ms=_PATIENCE_MS)
    except OutOfRange:
        return None
    return records[0] if records else None
