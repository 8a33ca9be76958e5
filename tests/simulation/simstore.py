"""A simulated database: rows by key, a batch whole or not at all, compare-and-set first; and who connects to it.

A commit may be lost, may be done although its caller hears that the database is away, and may be done after its caller has
died or has begun a new life. Like the real store, this one works on a batch while the next is being made.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from services.settlement import rows
from services.settlement.ledger import BalanceKey
from services.settlement.rows import Delivery
from services.settlement.state import Batch, Loaded
from services.settlement.store import Conflict, Recall, Recalled, StoreAway
from tests.simulation.world import Process, Signal, Wait, World

Tuple = tuple[Any, ...]
COLUMNS: Final = {kind.TABLE.name: kind.__struct_fields__ for kind in rows.ROWS}
KEYS: Final = {kind.TABLE.name: kind.TABLE.key for kind in rows.ROWS}
MAY_BE_NEGATIVE: Final = (1, 11)
"""Accounts of the outside world, and titles owed."""


class SimDatabase:
    """What is durable; outlives every process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, dict[Tuple, Tuple]] = {name: {} for name in KEYS}
        self.balances: dict[BalanceKey, int] = {}
        self.entries: dict[Tuple, Tuple] = {}
        self.entered: list[Tuple] = []
        """The same, in the order in which they came."""
        self.postings: list[Tuple] = []
        self.touched: dict[str, dict[Tuple, None]] = {name: {} for name in KEYS}
        """Keys of rows that `simtables` has not read since they changed."""
        self.touched_balances: dict[BalanceKey, None] = {}
        self.commits = 0
        self.away = False
        self.unknown_permille = 0
        self.begun: dict[tuple[str, int], int] = {}
        """(topic, partition) -> where its cursor may come to by what is on its way."""
        self.did: Counter[str] = Counter()
        """How often each fault has come true."""

    def write(self, batch: Batch) -> None:
        """One transaction. Raises Conflict, having done nothing."""
        cursors = self.tables["cursors"]
        key = (batch.cursor.topic, batch.cursor.partition)
        if not self.follows(batch, cursors.get(key)):
            raise Conflict(f"commit {batch.commit} after {self.commits}")
        self.commits += 1
        cursors[key] = tuple(batch.cursor.row())
        self.touched["cursors"][key] = None
        for entry in batch.posted.entries:
            assert entry[:4] not in self.entries, f"S1: entry {entry[:4]} twice"
            self.entries[entry[:4]] = entry
        self.entered += batch.posted.entries
        self.postings += batch.posted.postings
        for change in batch.posted.balances:
            self.balances[change.key] = self.balances.get(change.key, 0) + change.delta
            self.touched_balances[change.key] = None
            assert self.balances[change.key] >= 0 or change.key[0] in MAY_BE_NEGATIVE, f"M3: {change.key}"
        for name, changes in batch.changes.items():
            table, width, touched = self.tables[name], KEYS[name], self.touched[name]
            for key in changes.removed:
                del table[key]
                touched[key] = None
            for row in changes.created:
                assert row[:width] not in table, f"S1: {name}: {row[:width]} is there already"
                table[row[:width]] = row
                touched[row[:width]] = None
            for row in changes.changed:
                assert row[:width] in table, f"S1: {name}: {row[:width]} is not there"
                table[row[:width]] = row
                touched[row[:width]] = None

    def follows(self, batch: Batch, cursor: Tuple | None) -> bool:
        """The compare of compare-and-set: number of commits, and the log's position."""
        before = batch.before.row() if batch.before.next_offset else None
        # The cursor's time is not compared.
        return self.commits == batch.commit and (cursor and cursor[:6]) == (before and tuple(before[:6]))

    def row(self, table: str, *key: object) -> dict[str, Any] | None:
        """One row by its key, by column."""
        found = self.tables[table].get(key)
        return None if found is None else dict(zip(COLUMNS[table], found, strict=True))

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """All rows of a table, by column."""
        return (dict(zip(COLUMNS[table], row, strict=True)) for row in self.tables[table].values())

    def live(self) -> dict[str, list[Tuple]]:
        """What `rows.Table.live` selects, table by table."""
        alive = {row["contract"] for row in self.rows("contracts") if not row["paid_out"]}
        titles = {
            (row["shard"], row["title"])
            for row in self.rows("titles")
            if row["contract"] in alive and row["state"] != "settled"
        }
        wanted: dict[str, Callable[[dict[str, Any]], bool]] = {
            "contracts": lambda row: not row["paid_out"],
            "orders": lambda row: row["state"] == "open",
            "blocks": lambda row: row["state"] == "open",
            "titles": lambda row: (row["shard"], row["title"]) in titles,
            "claims": lambda row: (row["shard"], row["title"]) in titles,
            "procurements": lambda row: row["contract"] in alive,
            "deliveries": lambda row: row["state"] == "waiting",
            "requests": lambda row: row["state"] == "pending",
            "payouts": lambda row: row["state"] in ("requested", "sent"),
            "outbox": lambda row: not row["confirmed"],
        }
        found = {}
        for kind in rows.ROWS:
            table = kind.TABLE
            assert table.live in ("true", "false") or table.name in wanted, f"{table.name}: WHERE {table.live}"
            if table.live != "false":
                wants = wanted.get(table.name, lambda _: True)
                found[table.name] = [tuple(row.values()) for row in self.rows(table.name) if wants(row)]
        return found


