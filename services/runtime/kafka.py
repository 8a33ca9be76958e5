"""`Log` over a Kafka-compatible broker.

    async with Cluster("127.0.0.1:9092", prefix="") as cluster:
        log = cluster.log("commands", 0)          # opens nothing yet
        first, end = await log.bounds()
        records = await log.read(first, count=500, wait_ms=200)
        await log.append([Outgoing(value, headers=[("e", b"...")])])

A `KafkaLog` has one reader and one writer of its own: one coroutine reads, one appends. What it promises beyond `Log`:
- Positions are ours: `assign()`, `seek()` to a number, no consumer group, `auto_offset_reset='none'`. Some brokers answer
  nothing to an offset out of range, so every jump, and about once a second an empty read, is compared with `bounds()`.
- A read below an end that `bounds()` has told returns at least one record (or raises).
- One batch in flight, its future awaited before the next is sent: a refused batch never leaves a hole before a later one.
- Producers are idempotent: a batch that is sent again is not written again.
- A broker that answers and does not let us in is not away: BadSettings, with a sentence that names the setting. A topic that
  this login may not read or write is Forbidden; where one may only be told of, the write is refused.
- After WriteRefused or WriteUnknown the log writes no more (WriteRefused). `cluster.log()` gives a fresh one.

The topic's name on the broker is `prefix + topic`; `log.topic` is without the prefix.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from aiokafka.producer.message_accumulator import BatchBuilder

from services.runtime import kafka_acls, kafka_login
from services.runtime.config import Login
from services.runtime.errors import BadSettings
from services.runtime.kafka_acls import Grant
from services.runtime.log import (
    Forbidden,
    LogError,
    Outgoing,
    OutOfRange,
    Record,
    Unreachable,
    WriteRefused,
    WriteUnknown,
)

MESSAGE_BYTES_MAX: Final = 2 * 1024 * 1024
"""`max.message.bytes` of every topic. Records must leave room for `_RECORD_OVERHEAD`."""
_RECORD_OVERHEAD: Final = 4096
_BATCH_BYTES: Final = 512 * 1024
_FETCH_BYTES: Final = 4 * 1024 * 1024
_REQUEST_MS: Final = 10_000
_WRITE_MS: Final = 30_000
_CHECK_S: Final = 1.0
_Client = TypeVar("_Client", AIOKafkaConsumer, AIOKafkaProducer)
_JUMP_MS: Final = 250
"""A jump has to wait until the broker has answered the fetch before it, which waits so long for a record."""

_REFUSED = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
)
"""Answers that say of the batch itself that it cannot be written. Whatever else fails leaves the outcome open."""


class Cluster:
    """A broker's address, and everything opened there; closes it all at the end."""

    def __init__(
        self, bootstrap: str, *, prefix: str = "", login: Login | None = None, write_ms_max: int = _WRITE_MS
    ) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.login = login
        self.write_ms_max = write_ms_max
        """An append that takes longer ends as WriteUnknown."""
        self._logs: list[KafkaLog] = []
        self._asker: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for log in list(self._logs):
            await log.close()
        if self._asker is not None:
            await self._asker.stop()

    async def asker(self) -> AIOKafkaConsumer:
        """A started consumer that reads nothing, for questions about offsets.

        A broker answers a connection in order, and a read at the end of a log for as long as `_JUMP_MS` not at all: asked on the
        same connection, a shard's writer stood still for up to that long once a second.
        """
        async with self._asking:
            if self._asker is None:
                self._asker = await _started(
                    AIOKafkaConsumer(**self.connecting, group_id=None, enable_auto_commit=False)
                )
            return self._asker

    def log(self, topic: str, partition: int = 0) -> KafkaLog:
        """A log with connections of its own, closed with the cluster."""
        log = KafkaLog(self, topic, partition)
        self._logs.append(log)
        return log

    def forget(self, log: KafkaLog) -> None:
        """It has been closed."""
        if log in self._logs:
            self._logs.remove(log)

    async def ping(self) -> int:
        """How many brokers there are. Raises Unreachable, BadSettings."""
        async with self._admin() as admin:
            return len((await admin.describe_cluster())["brokers"])

    async def topics(self) -> set[str]:
        """Names of the topics that begin with the prefix, without it. Raises Unreachable."""
        async with self._admin() as admin:
            names = await admin.list_topics()
        return {name.removeprefix(self.prefix) for name in names if name.startswith(self.prefix)}

    async def has(self, topic: str) -> bool:
        """Whether a topic is there; what a login is not shown may be, and reading it says so. Raises Unreachable."""
        return self.login is not None or topic in await self.topics()

    async def create_topic(self, topic: str, partitions: int, replicas: int, settings: Mapping[str, str]) -> bool:
        """False: it was there already. Raises LogError with the broker's words."""
        new = NewTopic(self.prefix + topic, partitions, replicas, topic_configs=dict(settings))
        async with self._admin() as admin:
            response = await admin.create_topics([new], timeout_ms=_REQUEST_MS)
        ((_, code, message),) = response.topic_errors
        if code not in (0, TopicAlreadyExistsError.errno):
            raise LogError(f"creating topic {self.prefix + topic}: error {code}, {message}")
        return bool(code == 0)

    async def describe(self, topic: str) -> tuple[list[int], dict[str, str]]:
        """(replicas of each partition, settings as the broker tells them) of an existing topic.

        Ask `topics()` first: some brokers create what they are asked about.
        """
        name = self.prefix + topic
        async with self._admin() as admin:
            (described,) = await admin.describe_topics([name])
            (response, *_) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        ((code, message, _, _, entries),) = response.resources
        if code:
            raise LogError(f"settings of topic {name}: error {code}, {message}")
        partitions = sorted(described["partitions"], key=lambda partition: partition["partition"])
        return [len(p["replicas"]) for p in partitions], {entry[0]: entry[1] for entry in entries}

    async def cut(self, topic: str, partition: int, before_offset: int) -> int:
        """Delete records below `before_offset`; the first offset afterwards. Raises LogError where a broker cannot."""
        where = TopicPartition(self.prefix + topic, partition)
        async with self._admin() as admin:
            answer = await admin.delete_records({where: RecordsToDelete(before_offset=before_offset)})
        return int(answer[where])

    async def grants(self, topics: Collection[str]) -> set[Grant]:
        """What the broker's access lists allow with these topics, and whom. Raises LogError where it keeps none."""
        async with self._admin() as admin:
            found = await kafka_acls.describe(admin)
        names = {self.prefix + topic: topic for topic in topics}
        return {grant._replace(topic=names[grant.topic]) for grant in found if grant.topic in names}

    async def change_grants(self, add: Collection[Grant], drop: Collection[Grant]) -> None:
        """Write the broker's access lists. Raises LogError."""
        async with self._admin() as admin:
            await kafka_acls.create(admin, [grant._replace(topic=self.prefix + grant.topic) for grant in add])
            await kafka_acls.delete(admin, [grant._replace(topic=self.prefix + grant.topic) for grant in drop])

    async def keeps_append_time(self, topic: str) -> bool:
        """Whether the broker puts its own stamp on records: writes one with an old stamp and reads it back."""
        old_ms = 1_000_000_000_000
        producer = await self.producer()
        try:
            written = await producer.send_and_wait(self.prefix + topic, b"probe", partition=0, timestamp_ms=old_ms)
        finally:
            await producer.stop()
        log = self.log(topic)
        try:
            (record,) = await log.read(written.offset, count=1, wait_ms=_REQUEST_MS)
        finally:
            await log.close()
        return record.time_ms != old_ms

    async def producer(self) -> AIOKafkaProducer:
        """A started producer, acks=all."""
        return await _started(
            AIOKafkaProducer(**self.connecting, acks="all", enable_idempotence=True, max_batch_size=_BATCH_BYTES)
        )

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self.connecting)
        try:
            await admin.start()
            yield admin
        except (KafkaError, OSError) as error:
            raise await self.away(self.bootstrap, error) from error
        finally:
            await admin.close()

    @property
    def whom(self) -> str:
        """Who we are to the broker, in words."""
        return f"login {self.login.user!r}" if self.login else "whoever has no login"

    @property
    def connecting(self) -> dict[str, Any]:
        """Arguments of every client."""
        return {
            "bootstrap_servers": self.bootstrap,
            "request_timeout_ms": _REQUEST_MS,
            **kafka_login.options(self.login),
        }

    async def away(self, what: str, error: Exception) -> Unreachable:
        """What to say of an error of the library. Raises BadSettings where a broker answers and does not let us in."""
        if reason := await self.refusal(error):
            raise BadSettings(reason) from error
        return Unreachable(f"{what}: {error!r}")

    async def refusal(self, error: Exception) -> str:
        """Why the broker did not let us in, where that is what is behind an error of the library; else empty."""
        if not isinstance(error, KafkaConnectionError):
            return ""
        return await kafka_login.refusal(self.bootstrap, self.login)


