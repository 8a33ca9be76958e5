"""`KafkaLog` keeps the promises of `Log` on Apache Kafka and on the sandbox's broker, traps included."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaProducer

from services.runtime.kafka import MESSAGE_BYTES_MAX, Cluster
from services.runtime.log import LogError, Outgoing, OutOfRange, Record, Unreachable, WriteRefused, WriteUnknown


def outgoing(*values: bytes) -> list[Outgoing]:
    return [Outgoing(value) for value in values]


async def read_all(cluster: Cluster, topic: str) -> list[Record]:
    log = cluster.log(topic)
    first, end = await log.bounds()
    records: list[Record] = []
    while first < end:
        records += await log.read(first, count=100, wait_ms=1000)
        first = records[-1].offset + 1
    return records


async def test_what_is_appended_is_read_back_whole_and_in_order(cluster: Cluster) -> None:
    """Values, keys and headers, over several batches of several sizes."""
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    written = [
        Outgoing(b"%d" % n + bytes(n % 7 * 40_000), headers=[("c", b"%d" % n), ("e", bytes(8))], key=b"k%d" % n)
        for n in range(60)
    ]

    await log.append(written[:1])
    await log.append(written[1:])

    records = await read_all(cluster, "t")
    assert [record.offset for record in records] == list(range(60))
    assert [(r.value, list(r.headers), r.key) for r in records] == [(w.value, list(w.headers), w.key) for w in written]


async def test_the_end_is_exact_after_a_batch_of_many(cluster: Cluster) -> None:
    """A broker that counts batches would tell 2 instead of 11 here."""
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    assert await log.bounds() == (0, 0)

    for count, end in ((1, 1), (10, 11), (5, 16), (3, 19)):
        await log.append(outgoing(*[b"x"] * count))
        assert await log.bounds() == (0, end)
        assert await cluster.log("t").bounds() == (0, end)


async def test_the_bounds_are_told_while_the_broker_holds_back_the_answer_to_a_read(cluster: Cluster) -> None:
    """A read that finds nothing goes on at the broker for a quarter of a second, and the broker answers a connection in order.

    A shard's writer looks at bounds every second: waiting behind such a read, it let an order in ten wait for so long.
    """
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    assert await log.bounds() == (0, 0)
    took_s = []
    for _ in range(10):
        assert await log.read(0) == []
        await asyncio.sleep(0.01)  # on its way
        began_s = time.monotonic()
        assert await log.bounds() == (0, 0)
        took_s.append(time.monotonic() - began_s)
    assert sorted(took_s)[5] < 0.1, took_s


async def test_an_offset_out_of_range_raises(cluster: Cluster) -> None:
    """Above the end, far above it, and below the beginning."""
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    await log.append(outgoing(b"a", b"b"))

    assert [record.value for record in await log.read(0, wait_ms=1000)] == [b"a", b"b"]
    for offset in (3, 1000, -1):
        with pytest.raises(OutOfRange, match=f"offset {offset} is not in 0..2"):
            await log.read(offset)
    assert await log.read(2) == []
    assert [record.value for record in await log.read(1, wait_ms=1000)] == [b"b"]


async def test_a_log_that_was_replaced_under_a_waiting_reader_raises(broker, topic_prefix: str, scratch) -> None:
    """A broker that keeps nothing starts again: the reader's offset is above the new end."""
    home = type(broker)(scratch / "own")
    with home as own:
        async with Cluster(own.bootstrap, prefix=topic_prefix) as cluster:
            await cluster.create_topic("t", 1, 1, {})
            log = cluster.log("t")
            await log.append(outgoing(b"a", b"b", b"c"))
            assert len(await log.read(0, wait_ms=1000)) == 3
            own.kill9()
            own.start()

            async def wait_for_more() -> None:
                for _ in range(40):
                    await log.read(3, wait_ms=500)

            with pytest.raises(LogError):
                await wait_for_more()


async def test_an_empty_read_waits_and_a_late_record_ends_it(cluster: Cluster) -> None:
    """`wait_ms` is a bound and not a pause."""
    await cluster.create_topic("t", 1, 1, {})
    log, writer = cluster.log("t"), cluster.log("t")
    await writer.append(outgoing(b"a"))
    assert len(await log.read(0, wait_ms=1000)) == 1

    began_s = time.monotonic()
    assert await log.read(1, wait_ms=200) == []
    assert 0.15 < time.monotonic() - began_s < 2
    late = asyncio.ensure_future(log.read(1, wait_ms=20_000))
    await asyncio.sleep(0.2)
    began_s = time.monotonic()
    await writer.append(outgoing(b"b"))
    assert [record.value for record in await late] == [b"b"]
    assert time.monotonic() - began_s < 5


async def test_a_read_below_the_told_end_is_never_empty(cluster: Cluster) -> None:
    """Even without waiting: an empty answer would look like the end of the log."""
    await cluster.create_topic("t", 1, 1, {})
    await cluster.log("t").append(outgoing(*[b"x" * 1000] * 2000))
    log = cluster.log("t")
    _, end = await log.bounds()
    assert end == 2000
    offset = 0
    while offset < end:
        records = await log.read(offset, count=300)
        assert records
        assert len(records) <= 300
        offset = records[-1].offset + 1


