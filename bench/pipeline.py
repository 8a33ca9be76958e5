"""Commands on Kafka → matching as deployed → events on Kafka, at full load. Target: 0.45 of a bare echo.

Ours: `python -m services.matching`, one partition, 64 commands in a record (what a gateway under load sends), the flow of
`bench.flow`, the lease in Postgres, nobody else in the shard. Peer: a loop of aiokafka alone, which reads records of one command
each and writes them to another topic: `getmany`, `create_batch`, `send_batch`, the next read while a batch is on its way. Both
read a backlog from Apache Kafka (one node, no forced flush), write with acks=all and an idempotent producer, and run on uvloop.

With `--compiled` the process runs on the build of `make compile` (the comparison afterwards does not).

Timed, by the broker's stamps on what was written: from a seventh of the flow, when the process has taken over and is warm, to
the last record. `cpu_us_*` in the line: the process's own processor time per command, which neighbours bend less than the clock.

Afterwards `events` is read and each record compared with what a new engine says to the same commands; fills, fees, repeats and
conservation as in `bench.engine`. Of the echo, every value is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain as joined
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.compiled import environment
from bench.flow import Auditor, opening_frames, order_frames, refuse_repeats, require_flow
from bench.measure import Run, done, options, report, rounds, run_side
from bench.servers import Given, servers
from schemas.codec import (
    CHAIN_START,
    WRITER_GATEWAY_MIN,
    WRITER_SETTLEMENT,
    decode_frame,
    decode_record,
    encode_frame,
    seal,
)
from services.matching.engine import Engine
from services.runtime.infra import OwnedProcess
from services.runtime.kafka import Cluster, KafkaLog
from services.runtime.log import Outgoing, Record
from services.runtime.topics import create_topics, wanted_settings

ORDERS = 300_000
PER_FRAME = 64
WARM = 7
"""One part in so many is not measured."""
WITHIN_S = 180.0
ECHO_BYTES = 512 * 1024


async def ours(given: argparse.Namespace) -> None:
    place = Given.from_environment()
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        t0_ms = time.time_ns() // 1_000_000
        await create_topics(cluster, 1, sandbox=True, t0_ms=t0_ms)
        commands, events = cluster.log("commands"), cluster.log("events")
        opened = opening_frames(t0_ms)
        flow = order_frames(given.orders, PER_FRAME, len(opened), t0_ms)
        # The first frame stands there already: it was written with the topic.
        values = [encode_frame(WRITER_SETTLEMENT, number, frame) for number, frame in enumerate(opened)][1:]
        values += [encode_frame(WRITER_GATEWAY_MIN, number, frame) for number, frame in enumerate(flow)]
        await commands.append([Outgoing(value) for value in values])
        process = OwnedProcess(
            [sys.executable, "-m", "services.matching"],
            log=place.home / "matching.log",
            env={
                **(environment() if given.compiled else os.environ),
                "HOURBOOK_KAFKA": place.bootstrap,
                "HOURBOOK_TOPIC_PREFIX": place.prefix,
                "HOURBOOK_POSTGRES": place.dsn,
                "HOURBOOK_SHARDS": "1",
                "HOURBOOK_SHARD": "0",
                "HOURBOOK_DATA": str(place.home),
            },
        )
        try:
            used_us = await until_written(events, len(opened) + len(flow), process)
        finally:
            process.stop()
        asked = await everything(commands)
        said = await everything(events)
    answers = [decode_record(record.value) for record in said]
    counts = [len(decode_frame(asked[answer.offset].value).commands) if answer.last else 0 for answer in answers]
    flow_only = [
        (record.time_ms, count)
        for record, answer, count in zip(said, answers, counts, strict=True)
        if answer.writer == WRITER_GATEWAY_MIN
    ]
    assert sum(count for _, count in flow_only) == given.orders
    done(rate(flow_only), cpu_us=used_us and used_us / PER_FRAME, **compare(asked, said))


def compare(asked: Sequence[Record], said: Sequence[Record]) -> dict[str, int]:
    """Every record of `events` is what a new engine says. Raises AssertionError where not, or where it says too little."""
    engine = Engine()
    auditor: Auditor | None = None
    seq, chain = 0, CHAIN_START
    frames = []
    for record in asked:
        frame = decode_frame(record.value)
        if frame.writer == WRITER_GATEWAY_MIN and auditor is None:
            auditor = Auditor(engine)
        spoken = engine.apply(record.offset, record.time_ms, frame.commands)
        for sealed in seal(0, seq, chain, record.offset, engine.time_ms, frame, spoken):
            assert said[seq].value == sealed.body, f"seq {sealed.seq} in events is not what the engine says"
            seq, chain = sealed.seq, sealed.chain
        if auditor is not None:
            auditor.see(spoken)
            frames.append(list(frame.commands))
    assert seq == len(said), f"{len(said)} records of events, {seq} were caused"
    assert auditor is not None
    sums = auditor.finish()
    refuse_repeats(engine, frames, asked[-1].time_ms)
    return {"fills": sums.fills, "moves": sums.moves}


async def theirs(given: argparse.Namespace) -> None:
    place = Given.from_environment()
    opened = len(opening_frames())
    flow = order_frames(given.orders, PER_FRAME, opened)
    values = [encode_frame(WRITER_GATEWAY_MIN, number, [command]) for number, command in enumerate(joined(*flow))]
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        for topic in ("in", "out"):
            await cluster.create_topic(topic, 1, 1, wanted_settings(1))
        source, target = cluster.log("in"), cluster.log("out")
        await source.append([Outgoing(value) for value in values])
        process = OwnedProcess([sys.executable, "-m", "bench.pipeline", "--side", "echo"], log=place.home / "echo.log")
        try:
            used_us = await until_written(target, len(values), process)
        finally:
            process.stop()
        copied = await everything(target)
    assert digest(record.value for record in copied) == digest(values), "the echo lost or changed something"
    done(rate([(record.time_ms, 1) for record in copied]), cpu_us=used_us)


async def echo() -> None:
    """As short and as fast as aiokafka lets it be."""
    place = Given.from_environment()
    source = TopicPartition(f"{place.prefix}in", 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=place.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=4 * 1024 * 1024
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap, acks="all", enable_idempotence=True, max_batch_size=ECHO_BYTES
    )
    await producer.start()
    await consumer.start()
    consumer.assign([source])
    on_its_way: asyncio.Future[object] | None = None
    while True:
        polled = await consumer.getmany(source, timeout_ms=200, max_records=5_000)
        batch = producer.create_batch()
        for record in polled.get(source, ()):
            if batch.append(key=None, value=record.value, timestamp=None) is None:
                on_its_way = await sent(producer, batch, f"{place.prefix}out", on_its_way)
                batch = producer.create_batch()
                batch.append(key=None, value=record.value, timestamp=None)
        if batch.record_count():
            on_its_way = await sent(producer, batch, f"{place.prefix}out", on_its_way)


async def sent(
    producer: AIOKafkaProducer, batch: object, topic: str, before: asyncio.Future[object] | None
) -> asyncio.Future[object]:
    """The batch is on its way, and the one before has arrived."""
    if before is not None:
        await before
    return await producer.send_batch(batch, topic, partition=0)


def rate(answers: Sequence[tuple[int, int]]) -> float:
    """(broker's stamp, commands answered) of every record → commands per second once it was warm."""
    first_ms = answers[len(answers) // WARM][0]
    last_ms = answers[-1][0]
    assert last_ms > first_ms, "too few commands to measure"
    return 1000 * sum(count for stamp_ms, count in answers if stamp_ms > first_ms) / (last_ms - first_ms)


async def until_written(log: KafkaLog, records: int, process: OwnedProcess) -> float | None:
    """Microseconds of the process's own processor time per record once it was warm; None: it was too quick to be seen twice.

    Looks only now and then: looking costs the broker something.
    """
    deadline = time.monotonic() + WITHIN_S
    seen: list[tuple[int, float]] = []
    while True:
        _, end = await log.bounds()
        if end > records // WARM:
            seen.append((min(end, records), processor_us(process.pid)))
        if end >= records:
            break
        if process.exit_code() is not None or time.monotonic() > deadline:
            raise SystemExit(f"not {records} records within {WITHIN_S:.0f} s:\n{process.log_tail()}")
        await asyncio.sleep(0.1)
    (first, began), (last, ended) = seen[0], seen[-1]
    return (ended - began) / (last - first) if last > first else None


def processor_us(pid: int) -> float:
    """What a process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000 / os.sysconf("SC_CLK_TCK")


async def everything(log: KafkaLog) -> list[Record]:
    """All records of a log to its present end."""
    offset, end = await log.bounds()
    records: list[Record] = []
    while offset < end:
        records += await log.read(offset, count=5_000, wait_ms=1_000)
        offset = records[-1].offset + 1
    return records


def digest(values: Iterable[bytes]) -> str:
    """Of all values, in order."""
    hashed = hashlib.blake2b()
    for value in values:
        hashed.update(value)
    return hashed.hexdigest()


def main() -> None:
    given = options(__doc__, rounds=3, compiled=True, orders=ORDERS)
    if given.side:
        side = {"ours": lambda: ours(given), "peer": lambda: theirs(given), "echo": echo}[given.side]
        uvloop.run(side())
        return
    require_flow()
    with servers() as started:
        mine, peer = rounds(
            "pipeline",
            given.rounds,
            lambda side: run_side("pipeline", side, *given.passed_on, env=started.environment()),
        )
    (fills,) = {run["fills"] for run in mine}
    report(
        "pipeline",
        "commands/s",
        mine,
        peer,
        compiled=given.compiled,
        orders=given.orders,
        fills=fills,
        per_record=PER_FRAME,
        cpu_us_ours=per_command(mine),
        cpu_us_peer=per_command(peer),
    )


def per_command(runs: list[Run]) -> float | None:
    """Median of the processor time per command; it says more than the clock where neighbours are loud."""
    known = [run["cpu_us"] for run in runs if run["cpu_us"] is not None]
    return round(statistics.median(known), 2) if known else None


if __name__ == "__main__":
    main()
