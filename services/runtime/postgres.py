"""Postgres for every room: a pool, and numbered SQL migrations.

    pool = await open_pool(settings.postgres)
    await migrate(pool, "settlement", Path(__file__).parent / "migrations")     # creates schema `settlement`
    await migrate_runtime(pool)                                                 # schema `runtime`: leases

A migration is a file `NNN_what.sql`, numbered 001, 002, ... without a hole, run once, whole or not at all, in order. Applied
ones are kept with their hash in `runtime.migrations`: such a file never changes again. Several processes may migrate at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from services.runtime.errors import Halt

_FILE = re.compile(r"(\d{3})_[a-z0-9_]+\.sql")
AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    # Said of a connection on which a dying server's last words were read, and its end not yet.
    asyncpg.InternalClientError,
)
"""Errors of a database that does not answer. `OSError`: refused, timed out (TimeoutError is one), disk full."""
_LOCK: Final = 0x686F7572
"""Of `pg_advisory_xact_lock`: one migration at a time in a database."""

_APPLIED: Final = "SELECT hash FROM runtime.migrations WHERE room = $1 ORDER BY number"


async def open_pool(dsn: str, *, size_max: int = 4) -> asyncpg.Pool:
    """A pool of at most `size_max` connections; statements end after 60 s. Raises OSError, asyncpg.PostgresError.

    A connection keeps its session from one user to the next: no room sets anything in it, listens, or takes a session's lock.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        command_timeout=60,
        reset=_as_it_is,
        server_settings={"application_name": "hourbook", "timezone": "UTC"},
    )


async def _as_it_is(connection: object) -> None:
    """By default each query is followed by one that resets the session: a second round trip before an answer."""


async def migrate(pool: asyncpg.Pool, room: str, folder: Path) -> int:
    """Bring schema `room` to the newest migration of `folder`; how many were applied.

    Raises Halt for a folder or a database that contradicts the rules above.
    """
    files = _numbered(folder)
    hashes = [hashlib.sha256(file.read_bytes()).digest() for file in files]
    applied = 0
    async with pool.acquire() as connection, connection.transaction():
        # A service's own role may read what was applied and create nothing: where all is applied, that is enough.
        if await connection.fetchval("SELECT to_regclass('runtime.migrations') IS NOT NULL"):
            found = _check(await connection.fetch(_APPLIED, room), room, files, hashes)
            if found == len(files):
                return 0
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute("CREATE SCHEMA IF NOT EXISTS runtime")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS runtime.migrations (room text, number int, file text NOT NULL, "
            "hash bytea NOT NULL, applied timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (room, number))"
        )
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{room}"')
        found = _check(await connection.fetch(_APPLIED, room), room, files, hashes)
        for number, file in enumerate(files[found:], start=found + 1):
            await connection.execute(file.read_text())
            await connection.execute(
                "INSERT INTO runtime.migrations (room, number, file, hash) VALUES ($1, $2, $3, $4)",
                room,
                number,
                file.name,
                hashes[number - 1],
            )
            applied += 1
    return applied


def _check(rows: Sequence[asyncpg.Record], room: str, files: list[Path], hashes: list[bytes]) -> int:
    """How many of the files are applied. Raises Halt when the database knows others."""
    if len(rows) > len(files):
        raise Halt(f"the database has {len(rows)} migrations of {room}, this build knows {len(files)}: it is older")
    for row, file, digest in zip(rows, files, hashes, strict=False):
        if row["hash"] != digest:
            raise Halt(f"migration {file.name} of {room} was changed after it had been applied")
    return len(rows)


async def migrate_runtime(pool: asyncpg.Pool) -> int:
    """Schema `runtime`: leases."""
    return await migrate(pool, "runtime", Path(__file__).parent / "migrations")


def _numbered(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.sql"))
    for number, file in enumerate(files, start=1):
        match = _FILE.fullmatch(file.name)
        if match is None or int(match[1]) != number:
            raise Halt(
                f"{file.name}: migrations are named NNN_what.sql, 001, 002, ... without a hole; wanted is {number:03d}"
            )
    if not files:
        raise Halt(f"no migrations in {folder.name}")
    return files
