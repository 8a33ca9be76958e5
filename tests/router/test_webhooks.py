"""Addresses that members name are told signed notices and nothing else, on the public Internet, a few times."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.router.addresses import Unfit, fit_address
from services.router.trading import Notice
from services.router.webhooks import ACCOUNT_MAX, SIGNATURE, TRIES, Webhooks, rental_key
from services.runtime.status import Status
from tests.router.room import HOUR, moment

KEY = bytes(range(32))
PUBLIC = "93.184.215.14"


def notice(webhook: str = "https://ana.example:8443/hook?x=1", account: int = 21) -> Notice:
    return Notice(rental=7, account=account, webhook=webhook, hour=HOUR, code="too_dear", detail="why", at_ms=moment(0))


class World:
    """Names, a server, and pauses that take no time."""

    def __init__(self, handle: Callable[[httpx.Request], httpx.Response], addresses: list[str] | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.pauses: list[int] = []
        self.status = Status("router")
        self._handle = handle
        self._addresses = [PUBLIC] if addresses is None else addresses

    async def look_up(self, host: str, port: int) -> list[str]:
        assert (host, port) == ("ana.example", 8443)
        return self._addresses

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._handle(request)

    async def sleep_ms(self, duration_ms: int) -> None:
        self.pauses.append(duration_ms)
        await asyncio.sleep(0)

    async def send(self, *notices: Notice, sandbox: bool = False) -> Webhooks:
        """All, to their ends."""
        clock: Any = SimpleNamespace(sleep_ms=self.sleep_ms)
        hooks = Webhooks(
            KEY, clock, self.status, sandbox=sandbox, transport=httpx.MockTransport(self.answer), look_up=self.look_up
        )
        for each in notices:
            hooks.tell(each)
        task = asyncio.create_task(hooks.run())
        async with asyncio.timeout(30):
            while hooks._waiting.qsize() or +hooks._counts:  # noqa: ASYNC110 # nobody else wants to know
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return hooks


async def test_a_notice_is_posted_signed_to_the_address_that_was_judged() -> None:
    world = World(lambda _: httpx.Response(204))

    hooks = await world.send(notice())

    (request,) = world.requests
    assert (request.method, str(request.url)) == ("POST", f"https://{PUBLIC}:8443/hook?x=1")
    assert request.headers["Host"] == "ana.example:8443"
    assert request.extensions["sni_hostname"] == "ana.example", "the certificate is the name's"
    assert json.loads(request.content) == {
        "id": f"7-{HOUR}-too_dear", "rental": "7", "hour": "2026-10-24T00:00Z", "code": "too_dear", "detail": "why",
        "at": "2026-10-24T00:00:00.000Z",
    }  # fmt: skip
    key = rental_key(KEY, 7)
    assert hooks.key(7) == key != rental_key(KEY, 8)
    assert request.headers[SIGNATURE] == hmac.new(key.encode(), request.content, hashlib.sha256).hexdigest()


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
async def test_what_is_not_taken_is_tried_a_few_times_and_no_redirect_is_followed(status: int) -> None:
    world = World(lambda _: httpx.Response(status, headers={"Location": "http://169.254.169.254/"}))

    hooks = await world.send(notice())

    assert [request.url.host for request in world.requests] == [PUBLIC] * TRIES
    assert hooks.ended() == [(notice(), False)]
    assert world.pauses == sorted(world.pauses)
    assert world.status.values["notices_lost"] == 1


async def test_what_fails_at_first_is_told_later() -> None:
    answers = iter([httpx.Response(500), httpx.Response(200)])
    world = World(lambda _: next(answers))

    hooks = await world.send(notice())

    assert hooks.ended() == [(notice(), True)]
    assert hooks.ended() == [], "each once"

    assert len(world.requests) == 2
    assert len({request.content for request in world.requests}) == 1, "by its id it is known to be the same"
    assert world.status.values["notices_told"] == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "::1", "fe80::1%eth0", "fc00::1", "fec0::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "2001:db8::1", "2002:a00:1::",
        "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "::10.0.0.1", "::127.0.0.1", "::ffff:0:10.0.0.1",
    ],
)  # fmt: skip
async def test_addresses_inside_are_never_asked(address: str) -> None:
    with pytest.raises(Unfit):
        fit_address([PUBLIC, address], sandbox=False)
    world = World(lambda _: httpx.Response(204), [PUBLIC, address])

    await world.send(notice())

    assert world.requests == []


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", f"64:ff9b::{PUBLIC}", f"::ffff:{PUBLIC}"])
def test_addresses_of_the_public_internet_are_asked(address: str) -> None:
    assert fit_address([address], sandbox=False) == address


def test_a_sandbox_asks_this_machine_too_and_no_other_inside() -> None:
    assert fit_address(["127.0.0.1"], sandbox=True) == "127.0.0.1"
    assert fit_address(["2606:2800:21f::1"], sandbox=False)
    with pytest.raises(Unfit):
        fit_address(["10.0.0.1"], sandbox=True)
    with pytest.raises(Unfit):
        fit_address([], sandbox=True)


async def test_http_is_for_a_sandbox_alone() -> None:
    world = World(lambda _: httpx.Response(204))
    await world.send(notice("http://ana.example:8443/"))
    assert world.requests == []

    await world.send(notice("http://ana.example:8443/"), sandbox=True)
    assert len(world.requests) == 1


async def test_an_account_that_has_many_under_way_is_not_told_of_more_and_others_are() -> None:
    world = World(lambda _: httpx.Response(204))

    hooks = await world.send(*[notice() for _ in range(2 * ACCOUNT_MAX)], notice(account=22))

    assert hooks.ended()[:ACCOUNT_MAX] == [(notice(), False)] * ACCOUNT_MAX, "given up at once"
    assert len(world.requests) == ACCOUNT_MAX + 1
    assert world.status.values["notices_lost"] == ACCOUNT_MAX


async def test_slow_addresses_of_one_account_keep_no_other_waiting() -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/slow":
            await asyncio.Event().wait()
        return httpx.Response(204)

    async def look_up(_host: str, _port: int) -> list[str]:
        return [PUBLIC]

    nothing: Any = None
    hooks = Webhooks(
        KEY, nothing, Status("router"), sandbox=False, transport=httpx.MockTransport(answer), look_up=look_up
    )
    for _ in range(ACCOUNT_MAX):
        hooks.tell(notice("https://ana.example/slow"))
    hooks.tell(notice("https://bert.example/quick", 22))
    task = asyncio.create_task(hooks.run())
    for _ in range(500):
        await asyncio.sleep(0)

    assert sorted(asked) == ["/quick", "/slow", "/slow"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_sandbox_s_own_listener_hears_of_it() -> None:
    """With sockets and names as they are."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"}"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    world = World(lambda _: httpx.Response(204))
    clock: Any = SimpleNamespace(sleep_ms=world.sleep_ms)
    hooks = Webhooks(KEY, clock, world.status, sandbox=True)
    async with server:
        task = asyncio.create_task(hooks.run())
        hooks.tell(notice(f"http://localhost:{port}/hook"))
        async with asyncio.timeout(45):
            while not heard:  # noqa: ASYNC110 # nobody else wants to know
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert heard[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert f"localhost:{port}".encode() in heard[0]
    assert b'"code":"too_dear"' in heard[0]
