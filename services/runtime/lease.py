"""Who may start writing: a lease by name, with an epoch that only rises.

A lease decides who *starts*. It does not fence: an active writer goes on without the database, and stops when it reads a
higher epoch in the log it writes. Two writers of one version write the same bytes, so the overlap is harmless.
Time is the database's clock; holders compare nothing with their own.
"""

from __future__ import annotations

from typing import Protocol

import asyncpg


class Lease(Protocol):
    """Leases by name. Any method may raise what its store raises when it is away: nothing has changed then, or it has."""

    async def acquire(self, name: str, holder: str, ttl_ms: int, *, above: int = 0) -> int | None:
        """The new epoch, higher than any before and than `above` (the epoch last seen in the log, which survives
        a database restored from an older copy); None: another holds it. Whoever holds it gets a new epoch."""

    async def renew(self, name: str, holder: str, epoch: int, ttl_ms: int) -> bool:
        """Hold it for `ttl_ms` from now. False: another epoch has begun."""

    async def release(self, name: str, holder: str, epoch: int) -> None:
        """Let it run out now, if it is still ours."""


class PostgresLease:
    """`Lease` in table `runtime.leases`; see `postgres.migrate_runtime`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def acquire(self, name: str, holder: str, ttl_ms: int, *, above: int = 0) -> int | None:
        """The new epoch, or None: another holds it."""
        epoch: int | None = await self._pool.fetchval(
            f"""
            INSERT INTO runtime.leases AS held (name, epoch, holder, expires_ms)
            VALUES ($1, $4 + 1, $2, {_NOW} + $3)
            ON CONFLICT (name) DO UPDATE
            SET epoch = greatest(held.epoch, $4) + 1, holder = $2, expires_ms = {_NOW} + $3
            WHERE held.expires_ms <= {_NOW} OR held.holder = $2
            RETURNING epoch
            """,
            name, holder, ttl_ms, above,
        )
        return epoch

    async def renew(self, name: str, holder: str, epoch: int, ttl_ms: int) -> bool:
        """False: another epoch has begun."""
        renewed = await self._pool.fetchval(
            f"UPDATE runtime.leases SET expires_ms = {_NOW} + $4 WHERE name = $1 AND holder = $2 AND epoch = $3 RETURNING 1",
            name, holder, epoch, ttl_ms,
        )
        return renewed is not None

    async def release(self, name: str, holder: str, epoch: int) -> None:
        """Let it run out now, if it is still ours."""
        await self._pool.execute(
            "UPDATE runtime.leases SET expires_ms = 0 WHERE name = $1 AND holder = $2 AND epoch = $3", name, holder, epoch
        )


_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
