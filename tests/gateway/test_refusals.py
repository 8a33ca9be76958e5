"""Bad input, one row each: its own code, the right status, a whole problem document, and nothing of the account has changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.gateway.exchange import CLASSES, TABLES, Exchange, Key, Member, signature

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES
STATUS = {
    400: "malformed wrong_contract wrong_order_id wrong_decimal wrong_time wrong_request_id idempotency_key_required",
    401: "unauthenticated wrong_signature wrong_timestamp key_expired",
    403: "missing_scope wrong_network wrong_role",
    404: "unknown_class unknown_contract unknown_order unknown_shard unknown_request not_found",
    405: "method_not_allowed",
    409: "duplicate_client_id stale_version",
    413: "too_large",
    415: "wrong_content_type",
    422: "wrong_qty wrong_price outside_collar wrong_phase halted insufficient_funds insufficient_backing cannot_fill too_late"
    " wrong_validity wrong_tif wrong_expiry wrong_flags wrong_client_id wrong_amount wrong_destination wrong_hours",
}
"""As docs/api.md has them."""


@dataclass
class Scene:
    """Ana has lived: she holds 2 GPUs, bids for more, has money in both places, and was paid out once."""

    exchange: Exchange
    ana: Member
    hour: str
    keys: dict[str, Key]
    state: dict[str, list[dict[str, Any]]]
    """All that she is and has, after the last mistake."""

    def order(self, **changes: object) -> httpx.Response:
        good = {"contract": self.hour, "side": "buy", "qty": 1, "price": "2.00", "client_order_id": "new"}
        return self.ana.ask("POST", "/v1/orders", good | changes)


@pytest.fixture(scope="module")
def scene(exchange: Exchange) -> Scene:
    ana, hour = exchange.member(usd="100"), exchange.fresh_hour()
    keys = {
        "reader": exchange.key(ana.account, "read"),
        "trader": exchange.key(ana.account, "trade"),
        "elsewhere": exchange.key(ana.account, "read", "trade", networks=["10.0.0.0/8"]),
        "expired": exchange.key(ana.account, "read", "trade", expires_in_s=1),
    }
    exchange.seller(hour).placed(hour, "sell", 2, "3.00")
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "10", "class": H100})
    ana.placed(hour, "buy", 2, "3.00")
    ana.placed(hour, "buy", 1, "1.70", client_order_id="open")
    ana.done("POST", "/v1/withdrawals", {"amount": "5", "destination": "simulated:ana"})
    ana.paid_out()
    state = ana.state()
    assert [table for table in TABLES if not state[table]] == ["backing"], "a life that a mistake could disturb"
    return Scene(exchange, ana, hour, keys, state)


@pytest.fixture
def nothing_changes(scene: Scene) -> Iterator[None]:
    yield
    before, scene.state = scene.state, scene.ana.state()
    assert scene.state == before


def assert_refused(answer: httpx.Response, code: str, numbers: dict[str, object] | None = None) -> None:
    """RFC 9457, with every member that docs/api.md names and no other."""
    assert answer.headers.get_list("content-type") == ["application/problem+json"], answer.text
    document = answer.json()
    assert document["code"] == code, document
    assert code in STATUS[answer.status_code].split()
    members = ["type", "title", "status", "detail", "code", "request_id", "retryable", "outcome", *(numbers or {})]
    assert sorted(document) == sorted(members)
    assert document["type"] == f"/problems/{code}"
    assert document["status"] == answer.status_code
    assert document["outcome"] == "rejected"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["request-id"]
    # `...`: a number of the moment.
    assert {name: ... if numbers[name] is ... else document[name] for name in numbers or {}} == (numbers or {})


# --- Orders --------------------------------------------------------------------------------------------------

OPEN = {"client_order_id": "open", "price": "1.70"}
"""Her resting bid, for 1 GPU."""
ORDERS: list[tuple[str, dict[str, object], str, dict[str, object]]] = [
    ("unknown class", {"contract": "H101.SXM.80.US.20301122T14-USD"}, "unknown_class", {}),
    ("hour beyond the horizon", {"contract": f"{H100}.20401122T14-USD"}, "unknown_contract", {}),
    ("hour of the past", {"contract": f"{H100}.20161122T14-USD"}, "unknown_contract", {}),
    ("hour before 1970", {"contract": f"{H100}.19691231T23-USD"}, "wrong_contract", {}),
    ("hour of so many bits that it names another class", {"contract": f"{H100}.57971126T14-USD"}, "wrong_contract", {}),
    ("no contract at all", {"contract": "H100"}, "wrong_contract", {}),
    ("contract without its currency", {"contract": f"{H100}.20301122T14"}, "wrong_contract", {}),
    ("day that no month has", {"contract": f"{H100}.20300230T14-USD"}, "wrong_contract", {}),
    ("nothing", {"qty": 0}, "wrong_qty", {"need": 1}),
    ("less than nothing", {"qty": -1}, "wrong_qty", {"need": 1}),
    ("more than may be asked", {"qty": 1_000_001}, "wrong_qty", {"need": 1}),
    ("more than 32 bits hold", {"qty": 2**31}, "wrong_qty", {"need": 1}),
    ("more than any record holds", {"qty": 10**30}, "malformed", {}),
    ("half a GPU", {"qty": 0.5}, "malformed", {}),
    ("a whole GPU written as a fraction", {"qty": 1.0}, "malformed", {}),
    ("a number written as text", {"qty": "1"}, "malformed", {}),
    ("off the tick", {"price": "2.001"}, "wrong_price", {"need": "0.005"}),
    ("free of charge", {"price": "0"}, "wrong_price", {"need": "0.005"}),
    ("above the collar", {"price": "6.605"}, "outside_collar", {"need": "6.60"}),
    ("below the collar", {"price": "1.645"}, "outside_collar", {"need": "1.65"}),
    ("an exponent", {"price": "2e0"}, "wrong_decimal", {}),
    ("seven digits after the point", {"price": "2.0000000"}, "wrong_decimal", {}),
    ("a negative price", {"price": "-2.00"}, "wrong_decimal", {}),
    ("a price with a sign", {"price": "+2.00"}, "wrong_decimal", {}),
    ("a price with a comma", {"price": "2,00"}, "wrong_decimal", {}),
    ("a price with a space", {"price": " 2.00"}, "wrong_decimal", {}),
    ("digits of another script", {"price": "٢"}, "wrong_decimal", {}),
    ("not a number", {"price": "NaN"}, "wrong_decimal", {}),
    ("an empty price", {"price": ""}, "wrong_decimal", {}),
    ("a float", {"price": 2.0}, "malformed", {}),
    ("too little money in both places", {"qty": 100}, "insufficient_funds", {"need": "200.0001", "have": "87.299999"}),
    ("more than she holds", {"side": "sell", "qty": 3}, "insufficient_backing", {"need": 3, "have": 2}),
    ("a known id with another quantity", OPEN | {"qty": 2}, "duplicate_client_id", {}),
    ("a known id with another price", OPEN | {"price": "1.75"}, "duplicate_client_id", {}),
    ("a known id on the other side", OPEN | {"side": "sell"}, "duplicate_client_id", {}),
    ("a known id for another time", OPEN | {"tif": "ioc"}, "duplicate_client_id", {}),
    ("a known id, now post-only", OPEN | {"post_only": True}, "duplicate_client_id", {}),
    ("a known id, now against the oldest", OPEN | {"self_trade": "cancel_oldest"}, "duplicate_client_id", {}),
    ("a known id in the other shard", OPEN | {"contract": "{L40S}", "price": "0.90"}, "duplicate_client_id", {}),
    ("an id with a space", {"client_order_id": "my order"}, "wrong_client_id", {}),
    ("an id of 37 characters", {"client_order_id": "x" * 37}, "wrong_client_id", {}),
    ("an id with a letter beyond ASCII", {"client_order_id": "é"}, "wrong_client_id", {}),
    ("valid for no time", {"valid_for_ms": 0}, "wrong_validity", {}),
    ("valid for more than ten minutes", {"valid_for_ms": 600_001}, "wrong_validity", {}),
    ("post-only and at once", {"post_only": True, "tif": "ioc"}, "wrong_flags", {}),
    ("all or nothing, and nobody sells", {"tif": "fok"}, "cannot_fill", {"need": 1, "have": 0}),
    ("good till a date that is not said", {"tif": "gtd"}, "wrong_tif", {}),
    ("a date, and not good till it", {"expires": "2040-11-22T14:30:00Z"}, "wrong_tif", {}),
    ("good till a date without a zone", {"tif": "gtd", "expires": "2040-11-22T14:30:00"}, "wrong_time", {}),
    ("good till no date", {"tif": "gtd", "expires": "tomorrow"}, "wrong_time", {}),
    ("good till a date that is over", {"tif": "gtd", "expires": "2016-11-22T14:30:00Z"}, "wrong_expiry", {"need": ...}),
    ("a bid that stays for the running hour", {"running": True}, "wrong_flags", {}),
    ("post-only, and all or nothing", {"post_only": True, "tif": "fok"}, "wrong_flags", {}),
    ("a time in force that does not exist", {"tif": "day"}, "malformed", {}),
    ("a side that does not exist", {"side": "hold"}, "malformed", {}),
    ("an unknown field", {"postonly": True}, "malformed", {}),
    ("a field of another kind", {"post_only": "yes"}, "malformed", {}),
    ("somebody else's account", {"account": 1}, "malformed", {}),
]


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(("changes", "code", "numbers"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS])
def test_an_order_with_a_mistake_is_refused(
    scene: Scene, changes: dict[str, object], code: str, numbers: dict[str, object]
) -> None:
    if changes.get("contract") == "{L40S}":
        changes = changes | {"contract": scene.hour.replace(H100, L40S)}
    assert_refused(scene.order(**changes), code, numbers)


@pytest.mark.usefixtures("nothing_changes")
def test_an_order_that_was_too_long_on_its_way_is_refused(scene: Scene) -> None:
    """The broker stands still for a moment: what reaches the log after `valid_for_ms` cannot come back as an order."""
    with scene.exchange.pausing("broker", 0.3):
        answer = scene.order(valid_for_ms=1)
    assert_refused(answer, "too_late")
    assert answer.json()["retryable"] is True


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize("state", ["halted", "cancel_only"])
def test_an_order_in_a_halted_contract_is_refused_and_may_be_sent_again(scene: Scene, state: str) -> None:
    symbol = scene.exchange.fresh_hour()
    (hour,) = [each["hour"] for each in scene.ana.get(f"/v1/contracts?class={H100}") if each["contract"] == symbol]
    halt = {"class": H100, "hour": hour, "state": state, "reason": "a test"}
    assert scene.exchange.operator.ask("POST", "/v1/admin/states", halt).is_success
    answer = scene.order(contract=symbol)
    assert_refused(answer, "halted")
    assert answer.json()["retryable"] is True


# --- Everything else -----------------------------------------------------------------------------------------

Ask = Callable[[Scene], httpx.Response]


def post(path: str, body: object = None, **headers: str) -> Ask:
    """Signed by Ana; underscores in header names are dashes."""
    return lambda scene: scene.ana.ask("POST", path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def other(method: str, path: str, body: object = None) -> Ask:
    return lambda scene: scene.ana.ask(method, path, body)


def get(path: str) -> Ask:
    return other("GET", path)


def put(body: object) -> Ask:
    return other("PUT", "/v1/capacity", body)


def keyed(name: str, method: str, path: str, body: object = None) -> Ask:
    """With another of Ana's keys."""
    return lambda scene: scene.ana.holding(scene.keys[name]).ask(
        method, path.replace("{trader}", scene.keys["trader"].key_id), body
    )


