"""The same request again: one effect, the first outcome, however often, wherever and however late it is sent."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member

pytestmark = pytest.mark.postgres
OF_THE_MOMENT = ("repeated", "fills", "state", "reason", "leaves", "filled", "cancelled")


def count(exchange: Exchange, member: Member, client_id: str) -> int:
    """How many orders stand in the books of settlement under this client order id."""
    exchange.settled()
    query = "SELECT count(*) FROM settlement.orders WHERE account = $1 AND client_id = $2"
    (row,) = exchange.rows(query, member.account, client_id)
    number: int = row["count"]
    return number


def identity(order: dict[str, Any]) -> dict[str, Any]:
    """What never changes of an order."""
    return {name: value for name, value in order.items() if name not in OF_THE_MOMENT}


def test_an_order_sent_again_is_the_same_order_in_every_state_of_its_life(exchange: Exchange, ana: Member) -> None:
    """Open, half filled, filled: each time the first order, as it stands by then."""
    hour = exchange.fresh_hour()
    bert = exchange.seller(hour)
    body = {"contract": hour, "side": "buy", "qty": 4, "price": "3.00", "client_order_id": "mine"}
    first = ana.ask("POST", "/v1/orders", body).json()
    seen = []
    for sold in (0, 1, 3):
        if sold:
            bert.placed(hour, "sell", sold, "3.00")
        again = ana.ask("POST", "/v1/orders", body)
        assert again.status_code == 201
        assert identity(again.json()) == identity(first)
        seen.append([again.json()[name] for name in ("repeated", "state", "leaves", "filled", "cancelled", "reason")])

    assert seen == [[True, "open", 4, 0, 0, ""], [True, "open", 3, 1, 0, ""], [True, "filled", 0, 4, 0, ""]]
    assert count(exchange, ana, "mine") == 1


def test_a_cancelled_order_is_not_placed_again(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    first = ana.placed(hour, "buy", 2, "3.00", client_order_id="mine")
    assert ana.ask("DELETE", f"/v1/orders/{first['order_id']}").json() == {
        "order_id": first["order_id"], "contract": hour, "cancelled": 2, "orders": 1,
    }  # fmt: skip
    again = ana.placed(hour, "buy", 2, "3.00", client_order_id="mine")
    assert identity(again) == identity(first)
    assert (again["repeated"], again["state"], again["reason"], again["cancelled"]) == (True, "cancelled", "asked", 2)
    assert count(exchange, ana, "mine") == 1


def test_a_refusal_does_not_use_up_the_id(exchange: Exchange, ana: Member) -> None:
    """Off the tick, then mended: the second is an order, and the first one."""
    hour = exchange.fresh_hour()
    assert ana.order(hour, "buy", 1, "3.001", client_order_id="mine").json()["code"] == "wrong_price"
    assert ana.placed(hour, "buy", 1, "3.00", client_order_id="mine")["repeated"] is False
    assert count(exchange, ana, "mine") == 1


def test_an_id_is_the_accounts_own(exchange: Exchange, ana: Member) -> None:
    """Two members may use the same one; nobody learns of the other's."""
    hour, carl = exchange.fresh_hour(), exchange.member()
    orders = [member.placed(hour, "buy", 1, "3.00", client_order_id="mine") for member in (ana, carl)]
    assert [order["repeated"] for order in orders] == [False, False]
    assert orders[0]["order_id"] != orders[1]["order_id"]


@pytest.mark.parametrize(
    "client_id", ["a/b//c", "what?", "50%", "#1", "a&b=c", "~!@$^*()_+", "..", "a/", '"{}"', "x" * 36]
)
def test_any_printable_id_finds_and_cancels_its_order(exchange: Exchange, ana: Member, client_id: str) -> None:
    """Percent-encoded in the path, which is what is signed."""
    hour = exchange.fresh_hour()
    placed = ana.placed(hour, "buy", 1, "3.00", client_order_id=client_id)
    path = "/v1/orders/client/" + "".join(f"%{byte:02X}" for byte in client_id.encode())
    assert ana.get(path)["order_id"] == placed["order_id"]
    assert ana.ask("DELETE", path).json()["order_id"] == placed["order_id"]


