"""The broker as a process: readers are woken, strangers are sent away, and what many write is in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import struct
import time
from collections.abc import AsyncIterator

import pytest

from services.runtime.infra import MemoryBroker
from services.runtime.kafka import Cluster
from services.runtime.log import LogError, Outgoing


@pytest.fixture
async def cluster(broker: MemoryBroker, topic_prefix: str) -> AsyncIterator[Cluster]:
    async with Cluster(broker.bootstrap, prefix=topic_prefix) as opened:
        await opened.create_topic("t", 1, 1, {})
        yield opened


async def test_a_reader_that_waits_is_woken_by_the_record(cluster: Cluster) -> None:
    """And not by the end of its time: what waits for each other here would else be slow, or ask all the time."""
    writer, reader = cluster.log("t"), cluster.log("t")
    await writer.append([Outgoing(b"first")])
    await reader.read(0, wait_ms=1_000)
    took = []
    for number in range(1, 21):
        waiting = asyncio.create_task(reader.read(number, wait_ms=5_000))
        await asyncio.sleep(0.03)
        began = time.perf_counter()
        await writer.append([Outgoing(b"x")])
        assert [record.offset for record in await waiting] == [number]
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.1, took  # a fetch of its own waits for a quarter of a second


async def test_what_many_write_at_once_is_there_once_and_in_each_one_s_order(cluster: Cluster) -> None:
    async def write(name: bytes) -> None:
        log = cluster.log("t")
        for number in range(50):
            await log.append([Outgoing(b"%s %d" % (name, number)), Outgoing(b"%s %d+" % (name, number))])

    names = [b"a", b"b", b"c", b"d"]
    await asyncio.gather(*(write(name) for name in names))
    log = cluster.log("t")
    values: list[bytes] = []
    while len(values) < 400:
        values += [record.value for record in await log.read(len(values), wait_ms=1_000)]
    for name in names:
        wanted = [b"%s %d%s" % (name, number, mark) for number in range(50) for mark in (b"", b"+")]
        assert [value for value in values if value.startswith(name)] == wanted
    assert await log.bounds() == (0, 400)


async def test_a_cluster_s_questions_about_topics(cluster: Cluster) -> None:
    assert await cluster.create_topic("t", 1, 1, {}) is False
    assert await cluster.create_topic("u", 3, 1, {"retention.ms": "-1"}) is True
    assert await cluster.topics() == {"t", "u"}
    assert await cluster.describe("u") == ([1, 1, 1], {"retention.ms": "-1"})
    with pytest.raises(LogError, match="creating topic"):
        await cluster.create_topic("v", 1, 2, {})
    assert await cluster.keeps_append_time("u") is False  # for which it is refused outside a sandbox


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
        struct.pack(">i", -1),
        struct.pack(">i", 1 << 30),
        struct.pack(">ihhih", 10, 99, 0, 1, -1),  # an unknown request
        struct.pack(">ihhih", 10, 3, 0, 1, -1),  # a version that is not spoken
        struct.pack(">ihhih", 10, 3, 5, 1, -1),  # a request that ends early
    ],
)
async def test_whoever_speaks_otherwise_is_sent_away_and_nobody_else_notices(
    broker: MemoryBroker, cluster: Cluster, sent: bytes
) -> None:
    log = cluster.log("t")
    with socket.create_connection(("127.0.0.1", broker.port), 5) as stranger:
        stranger.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(stranger.recv, 1) == b""
    await log.append([Outgoing(b"a")])
    assert [record.value for record in await log.read(0, wait_ms=1_000)] == [b"a"]
