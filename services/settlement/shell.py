"""Settlement's protocol: read logs, apply, commit, tell the shards. Awaits nothing but Log, Clock, Lease, Store and Payments.

One life of settlement, step by step:

1. The lease `settlement` is held.                          (it decides who starts; what protects the ledger is step 5)
2. Everything live is loaded; each log's position is checked against its record.
3. `settle`: read some records of one log.                  (died here: nothing has happened)
4. Apply them to the memory.                                (died here: the memory is gone, the database knows nothing)
5. Commit, compare-and-set on the position in the log and on the number of commits. When it fails this life ends.
                                                     (died meanwhile: it is there or not; the next life loads what is)
6. `send`, per shard: append to `commands` what is committed and not confirmed by an event. Sending twice is harmless.

One coroutine alone changes the memory (`settle`); the others look at what is committed. Nobody else takes part in step 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from schemas.codec import (
    WRITER_SETTLEMENT,
    BrokenRecord,
    ChainReader,
    EventsRecord,
    Gap,
    encode_frame,
)
from schemas.requests import PayoutMoved
from services.runtime.errors import Halt, Superseded
from services.runtime.log import Clock, Log, LogError, Outgoing, OutOfRange, Record
from services.runtime.positions import Position, after, verify
from services.runtime.status import Status
from services.settlement import deliveries, events, requests, rows
from services.settlement.ledger import Contradiction
from services.settlement.payments import Payments
from services.settlement.state import Batch, State, decode_outbox
from services.settlement.store import Conflict, Recall, Store

READ_MAX: Final = 500
"""Records taken from a log at once."""
EVENTS_MAX: Final = 40_000
"""Events in one batch, the last record's as a whole: bounds a transaction."""
SLICE_MAX: Final = 50
"""Events applied before others may go on."""
FEW: Final = 500
PAUSE_MS: Final = 10
"""After a turn of few events, so that what comes meanwhile is one batch: settling each record by itself took broker, database and
processors from the orders that are waited for."""
REPORT_MS: Final = 1_000
FRAME_MAX: Final = 64
WINDOW_MAX: Final = 1_024
"""Messages sent and not confirmed, per shard."""
RESEND_MS: Final = 2_000
RESEND_MS_MAX: Final = 60_000
AWAY_MS: Final = 500
LEASE_NAME: Final = "settlement"
PAY_MS: Final = 200
PAY_AGAIN_MS: Final = 10_000


class Logs(NamedTuple):
    """Connections to the broker. Writers are opened by a call, because one that failed writes no more."""

    events: Sequence[Log]
    """By shard."""
    requests: Log
    delivery: Log
    write_commands: Callable[[int], Log]
    write_requests: Callable[[], Log]


class Publication(NamedTuple):
    """What others may act on when so many batches are durable."""

    commits: int
    outbox: list[int]
    """Per shard, the last message."""
    payouts: list[rows.Payout]


class Reader(Protocol):
    """One log being settled."""

    log: Log
    taken: int
    """By the last turn: events, or records where each is one thing."""

    async def turn(self) -> Batch | None:
        """Take the next records and apply them; None: there are none. Raises Halt, StoreAway."""


