"""A simulated database for settlement: rows by key, a batch whole or not at all, compare-and-set first.

A commit may be lost, may be done although its caller hears that the database is away, and may be done after its caller died.
"""

from __future__ import annotations

from services.settlement import rows
from services.settlement.ledger import BalanceKey
from services.settlement.rows import Delivery
from services.settlement.state import Batch, Loaded
from services.settlement.store import Conflict, Recall, Recalled, StoreAway
from tests.simulation.world import Wait, World

Tuple = tuple[object, ...]
KEYS = {kind.TABLE.name: kind.TABLE.key for kind in rows.ROWS}
LIVE = {kind.TABLE.name for kind in rows.ROWS if kind.TABLE.live != "false"}


class SimDatabase:
    """What is durable; outlives every process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tables: dict[str, dict[Tuple, Tuple]] = {name: {} for name in KEYS}
        self.balances: dict[BalanceKey, int] = {}
        self.entries: dict[Tuple, Tuple] = {}
        self.postings: list[Tuple] = []
        self.commits = 0
        self.away = False
        self.unknown_permille = 0

    def write(self, batch: Batch) -> None:
        """One transaction. Raises Conflict, having done nothing."""
        cursors = self.tables["cursors"]
        key = (batch.cursor.topic, batch.cursor.partition)
        there = cursors.get(key)
        before = batch.before.row() if batch.before.next_offset else None
        if self.commits != batch.commit or (there[:6] if there else None) != (before[:6] if before else None):
            raise Conflict(f"commit {batch.commit} after {self.commits}")
        self.commits += 1
        cursors[key] = tuple(batch.cursor.row())
        for entry in batch.posted.entries:
            assert entry[:4] not in self.entries, f"S1: entry {entry[:4]} twice"
            self.entries[entry[:4]] = entry
        self.postings += batch.posted.postings
        for change in batch.posted.balances:
            self.balances[change.key] = self.balances.get(change.key, 0) + change.delta
            assert self.balances[change.key] >= 0 or change.key[0] in (1, 11), f"M3: {change.key}"
        for name, changes in batch.changes.items():
            table, width = self.tables[name], KEYS[name]
            for key in changes.removed:
                del table[key]
            for row in changes.created:
                assert row[:width] not in table or name == "refusals", f"{name}: {row[:width]} is there already"
                table[row[:width]] = row
            for row in changes.changed:
                assert row[:width] in table, f"{name}: {row[:width]} is not there"
                table[row[:width]] = row


class SimStore:
    """`services.settlement.store.Store`: one process's connection."""

    def __init__(self, database: SimDatabase) -> None:
        self._db = database
        self._world = database.world
        self._broken = False

    async def load(self) -> Loaded:
        await self._ask()
        found = {name: list(table.values()) for name, table in self._db.tables.items() if name in LIVE}
        return Loaded(found, list(self._db.balances.items()), self._db.commits)

    async def recall(self, ask: Recall) -> Recalled:
        await self._ask()
        tables = self._db.tables
        requests = {name: tables["requests"].get((name,)) for name in ask.requests}
        deposits = {key for key in ask.deposits if key in tables["deposits"]}
        deliveries = {key: tables["deliveries"].get(key) for key in ask.deliveries}
        return Recalled(
            {name: row[2] for name, row in requests.items() if row is not None},  # type: ignore[misc]  # the digest's column
            deposits,
            {key: Delivery(*row) for key, row in deliveries.items() if row is not None},  # type: ignore[arg-type]  # its columns
        )

    async def commit(self, batch: Batch) -> int:
        await self._ask()
        done: list[Conflict | None] = []
        chance = self._world.chance("commits")

        def land() -> None:
            try:
                self._db.write(batch)
                done.append(None)
            except Conflict as error:
                done.append(error)

        # On its way from here on: it is done even when its caller dies meanwhile.
        self._world.later(chance.randint(0, 8), land)
        unknown = chance.randrange(1000) < self._db.unknown_permille
        await Wait(self._world.now_ms + 60_000, lambda: bool(done))
        if unknown:
            self._broken = True
            raise StoreAway("simulated: the connection broke during a commit")
        if done[0] is not None:
            raise done[0]
        return self._db.commits

    async def flush(self) -> int:
        await self._ask()
        return self._db.commits

    async def _ask(self) -> None:
        await Wait(self._world.now_ms + self._world.chance("latency").randint(0, 3))
        if self._db.away or self._broken:
            raise StoreAway("simulated: the database is away")