# --- Two gateways --------------------------------------------------------------------------------------------


def test_two_gateways_at_once_make_one_order(exchange: Exchange, ana: Member, second: str) -> None:
    """The engine is the judge: one of the two is the first, the other is told of it."""
    hour, there = exchange.fresh_hour(), ana.at(second)
    for number in range(8):
        body = {"contract": hour, "side": "buy", "qty": 1, "price": "3.00", "client_order_id": f"both-{number}"}
        answers = exchange.at_once(
            lambda body=body: ana.ask("POST", "/v1/orders", body),
            lambda body=body: there.ask("POST", "/v1/orders", body),
        )
        assert [answer.status_code for answer in answers] == [201, 201], [answer.text for answer in answers]
        orders = [answer.json() for answer in answers]
        assert orders[0]["order_id"] == orders[1]["order_id"]
        assert sorted(order["repeated"] for order in orders) == [False, True]
        assert count(exchange, ana, f"both-{number}") == 1


def test_two_gateways_at_once_let_one_of_two_bodies_have_the_id(exchange: Exchange, ana: Member, second: str) -> None:
    hour, there = exchange.fresh_hour(), ana.at(second)
    answers = exchange.at_once(
        lambda: ana.order(hour, "buy", 1, "3.00", client_order_id="split"),
        lambda: there.order(hour, "buy", 2, "3.00", client_order_id="split"),
    )
    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert (won.status_code, lost.status_code, lost.json()["code"]) == (201, 409, "duplicate_client_id")
    assert won.json()["order_id"] in lost.json()["detail"]
    assert count(exchange, ana, "split") == 1


def test_what_one_gateway_acknowledged_the_other_shows(exchange: Exchange, ana: Member, second: str) -> None:
    """The headers of the log tell every gateway whom a record concerns."""
    hour, there = exchange.fresh_hour(), ana.at(second)
    placed = ana.placed(hour, "buy", 1, "3.00")
    exchange.until(lambda: there.ask("GET", f"/v1/orders/{placed['order_id']}").is_success, "the other has read it", 2)
    assert there.ask("DELETE", f"/v1/orders/{placed['order_id']}").is_success
    exchange.until(
        lambda: ana.get(f"/v1/orders/{placed['order_id']}")["state"] == "cancelled", "and the first as well", 2
    )


# --- Idempotency-Key -----------------------------------------------------------------------------------------


def test_a_withdrawal_sent_again_is_one_payout(exchange: Exchange, ana: Member) -> None:
    """Eight times at once, and once more later: one payout, one answer."""
    body, key = {"amount": "10", "destination": "simulated:ana"}, uuid.uuid4().hex
    ask = lambda: ana.ask("POST", "/v1/withdrawals", body, headers={"Idempotency-Key": key})  # noqa: E731 # the same nine times
    answers = [*exchange.at_once(*[ask] * 8), ask()]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert [payout["amount"] for payout in ana.get("/v1/withdrawals")] == ["10.00"]
    assert ana.get("/v1/balance")["wallet"] == "990.00"
    for name in (key, f"{ana.account}:{key}"):
        assert ana.get(f"/v1/requests/{name}") == answers[0].json()


OUT = {"amount": "1", "destination": "simulated:a"}
IN = {"direction": "to_trading", "amount": "1", "shard": 0}


