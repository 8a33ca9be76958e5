"""A room of which one process works, and others wait for its lease: one life after the other, each with its own epoch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from services.runtime.errors import cause_of
from services.runtime.lease import LeaseAway, PostgresLease, get_lease, holder_name, keep_lease
from services.runtime.log import LogError
from services.runtime.supervise import Service

_AGAIN_MS: Final = 500


async def live(service: Service, pool: asyncpg.Pool, name: str, life: Callable[[int], Awaitable[None]]) -> None:
    """For ever. `life`, given its epoch, goes on until an exception ends it. `name`: of the lease.

    What waiting mends (a log, the database) begins the next life; what it does not is raised.
    """
    lease = PostgresLease(pool)
    # Two exchanges may share a database server, each with a database; a broker, each with a prefix.
    lease_name = f"{service.settings.topic_prefix}{name}"
    holder = holder_name()
    while True:
        epoch = await get_lease(lease, holder, service.clock, service.status, lease_name)
        service.status.set(epoch=epoch)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(lease, holder, epoch, service.clock, lease_name))
                await life(epoch)
        except BaseExceptionGroup as group:
            cause = cause_of(group)
            if not isinstance(cause, LogError | asyncpg.PostgresError | OSError):
                raise cause from group
            service.log.warning("this life is over", extra={"fields": {"error": repr(cause)}})
            service.status.wait("kafka", str(cause))
            await service.clock.sleep_ms(_AGAIN_MS)
        finally:
            with contextlib.suppress(LeaseAway):
                await lease.release(lease_name, holder, epoch)
