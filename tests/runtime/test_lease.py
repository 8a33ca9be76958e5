"""A lease while its database dies: whoever holds it is told that nobody can say, and goes on."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime.lease import LeaseAway, PostgresLease
from services.runtime.postgres import migrate_runtime, open_pool
from tests.runtime.wire import Wire


async def test_a_database_that_dies_between_two_renewals_is_away_and_no_fault(database: str) -> None:
    """Its last words are read before the end of the connection is: the library then speaks of an unexpected state."""
    wire = Wire(database)
    async with wire as dsn:
        pool = await open_pool(dsn, size_max=1)
        await migrate_runtime(pool)
        lease = PostgresLease(pool)
        epoch = await lease.acquire("matching-0", "a", 60_000)
        assert epoch == 1
        wire.die()
        await asyncio.sleep(0.05)
        with pytest.raises(LeaseAway):
            await lease.renew("matching-0", "a", epoch, 60_000)
        wire.cut()
        await asyncio.sleep(0.05)
        assert await lease.renew("matching-0", "a", epoch, 60_000), "and it is still ours when the database is back"
        await pool.close()
