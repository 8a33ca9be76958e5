"""Both brokers give back what they took; Apache Kafka also after a crash."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.runtime.infra import ApacheKafka, MemoryBroker, ServerFailed, free_port


@pytest.mark.parametrize("server", [pytest.param("kafka", marks=pytest.mark.kafka), "broker"])
async def test_a_broker_gives_back_what_it_took(server, request, topic_prefix) -> None:
    """Everything, once, in the order of the appends."""
    bootstrap = request.getfixturevalue(server).bootstrap
    topic = f"{topic_prefix}orders"

    await create(bootstrap, topic)
    await append(bootstrap, topic, b"first", b"second", b"third")

    assert await read_all(bootstrap, topic) == [(0, b"first"), (1, b"second"), (2, b"third")]


async def test_what_kafka_acknowledged_survives_a_crash(own_kafka: ApacheKafka) -> None:
    """Killed without a word, it comes back on the same port. Later another process, which knows the folder and
    nothing else, opens it on other ports and forces every append to the disk."""
    await asyncio.to_thread(own_kafka.start)
    await create(own_kafka.bootstrap, "orders")
    await append(own_kafka.bootstrap, "orders", b"before")

    own_kafka.kill9()
    assert not own_kafka.is_running
    await asyncio.to_thread(own_kafka.start)
    await append(own_kafka.bootstrap, "orders", b"after")
    await asyncio.to_thread(own_kafka.stop)

    with ApacheKafka(own_kafka.home, flush_each=True) as reopened:
        assert reopened.port != own_kafka.port
        await append(reopened.bootstrap, "orders", b"later")
        assert await read_all(reopened.bootstrap, "orders") == [(0, b"before"), (1, b"after"), (2, b"later")]


async def test_kafka_makes_no_topic_that_nobody_asked_for(kafka: ApacheKafka, topic_prefix: str) -> None:
    """A misspelt name is an error and not a new, empty topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([f"{topic_prefix}oders"])
        names = await admin.list_topics()
    finally:
        await admin.close()

    assert described["error_code"] == 3  # UNKNOWN_TOPIC_OR_PARTITION
    assert f"{topic_prefix}oders" not in names


def test_a_kafka_that_cannot_start_says_why(own_kafka: ApacheKafka) -> None:
    """The reason is in the message, not only in a log that somebody has to find."""
    broken = ApacheKafka(own_kafka.home, settings={"num.io.threads": "none"})

    with pytest.raises(ServerFailed, match=r"num\.io\.threads"):
        broken.start()
    assert not broken.is_running


def test_kafka_without_jars_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"java|make kafka"):
        ApacheKafka(tmp_path / "kafka", jars=tmp_path).start()


def test_a_server_takes_no_other_on_its_port_for_itself(
    broker: MemoryBroker, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of an exchange that still runs has its ports: its services would work for the original."""
    monkeypatch.setattr("services.runtime.infra.server.PORT_S_MAX", 0.1)
    copy = MemoryBroker(scratch / "copy", port=broker.port)

    with pytest.raises(ServerFailed, match=f"another process listens on its port {broker.port}"):
        copy.start()
    assert not copy.is_running


def test_a_server_waits_until_its_port_is_left(scratch: Path) -> None:
    """Whoever had it may be on his way out, as after a crash of the program that kept it."""
    with socket.create_server(("127.0.0.1", 0)) as leaving:
        port = leaving.getsockname()[1]
        threading.Timer(0.5, leaving.close).start()

        with MemoryBroker(scratch / "next", port=port) as started:
            assert started.is_running


def test_a_free_port_can_be_listened_on() -> None:
    async def listen() -> int:
        async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", free_port()) as server:
            return len(server.sockets)

    assert asyncio.run(listen()) == 1


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, 1, 1)])
        assert [error for _, error, *_ in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def append(bootstrap: str, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def read_all(bootstrap: str, topic: str) -> list[tuple[int, bytes]]:
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        records: list[tuple[int, bytes]] = []
        while len(records) < end:
            polled = await consumer.getmany(partition, timeout_ms=1_000)
            records += [(record.offset, record.value) for record in polled.get(partition, ())]
        return records
