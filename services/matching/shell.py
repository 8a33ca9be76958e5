"""The active writer of a shard: read commands, apply, append events.

Its life, step by step:

1. The follower got the lease and an epoch.                            (died here: the lease runs out, another takes over)
2. `events` is read to its end: what is pending then is missing there.  (nothing was written yet)
3. What is missing is written.                                        (died half way: the next one writes the rest)
4. Loop: read `commands`, apply, append the output with our epoch.     (died between apply and append: so does the next one)
5. About once a second: renew the lease; read the end of `events`. A higher epoch there, or a lease lost, ends it (Superseded).
6. When nothing came for a second: append a Tick to `commands`, so that time passes.
7. About once a second: append what market data wishes of collars.

It is never fenced off by the database: without it, it goes on. A write that failed, or whose outcome is unknown, ends the
process: writing on could leave a hole. Two writers at once write the same bytes, each in order and without a hole from what
was there; a reader drops the repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from schemas.codec import CHAINS_KEPT, WRITER_SHELL, BrokenRecord, Sealed, encode_frame, epoch_header, read_headers
from schemas.commands import Tick
from services.matching.follower import LEASE_MS
from services.matching.mirror import READ_MAX, Mirror
from services.matching.references import References
from services.runtime.errors import Halt, Superseded
from services.runtime.lease import Lease, LeaseAway
from services.runtime.log import Clock, Log, Outgoing, Record
from services.runtime.status import Status

TICK_MS: Final = 1_000
CHECK_MS: Final = 1_000
_WAIT_MS: Final = 200
_WRITE_BYTES: Final = 1_048_576
"""Outputs are appended at the latest when they come to this: bounds memory and the time to the first acknowledgement."""
_LOOK_BACK: Final = 256
"""Records at the end of `events` in which a rival would be seen: both write the same stream at about the same pace."""


class Writer:
    """Appends what the replica says to `events`, and notices when somebody else has begun to."""

    def __init__(self, events: Log, epoch: int) -> None:
        self._events = events
        self._epoch = epoch
        self._looked_to = 0
        self._recent: dict[int, bytes] = {}
        self._said = 0
        self._ahead: dict[int, bytes] = {}
        """What a rival has said before us."""

    def begin(self, seq: int) -> None:
        """`events` holds everything up to here."""
        self._said = seq

    async def write(self, sealed: Iterable[Sealed]) -> None:
        """Durable when it returns. Raises Halt, WriteRefused, WriteUnknown: write nothing more then."""
        mark = epoch_header(self._epoch)
        outgoing = []
        for record in sealed:
            theirs = self._ahead.pop(record.seq, record.chain)
            if theirs != record.chain:
                raise Halt(
                    f"events/{self._events.partition} holds seq {record.seq} with chain {theirs.hex()}, and we say "
                    f"{record.chain.hex()}: two writers that disagree"
                )
            outgoing.append(Outgoing(record.body, [*record.headers, mark]))
            self._said = record.seq
            self._recent[record.seq] = record.chain
            self._recent.pop(record.seq - CHAINS_KEPT, None)
        if outgoing:
            await self._events.append(outgoing)

    async def look_for_rivals(self) -> None:
        """Read the end of `events`. Raises Superseded for a higher epoch, Halt for a record that nobody can have said."""
        first, end = await self._events.bounds()
        start = max(first, self._looked_to, end - _LOOK_BACK)
        is_whole = start == self._looked_to
        """Nothing was passed over since the last look: whoever is ahead of us leaves no hole."""
        while start < end:
            for record in await self._events.read(start, count=_LOOK_BACK, wait_ms=_WAIT_MS):
                start = record.offset + 1
                self._look_at(record, is_whole=is_whole)
        self._looked_to = start

    def _look_at(self, record: Record, *, is_whole: bool) -> None:
        where = f"events/{self._events.partition} offset {record.offset}"
        try:
            envelope = read_headers(record.headers)
        except BrokenRecord as error:
            raise Halt(f"{where}: {error}") from error
        if envelope.epoch > self._epoch:
            raise Superseded(f"epoch {envelope.epoch} writes {self._events.topic}, ours is {self._epoch}")
        ours = self._recent.get(envelope.seq)
        if ours is not None and ours != envelope.chain:
            raise Halt(
                f"{where} holds seq {envelope.seq} of epoch {envelope.epoch} with chain {envelope.chain.hex()}, "
                f"we wrote {ours.hex()}: two writers that disagree"
            )
        if envelope.seq > self._said:
            newest = max(self._ahead, default=self._said)
            if is_whole and envelope.seq > newest + 1:
                raise Halt(f"{where} holds seq {envelope.seq}, and {newest + 1} is nowhere: no writer leaves a hole")
            self._ahead[envelope.seq] = envelope.chain


class TickClock:
    """What the broker's clock shows, as far as can be known here, and never more.

    Every record read says: the broker's clock was at least at its stamp when we read it. From there on our own clock goes on
    (`Clock.elapsed_ms`, as `now_ms` here); one that is fast moves the market by at most `STEP_MS_MAX` beyond the last stamp.
    """

    STEP_MS_MAX: Final = 60_000

    def __init__(self) -> None:
        self._ahead_ms: int | None = None
        """The broker's clock minus ours, at least: ours begins anywhere."""
        self._stamp_ms = 0

    def saw(self, stamp_ms: int, now_ms: int) -> None:
        """A record with this stamp was read."""
        ahead_ms = stamp_ms - now_ms
        self._ahead_ms = ahead_ms if self._ahead_ms is None else max(self._ahead_ms, ahead_ms)
        self._stamp_ms = max(self._stamp_ms, stamp_ms)

    def until_ms(self, now_ms: int) -> int:
        """The stamp to which a tick may let time pass. The first after a pause says little, and its own stamp tells the rest."""
        if self._ahead_ms is None:
            return self._stamp_ms
        return max(self._stamp_ms, min(now_ms + self._ahead_ms, self._stamp_ms + self.STEP_MS_MAX))


