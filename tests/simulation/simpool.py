"""A gateway's connections to the simulated database: the statements of its order path, each answered from the tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.commands import Ground
from services.gateway import idle, reads
from tests.simulation.simstore import COLUMNS, SimDatabase, Tuple
from tests.simulation.world import Wait

Row = dict[str, Any]
MEMBERS_OWN: Final = (2, 3, 4, 5, 8)
"""Kinds of accounts whose `ref` is a member's."""


class SimPool:
    """`asyncpg.Pool`. A statement that is not known here is a fault of the simulation: it has to learn it."""

    def __init__(self, database: SimDatabase) -> None:
        self._db = database

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        await Wait(self._db.world.now_ms + int(self._db.world.chance("latency").random() * 4))
        if self._db.away:
            raise OSError("simulated: the database is away")
        return _ANSWERS[statement](self._db, *values)

    async def fetchrow(self, statement: str, *values: object) -> Row | None:
        found = await self.fetch(statement, *values)
        return found[0] if found else None

    async def fetchval(self, statement: str, *values: object) -> object:
        row = await self.fetchrow(statement, *values)
        return None if row is None else next(iter(row.values()))


def _cursors(db: SimDatabase) -> list[Row]:
    return [row for row in db.rows("cursors") if row["topic"] == "events"]


def _classes(db: SimDatabase) -> list[Row]:
    return sorted((row for row in db.rows("classes") if row["listed"]), key=lambda row: row["class_id"])


def _order(db: SimDatabase, order: int, account: int) -> list[Row]:
    row = db.row("orders", order)
    return [row] if row is not None and row["account"] == account else []


def _block(db: SimDatabase, order: int, account: int) -> list[Row]:
    row = db.row("blocks", order)
    return [row] if row is not None and row["account"] == account else []


def _known(db: SimDatabase, account: int, client_id: str) -> list[Row]:
    """What a client order id stands for."""
    found = []
    for table in ("orders", "blocks"):
        place, owner = COLUMNS[table].index("client_id"), COLUMNS[table].index("account")
        rows = [row for row in db.tables[table].values() if row[place] == client_id and row[owner] == account]
        named = (dict(zip(COLUMNS[table], row, strict=True)) for row in rows)
        found += [{**row, "is_block": table == "blocks"} for row in named]
    return sorted(found, key=lambda row: (-row["accepted_ms"], row["order_id"]))[:1]


def _desk(db: SimDatabase, account: int) -> list[Row]:
    row = db.row("accounts", account)
    return [{"desk": row["desk"]}] if row is not None else []


def _request(db: SimDatabase, request_id: str) -> list[Row]:
    row = db.row("requests", request_id)
    return [{**row, "outcome": json.dumps(row["outcome"])}] if row is not None else []


def _idle(db: SimDatabase, before_ms: int) -> list[Row]:
    """Trading balances without an open order, block or quote, a promise, or a movement since."""
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


_ANSWERS: Final[Mapping[str, Callable[..., list[Row]]]] = {
    "SELECT partition, seq, time_ms FROM settlement.cursors WHERE topic = 'events'": _cursors,
    "SELECT * FROM settlement.classes WHERE listed ORDER BY class_id": _classes,
    "SELECT * FROM settlement.orders WHERE order_id = $1 AND account = $2": _order,
    "SELECT * FROM settlement.blocks WHERE order_id = $1 AND account = $2": _block,
    reads._KNOWN_SQL: _known,
    "SELECT desk FROM settlement.accounts WHERE account = $1": _desk,
    idle._SQL: _idle,
    "SELECT request_id, digest, state, code, need, have, outcome FROM settlement.requests WHERE request_id = $1": _request,
}