async def test_a_record_that_is_too_large_is_refused_before_anything_is_sent(cluster: Cluster) -> None:
    """The broker would refuse it after others: it is refused here. The writer is done."""
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    with pytest.raises(WriteRefused, match="allowed are"):
        await log.append(outgoing(b"a", bytes(MESSAGE_BYTES_MAX)))
    with pytest.raises(WriteRefused, match="writes no more"):
        await log.append(outgoing(b"b"))
    assert await log.bounds() == (0, 0)


async def test_a_batch_refused_by_the_broker_leaves_no_hole(kafka_cluster: Cluster) -> None:
    """Three batches, the second above the topic's own limit: the first is there, the third must not be."""
    await kafka_cluster.create_topic("t", 1, 1, {"max.message.bytes": "600000"})
    log = kafka_cluster.log("t")
    with pytest.raises(WriteUnknown, match="MessageSizeTooLarge"):
        await log.append(outgoing(b"first", bytes(1_000_000), b"third"))
    with pytest.raises(WriteRefused):
        await log.append(outgoing(b"fourth"))
    assert [record.value for record in await read_all(kafka_cluster, "t")] == [b"first"]

    fresh = kafka_cluster.log("t")
    with pytest.raises(WriteRefused, match="MessageSizeTooLarge"):
        await fresh.append(outgoing(bytes(1_000_000), b"third"))
    assert [record.value for record in await read_all(kafka_cluster, "t")] == [b"first"]


async def test_the_library_alone_leaves_a_hole_there(kafka_cluster: Cluster) -> None:
    """The trap itself: without it, one batch in flight would be a superstition."""
    await kafka_cluster.create_topic("t", 1, 1, {"max.message.bytes": "600000"})
    producer = AIOKafkaProducer(bootstrap_servers=kafka_cluster.bootstrap, acks="all", max_batch_size=500_000)
    await producer.start()
    futures = []
    for value in (b"first", bytes(1_000_000), b"third"):
        batch = producer.create_batch()
        batch.append(key=None, value=value, timestamp=None)
        futures.append(await producer.send_batch(batch, kafka_cluster.prefix + "t", partition=0))
    results = await asyncio.gather(*futures, return_exceptions=True)
    await producer.stop()
    assert isinstance(results[1], Exception)
    assert [record.value for record in await read_all(kafka_cluster, "t")] == [b"first", b"third"]


async def test_below_a_cut_is_out_of_range(kafka_cluster: Cluster) -> None:
    """DeleteRecords moves the beginning; a reader from before it is told."""
    await kafka_cluster.create_topic("t", 1, 1, {})
    log = kafka_cluster.log("t")
    await log.append(outgoing(*[b"x"] * 10))
    assert await kafka_cluster.cut("t", 0, 4) == 4
    assert await log.bounds() == (4, 10)
    with pytest.raises(OutOfRange):
        await log.read(3)
    assert (await log.read(4, wait_ms=1000))[0].offset == 4


async def test_an_abandoned_append_is_the_writers_last(cluster: Cluster) -> None:
    """Cancelled half way, nobody knows what was written: writing on could leave a hole."""
    await cluster.create_topic("t", 1, 1, {})
    log = cluster.log("t")
    await log.append(outgoing(b"a"))
    task = asyncio.ensure_future(log.append(outgoing(*[bytes(100_000)] * 100)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(WriteRefused, match="abandoned half way"):
        await log.append(outgoing(b"b"))


async def test_a_broker_that_is_not_there_is_unreachable_and_nothing_is_written() -> None:
    """Three questions, each with its own kind of no."""
    async with Cluster("127.0.0.1:1") as cluster:
        with pytest.raises(Unreachable):
            await cluster.ping()
        with pytest.raises(Unreachable):
            await cluster.log("t").bounds()
        with pytest.raises(WriteRefused):
            await cluster.log("t").append(outgoing(b"a"))


async def test_a_broker_killed_under_a_writer_leaves_the_outcome_unknown(own_kafka, topic_prefix: str) -> None:
    """Not refused: the record may be there. After the restart the log has each record once, without a hole."""
    with own_kafka:
        async with Cluster(own_kafka.bootstrap, prefix=topic_prefix, write_ms_max=3000) as cluster:
            await cluster.create_topic("t", 1, 1, {})
            log = cluster.log("t")
            await log.append(outgoing(b"0"))
            own_kafka.kill9()
            with pytest.raises(WriteUnknown):
                await log.append(outgoing(b"1"))
            with pytest.raises(WriteRefused):
                await log.append(outgoing(b"2"))
            own_kafka.start()
            await cluster.log("t").append(outgoing(b"3"))
            values = [record.value for record in await read_all(cluster, "t")]
            assert values in ([b"0", b"3"], [b"0", b"1", b"3"])
