"""The room's HTTP: what gateways are answered, what a gateway is asked, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from schemas import rental
from schemas.commands import Side
from schemas.edge import iso_hour
from schemas.events import Event
from schemas.market_clock import MarketClock
from schemas.router_key import ACCOUNT_HEADER, HEADER, IDEMPOTENCY_HEADER, acting_token, room_token
from schemas.units import MS_PER_HOUR
from services.router.app import Room, build
from services.router.books import AWAY, UNLISTED
from services.router.gateway import GatewayClient
from services.router.reading import MarketClient
from services.router.refusals import STATUS
from services.router.shell import Router
from services.router.trading import Accepted, Away, Outcome, Refused, Sent, Unknown
from services.runtime.log import Outgoing
from services.runtime.status import Status
from tests.router.place import ONE, Place
from tests.router.room import HOUR, moment

KEY = bytes(range(32))
NOW = moment(0, 20)


class Memory:
    """A log."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    async def bounds(self) -> tuple[int, int]:
        return 0, len(self.values)

    async def append(self, records: Sequence[Outgoing]) -> None:
        self.values += [record.value for record in records]

    async def read(self, offset: int, *, count: int, **_: int) -> list[Any]:
        return [SimpleNamespace(offset=offset + n, value=value) for n, value in enumerate(self.values[offset:][:count])]


