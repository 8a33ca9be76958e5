"""Kafka's access lists, through the library's own requests: its admin client has no calls for them.

Only one kind is used here: this user may do this with the topic of exactly this name, from everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest,
)
from aiokafka.protocol.api import Request

from services.runtime.log import LogError

_TOPIC: Final = 2
_LITERAL: Final = 3
_ALLOW: Final = 3
_ANY: Final = 1
_EVERYWHERE: Final = "*"
_USER: Final = "User:"


class Operation(IntEnum):
    """What may be done with a topic, in Kafka's numbers. Reading, writing and deleting imply being told of it."""

    READ = 3
    WRITE = 4
    DELETE = 6
    DESCRIBE_CONFIGS = 10


class Grant(NamedTuple):
    """One line of the lists."""

    topic: str
    user: str
    operation: int
    """An `Operation`, or one that is never granted here."""


async def describe(admin: AIOKafkaAdminClient) -> set[Grant]:
    """All grants with topics. Raises LogError where the broker keeps no lists, or this login may not see them."""
    # None: of every name, for everybody.
    request = DescribeAclsRequest(_TOPIC, None, _LITERAL, None, None, _ANY, _ALLOW)
    answer = await _ask(admin, request)
    _check(answer.error_code, answer.error_message)
    return {
        Grant(name, principal.removeprefix(_USER), operation)
        for _, name, _, lines in answer.resources
        for principal, host, operation, _ in lines
        if host == _EVERYWHERE
    }


async def create(admin: AIOKafkaAdminClient, grants: Collection[Grant]) -> None:
    """Raises LogError."""
    if grants:
        for code, message in (await _ask(admin, _Create(grants))).creation_responses:
            _check(code, message)


async def delete(admin: AIOKafkaAdminClient, grants: Collection[Grant]) -> None:
    """Raises LogError."""
    if grants:
        for code, message, _ in (await _ask(admin, _Delete(grants))).filter_responses:
            _check(code, message)


def _lines(grants: Collection[Grant]) -> Sequence[tuple[object, ...]]:
    return [
        (_TOPIC, grant.topic, _LITERAL, f"{_USER}{grant.user}", _EVERYWHERE, grant.operation, _ALLOW)
        for grant in sorted(grants)
    ]


class _Create(Request[CreateAclsRequest_v1]):  # type: ignore[misc]  # the library has no types
    """The library's own takes one line at a time."""

    API_KEY = CreateAclsRequest_v1.API_KEY

    def __init__(self, grants: Collection[Grant]) -> None:
        self._grants = grants

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(_lines(self._grants))


class _Delete(Request[DeleteAclsRequest_v1]):  # type: ignore[misc]  # as above
    """Of the same form; a line is a filter that matches itself."""

    API_KEY = DeleteAclsRequest_v1.API_KEY

    def __init__(self, grants: Collection[Grant]) -> None:
        self._grants = grants

    def build(self, request_struct_class: type[DeleteAclsRequest_v1]) -> DeleteAclsRequest_v1:
        return request_struct_class(_lines(self._grants))


async def _ask(admin: AIOKafkaAdminClient, request: Request[Any]) -> Any:  # noqa: ANN401 # the library has no types
    return await admin._send_request(request)  # noqa: SLF001 # what all its public calls are made of


def _check(code: int, message: str | None) -> None:
    if code:
        raise LogError(f"access lists: {for_code(code).__name__}{f', {message}' if message else ''}")
