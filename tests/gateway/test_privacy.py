"""What is one account's stays there: other members' ids, keys and scopes, and secrets that no log may hold."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from schemas.keys import SCOPES
from tests.gateway.exchange import Exchange, Key, Member, signature

pytestmark = pytest.mark.postgres
API = (Path(__file__).parents[2] / "docs/api.md").read_text()


class Neighbours(NamedTuple):
    """Ana has something of everything; Carl knows all her ids and has nothing."""

    exchange: Exchange
    ana: Member
    carl: Member
    hour: str
    order: str
    second_key: Key
    state: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def neighbours(exchange: Exchange) -> Neighbours:
    ana, carl, hour = exchange.member(), exchange.member(usd="0"), exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 1, "3.00")
    ana.placed(hour, "buy", 1, "3.00")
    order = ana.placed(hour, "buy", 1, "2.00", client_order_id="anas-own")["order_id"]
    ana.done("POST", "/v1/withdrawals", {"amount": "1", "destination": "simulated:ana"}, key="anas-key")
    ana.paid_out()
    issued = ana.ask("POST", "/v1/keys", {"scopes": ["read"], "label": "anas-label"})
    return Neighbours(exchange, ana, carl, hour, order, Key.of(issued.json()), ana.state())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/orders", "/v1/orders?state=open", "/v1/orders?contract={hour}", "/v1/fills", "/v1/positions", "/v1/ledger",
        "/v1/withdrawals", "/v1/capacity",
    ],
)  # fmt: skip
def test_lists_hold_the_callers_own(neighbours: Neighbours, path: str) -> None:
    where = path.replace("{hour}", neighbours.hour)
    assert neighbours.carl.get(where) == []
    if path != "/v1/capacity":
        assert neighbours.ana.get(where) != []


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/orders/{order}", "unknown_order"),
        ("DELETE", "/v1/orders/{order}", "unknown_order"),
        ("GET", "/v1/orders/client/anas-own", "unknown_order"),
        ("DELETE", "/v1/orders/client/anas-own", "unknown_order"),
        ("GET", "/v1/requests/anas-key", "unknown_request"),
        ("GET", "/v1/requests/{account}:anas-key", "unknown_request"),
        ("GET", "/v1/requests/op1:anas-key", "unknown_request"),
        ("DELETE", "/v1/keys/{key}", "not_found"),
    ],
)
def test_an_id_of_another_account_is_as_unknown_as_an_invented_one(
    neighbours: Neighbours, method: str, path: str, code: str
) -> None:
    """The same answer, word for word, and nothing of Ana's has changed."""
    keys = neighbours.ana.get("/v1/keys")
    named = {"order": neighbours.order, "account": neighbours.ana.account, "key": neighbours.second_key.key_id}
    invented = {"order": "0-999999999-0-0", "account": 999_999, "key": "hb_0000000000000000"}
    answers = [neighbours.carl.ask(method, path.format(**ids)) for ids in (named, invented)]
    assert [answer.json()["code"] for answer in answers] == [code, code]
    assert len({(answer.status_code, answer.json()["detail"]) for answer in answers}) == 1
    assert (neighbours.ana.state(), neighbours.ana.get("/v1/keys")) == (neighbours.state, keys)


def test_account_and_balance_are_the_callers_own(neighbours: Neighbours) -> None:
    for member in (neighbours.ana, neighbours.carl):
        assert member.get("/v1/account")["account"] == member.get("/v1/balance")["account"] == member.account
    assert neighbours.carl.get("/v1/balance")["wallet"] == "0.00"


def test_keys_are_shown_to_their_account_without_secrets(neighbours: Neighbours) -> None:
    """Two of Ana's, one of Carl's; the secret was in the answer that made it, and is nowhere else."""
    shown = neighbours.ana.ask("GET", "/v1/keys")
    assert sorted(shown.json(), key=lambda key: key["label"]) == [
        {"key_id": neighbours.ana.key.key_id, "account": neighbours.ana.account, "scopes": ["read", "trade", "supply"],
         "label": "", "expires_at": "", "networks": []},
        {"key_id": neighbours.second_key.key_id, "account": neighbours.ana.account, "scopes": ["read"],
         "label": "anas-label", "expires_at": "", "networks": []},
    ]  # fmt: skip
    for key in (neighbours.ana.key, neighbours.second_key):
        assert key.bearer.partition(".")[2] not in shown.text
        assert base64.b64encode(key.secret).decode() not in shown.text
    assert [key["key_id"] for key in neighbours.carl.get("/v1/keys")] == [neighbours.carl.key.key_id]


def test_the_market_is_shown_without_names(neighbours: Neighbours) -> None:
    """Trades and books say nothing of who: not an account, not an order, not a client order id."""
    for path in (f"/v1/trades?contract={neighbours.hour}", f"/v1/market/{neighbours.hour}/book"):
        text = neighbours.ana.ask("GET", path).text
        assert "3.00" in text or "2.00" in text
        for name in ("account", "buyer", "seller", "client", "order_id", "anas-own", neighbours.order):
            assert name not in text


