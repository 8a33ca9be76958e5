"""A shard with a million open orders: what it holds, how it answers, what a snapshot costs others, and how it comes back.

The orders are written to `commands` in frames of 64, as a gateway under load writes them, and the shard's processes are those of
`make up`: a writer, and a standby that takes the snapshots. Fifty accounts hold 20,000 orders each (an account may have 100,000)
in 24 hours at 200 prices a side. Without gateway and settlement, which keep nothing of it in memory but what is open in theirs
(docs/scaling.md): bringing a million orders through the door takes half an hour.

An order's time is from when its record was due to its record in `events`, both over Apache Kafka. Half of them rest, half trade.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import uvloop

from bench.member import at
from bench.servers import Given, servers
from bench.shard import CLASS_NO, LIST_PRICE, TICK, VALIDITY_MS, first_hour, opening, resting_orders
from bench.usage import MIB, processor_s, resident, status_of
from schemas.codec import WRITER_GATEWAY_MIN, WRITER_SETTLEMENT, encode_frame, read_headers
from schemas.commands import PlaceOrder, Side, Tif
from schemas.ids import contract_of
from services.matching.recovery import restore
from services.matching.store import FileSnapshotStore
from services.runtime.collector import NEW_MAX, Collector
from services.runtime.infra import OwnedProcess
from services.runtime.kafka import Cluster, KafkaLog
from services.runtime.log import Outgoing
from services.runtime.topics import create_topics

ACCOUNTS: Final = 50
PER_FRAME: Final = 64
PROBES: Final = 400
PROBE_S: Final = 0.05
SNAPSHOT_MS: Final = 15_000
"""Between two snapshots of the standby here, so that several fall into the measurement; as deployed ten minutes."""
SNAPSHOTS: Final = 3
FILLED: Final = WRITER_GATEWAY_MIN
PROBER: Final = WRITER_GATEWAY_MIN + 1
WITHIN_S: Final = 300.0
LOOK_S: Final = 0.1
BUSY: Final = 0.6
"""Of a core: a standby that uses so much while 20 orders a second arrive writes a snapshot."""
ORDER_MS, STALL_MS = 50, 1_000
ORDER_BYTES, RESTART_S, TAKE_OVER_S = 1_024, 30, 30


class Fact(NamedTuple):
    """A line of the table."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    """None: told, and not judged."""
    note: str = ""

    def missed(self) -> list[str]:
        """Its fault, or nothing."""
        if self.at_most is None or self.value <= self.at_most:
            return []
        return [f"{_number(self.value)} {self.unit}, allowed {_number(self.at_most)}"]

    def row(self) -> str:
        """Of the page."""
        bound = "–" if self.at_most is None else f"≤ {_number(self.at_most)} {self.unit}"
        verdict = "–" if self.at_most is None else "**missed**" if self.missed() else "reached"
        return f"| {self.what} | {bound} | {_number(self.value)} {self.unit}{self.note} | {verdict} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def full_shard(orders: int) -> list[Fact]:
    """All of it, on servers of its own."""
    with servers() as started:
        _, place = started.enter()
        return uvloop.run(_measure(place, orders))


async def _measure(place: Given, orders: int) -> list[Fact]:
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        shard = Shard(place, cluster.log("commands"), cluster.log("events"), time.time_ns() // 1_000_000)
        await create_topics(cluster, 1, sandbox=True, t0_ms=shard.t0_ms)
        try:
            return await _story(shard, orders)
        finally:
            shard.stop()


async def _story(shard: Shard, orders: int) -> list[Fact]:
    await shard.open()
    writer = shard.start("a")
    await shard.probe(20)
    empty, small = await shard.probe(PROBES), resident(writer.pid)
    _say(f"an empty shard: p50 {at(empty, 0.5):.1f} ms, p99 {at(empty, 0.99):.1f} ms")

    filling_s = await shard.fill(orders)
    full, large = await shard.probe(PROBES), resident(writer.pid)
    _say(f"{orders:,} orders after {filling_s:.0f} s: p50 {at(full, 0.5):.1f} ms, p99 {at(full, 0.99):.1f} ms")

    began = time.monotonic()
    standby = shard.start("b")
    meanwhile, snapshots = await shard.probe_during(standby, SNAPSHOTS)
    _say(f"{len(snapshots)} snapshots, of {max(snapshots):.1f} s at most, after {time.monotonic() - began:.0f} s")
    height = max(resident(standby.pid), shard.standby_peak)

    # The writer dies in the middle of a snapshot: the standby finishes it first.
    await shard.until_snapshot_begins(standby)
    writer.kill()
    take_over_s = await shard.answered_after()
    standby.kill()
    shard.start("c")
    restart_s = await shard.answered_after()

    load_s, look_s, size, open_orders = await shard.look_at_snapshot()
    assert open_orders >= orders - shard.traded, f"{open_orders} are open"
    return [
        Fact(
            "memory of the writer, for each open order with its client id",
            (large - small) / orders,
            "bytes",
            ORDER_BYTES,
        ),
        Fact("memory of the writer", large / MIB, "MiB", note=f", empty {small / MIB:.0f}"),
        Fact("memory of the standby at its height, in a snapshot", height / MIB, "MiB"),
        Fact("orders filled in from the log, a second", orders / filling_s, "orders/s"),
        Fact("an order, p50", at(full, 0.5), "ms", note=f", in an empty shard {at(empty, 0.5):.1f}"),
        _order("an order, p99", full, empty),
        _order("an order while the standby starts and takes snapshots, p99", meanwhile, empty),
        Fact("the longest of them", meanwhile[-1], "ms", STALL_MS, f", of {len(meanwhile):,}"),
        Fact("a snapshot, from its begin to its file", max(snapshots), "s", note=f", {size / MIB:.0f} MiB"),
        Fact(
            "writer killed as the standby begins a snapshot, until an order is answered", take_over_s, "s", TAKE_OVER_S
        ),
        Fact("both killed, a process started, until an order is answered", restart_s, "s", RESTART_S),
        Fact("of it: the snapshot read and checked", load_s, "s"),
        Fact(
            f"a look of the garbage collection at {NEW_MAX:,} new objects, as it comes", 1000 * look_s, "ms", STALL_MS
        ),
    ]


def _order(what: str, taken: Sequence[float], empty: list[float]) -> Fact:
    before = at(empty, 0.99)
    return Fact(what, at(list(taken), 0.99), "ms", max(ORDER_MS, 3 * before), f", in an empty shard {before:.1f}")


class Shard:
    """The logs of one shard, its processes, and somebody who places orders and waits for their events."""

    def __init__(self, place: Given, commands: KafkaLog, events: KafkaLog, t0_ms: int) -> None:
        self.t0_ms = t0_ms
        self.standby_peak = 0
        self.traded = 0
        """Orders of the fill that probes have bought at most."""
        self._place = place
        self._commands = commands
        self._events = events
        self._next = 0
        """In `events`."""
        self._probe_no = 0
        self._processes: list[OwnedProcess] = []
        self._folder = place.home / "snapshots"

    async def open(self) -> None:
        """Accounts and a class; the first frame stands there already, written with the topic."""
        frames = [*opening(ACCOUNTS + 1, t0_ms=self.t0_ms)][1:]
        values = [encode_frame(WRITER_SETTLEMENT, number, frame) for number, frame in enumerate(frames, 1)]
        await self._commands.append([Outgoing(value) for value in values])

    def start(self, name: str) -> OwnedProcess:
        """One of the shard's processes."""
        process = OwnedProcess(
            [sys.executable, "-m", "services.matching", "--snapshot-ms", str(SNAPSHOT_MS)],
            log=self._place.home / f"matching-{name}.log",
            env={
                **os.environ,
                "HOURBOOK_KAFKA": self._place.bootstrap,
                "HOURBOOK_TOPIC_PREFIX": self._place.prefix,
                "HOURBOOK_POSTGRES": self._place.dsn,
                "HOURBOOK_SHARDS": "1",
                "HOURBOOK_SHARD": "0",
                "HOURBOOK_DATA": str(self._place.home),
                "HOURBOOK_RUN": str(self._place.home),
                "HOURBOOK_NAME": name,
            },
        )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """All of them."""
        for process in self._processes:
            process.stop()

    async def fill(self, orders: int) -> float:
        """Seconds until the last of so many orders is in `events`, from their append on."""
        frames = enumerate(resting_orders(orders, ACCOUNTS, per_frame=PER_FRAME, t0_ms=self.t0_ms))
        values = [encode_frame(FILLED, number, frame) for number, frame in frames]
        began = time.monotonic()
        for first in range(0, len(values), 1_000):
            await self._commands.append([Outgoing(value) for value in values[first : first + 1_000]])
        await self._until_said(FILLED, len(values) - 1)
        return time.monotonic() - began

    # --- One order after the other ---------------------------------------------------------------------------

    async def probe(self, orders: int) -> list[float]:
        """Milliseconds of each, sorted."""
        taken: list[float] = []
        await self._probe(taken, range(orders))
        return sorted(taken)

    async def until_it_follows(self, name: str) -> None:
        """A standby that has read the log to its end."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            with contextlib.suppress(OSError):  # it has not begun to tell, or is too busy to
                status = await asyncio.to_thread(status_of, self._place.home, name)
                if status.get("role") == "follower" and status["lag"] == 0:
                    return
            assert time.monotonic() < deadline, f"it does not follow within {WITHIN_S:.0f} s"
            await asyncio.sleep(0.2)

    async def probe_during(self, standby: OwnedProcess, snapshots: int) -> tuple[list[float], list[float]]:
        """The same until the standby has written so many snapshots, and how many seconds each of these took."""
        taken: list[float] = []
        seen = asyncio.Event()
        turns = itertools.takewhile(lambda _: not seen.is_set(), itertools.count())
        probing = asyncio.create_task(self._probe(taken, turns))
        took = []
        await self.until_it_follows("b")
        for _ in range(snapshots):
            began = await self.until_snapshot_begins(standby)
            before = self._snapshots()
            while self._snapshots() <= before:
                self.standby_peak = max(self.standby_peak, resident(standby.pid))
                await asyncio.sleep(0.02)
            took.append(time.monotonic() - began)
        assert not probing.done(), probing.exception()
        seen.set()
        await probing  # cancelled in the middle of an append, the log would write no more
        return sorted(taken), took

    async def _probe(self, taken: list[float], turns: Iterable[int]) -> None:
        due = time.monotonic()
        for _ in turns:
            await asyncio.sleep(due - time.monotonic())
            taken.append(1000 * await self._order(due))
            due += PROBE_S

    async def answered_after(self) -> float:
        """Seconds until an order that is placed now has its event."""
        return await self._order(time.monotonic())

    async def _order(self, due: float) -> float:
        """Half rest in the middle of the bids, half buy the oldest of the best asks."""
        self._probe_no += 1
        contract = contract_of(CLASS_NO, first_hour(self.t0_ms))
        rests = self._probe_no % 2 == 0
        price, tif = (LIST_PRICE - 100 * TICK, Tif.GTC) if rests else (LIST_PRICE, Tif.IOC)
        self.traded += not rests
        valid_ms = time.time_ns() // 1_000_000 + VALIDITY_MS // 2
        order = PlaceOrder(ACCOUNTS + 1, contract, Side.BUY, 1, price, tif, 0, f"p{self._probe_no}", valid_ms)
        await self._commands.append([Outgoing(encode_frame(PROBER, self._probe_no, [order]))])
        await self._until_said(PROBER, self._probe_no)
        return time.monotonic() - due

    async def _until_said(self, writer: int, frame_no: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while True:
            for record in await self._events.read(self._next, count=5_000, wait_ms=250):
                self._next = record.offset + 1
                said = read_headers(record.headers)
                if (said.writer, said.frame_no) == (writer, frame_no):
                    return
            assert time.monotonic() < deadline, f"no answer within {WITHIN_S:.0f} s:\n{self._processes[-1].log_tail()}"

    # --- Snapshots -------------------------------------------------------------------------------------------

    async def until_snapshot_begins(self, standby: OwnedProcess) -> float:
        """Returns when the standby, which had nothing to do, works as hard as it can."""
        deadline = time.monotonic() + WITHIN_S
        quiet = False
        while time.monotonic() < deadline:
            began, before = time.monotonic(), processor_s(standby.pid)
            await asyncio.sleep(LOOK_S)
            share = (processor_s(standby.pid) - before) / (time.monotonic() - began)
            if quiet and share > BUSY:
                return began
            quiet = quiet or share < BUSY / 2
        raise AssertionError(f"no snapshot within {WITHIN_S:.0f} s")

    def _snapshots(self) -> str:
        """The newest one's name; they rise."""
        return max((path.name for path in self._folder.glob("*.snapshot")), default="")

    async def look_at_snapshot(self) -> tuple[float, float, int, int]:
        """(seconds to load, seconds of a look at what is new beside it, bytes, open orders) of the newest one."""
        name = self._snapshots()
        collector = Collector(settles=True)
        began = time.perf_counter()
        engine = restore(0, await FileSnapshotStore(Path(self._folder), 0).load(name)).engine
        collector.freeze()
        loaded = time.perf_counter()
        frozen = gc.get_freeze_count()
        # Some are made of what others have left, and do not count.
        new = [[number] for number in range(NEW_MAX + 1_000)]
        began_look = time.perf_counter()
        collector.turn(busy=True)
        look_s = time.perf_counter() - began_look
        assert gc.get_freeze_count() >= frozen + len(new), "nothing was looked at"
        gc.unfreeze()
        gc.enable()
        engine.check()
        return loaded - began, look_s, (self._folder / name).stat().st_size, engine.resting_count()


def _say(text: str) -> None:
    print(f"full shard: {text}", file=sys.stderr, flush=True)