def bearing(token: str) -> Ask:
    return lambda scene: scene.ana.ask("GET", "/v1/balance", headers={"Authorization": token})


def unsigned(method: str, path: str, content: bytes = b"") -> Ask:
    return lambda scene: scene.exchange.http.request(method, f"{scene.exchange.url}{path}", content=content)


def raw(content: bytes, kind: str = "application/json") -> Ask:
    def ask(scene: Scene) -> httpx.Response:
        try:
            return scene.ana.ask("POST", "/v1/orders", content=content, headers={"Content-Type": kind})
        except httpx.RemoteProtocolError:
            # Who answers before all of a body is read may close before the answer is: once in hundreds, and not twice.
            return scene.ana.ask("POST", "/v1/orders", content=content, headers={"Content-Type": kind})

    return ask


def order_as(kind: str) -> Ask:
    """A good order in another wrapping."""

    def ask(scene: Scene) -> httpx.Response:
        good = json.dumps({"contract": scene.hour, "side": "buy", "qty": 1, "price": "2.00"}).encode()
        return raw(good, kind)(scene)

    return ask


def tampered(change: str) -> Ask:
    """A good order with a good signature over something else."""

    def ask(scene: Scene) -> httpx.Response:
        path, key, now = "/v1/orders?x=1", scene.ana.key, str(time.time_ns() // 1_000_000)
        good = json.dumps({"contract": scene.hour, "side": "buy", "qty": 1, "price": "2.00"}).encode()
        whole = signature(key, "POST", path, good, now)
        headers = {
            "method": signature(key, "PUT", path, good),
            "query": signature(key, "POST", "/v1/orders", good),
            "body": signature(key, "POST", path, good + b" "),
            "stamp": whole | {"Hourbook-Timestamp": str(int(now) + 1)},
            "secret": signature(key._replace(secret=b"guessed"), "POST", path, good),
            "key": whole | {"Hourbook-Key": scene.keys["trader"].key_id},
            "unknown key": whole | {"Hourbook-Key": "hb_0000000000000000"},
            "late": signature(key, "POST", path, good, str(int(now) - 30_500)),
            "early": signature(key, "POST", path, good, str(int(now) + 31_500)),
            "no stamp": whole | {"Hourbook-Timestamp": ""},
        }[change]
        return scene.ana.ask("POST", path, content=good, headers=headers)

    return ask


HUGE = b'{"contract":"' + b"x" * 65_536 + b'"}'
NO_NUMBER = 10**30
OUT, IN = "/v1/withdrawals", "/v1/transfers"
CAPACITY = {"class": H100, "from": "2030-11-27T10:00Z", "hours": 1, "ground": "declared", "qty": 1, "version": 1}
PAYOUT = {"amount": "1", "destination": "simulated:ana"}
PAID = {"state": "paid", "provider": "x"}
TRANSFER = {"direction": "to_trading", "amount": "1", "shard": 0}
SHORT = {"need": "90.00", "have": "85.00"}
REQUESTS: list[tuple[str, Ask, str, dict[str, object]]] = [
    # Who asks.
    ("nobody", unsigned("GET", "/v1/balance"), "unauthenticated", {}),
    ("nobody, with a body that is no JSON", unsigned("POST", "/v1/orders", b"{"), "unauthenticated", {}),
    ("an invented token", bearing("Bearer hb_0.invented"), "unauthenticated", {}),
    ("another scheme", bearing("Basic YW5hOmFuYQ=="), "unauthenticated", {}),
    ("an unknown key", tampered("unknown key"), "unauthenticated", {}),
    ("a signature over another method", tampered("method"), "wrong_signature", {}),
    ("a signature over another query", tampered("query"), "wrong_signature", {}),
    ("a signature over another body", tampered("body"), "wrong_signature", {}),
    ("a signature over another moment", tampered("stamp"), "wrong_signature", {}),
    ("a signature with a guessed secret", tampered("secret"), "wrong_signature", {}),
    ("a signature under another key of hers", tampered("key"), "wrong_signature", {}),
    ("a stale timestamp", tampered("late"), "wrong_timestamp", {}),
    ("a timestamp of the future", tampered("early"), "wrong_timestamp", {}),
    ("no timestamp", tampered("no stamp"), "wrong_timestamp", {}),
    ("an expired key", keyed("expired", "GET", "/v1/balance"), "key_expired", {}),
    ("a key bound to another network", keyed("elsewhere", "GET", "/v1/balance"), "wrong_network", {}),
    ("a key that may only read", keyed("reader", "DELETE", "/v1/orders/client/open"), "missing_scope", {}),
    ("a key that may not read", keyed("trader", "GET", "/v1/balance"), "missing_scope", {}),
    ("a member at the operators' door", post("/v1/admin/payouts/1", PAID), "missing_scope", {}),
    # How it is written.
    ("a body that ends early", raw(b'{"contract":'), "malformed", {}),
    ("no body", raw(b""), "malformed", {}),
    ("a list", raw(b"[]"), "malformed", {}),
    ("null", raw(b"null"), "malformed", {}),
    ("text that is not UTF-8", raw(b'{"contract":"\xff"}'), "malformed", {}),
    ("half of a pair of surrogates", raw(b'{"contract":"\\ud800"}'), "malformed", {}),
    ("lists within lists, by the thousand", raw(b'{"contract":' + b"[" * 30_000), "malformed", {}),
    ("two documents", raw(b"{} {}"), "malformed", {}),
    ("plain text", order_as("text/plain"), "wrong_content_type", {}),
    ("a form", order_as("application/x-www-form-urlencoded"), "wrong_content_type", {}),
    ("MessagePack", raw(b"\x80", "application/x-msgpack"), "wrong_content_type", {}),
    ("nothing said of its kind", order_as(""), "wrong_content_type", {}),
    ("a body of a byte too much", raw(HUGE[: 65_536 + 1]), "too_large", {}),
    ("a body of megabytes", raw(HUGE * 100), "too_large", {}),
    # Where it goes.
    ("an unknown path", get("/v1/nothing"), "not_found", {}),
    ("a path outside of the API", get("/nothing"), "not_found", {}),
    ("a wrong method", other("PATCH", "/v1/orders", {}), "method_not_allowed", {}),
    ("an account that is no number", other("PATCH", "/v1/admin/accounts/ana", {"role": "provider"}), "not_found", {}),
    ("a payout beyond any number", post(f"/v1/admin/payouts/{NO_NUMBER}", PAID), "malformed", {}),
    ("an order id that is none", get("/v1/orders/open"), "wrong_order_id", {}),
    ("an order id out of range", other("DELETE", "/v1/orders/999-1-0-0"), "wrong_order_id", {}),
    ("an order of a shard that is not there", other("DELETE", "/v1/orders/77-1-0-0"), "unknown_order", {}),
    ("an order that is not there", other("DELETE", "/v1/orders/0-999999-0-0"), "unknown_order", {}),
    ("a client id that is not there", other("DELETE", "/v1/orders/client/never"), "unknown_order", {}),
    ("a client id that cannot be", get("/v1/orders/client/%00"), "wrong_client_id", {}),
    ("a client id that is not UTF-8", other("DELETE", "/v1/orders/client/%ff"), "not_found", {}),
    ("a request that is not there", get("/v1/requests/never"), "unknown_request", {}),
    ("a request that cannot be", get("/v1/requests/%00"), "wrong_request_id", {}),
    ("a page of none", get("/v1/orders?limit=0"), "malformed", {}),
    ("a page without an end", get("/v1/fills?limit=501"), "malformed", {}),
    ("a state that orders do not have", get("/v1/orders?state=lost"), "malformed", {}),
    ("a book of no contract", get("/v1/market/H100/book"), "wrong_contract", {}),
    ("a book of an hour not listed", get(f"/v1/market/{H100}.20401122T14-USD/book"), "unknown_contract", {}),
    ("hours of an unknown class", get("/v1/contracts?class=H101"), "unknown_class", {}),
    ("hours of no class", get("/v1/contracts"), "malformed", {}),
    # Money and capacity.
    ("a withdrawal without a key of its own", post(OUT, PAYOUT, Idempotency_Key=""), "idempotency_key_required", {}),
    ("a withdrawal with too long a key", post(OUT, PAYOUT, Idempotency_Key="x" * 41), "wrong_request_id", {}),
    ("a withdrawal of more than there is", post(OUT, PAYOUT | {"amount": "90"}), "insufficient_funds", SHORT),
    ("a withdrawal of nothing", post(OUT, PAYOUT | {"amount": "0"}), "wrong_amount", {}),
    ("a withdrawal of a negative amount", post(OUT, PAYOUT | {"amount": "-1"}), "wrong_decimal", {}),
    ("a withdrawal to nowhere", post(OUT, PAYOUT | {"destination": ""}), "wrong_destination", {}),
    ("a destination that no table takes", post(OUT, PAYOUT | {"destination": "a\0b"}), "wrong_destination", {}),
    ("a transfer of more than there is", post(IN, TRANSFER | {"amount": "90"}), "insufficient_funds", SHORT),
    ("a transfer to a shard that is not there", post(IN, TRANSFER | {"shard": 7}), "unknown_shard", {}),
    ("a transfer to a shard below zero", post(IN, TRANSFER | {"shard": -1}), "unknown_shard", {}),
    ("a transfer to a shard beyond any number", post(IN, TRANSFER | {"shard": NO_NUMBER}), "malformed", {}),
    ("a transfer to nowhere", post(IN, {"direction": "to_trading", "amount": "1"}), "malformed", {}),
    ("a transfer to two places", post(IN, TRANSFER | {"class": L40S}), "malformed", {}),
    ("capacity of a member without machines", put(CAPACITY), "wrong_role", {}),
    ("capacity without the scope", keyed("trader", "PUT", "/v1/capacity", CAPACITY), "missing_scope", {}),
    ("capacity from no hour", put(CAPACITY | {"from": "tomorrow"}), "wrong_time", {}),
    ("capacity for no hours", put(CAPACITY | {"hours": 0}), "wrong_hours", {}),
    ("capacity beyond any number", put(CAPACITY | {"qty": 2**63}), "malformed", {}),
    ("capacity of a version below one", put(CAPACITY | {"version": 0}), "stale_version", {}),
    ("capacity on another ground", put(CAPACITY | {"ground": "hoped"}), "malformed", {}),
    ("machines that are ready, of a member without any", put(CAPACITY | {"ground": "ready"}), "wrong_role", {}),
    # Keys.
    ("a key with more than she may", post("/v1/keys", {"scopes": ["operator"]}), "missing_scope", {}),
    ("a key from a reader", keyed("reader", "POST", "/v1/keys", {"scopes": ["read"]}), "missing_scope", {}),
    ("a key ended by a reader", keyed("reader", "DELETE", "/v1/keys/{trader}"), "missing_scope", {}),
    ("a key that is not there", other("DELETE", "/v1/keys/hb_0000000000000000"), "not_found", {}),
    ("a key for no network", post("/v1/keys", {"scopes": ["read"], "networks": ["10.0.0.1/8"]}), "malformed", {}),
    ("a key that ends before it begins", post("/v1/keys", {"scopes": ["read"], "expires_in_s": -1}), "malformed", {}),
    ("a key beyond the calendar", post("/v1/keys", {"scopes": ["read"], "expires_in_s": 10**13}), "malformed", {}),
    ("a key with an unknown scope", post("/v1/keys", {"scopes": ["admin"]}), "malformed", {}),
]


@pytest.mark.usefixtures("nothing_changes")
@pytest.mark.parametrize(("ask", "code", "numbers"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
def test_a_request_with_a_mistake_is_refused(scene: Scene, ask: Ask, code: str, numbers: dict[str, object]) -> None:
    keys = sorted(key["key_id"] for key in scene.ana.get("/v1/keys"))
    assert_refused(ask(scene), code, numbers)
    assert sorted(key["key_id"] for key in scene.ana.get("/v1/keys")) == keys


@pytest.mark.usefixtures("nothing_changes")
def test_in_an_hour_whose_gate_has_closed_bids_do_not_rest_and_blocks_are_refused(scene: Scene) -> None:
    """The last of the table: market time must have brought a gate."""

    def closed() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = scene.ana.get(f"/v1/contracts?class={H100}")
        return [each for each in listed if each["phase"] == "running"]

    scene.exchange.until(lambda: bool(closed()), "a gate closes")
    running = closed()[0]
    assert_refused(scene.order(contract=running["contract"]), "wrong_tif")
    block = {"class": H100, "from": running["hour"], "hours": 2, "side": "buy", "qty": 1, "price": "2.00"}
    assert_refused(scene.ana.ask("POST", "/v1/blocks", block), "wrong_phase", {"need": running["hour"]})