@pytest.mark.parametrize(
    ("path", "body", "changes"),
    [
        ("/v1/withdrawals", OUT, {"amount": "2"}),
        ("/v1/withdrawals", OUT, {"destination": "simulated:b"}),
        ("/v1/transfers", IN, {"amount": "2"}),
        ("/v1/transfers", IN, {"shard": 1}),
        ("/v1/transfers", IN, {"direction": "to_wallet"}),
    ],
)
def test_a_key_stands_for_one_body(ana: Member, path: str, body: dict[str, object], changes: dict[str, object]) -> None:
    """Another body under it is refused, and nothing happens."""
    ana.done("POST", path, body, key="once")
    ana.paid_out()
    before = ana.state()
    refused = ana.ask("POST", path, body | changes, headers={"Idempotency-Key": "once"})
    assert (refused.status_code, refused.json()["code"]) == (409, "request_reused")
    assert ana.state() == before


def test_a_key_stands_for_one_kind_of_request(ana: Member) -> None:
    ana.done("POST", "/v1/withdrawals", OUT, key="once")
    refused = ana.ask("POST", "/v1/transfers", IN, headers={"Idempotency-Key": "once"})
    assert (refused.status_code, refused.json()["code"]) == (409, "request_reused")


def test_a_key_is_the_accounts_own(exchange: Exchange, ana: Member) -> None:
    carl = exchange.member()
    payouts = [member.done("POST", "/v1/withdrawals", OUT, key="once")["payout"] for member in (ana, carl)]
    assert payouts[0] != payouts[1]


def test_a_refusal_is_repeated_under_its_key_and_says_why(exchange: Exchange) -> None:
    """Money that comes later does not turn an old answer into another one; a new key does."""
    poor = exchange.member(usd="1")
    body, key = {"amount": "5", "destination": "simulated:a"}, {"Idempotency-Key": "too early"}
    refusals = [poor.ask("POST", "/v1/withdrawals", body, headers=key).json()]
    deposit = {"account": poor.account, "amount": "9", "provider": "simulated-faucet", "provider_ref": uuid.uuid4().hex}
    exchange.operator.done("POST", "/v1/admin/deposits", deposit)
    refusals.append(poor.ask("POST", "/v1/withdrawals", body, headers=key).json())
    assert [(each["code"], each["need"], each["have"]) for each in refusals] == [
        ("insufficient_funds", "5.00", "1.00")
    ] * 2
    assert poor.get("/v1/requests/too%20early") == {
        "request_id": f"{poor.account}:too early",
        "state": "refused",
        "outcome": {
            "code": "insufficient_funds", "need": "5.00", "have": "1.00",
            "detail": "needs 5.00 USD, 1.00 USD there: deposit, or ask for less",
        },
    }  # fmt: skip
    assert poor.done("POST", "/v1/withdrawals", body, key="now")["payout"] > 0


def test_the_same_capacity_again_changes_nothing(exchange: Exchange) -> None:
    """An absolute target with a version: also under a new key."""
    hour = exchange.fresh_hour()
    bert = exchange.seller(hour, 5)
    before = bert.state()
    bert.back(hour, 5)
    assert bert.state() == before
    assert bert.get("/v1/capacity") == [
        {
            "contract": hour,
            "ground": "declared",
            "qty": 5,
            "owed": 0,
            "collateral_price": "0.00",
            "version": 1,
            "asked": 0,
        }
    ]


def test_operators_repeat_safely_too(exchange: Exchange) -> None:
    """An account is opened once under its key, a class is listed once for ever."""
    body = {"name": "dora", "role": "member"}
    opened = [exchange.operator.done("POST", "/v1/admin/accounts", body, key="dora's account") for _ in range(2)]
    assert opened[0] == opened[1]
    listed = exchange.rows("SELECT class_id, specification FROM settlement.classes ORDER BY class_no")
    assert [row["class_id"] for row in listed] == list(CLASSES)
    for shard, row in enumerate(listed):
        exchange.operator.done("POST", "/v1/admin/classes", {"shard": shard, "specification": row["specification"]})
    assert exchange.rows("SELECT class_id, specification FROM settlement.classes ORDER BY class_no") == listed
