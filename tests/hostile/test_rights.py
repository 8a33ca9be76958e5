"""Signatures that do not fit, keys that have ended, and ids of other people: nothing is done, and nothing is told."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from services.gateway.auth import WINDOW_MS
from tests.gateway.exchange import CLASSES, Exchange, Member, begin, signature
from tests.market_data.wire import Wire

pytestmark = pytest.mark.postgres


# --- Signatures ----------------------------------------------------------------------------------------------


def sent(exchange: Exchange, method: str, target: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """As it is, whoever has signed what of it."""
    kind = {"Content-Type": "application/json"} if body else {}
    return exchange.http.request(method, f"{exchange.url}{target}", content=body, headers=kind | headers)


@pytest.fixture(scope="module")
def ana(exchange: Exchange) -> Member:
    return exchange.member()


@pytest.fixture
def order(exchange: Exchange) -> bytes:
    terms = {"contract": exchange.fresh_hour(), "side": "buy", "qty": 1, "price": "2.00"}
    return json.dumps(terms).encode()


@pytest.mark.parametrize(
    ("method", "target", "change"),
    [
        ("POST", "/v1/orders", (b'"qty": 1', b'"qty": 2')),
        ("POST", "/v1/orders", (b'"buy"', b'"sell"')),
        ("POST", "/v1/orders", (b"}", b"} ")),
        ("POST", "/v1/orders?dry=1", (b"", b"")),
        ("POST", "/v1/orders/preview", (b"", b"")),
        ("POST", "/v1//orders", (b"", b"")),
        ("POST", "/v1/%6frders", (b"", b"")),
        ("PUT", "/v1/orders", (b"", b"")),
    ],
    ids=[
        "more",
        "the other side",
        "a space",
        "a query",
        "another path",
        "a doubled slash",
        "encoded",
        "another method",
    ],
)
def test_what_was_changed_after_it_was_signed_is_refused(
    exchange: Exchange, ana: Member, order: bytes, method: str, target: str, change: tuple[bytes, bytes]
) -> None:
    state = ana.state()
    headers = signature(ana.key, "POST", "/v1/orders", order)
    answer = sent(exchange, method, target, order.replace(*change, 1), headers)
    # A method that the path does not take is told before anybody is asked who he is.
    expected = (405, "method_not_allowed") if method == "PUT" else (401, "wrong_signature")
    assert (answer.status_code, answer.json()["code"]) == expected
    assert ana.state() == state


@pytest.mark.parametrize("off_ms", [-2 * WINDOW_MS, -WINDOW_MS - 5_000, WINDOW_MS + 5_000, 10**15])
def test_a_clock_that_is_off_by_more_than_half_a_minute_is_told_so(
    exchange: Exchange, ana: Member, order: bytes, off_ms: int
) -> None:
    """However well it was signed: what was overheard is of no use a minute later."""
    stamp = str(time.time_ns() // 1_000_000 + off_ms)
    answer = sent(exchange, "POST", "/v1/orders", order, signature(ana.key, "POST", "/v1/orders", order, stamp))
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong_timestamp")


def test_what_is_sent_again_as_it_was_does_nothing_twice(exchange: Exchange) -> None:
    """Byte for byte, within the half minute in which a signature holds: a request with a name is one, however often it comes."""
    ana, hour = exchange.member(), exchange.fresh_hour()
    bodies: dict[str, Any] = {
        "/v1/orders": {"contract": hour, "side": "buy", "qty": 1, "price": "2.00", "client_order_id": "once"},
        "/v1/ranges": {
            "class": CLASSES[0], "from": begin(hour), "count": 1, "side": "buy", "qty": 1, "price": "2.00",
            "client_order_id": "range",
        },
        "/v1/blocks": {
            "class": CLASSES[0], "from": begin(hour), "hours": 1, "side": "buy", "qty": 1, "price": "2.00",
            "client_order_id": "block",
        },
        "/v1/transfers": {"direction": "to_trading", "amount": "7", "shard": 1},
        "/v1/withdrawals": {"amount": "3", "destination": "simulated:ana"},
    }  # fmt: skip
    for target, terms in bodies.items():
        body = json.dumps(terms).encode()
        headers = signature(ana.key, "POST", target, body) | {"Idempotency-Key": f"once{target.replace('/', '-')}"}
        first = sent(exchange, "POST", target, body, headers)
        assert first.is_success, first.text
        ana.paid_out()
        state = ana.state()
        again = [sent(exchange, "POST", target, body, headers) for _ in range(3)]
        assert [each.status_code for each in again] == [first.status_code] * 3, target
        assert ana.state() == state, target


# --- Keys that have ended ------------------------------------------------------------------------------------


@contextlib.contextmanager
def connection(exchange: Exchange) -> Iterator[http.client.HTTPConnection]:
    """One that is kept."""
    where = urlsplit(exchange.url)
    made = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    made.connect()
    socket = made.sock
    try:
        yield made
        assert made.sock is socket, "it was one connection all the time"
    finally:
        made.close()


def test_a_key_that_ends_is_refused_on_the_connection_that_it_opened(exchange: Exchange, ana: Member) -> None:
    """Whoever was let in is asked at each request who he is."""
    key = exchange.key(ana.account, "read")
    headers = {"Authorization": f"Bearer {key.bearer}"}

    def status() -> int:
        kept.request("GET", "/v1/account", headers=headers)
        answer = kept.getresponse()
        answer.read()
        return answer.status

    with connection(exchange) as kept:
        assert status() == 200
        assert ana.ask("DELETE", f"/v1/keys/{key.key_id}").is_success
        exchange.until(lambda: status() == 401, "the gateway reads that it has ended", 5)


def test_a_key_that_has_ended_gets_no_token_and_what_it_had_opened_has_an_end(exchange: Exchange, ana: Member) -> None:
    """The feed knows tokens and no keys: what a token opened ends ten minutes later, and is told when (docs/feeds.md).

    That it does end then: tests/market_data/test_sessions.py, by a clock that is the test's.
    """
    key = exchange.key(ana.account, "read")
    reader = ana.holding(key)
    token = reader.ask("POST", "/v1/feed-token").json()["token"]
    assert ana.ask("DELETE", f"/v1/keys/{key.key_id}").is_success
    exchange.until(lambda: not exchange.answers(reader, "/v1/account"), "the gateway reads that it has ended", 5)
    assert reader.ask("POST", "/v1/feed-token").json()["code"] == "unauthenticated"

    async def until() -> float:
        async with Wire.open(exchange.stack.feed_port) as wire:
            await wire.say({"op": "auth", "token": token})
            return _seconds((await wire.until("authenticated"))["until"])

    assert 0 < asyncio.run(until()) - time.time() <= 600


def _seconds(told: str) -> float:
    return time.mktime(time.strptime(told[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone


# --- Other people --------------------------------------------------------------------------------------------


class Ids(NamedTuple):
    """What stands in paths: Ana's, and what nobody has."""

    anas: str
    nobodys: str


