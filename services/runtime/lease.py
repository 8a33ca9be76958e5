"""Who may start writing: a lease by name, with an epoch that only rises.

A lease decides who *starts*. It does not fence: an active writer goes on without the database, and stops when it reads a
higher epoch in the log it writes. Two writers of one version write the same bytes, so the overlap is harmless.
Time is the database's clock; holders compare nothing with their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from typing import Final, Protocol

import asyncpg

from services.runtime.errors import Superseded
from services.runtime.log import Clock
from services.runtime.postgres import AWAY
from services.runtime.status import Status

LEASE_MS: Final = 5_000
"""Of a room of which one process works, and others wait."""
_PATIENCE_S: Final = 0.4
"""An active writer asks in between two batches: a database that hangs must not hold up the market."""


class LeaseAway(Exception):
    """The store of leases does not answer; what was asked for may or may not have been done."""


class Lease(Protocol):
    """Leases by name. Any method may raise LeaseAway."""

    async def acquire(self, name: str, holder: str, ttl_ms: int, *, above: int = 0) -> int | None:
        """The new epoch, higher than any before and than `above`; None: another holds it.

        `above`: the epoch last seen in the log, which survives a database restored from an older copy. Whoever holds the
        lease already gets a new epoch.
        """

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
        acquire = f"""
            INSERT INTO runtime.leases AS held (name, epoch, holder, expires_ms)
            VALUES ($1, $4 + 1, $2, {_NOW} + $3)
            ON CONFLICT (name) DO UPDATE
            SET epoch = greatest(held.epoch, $4) + 1, holder = $2, expires_ms = {_NOW} + $3
            WHERE held.expires_ms <= {_NOW} OR held.holder = $2
            RETURNING epoch"""  # noqa: S608 # _NOW is ours
        return await self._ask(acquire, name, holder, ttl_ms, above)

    async def renew(self, name: str, holder: str, epoch: int, ttl_ms: int) -> bool:
        """False: another epoch has begun."""
        renew = f"""
            UPDATE runtime.leases SET expires_ms = {_NOW} + $4
            WHERE name = $1 AND holder = $2 AND epoch = $3 RETURNING epoch"""  # noqa: S608 # _NOW is ours
        return await self._ask(renew, name, holder, epoch, ttl_ms) is not None

    async def release(self, name: str, holder: str, epoch: int) -> None:
        """Let it run out now, if it is still ours."""
        release = "UPDATE runtime.leases SET expires_ms = 0 WHERE name = $1 AND holder = $2 AND epoch = $3"
        await self._ask(release, name, holder, epoch)

    async def _ask(self, statement: str, *values: object) -> int | None:
        with _away():
            async with asyncio.timeout(_PATIENCE_S):
                answer: int | None = await self._pool.fetchval(statement, *values)
        return answer


@contextlib.contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (*AWAY, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # Whatever a database says: who cannot hold a lease goes on, or waits.
        raise LeaseAway(repr(error)) from error


_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


# --- One of several works ------------------------------------------------------------------------------------


def holder_name() -> str:
    """Of this process: who looks into the table finds it; another with its number, on a restarted machine, is another."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


async def get_lease(lease: Lease, holder: str, clock: Clock, status: Status, name: str, *, above: int = 0) -> int:
    """Wait until nobody else has it; the epoch."""
    # Also where it has just lost the lease: of two that call themselves active one does nothing.
    status.set(role="follower")
    while True:
        try:
            epoch = await lease.acquire(name, holder, LEASE_MS, above=above)
        except LeaseAway as error:
            status.go_on("lease")
            status.wait("postgres", str(error))
        else:
            status.go_on("postgres")
            if epoch is not None:
                status.go_on("lease")
                return epoch
            status.wait("lease")
        await clock.sleep_ms(LEASE_MS // 3)


async def keep_lease(lease: Lease, holder: str, epoch: int, clock: Clock, name: str) -> None:
    """Renew it, for ever. Raises Superseded when another has begun.

    While the database is away nobody can begin, and no commit of ours goes through either.
    """
    while True:
        await clock.sleep_ms(LEASE_MS // 3)
        try:
            held = await lease.renew(name, holder, epoch, LEASE_MS)
        except LeaseAway:
            continue
        if not held:
            raise Superseded(f"another process is {name}, epoch {epoch} is over")
