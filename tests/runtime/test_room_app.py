"""What a room says to gateways inside the cluster, and to whoever is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.testing import TestClient
from msgspec import Struct

from services.runtime.http import room_app


class Refused(Exception):
    code = "unknown_thing"


class Thing(Struct):
    size: int


@get("/things", sync_to_thread=False)
def get_things(room: NamedDependency[list[int]]) -> list[int]:
    return room


@post("/things", sync_to_thread=False)
def post_thing(room: NamedDependency[list[int]], data: JSONBody[Thing]) -> Thing:
    if data.size not in room:
        raise Refused(f"there is none of size {data.size}")
    return data


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    app = room_app([get_things, post_thing], [1, 2], Refused, {"unknown_thing": 404}, shown=("X-Token", "secret"))
    with TestClient(app) as opened:
        opened.headers["X-Token"] = "secret"
        yield opened


def test_handlers_are_given_the_room(client: TestClient[Any]) -> None:
    assert client.get("/things").json() == [1, 2]


def test_what_it_refuses_is_a_code_and_a_sentence(client: TestClient[Any]) -> None:
    refused = client.post("/things", json={"size": 3})
    assert (refused.status_code, refused.json()) == (
        404,
        {"code": "unknown_thing", "detail": "there is none of size 3"},
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/things", 405, "method_not_allowed"),
        ("POST", "/things", 400, "malformed"),
    ],
)
def test_so_is_what_does_not_fit(client: TestClient[Any], method: str, path: str, status: int, code: str) -> None:
    refused = client.request(method, path, json={"size": "large"})
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_of_a_body_it_says_which_field_is_wrong(client: TestClient[Any]) -> None:
    assert client.post("/things", json={"size": "large"}).json()["detail"].startswith("size: ")


@pytest.mark.parametrize("token", ["", "secrets"])
def test_who_shows_no_token_is_told_nothing(client: TestClient[Any], token: str) -> None:
    assert client.get("/things", headers={"X-Token": token}).status_code == 401
