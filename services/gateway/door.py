"""One shard's door: commands go out in frames, answers come back from `events`.

1. `start`: the end of `events` is resolved to a number; nothing is accepted before.
2. `submit` queues a command. While a frame waits for its answer, or `GATHER_S`, what arrives meanwhile is the next frame (group
   commit): log, shards and settlement work by the frame, and one alone is answered as soon as ever.
3. `read` follows `events`; headers name writer and frame, so that others' records need not be decoded.
4. The outcome and the effects of a command resolve its waiter, once every part of its frame's output is there: a large
   output comes in several records, and a command's effects may stand in more than one. Nothing else acknowledges.

An append that was refused had no effect; one that failed otherwise has an unknown outcome, and its events may still come.
Nobody is answered from a record that does not follow from the one before: the gateway halts there, as every reader does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from schemas.codec import (
    CHAIN_START,
    BrokenRecord,
    ChainReader,
    EventsRecord,
    Gap,
    decode_record,
    encode_frame,
    read_headers,
)
from schemas.commands import Command
from schemas.events import Event
from services.gateway.errors import ApiError
from services.gateway.progress import Progress
from services.runtime.errors import Halt
from services.runtime.log import Log, LogError, Outgoing, Record, WriteRefused

FRAME_MAX: Final = 64
GATHER_S: Final = 0.05
"""Behind a frame that is not answered nobody waits longer: its shard may be away for long."""
QUEUE_MAX: Final = 10_000
ANSWER_S: Final = 5.0
_LOOK_BACK: Final = 1_000
"""Records at the end of `events` of which the highest is the last one said: repeats of a stale writer may follow it."""


class Answer(NamedTuple):
    """What one command did."""

    seq: int
    """Of the output's last record."""
    time_ms: int
    outcome: Event
    effects: tuple[Event, ...]


Outcome = Answer | ApiError
"""Of one command. The error may say that it is unknown."""


def answers_of(record: EventsRecord) -> dict[int, Answer]:
    """Answers by the command's index: each outcome with the effects up to the next outcome."""
    found: dict[int, Answer] = {}
    index, outcome, effects = -1, None, list[Event]()
    for event in record.events:
        said: int | None = getattr(event, "index", None)
        if said is None:
            effects.append(event)
            continue
        if outcome is not None:
            found[index] = Answer(record.seq, record.time_ms, outcome, tuple(effects))
        index, outcome, effects = said, event, []
    if outcome is not None:
        found[index] = Answer(record.seq, record.time_ms, outcome, tuple(effects))
    return found


