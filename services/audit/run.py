"""One audit: the logs from their beginning, an engine of its own, and the database at one moment.

1. A read-only snapshot of the database is opened; its cursors say how far settlement had come.
2. What the ledger says by itself is added up.
3. Per shard, `commands` is applied to a new engine record by record; each output is held against `events` (D1), and what stands
   there goes through the log model.
4. Where the shard's cursor stands, ledger, log model and engine are compared.
5. The logs are read on to their present end.
6. `requests` and `delivery` are held against what was settled, `leases` against events and deliveries, `rentals` against events.

A log that contradicts itself is a breach of a named invariant; what comes after it in that shard is not looked at, and the
findings say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Protocol

import asyncpg

from schemas.codec import (
    CHAIN_START,
    BrokenFrame,
    BrokenRecord,
    EventsRecord,
    Frame,
    Sealed,
    decode_frame,
    decode_record,
    read_headers,
)
from schemas.commands import Credit
from schemas.events import OutboxRejected
from services.audit import database
from services.audit.asked import check_requests, procured
from services.audit.copies import check_copy
from services.audit.database import NOWHERE, Connection, Cursor, Entry
from services.audit.entries import Records, check_deliveries, check_events
from services.audit.expected import DELIVERY, Bought, Line, lines_of
from services.audit.leases import Leases
from services.audit.log_model import ShardModel
from services.audit.market import Contradiction
from services.audit.rentals import Rentals
from services.audit.report import NAMES, Findings
from services.audit.sums import check_sums
from services.matching import snapshot as engine_bytes
from services.matching.engine import Engine, WrongStart
from services.matching.quarantine import QuarantineReader
from services.matching.recovery import restore
from services.matching.replica import QUARANTINED, Replica
from services.matching.replica import Contradiction as WrongLog
from services.matching.store import FileSnapshotStore, Snapshot, Unusable
from services.runtime.archive import archived
from services.runtime.errors import Halt
from services.runtime.log import Headers, Log, Record
from services.runtime.positions import START, verify

READ: Final = 500
WAIT_MS: Final = 2_000
MONEY_EVERY: Final = 100
"""After so many records of `commands` the engine's money is compared with the log's, besides at the cursor and at the end."""

Progress = Callable[[str], None]


class Logs(Protocol):
    """Where logs come from: `services.runtime.kafka.Cluster` is one."""

    def log(self, topic: str, partition: int = 0) -> Log:
        """A reader of one partition."""

    async def has(self, topic: str) -> bool:
        """False: there is no such topic."""


async def audit(
    logs: Logs,
    pool: asyncpg.Pool,
    shards: int,
    snapshots: Path | None,
    progress: Progress,
    *,
    archive: Path | None = None,
) -> Findings:
    """Everything. `snapshots`, `archive`: folders of the shards' snapshots and of cut logs. Raises LogError."""
    found = Findings()
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        cursors = await database.cursors(db)
        progress("sums of all postings")
        await check_sums(db, found)
        progress("delivery")
        values = await _values(found, logs.log("delivery"), cursors.get(("delivery", 0), Cursor(*NOWHERE)))
        records = Records(values, await database.refused(db, DELIVERY))
        leases, rentals = Leases(found), Rentals(found)
        async for record in _whole(logs, "leases"):
            leases.take(record.offset, record.value)
        asked = await _values(found, logs.log("requests"), cursors.get(("requests", 0), Cursor(*NOWHERE)))
        for shard in range(shards):
            progress(f"shard {shard}")
            live = [logs.log(topic, shard) for topic in ("commands", "events")]
            commands, events = (log if archive is None else archived(log, archive) for log in live)
            cursor = cursors.get(("events", shard), Cursor(*NOWHERE))
            judge = ShardAudit(db, found, shard, cursor, records, await procured(db, shard, asked), leases, rentals)
            await judge.run(commands, events, logs.log("quarantine"), snapshots)
        leases.finish(values)
        progress("rentals")
        async for record in _whole(logs, "rentals"):
            rentals.take(record.offset, record.time_ms, record.value)
        rentals.finish()
        progress("requests")
        await check_requests(db, found, shards, asked)
    return found


async def _values(found: Findings, log: Log, cursor: Cursor) -> list[tuple[int, bytes]]:
    """(offset, value) of what settlement has read of a log; S1: it was this very log."""
    values = [(record.offset, record.value) async for record in _records(log, cursor.next_offset)]
    last = values[-1][1] if values else None
    digest = b"" if last is None else hashlib.blake2b(last, digest_size=16).digest()
    found.expect("S1", digest == cursor.last_hash, f"{log.topic}: settlement has read another log up to {cursor}")
    return values


