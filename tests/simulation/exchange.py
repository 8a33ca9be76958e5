"""A small exchange under fault: production shells in simulated processes, their supervisors, and members that trade.

Safety: under faults nothing may be wrong. Liveness: after `heal` everything comes through. `check` audits the logs at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from schemas.codec import (
    WRITER_GATEWAY_MIN,
    WRITER_OPERATOR,
    ChainReader,
    decode_frame,
    decode_record,
    encode_frame,
    read_headers,
)
from schemas.commands import Command, StartShard
from schemas.events import Event
from services.audit.log_model import ShardModel
from services.audit.report import Findings
from services.matching.engine import Engine
from services.matching.follower import Follower, SnapshotPlan
from services.matching.recovery import recover
from services.matching.replica import Replica
from services.matching.shell import Shell
from services.runtime.errors import Superseded
from services.runtime.log import LogError, Outgoing
from services.runtime.status import Status
from services.settlement.payments import SimulatedPayments
from services.settlement.shell import Logs, Settlement, get_lease, keep_lease
from services.settlement.store import StoreAway
from tests.simulation.bank import Bank, outgoing
from tests.simulation.books import check_books, check_shard
from tests.simulation.flow import Members
from tests.simulation.simlog import Faults, Topic
from tests.simulation.simstore import SimDatabase, SimStore
from tests.simulation.stores import SimLease, SimSnapshots
from tests.simulation.together import Together
from tests.simulation.world import START_MS, Process, SimClock, Wait, World

RATE = 120
"""Market hours pass in half a minute."""
SHARDS = 2
CLASSES = {0: {1: (1, 10, 2_000), 2: (2, 10, 4_000)}, 1: {3: (1, 50, 10_000)}}
RESTART_MS = 300


class SimGateway:
    """One gateway of one shard: writes frames, and knows an order as acknowledged when its event is in the log."""

    def __init__(self, exchange: Exchange, shard: int) -> None:
        self.exchange = exchange
        self.shard = shard
        self.acknowledged: dict[tuple[int, int, int], Event] = {}
        """(writer, frame number, index) -> outcome."""
        self.unknown = 0
        self.sent = 0

    async def run(self) -> None:
        """Until killed: write a frame, then read events until it is answered or time is up."""
        world = self.exchange.world
        chance = world.chance(f"gateway {self.shard}")
        writer = (1 << 32) + chance.getrandbits(31)
        commands = self.exchange.commands[self.shard].log()
        events = self.exchange.events[self.shard].log()
        _, position = await events.bounds()
        frame_no = 0
        while self.exchange.open:
            frame_no += 1
            members = self.exchange.members[self.shard]
            frame = [members.draw(world.now_ms) for _ in range(chance.randint(1, 6))]
            self.sent += len(frame)
            await commands.append([Outgoing(encode_frame(writer, frame_no, frame))])
            give_up_ms = world.now_ms + 5_000
            answered = False
            while not answered and world.now_ms < give_up_ms:
                for record in await events.read(position, wait_ms=100):
                    position = record.offset + 1
                    body = decode_record(record.value)
                    if (body.writer, body.frame_no) != (writer, frame_no):
                        continue
                    answered = answered or body.last
                    for event in body.events:
                        members.heard(event)
                        if (index := getattr(event, "index", None)) is not None:
                            self.acknowledged.setdefault((writer, frame_no, index), event)
            self.unknown += 0 if answered else len(frame)
            await Wait(world.now_ms + chance.randint(0, 60))


class Exchange:
    """Everything of one seed."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        may_repeat = bool(self.world.chance("broker").getrandbits(1))
        """A broker without idempotent producers: writes of one-batch-in-flight writers may land twice."""
        self.commands = [Topic(self.world, "commands", shard, may_repeat=False) for shard in range(SHARDS)]
        self.events = [Topic(self.world, "events", shard, may_repeat=may_repeat) for shard in range(SHARDS)]
        self.quarantine = Topic(self.world, "quarantine", 0, may_repeat=False)
        self.requests = Topic(self.world, "requests", 0, may_repeat=may_repeat)
        self.delivery = Topic(self.world, "delivery", 0, may_repeat=may_repeat)
        self.database = SimDatabase(self.world)
        self.bank = Bank(self.world.chance("bank"), CLASSES, RATE, START_MS)
        self.lease = SimLease(self.world)
        self.snapshots = {f"{shard}{letter}": SimSnapshots(self.world) for shard in range(SHARDS) for letter in "ab"}
        self.members = [
            Members(self.world.chance(f"members {shard}"), CLASSES[shard], RATE, START_MS) for shard in range(SHARDS)
        ]
        self.gateways = [SimGateway(self, shard) for shard in range(SHARDS)]
        self.open = True
        self.faults = 0
        self.incarnations = 0
        self.ended: list[str] = []
        """How processes ended that were not killed."""
        self._supervised: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._running: dict[str, Process] = {}
        self._begin()

    # --- Start -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for shard in range(SHARDS):
            self._write(shard, WRITER_OPERATOR, [StartShard(shard, 1, START_MS, RATE, sandbox=True)])
            for letter in "ab":
                name = f"matching-{shard}{letter}"
                self._supervise(name, lambda shard=shard, letter=letter: self._matching(shard, letter))  # type: ignore[misc]
            self._supervise(f"gateway-{shard}", self.gateways[shard].run)
        self.requests.land([outgoing(request) for request in self.bank.opening()])
        for letter in "ab":
            self._supervise(f"settlement-{letter}", lambda letter=letter: self._settlement(letter))  # type: ignore[misc]
        self._supervise("gateway-bank", self._bank)

    def _write(self, shard: int, writer: int, commands: list[Command]) -> None:
        self.commands[shard].land([Outgoing(encode_frame(writer, len(self.commands[shard].records) + 1, commands))])

    # --- Processes ---------------------------------------------------------------------------------------------

    def _supervise(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        self._supervised.append((name, start))

    async def _matching(self, shard: int, letter: str) -> None:
        """`services.matching.__main__` without sockets and files."""
        self.incarnations += 1
        skew = self.world.chance("skew").choice([0, 0, -40_000, 25_000])
        clock, status = SimClock(self.world, skew), Status(f"matching-{shard}{letter}")
        store = self.snapshots[f"{shard}{letter}"]
        mirror = await recover(
            shard,
            self.commands[shard].log(),
            self.events[shard].log(),
            self.quarantine.log(),
            store,
            notice=lambda _: None,
        )
        naming = {"lease_name": f"matching-{shard}", "holder": f"{letter}{self.incarnations}"}
        plan = SnapshotPlan(records=self.world.chance("plan").randint(5, 60), every_ms=20_000)
        epoch = await Follower(mirror, self.lease, store, clock, status, plan=plan, **naming).run()
        await Shell(mirror, self.lease, clock, status, epoch=epoch, **naming).run()

    async def _settlement(self, letter: str) -> None:
        """`services.settlement.__main__` without sockets."""
        self.incarnations += 1
        clock, status, holder = SimClock(self.world), Status("settlement"), f"{letter}{self.incarnations}"
        epoch = await get_lease(self.lease, holder, clock, status)
        logs = Logs(
            [topic.log() for topic in self.events],
            self.requests.log(),
            self.delivery.log(),
            lambda shard: self.commands[shard].log(),
            self.requests.log,
        )
        settlement = Settlement(SHARDS, SimStore(self.database), logs, clock, status)
        await settlement.start()
        await Together(
            self.world,
            keep_lease(self.lease, holder, epoch, clock),
            settlement.settle(),
            *(settlement.send(shard) for shard in range(SHARDS)),
            settlement.pay(SimulatedPayments()),
        )

    async def _bank(self) -> None:
        """A gateway's other half: requests of members, delivery records of an operator."""
        requests, delivery = self.requests.log(), self.delivery.log()
        chance = self.world.chance("gateway bank")
        while self.open:
            if chance.random() < 0.2:
                await delivery.append([outgoing(self.bank.delivered(self.world.now_ms))])
            else:
                await requests.append([outgoing(self.bank.draw(self.world.now_ms))])
            await Wait(self.world.now_ms + chance.randint(0, 400))

    def supervise(self) -> None:
        """Start what is not running, as the supervisor would after its pause."""
        for name, start in self._supervised:
            process = self._running.get(name)
            if process is not None and process.alive:
                continue
            if process is not None and isinstance(process.ended, BaseException):
                self._check_ending(name, process.ended)
            self._running[name] = self.world.spawn(name, self._after_pause(start, first=process is None))  # type: ignore[arg-type]

    async def _after_pause(self, start: Callable[[], Awaitable[None]], *, first: bool) -> None:
        await Wait(self.world.now_ms + (0 if first else RESTART_MS))
        await start()

    def _check_ending(self, name: str, error: BaseException) -> None:
        """Processes may end by what the world did to them, and by nothing else."""
        if not isinstance(error, LogError | Superseded | StoreAway):
            raise AssertionError(  # noqa: TRY004 # not a question of types
                f"{name} ended with {error!r} at step {self.world.steps}"
            ) from error
        self.ended.append(f"{name}: {error!r}")

    # --- Faults ------------------------------------------------------------------------------------------------

    def inject(self) -> None:
        """One fault, drawn."""
        chance = self.world.chance("faults")
        self.faults += 1
        kind = chance.choice(["kill", "kill", "kill", "database", "broker", "writes", "disk", "calm", "calm", "pause"])
        if kind == "kill":
            alive = [process for process in self._running.values() if process.alive]
            if alive:
                self.world.kill(chance.choice(alive))
        elif kind == "database":
            self.lease.away = self.database.away = not self.lease.away
            self.database.unknown_permille = chance.randint(0, 50)
        elif kind == "broker":
            topic = chance.choice(self.topics())
            topic.faults.offline = not topic.faults.offline
        elif kind == "writes":
            for topic in self.topics():
                topic.faults = Faults(
                    refused=chance.randint(0, 30),
                    lost=chance.randint(0, 30),
                    unknown=chance.randint(0, 60),
                    twice=chance.randint(0, 100),
                    late_ms_max=chance.choice([2, 20, 2_000]),
                )
        elif kind == "disk":
            self.snapshots[chance.choice(sorted(self.snapshots))].damage("disk")
        elif kind == "pause":
            # Nobody gets the processor for a while: leases run out, an hour or two of the market passes.
            self.world.now_ms += chance.randint(1_000, 60_000)
        else:
            self.calm()

    def topics(self) -> list[Topic]:
        """All that may fail."""
        return [*self.commands, *self.events, self.requests, self.delivery]

    def calm(self) -> None:
        """No more faults from here on."""
        self.lease.away = self.database.away = False
        self.database.unknown_permille = 0
        for topic in self.topics():
            topic.faults = Faults()

    # --- The day -----------------------------------------------------------------------------------------------

    def run(self, steps: int, fault_every: int) -> None:
        """`steps` resumptions with a fault about every `fault_every` of them."""
        chance = self.world.chance("when")
        end = self.world.steps + steps
        while self.world.steps < end:
            self.supervise()
            assert self.world.step(), "everything waits for ever"
            if chance.randrange(fault_every) == 0:
                self.inject()

    def heal(self, time_ms_max: int = 120_000) -> None:
        """Faults stop, members stop; L1: within `time_ms_max` every command has its output in `events`."""
        self.calm()
        self.open = False
        until_ms = self.world.now_ms + time_ms_max
        while self.world.now_ms < until_ms:
            self.supervise_matching()
            assert self.world.step(), "everything waits for ever"
            if self.world.steps % 50 == 0 and all(self._answered(shard) for shard in range(SHARDS)) and self._settled():
                return
        raise AssertionError(f"L1: not everything was answered within {time_ms_max} ms of healing")

    def supervise_matching(self) -> None:
        """Gateways stay closed."""
        self._supervised = [pair for pair in self._supervised if not pair[0].startswith("gateway")]
        self.supervise()

    def _answered(self, shard: int) -> bool:
        """Whether the last record of `commands` that is not a tick has its output."""
        if not self.events[shard].records:
            return False
        last = max(decode_record(record.value).offset for record in self.events[shard].records[-20:])
        return last >= self.commands[shard].end() - 2

    def _settled(self) -> bool:
        """Whether settlement has come to the end of every log (but for ticks), and nothing is on its way to a shard."""
        cursors = self.database.tables["cursors"]
        logs = [*self.events, self.requests, self.delivery]
        behind = sum(topic.end() - int(str(cursors.get((topic.name, topic.partition), (0, 0, 0))[2])) for topic in logs)
        return behind <= 2 * SHARDS and all(row[4] for row in self.database.tables["outbox"].values())

    # --- Judgement ---------------------------------------------------------------------------------------------

    def check(self) -> Findings:
        """Audit both shards from their logs. Raises AssertionError."""
        found = Findings()
        check_books(found, self.database)
        for shard in range(SHARDS):
            acknowledged = self._audit(shard, found)
            missing = [key for key in self.gateways[shard].acknowledged if key not in acknowledged]
            assert not missing, f"S2: acknowledged and gone: {missing[:5]}"
            for key, event in self.gateways[shard].acknowledged.items():
                assert acknowledged[key] == event, f"S2: {event} became {acknowledged[key]}"
        broken = [f"{finding.name}: {finding.breaches[0]}" for finding in found if finding.broken]
        assert not broken, "\n".join(broken)
        return found

    def unique_events(self, shard: int) -> list[Event]:
        """Each event of a shard once, in order."""
        reader = ChainReader()
        return [
            event
            for record in self.events[shard].records
            if reader.accept(read_headers(record.headers), record.value)
            for event in decode_record(record.value).events
        ]

    def _audit(self, shard: int, found: Findings) -> dict[tuple[int, int, int], Event]:
        """The log model over every record once; D1: a replay of `commands` gives the very chain."""
        frames = {record.offset: decode_frame(record.value) for record in self.commands[shard].records}
        replica = Replica(shard, Engine())
        said = {
            sealed.seq: sealed.chain for record in self.commands[shard].records for sealed in replica.apply(record, {})
        }
        model, reader = ShardModel(found), ChainReader()
        outcomes: dict[tuple[int, int, int], Event] = {}
        settled: list[tuple[int, int, Event]] = []
        settled_seq = int(str(self.database.tables["cursors"]["events", shard][4]))
        for record in self.events[shard].records:
            envelope = read_headers(record.headers)
            if not reader.accept(envelope, record.value):
                continue
            found.expect("D1", said.get(envelope.seq) == envelope.chain, f"shard {shard}, seq {envelope.seq}")
            body = decode_record(record.value)
            frame = frames[body.offset]
            model.apply(body, frame if body.last else None)
            if body.seq <= settled_seq:
                settled += [(body.seq, index, event) for index, event in enumerate(body.events)]
            if body.seq == settled_seq:
                check_shard(found, self.database, shard, model, settled)
            for event in body.events:
                if (index := getattr(event, "index", None)) is not None:
                    key = (body.writer, body.frame_no, index)
                    # Settlement's outbox may send a frame again; members' frames are written once.
                    assert key not in outcomes or body.writer < WRITER_GATEWAY_MIN, f"O3: {key} was answered twice"
                    outcomes[key] = event
        model.finish()
        replica.engine.check()
        return outcomes


def random_day(seed: int, steps: int = 6_000, fault_every: int = 120) -> Exchange:
    """A day of faults, a night of peace, and the audit. The seed is said before anything else happens."""
    print(f"HOURBOOK_SEED={seed} HOURBOOK_STEPS={steps} make sim", file=sys.stderr, flush=True)
    exchange = Exchange(seed)
    exchange.run(steps, fault_every)
    exchange.heal()
    exchange.check()
    return exchange
