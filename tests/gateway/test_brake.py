"""Whoever has used up what he may ask is refused in front of the application: as it would refuse him, and nobody else is."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from services.gateway.brake import Brake
from tests.gateway.test_edge import Door, _token

ANA = {"Authorization": f"Bearer {_token('ana')}"}


class Behind(Door):
    """A door with the brake in front, and a count of what has come through to the application."""

    def __init__(self) -> None:
        super().__init__()
        self.through: Counter[str] = Counter()
        brake = Brake(self.application, self.gateway.keyring, self.gateway.limits, self.clock)
        brake._application = self._counted
        self.braked = httpx.AsyncClient(
            transport=httpx.ASGITransport(brake, raise_app_exceptions=False), base_url="http://door"
        )

    async def _counted(self, scope: Any, receive: Any, send: Any) -> None:
        self.through[f"{scope['method']} {scope['path']}"] += 1
        await self.application(scope, receive, send)

    def spent(self) -> None:
        """Ana has nothing left."""
        while not self.gateway.limits.take("ana", self.clock.ms).wait_ms:
            pass


@pytest.fixture
async def door():
    made = Behind()
    yield made
    await made.http.aclose()
    await made.braked.aclose()


async def _both(door: Behind, method: str, path: str, **more: Any) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    """What brake and application answer to the same at the same moment, but for the name of the request."""
    said = []
    for client in (door.braked, door.http):
        answer = await client.request(method, path, **more)
        headers, body = dict(answer.headers), answer.json()
        assert headers.pop("request-id") == body.pop("request_id")
        # The name has the same length in both, so this header says the same as well.
        said.append((answer.status_code, headers, body))
    return said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/keys"),
        ("GET", "/v1/keys?a=1"),
        ("POST", "/v1/orders"),
        ("POST", "/v1/orders/batch"),
        ("DELETE", "/v1/orders/0-1-0-0"),
        ("DELETE", "/v1/orders/client/mine"),
        ("GET", "/v1/requests/some"),
        ("PUT", "/v1/quotes/H100.SXM.80.US"),
    ],
)
async def test_the_brake_says_word_for_word_what_the_application_would(door: Behind, method: str, path: str) -> None:
    door.spent()
    braked, told = await _both(door, method, path, headers=ANA, content=b"{}")
    assert braked == told
    assert braked[0] == 429
    assert not door.through, "the application has not looked at it"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/keys", {"Authorization": f"Bearer {_token('bert')}"}, 200),
        ("GET", "/v1/keys", {"Authorization": "Bearer ana.wrong"}, 401),
        ("GET", "/v1/keys", {}, 401),
        ("GET", "/v1/time", ANA, 200),
        ("GET", "/v1/nowhere", ANA, 404),
        ("PATCH", "/v1/keys", ANA, 405),
        ("GET", "/v1/orders/batch", ANA, 405),
    ],
    ids=["somebody else", "a wrong token", "no token", "public", "no such path", "no such method", "a fixed path's"],
)
async def test_everything_else_is_the_applications(
    door: Behind, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Ana has used up her requests; that is nobody else's trouble, and what is public stays so for her as well."""
    door.spent()
    answer = await door.braked.request(method, path, headers=headers)
    assert answer.status_code == status
    assert list(door.through.elements()) == [f"{method} {path}"]


@pytest.mark.parametrize("path", ["/v1/keys/", "/v1//keys", "/v1/requests/a/b", "/v1/requests/a%2Fb"])
async def test_an_unusual_path_is_refused_all_the_same_by_the_application(door: Behind, path: str) -> None:
    door.spent()
    braked, told = await _both(door, "GET", path, headers=ANA)
    assert braked == told
    assert door.through.total() == 1


async def test_of_a_bunch_that_comes_at_once_no_more_is_let_through_than_may(door: Behind) -> None:
    """All of them are looked at before the application has done anything for the first."""
    bunch = await asyncio.gather(*(door.braked.get("/v1/keys", headers=ANA) for _ in range(20)))
    assert Counter(answer.status_code for answer in bunch) == {200: 2, 429: 18}
    assert door.through.total() == 2


async def test_who_is_let_through_is_counted_once_and_told_so(door: Behind) -> None:
    told = [(await door.braked.get("/v1/keys", headers=ANA)).headers["ratelimit"] for _ in range(2)]
    assert told == ['"key";r=1;t=1', '"key";r=0;t=1']


async def test_the_brake_lets_go_at_the_very_millisecond(door: Behind) -> None:
    door.spent()
    door.clock.ms += 499
    assert (await door.braked.get("/v1/keys", headers=ANA)).json()["detail"] == "wait 1 ms"
    door.clock.ms += 1
    assert [(await door.braked.get("/v1/keys", headers=ANA)).status_code for _ in range(2)] == [200, 429]
    assert door.through.total() == 1


async def test_a_strangers_refusals_take_nothing_from_whom_he_names(door: Behind) -> None:
    for _ in range(5):
        answer = await door.braked.get("/v1/keys", headers={"Authorization": "Bearer ana.wrong"})
        assert answer.status_code == 401
    assert (await door.braked.get("/v1/keys", headers=ANA)).headers["ratelimit"] == '"key";r=1;t=1'
