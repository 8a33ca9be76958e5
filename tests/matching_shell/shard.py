"""One shard in the simulated world: its logs, lease and snapshots, and processes of the production protocol code."""

from __future__ import annotations

from collections.abc import Callable

from schemas.codec import (
    WRITER_GATEWAY_MIN,
    WRITER_OPERATOR,
    ChainReader,
    Sealed,
    decode_record,
    encode_frame,
    epoch_header,
    read_headers,
)
from schemas.commands import Command, SetAccount, StartShard
from services.matching.engine import Engine
from services.matching.follower import Follower, SnapshotPlan
from services.matching.recovery import recover
from services.matching.references import References
from services.matching.replica import Replica
from services.matching.shell import Shell
from services.runtime.log import Outgoing
from services.runtime.status import Status
from tests.simulation.simlog import Topic
from tests.simulation.stores import SimLease, SimSnapshots
from tests.simulation.world import START_MS, Process, SimClock, World

SHARD = 0
START = StartShard(SHARD, 2, START_MS, 1, sandbox=True)


class SimShard:
    """What outlives the processes. `start` begins one; `run` lets the world go on."""

    def __init__(self, seed: int = 1, *, started: bool = True) -> None:
        self.world = World(seed)
        self.commands = Topic(self.world, "commands", SHARD, may_repeat=False)
        self.events = Topic(self.world, "events", SHARD, may_repeat=False)
        self.quarantine = Topic(self.world, "quarantine", 0, may_repeat=False)
        self.references = Topic(self.world, "references", 0, may_repeat=False)
        self.lease = SimLease(self.world)
        self.store = SimSnapshots(self.world)
        self.notices: list[str] = []
        self.statuses: dict[str, Status] = {}
        self.sent = 0
        self.snapshot_records = 1_000_000
        if started:
            self.commands.land([Outgoing(encode_frame(WRITER_OPERATOR, 1, [START]))])

    def start(self, holder: str = "a", *, lease: SimLease | None = None, skew_ms: int = 0) -> Process:
        """A process of the shard, as `services.matching.__main__` runs it."""
        return self.world.spawn(holder, self._serve(holder, lease or self.lease, skew_ms))

    async def _serve(self, holder: str, lease: SimLease, skew_ms: int) -> None:
        clock = SimClock(self.world, skew_ms)
        status = self.statuses[holder] = Status(holder)
        mirror = await recover(
            SHARD, self.commands.log(), self.events.log(), self.quarantine.log(), self.store, notice=self.notices.append
        )
        naming = {"lease_name": "matching-0", "holder": holder}
        plan = SnapshotPlan(records=self.snapshot_records, every_ms=10**9)
        epoch = await Follower(mirror, lease, self.store, clock, status, plan=plan, **naming).run()
        references = References(self.references.log())
        await Shell(mirror, lease, clock, status, epoch=epoch, references=references, **naming).run()

    def send(self, count: int = 1) -> None:
        """`count` frames of one command each, which is always accepted or always rejected, as the engine likes."""
        for _ in range(count):
            self.sent += 1
            self.send_frame([SetAccount(self.sent, self.sent, self.sent, 0, 0)])

    def send_frame(self, commands: list[Command]) -> None:
        """One frame."""
        self.send_bytes(encode_frame(WRITER_GATEWAY_MIN, len(self.commands.records), commands))

    def send_bytes(self, value: bytes) -> None:
        """One record, whatever it is."""
        self.commands.land([Outgoing(value)])

    def run(self, until: Callable[[], bool], ms_max: int = 60_000) -> None:
        """Let the world go on until `until()`; an AssertionError when that takes too long."""
        end_ms = self.world.now_ms + ms_max
        while not until():
            assert self.world.now_ms < end_ms, f"not within {ms_max} ms: {self.world.trace}"
            assert self.world.step(), "everything waits for ever"

    def run_ms(self, duration_ms: int) -> None:
        """Let so much time pass."""
        self.run(self.world.passed(duration_ms), duration_ms + 1_000)

    def end_of(self, process: Process, ms_max: int = 60_000) -> BaseException:
        """The exception that a process ends with."""
        self.run(lambda: process.ended is not None, ms_max)
        assert isinstance(process.ended, BaseException), process.ended
        return process.ended

    def ended_or_answered(self, process: Process) -> bool:
        """Let the world go on until a process has answered everything, or has ended; True: it lives."""
        self.run(lambda: process.ended is not None or self.answered())
        return process.alive

    def answered(self) -> bool:
        """Whether `events` holds the output of the last record of `commands`."""
        last = [decode_record(record.value).offset for record in self.events.records[-50:]]
        return bool(last) and max(last) == self.commands.end() - 1

    def said(self, banned: dict[int, bytes] | None = None) -> list[Sealed]:
        """What `commands` must give: a replica of its own."""
        replica = Replica(SHARD, Engine())
        return [sealed for record in self.commands.records for sealed in replica.apply(record, banned or {})]

    def chains(self) -> list[bytes]:
        """The chain that a reader of `events` sees; Gap or BrokenRecord when there is a hole or a contradiction."""
        reader = ChainReader()
        return [
            reader.chain for record in self.events.records if reader.accept(read_headers(record.headers), record.value)
        ]

    def check(self, banned: dict[int, bytes] | None = None) -> None:
        """What readers of `events` saw is exactly what `commands` gives, as far as it was written."""
        chains = self.chains()
        assert chains == [sealed.chain for sealed in self.said(banned)][: len(chains)]

    def write_events(self, sealed: list[Sealed], epoch: int = 1) -> None:
        """Put records into `events` by hand."""
        for one in sealed:
            self.events.land([Outgoing(one.body, [*one.headers, epoch_header(epoch)])])
