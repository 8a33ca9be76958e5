"""What the auditor reads of settlement's tables, at one moment; it writes nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from schemas.commands import OutboxCommand
from services.audit.expected import Line

Connection = asyncpg.Connection | PoolConnectionProxy
Entry = tuple[int, int]
"""(seq, index) of an entry of one source and shard."""
NOWHERE: Final = (0, b"", 0, bytes(16))

_outbox: msgspec.msgpack.Decoder[OutboxCommand] = msgspec.msgpack.Decoder(OutboxCommand)


class Cursor(NamedTuple):
    """How far settlement has read a log; seq and chain: of `events`."""

    next_offset: int
    last_hash: bytes
    seq: int
    chain: bytes


async def cursors(db: Connection) -> dict[tuple[str, int], Cursor]:
    """(topic, partition) -> cursor."""
    rows = await db.fetch("SELECT topic, partition, next_offset, last_hash, seq, chain FROM settlement.cursors")
    return {
        (row["topic"], row["partition"]): Cursor(
            row["next_offset"], bytes(row["last_hash"]), row["seq"], bytes(row["chain"])
        )
        for row in rows
    }


async def entries(db: Connection, source: int, shard: int) -> dict[Entry, list[Line]]:
    """Every entry of a source and shard with its postings; postings without an entry and entries without any are there too."""
    found: defaultdict[Entry, list[Line]] = defaultdict(list)
    for row in await db.fetch(
        "SELECT seq, index FROM settlement.entries WHERE source = $1 AND shard = $2", source, shard
    ):
        found[row["seq"], row["index"]] = []
    for row in await db.fetch(
        "SELECT seq, index, kind, account_shard, ref, asset, amount FROM settlement.postings"
        " WHERE source = $1 AND shard = $2",
        source,
        shard,
    ):
        line = (row["kind"], row["account_shard"], row["ref"], row["asset"], row["amount"])
        found[row["seq"], row["index"]].append(line)
    return dict(found)


async def refused(db: Connection, source: int) -> dict[int, str]:
    """Offset of a record that settlement refused -> the code."""
    rows = await db.fetch("SELECT log_offset, code FROM settlement.refusals WHERE source = $1", source)
    return {row["log_offset"]: row["code"] for row in rows}


class Sent(NamedTuple):
    """A message in the outbox."""

    command: OutboxCommand
    request_id: str
    confirmed: bool


async def outbox(db: Connection, shard: int) -> dict[int, Sent]:
    """Number -> message."""
    rows = await db.fetch("SELECT outbox, body, request_id, confirmed FROM settlement.outbox WHERE shard = $1", shard)
    return {row["outbox"]: Sent(_outbox.decode(row["body"]), row["request_id"], row["confirmed"]) for row in rows}


async def balances(db: Connection, kind: int, shard: int) -> dict[int, int]:
    """ref -> µUSD, where it is not zero."""
    rows = await db.fetch(
        "SELECT ref, amount FROM settlement.balances WHERE kind = $1 AND shard = $2 AND asset = 0 AND amount <> 0",
        kind,
        shard,
    )
    return {row["ref"]: row["amount"] for row in rows}