@pytest.fixture(scope="module")
def neighbours(exchange: Exchange) -> tuple[Member, Member, dict[str, Ids]]:
    """Ana has one of everything, Carl knows all its ids."""
    ana, carl, hour = exchange.member(role="market_maker"), exchange.member(), exchange.fresh_hour()
    terms = {"side": "buy", "qty": 1, "price": "2.00"}
    order = ana.placed(hour, "buy", 1, "2.00", client_order_id="anas-order")
    hours = {"class": CLASSES[0], "from": begin(hour)}
    block = ana.ask("POST", "/v1/blocks", {**hours, **terms, "hours": 1, "client_order_id": "anas-block"}).json()
    assert ana.ask("POST", "/v1/ranges", {**hours, **terms, "count": 1, "client_order_id": "anas-range"}).is_success
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "5", "shard": 1}, key="anas-key")
    key = exchange.key(ana.account, "read")
    wanted = {"classes": [CLASSES[0]], "gpus": 1, "max_price": "0.10"}  # for which nobody sells
    exchange.until(lambda: ana.ask("GET", "/v1/rentals").is_success, "the router is ready")
    rental = ana.ask("POST", "/v1/rentals", wanted).json()
    return (
        ana,
        carl,
        {
            "order": Ids(order["order_id"], "0-999999999-0-0"),
            "block": Ids(block["block_id"], "0-999999999-0-0"),
            "order's name": Ids("anas-order", "nobodys"),
            "block's name": Ids("anas-block", "nobodys"),
            "range's name": Ids("anas-range", "nobodys"),
            "request": Ids("anas-key", "nobodys"),
            "request of an account": Ids(f"{ana.account}:anas-key", "999999:nobodys"),
            "rental": Ids(rental["rental"], "999999999"),
            "key": Ids(key.key_id, "hb_0000000000000000"),
        },
    )


