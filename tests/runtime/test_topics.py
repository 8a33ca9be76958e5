"""Topics are created once, and a service refuses any that are not as they must be, in a sentence."""

import pytest

from schemas.codec import WRITER_OPERATOR, decode_frame, encode_frame
from schemas.commands import StartShard, Tick
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing
from services.runtime.topics import ALL, PER_SHARD, check_topics, create_topics, wanted_settings


async def test_creating_starts_every_shard_at_offset_0_and_only_once(cluster: Cluster) -> None:
    """Two shards, two beginnings; a second call refuses and writes nothing."""
    await create_topics(cluster, 2, sandbox=True, rate=60, t0_ms=1_790_000_000_000)

    assert await cluster.topics() >= set(ALL)
    for shard in range(2):
        log = cluster.log("commands", shard)
        assert await log.bounds() == (0, 1)
        frame = decode_frame((await log.read(0, wait_ms=1000))[0].value)
        assert frame.writer == WRITER_OPERATOR
        assert frame.commands == [StartShard(shard, 2, 1_790_000_000_000, 60, True)]
    found = await check_topics(cluster, 2)
    assert (found.sandbox, found.rate) == (True, 60)
    with pytest.raises(Halt, match="all 2 shards are started already"):
        await create_topics(cluster, 2, sandbox=True, rate=60)
    assert [await cluster.log("commands", shard).bounds() for shard in range(2)] == [(0, 1), (0, 1)]


async def test_creating_goes_on_where_it_was_killed(cluster: Cluster) -> None:
    """Topics there, the first shard started, the second not: the second call starts the second."""
    await cluster.create_topic("commands", 2, 1, wanted_settings(1))
    start = StartShard(0, 1, 5, 1, True)
    await cluster.log("commands", 0).append([Outgoing(encode_frame(WRITER_OPERATOR, 7, [start]))])

    await create_topics(cluster, 2, sandbox=True)

    assert await cluster.log("commands", 0).bounds() == (0, 1)
    assert await cluster.log("commands", 1).bounds() == (0, 1)
    await check_topics(cluster, 2)
    with pytest.raises(Halt, match="shard 0 is started already, with rate 1 and sandbox True"):
        await create_topics(cluster, 2, sandbox=True, rate=5)


async def test_a_missing_topic_is_named_and_not_created_by_asking(cluster: Cluster) -> None:
    """Some brokers create what a metadata request names."""
    with pytest.raises(Halt, match="topic commands does not exist"):
        await check_topics(cluster, 2)
    assert await cluster.topics() == set()


async def test_wrong_partitions_are_named(cluster: Cluster) -> None:
    """Two shards are not three."""
    await create_topics(cluster, 2, sandbox=True)
    with pytest.raises(Halt, match="topic commands, partitions: found 2, wanted 3"):
        await check_topics(cluster, 3)


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "1048588"),
        ("unclean.leader.election.enable", "true"),
    ],
)
async def test_a_wrong_setting_is_named_with_found_and_wanted(cluster: Cluster, setting: str, found: str) -> None:
    """Topic, setting, found, wanted: one sentence each, for every topic."""
    wanted = wanted_settings(1)
    for topic in ALL:
        settings = {**wanted, setting: found} if topic == "requests" else wanted
        await cluster.create_topic(topic, 1 if topic not in PER_SHARD else 2, 1, settings)
    with pytest.raises(Halt, match=rf"^topic requests, setting {setting}: found {found}, wanted {wanted[setting]}$"):
        await check_topics(cluster, 2)


async def test_larger_records_than_needed_are_allowed(cluster: Cluster) -> None:
    """max.message.bytes is a lower bound."""
    await create_topics(cluster, 1, sandbox=True)
    await cluster.create_topic("large", 1, 1, {**wanted_settings(1), "max.message.bytes": "8388608"})
    await check_topics(cluster, 1, ["large"])


async def test_a_log_that_begins_with_something_else_is_refused(cluster: Cluster) -> None:
    """A tick, rubbish, another shard's start."""
    for topic in ALL:
        await cluster.create_topic(topic, 3 if topic in PER_SHARD else 1, 1, wanted_settings(1))
    for shard, value in enumerate(
        (encode_frame(WRITER_OPERATOR, 1, [Tick(5)]), b"rubbish", encode_frame(3, 1, [StartShard(0, 1, 5, 1, True)]))
    ):
        await cluster.log("commands", shard).append([Outgoing(value)])
    with pytest.raises(Halt, match="commands/0 does not begin with StartShard"):
        await create_topics(cluster, 3, sandbox=True)


async def test_a_log_that_was_replaced_by_another_market_is_refused(cluster: Cluster) -> None:
    """Its beginning is a StartShard, and not the one that was written."""
    await create_topics(cluster, 1, sandbox=True)
    async with Cluster(cluster.bootstrap, prefix=cluster.prefix + "other-") as other:
        await create_topics(other, 1, sandbox=True)
        (theirs,) = await other.log("commands").read(0, wait_ms=1000)
    shards = cluster.log("shards")
    assert await shards.bounds() == (0, 1)
    mixed = Cluster(cluster.bootstrap, prefix=cluster.prefix + "mixed-")
    async with mixed:
        await create_topics_by_hand(mixed, theirs.value, (await shards.read(0, wait_ms=1000))[0].value)
        with pytest.raises(Halt, match="commands/0 does not begin with the StartShard that topic shards knows"):
            await check_topics(mixed, 1)


async def create_topics_by_hand(cluster: Cluster, first: bytes, known: bytes) -> None:
    for topic in ALL:
        await cluster.create_topic(topic, 1, 1, wanted_settings(1))
    await cluster.log("commands").append([Outgoing(first)])
    await cluster.log("shards").append([Outgoing(known)])


async def test_a_shard_whose_beginning_is_archived_is_known(kafka_cluster: Cluster) -> None:
    """Topic `shards` is never cut."""
    await create_topics(kafka_cluster, 1, sandbox=True, rate=60)
    await kafka_cluster.log("commands").append([Outgoing(b"x")] * 5)
    await kafka_cluster.cut("commands", 0, 4)
    assert (await check_topics(kafka_cluster, 1)).rate == 60


async def test_the_brokers_own_stamps_are_proved_by_a_probe(kafka_cluster: Cluster) -> None:
    """Apache Kafka says LogAppendTime and means it: good for production."""
    await create_topics(kafka_cluster, 1)
    found = await check_topics(kafka_cluster, 1)
    assert found.append_time
    assert not found.sandbox
    _, settings = await kafka_cluster.describe("commands")
    assert settings["flush.messages"] == "1", "one broker alone flushes what it acknowledges"


async def test_a_broker_that_keeps_the_writers_stamp_is_refused_outside_a_sandbox(broker, topic_prefix: str) -> None:
    """It repeats the setting that it was asked for, and does not obey it."""
    async with Cluster(broker.bootstrap, prefix=topic_prefix) as cluster:
        await create_topics(cluster, 1)
        with pytest.raises(Halt, match=r"topic commands, setting message\.timestamp\.type"):
            await check_topics(cluster, 1)
    async with Cluster(broker.bootstrap, prefix=topic_prefix + "s") as cluster:
        await create_topics(cluster, 1, sandbox=True)
        assert not (await check_topics(cluster, 1)).append_time


async def test_market_time_runs_fast_only_in_a_sandbox(cluster: Cluster) -> None:
    """Refused before anything is created."""
    with pytest.raises(Halt, match="rate 60"):
        await create_topics(cluster, 1, rate=60)
    assert await cluster.topics() == set()
