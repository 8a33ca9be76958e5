"""A replica held against the log: applies `commands`, and compares what it says with what `events` holds.

Follower, recovery, replay and the short-lived snapshot process are all this one thing, driven differently; the active writer
begins as one. Awaits nothing but the interfaces it is given.

What it guarantees: `verified` says that `events` holds, without a hole, exactly what the replica says up to that seq.
Anything else that is found there ends in Halt with both sides of the contradiction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from schemas.codec import BrokenFrame, BrokenRecord, ChainReader, Gap, Sealed, decode_record, read_headers
from services.matching.engine import WrongStart
from services.matching.quarantine import QuarantineReader
from services.matching.replica import Contradiction, Replica
from services.runtime.errors import Halt
from services.runtime.log import Log, Record
from services.runtime.positions import START, Position, after, record_hash

PENDING_MAX: Final = 10_000
"""Records said and not yet seen in `events`: enough for every pause of a writer, and a bound when there is none."""
READ_MAX: Final = 500
PATIENCE_MS: Final = 1_000
"""How long a read waits for a record that is known to exist."""


class Mirror:
    """A replica, both logs of its shard, and how far they agree."""

    def __init__(
        self,
        replica: Replica,
        commands: Log,
        events: Log,
        quarantine: QuarantineReader,
        events_position: Position = START,
        *,
        epoch: int = 0,
    ) -> None:
        self.replica = replica
        self.commands = commands
        self.events = events
        self.epoch = epoch
        """The highest that was read in `events`."""
        self.stamp_ms = 0
        """Of the last record applied."""
        self.pending: deque[Sealed] = deque()
        """Said, and not yet seen in `events`, in order."""
        self._quarantine = quarantine
        self._unmatched: deque[Record] = deque()
        self._reader = ChainReader(replica.seq, replica.chain)
        self._events_next = events_position.next_offset
        self._events_hash = events_position.last_hash
        self._last_matched: Record | None = None
        self._commands_end = 0

    @property
    def verified(self) -> bool:
        """Whether `events` holds everything that the replica has said."""
        return not self.pending

    @property
    def full(self) -> bool:
        """Whether nothing more is applied until `events` has taken up some of what is pending."""
        return len(self.pending) >= PENDING_MAX

    @property
    def lag(self) -> int:
        """Records of `commands` not applied yet, as of the last look at its end."""
        return max(0, self._commands_end - self.replica.next_offset)

    def sizes(self) -> dict[str, int]:
        """How much the engine keeps, and what waits in it, for `/metrics`."""
        engine = self.replica.engine
        return {
            "orders": engine.resting_count(),
            "contracts": len(engine.contracts),
            "planned": len(engine.due),
            "block_retries": len(engine.retries),
            "client_ids": len(engine.ids_by_age),
        }

    @property
    def seq_verified(self) -> int:
        """Up to where `events` was seen to agree."""
        return self._reader.seq

    @property
    def events_position(self) -> Position:
        """After the last record of `events` that was compared."""
        if self._last_matched is None:
            return Position(self._events_next, self._events_hash)
        return after(self._last_matched)

    async def apply_some(self, *, wait_ms: int = 0, through: int | None = None) -> int:
        """Read records of `commands`, up to offset `through` where one is given, and apply them; how many.

        Nothing is read while too much is pending.
        """
        if self.full:
            return 0
        applied = 0
        for record in await self.commands.read(self.replica.next_offset, count=READ_MAX, wait_ms=wait_ms):
            if through is not None and record.offset > through:
                break
            self.pending.extend(await self.apply(record))
            applied += 1
        return applied

    async def apply(self, record: Record) -> list[Sealed]:
        """What the replica says to one record; nothing is pending by it. Raises Halt for a broken frame."""
        try:
            sealed = self._apply(record)
        except BrokenFrame as error:
            # It may have been banned since the topic was read.
            await self._quarantine.refresh()
            if record.offset not in self._quarantine.banned:
                raise Halt(self._broken(record, error)) from error
            sealed = self._apply(record)
        self.stamp_ms = record.time_ms
        return sealed

    async def compare_some(self, *, wait_ms: int = 0) -> int:
        """Compare records of `events` with what is pending; how many were consumed.

        A record whose cause was not applied yet is left for later. Raises Halt where they differ.
        """
        if not self._unmatched:
            self._unmatched.extend(await self.events.read(self._events_next, count=READ_MAX, wait_ms=wait_ms))
        consumed = 0
        while self._unmatched and self._consume(self._unmatched[0]):
            self._last_matched = self._unmatched.popleft()
            self._events_next = self._last_matched.offset + 1
            consumed += 1
        return consumed

    async def look(self) -> int:
        """The present end of `commands`; `lag` goes by it."""
        _, self._commands_end = await self.commands.bounds()
        return self._commands_end

    async def catch_up(self, *, progress: Callable[[], None] = lambda: None) -> None:
        """Compare everything that `events` holds now, applying no more than what caused it.

        What is pending afterwards is missing in `events`: the rest of an output that was half written.

        Raises Halt when `commands` does not hold the cause of a record of `events`.
        """
        _, events_end = await self.events.bounds()
        # Read second: it holds the cause of every record below events_end.
        commands_end = await self.look()
        while self._events_next < events_end:
            if await self.compare_some(wait_ms=PATIENCE_MS):
                progress()
                continue
            if self._unmatched:  # else the record is there and did not come in time: ask again
                cause = self._cause(self._unmatched[0])
                self._check_cause(cause, commands_end)
                # The last one read may be a stale writer's repeat, or newer than both bounds.
                newest = min(self._cause(self._unmatched[-1]), commands_end - 1)
                await self.apply_some(wait_ms=PATIENCE_MS, through=max(cause, newest))

    def _consume(self, record: Record) -> bool:
        """Compare one record of `events`; False: its cause comes first."""
        where = f"events/{self.events.partition} offset {record.offset}"
        try:
            envelope = read_headers(record.headers)
            if envelope.seq == self._reader.seq + 1 and not self.pending:
                return False  # it is the next one, and what caused it was not applied yet
            fresh = self._reader.accept(envelope, record.value)
        except (Gap, BrokenRecord) as error:
            raise Halt(f"{where}: {error}") from error
        self.epoch = max(self.epoch, envelope.epoch)
        if fresh:
            own = self.pending.popleft()
            if own.chain != envelope.chain:
                raise Halt(
                    f"{where} holds seq {envelope.seq} with chain {envelope.chain.hex()}, and this build says "
                    f"{own.chain.hex()} there: another version wrote it, or another commands log"
                )
        return True

    def _cause(self, record: Record) -> int:
        """The offset in `commands` that a record of `events` is an output of. Raises Halt."""
        try:
            return decode_record(record.value).offset
        except BrokenRecord as error:
            raise Halt(f"events/{self.events.partition} offset {record.offset}: {error}") from error

    def _check_cause(self, cause: int, commands_end: int) -> None:
        """The next record of `events` can still be caused. Raises Halt."""
        events = f"events/{self.events.partition} offset {self._events_next}"
        applied = self.replica.next_offset - 1
        if cause <= applied:
            raise Halt(
                f"{events} is an output of commands offset {cause}, and this build gives no further output there: "
                "another version wrote it"
            )
        if cause >= commands_end:
            raise Halt(
                f"{events} is an output of commands offset {cause}, and commands/{self.commands.partition} ends at "
                f"{commands_end}: commands has lost its last records, or was replaced"
            )

    def _apply(self, record: Record) -> list[Sealed]:
        try:
            return self.replica.apply(record, self._quarantine.banned)
        except (Contradiction, WrongStart) as error:
            raise Halt(f"commands/{self.commands.partition}: {error}") from error

    def _broken(self, record: Record, error: BrokenFrame) -> str:
        partition, digest = self.commands.partition, record_hash(record.value).hex()
        return (
            f"commands/{partition} offset {record.offset} is not a frame: {error}. Its hash is {digest}. Nothing after it "
            f"is applied. To go on without it: hourbook quarantine --shard {partition} --offset {record.offset} "
            f"--hash {digest} --reason '...' --operator '...'; then start matching again"
        )