AMEND = {"qty": 1, "price": "1.00"}
NAMED: dict[tuple[str, str], tuple[list[str], object]] = {
    ("GET", "/v1/orders/{order_id}"): (["order", "block"], None),
    ("DELETE", "/v1/orders/{order_id}"): (["order", "block"], None),
    ("PATCH", "/v1/orders/{order_id}"): (["order", "block"], AMEND),
    ("GET", "/v1/orders/client/{client_id}"): (["order's name", "block's name", "range's name"], None),
    ("DELETE", "/v1/orders/client/{client_id}"): (["order's name", "block's name", "range's name"], None),
    ("PATCH", "/v1/orders/client/{client_id}"): (["order's name", "block's name", "range's name"], AMEND),
    ("GET", "/v1/ranges/{client_id}"): (["range's name", "order's name"], None),
    ("GET", "/v1/blocks/{block_id}"): (["block", "order"], None),
    ("DELETE", "/v1/blocks/{block_id}"): (["block", "order"], None),
    ("GET", "/v1/blocks/client/{client_id}"): (["block's name", "order's name"], None),
    ("GET", "/v1/requests/{key}"): (["request", "request of an account"], None),
    ("GET", "/v1/rentals/{rental_id}"): (["rental"], None),
    ("PATCH", "/v1/rentals/{rental_id}"): (["rental"], {"max_price": "9.00"}),
    ("POST", "/v1/rentals/{rental_id}/stop"): (["rental"], {}),
    ("DELETE", "/v1/keys/{key_id}"): (["key"], None),
}
"""(method, path) → whose ids are tried there, with which body."""
PUBLIC = {"class_id", "symbol"}
"""Ids of what is everybody's."""
OF_THE_ACCOUNT = {"machine", "name"}
"""A provider's own word for a machine, a member's for a launch specification: nobody can name another account's."""


def test_every_route_with_an_id_of_somebody_s_is_tried(exchange: Exchange) -> None:
    """Of the OpenAPI document; an operator's may name whoever he likes."""
    document = exchange.http.get(f"{exchange.url}/v1/openapi/openapi.json").json()
    private = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.startswith("/v1/admin/")
        and any(
            each["in"] == "path" and each["name"] not in PUBLIC | OF_THE_ACCOUNT for each in operation["parameters"]
        )
    }
    assert private == set(NAMED)


@pytest.mark.parametrize(("method", "path"), NAMED, ids=[" ".join(route) for route in NAMED])
def test_what_is_ana_s_is_to_carl_as_if_it_were_not_there(
    neighbours: tuple[Member, Member, dict[str, Ids]], method: str, path: str
) -> None:
    """The same answer, word for word and field for field, as for an id that nobody has; and nothing of Ana's has changed."""
    ana, carl, ids = neighbours
    state, keys = ana.state(), ana.get("/v1/keys")
    which, body = NAMED[method, path]
    before, after = path[: path.index("{")], path[path.index("}") + 1 :]
    for name in which:
        answers = [carl.ask(method, f"{before}{one}{after}", body) for one in ids[name]]
        told = [each.json() | {"request_id": ""} for each in answers]
        assert told[0] == told[1], name
        assert answers[0].status_code == answers[1].status_code == 404
    assert (ana.state(), ana.get("/v1/keys")) == (state, keys)


def test_names_that_are_ana_s_are_free_for_carl(neighbours: tuple[Member, Member, dict[str, Ids]]) -> None:
    """Client order ids and Idempotency-Keys are each account's own: that they are taken elsewhere is not told by a refusal."""
    ana, carl, _ = neighbours
    state = ana.state()
    hour = ana.get("/v1/orders?limit=500")[0]["contract"]
    order = carl.placed(hour, "buy", 1, "1.90", client_order_id="anas-order")
    assert not order["repeated"]
    done = carl.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "6", "shard": 1}, key="anas-key")
    assert done
    assert carl.ask("DELETE", "/v1/orders").json()["cancelled"] == 1
    quote = {"hour": begin(hour), "bid": "1.00", "bid_qty": 1}
    answer = carl.ask("PUT", f"/v1/quotes/{CLASSES[0]}", {"quotes": [quote], "number": 1})
    assert answer.json()["code"] == "wrong_role"
    assert ana.state() == state