class ShardAudit:
    """One shard from its first record to its last."""

    def __init__(
        self,
        db: Connection,
        found: Findings,
        shard: int,
        cursor: Cursor,
        records: Records,
        bought: Bought,
        leases: Leases,
        rentals: Rentals,
    ) -> None:
        self._db = db
        self._found = found
        self._shard = shard
        self._cursor = cursor
        self._records = records
        self._bought = bought
        self._leases = leases
        self._rentals = rentals
        self._replica = Replica(shard, Engine())
        self._model = ShardModel(found)
        self._copy: Replica | None = None
        """D2: an engine that went through its bytes somewhere in the log."""
        self._due: dict[Entry, list[Line]] = {}
        """Entries that the events up to the cursor call for."""

    async def run(self, commands: Log, events: Log, quarantine: Log, snapshots: Path | None) -> None:
        """See the module."""
        try:
            await self._run(commands, events, QuarantineReader(quarantine, self._shard), snapshots)
        except Contradiction as error:
            self._stop(error.name, error.breach)
        except BrokenFrame as error:
            where = f"commands/{self._shard} offset {self._replica.next_offset}"
            self._stop("O3", f"{where} is not a frame ({error}), and is not in quarantine")
        except (WrongLog, WrongStart, Halt) as error:
            self._stop("D1", f"{type(error).__name__}: {error}")

    def _stop(self, name: str, breach: str) -> None:
        self._found.expect(name, False, f"shard {self._shard}: {breach}")
        self._found.stopped.append(
            f"shard {self._shard} after seq {self._model.market.seq}: nothing after it was looked at"
        )

    async def _run(self, commands: Log, events: Log, quarantine: QuarantineReader, snapshots: Path | None) -> None:
        await quarantine.refresh()
        for log in (commands, events):
            await verify(log, START)
        stored = await self._stored(snapshots)
        _, end = await commands.bounds()
        said = _accepted(self._found, events)
        if self._cursor.seq == 0:
            await self._compare()
        complete = True
        async for record in _records(commands, end):
            sealed = self._apply(record, quarantine, end)
            frame = QUARANTINED if record.offset in quarantine.banned else decode_frame(record.value)
            complete = await self._hear(said, sealed, frame)
            if not complete:
                break  # the rest of the output is not written yet: what follows is nobody's business
            self._check_stored(stored.pop(record.offset + 1, None))
            if record.offset % MONEY_EVERY == 0:
                self._check_money()
        if complete:
            self._check_engine()
            self._model.finish()
            await self._check_tail(said, end)
        self._check_copy()
        settled, there = self._cursor.seq, self._model.market.seq
        self._found.expect(
            "S1", settled <= there, f"shard {self._shard}: settled up to seq {settled}, events end at {there}"
        )

    def _apply(self, record: Record, quarantine: QuarantineReader, end: int) -> list[Sealed]:
        sealed = self._replica.apply(record, quarantine.banned)
        if self._copy is not None:
            self._copy.apply(record, quarantine.banned)
        elif record.offset >= end // 2:
            self._copy = _through_bytes(self._replica)
        return sealed

    async def _hear(self, said: AsyncIterator[tuple[EventsRecord, Record]], sealed: list[Sealed], frame: Frame) -> bool:
        """D1: an output, record by record, is what this build says. False: `events` ends before it does."""
        for own in sealed:
            heard = await anext(said, None)
            if heard is None:
                return False
            body, record = heard
            fits = own.body == record.value and _without_epoch(own.headers) == _without_epoch(record.headers)
            self._found.expect("D1", fits, f"shard {self._shard}, seq {body.seq}: this build says something else")
            self._model.apply(body, frame)
            self._leases.hear(body.events)
            self._rentals.hear(body.time_ms, body.events)
            if body.seq <= self._cursor.seq:
                self._note(body, frame)
            if body.seq == self._cursor.seq:
                chain = read_headers(record.headers).chain
                fits = chain == self._cursor.chain
                self._found.expect(
                    "S1", fits, f"shard {self._shard}: settlement has read other events up to {body.seq}"
                )
                await self._compare()
        return True

    def _note(self, body: EventsRecord, frame: Frame) -> None:
        for index, event in enumerate(body.events):
            credits_ = {}
            if isinstance(event, OutboxRejected) and event.index < len(frame.commands):
                command = frame.commands[event.index]
                if isinstance(command, Credit):
                    credits_[event.outbox] = (command.account, command.amount)
            lines = lines_of(event, self._shard, credits_, self._bought)
            if lines is not None:
                self._due[body.seq, index] = lines

    async def _compare(self) -> None:
        """At the cursor: the ledger's copy of the shard, the log model and the engine are one."""
        await check_events(self._db, self._found, self._shard, self._due)
        paid = await check_deliveries(self._db, self._found, self._shard, self._model, self._records)
        await check_copy(self._db, self._found, self._model, self._shard, paid)
        if self._replica.seq == self._model.market.seq:
            self._check_engine()  # else the cursor stands within an output of several parts; the end is compared too

    def _check_engine(self) -> None:
        """M4, M7, C5, B5, B6: the engine has what the log says."""
        self._check_money()
        engine, model, shard = self._replica.engine, self._model, self._shard
        ours = model.open_rows()
        theirs = sorted(engine.open_orders())
        self._found.expect(
            "B6", ours == theirs, f"shard {shard}: the engine's orders are {theirs[:5]}, of log {ours[:5]}"
        )
        try:
            engine.check()
        except AssertionError as error:
            name, _, breach = str(error).partition(": ")
            if name not in NAMES:
                raise
            self._found.expect(name, False, f"shard {shard}, inside the engine: {breach}")

    def _check_money(self) -> None:
        engine, model, found = self._replica.engine, self._model, self._found
        for name, what, of_engine, of_log in (
            ("M7", "balance", engine.balances(), model.market.cash.__getitem__),
            ("M4", "hold", engine.holds(), model.means.holds),
            ("C5", "collateral", engine.collaterals(), model.means.collateral),
        ):
            for account, there in of_engine.items():
                due = of_log(account)
                if there or due:
                    breach = (
                        f"shard {self._shard}, seq {model.market.seq}: {what} {there} of account {account}, log {due}"
                    )
                    found.expect(name, there == due, breach)

    async def _check_tail(self, said: AsyncIterator[tuple[EventsRecord, Record]], end: int) -> None:
        """D1: nothing more is said to commands that were answered."""
        async for body, _ in said:
            if body.offset < end:
                breach = f"shard {self._shard}, seq {body.seq}: this build says nothing more to offset {body.offset}"
                self._found.expect("D1", False, breach)

    # --- D2 ------------------------------------------------------------------------------------------------

    def _check_copy(self) -> None:
        if self._copy is not None:
            same = _state(self._replica) == _state(self._copy)
            self._found.expect("D2", same, f"shard {self._shard}: the engine from its bytes went another way")

    async def _stored(self, folder: Path | None) -> dict[int, Snapshot]:
        """Snapshots of the shard by the offset after them; damaged ones are not used by anybody either."""
        if folder is None:
            return {}
        store = FileSnapshotStore(folder, self._shard)
        found: dict[int, Snapshot] = {}
        for name in await store.names():
            try:
                stored = await store.load(name)
            except Unusable:
                continue
            found[stored.commands_next] = stored
        return found

    def _check_stored(self, stored: Snapshot | None) -> None:
        """A snapshot is the state here; from now on it is the copy that goes on beside the engine."""
        if stored is None:
            return
        self._check_copy()
        where = f"shard {self._shard}: snapshot at {stored.commands_next}"
        try:
            self._copy = restore(self._shard, stored)
        except Unusable as error:
            self._found.expect("D2", False, f"{where}: {error}")
            return
        same = _state(self._copy) == _state(self._replica)
        self._found.expect("D2", same, f"{where} is another state")