class Settlement:
    """One life. `start` first, then `settle`, `send` of each shard and `pay`, each in a task of its own."""

    def __init__(
        self,
        shards: int,
        store: Store,
        logs: Logs,
        clock: Clock,
        status: Status,
        *,
        between: Callable[[bool], None] = lambda busy: None,  # noqa: ARG005 # who measures or simulates wants nothing done
    ) -> None:
        self._between = between
        """Called between two rounds of batches, with whether there was anything to do: the moment for a garbage collection."""
        self._store = store
        self._logs = logs
        self._clock = clock
        self._status = status
        self._shards = shards
        self._readers: list[Reader] = []
        self._reported_ms = 0
        self._unpublished: deque[Publication] = deque()
        self.state = State(shards)
        self.committed = [0] * shards
        """Per shard, the last message whose row is committed."""
        self.payouts: list[rows.Payout] = []
        """Payouts under way, as committed."""

    async def start(self) -> None:
        """Step 2. Raises Halt, StoreAway, Unreachable."""
        state = self.state = State(self._shards, await self._store.load())
        self._unpublished.clear()
        self._publish(self._publication(), state.commits)
        fetch = Fetch(self._clock, self._status)
        self._readers = [EventsReader(state, fetch, log, self._clock) for log in self._logs.events]
        self._readers.append(RequestsReader(state, fetch, self._logs.requests, self._store, self._status))
        self._readers.append(DeliveryReader(state, fetch, self._logs.delivery, self._store, self._status))
        for reader in self._readers:
            cursor = state.cursor(reader.log.topic, reader.log.partition)
            await verify(reader.log, Position(cursor.next_offset, cursor.last_hash))

    async def settle(self) -> None:
        """Steps 3 to 5, for ever, one log after the other. Raises Halt, Superseded, StoreAway."""
        try:
            while True:
                await self._round()
        except Conflict as error:
            # Of a commit, or of whatever asked the store next: it works on one batch while another is made.
            raise Superseded(str(error)) from error
        except Halt:
            await self._check_overtaken()
            raise

    async def _check_overtaken(self) -> None:
        """What contradicts a memory that others have overtaken proves nothing. Raises Superseded, StoreAway."""
        try:
            durable = await self._store.flush()
        except Conflict as error:
            raise Superseded(str(error)) from error
        there = (await self._store.load()).commits
        if there != durable:
            raise Superseded(f"another settlement has committed: {there} batches are there, {durable} were known here")

    async def _round(self) -> None:
        busy = False
        for reader in self._readers:
            batch = await reader.turn()
            if batch is not None:
                busy = True
                self._publish(self._publication(), await self._store.commit(batch))
        await self._report()
        self._between(busy)
        if max(reader.taken for reader in self._readers) < FEW:
            self._publish(None, await self._store.flush())
            await self._clock.sleep_ms(PAUSE_MS)

    def _publication(self) -> Publication:
        """What may be told once the last batch is durable."""
        return Publication(
            self.state.commits,
            [shard.outbox for shard in self.state.shards],
            [msgspec.structs.replace(payout) for payout in self.state.payouts.values()],
        )

    def _publish(self, made: Publication | None, durable: int) -> None:
        if made is not None:
            self._unpublished.append(made)
        while self._unpublished and self._unpublished[0].commits <= durable:
            _, self.committed, self.payouts = self._unpublished.popleft()

    async def _report(self) -> None:
        now_ms = self._clock.elapsed_ms()
        if now_ms - self._reported_ms < REPORT_MS:
            return
        self._reported_ms = now_ms
        lag = 0
        for reader in self._readers:
            cursor = self.state.cursor(reader.log.topic, reader.log.partition)
            try:
                _, end = await reader.log.bounds()
            except LogError as error:
                self._status.wait("kafka", str(error))
                return
            lag += end - cursor.next_offset
        self._status.go_on("kafka")
        self._status.set(lag=lag, commits=self.state.commits, uncommitted=len(self._unpublished))
        for shard in self.state.shards:
            cursor = self.state.cursor("events", shard.number)
            self._status.set_of(
                shard.number, seq=cursor.seq, time_ms=cursor.time_ms, unconfirmed=len(shard.unconfirmed)
            )

    # --- Step 6 ------------------------------------------------------------------------------------------------

    async def send(self, number: int) -> None:
        """Send the outbox of a shard, for ever: go-back-N.

        In order, from the last number that an event has confirmed. When nothing is confirmed for a while, one frame is sent
        again, then all that follows it.
        """
        shard = self.state.shards[number]
        log = self._logs.write_commands(number)
        sent = confirmed = shard.confirmed
        moved_ms, patience_ms, window = self._clock.elapsed_ms(), RESEND_MS, WINDOW_MAX
        while True:
            now_ms = self._clock.elapsed_ms()
            if shard.confirmed > confirmed or sent == confirmed:
                confirmed, sent = shard.confirmed, max(sent, shard.confirmed)
                moved_ms, patience_ms, window = now_ms, RESEND_MS, WINDOW_MAX
            elif now_ms - moved_ms >= patience_ms:
                sent, moved_ms, patience_ms, window = confirmed, now_ms, min(2 * patience_ms, RESEND_MS_MAX), FRAME_MAX
            last = min(self.committed[number], sent + FRAME_MAX, confirmed + window)
            if last <= sent:
                await self._clock.sleep_ms(PAUSE_MS)
                continue
            commands = [decode_outbox(shard.unconfirmed[outbox].body) for outbox in range(sent + 1, last + 1)]
            frame = encode_frame(WRITER_SETTLEMENT, sent + 1, commands)
            sent = last
            if not await self._append(log, [Outgoing(frame)]):
                log, sent = self._logs.write_commands(number), confirmed

    async def _append(self, log: Log, outgoing: Sequence[Outgoing]) -> bool:
        """False: it may not have been written, and this log writes no more."""
        try:
            await log.append(outgoing)
        except LogError as error:
            self._status.wait("kafka", str(error))
            await self._clock.sleep_ms(AWAY_MS)
            return False
        return True

    async def pay(self, payments: Payments) -> None:
        """Ask the payment adapter how payouts go on, and write its answers into `requests`, for ever."""
        log = self._logs.write_requests()
        said_ms: dict[str, int] = {}
        while True:
            now_ms = self._clock.elapsed_ms()
            said_ms = {request: when for request, when in said_ms.items() if now_ms - when < PAY_AGAIN_MS}
            moves = [move for move in await payments.progress(self.payouts) if move.request_id not in said_ms]
            if moves and not await self._append(log, [Outgoing(_encode(move)) for move in moves]):
                log = self._logs.write_requests()
            else:
                said_ms.update({move.request_id: now_ms for move in moves})
            await self._clock.sleep_ms(PAY_MS)


def _encode(move: PayoutMoved) -> bytes:
    return msgspec.msgpack.encode(move)


