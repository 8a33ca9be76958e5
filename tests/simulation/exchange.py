"""A small exchange in one process: the services' own `serve`, their supervisor, an operator, and members that trade.

Two shards with two matching processes each, two settlements, two gateways. Whatever ends is started again; what halts waits
for the operator, who does what the sentence says.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from schemas import requests as rq
from schemas.codec import WRITER_OPERATOR, WRITER_SHELL, BrokenFrame, decode_frame, decode_record, encode_frame
from schemas.commands import StartShard
from services.gateway import __main__ as gateway_main
from services.gateway import door
from services.gateway.wiring import Gateway
from services.market_data.app import Room
from services.matching import __main__ as matching_main
from services.matching import mirror, tools
from services.matching.follower import SnapshotPlan
from services.matching.quarantine import ban
from services.runtime.config import Settings
from services.runtime.errors import Halt, Superseded
from services.runtime.log import LogError, Outgoing
from services.runtime.status import Status
from services.runtime.supervise import Service
from services.settlement import __main__ as settlement_main
from services.settlement.store import StoreAway
from tests.simulation.bank import Teller, opening
from tests.simulation.dealers import Dealer
from tests.simulation.members import Receipts, Trader
from tests.simulation.officers import Officer, Reporter, deliver_the_rest, switch_version
from tests.simulation.simlog import SimCluster, Topic
from tests.simulation.simstore import SimDatabase
from tests.simulation.simtables import SimTables
from tests.simulation.stores import SimLease, SimSnapshots
from tests.simulation.world import START_MS, Process, Signal, SimClock, Wait, World

SHARDS = 2
CLASSES = {1: (1, 10, 2_000), 2: (2, 10, 4_000), 3: (1, 50, 10_000)}
"""Class number -> (lot, tick, list price)."""
RESTART_MS = 600
TRADERS, DEALERS, TELLERS = 8, 6, 2
RUBBISH = b"\xc1 not a frame"


class Exchange:
    """Everything of one seed."""

    classes = CLASSES
    killable: tuple[str, ...] = ("matching", "settlement", "gateway")
    """Kinds of processes that faults may kill and stop."""

    def __init__(self, seed: int, rate: int = 0, version: int = 0) -> None:
        """`rate`, `version` 0: drawn."""
        self.world = World(seed)
        self.world.outside = self
        chance = self.world.chance("exchange")
        self.shards = SHARDS
        self.rate = rate or chance.choice([60, 240, 480])
        """Market hours pass in minutes or seconds."""
        self.version = version or chance.choice([2, 2, 2, 1])
        """Of the engine, as the day begins; a day of the first one goes on with the second."""
        may_repeat = bool(chance.getrandbits(1))
        """A broker without idempotent producers: writes that readers know how to drop may land twice."""
        self.commands = [Topic(self.world, "commands", shard, may_repeat=False) for shard in range(SHARDS)]
        self.events = [Topic(self.world, "events", shard, may_repeat=may_repeat) for shard in range(SHARDS)]
        self.requests = Topic(self.world, "requests", 0, may_repeat=may_repeat)
        self.delivery = Topic(self.world, "delivery", 0, may_repeat=may_repeat)
        quiet = [
            Topic(self.world, name, 0, may_repeat=False)
            for name in ("quarantine", "keys", "offers", "references", "leases", "rentals")
        ]
        self.quarantine = quiet[0]
        self.topics = [*self.commands, *self.events, self.requests, self.delivery]
        """All that may fail."""
        for topic in self.topics:
            topic.empty_ms = 15
        self.cluster = SimCluster({(topic.name, topic.partition): topic for topic in [*self.topics, *quiet]})
        self.database = SimDatabase(self.world)
        self.tables = SimTables(self.database)
        """The same, to be read with statements."""
        self.lease = SimLease(self.world)
        self.disks: dict[str, SimSnapshots] = {}
        """Folder -> snapshots."""
        self.home = tempfile.TemporaryDirectory(prefix="simulated-")
        """For the archive's files, which are real."""
        self.open = True
        """Whether members begin anything new."""
        self.opened = Signal()
        """Fired once accounts, classes, money and backing are there."""
        self.open_gateways: dict[str, tuple[Process, Gateway]] = {}
        self.lost_answers_permille = 0
        self.market_rooms: list[tuple[Process, Room]] = []
        """Market data's processes that have begun, and what they answer from."""
        self.receipts = Receipts()
        self.versions: defaultdict[tuple[int, int], int] = defaultdict(lambda: 1)
        """(account, class) -> version of its backing."""
        self.traded: list[tuple[int, str, str, str]] = []
        """(account, contract, side, price) of fills that members were told of."""
        self.trades: list[str] = []
        """Their numbers."""
        self.delivered_last: list[int] = []
        """Contracts for which an operator has written a record at the end of the day."""
        self.did: Counter[str] = Counter()
        """What was done to the exchange, and how its processes took it."""
        self.internal: list[str] = []
        """Faults that a gateway answered as its own, and that were."""
        self.statuses: dict[str, Status] = {}
        self.clocks: dict[str, SimClock] = {}
        self.running: dict[str, Process] = {}
        self.clients: list[Process] = []
        self._starts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._halted: dict[str, str] = {}
        self._begin()

    # --- Start -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for shard in range(SHARDS):
            self.commands[shard].land([Outgoing(encode_frame(WRITER_OPERATOR, 1, [self.start(shard)]))])
            for letter in "ab":
                name = f"matching-{shard}{letter}"
                self._keep(name, lambda name=name, shard=shard: self._matching(name, shard))  # type: ignore[misc]
        asked = list(self.opening())
        self._asked = [request.request_id for request in asked]
        self.requests.land([Outgoing(msgspec.msgpack.encode(request)) for request in asked])
        for letter in "ab":
            for kind, serve in (("settlement", settlement_main.serve), ("gateway", gateway_main.serve)):
                name = f"{kind}-{letter}"
                self._keep(name, lambda name=name, serve=serve: serve(self._begun(name)))  # type: ignore[misc]
        self.clients = [self.world.spawn("member", run) for run in self.cast()]
        if self.version == 1:
            self.clients.append(self.world.spawn("operator", switch_version(self)))

    def opening(self) -> Iterable[rq.Request]:
        """What an operator's tool writes before the doors open."""
        return opening(self)

    def cast(self) -> list[Coroutine[Any, Any, None]]:
        """Who begins to ask then."""
        members = [
            *(Trader(self, f"trader-{number}") for number in range(TRADERS)),
            *(Dealer(self, f"dealer-{number}") for number in range(DEALERS)),
            *(Teller(self, f"teller-{number}") for number in range(TELLERS)),
            Officer(self, "officer"),
            Reporter(self, "reporter"),
        ]
        return [one.run() for one in members]

    def start(self, shard: int) -> StartShard:
        """A shard's first command."""
        return StartShard(shard, self.version, START_MS, self.rate, sandbox=True)

    def shard_of(self, class_no: int) -> int:
        """Two classes trade in shard 0, one in shard 1."""
        return 0 if class_no < 3 else 1

    def market_ms(self) -> int:
        """Market time now."""
        return START_MS + self.rate * (self.world.now_ms - START_MS)

    # --- Processes ---------------------------------------------------------------------------------------------

    def _service(self, name: str, shard: int = 0) -> Service:
        """What `services.runtime.supervise.run` would give to `serve`."""
        settings = Settings(
            kafka="simulated:1",
            postgres="simulated",
            shards=SHARDS,
            shard=shard,
            data=Path(self.home.name) / name,
            master_key=bytes(32),
            http_port=1,
            feed_port=1,
            feed_key=bytes(32),
            market="http://market-data",
            name=name,
        )
        service = Service(settings, Status(name))
        skews = [0, 0, -40_000, 25_000] if name.startswith("matching") else [0, 0, -100, 50]
        skew_ms = self.world.chance("skew").choice(skews)
        clock = self.clocks[name] = SimClock(self.world, skew_ms, oversleep_ms=25)
        service.clock = clock  # type: ignore[assignment] # a clock all the same
        return service

    def _begun(self, name: str, shard: int = 0) -> Service:
        service = self._service(name, shard)
        self.statuses[name] = service.status
        return service

    async def _matching(self, name: str, shard: int) -> None:
        plan = SnapshotPlan(records=self.world.chance("plan").randint(5, 60), every_ms=20_000)
        await matching_main.serve(self._begun(name, shard), plan)

    def disk(self, folder: Path, shard: int) -> SimSnapshots:
        """The snapshots in a folder; each process has its own."""
        del shard
        return self.disks.setdefault(folder.parent.name, SimSnapshots(self.world))

    def _keep(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._starts[name] = start
        self._launch(name, 0)

    def _launch(self, name: str, pause_ms: int) -> None:
        async def run() -> None:
            await Wait(self.world.now_ms + pause_ms)
            await self._starts[name]()

        process = self.running[name] = self.world.spawn(name, run())
        process.on_end = self._ended

    def _ended(self, process: Process) -> None:
        """As the supervisor does: start again, and after a halt wait for an operator."""
        name, end = process.name, process.ended
        self.open_gateways.pop(name, None)
        if isinstance(end, BaseException):
            self.did[f"{name.split('-')[0]} ended: {type(end).__name__}"] += 1
        if isinstance(end, Halt):
            self._halt(name, str(end))
            return
        assert not isinstance(end, BaseException) or isinstance(end, LogError | Superseded | StoreAway), (
            f"L3: {name} ended with a fault: {end!r}"
        )
        self._launch(name, RESTART_MS)

    # --- The operator ------------------------------------------------------------------------------------------

    def _halt(self, name: str, sentence: str) -> None:
        """L3: it has stopped, and says what an operator should do."""
        self._halted[name] = sentence
        self.world.later(self.world.chance("operator").randint(200, 5_000), lambda: self._attend(name, sentence))

    def _attend(self, name: str, sentence: str) -> None:
        advice = re.search(r"--shard (\d+) --offset (\d+) --hash ([0-9a-f]{32})", sentence)
        run: Callable[[], Awaitable[Any]]
        if advice is not None:
            run = partial(self._quarantine, int(advice[1]), int(advice[2]), advice[3])
        elif name.startswith("matching") and "was cut: it begins at" in sentence:
            run = partial(self._snapshot, name)
        elif name.startswith("settlement") and self.did["events lost its tail"] and "events/" in sentence:
            # What it has read is written again by matching, byte for byte: it may go on when that is there.
            run = partial(Wait, self.world.now_ms)
        else:
            raise AssertionError(f"L1: {name} has halted, and no operator can help: {sentence}")
        self.world.spawn(f"operator for {name}", self._work(run)).on_end = lambda _: self._launch(name, RESTART_MS)

    @staticmethod
    async def _work(run: Callable[[], Awaitable[Any]]) -> None:
        """Made in here: a day may end before he has begun."""
        await run()

    async def _quarantine(self, shard: int, offset: int, hash_hex: str) -> None:
        cluster = self.cluster
        try:
            await ban(
                cluster.log("commands", shard),
                cluster.log("events", shard),
                cluster.log("quarantine"),
                offset=offset,
                hash_hex=hash_hex,
                reason="simulated",
                operator="simulated",
            )
            self.did["quarantined"] += 1
        except (LogError, Halt):
            # The broker was away, or another operator was faster: the process halts again, or goes on.
            return

    async def _snapshot(self, name: str) -> None:
        try:
            await tools.snapshot(self._service(name, int(name[-2])), self.cluster)  # type: ignore[arg-type]
            self.did["snapshot through the archive"] += 1
        except (LogError, Halt):
            return

    async def archive(self, shard: int) -> None:
        """`hourbook archive`: below every snapshot and settlement's cursor. Both machines see the same archive."""
        for letter in "ab":
            folder = Path(self.home.name) / f"matching-{shard}{letter}" / "archive"
            if not folder.exists():
                folder.parent.mkdir(exist_ok=True)
                shared = Path(self.home.name) / f"archive-{shard}"
                shared.mkdir(exist_ok=True)
                folder.symlink_to(shared)
        cursor = self.database.row("cursors", "events", shard)
        options = argparse.Namespace(
            cursors=[cursor["next_offset"] if cursor else 0],
            snapshots=[Path(self.home.name) / f"matching-{shard}b" / "snapshots"],
        )
        service = self._service(f"matching-{shard}a", shard)
        try:
            await tools.archive(service, self.cluster, options)  # type: ignore[arg-type]
            self.did["archived"] += 1
        except (LogError, Halt):
            return

    def has_opened(self) -> bool:
        """Whether everything that the operator's tool has asked for is done."""
        if "open" in self.did:
            return True
        states = {row["request_id"]: row["state"] for row in self.database.rows("requests")}
        if any(states.get(name, "pending") == "pending" for name in self._asked):
            return False
        self.did["open"] += 1
        self.opened.fire()
        return True

    def check_bounds(self) -> None:
        """L2: whatever waits in memory is bounded. A bound may be passed by what was read at once."""
        for name, status in self.statuses.items():
            pending = status.values.get("pending", 0)
            assert int(pending) <= mirror.PENDING_MAX + 64 * mirror.READ_MAX, f"L2: {name} keeps {pending} records"
        for name, (_, gateway) in self.open_gateways.items():
            for of_shard in gateway.shards.doors:
                assert len(of_shard._queue) <= door.QUEUE_MAX, f"L2: {len(of_shard._queue)} commands wait at {name}"
                assert len(of_shard._pending) <= 4 * len(self.clients), f"L2: {len(of_shard._pending)} frames of {name}"

    # --- Peace -------------------------------------------------------------------------------------------------

    def close_market(self) -> None:
        """Members begin nothing new, and what has ended is delivered."""
        self.open = False
        self.clients.append(self.world.spawn("operator", deliver_the_rest(self)))

    def at_rest(self) -> bool:
        """Whether everything is answered, settled and said to be so."""
        return not self.unrest()

    def unrest(self) -> list[str]:
        """What is still to come."""
        found = [f"{client.name} waits for an answer" for client in self.clients if client.alive]
        wanted = {("events", shard): self._answered_at(shard) for shard in range(SHARDS)}
        for topic in (self.requests, self.delivery):
            wanted[topic.name, 0] = topic.end()
        for (name, partition), end in wanted.items():
            cursor = self.database.row("cursors", name, partition)
            if end is None:
                found.append(f"shard {partition} has not answered everything")
            elif (cursor["next_offset"] if cursor else 0) < end:
                found.append(f"{name}/{partition} is not settled")
        waiting = sum(not row["confirmed"] for row in self.database.rows("outbox"))
        if waiting:
            found.append(f"{waiting} messages wait for a shard")
        payouts = [row["payout"] for row in self.database.rows("payouts") if row["state"] in ("requested", "sent")]
        if payouts:
            found.append(f"payouts {payouts} are under way")
        for name in self._starts:
            said = self.statuses[name].values if name in self.statuses else {"waiting_for": "its start"}
            if not self.running[name].alive or (said["waiting_for"] and name[:10] != "settlement"):
                found.append(f"{name} waits for {said['waiting_for']}")
        active = Counter(name[:-1] for name, status in self.statuses.items() if status.values.get("role") == "active")
        found += [f"{count} processes of {of} are active" for of, count in active.items() if count > 1]
        return found

    def _answered_at(self, shard: int) -> int | None:
        """The end of `events` after the output of the last record of `commands` that is no tick; None: it is not there."""
        asked = next(r.offset for r in reversed(self.commands[shard].all()) if not _is_tick(r.value))
        # Repeats of a stale writer may stand behind it.
        for record in reversed(self.events[shard].all()):
            said = decode_record(record.value)
            if said.offset == asked and said.last:
                return record.offset + 1
        return None

    def close(self) -> None:
        """Forget everything: coroutines are closed where they stand."""
        for process in list(self.world.processes):
            process.on_end = None
            self.world.kill(process)
        self.home.cleanup()
        self.tables.close()


def _is_tick(value: bytes) -> bool:
    try:
        return decode_frame(value).writer == WRITER_SHELL
    except BrokenFrame:
        return False
