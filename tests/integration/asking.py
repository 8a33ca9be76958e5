"""A login asks Apache Kafka for everything, topic by topic, in the protocol's own requests: our own code might not dare.

What is written is rubbish, and what may be deleted is: only for a broker and a prefix of a test's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreateAclsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeAclsRequest,
)
from aiokafka.protocol.api import Request
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.runtime.config import Login

YES, NO = 0, {29: "not with this topic", 31: "not with the cluster", 73: "topics are not deleted here"}
"""Kafka's error codes."""
_TOPIC, _LITERAL, _READ, _ALLOW, _ANY = 2, 3, 3, 3, 1


class Asking:
    """One login's connection."""

    def __init__(self, client: AIOKafkaClient, user: str) -> None:
        self._client = client
        self._user = user

    async def may(self, topic: str) -> str:
        """`told read write cut`, as far as the broker lets it."""
        words: dict[str, Callable[[str], Awaitable[int]]] = {
            "told": self._told, "read": self._read, "write": self._write, "cut": self._cut,
        }  # fmt: skip
        return " ".join([word for word, ask in words.items() if _allowed(await ask(topic))])

    async def may_govern(self, topic: str) -> list[str]:
        """What only an administrator does."""
        words = {
            "create topics": self._create_topic,
            "delete topics": self._delete_topic,
            "change settings": self._alter,
            "change lists": self._grant,
            "read lists": self._lists,
        }
        return [word for word, ask in words.items() if _allowed(await ask(topic))]

    async def _ask(self, request: Request[Any]) -> Any:
        return await self._client.send(self._client.get_random_node(), request)

    async def _told(self, topic: str) -> int:
        ((code, *_),) = (await self._ask(MetadataRequest([topic]))).topics
        return int(code)

    async def _read(self, topic: str) -> int:
        answer = await self._ask(FetchRequest(0, 0, 1_000_000, 0, [(topic, [(0, 0, 1_000_000)])]))
        ((_, ((_, code, *_),)),) = answer.topics
        return int(code)

    async def _write(self, topic: str) -> int:
        batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000)
        batch.append(0, 0, None, b"rubbish", [])
        answer = await self._ask(ProduceRequest(None, -1, 10_000, [(topic, [(0, bytes(batch.build()))])]))
        ((_, ((_, code, *_),)),) = answer.topics
        return int(code)

    async def _cut(self, topic: str) -> int:
        answer = await self._ask(DeleteRecordsRequest([(topic, [(0, 0)])], 10_000))
        ((_, ((_, _, code, *_), *_), *_),) = answer.topics
        return int(code)

    async def _create_topic(self, topic: str) -> int:
        answer = await self._ask(CreateTopicsRequest([(f"{topic}-of-{self._user}", 1, 1, [], [])], 10_000, False))
        ((_, code, *_),) = answer.topic_errors
        return int(code)

    async def _delete_topic(self, topic: str) -> int:
        ((_, code),) = (await self._ask(DeleteTopicsRequest([topic], 10_000))).topic_error_codes
        return int(code)

    async def _alter(self, topic: str) -> int:
        answer = await self._ask(AlterConfigsRequest([(_TOPIC, topic, [("retention.ms", "1")])]))
        ((code, *_),) = answer.resources
        return int(code)

    async def _grant(self, topic: str) -> int:
        request = CreateAclsRequest(_TOPIC, topic, _LITERAL, f"User:{self._user}", "*", _READ, _ALLOW)
        ((code, _),) = (await self._ask(request)).creation_responses
        return int(code)

    async def _lists(self, topic: str) -> int:
        return int((await self._ask(DescribeAclsRequest(_TOPIC, topic, _LITERAL, None, None, _ANY, _ALLOW))).error_code)


@asynccontextmanager
async def asking(bootstrap: str, login: Login) -> AsyncIterator[Asking]:
    """Raises KafkaError when the broker does not let it in."""
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=login.user,
        sasl_plain_password=login.password,
    )
    try:
        await client.bootstrap()
        yield Asking(client, login.user)
    finally:
        await client.close()


def _allowed(code: int) -> bool:
    """Yes or no; any other answer says nothing about rights."""
    assert code == YES or code in NO, code
    return code == YES
