"""Rentals at the door: what is passed on to the router and how, what is refused before, and what is added to a preview."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from schemas.router_key import HEADER, IDEMPOTENCY_HEADER, derive_router_key, room_token
from schemas.specifications import published
from schemas.supply import OfferSeen
from services.gateway.classes import Classes
from services.gateway.delivery import DeliveryRoom
from services.gateway.offers import Offers
from services.gateway.router import Router
from tests.gateway.test_edge import Door, _token

MASTER_KEY = bytes(range(32))
CLASS = "H100.SXM.80.US"
FIRST = int(datetime(2026, 11, 22, 14, tzinfo=UTC).timestamp()) // 3600
WANTED = {"classes": [CLASS], "gpus": 1, "max_price": "3.60"}
RENTAL = {
    "rental": "3", "state": "running", "made_at": "2026-11-22T14:00:00.000Z", "request": WANTED | {"look_ahead": 6},
    "hours": [], "cost": "0.00", "cost_per_day_most": "86.40",
}  # fmt: skip
PREVIEW = {
    "options": [{"class": CLASS, "first_hour": "3.39", "window": "20.34", "hours_found": 6, "hours_wanted": 6}],
    "first_hour": "3.39", "window": "20.34", "per_day_most": "86.40", "stopping_now": "0.60",
    "starts_at": "2026-11-22T14:00:00.000Z", "ends_at": "",
}  # fmt: skip


class Listed:
    """Settlement's table of classes: one."""

    async def fetch(self, _: str) -> list[dict[str, Any]]:
        return [{"class_id": CLASS, "class_no": 1, "specification": published()[CLASS].decode()}]


def offer(cloud: str, price: int, kind: str = "on_demand", class_id: str = CLASS) -> OfferSeen:
    return OfferSeen(cloud, "here", "big", kind, class_id, 8, price, 1, 1, "a file", 1, 1)