class Outside:
    """Exchange, market data and hooks in one."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, tuple[Event, ...]]] = []
        self.place_of_trade = Place(lambda: NOW, lambda shard, events: self.heard.append((shard, events)))

    async def place(self, order: Sent) -> Outcome:
        return self.place_of_trade.place(order)

    async def cancel(self, account: int, order: int) -> Outcome:
        return self.place_of_trade.cancel(account, order)

    async def books(self, symbols: Any) -> Any:
        return self.place_of_trade.books(symbols)

    def tell(self, _: object) -> None:
        pass

    def key(self, number: int) -> str:
        return f"key of {number}"


@pytest.fixture
async def room() -> Room:
    outside, log = Outside(), Memory()
    clock: Any = SimpleNamespace(now_ms=lambda: NOW, elapsed_ms=lambda: 0)
    life = Router(1, log, [], outside, outside, outside, MarketClock(0, 1, sandbox=False), clock, Status("router"))  # type: ignore[arg-type]
    await life.load()
    outside.place_of_trade.begin()
    for shard, events in outside.heard:
        record: Any = SimpleNamespace(shard=shard, events=events, last=True, time_ms=NOW)
        life.market.take(record, life.state)
    for hour in range(3):
        outside.place_of_trade.offer(ONE, HOUR + hour, 2_000_000, 10)

    made = Room()
    made.life = life
    return made


@pytest.fixture
async def client(room: Room) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build(room, KEY))  # type: ignore[arg-type]
    headers = {HEADER: room_token(KEY), IDEMPOTENCY_HEADER: "k1"}
    async with httpx.AsyncClient(transport=transport, base_url="http://router", headers=headers) as made:
        yield made


ASKED = {"classes": [ONE], "gpus": 2, "max_price": "3", "look_ahead": 2}


async def test_a_gateway_begins_shows_changes_and_stops_a_rental(client: httpx.AsyncClient) -> None:
    made = await client.post("/accounts/21/rentals", json=ASKED)
    assert made.status_code == 201
    answer = msgspec.json.decode(made.content, type=rental.RentalAnswer)
    assert (answer.rental, answer.state, len(answer.hours)) == ("1", "waiting", 2)
    assert answer.hours[0].why == "an order is under way"

    again = await client.post("/accounts/21/rentals", json=ASKED)
    assert again.json()["rental"] == "1"
    assert [each["rental"] for each in (await client.get("/accounts/21/rentals")).json()] == ["1"]
    assert (await client.get("/accounts/21/rentals/1")).json()["request"]["from"].endswith("Z")
    changed = await client.patch("/accounts/21/rentals/1", json={"max_spend": "90"})
    assert changed.json()["request"]["max_spend"] == "90.00"
    assert (await client.post("/accounts/21/rentals/1/stop", json={})).json()["stopped_at"]
    preview = await client.post("/accounts/21/rentals/preview", json=ASKED)
    assert preview.status_code == 200
    assert preview.json()["options"][0]["class"] == ONE
    assert preview.json()["first_hour"] == "2.669334", "40 minutes of 2 GPUs, and the fee"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/accounts/22/rentals/1", None, 404, "unknown_rental"),
        ("GET", "/accounts/21/rentals/99999999999999999999", None, 404, "unknown_rental"),
        ("GET", "/accounts/21/rentals/one", None, 404, "not_found"),
        ("POST", "/accounts/21/rentals", {}, 400, "malformed"),
        ("POST", "/accounts/21/rentals", ASKED | {"gpus": 0}, 400, "malformed"),
        ("POST", "/accounts/21/rentals", ASKED | {"look_ahead": 25}, 400, "malformed"),
        ("POST", "/accounts/21/rentals", ASKED | {"wish": 1}, 400, "malformed"),
        ("POST", "/accounts/21/rentals", ASKED | {"webhook": "http://ana.example"}, 422, "wrong_webhook"),
        ("POST", "/accounts/21/rentals/preview", ASKED | {"classes": ["NO"]}, 404, "unknown_class"),
        ("PATCH", "/accounts/21/rentals/7", {}, 404, "unknown_rental"),
        ("POST", "/accounts/21/rentals/7/stop", {"on_stop": "burn"}, 400, "malformed"),
    ],
)
async def test_a_refusal_is_a_code_and_a_sentence(
    client: httpx.AsyncClient, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = await client.request(method, path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


async def test_only_gateways_are_answered(client: httpx.AsyncClient) -> None:
    for token in ("", acting_token(KEY), "x"):
        assert (await client.get("/accounts/21/rentals", headers={HEADER: token})).status_code == 401


async def test_a_preview_is_of_one_moment(client: httpx.AsyncClient, room: Room) -> None:
    """Its only hour ends while it is read: what it asks for is judged by the moment at which it came."""
    moments = iter([(NOW // MS_PER_HOUR + 1) * MS_PER_HOUR - 1])
    assert room.life is not None
    room.life._clock = SimpleNamespace(now_ms=lambda: next(moments, NOW + MS_PER_HOUR))  # type: ignore[assignment]
    asked = ASKED | {"from": iso_hour(NOW // MS_PER_HOUR), "hours": 1}

    answer = await client.post("/accounts/21/rentals/preview", json=asked)

    assert (answer.status_code, answer.json()["options"][0]["hours_wanted"]) == (200, 1)


async def test_while_no_life_works_it_says_so(client: httpx.AsyncClient, room: Room) -> None:
    room.life = None

    answer = await client.get("/accounts/21/rentals")

    assert (answer.status_code, answer.json()["code"]) == (STATUS["not_ready"], "not_ready")


# --- The gateway's client ---------------------------------------------------------------------------------------

SENT = Sent(
    account=21, client_id="r1-0", symbol=f"{ONE}.20261122T14-USD", side=Side.BUY, qty=2, price=3_000_000, launch="mine"
)


def problem(code: str, outcome: str = "rejected") -> httpx.Response:
    return httpx.Response(
        422,
        json={
            "type": "", "title": "", "status": 422, "detail": "why", "code": code, "request_id": "", "retryable": False,
            "outcome": outcome,
        },
    )  # fmt: skip


async def answered(answer: httpx.Response | Exception, sent: Sent = SENT) -> tuple[Outcome, httpx.Request]:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with GatewayClient("http://gateway", KEY, httpx.MockTransport(handle)) as gateway:
        return await gateway.place(sent), seen[0]


async def test_an_order_is_sent_on_behalf_of_the_account() -> None:
    outcome, request = await answered(httpx.Response(201, json={}))

    assert outcome == Accepted()
    assert (request.headers[HEADER], request.headers[ACCOUNT_HEADER]) == (acting_token(KEY), "21")
    assert json.loads(request.content) == {
        "contract": f"{ONE}.20261122T14-USD", "side": "buy", "qty": 2, "price": "3.00", "tif": "fok",
        "client_order_id": "r1-0", "valid_for_ms": 10_000, "launch": "mine",
    }  # fmt: skip
    _, request = await answered(httpx.Response(201, json={}), msgspec.structs.replace(SENT, side=Side.SELL))
    assert (json.loads(request.content)["tif"], "launch" in json.loads(request.content)) == ("gtc", False)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (problem("cannot_fill"), Refused("cannot_fill", "why")),
        (problem("overloaded"), Away("overloaded: why")),
        (problem("unauthenticated"), Away("the gateway does not take the router's token", is_everything=True)),
        (problem("outcome_unknown", "unknown"), Unknown("outcome_unknown")),
        (httpx.Response(301, text="moved"), Unknown("status 301 without a problem document")),
        (httpx.Response(502, text="<html>"), Unknown("status 502 without a problem document")),
        (httpx.Response(500, content=b"\xff"), Unknown("status 500 without a problem document")),
    ],
)
async def test_what_an_answer_means(answer: httpx.Response, outcome: Outcome) -> None:
    assert (await answered(answer))[0] == outcome


async def test_no_connection_means_that_nothing_was_sent_and_a_lost_answer_that_nobody_knows() -> None:
    away, _ = await answered(httpx.ConnectError("refused"))
    assert isinstance(away, Away)
    assert away.is_everything
    for lost in (httpx.ReadTimeout("late"), httpx.RemoteProtocolError("cut")):
        assert isinstance((await answered(lost))[0], Unknown)


# --- Market data --------------------------------------------------------------------------------------------------


def reader(handle: Callable[[httpx.Request], httpx.Response]) -> MarketClient:
    return MarketClient("http://market", httpx.MockTransport(handle))


async def test_books_are_read_once_each_and_what_is_not_listed_is_known_as_such() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if "GONE" in request.url.path:
            return httpx.Response(404, json={})
        if "BROKEN" in request.url.path:
            return httpx.Response(200, content=b"\xff")
        as_of = {"shard": 0, "seq": 1, "market_time": "", "read_at": ""}
        book = {"contract": "A", "bids": [["1.90", 3]], "asks": [["2.00", 4]], "checksum": 0, "as_of": as_of}
        return httpx.Response(200, json=book)

    async with reader(handle) as market:
        books = await market.books(["A", "A", "GONE", "BROKEN"])

    assert len(asked) == 3
    assert books["GONE"] is UNLISTED
    assert books["BROKEN"] is AWAY
    assert (books["A"].bids, books["A"].asks) == (((1_900_000, 3),), ((2_000_000, 4),))


async def test_market_data_that_is_away_is_not_asked_for_every_book() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectError("refused")

    async with reader(handle) as market:
        books = await market.books([f"S{n}" for n in range(500)])

    assert set(books.values()) == {AWAY}
    assert len(asked) <= 16
