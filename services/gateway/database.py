"""Settlement's tables as the door reads them. A database that is away or slow is `not_ready`, and no fault of the request's.

Read-only, and never in a transaction longer than one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg

from services.gateway.errors import ApiError
from services.runtime.supervise import AWAY

QUERY_S_MAX: Final = 3.0
"""A connection included: of a pool in which every query hangs none would ever come."""
_AWAY: Final = (*AWAY, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError)

Row = asyncpg.Record


class Database:
    """A pool's queries. Each raises ApiError not_ready when the database does not answer in time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def fetch(self, query: str, *arguments: object) -> list[Row]:
        """All rows."""
        async with _answering():
            return list(await self._pool.fetch(query, *arguments))

    async def fetchrow(self, query: str, *arguments: object) -> Row | None:
        """The first row."""
        async with _answering():
            return await self._pool.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: object) -> Any:  # noqa: ANN401 # whatever the column holds
        """The first row's first column."""
        async with _answering():
            return await self._pool.fetchval(query, *arguments)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Any]:
        """A connection on which several queries see one moment."""
        async with (
            _answering(),
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection


@contextlib.asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(QUERY_S_MAX):
            yield
    except _AWAY as error:
        raise ApiError("not_ready") from error