# --- Keys and scopes -----------------------------------------------------------------------------------------


def test_a_key_lives_from_its_issue_to_its_revocation(exchange: Exchange, ana: Member) -> None:
    """Both ways of using it, and then neither."""
    issued = ana.ask("POST", "/v1/keys", {"scopes": ["read"], "expires_in_s": 3_600})
    key = Key.of(issued.json())
    ways = {"bearer": {"Authorization": f"Bearer {key.bearer}"}, "signed": signature(key, "GET", "/v1/account", b"")}
    exchange.until(lambda: exchange.answers(ana.holding(key), "/v1/account"), "the gateway reads it")
    for headers in ways.values():
        answer = ana.ask("GET", "/v1/account", headers=headers)
        assert (answer.status_code, answer.json()["scopes"]) == (200, ["read"])

    assert ana.ask("DELETE", f"/v1/keys/{key.key_id}").json() == {"revoked": key.key_id}
    exchange.until(lambda: not exchange.answers(ana.holding(key), "/v1/account"), "the gateway reads that it has ended")
    for headers in ways.values():
        assert ana.ask("GET", "/v1/account", headers=headers).json()["code"] == "unauthenticated"


def test_an_operator_ends_any_key(exchange: Exchange, ana: Member) -> None:
    assert exchange.operator.ask("DELETE", f"/v1/keys/{ana.key.key_id}").json() == {"revoked": ana.key.key_id}
    exchange.until(lambda: not exchange.answers(ana, "/v1/account"), "the gateway reads that it has ended")


ROUTES: list[tuple[str, str, str]] = re.findall(r"^\| `([A-Z]+) (/v1/\S+)` \| ([a-z]+) \|", API, re.MULTILINE)
"""(method, path, scope) as docs/api.md lists them."""
PRIVATE = [route for route in ROUTES if route[2] not in {"any", "none"}]


def test_the_documentation_names_the_routes_that_there_are(exchange: Exchange) -> None:
    """Every route of the OpenAPI document, and no other."""
    document = exchange.http.get(f"{exchange.url}/v1/openapi/openapi.json").json()
    served = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path))
        for path, methods in document["paths"].items()
        for method in methods
    }
    documented = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path, _ in ROUTES}
    assert served - documented == set()
    assert documented - served == set()
    assert len(ROUTES) == len(documented)


@pytest.mark.parametrize(("method", "path", "scope"), PRIVATE, ids=[" ".join(each) for each in PRIVATE])
def test_each_route_needs_the_scope_that_is_documented(
    neighbours: Neighbours, one_scope: dict[str, Member], method: str, path: str, scope: str
) -> None:
    """With every scope but that one it is refused, before anything is done."""
    body = BODIES.get((method, path))
    for other, member in one_scope.items():
        answer = member.ask(method, re.sub(r"\{[^}]*\}", "1", path) + QUERIES.get((method, path), ""), body)
        lacks = answer.status_code == 403 and answer.json()["code"] == "missing_scope"
        may = other == scope or (other == "operator" and path == "/v1/keys/{id}")
        assert lacks is not may, (other, answer.text)
    assert neighbours.ana.state() == neighbours.state


@pytest.fixture(scope="module")
def one_scope(neighbours: Neighbours) -> dict[str, Member]:
    """Ana, with a key for each scope and for that alone."""
    ana = neighbours.ana
    return {scope: ana.holding(neighbours.exchange.key(ana.account, scope)) for scope in SCOPES}