class Rented(Door):
    """A door behind which a router stands in: it answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[httpx.Request] = []
        self.answer: httpx.Response | httpx.HTTPError = httpx.Response(200, json=RENTAL)
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._router))
        self.gateway.router = Router("http://router", MASTER_KEY, client)
        # Delivery stands in likewise: one launch specification, and a foresight.
        self.gateway.delivery = DeliveryRoom(
            "http://delivery", MASTER_KEY, httpx.AsyncClient(transport=httpx.MockTransport(self._delivery))
        )
        self.foreseen: list[Any] = []
        database: Any = Listed()
        self.gateway.classes = Classes(database)
        nothing: Any = None
        self.gateway.offers = Offers(nothing)
        for each in (offer("Dear", 3_000_000), offer("Cheap", 2_490_000), offer("Away", 990_000, "spot")):
            self.gateway.offers._take(each)

    def _router(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if isinstance(self.answer, httpx.HTTPError):
            raise self.answer
        return self.answer

    def _delivery(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/accounts/1/launches":
            launch = {"name": "gpu", "ssh_keys": [], "image": "", "start_script": "", "ports": []}
            return httpx.Response(200, json=[launch])
        assert request.url.path == "/accounts/1/foresee"
        self.foreseen.append(json.loads(request.content))
        return httpx.Response(200, json={"handovers": {"least": 0, "most": 5, "likely": 1, "basis": "machines"}})

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        self.clock.ms += 1_000  # in which the key may ask again
        given = {"Authorization": f"Bearer {_token('ana')}", "Idempotency-Key": "mine"} | headers
        return await self.http.request(method, path, json=body, headers=given)


@pytest.fixture
async def door():
    made = Rented()
    yield made
    await made.http.aclose()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/rentals", WANTED, 201),
        ("GET", "/v1/rentals/3", None, 200),
        ("PATCH", "/v1/rentals/3", {"max_price": "4.00"}, 200),
        ("POST", "/v1/rentals/3/stop", {}, 200),
    ],
)
async def test_what_is_asked_goes_to_the_router_for_the_keys_account(
    door: Rented, method: str, path: str, body: Any, status: int
) -> None:
    answer = await door.send(method, path, body)
    assert (answer.status_code, answer.json()["rental"]) == (status, "3")
    (asked,) = door.asked
    assert (asked.method, str(asked.url)) == (method, f"http://router/accounts/1{path.removeprefix('/v1')}")
    assert asked.headers[HEADER] == room_token(derive_router_key(MASTER_KEY))
    if method == "POST" and path == "/v1/rentals":
        assert asked.headers[IDEMPOTENCY_HEADER] == "mine"
    if body:
        assert body.items() <= json.loads(asked.content).items()


async def test_a_launch_specification_that_there_is_may_be_named(door: Rented) -> None:
    assert (await door.send("POST", "/v1/rentals", WANTED | {"launch": "gpu"})).status_code == 201


async def test_all_of_them_are_a_list(door: Rented) -> None:
    door.answer = httpx.Response(200, json=[RENTAL])
    (one,) = (await door.send("GET", "/v1/rentals")).json()
    assert one["request"]["classes"] == [CLASS]


async def test_a_preview_is_completed_with_its_class_and_the_cheapest_firm_offer(door: Rented) -> None:
    """What may be taken away at any moment is no offer to compare with."""
    door.answer = httpx.Response(200, json=PREVIEW)
    answer = await door.send("POST", "/v1/rentals/preview", WANTED)
    (option,) = answer.json()["options"]
    added = ("cloud_price", "cloud_provider", "region", "tier", "minutes_to_ssh")
    assert [option[name] for name in added] == ["2.49", "Cheap", "US", "DC", 10]
    assert (option["class"], option["window"]) == (CLASS, "20.34")
    assert answer.json()["handovers"]["likely"] == 1
    assert door.foreseen == [{"class_id": CLASS, "hours": [[hour, 1] for hour in range(FIRST, FIRST + 6)]}]
    assert IDEMPOTENCY_HEADER not in door.asked[0].headers


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"classes": ["NO.SUCH"]}, "unknown_class"),
        ({"classes": []}, "malformed"),
        ({"max_price": "cheap"}, "wrong_decimal"),
        ({"max_spend": "-1"}, "wrong_decimal"),
        ({"from": "tomorrow"}, "wrong_time"),
        ({"gpus": 0}, "malformed"),
        ({"look_ahead": 25}, "malformed"),
        ({"unknown": 1}, "malformed"),
        ({"launch": "gpus"}, "unknown_launch"),
    ],
)
async def test_what_is_none_of_what_it_should_be_does_not_come_to_the_router(
    door: Rented, changed: dict[str, Any], code: str
) -> None:
    for path in ("/v1/rentals", "/v1/rentals/preview"):
        assert (await door.send("POST", path, WANTED | changed)).json()["code"] == code
    assert door.asked == []


@pytest.mark.parametrize(("key", "code"), [("", "idempotency_key_required"), ("k" * 41, "wrong_request_id")])
async def test_a_rental_has_a_name_of_the_members(door: Rented, key: str, code: str) -> None:
    """So that the same again is the same rental."""
    answer = await door.send("POST", "/v1/rentals", WANTED, **{"Idempotency-Key": key})
    assert answer.json()["code"] == code
    assert door.asked == []


@pytest.mark.parametrize("path", ["/v1/rentals/0", "/v1/rentals/x", "/v1/rentals/3x"])
async def test_what_is_no_rentals_number_is_refused(door: Rented, path: str) -> None:
    answer = await door.send("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert door.asked == []


@pytest.mark.parametrize(
    ("method", "path", "body", "answer", "code"),
    [
        ("GET", "/v1/rentals", None, httpx.ConnectError("gone"), "not_ready"),
        ("GET", "/v1/rentals", None, httpx.ReadTimeout("slow"), "not_ready"),
        ("POST", "/v1/rentals", WANTED, httpx.ConnectError("gone"), "not_ready"),
        ("POST", "/v1/rentals", WANTED, httpx.ReadTimeout("slow"), "outcome_unknown"),
        ("PATCH", "/v1/rentals/3", {}, httpx.Response(409, json={"code": "request_reused", "detail": "x"}), "request_reused"),
        ("GET", "/v1/rentals", None, httpx.Response(500, text="?"), "not_ready"),
        ("GET", "/v1/rentals", None, httpx.Response(500, json={"code": "internal", "detail": "x"}), "internal"),
    ],
)  # fmt: skip
async def test_a_router_that_is_away_or_refuses_is_told_in_the_doors_words(
    door: Rented, method: str, path: str, body: Any, answer: Any, code: str
) -> None:
    door.answer = answer
    assert (await door.send(method, path, body)).json()["code"] == code


async def test_without_a_router_rentals_are_not_ready(door: Rented) -> None:
    nothing: Any = None
    door.gateway.router = Router("", MASTER_KEY, nothing)
    answer = await door.send("GET", "/v1/rentals")
    assert (answer.status_code, answer.json()["detail"]) == (503, "this exchange runs no router")