# --- Step 3 and 4, log by log --------------------------------------------------------------------------------


class Fetch:
    """Reads a log, and waits while the broker is away: nothing is lost by that."""

    def __init__(self, clock: Clock, status: Status) -> None:
        self._clock = clock
        self._status = status

    async def __call__(self, log: Log, offset: int) -> list[Record]:
        """Records from `offset` on; empty: none, or none yet. Raises Halt when the log no longer holds the offset."""
        try:
            return await log.read(offset, count=READ_MAX)
        except OutOfRange as error:
            raise Halt(f"{log.topic}/{log.partition}: {error}") from error
        except LogError as error:
            self._status.wait("kafka", str(error))
            await self._clock.sleep_ms(AWAY_MS)
            return []


class EventsReader:
    """`events` of one shard: each record once and in order, whatever the log repeats."""

    def __init__(self, state: State, fetch: Fetch, log: Log, clock: Clock) -> None:
        self.log = log
        self.taken = 0
        self._state = state
        self._fetch = fetch
        self._clock = clock
        self._unread: deque[Record] = deque()
        cursor = state.cursor("events", log.partition)
        self._next_offset = cursor.next_offset
        self._chain = ChainReader(cursor.seq, cursor.chain)

    async def turn(self) -> Batch | None:
        """As many records as make one batch."""
        if not self._unread:
            self._unread.extend(await self._fetch(self.log, self._next_offset))
        count = 0
        record = None
        time_ms = self._state.cursor("events", self.log.partition).time_ms
        breathe = SLICE_MAX
        while self._unread and count < EVENTS_MAX:
            record = self._unread.popleft()
            said = self._apply(record)
            if said is not None:
                count += len(said.events) + 1
                time_ms = said.time_ms
            if count >= breathe:
                # Others go on meanwhile: the batch before this one is on its way to the database.
                breathe = count + SLICE_MAX
                await self._clock.sleep_ms(0)
        self.taken = count
        if record is None:
            return None
        position = after(record)
        self._next_offset = position.next_offset
        if self._unread:
            self._next_offset = self._unread[-1].offset + 1
        return self._state.take(
            rows.Cursor("events", self.log.partition, *position, self._chain.seq, self._chain.chain, time_ms)
        )

    def _apply(self, record: Record) -> EventsRecord | None:
        """None: a repeat."""
        where = f"events/{self.log.partition} offset {record.offset}"
        try:
            said = self._chain.read(record.headers, record.value, self.log.partition)
            if said is not None:
                events.settle(self._state, said)
        except (Gap, BrokenRecord, Contradiction) as error:
            raise Halt(f"{where}: {type(error).__name__}: {error}") from error
        return said


class RequestsReader:
    """`requests`: each is answered once; a repeat changes nothing."""

    def __init__(self, state: State, fetch: Fetch, log: Log, store: Store, status: Status) -> None:
        self.log = log
        self.taken = 0
        self._state = state
        self._fetch = fetch
        self._store = store
        self._status = status
        self._refused = 0

    async def turn(self) -> Batch | None:
        """Some records, and what the store remembers of their ids."""
        cursor = self._state.cursor("requests", self.log.partition)
        records = await self._fetch(self.log, cursor.next_offset)
        self.taken = len(records)
        if not records:
            return None
        asked = [
            requests.decode(record.offset, self._state.market_ms(record.time_ms), record.value) for record in records
        ]
        ids, refs = requests.ids(asked)
        recalled = await self._store.recall(Recall(requests=ids, deposits=refs))
        known = requests.Known(recalled.requests, recalled.deposits)
        for request in asked:
            if requests.take(self._state, request, known):
                self._refused += 1
                self._status.set(requests_refused=self._refused)
        return self._state.take(
            rows.Cursor("requests", self.log.partition, *after(records[-1]), 0, b"", asked[-1].time_ms)
        )


class DeliveryReader:
    """`delivery`: the first record of a title counts."""

    def __init__(self, state: State, fetch: Fetch, log: Log, store: Store, status: Status) -> None:
        self.log = log
        self.taken = 0
        self._state = state
        self._fetch = fetch
        self._store = store
        self._status = status
        self._refused = 0

    async def turn(self) -> Batch | None:
        """Some records, and what the store remembers of their titles."""
        cursor = self._state.cursor("delivery", self.log.partition)
        records = await self._fetch(self.log, cursor.next_offset)
        self.taken = len(records)
        if not records:
            return None
        said = [(record, deliveries.decode(record.value)) for record in records]
        keys = [key for _, delivered in said if delivered is not None for key in deliveries.keys(delivered)]
        known = (await self._store.recall(Recall(deliveries=keys))).deliveries
        time_ms = 0
        for record, delivered in said:
            time_ms = self._state.market_ms(record.time_ms)
            if deliveries.take(self._state, record.offset, time_ms, delivered, known):
                self._refused += 1
                self._status.set(deliveries_refused=self._refused)
        return self._state.take(rows.Cursor("delivery", self.log.partition, *after(records[-1]), 0, b"", time_ms))