def _state(replica: Replica) -> tuple[bytes, int, bytes]:
    return engine_bytes.state_hash(replica.engine), replica.seq, replica.chain


def _through_bytes(replica: Replica) -> Replica:
    engine = engine_bytes.load(engine_bytes.dump(replica.engine))
    return Replica(replica.shard, engine, position=replica.position, seq=replica.seq, chain=replica.chain)


# --- Logs ----------------------------------------------------------------------------------------------------


def _without_epoch(headers: Headers) -> list[tuple[str, bytes]]:
    """The epoch is the writer's own."""
    return [(name, bytes(value)) for name, value in headers if name != "e"]


async def _records(log: Log, end: int) -> AsyncIterator[Record]:
    """Every record below `end`."""
    first, there = await log.bounds()
    position, end = first, min(end, there)
    while position < end:
        for record in await log.read(position, count=READ, wait_ms=WAIT_MS):
            if record.offset >= end:
                return
            position = record.offset + 1
            yield record


async def _whole(logs: Logs, topic: str) -> AsyncIterator[Record]:
    """Every record of a topic of one partition; an exchange that is older than the topic has none."""
    if await logs.has(topic):
        log = logs.log(topic)
        async for record in _records(log, (await log.bounds())[1]):
            yield record


async def _accepted(found: Findings, log: Log) -> AsyncIterator[tuple[EventsRecord, Record]]:
    """Every record of `events` once and in order. D4: none is missing; D1: each continues the chain. Raises Contradiction."""
    seq, chain = 0, CHAIN_START
    chains: dict[int, bytes] = {}
    _, end = await log.bounds()
    async for record in _records(log, end):
        where = f"events/{log.partition} offset {record.offset}"
        try:
            envelope, body = read_headers(record.headers), decode_record(record.value)
        except BrokenRecord as error:
            raise Contradiction("D1", f"{where}: {error}") from error
        if envelope.seq <= seq:
            same = chains.get(envelope.seq) == envelope.chain
            found.expect("D1", same, f"{where}: seq {envelope.seq} again with another chain: two writers disagree")
            continue
        if envelope.seq > seq + 1:
            raise Contradiction("D4", f"{where} has seq {envelope.seq} after {seq}")
        chain = hashlib.blake2b(chain + record.value, digest_size=16).digest()
        found.expect("D1", chain == envelope.chain, f"{where}: seq {envelope.seq} does not continue the chain")
        found.expect("D4", (body.shard, body.seq) == (log.partition, envelope.seq), f"{where}: {body.seq} inside")
        seq, chain = envelope.seq, envelope.chain
        chains[seq] = chain
        yield body, record
