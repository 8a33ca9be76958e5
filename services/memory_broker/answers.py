"""What the broker answers: one function for each kind of request, in the one version of it that is spoken here.

Requests and responses are the client library's own structures (`aiokafka.protocol`), which read and write both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from aiokafka.errors import (
    BrokerResponseError,
    InvalidTopicError,
    NoError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import (
    ApiVersionRequest_v0,
    CreateTopicsRequest_v1,
    DeleteRecordsRequest_v0,
    DescribeConfigsRequest_v0,
    SaslHandShakeRequest_v1,
)
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest_v4
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest_v1
from aiokafka.protocol.produce import ProduceRequest_v3
from aiokafka.protocol.transaction import InitProducerIdRequest_v0

from services.memory_broker.logs import Partition, Topics

_OK: Final = int(NoError.errno)
_NODE: Final = 1
_LATEST, _EARLIEST = -1, -2
_TOPIC: Final = 2
"""The kind of resource that has settings."""

Answer = Callable[[Any], Awaitable[Response]]


class Answers:
    """Of one broker at one address."""

    def __init__(self, topics: Topics, host: str, port: int) -> None:
        self._topics = topics
        self._address = (_NODE, host, port, None)
        spoken: dict[type[RequestStruct], Answer] = {
            ProduceRequest_v3: self._produce,
            FetchRequest_v4: self._fetch,
            OffsetRequest_v1: self._offsets,
            MetadataRequest_v5: self._metadata,
            SaslHandShakeRequest_v1: self._handshake,
            ApiVersionRequest_v0: self._versions,
            CreateTopicsRequest_v1: self._create_topics,
            DeleteRecordsRequest_v0: self._delete_records,
            InitProducerIdRequest_v0: self._init_producer,
            DescribeConfigsRequest_v0: self._settings,
        }
        self.by_kind = {(kind.API_KEY, kind.API_VERSION): (kind, answer) for kind, answer in spoken.items()}
        """(API key, version) → how the request is read, and what answers it. A client is told these first, and asks no others."""

    async def _versions(self, request: ApiVersionRequest_v0) -> Response:
        return request.RESPONSE_TYPE(_OK, [(key, version, version) for key, version in self.by_kind])

    async def _metadata(self, request: MetadataRequest_v5) -> Response:
        """Of a topic that is not there it says so, and does not create it."""
        names = sorted(self._topics.by_name) if request.topics is None else request.topics
        topics = [self._of_topic(name) for name in names]
        return request.RESPONSE_TYPE(0, [self._address], "memory", _NODE, topics)

    def _of_topic(self, name: str) -> tuple[object, ...]:
        topic = self._topics.by_name.get(name)
        if topic is None:
            return UnknownTopicOrPartitionError.errno, name, False, []
        partitions: list[tuple[object, ...]] = [
            (_OK, number, _NODE, [_NODE], [_NODE], []) for number in range(len(topic.partitions))
        ]
        return _OK, name, False, partitions

    async def _handshake(self, request: SaslHandShakeRequest_v1) -> Response:
        """Whoever wants to log in believes in walls that are not here."""
        return request.RESPONSE_TYPE(UnsupportedSaslMechanismError.errno, [])

    async def _create_topics(self, request: CreateTopicsRequest_v1) -> Response:
        outcomes = []
        for name, partitions, replicas, _, settings in request.create_topic_requests:
            try:
                self._topics.create(name, partitions, replicas, dict(settings))
                outcomes.append((name, _OK, None))
            except BrokerResponseError as error:
                outcomes.append((name, error.errno, error.description))
        return request.RESPONSE_TYPE(outcomes)

    async def _settings(self, request: DescribeConfigsRequest_v0) -> Response:
        """What a topic was created with: there are no others."""
        resources: list[tuple[object, ...]] = []
        for kind, name, wanted in request.resources:
            topic = self._topics.by_name.get(name)
            if kind != _TOPIC or topic is None:
                error = InvalidTopicError if kind != _TOPIC else UnknownTopicOrPartitionError
                resources.append((error.errno, error.description, kind, name, []))
                continue
            entries = [
                (key, value, False, False, False)
                for key, value in sorted(topic.settings.items())
                if wanted is None or key in wanted
            ]
            resources.append((_OK, None, kind, name, entries))
        return request.RESPONSE_TYPE(0, resources)

    async def _init_producer(self, request: InitProducerIdRequest_v0) -> Response:
        return request.RESPONSE_TYPE(0, _OK, self._topics.new_producer(), 0)

    async def _produce(self, request: ProduceRequest_v3) -> Response:
        def append(partition: Partition, batch: bytes) -> tuple[int, int]:
            return partition.append(batch), -1

        return request.RESPONSE_TYPE(self._each(request.topics, append, (-1, -1)), 0)

    async def _offsets(self, request: OffsetRequest_v1) -> Response:
        def offset(partition: Partition, moment: int) -> tuple[int, int]:
            if moment not in (_LATEST, _EARLIEST):
                raise UnsupportedForMessageFormatError  # nobody here asks by time
            return -1, partition.end if moment == _LATEST else partition.first

        return request.RESPONSE_TYPE(self._each(request.topics, offset, (-1, -1)))

    async def _delete_records(self, request: DeleteRecordsRequest_v0) -> Response:
        def cut(partition: Partition, before: int) -> tuple[int]:
            return (partition.cut(before),)

        done = self._each(request.topics, cut, (-1,))
        return request.RESPONSE_TYPE(
            0, [(name, [(number, first, code) for number, code, first in of_topic]) for name, of_topic in done]
        )

    def _each(
        self,
        topics: Iterable[tuple[str, Iterable[tuple[Any, ...]]]],
        do: Callable[[Partition, Any], tuple[object, ...]],
        nothing: tuple[object, ...],
    ) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """(topic, [(partition, error code, *what `do` says of it)]): one partition's error is none of the others'."""
        found = []
        for name, partitions in topics:
            said: list[tuple[Any, ...]] = []
            for number, value in partitions:
                try:
                    said.append((number, _OK, *do(self._topics.partition(name, number), value)))
                except BrokerResponseError as error:
                    said.append((number, error.errno, *nothing))
            found.append((name, said))
        return found

    # --- Fetches wait ----------------------------------------------------------------------------------

    async def _fetch(self, request: FetchRequest_v4) -> Response:
        """At once where a partition has a record or an error; else as soon as a record comes, or the time is up."""
        came = asyncio.Event()
        asked = self._asked(request)
        for partition in asked:
            partition.waiting.add(came)
        try:
            found, is_empty = self._found(request)
            if is_empty and request.max_wait_time > 0 and request.min_bytes > 0:
                try:
                    async with asyncio.timeout(request.max_wait_time / 1000):
                        await came.wait()
                except TimeoutError:
                    pass  # nothing came: that is the answer
                found, _ = self._found(request)
        finally:
            for partition in asked:
                partition.waiting.discard(came)
        return request.RESPONSE_TYPE(0, found)

    def _asked(self, request: FetchRequest_v4) -> list[Partition]:
        """Those that are there; the answer says of the others that they are not."""
        asked = []
        for name, partitions in request.topics:
            for number, _, _ in partitions:
                with contextlib.suppress(UnknownTopicOrPartitionError):
                    asked.append(self._topics.partition(name, number))
        return asked

    def _found(self, request: FetchRequest_v4) -> tuple[list[tuple[str, list[tuple[object, ...]]]], bool]:
        """(the answer's topics, whether there is nothing to tell of any of them)."""
        is_empty, left = True, request.max_bytes
        found = []
        for name, partitions in request.topics:
            said: list[tuple[object, ...]] = []
            for number, offset, bytes_max in partitions:
                try:
                    partition = self._topics.partition(name, number)
                    batches = partition.read(offset, min(bytes_max, left)) if left > 0 else b""
                except BrokerResponseError as error:
                    is_empty = False
                    said.append((number, error.errno, -1, -1, [], b""))
                    continue
                left -= len(batches)
                is_empty = is_empty and not batches
                said.append((number, _OK, partition.end, partition.end, [], batches))
            found.append((name, said))
        return found, is_empty
