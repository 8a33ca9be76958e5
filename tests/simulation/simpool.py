"""Connections to the simulated database: production's own statements, answered from the tables by `simtables`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final, Self

from schemas.commands import Ground
from services.gateway import idle
from services.gateway.reads import client_ids
from tests.simulation.simstore import SimDatabase, Tuple
from tests.simulation.simtables import Row, SimTables
from tests.simulation.world import Wait

NEWEST_SQL: Final = """
    SELECT $1 AS account, $2 AS client_id, order_id, is_block FROM (
        SELECT order_id, accepted_ms, false AS is_block FROM settlement.orders WHERE account = $1 AND client_id = $2
        UNION ALL
        SELECT order_id, accepted_ms, true FROM settlement.blocks WHERE account = $1 AND client_id = $2
    ) ORDER BY accepted_ms DESC, order_id LIMIT 1
"""
MEMBERS_OWN: Final = (2, 3, 4, 5, 8)
"""Kinds of accounts whose `ref` is a member's."""


class SimPool:
    """`asyncpg.Pool`."""

    def __init__(self, database: SimDatabase, tables: SimTables) -> None:
        self._db = database
        self._tables = tables

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        await self._reach()
        return self._answer(statement, *values)

    async def fetchrow(self, statement: str, *values: object) -> Any:
        found = await self.fetch(statement, *values)
        return found[0] if found else None

    async def fetchval(self, statement: str, *values: object) -> Any:
        row = await self.fetchrow(statement, *values)
        return None if row is None else next(iter(row.values() if isinstance(row, dict) else row))

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[SimConnection]:
        """A connection, on which nothing waits: what is asked on it is of one moment."""
        await self._reach()
        yield SimConnection(self._answer)

    def get_size(self) -> int:
        """Connections, of which none is ever busy: what is asked is answered at one moment."""
        return 1

    def get_idle_size(self) -> int:
        return 1

    async def _reach(self) -> None:
        await Wait(self._db.world.now_ms + int(self._db.world.chance("latency").random() * 4))
        if self._db.away:
            raise OSError("simulated: the database is away")

    def _answer(self, statement: str, *values: object) -> list[Any]:
        if statement == idle._SQL:
            return _idle(self._db, *values)  # type: ignore[arg-type]  # a moment
        if statement == client_ids._SQL:
            return _stand_for(self._tables, *values)  # type: ignore[arg-type]  # two lists
        return self._tables.answer(statement, *values)


class SimConnection(contextlib.AbstractAsyncContextManager[Any]):
    """One of a pool's; also its transaction."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def transaction(self, **_: object) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It has only read."""

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        return self._answer(statement, *values)  # type: ignore[no-any-return]

    async def fetchval(self, statement: str, *values: object) -> Any:
        return (await self.fetch(statement, *values))[0][0]


def _stand_for(tables: SimTables, accounts: list[int], ids: list[str]) -> list[Row]:
    """`reads.client_ids`, id by id: SQLite has no LATERAL."""
    return [row for asked in zip(accounts, ids, strict=True) for row in tables.answer(NEWEST_SQL, *asked)]


def _idle(db: SimDatabase, before_ms: int) -> list[dict[str, Any]]:
    """Trading balances without an open order, block or quote, a promise, or a movement since: SQLite has no LATERAL."""
    open_ones = [row for table in ("orders", "blocks") for row in db.rows(table) if row["state"] == "open"]
    busy = {(row["account"], row["shard"]) for row in (*open_ones, *(row for row in db.rows("quotes") if row["hours"]))}
    shard_of = {row["contract"]: row["shard"] for row in db.rows("contracts")}
    busy |= {
        (row["account"], shard_of.get(row["contract"]))
        for row in db.rows("backing")
        if row["ground"] in (Ground.PROMISED, Ground.READY) and (row["qty"] or row["owed"])
    }
    last: dict[tuple[int, int], Tuple] = {}
    for source, shard, seq, index, _, kind, _, ref, _, _ in db.postings:
        if source == 1 and kind in MEMBERS_OWN:
            last[ref, shard] = max(last.get((ref, shard), ()), (source, shard, seq, index))
    found = []
    for (kind, shard, account, asset), amount in db.balances.items():
        moved = last.get((account, shard))
        if (kind, asset) != (5, 0) or amount <= 0 or (account, shard) in busy or moved is None:
            continue
        if db.entries[moved][5] <= before_ms:
            found.append({"account": account, "shard": shard, "amount": amount, "seq": moved[2]})
    return found[:100]