class _Commit:
    """A batch on its way."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.away = False
        """Its caller will hear that the database is away, whatever becomes of it."""
        self.conflict: Conflict | None = None
        self.done = False
        self.over = Signal()


class SimStore:
    """`services.settlement.postgres_store.PostgresStore`: one process's connection."""

    def __init__(self, database: SimDatabase) -> None:
        self._db = database
        self._world = database.world
        self._broken = False
        self._writing: _Commit | None = None
        self._durable = 0

    def close(self) -> None:
        """Drop the connection; what is being committed may be done all the same."""
        self._broken = True

    async def load(self) -> Loaded:
        await self._ask()
        self._durable = self._db.commits
        balances = [(key, amount) for key, amount in self._db.balances.items() if amount]
        return Loaded(self._db.live(), balances, self._db.commits)

    async def recall(self, ask: Recall) -> Recalled:
        await self.flush()
        await self._ask()
        db = self._db
        digests = {name: row["digest"] for name in ask.requests if (row := db.row("requests", name)) is not None}
        deposits = {key for key in ask.deposits if key in db.tables["deposits"]}
        deliveries = {key: Delivery(**row) for key in ask.deliveries if (row := db.row("deliveries", *key)) is not None}
        return Recalled(digests, deposits, deliveries)

    async def commit(self, batch: Batch) -> int:
        durable = await self.flush()
        await self._ask()
        chance, db = self._world.chance("commits"), self._db
        commit = self._writing = _Commit(batch)
        where = (batch.cursor.topic, batch.cursor.partition)
        db.begun[where] = max(batch.cursor.next_offset, db.begun.get(where, 0))
        fate = ""
        if chance.randrange(1000) < db.unknown_permille:
            fate = chance.choice(["lost", "done", "done late"])
            db.did[f"commit unknown, {fate}"] += 1

        process = cast("Process", asyncio.get_running_loop())

        def land() -> None:
            # Killed before the statement COMMIT was out, it is rolled back.
            rolled_back = not process.alive and chance.random() < 0.5
            db.did["commit rolled back"] += rolled_back
            try:
                if fate != "lost" and not rolled_back:
                    db.write(batch)
            except Conflict as error:
                commit.conflict = error
                db.did["conflict"] += 1
            commit.done = True
            commit.over.fire()

        # On its way from here on, whatever becomes of its caller.
        commit.away = bool(fate)
        self._world.later(chance.randint(20, 1_500) if fate == "done late" else chance.randint(0, 8), land)
        return durable

    async def flush(self) -> int:
        commit, self._writing = self._writing, None
        if commit is not None:
            if commit.away:
                await Wait(self._world.now_ms + self._world.chance("commits").choice([1, 10, 100, 1_000]))
                self._broken = True
                raise StoreAway("simulated: the connection broke during a commit")
            if not commit.done:
                await Wait(self._world.now_ms + 60_000, commit.over)
            if commit.conflict is not None:
                raise commit.conflict
            self._durable = commit.batch.commit + 1
        return self._durable

    async def _ask(self) -> None:
        await Wait(self._world.now_ms + int(self._world.chance("latency").random() * 4))
        if self._db.away or self._broken:
            raise StoreAway("simulated: the database is away")
