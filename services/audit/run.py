"""One audit: both logs of every shard read from their beginning, an engine of its own, and the database at one moment.

1. A read-only snapshot of the database is opened; its cursors say how far settlement had come.
2. Per shard, `commands` is applied to a new engine record by record; each output is held against `events` (D1), and what stands
   there goes through the log model.
3. Where the shard's cursor stands, ledger, log model and engine are compared (M4, M5, M7, C1, C6, B5, S1).
4. The logs are read on to their present end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import asyncpg

from schemas.codec import ChainReader, EventsRecord, decode_frame, decode_record, read_headers
from schemas.events import Event
from services.audit import ledger_checks as ledger
from services.audit.log_model import ShardModel
from services.audit.report import Findings
from services.matching import snapshot as engine_bytes
from services.matching.engine import Engine
from services.matching.quarantine import QuarantineReader
from services.matching.replica import QUARANTINED, Replica
from services.matching.store import FileSnapshotStore, Snapshot, Unusable
from services.runtime.kafka import Cluster
from services.runtime.log import Log, Record

READ: Final = 500
WAIT_MS: Final = 2_000


class Cursor:
    """Settlement's position in one shard's events."""

    def __init__(self, seq: int, chain: bytes) -> None:
        self.seq = seq
        self.chain = chain


async def audit(
    cluster: Cluster, pool: asyncpg.Pool, shards: int, snapshots: Path | None, progress: Callable[[str], None]
) -> Findings:
    """Everything. Raises Contradiction, Halt, LogError where there is nothing to go on with."""
    found = Findings()
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        rows = await db.fetch("SELECT partition, seq, chain FROM settlement.cursors WHERE topic = 'events'")
        cursors = {row["partition"]: Cursor(row["seq"], bytes(row["chain"])) for row in rows}
        progress("sums of all postings")
        await ledger.check_sums(db, found)
        await ledger.check_treasury(db, found)
        for shard in range(shards):
            progress(f"shard {shard}")
            logs = (cluster.log("commands", shard), cluster.log("events", shard), cluster.log("quarantine"))
            await ShardAudit(db, found, shard, cursors.get(shard, Cursor(0, bytes(16))), logs, snapshots).run()
    return found


class ShardAudit:
    """One shard from its first record to its last."""

    def __init__(
        self,
        db: ledger.Connection,
        found: Findings,
        shard: int,
        cursor: Cursor,
        logs: tuple[Log, Log, Log],
        snapshots: Path | None,
    ) -> None:
        self._db = db
        self._found = found
        self._shard = shard
        self._cursor = cursor
        self._commands, self._events, quarantine = logs
        self._quarantine = QuarantineReader(quarantine, shard)
        self._snapshots = snapshots
        self._replica = Replica(shard, Engine())
        self._model = ShardModel(found)
        self._copy: Replica | None = None
        """D2: an engine that went through its bytes in the middle of the log."""
        self._settled: list[tuple[int, int, Event]] = []

    async def run(self) -> None:
        """See the module."""
        await self._quarantine.refresh()
        stored = await self._stored()
        _, end = await self._commands.bounds()
        reader = _accepted(self._events)
        if self._cursor.seq == 0:
            await self._compare()
        async for record in _records(self._commands, end):
            sealed = self._replica.apply(record, self._quarantine.banned)
            if self._copy is not None:
                self._copy.apply(record, self._quarantine.banned)
            elif record.offset >= end // 2:
                self._copy = _through_bytes(self._replica)
            frame = QUARANTINED if record.offset in self._quarantine.banned else decode_frame(record.value)
            for own in sealed:
                said = await anext(reader, None)
                if said is None:
                    self._finish()
                    return  # the output is not written yet: what follows is nobody's business
                body, chain = said
                fits = (body.seq, chain) == (own.seq, own.chain)
                self._found.expect("D1", fits, f"shard {self._shard}, seq {body.seq}: this build says something else")
                self._model.apply(body, frame if body.last else None)
                await self._note(body, chain)
            self._check_stored(stored.pop(record.offset + 1, None))
        self._finish()

    async def _note(self, body: EventsRecord, chain: bytes) -> None:
        if body.seq <= self._cursor.seq:
            self._settled += [(body.seq, index, event) for index, event in enumerate(body.events)]
        if body.seq == self._cursor.seq:
            self._found.expect("S1", chain == self._cursor.chain, f"shard {self._shard}: settlement read another log")
            await self._compare()

    async def _compare(self) -> None:
        """At the cursor: the ledger's copy of the shard, the log model and the engine are one."""
        await ledger.check_entries(self._db, self._found, self._shard, self._settled)
        await ledger.check_shard(self._db, self._found, self._shard, self._model)
        await ledger.check_deliveries(self._db, self._found, self._shard, self._model)
        self._check_engine()

    def _check_engine(self) -> None:
        engine, model = self._replica.engine, self._model
        if self._replica.seq != model.seq:
            return  # the cursor stands within an output of several parts; the end of the log is compared too
        for account, cash in engine.balances().items():
            self._found.expect(
                "M7", cash == model.cash[account], f"engine: account {account} has {cash}, log {model.cash[account]}"
            )
        for account, held in engine.holds().items():
            due = model.holds(account)
            self._found.expect("M4", held == due, f"engine: account {account} holds {held}, its orders need {due}")
        for account, held in engine.collaterals().items():
            due = model.collateral(account)
            self._found.expect("C5", held == due, f"engine: collateral {held} of account {account}, {due} due")

    def _finish(self) -> None:
        self._check_engine()
        self._model.finish()
        if self._copy is not None:
            ours, copy = (engine_bytes.state_hash(each.engine) for each in (self._replica, self._copy))
            same = (ours, self._replica.chain) == (copy, self._copy.chain)
            self._found.expect("D2", same, f"shard {self._shard}: the engine from its bytes went another way")

    async def _stored(self) -> dict[int, Snapshot]:
        """Snapshots of the shard by the offset after them; damaged ones are not used by anybody either."""
        if self._snapshots is None:
            return {}
        store = FileSnapshotStore(self._snapshots, self._shard)
        found: dict[int, Snapshot] = {}
        for name in await store.names():
            try:
                stored = await store.load(name)
            except Unusable:
                continue
            found[stored.commands_next] = stored
        return found

    def _check_stored(self, stored: Snapshot | None) -> None:
        if stored is not None:
            ours = (engine_bytes.state_hash(self._replica.engine), self._replica.seq, self._replica.chain)
            there = (stored.state_hash, stored.seq, stored.chain)
            self._found.expect(
                "D2", ours == there, f"shard {self._shard}: snapshot at {stored.commands_next} is another state"
            )


def _through_bytes(replica: Replica) -> Replica:
    engine = engine_bytes.load(engine_bytes.dump(replica.engine))
    return Replica(replica.shard, engine, position=replica.position, seq=replica.seq, chain=replica.chain)


async def _records(log: Log, end: int) -> AsyncIterator[Record]:
    """Every record below `end`."""
    first, _ = await log.bounds()
    position = first
    while position < end:
        for record in await log.read(position, count=READ, wait_ms=WAIT_MS):
            if record.offset >= end:
                return
            position = record.offset + 1
            yield record


async def _accepted(log: Log) -> AsyncIterator[tuple[EventsRecord, bytes]]:
    """Every record of `events` once, in order, with its chain. Raises Gap, BrokenRecord."""
    reader = ChainReader()
    _, end = await log.bounds()
    async for record in _records(log, end):
        envelope = read_headers(record.headers)
        if reader.accept(envelope, record.value):
            yield decode_record(record.value), envelope.chain