class KafkaLog:
    """One partition of one topic on a broker; see the module's promises."""

    def __init__(self, cluster: Cluster, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self._cluster = cluster
        self._where = TopicPartition(cluster.prefix + topic, partition)
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._position = -1
        """Where the consumer stands; -1: nowhere yet."""
        self._end = 0
        """Records below this are known to exist."""
        self._checked_s = 0.0
        self._writing = False
        self._dead = ""
        """Why nothing is written any more."""

    def __repr__(self) -> str:
        return f"{self.topic}/{self.partition}"

    async def bounds(self) -> tuple[int, int]:
        """(offset of the first record, offset that the next record will get). Raises Unreachable."""
        await self._open_reader()  # raises where the broker does not show it to us
        try:
            asker = await self._cluster.asker()
            firsts, ends = await asyncio.gather(
                asker.beginning_offsets([self._where]), asker.end_offsets([self._where])
            )
            first, end = firsts[self._where], ends[self._where]
        except (KafkaError, OSError) as error:
            raise await self._cluster.away(repr(self), error) from error
        self._end = end
        self._checked_s = time.monotonic()
        return first, end

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        """Records from `offset` on, in order, at most `count`; empty when none came within `wait_ms`.

        Raises OutOfRange, Unreachable, LogError for a record that is damaged.
        """
        consumer = await self._open_reader()
        if offset != self._position:
            await self._check(offset)
            consumer.seek(self._where, offset)
            self._position = offset
        records = await self._fetch(consumer, count, wait_ms)
        if not records and offset >= self._end and time.monotonic() - self._checked_s >= _CHECK_S:
            await self._check(offset)
        if not records and offset < self._end:
            # It is there: an empty answer would look like the end of the log.
            records = await self._fetch(consumer, count, _REQUEST_MS)
            if not records:
                raise Unreachable(f"{self!r}: nothing came from {offset} on, the end is {self._end}")
        if records:
            assert records[0].offset >= offset
            self._position = records[-1].offset + 1
        return records

    async def append(self, records: Sequence[Outgoing]) -> None:
        """Write all, in order, acks=all, before it returns. Raises WriteRefused, WriteUnknown."""
        if self._dead:
            raise WriteRefused(f"{self!r} writes no more: {self._dead}")
        assert not self._writing, f"two appends to {self!r} at once have no order"
        for record in records:
            size = _size(record)
            if size > MESSAGE_BYTES_MAX - _RECORD_OVERHEAD:
                self._dead = f"a record of {size} bytes was refused"
                raise WriteRefused(f"{self!r}: {size} bytes in one record, allowed are {MESSAGE_BYTES_MAX}")
        self._writing = True
        self._dead = "an append was abandoned half way"
        try:
            await self._write(records)
            self._dead = ""
        except LogError as error:
            self._dead = str(error)
            raise
        finally:
            self._writing = False
            if self._dead:
                await self._drop_writer()

    async def close(self) -> None:
        """Close both connections; what is being written may or may not arrive."""
        if self._consumer is not None:
            await self._consumer.stop()
        self._consumer = None
        await self._drop_writer()
        self._dead = self._dead or "closed"
        self._cluster.forget(self)

    async def _write(self, records: Sequence[Outgoing]) -> None:
        try:
            if self._producer is None:
                self._producer = await self._cluster.producer()
        except (KafkaError, OSError) as error:
            # Whoever asks for a write gets an answer, and not the end of the process: its readers will see to that.
            reason = await self._cluster.refusal(error) or repr(error)
            raise WriteRefused(f"{self!r}: no producer: {reason}") from error
        some_written = False
        try:
            async with asyncio.timeout(self._cluster.write_ms_max / 1000):
                for batch in _batches(self._producer, records):
                    await (await self._producer.send_batch(batch, self._where.topic, partition=self.partition))
                    some_written = True
        except _REFUSED as error:
            kind = WriteUnknown if some_written else WriteRefused
            raise kind(f"{self!r}: {error!r}") from error
        except (KafkaError, TimeoutError, OSError) as error:
            raise WriteUnknown(f"{self!r}: {error!r}") from error

    async def _open_reader(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = await self._open_consumer()
        return self._consumer

    async def _open_consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._cluster.connecting,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_JUMP_MS,
        )
        try:
            await consumer.start()
            # Asked for a topic that it may not see, the library would look for it until the time is up.
            hidden = self._cluster.login is not None and self._where.topic not in await consumer.topics()
        except (KafkaError, OSError) as error:
            await consumer.stop()
            raise await self._cluster.away(repr(self), error) from error
        if hidden:
            await consumer.stop()
            raise Forbidden(f"{self!r}: the broker does not show it to {self._cluster.whom}")
        consumer.assign([self._where])
        return consumer

    async def _check(self, offset: int) -> None:
        first, end = await self.bounds()
        if not first <= offset <= end:
            raise OutOfRange(f"{self!r}: offset {offset} is not in {first}..{end}")

    async def _fetch(self, consumer: AIOKafkaConsumer, count: int, wait_ms: int) -> list[Record]:
        try:
            polled = await consumer.getmany(self._where, timeout_ms=wait_ms, max_records=count)
        except OffsetOutOfRangeError as error:
            self._position = -1
            raise OutOfRange(f"{self!r}: {error}") from error
        except TopicAuthorizationFailedError as error:
            raise Forbidden(f"{self!r}: the broker does not let {self._cluster.whom} read it") from error
        except KafkaError as error:
            self._position = -1
            raise LogError(f"{self!r}: {error!r}") from error
        return [
            Record(record.offset, record.timestamp, record.value or b"", record.headers, record.key)
            for record in polled.get(self._where, ())
        ]

    async def _drop_writer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(1):
                await producer.stop()
        except TimeoutError:
            # An idempotent producer tries for ever and would wait for it here: cut it off.
            producer._sender.sender_task.cancel()  # noqa: SLF001 # it has no public end but success
            await producer.client.close()


async def _started(client: _Client) -> _Client:
    try:
        await client.start()
    except BaseException:  # also when we are cancelled: what it has opened is closed
        await client.stop()
        raise
    return client


def _size(record: Outgoing) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.value) + len(record.key or b"") + headers


def _batches(producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> Iterator[BatchBuilder]:
    """Records packed in order; a batch is full at `_BATCH_BYTES`, a larger record is one by itself."""
    batch = producer.create_batch()
    for record in records:
        if batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers)) is None:
            yield batch
            batch = producer.create_batch()
            taken = batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
            assert taken is not None, "an empty batch takes any record"
    if batch.record_count():
        yield batch
