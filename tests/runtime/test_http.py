"""The HTTP server that rooms share: who sends nothing, or half of something, is let go; who asks is answered meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runtime.http import CONNECTIONS_MAX, http_server
from services.runtime.infra import free_port

HEAD_S = 1
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says its path."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class Caller:
    """A socket of a stranger's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hears(self) -> bytes:
        """Everything up to the end, which the server makes."""
        async with asyncio.timeout(10 * HEAD_S):
            return await self.reader.read()


@contextlib.asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Caller(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving_at(HEAD_S) as number:
        yield number


@contextlib.asynccontextmanager
async def serving_at(head_s: int) -> AsyncIterator[int]:
    number = free_port()
    server = http_server(application, "127.0.0.1", number, head_s=head_s)
    serving = asyncio.create_task(server.serve())
    while not serving.done():
        with contextlib.suppress(OSError):
            async with calling(number):
                break
        await asyncio.sleep(0.01)
    yield number
    server.stop()
    await serving


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"", b""), (b"GET / HT", b""), (b"GET / HTTP/1.1\r\nHost: x\r\n", b""), (ASK, b"HTTP/1.1 200 OK")],
    ids=["nothing", "half a line", "half a head", "a request, and then nothing"],
)
async def test_whoever_says_no_more_is_let_go(port: int, said: bytes, status: bytes) -> None:
    async with calling(port) as caller:
        caller.say(said)
        assert (await caller.hears()).partition(b"\r\n")[0] == status


async def test_a_thousand_who_say_nothing_leave_room_for_whoever_comes_next() -> None:
    """He is answered at once, and not when the first of them is let go."""
    async with serving_at(head_s=60) as port, contextlib.AsyncExitStack() as stack:
        for _ in range(1_000):
            await stack.enter_async_context(calling(port))
        async with calling(port) as caller:
            caller.say(ASK)
            async with asyncio.timeout(10):
                assert (await caller.reader.readline()) == b"HTTP/1.1 200 OK\r\n"


async def test_a_shell_that_allows_few_files_does_not_decide_how_many_may_connect() -> None:
    """Many systems begin with 1,024 files for a process, which may ask for more itself."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        async with serving_at(HEAD_S):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(before[1], CONNECTIONS_MAX)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_there_is_no_second_protocol(port: int) -> None:
    """HTTP/2 would bring streams and windows of its own, and a wait for the bytes by which it is known."""
    async with calling(port) as caller:
        caller.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        assert b"\x00\x00\x18\x04" not in await caller.hears()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1_000 + b"\r\n", b"HTTP/1.1 431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 2_000_000 + b"\r\n\r\n", b"HTTP/1.1 431"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 414"),
        (b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 400"),
    ],
    ids=["a thousand headers", "two megabytes of one", "a path of 70,000 bytes", "no HTTP", "two lengths"],
)
async def test_a_head_has_its_bounds(port: int, said: bytes, status: bytes) -> None:
    """The server's own answers: nothing of ours has seen the request."""
    async with calling(port) as caller:
        with contextlib.suppress(ConnectionError):  # it may end before all of it was sent
            caller.say(said)
            await caller.writer.drain()
        assert (await caller.hears()).startswith(status)


async def test_requests_in_one_breath_are_answered_in_their_order(port: int) -> None:
    async with calling(port) as caller:
        caller.say(b"".join(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for number in range(200)))
        heard = await caller.hears()
        assert [part.partition(b"\r\n\r\n")[2] for part in heard.split(b"HTTP/1.1 200 OK")[1:]] == [
            f"/{number}".encode() for number in range(200)
        ]


@pytest.mark.parametrize("said", [ASK, ASK[:9]], ids=["after a request", "after half of one"])
async def test_whoever_closes_his_side_is_answered_or_let_go_and_holds_nothing(port: int, said: bytes) -> None:
    """A proxy that does so may not be answered: the server takes it for a goodbye."""
    async with calling(port) as caller:
        caller.say(said)
        caller.writer.write_eof()
        async with asyncio.timeout(HEAD_S / 2):
            heard = await caller.reader.read()
    assert heard.partition(b"\r\n")[0] in {b"", b"HTTP/1.1 200 OK"}
