"""How often, and what a fault looks like: the application itself, with a clock that is the test's and no server behind it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from litestar.types import Message

from schemas.keys import KeyIssued
from schemas.market_clock import MarketClock
from schemas.signing import signature
from services.gateway.app import build
from services.gateway.auth import Key
from services.gateway.keyring import Keyring
from services.gateway.limits import Limits
from services.gateway.router import Acting
from services.gateway.routes import ROUTES
from services.gateway.wiring import Gateway
from tests.clock import HandClock


class Door:
    """An application with two keys and two requests a second; routes that need more than that find nothing behind it."""

    def __init__(self) -> None:
        self.clock = HandClock(1_790_000_000_000)
        self.keys = {name: Key(_record(name), name.encode() * 8) for name in ("ana", "bert")}
        nothing = cast("Any", None)
        keyring = Keyring(nothing, b"")
        keyring.keys.update(self.keys)
        self.gateway = gateway = Gateway(
            shards=nothing, classes=nothing, reads=nothing, progress=nothing, requests=nothing,
            orders=nothing, ranges=nothing, blocks=nothing, quotes=nothing, previews=nothing, corrections=nothing,
            keyring=keyring,
            limits=Limits(rate_per_s=2, burst=2), offers=nothing, market_data=nothing, delivery=nothing, volume=nothing,
            router=nothing, acting=Acting(b"", nothing),
            market=MarketClock(0, 1, sandbox=False), clock=self.clock, master_key=b"",
        )  # fmt: skip
        self.application = build(gateway)
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://door")

    async def ask(self, name: str, path: str = "/v1/keys") -> httpx.Response:
        return await self.http.get(path, headers={"Authorization": f"Bearer {_token(name)}"})


def _token(name: str) -> str:
    return f"{name}.token"


def _record(name: str) -> KeyIssued:
    digest = hashlib.sha256(_token(name).encode()).digest()
    return KeyIssued(name, 1, 1, ("read", "trade"), b"", digest, 0, (), "")


@pytest.fixture
async def door():
    made = Door()
    yield made
    await made.http.aclose()


async def test_a_key_that_asks_too_often_waits_as_it_is_told_and_others_do_not(door: Door) -> None:
    """Two at once, the third is told when to come again: half a second later it may."""
    answers = [await door.ask("ana") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit"] for answer in answers] == ['"key";r=1;t=1', '"key";r=0;t=1', '"key";r=0;t=1']
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"key";q=2;w=1'}
    refused = answers[2]
    assert (refused.headers["retry-after"], refused.headers["content-type"]) == ("1", "application/problem+json")
    problem = refused.json()
    assert [problem[name] for name in ("code", "detail", "retryable", "outcome")] == [
        "rate_limited", "wait 500 ms", True, "rejected",
    ]  # fmt: skip
    assert (await door.ask("bert")).status_code == 200
    door.clock.ms += 499
    assert (await door.ask("ana")).status_code == 429
    door.clock.ms += 1
    assert (await door.ask("ana")).status_code == 200


async def test_whoever_cannot_prove_who_he_is_uses_up_nobodys_requests(door: Door) -> None:
    """Otherwise a stranger who knows a key's id could lock its owner out."""
    headers = {"Hourbook-Key": "ana", "Hourbook-Timestamp": str(door.clock.ms), "Hourbook-Signature": "0" * 64}
    for _ in range(5):
        assert (await door.http.get("/v1/keys", headers=headers)).json()["code"] == "wrong_signature"
    assert (await door.ask("ana")).headers["ratelimit"] == '"key";r=1;t=1'


@pytest.mark.parametrize(
    "path", ["/v1/keys?a=b%20c&d=%2F", "/v1/requests/a%2Fb%25", "/v1/orders/client/%7E", "/v1//keys", "/v1/keys/"]
)
async def test_the_path_is_signed_as_it_is_sent(door: Door, path: str) -> None:
    """Encoded, doubled or trailing: what stands in the request line, and nothing tidier."""
    stamp = str(door.clock.ms)
    headers = {"Hourbook-Key": "ana", "Hourbook-Timestamp": stamp}
    good = signature(door.keys["ana"].secret, stamp, "GET", path, b"")
    answer = await door.http.get(path, headers=headers | {"Hourbook-Signature": good})
    assert answer.status_code != 401
    tidied = signature(door.keys["ana"].secret, stamp, "GET", path.replace("%20", " ").replace("%2F", "/") + "x", b"")
    answer = await door.http.get(path, headers=headers | {"Hourbook-Signature": tidied})
    assert answer.json()["code"] == "wrong_signature"


EVERYTHING = [
    (method, path) for route in ROUTES for path in sorted(route.paths) for method in sorted(route.http_methods)
]
_ID = re.compile(r"{\w+:\w+}")


@pytest.mark.parametrize(("method", "route"), EVERYTHING)
async def test_a_path_with_an_empty_part_leads_nowhere(door: Door, method: str, route: str) -> None:
    """A client that lost an order's id asks to cancel `/v1/orders/`: that is no order, and must not be all of them."""
    whole = _ID.sub("1", route)
    asked = [whole.replace("/v1/", "/v1//")]
    asked += [
        _ID.sub("1", route[: match.start()]) + _ID.sub("1", route[match.end() :]) for match in _ID.finditer(route)
    ]
    asked += [] if route.endswith(":path}") else [f"{whole}/", f"{whole}//", f"{whole}/%2F"]
    for path in asked:
        door.clock.ms += 1_000
        answer = await door.http.request(method, path, headers={"Authorization": f"Bearer {_token('ana')}"})
        assert answer.status_code in {404, 405}, (path, answer.text)
        assert answer.json()["outcome"] == "rejected"


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever he is: it is read before it is known who asks, and a thousand such bodies were all that the door could hold."""
    monkeypatch.setattr("services.gateway.edge.BODY_S", 0.05)
    forever = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"scopes":'
        await forever.wait()

    answer = await door.http.post("/v1/keys", content=body(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"], answer.json()["outcome"]) == (408, "too_slow", "rejected")
    assert answer.json()["retryable"] is True


async def test_whoever_goes_in_the_middle_of_a_body_leaves_no_trace(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """He was a fault of ours with a traceback in the log: hundreds of them were as many alarms."""
    heard = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    said: list[Message] = []

    async def receive() -> Any:
        return next(heard)

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"60"), (b"host", b"door")]
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "scheme": "http", "http_version": "1.1", "root_path": "", "query_string": b"",
        "path": "/v1/keys", "raw_path": b"/v1/keys", "headers": headers, "server": ("door", 80), "client": ("stranger", 1),
    }  # fmt: skip
    await door.application(cast("Any", scope), cast("Any", receive), send)
    assert [message["status"] for message in said if message["type"] == "http.response.start"] == [400]
    assert caplog.records == []


async def test_a_fault_of_ours_is_told_without_its_insides_and_logged_under_its_number(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing stands behind this door, so that reading fails: the caller gets a number, the operator the traceback under it."""
    with caplog.at_level(logging.ERROR):
        answer = await door.ask("ana", "/v1/balance")
    problem = answer.json()
    assert [answer.status_code, problem["code"], problem["outcome"], problem["retryable"]] == [
        500,
        "internal",
        "unknown",
        False,
    ]
    assert problem["detail"] == "the fault is logged under this request_id"
    (record,) = caplog.records
    assert problem["request_id"] in record.getMessage()
    assert record.exc_info is not None
    assert "NoneType" in str(record.exc_info[1])
    assert "NoneType" not in answer.text