BODIES: dict[tuple[str, str], object] = {
    ("POST", "/v1/orders"): {"contract": "none", "side": "buy", "qty": 1, "price": "1"},
    ("POST", "/v1/orders/batch"): {"orders": [{"contract": "none", "side": "buy", "qty": 1, "price": "1"}]},
    ("PATCH", "/v1/orders/{id}"): {"qty": 1, "price": "none"},
    ("PATCH", "/v1/orders/client/{client_id}"): {"qty": 1, "price": "none"},
    ("PUT", "/v1/cancel-all-after"): {"after_seconds": -1},
    ("POST", "/v1/ranges"): {"class": "none", "side": "buy", "qty": 1, "price": "1"},
    ("POST", "/v1/orders/preview"): {"contract": "none", "side": "buy", "qty": 1, "price": "1"},
    ("POST", "/v1/ranges/preview"): {"class": "none", "side": "buy", "qty": 1, "price": "1"},
    ("POST", "/v1/blocks/preview"): {"class": "none", "from": "", "hours": 1, "side": "buy", "qty": 1, "price": "1"},
    ("POST", "/v1/blocks"): {"class": "none", "from": "", "hours": 1, "side": "buy", "qty": 1, "price": "1"},
    ("PUT", "/v1/quotes/{class}"): {"quotes": []},
    ("POST", "/v1/transfers"): {"direction": "to_trading", "amount": "0", "shard": 0},
    ("POST", "/v1/withdrawals"): {"amount": "0", "destination": "simulated:ana"},
    ("PUT", "/v1/capacity"): {"class": "none", "from": "", "hours": 1, "ground": "declared", "qty": 1, "version": 1},
    ("POST", "/v1/machines"): {
        "machine": "box",
        "class_id": "none",
        "instance": "one",
        "boot_id": "boot",
        "agent_version": "1",
        "source": "declared",
        "driver": "open",
        "host": "192.0.2.7",
        "inventory": [{"uuid": "GPU-1", "name": "H100"}],
    },
    ("POST", "/v1/machines/{machine}/heartbeats"): {
        "instance": "one",
        "seq": 1,
        "nonce": "",
        "boot_id": "boot",
        "sent_at_ms": 0,
        "inventory": [{"uuid": "GPU-1", "name": "H100"}],
        "leases": [],
    },
    ("PUT", "/v1/machines/{machine}/maintenance"): {"windows": []},
    ("PUT", "/v1/launches/{name}"): {"ssh_keys": []},
    ("POST", "/v1/rentals"): {"classes": ["NONE"], "gpus": 1, "max_price": "1"},
    ("POST", "/v1/rentals/preview"): {"classes": ["NONE"], "gpus": 1, "max_price": "1"},
    ("PATCH", "/v1/rentals/{n}"): {},
    ("POST", "/v1/rentals/{n}/stop"): {},
    ("POST", "/v1/keys"): {"scopes": [], "networks": ["none"]},
    ("POST", "/v1/admin/accounts"): {"name": "", "role": "member"},
    ("POST", "/v1/admin/classes"): {"shard": 0, "specification": ""},
    ("POST", "/v1/admin/deposits"): {"account": 0, "amount": "0", "provider": "", "provider_ref": ""},
    ("POST", "/v1/admin/states"): {"class": "none", "state": "open", "reason": ""},
    ("POST", "/v1/admin/engine-version"): {"shard": 0, "version": 1},
    ("POST", "/v1/admin/deliveries"): {"contract": "none", "simulated": True},
    ("POST", "/v1/admin/procure"): {"account": 0, "class": "none", "from": "", "hours": 1, "qty": 1, "cost": "1"},
    ("POST", "/v1/admin/corrections/approval"): {"trade": "", "payer": 0, "payee": 0, "amount": "1", "reason": "none"},
    ("POST", "/v1/admin/corrections"): {
        "trade": "",
        "payer": 0,
        "payee": 0,
        "amount": "1",
        "reason": "none",
        "approval": "",
    },
    ("POST", "/v1/admin/keys"): {"account": 999_999, "scopes": ["read"]},
    ("POST", "/v1/admin/payouts/{n}"): {"state": "sent", "provider": ""},
    ("PATCH", "/v1/admin/accounts/{n}"): {"role": "member"},
}
"""Bodies that decode, and ask for nothing that could be done."""
QUERIES = {("DELETE", "/v1/orders"): "?class=none"}
"""The same of queries."""


# --- Logs ----------------------------------------------------------------------------------------------------


def test_no_log_holds_a_secret(exchange: Exchange, ana: Member) -> None:
    """After good requests, forged ones and bodies that do not decode: no token, secret, signature, body or password is there."""
    forged = {"Authorization": f"Bearer {ana.key.bearer}-and-more"}
    secret_body = b'{"contract":"a body with a secret of its own'
    sent = signature(ana.key, "POST", "/v1/orders", secret_body)
    assert ana.ask("GET", "/v1/account", headers={"Authorization": f"Bearer {ana.key.bearer}"}).is_success
    assert ana.ask("GET", "/v1/account", headers=forged).status_code == 401
    assert ana.ask("POST", "/v1/orders", content=secret_body, headers=sent).status_code == 400
    assert ana.order("x" * 5_000, "buy", 1, "1").status_code == 400
    exchange.settled()

    secrets = {
        "bearer token": ana.key.bearer.partition(".")[2],
        "operator's token": exchange.operator.key.bearer.partition(".")[2],
        "secret": base64.b64encode(ana.key.secret).decode(),
        "secret in hex": ana.key.secret.hex(),
        "signature": sent["Hourbook-Signature"],
        "body": "a body with a secret of its own",
        "long body": "x" * 100,
        "master key": base64.b64encode(exchange.stack.master_key).decode(),
        "master key in hex": exchange.stack.master_key.hex(),
        "database password": urlsplit(exchange.stack.dsn).password or "",
    }
    logs = sorted((exchange.stack.home / "logs").glob("*.log"))
    assert {"gateway.log", "settlement.log", "matching-0a.log"} <= {log.name for log in logs}
    assert "started" in (exchange.stack.home / "logs" / "gateway.log").read_text()
    found = [(log.name, what) for log in logs for what, secret in secrets.items() if secret in log.read_text()]
    assert found == []
