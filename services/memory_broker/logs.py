"""Partitions of topics in memory: batches of records as their producers sent them, one after the other.

A batch is Kafka's record batch of format 2, whose first offset is written into it and whose records are never looked at
(kafka.apache.org/documentation, "Record Batch").
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiokafka.errors import (
    CorruptRecordException,
    InvalidProducerEpoch,
    InvalidTopicError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceNumber,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from aiokafka.record.util import calc_crc32c

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
"""First offset, length of what follows, leader's epoch, format, checksum, attributes, last offset − first, first and last time,
producer's number, its epoch, its sequence number, count of records."""
_OFFSET: Final = struct.Struct(">q")
_FORMAT: Final = 2
_CHECKED_FROM: Final = 21
"""The checksum is of everything from the attributes on."""
_REMEMBERED: Final = 5
"""Batches of a producer that may be repeats: what Kafka remembers, and what may be under way."""
_BATCH_BYTES: Final = 1_048_588
"""Kafka's own `max.message.bytes`, where a topic says nothing."""
_NAME_MAX: Final = 249


class _Head(NamedTuple):
    first: int
    length: int
    epoch_of_leader: int
    format: int
    checksum: int
    attributes: int
    last_delta: int
    first_ms: int
    last_ms: int
    producer: int
    epoch: int
    sequence: int
    records: int


class _Written(NamedTuple):
    sequence: int
    next_sequence: int
    offset: int


class _Producer:
    """What a partition knows of one that numbers its batches."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.next_sequence = 0
        self.last: deque[_Written] = deque(maxlen=_REMEMBERED)


class Partition:
    """One log. Offsets count records, and stay what they are."""

    def __init__(self, batch_bytes_max: int) -> None:
        self.first = 0
        """Of what is still there."""
        self.end = 0
        """What the next record gets."""
        self.waiting: set[asyncio.Event] = set()
        """Of fetches that wait for a record."""
        self._batch_bytes_max = batch_bytes_max
        self._batches: list[bytes] = []
        self._starts: list[int] = []
        self._producers: dict[int, _Producer] = {}

    def append(self, batch: bytes) -> int:
        """The offset of its first record. Raises BrokerResponseError; a repeat is answered as it was the first time."""
        head = self._checked(batch)
        if head.producer >= 0 and (known := self._known(head)) is not None:
            return known
        offset, self.end = self.end, self.end + head.last_delta + 1
        self._starts.append(offset)
        self._batches.append(_OFFSET.pack(offset) + batch[_OFFSET.size :])
        if head.producer >= 0:
            producer = self._producers[head.producer]
            producer.next_sequence = head.sequence + head.records
            producer.last.append(_Written(head.sequence, producer.next_sequence, offset))
        for reader in self.waiting:
            reader.set()
        return offset

    def _checked(self, batch: bytes) -> _Head:
        if len(batch) < _HEAD.size:
            raise CorruptRecordException
        head = _Head(*_HEAD.unpack_from(batch))
        whole = head.format == _FORMAT and head.length == len(batch) - 12 and head.last_delta == head.records - 1 >= 0
        if not whole or calc_crc32c(batch[_CHECKED_FROM:]) != head.checksum:
            raise CorruptRecordException
        if len(batch) > self._batch_bytes_max:
            raise MessageSizeTooLargeError
        return head

    def _known(self, head: _Head) -> int | None:
        """The offset that a repeat has already; None: it is new, and next. Raises BrokerResponseError where it is neither."""
        producer = self._producers.get(head.producer)
        if producer is None or head.epoch > producer.epoch:
            producer = self._producers[head.producer] = _Producer(head.epoch)
        if head.epoch < producer.epoch:
            raise InvalidProducerEpoch
        for written in producer.last:
            if (written.sequence, written.next_sequence) == (head.sequence, head.sequence + head.records):
                return written.offset
        if head.sequence != producer.next_sequence:
            raise OutOfOrderSequenceNumber
        return None

    def read(self, offset: int, bytes_max: int) -> bytes:
        """Batches from the one that holds `offset` on; at least one where there is one. Raises OffsetOutOfRangeError."""
        if not self.first <= offset <= self.end:
            raise OffsetOutOfRangeError
        if offset == self.end:
            return b""
        begin = place = bisect_right(self._starts, offset) - 1
        size = 0
        while place < len(self._batches) and (place == begin or size + len(self._batches[place]) <= bytes_max):
            size += len(self._batches[place])
            place += 1
        return b"".join(self._batches[begin:place])

    def cut(self, before: int) -> int:
        """Forget records below `before` (-1: all); the first that is left. Raises OffsetOutOfRangeError."""
        before = self.end if before == -1 else before
        if not 0 <= before <= self.end:
            raise OffsetOutOfRangeError
        self.first = max(self.first, before)
        # A batch goes as a whole: one that holds the first record that is left stays, and readers pass over the rest of it.
        gone = len(self._batches) if self.first == self.end else bisect_right(self._starts, self.first) - 1
        del self._batches[:gone], self._starts[:gone]
        return self.first


class Topic:
    """Partitions with the same settings."""

    def __init__(self, partitions: int, settings: Mapping[str, str]) -> None:
        self.settings = dict(settings)
        bytes_max = int(self.settings.get("max.message.bytes", _BATCH_BYTES))
        self.partitions = [Partition(bytes_max) for _ in range(partitions)]


class Topics:
    """Everything that the broker holds."""

    def __init__(self) -> None:
        self.by_name: dict[str, Topic] = {}
        self._producers = 0

    def create(self, name: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> None:
        """Raises BrokerResponseError: of the library's errors, the one to answer."""
        if name in self.by_name:
            raise TopicAlreadyExistsError
        named = 0 < len(name) <= _NAME_MAX and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
        if not named or partitions < 1 or replicas != 1:
            raise InvalidTopicError
        self.by_name[name] = Topic(partitions, settings)

    def partition(self, name: str, number: int) -> Partition:
        """Raises UnknownTopicOrPartitionError."""
        topic = self.by_name.get(name)
        if topic is None or not 0 <= number < len(topic.partitions):
            raise UnknownTopicOrPartitionError
        return topic.partitions[number]

    def new_producer(self) -> int:
        """A number that no producer has had."""
        self._producers += 1
        return self._producers