class Door:
    """See the module: `start` first, then `write` and `read`, each in a task of its own.

    `open_log` gives a fresh connection to `commands` after one has failed.
    """

    def __init__(self, shard: int, writer: int, open_log: Callable[[], Log], events: Log, progress: Progress) -> None:
        """`progress` is told of every record before anybody is answered from it."""
        self.shard = shard
        self._chain = ChainReader()
        self._heard_s = 0.0
        """When a read of `events` last came back."""
        self._writer = writer
        self._open_log = open_log
        self._events = events
        self._progress = progress
        self._position = 0
        self._frame_no = 0
        self._queue: deque[tuple[Command, asyncio.Future[Outcome]]] = deque()
        self._arrived = asyncio.Event()
        self._answered = asyncio.Event()
        """Set when a frame is answered."""
        self._pending: dict[int, Sequence[asyncio.Future[Outcome]]] = {}
        """Frame → who waits for its commands' answers, by index."""
        self._parts: dict[int, list[Event]] = {}
        """Frame → its output so far, where more is to come."""

    async def start(self) -> None:
        """Step 1. Raises Halt, LogError."""
        first, self._position = await self._events.bounds()
        newest = (0, CHAIN_START)
        start = max(first, self._position - _LOOK_BACK)
        while start < self._position:
            for record in await self._events.read(start, wait_ms=1_000):
                start = record.offset + 1
                if record.offset < self._position:
                    try:
                        envelope = read_headers(record.headers)
                    except BrokenRecord as error:
                        raise self._halt(record, error) from error
                    newest = max(newest, (envelope.seq, envelope.chain))
        self._chain = ChainReader(*newest)
        self._progress.begin(self.shard, self.seq)
        self._heard_s = asyncio.get_running_loop().time()

    @property
    def seq(self) -> int:
        """Of the newest record of `events` seen."""
        return self._chain.seq

    @property
    def queued(self) -> int:
        """Commands that wait to be written; at `QUEUE_MAX` nothing more is taken."""
        return len(self._queue)

    @property
    def in_flight(self) -> int:
        """Commands that were sent, and whose answers somebody waits for."""
        return sum(len(waiters) for waiters in self._pending.values())

    @property
    def silent_s(self) -> float:
        """For how long nothing can have been heard of the shard: a read answers after a second, also when there is nothing."""
        return asyncio.get_running_loop().time() - self._heard_s

    async def submit(self, command: Command) -> Answer:
        """One command's answer. Raises ApiError: overloaded, not_ready (no effect), outcome_unknown."""
        (outcome,) = await self.submit_many([command])
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome

    async def submit_many(self, commands: Sequence[Command]) -> list[Outcome]:
        """What became of each, in their order."""
        assert commands
        waiters: list[asyncio.Future[Outcome]] = [asyncio.get_running_loop().create_future() for _ in commands]
        room = QUEUE_MAX - len(self._queue)
        self._queue.extend(zip(commands[:room], waiters[:room], strict=True))
        _fail(waiters[room:], ApiError("overloaded", "too many commands wait at this gateway"))
        self._arrived.set()
        try:
            await asyncio.wait(waiters, timeout=ANSWER_S)
            if late := {waiter for waiter in waiters if not waiter.done()}:
                self._give_up(late)
            return [waiter.result() for waiter in waiters]
        finally:
            for waiter in waiters:
                waiter.cancel()  # he who asks has gone: what has not left is not sent

    def _give_up(self, late: set[asyncio.Future[Outcome]]) -> None:
        """Whoever never left is withdrawn, so that it has no effect."""
        never_left = {waiter for _, waiter in self._queue if waiter in late}
        self._queue = deque(pair for pair in self._queue if pair[1] not in late)
        _fail(never_left, ApiError("not_ready"))
        _fail(late - never_left, ApiError("outcome_unknown"))

    async def write(self) -> None:
        """Step 2, for ever."""
        log = self._open_log()
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = [self._queue.popleft() for _ in range(min(FRAME_MAX, len(self._queue)))]
            if not self._queue:
                self._arrived.clear()
            # Whoever has gone while waiting here is not sent: his client hung up, or he was told `not_ready`.
            batch = [(command, waiter) for command, waiter in batch if not waiter.done()]
            if not batch:
                continue
            self._frame_no += 1
            number = self._frame_no
            waiters = [waiter for _, waiter in batch]
            self._pending[number] = waiters
            try:
                await log.append([Outgoing(encode_frame(self._writer, number, [command for command, _ in batch]))])
            except WriteRefused:
                del self._pending[number]
                _fail(waiters, ApiError("not_ready"))
                log = self._open_log()
            except LogError:
                # It may be in the log: the answer may still come, and the waiters' own time-out says `unknown`.
                log = self._open_log()
            self._forget()

    async def _gather(self) -> None:
        """Let the next frame grow while one waits for its answer."""
        if not self._pending:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                while self._pending and len(self._queue) < FRAME_MAX:
                    self._answered.clear()
                    await self._answered.wait()

    def _forget(self) -> None:
        """Frames whose every waiter has gone."""
        while self._pending and all(w.done() for w in self._pending[next(iter(self._pending))]):
            number = next(iter(self._pending))
            del self._pending[number]
            self._parts.pop(number, None)

    async def read(self) -> None:
        """Steps 3 and 4, for ever. Raises Halt, LogError."""
        while True:
            records = await self._events.read(self._position, wait_ms=1_000)
            self._heard_s = asyncio.get_running_loop().time()
            for record in records:
                self._position = record.offset + 1
                try:
                    envelope = read_headers(record.headers)
                    if not self._chain.accept(envelope, record.value):
                        continue  # a stale writer's repeat
                except (Gap, BrokenRecord) as error:
                    raise self._halt(record, error) from error
                self._progress.saw(self.shard, envelope.seq, envelope.accounts)
                if envelope.writer == self._writer and envelope.frame_no in self._pending:
                    self._resolve(decode_record(record.value))

    def _halt(self, record: Record, error: Exception) -> Halt:
        return Halt(f"events/{self.shard} offset {record.offset}: {type(error).__name__}: {error}")

    def _resolve(self, record: EventsRecord) -> None:
        events = [*self._parts.pop(record.frame_no, ()), *record.events]
        if not record.last:
            self._parts[record.frame_no] = events
            return
        waiters = self._pending.pop(record.frame_no)
        self._answered.set()
        for index, answer in answers_of(msgspec.structs.replace(record, events=events)).items():
            with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits any more
                waiters[index].set_result(answer)


def _fail(waiters: Iterable[asyncio.Future[Outcome]], error: ApiError) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(error)
