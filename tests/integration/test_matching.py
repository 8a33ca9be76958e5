"""Matching as it is deployed: two shards, two processes each, a real broker and a real database."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.codec import (
    WRITER_GATEWAY_MIN,
    WRITER_SETTLEMENT,
    ChainReader,
    EventsRecord,
    decode_record,
    encode_frame,
    read_headers,
)
from schemas.commands import (
    Command,
    Credit,
    Fees,
    Ground,
    PlaceOrder,
    Role,
    SetAccount,
    SetBacking,
    SetClass,
    Side,
    Tif,
)
from schemas.events import BackingSet, Event, Filled, OrderAccepted, ShardStarted, Ticked
from schemas.ids import contract_of, shard_of_order
from schemas.units import MS_PER_HOUR
from services.matching.replay import replay
from services.runtime.infra import LocalPostgres
from services.runtime.infra.processes import OwnedProcess
from services.runtime.infra.supervisor import Program, Supervisor
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing
from services.runtime.supervise import WallClock
from services.runtime.topics import create_topics

SHARDS = 2
ANA, BERT = 1, 2
WRITER = WRITER_GATEWAY_MIN + 7


class Shards:
    """Topics on a broker, processes of matching, and a gateway's view of `commands` and `events`."""

    def __init__(self, cluster: Cluster, database: str, home: Path) -> None:
        self.cluster = cluster
        self.home = home
        self.environment = {
            **os.environ,
            "HOURBOOK_KAFKA": cluster.bootstrap,
            "HOURBOOK_POSTGRES": database,
            "HOURBOOK_SHARDS": str(SHARDS),
            "HOURBOOK_DATA": str(home / "data"),
            "HOURBOOK_RUN": str(home / "run"),
            "HOURBOOK_TOPIC_PREFIX": cluster.prefix,
        }
        self.processes: list[OwnedProcess] = []
        self.commands = [cluster.log("commands", shard) for shard in range(SHARDS)]
        self.events = [cluster.log("events", shard) for shard in range(SHARDS)]
        self.readers = [ChainReader() for _ in range(SHARDS)]
        self.seen: list[list[EventsRecord]] = [[] for _ in range(SHARDS)]
        self.epochs: list[list[int]] = [[] for _ in range(SHARDS)]
        self.repeats = 0
        self.frame_no = 0
        self._next = [0] * SHARDS

    def start(self, shard: int, *options: str) -> OwnedProcess:
        """A process of `shard`; its output is in `<home>/<n>.log`."""
        argv = [sys.executable, "-m", "services.matching", *options]
        log = self.home / f"{len(self.processes)}.log"
        process = OwnedProcess(argv, log=log, env={**self.environment, "HOURBOOK_SHARD": str(shard)})
        self.processes.append(process)
        return process

    def tool(self, shard: int, *arguments: str) -> dict[str, Any]:
        """Run one of `services.matching.tools` to its end; what it printed."""
        argv = [sys.executable, "-m", "services.matching", *arguments]
        done = subprocess.run(
            argv,
            env={**self.environment, "HOURBOOK_SHARD": str(shard)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    async def send(self, shard: int, commands: Sequence[Command], writer: int = WRITER) -> int:
        """One frame; its number."""
        self.frame_no += 1
        await self.commands[shard].append([Outgoing(encode_frame(writer, self.frame_no, commands))])
        return self.frame_no

    async def read(self, shard: int) -> None:
        """Read `events` on, as every reader does: each seq once, in order, on one chain."""
        for record in await self.events[shard].read(self._next[shard], wait_ms=100):
            self._next[shard] = record.offset + 1
            envelope = read_headers(record.headers)
            self.epochs[shard].append(envelope.epoch)
            if self.readers[shard].accept(envelope, record.value):
                self.seen[shard].append(decode_record(record.value))
            else:
                self.repeats += 1

    async def answer(self, shard: int, frame_no: int, within_s: float = 20) -> list[Event]:
        """The events that a frame caused, once they are there."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            parts = [body for body in self.seen[shard] if body.frame_no == frame_no and body.writer != 2]
            if parts and parts[-1].last:
                return [event for part in parts for event in part.events]
            await self.read(shard)
        raise AssertionError(f"no answer to frame {frame_no} of shard {shard} within {within_s} s: {self.logs()}")

    def logs(self) -> str:
        """What the processes printed."""
        return "\n".join(process.log.read_text() for process in self.processes)

    async def replay_equals(self, shard: int) -> int:
        """Every record of `events` is what a fresh engine says; how many were compared."""
        logs = (self.cluster.log("commands", shard), self.cluster.log("quarantine"))
        done = await replay(shard, *logs, WallClock(), events=self.cluster.log("events", shard))
        return done.compared


@pytest.fixture
async def shards(bootstrap: str, topic_prefix: str, database: str, scratch: Path) -> AsyncIterator[Shards]:
    """On Apache Kafka and on the sandbox's broker; every process is ended afterwards."""
    async with Cluster(bootstrap, prefix=topic_prefix) as cluster:
        await create_topics(cluster, SHARDS, sandbox=True)
        opened = Shards(cluster, database, scratch)
        yield opened
        for process in opened.processes:
            process.kill()


@pytest.fixture
async def kafka_shards(kafka, topic_prefix: str, database: str, scratch: Path) -> AsyncIterator[Shards]:
    """On Apache Kafka."""
    async with Cluster(kafka.bootstrap, prefix=topic_prefix) as cluster:
        await create_topics(cluster, SHARDS, sandbox=True)
        opened = Shards(cluster, database, scratch)
        yield opened
        for process in opened.processes:
            process.kill()


def opening(shard: int) -> list[Command]:
    """One class per shard; Bert has machines behind him, Ana has 1,000 USD."""
    class_no = shard + 1
    hours = tuple(hour_ahead(n) for n in range(2, 6))
    return [
        SetClass(1, class_no, f"TEST.{class_no}", 1, 10_000, 2_000_000, Fees(), first_hour=hours[0]),
        SetAccount(2, ANA, ANA, Role.MEMBER, 0),
        SetAccount(3, BERT, BERT, Role.PROVIDER, 0),
        Credit(4, ANA, 1_000_000_000),
        SetBacking(5, BERT, class_no, hours, Ground.DECLARED, 100, 0, 1),
    ]


def hour_ahead(hours: int) -> int:
    return int(time.time() * 1000) // MS_PER_HOUR + hours


def order(shard: int, account: int, side: Side, qty: int, client_id: str = "") -> PlaceOrder:
    contract = contract_of(shard + 1, hour_ahead(3))
    valid_until_ms = int(time.time() * 1000) + 300_000
    return PlaceOrder(account, contract, side, qty, 2_000_000, Tif.GTC, 0, client_id, valid_until_ms)


async def opened(shards: Shards, shard: int) -> None:
    """Let the shard's class be listed and its members have what they need."""
    events = await shards.answer(shard, await shards.send(shard, opening(shard), WRITER_SETTLEMENT))
    assert isinstance(events[-1], BackingSet), events


async def test_orders_in_events_out_in_two_shards(shards: Shards) -> None:
    """Each shard answers its own orders, with its own ids, on its own chain; a replay gives the very bytes."""
    for shard in range(SHARDS):
        shards.start(shard)
    for shard in range(SHARDS):
        await opened(shards, shard)
    frames = {
        shard: await shards.send(shard, [order(shard, BERT, Side.SELL, 5), order(shard, ANA, Side.BUY, 3 + shard)])
        for shard in range(SHARDS)
    }
    for shard, frame in frames.items():
        sold, bought, fill = await shards.answer(shard, frame)
        assert isinstance(sold, OrderAccepted)
        assert isinstance(bought, OrderAccepted)
        assert isinstance(fill, Filled)
        assert (fill.qty, fill.buyer, fill.seller, fill.taker_order) == (3 + shard, ANA, BERT, bought.order)
        assert shard_of_order(sold.order) == shard_of_order(bought.order) == shard
        assert isinstance(shards.seen[shard][0].events[0], ShardStarted)
    for shard in range(SHARDS):
        assert await shards.replay_equals(shard) >= 3
    assert shards.repeats == 0


async def test_time_passes_while_nobody_trades(shards: Shards) -> None:
    """The active process ticks about once a second; the market's time is the present."""
    shards.start(1)
    frame = await shards.send(1, opening(1), WRITER_SETTLEMENT)
    await shards.answer(1, frame)
    until_s = time.monotonic() + 4
    while time.monotonic() < until_s:
        await shards.read(1)
    ticks = [event for body in shards.seen[1] for event in body.events if isinstance(event, Ticked)]
    assert len(ticks) >= 2
    assert abs(time.time() * 1000 - ticks[-1].time_ms) < 3_000


async def test_the_standby_takes_over_from_a_killed_process(shards: Shards) -> None:
    """kill -9 in the middle of orders: every frame has its answer, once, in order, from whoever was there."""
    active = shards.start(0)
    await opened(shards, 0)
    shards.start(0)
    frames = []
    for number in range(60):
        frames.append(await shards.send(0, [order(0, BERT, Side.SELL, 1), order(0, ANA, Side.BUY, 1)]))
        if number == 30:
            active.kill()
    for frame in frames:
        outcomes = [event for event in await shards.answer(0, frame) if isinstance(event, OrderAccepted)]
        assert len(outcomes) == 2
    assert sorted(set(shards.epochs[0])) == [1, 2]
    assert await shards.replay_equals(0) == len(shards.seen[0])


async def test_a_stale_writer_writes_the_same_and_stops(shards: Shards) -> None:
    """Stopped for longer than its lease, it wakes up active: another writes already, and it must see that and go."""
    stale = shards.start(0)
    await opened(shards, 0)
    shards.start(0)
    await asyncio.sleep(1.5)
    os.kill(stale.pid, signal.SIGSTOP)
    frame = await shards.send(0, [order(0, BERT, Side.SELL, 1)])
    await shards.answer(0, frame)
    os.kill(stale.pid, signal.SIGCONT)
    for _ in range(20):
        frame = await shards.send(0, [order(0, ANA, Side.BUY, 1)])
        await shards.answer(0, frame)
    assert stale.wait(10)
    assert stale.exit_code() == os.EX_TEMPFAIL
    frame = await shards.send(0, [order(0, ANA, Side.BUY, 1)])
    await shards.answer(0, frame)
    assert await shards.replay_equals(0) == len(shards.seen[0])


async def test_a_process_begins_again_at_a_snapshot(shards: Shards) -> None:
    """A short-lived process writes it; the next one begins there and says the same as one from the beginning."""
    first = shards.start(1)
    await opened(shards, 1)
    for _ in range(10):
        frame = await shards.send(1, [order(1, BERT, Side.SELL, 2), order(1, ANA, Side.BUY, 1)])
    await shards.answer(1, frame)
    first.kill()

    writer = shards.start(1, "--snapshot")
    assert writer.wait(20)
    assert writer.exit_code() == 0, writer.log_tail()
    (snapshot,) = (shards.home / "data" / "snapshots").iterdir()
    again = shards.start(1)
    frame = await shards.send(1, [order(1, ANA, Side.BUY, 1)])
    events = await shards.answer(1, frame)
    assert isinstance(events[1], Filled), "the asks of before were in the snapshot"
    begins = re.search(r'"what": "begins", "offset": (\d+)', again.log.read_text())
    assert begins is not None
    assert snapshot.name == f"shard-1-{int(begins[1]):012d}.snapshot"
    assert await shards.replay_equals(1) == len(shards.seen[1])


async def test_a_corrupt_snapshot_is_passed_over(shards: Shards) -> None:
    """It says so, and begins at the beginning."""
    first = shards.start(0)
    await opened(shards, 0)
    first.kill()
    assert (writer := shards.start(0, "--snapshot")).wait(20)
    assert writer.exit_code() == 0
    (snapshot,) = (shards.home / "data" / "snapshots").iterdir()
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    again = shards.start(0)
    frame = await shards.send(0, [order(0, BERT, Side.SELL, 1)])
    await shards.answer(0, frame)
    lines = again.log.read_text()
    assert f"snapshot {snapshot.name} is not used: its checksum does not match" in lines
    assert '"what": "begins", "offset": 0' in lines


async def test_a_broken_frame_stops_the_shard_until_it_is_quarantined(shards: Shards) -> None:
    """Both processes end with 65 and say how to go on; the other shard trades."""
    both = [shards.start(0), shards.start(0)]
    shards.start(1)
    await opened(shards, 0)
    await opened(shards, 1)
    await shards.commands[0].append([Outgoing(b"\xc1 rubbish")])
    frame = await shards.send(0, [order(0, BERT, Side.SELL, 1)])
    for process in both:
        assert process.wait(20)
        assert process.exit_code() == os.EX_DATAERR
    await shards.answer(1, await shards.send(1, [order(1, BERT, Side.SELL, 1)]))
    advice = re.search(
        r"commands/0 offset (\d+) is not a frame: .*--shard 0 --offset \1 --hash ([0-9a-f]{32})", shards.logs()
    )
    assert advice is not None

    told = ("--offset", advice[1], "--hash", advice[2], "--reason", "a test", "--operator", "op")
    assert shards.tool(0, "quarantine", *told)["banned"]
    shards.start(0)
    assert isinstance((await shards.answer(0, frame))[0], OrderAccepted)
    assert await shards.replay_equals(0) == len(shards.seen[0])


async def test_a_replay_is_compared_with_what_was_said(shards: Shards) -> None:
    """As an operator runs it: a process that prints where it came to."""
    first = shards.start(0)
    await opened(shards, 0)
    first.stop()
    done = shards.tool(0, "replay")
    assert (done["shard"], done["chain"], done["compared"]) == (0, shards.readers[0].chain.hex(), len(shards.seen[0]))
    early = shards.tool(0, "replay", "--through-seq", "1")
    assert (early["seq"], early["compared"]) == (1, 1)


async def test_the_old_part_of_the_logs_moves_into_files(shards: Shards) -> None:
    """Archived, cut, begun again at the snapshot; and again from the files when snapshots are lost."""
    first = shards.start(0)
    await opened(shards, 0)
    for _ in range(5):
        frame = await shards.send(0, [order(0, BERT, Side.SELL, 2), order(0, ANA, Side.BUY, 1)])
    await shards.answer(0, frame)
    first.stop()
    shards.tool(0, "snapshot")
    cursor = len(shards.seen[0]) - 2
    done = shards.tool(0, "archive", "--cursors", f"{cursor},1000000")
    assert done["archived"]["events"] == cursor - 1
    assert done["begins"] == done["archived"]
    assert (await shards.cluster.log("commands", 0).bounds())[0] == done["archived"]["commands"] > 0

    compared = shards.tool(0, "replay")["compared"]
    assert compared == len(shards.seen[0])
    again = shards.start(0)
    frame = await shards.send(0, [order(0, ANA, Side.BUY, 1)])
    assert isinstance((await shards.answer(0, frame))[1], Filled)
    again.stop()

    for snapshot in (shards.home / "data" / "snapshots").iterdir():
        snapshot.unlink()
    lost = shards.start(0)
    assert lost.wait(20)
    assert lost.exit_code() == os.EX_DATAERR
    assert re.search(r"commands/0 was cut: it begins at .* `hourbook snapshot --shard 0`", lost.log.read_text())
    shards.tool(0, "snapshot")
    shards.start(0)
    frame = await shards.send(0, [order(0, ANA, Side.BUY, 1)])
    assert isinstance((await shards.answer(0, frame))[1], Filled)


async def test_without_the_database_the_market_goes_on(kafka_shards: Shards, own_postgres: LocalPostgres) -> None:
    """An active writer needs it for nothing; and when it is back, it holds the lease still, or somebody else does."""
    with own_postgres:
        kafka_shards.environment["HOURBOOK_POSTGRES"] = own_postgres.create_database("d")
        active = kafka_shards.start(0)
        await opened(kafka_shards, 0)
        own_postgres.kill9()
        for _ in range(8):
            await kafka_shards.answer(0, await kafka_shards.send(0, [order(0, BERT, Side.SELL, 1)]), within_s=3)
            await asyncio.sleep(0.5)
        assert active.exit_code() is None
        assert set(kafka_shards.epochs[0]) == {1}
        own_postgres.start()
        kafka_shards.start(0)
        await asyncio.sleep(2)
        await kafka_shards.answer(0, await kafka_shards.send(0, [order(0, BERT, Side.SELL, 1)]))


async def test_a_broker_that_crashes_under_it_loses_no_order(
    own_kafka, topic_prefix: str, database: str, scratch: Path
) -> None:
    """Processes end and are started again by their supervisor; the log is whole, and every frame that is in it is answered."""
    with own_kafka:
        async with Cluster(own_kafka.bootstrap, prefix=topic_prefix) as cluster:
            await create_topics(cluster, SHARDS, sandbox=True)
            shards = Shards(cluster, database, scratch)
            with Supervisor(scratch / "logs", restarts_in_a_row_max=50) as supervisor:
                argv = [sys.executable, "-m", "services.matching"]
                for name in "ab":
                    supervisor.start(Program(name, argv, {**shards.environment, "HOURBOOK_SHARD": "0"}))
                await opened(shards, 0)
                await shards.send(0, [order(0, BERT, Side.SELL, 7)])
                own_kafka.kill9()
                await asyncio.sleep(1)
                own_kafka.start()
                shards.commands[0] = cluster.log("commands", 0)
                shards.events[0] = cluster.log("events", 0)
                frame = await shards.send(0, [order(0, ANA, Side.BUY, 7)])
                deadline = time.monotonic() + 60
                while not any(body.frame_no == frame for body in shards.seen[0]):
                    assert time.monotonic() < deadline
                    supervisor.poll()
                    await shards.read(0)
                assert isinstance((await shards.answer(0, frame))[1], Filled)
                assert await shards.replay_equals(0) == len(shards.seen[0])