class Shell:
    """The active writer, from the moment the lease is held. `run` ends only by an exception."""

    def __init__(
        self,
        mirror: Mirror,
        lease: Lease,
        clock: Clock,
        status: Status,
        *,
        lease_name: str,
        holder: str,
        epoch: int,
        references: References | None = None,
        between: Callable[[bool], None] = lambda busy: None,  # noqa: ARG005 # who tests or simulates wants nothing done
    ) -> None:
        """Without `references` collars stay where the list prices put them."""
        self.mirror = mirror
        self._lease = lease
        self._clock = clock
        self._status = status
        self._lease_name = lease_name
        self._holder = holder
        self._epoch = epoch
        self._references = references
        self._between = between
        """Called between two steps, with whether there was anything to do: the moment for a garbage collection."""
        self._writer = Writer(mirror.events, epoch)
        self._ticks = TickClock()
        self._busy_ms = 0
        self._renewed_ms = clock.elapsed_ms()
        self._looked_ms = 0

    async def run(self) -> None:
        """Steps 2 to 7. Raises Superseded, Halt, LogError."""
        await self.mirror.catch_up()
        self._writer.begin(self.mirror.replica.seq - len(self.mirror.pending))
        await self._writer.write(self.mirror.pending)
        self.mirror.pending.clear()
        self._ticks.saw(self.mirror.stamp_ms, self._clock.elapsed_ms())
        self._busy_ms = self._clock.elapsed_ms()
        while True:
            busy = await self._step()
            now_ms = self._clock.elapsed_ms()
            if busy:
                self._busy_ms = now_ms
            elif now_ms - self._busy_ms >= TICK_MS:
                await self._tick(now_ms)
            await self._duties(now_ms)
            self._between(busy)

    async def _step(self) -> bool:
        """One read of commands, applied and written. False: there was none."""
        mirror = self.mirror
        records = await mirror.commands.read(mirror.replica.next_offset, count=READ_MAX, wait_ms=_WAIT_MS)
        said: list[Sealed] = []
        size = 0
        for record in records:
            for sealed in await mirror.apply(record):
                said.append(sealed)
                size += len(sealed.body)
            if size >= _WRITE_BYTES:
                await self._writer.write(said)
                said, size = [], 0
                # A long backlog must not cost the lease.
                await self._duties(self._clock.elapsed_ms())
        await self._writer.write(said)
        if records:
            self._ticks.saw(mirror.stamp_ms, self._clock.elapsed_ms())
        return bool(records)

    async def _tick(self, now_ms: int) -> None:
        if self.mirror.replica.seq == 0:
            raise Halt(f"commands/{self.mirror.commands.partition} is empty: its first record must be StartShard")
        until_ms = self._ticks.until_ms(now_ms)
        await self.mirror.commands.append([Outgoing(encode_frame(WRITER_SHELL, until_ms, [Tick(until_ms)]))])
        self._busy_ms = now_ms

    async def _duties(self, now_ms: int) -> None:
        if now_ms - self._renewed_ms >= LEASE_MS // 3:
            self._renewed_ms = now_ms
            await self._renew()
        if now_ms - self._looked_ms >= CHECK_MS:
            self._looked_ms = now_ms
            await self._writer.look_for_rivals()
            await self.mirror.look()
            await self._move_references()
            self._report()

    async def _move_references(self) -> None:
        if self._references is None:
            return
        await self._references.read()
        moves = self._references.moves(self.mirror.replica.engine)
        if moves:
            await self.mirror.commands.append([Outgoing(encode_frame(WRITER_SHELL, self._clock.now_ms(), moves))])
        self._status.set(references_fault=self._references.fault)

    async def _renew(self) -> None:
        try:
            held = await self._lease.renew(self._lease_name, self._holder, self._epoch, LEASE_MS)
        except LeaseAway as error:
            # Nobody else can get it either: go on, and look at the epochs in the log.
            self._status.wait("lease", str(error))
            return
        self._status.go_on("lease")
        if not held:
            raise Superseded(f"another process holds {self._lease_name}, epoch {self._epoch} is over")

    def _report(self) -> None:
        replica = self.mirror.replica
        self._status.set(
            role="active",
            seq=replica.seq,
            epoch=self._epoch,
            lag=self.mirror.lag,
            offset=replica.next_offset,
            pending=0,
            time_ms=replica.engine.time_ms,
            unsaved=0,
            engine_version=replica.engine.version,
            **self.mirror.sizes(),
        )
        self._status.set_of(replica.engine.shard, active=1)
