"""Partitions in memory do with batches, repeats and cuts what Apache Kafka does with them."""

from __future__ import annotations

import struct

import pytest
from aiokafka.errors import (
    BrokerResponseError,
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from services.memory_broker.logs import Partition, Topics


def batch(*values: bytes, producer: int = -1, epoch: int = -1, sequence: int = -1) -> bytes:
    """As the client library makes it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        batch_size=1_000_000,
    )
    for number, value in enumerate(values):
        builder.append(number, 1_000, None, value, [])
    return bytes(builder.build())


def records(read: bytes) -> list[tuple[int, bytes]]:
    """(offset, value) as the client library reads them."""
    found = []
    while read:
        size = 12 + struct.unpack_from(">i", read, 8)[0]
        whole = DefaultRecordBatch(bytearray(read[:size]))
        assert whole.validate_crc()
        found += [(record.offset, record.value) for record in whole]
        read = read[size:]
    return found


def partition(bytes_max: int = 10_000) -> Partition:
    return Partition(bytes_max)


def test_batches_are_read_from_the_one_that_holds_the_offset_as_many_as_fit() -> None:
    log = partition()
    first, second, third = batch(b"a", b"b", b"c"), batch(b"d"), batch(b"e", b"f")
    assert [log.append(each) for each in (first, second, third)] == [0, 3, 4]

    assert (log.first, log.end) == (0, 6)
    everything = list(enumerate([b"a", b"b", b"c", b"d", b"e", b"f"]))
    assert records(log.read(0, 10_000)) == everything
    assert records(log.read(2, 10_000)) == everything
    assert records(log.read(3, 10_000)) == everything[3:]
    assert records(log.read(3, len(second) + len(third))) == everything[3:]
    assert records(log.read(3, len(second) + len(third) - 1)) == everything[3:4]
    assert records(log.read(0, 1)) == everything[:3]  # one batch at least, whatever was asked for
    assert log.read(6, 10_000) == b""


@pytest.mark.parametrize("offset", [-1, 7])
def test_an_offset_that_is_not_there_is_an_error(offset: int) -> None:
    log = partition()
    log.append(batch(b"a", b"b", b"c", b"d", b"e", b"f"))
    with pytest.raises(OffsetOutOfRangeError):
        log.read(offset, 1)


def test_what_is_cut_is_gone_and_offsets_stay_what_they_were() -> None:
    log = partition()
    for values in ((b"a", b"b", b"c"), (b"d",), (b"e", b"f")):
        log.append(batch(*values))

    assert log.cut(1) == 1
    assert records(log.read(1, 10_000))[0] == (0, b"a")  # as a whole batch: readers pass over what they did not ask for
    assert log.cut(3) == 3
    assert records(log.read(3, 10_000)) == [(3, b"d"), (4, b"e"), (5, b"f")]
    assert log.cut(2) == 3  # never back
    with pytest.raises(OffsetOutOfRangeError):
        log.read(2, 1)
    with pytest.raises(OffsetOutOfRangeError):
        log.cut(7)
    assert log.cut(-1) == 6
    assert (log.read(6, 1), log.append(batch(b"g"))) == (b"", 6)
    assert records(log.read(6, 1)) == [(6, b"g")]


def test_a_repeat_is_answered_as_it_was_the_first_time_and_written_once() -> None:
    log = partition()
    sent = [batch(b"a", b"b", producer=7, epoch=0, sequence=0), batch(b"c", producer=7, epoch=0, sequence=2)]
    other = batch(b"x", producer=8, epoch=0, sequence=0)

    assert [log.append(each) for each in (sent[0], other, sent[1], sent[0], sent[1], other)] == [0, 2, 3, 0, 3, 2]
    assert [value for _, value in records(log.read(0, 10_000))] == [b"a", b"b", b"x", b"c"]


def test_a_batch_that_is_not_the_producer_s_next_is_refused() -> None:
    log = partition()
    log.append(batch(b"a", producer=7, epoch=0, sequence=0))
    with pytest.raises(OutOfOrderSequenceNumber):
        log.append(batch(b"c", producer=7, epoch=0, sequence=2))
    for number in range(1, 8):
        log.append(batch(b"a", producer=7, epoch=0, sequence=number))
    with pytest.raises(OutOfOrderSequenceNumber):
        log.append(batch(b"a", producer=7, epoch=0, sequence=0))  # older than what is remembered
    assert log.end == 8


def test_a_later_epoch_begins_anew_and_ends_the_one_before() -> None:
    log = partition()
    log.append(batch(b"a", producer=7, epoch=0, sequence=0))
    assert log.append(batch(b"b", producer=7, epoch=1, sequence=0)) == 1
    with pytest.raises(InvalidProducerEpoch):
        log.append(batch(b"c", producer=7, epoch=0, sequence=1))


def damaged(place: int) -> bytes:
    whole = bytearray(batch(b"value"))
    whole[place] ^= 1
    return bytes(whole)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", CorruptRecordException),
        (batch(b"value")[:-1], CorruptRecordException),
        (batch(b"value") + batch(b"another"), CorruptRecordException),
        (damaged(16), CorruptRecordException),  # the format
        (damaged(-3), CorruptRecordException),  # a value: the checksum knows
        (damaged(26), CorruptRecordException),  # how many there are
        (batch(bytes(10_000)), MessageSizeTooLargeError),
    ],
)
def test_what_is_no_whole_batch_is_refused_and_changes_nothing(sent: bytes, error: type[BrokerResponseError]) -> None:
    log = partition()
    with pytest.raises(error):
        log.append(sent)
    assert (log.end, log.append(batch(b"next"))) == (0, 0)


@pytest.mark.parametrize(
    ("name", "partitions", "replicas"),
    [("", 1, 1), ("a b", 1, 1), ("ä", 1, 1), ("a" * 250, 1, 1), ("a", 0, 1), ("a", 1, 2)],
)
def test_a_topic_that_cannot_be_is_refused(name: str, partitions: int, replicas: int) -> None:
    topics = Topics()
    with pytest.raises(InvalidTopicError):
        topics.create(name, partitions, replicas, {})
    assert topics.by_name == {}


def test_topics_are_there_once_and_have_their_partitions() -> None:
    topics = Topics()
    topics.create("a.b-c_1", 2, 1, {"max.message.bytes": "100"})
    with pytest.raises(TopicAlreadyExistsError):
        topics.create("a.b-c_1", 2, 1, {})
    with pytest.raises(MessageSizeTooLargeError):
        topics.partition("a.b-c_1", 1).append(batch(bytes(100)))
    for name, number in (("a.b-c_1", 2), ("a.b-c_1", -1), ("other", 0)):
        with pytest.raises(UnknownTopicOrPartitionError):
            topics.partition(name, number)
    assert len({topics.new_producer() for _ in range(5)}) == 5
