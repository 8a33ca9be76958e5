"""A stored position is good only in the very log that it was taken in."""

import pytest

from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing
from services.runtime.positions import START, Position, after, verify


async def filled(cluster: Cluster, topic: str, *values: bytes):
    await cluster.create_topic(topic, 1, 1, {})
    log = cluster.log(topic)
    if values:
        await log.append([Outgoing(value) for value in values])
    return log


async def test_the_same_log_is_taken_up_again(cluster: Cluster) -> None:
    """At the start, in the middle and at the end."""
    log = await filled(cluster, "t", b"a", b"b", b"c")
    await verify(log, START)
    for record in await log.read(0, wait_ms=1000):
        await verify(log, after(record))


async def test_a_log_that_ends_earlier_is_refused(cluster: Cluster) -> None:
    """Its last records are lost, or it is another one."""
    log = await filled(cluster, "t", b"a", b"b", b"c")
    (*_, last) = await log.read(0, wait_ms=1000)
    shorter = await filled(cluster, "u", b"a", b"b")
    with pytest.raises(Halt, match=r"u/0 holds 0\.\.1, and record 2 has been read from it: it was cut or replaced"):
        await verify(shorter, after(last))
    empty = await filled(cluster, "v")
    with pytest.raises(Halt, match="cut or replaced"):
        await verify(empty, after(last))


async def test_a_log_that_holds_something_else_is_refused(cluster: Cluster) -> None:
    """As long as it should be, and yet another."""
    log = await filled(cluster, "t", b"a", b"b", b"c")
    (*_, last) = await log.read(0, wait_ms=1000)
    other = await filled(cluster, "u", b"a", b"b", b"x", b"d")
    with pytest.raises(Halt, match=r"u/0 record 2 has hash .* the log was replaced"):
        await verify(other, after(last))


async def test_a_cut_is_seen_only_by_those_it_concerns(kafka_cluster: Cluster) -> None:
    """Everything below the last record consumed may go; that record itself, and a reader's beginning, may not."""
    log = await filled(kafka_cluster, "t", b"a", b"b", b"c", b"d")
    records = await log.read(0, wait_ms=1000)
    await kafka_cluster.cut("t", 0, 2)
    await verify(log, after(records[2]))
    with pytest.raises(Halt, match=r"holds 2\.\.3, and record 1 has been read"):
        await verify(log, after(records[1]))
    with pytest.raises(Halt, match="t/0 was cut: it begins at 2, and nothing of it has been read yet"):
        await verify(log, START)


async def test_a_position_says_its_hash(cluster: Cluster) -> None:
    """Sixteen bytes of BLAKE2b, as the contract says."""
    log = await filled(cluster, "t", b"a")
    (record,) = await log.read(0, wait_ms=1000)
    assert after(record) == Position(1, bytes.fromhex("27c35e6e9373877f29e562464e46497e"))
