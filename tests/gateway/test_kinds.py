"""Orders that end by a date, in the running hour, amended, and all at once: each kind from the door to the ledger."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.gateway.conftest import Early
from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def stands(member: Member, order: dict[str, Any]) -> tuple[str, str, int, int, int]:
    """An order as it stands: (state, reason, leaves, filled, cancelled)."""
    now = member.get(f"/v1/orders/{order['order_id']}")
    return now["state"], now["reason"], now["leaves"], now["filled"], now["cancelled"]


# --- Until a date --------------------------------------------------------------------------------------------


def test_an_order_with_a_date_ends_by_itself(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    expires = f"{datetime.fromtimestamp(exchange.market_ms() // 1000 + 240, UTC):%Y-%m-%dT%H:%M:%SZ}"
    order = ana.placed(hour, "buy", 2, "3.00", tif="gtd", expires=expires, client_order_id="dated")
    assert (order["tif"], order["expires"], order["state"]) == ("gtd", expires.replace("Z", ".000Z"), "open")
    again = ana.placed(hour, "buy", 2, "3.00", tif="gtd", expires=expires, client_order_id="dated")
    assert (again["order_id"], again["repeated"]) == (order["order_id"], True)
    later = ana.order(hour, "buy", 2, "3.00", tif="gtd", expires="2040-01-01T00:00Z", client_order_id="dated")
    assert later.json()["code"] == "duplicate_client_id", "another date is another order"

    exchange.until(lambda: stands(ana, order)[0] == "cancelled", "its time comes")

    assert stands(ana, order) == ("cancelled", "expired", 0, 0, 2)
    assert ana.get("/v1/balance")["trading"][0]["holds"] == "0.00"


# --- The running hour ----------------------------------------------------------------------------------------


def test_the_rest_of_a_running_hour_is_bought_at_once_and_not_resold(exchange: Exchange, ana: Member) -> None:
    """Bert has a machine that is idle now; Ana pays for the minutes that are left."""
    hour = exchange.running_hour()
    bert = exchange.member(role="provider", usd="0")
    bert.back(hour, 3, ground="ready")
    bert.placed(hour, "sell", 3, "3.00")

    order = ana.placed(hour, "buy", 2, "3.30", tif="ioc")

    (fill,) = order["fills"]
    minutes = fill["minutes"]
    assert 15 < minutes <= 60
    cash = -(-3_000_000 * 2 * minutes // 60)
    assert [fill[name] for name in ("price", "qty", "fee", "counterparty", "block_id")] == [
        "3.00",
        2,
        "0.00",
        "member",
        "",
    ]
    assert fill["notional"] == f"{cash / 1_000_000:.6f}".rstrip("0").ljust(len(f"{cash // 1_000_000}") + 3, "0")
    (held,) = ana.get("/v1/positions")
    assert [held[name] for name in ("contract", "phase", "held", "running", "owed")] == [hour, "running", 2, 2, 0]
    assert ana.order(hour, "sell", 1, "3.00").json()["code"] == "insufficient_backing"
    assert ana.order(hour, "buy", 1, "2.00").json()["code"] == "wrong_tif", "a bid does not wait in a running hour"
    (ready,) = [each for each in bert.get("/v1/capacity") if each["ground"] == "ready"]
    assert [ready[name] for name in ("contract", "qty", "owed")] == [hour, 3, 2]


def test_an_ask_that_says_so_stays_through_gate_closure(exchange: Exchange, early: Early) -> None:
    """Of two asks the one with `running` stays, as far as it is backed as ready; it may be bought by now."""
    exchange.until(lambda: stands(early.seller, early.goes)[0] == "cancelled", "the gate closes")
    assert (early.stays["running"], early.goes["running"]) == (True, False)
    assert stands(early.seller, early.goes) == ("cancelled", "gate_closed", 0, 0, 2)
    state, reason, *_ = stands(early.seller, early.stays)
    assert (state, reason) in {("open", ""), ("filled", ""), ("cancelled", "running_closed")}


# --- Amend ---------------------------------------------------------------------------------------------------


def test_less_at_the_same_price_keeps_its_place_and_more_does_not(exchange: Exchange, ana: Member) -> None:
    hour, carl = exchange.fresh_hour(), exchange.member()
    first = ana.placed(hour, "buy", 5, "3.00", client_order_id="first")
    second = carl.placed(hour, "buy", 5, "3.00")

    less = ana.ask("PATCH", f"/v1/orders/{first['order_id']}", {"qty": 2, "price": "3.00"})
    more = carl.ask("PATCH", f"/v1/orders/{second['order_id']}", {"qty": 7, "price": "3.00"})

    assert [answer.json() for answer in (less, more)] == [
        {"order_id": first["order_id"], "qty": 2, "price": "3.00", "kept_place": True, "state": "open", "leaves": 2,
         "fills": []},
        {"order_id": second["order_id"], "qty": 7, "price": "3.00", "kept_place": False, "state": "open", "leaves": 7,
         "fills": []},
    ]  # fmt: skip
    assert stands(ana, first) == ("open", "", 2, 0, 3), "what it was made smaller by counts as cancelled"
    assert exchange.seller(hour).placed(hour, "sell", 3, "3.00")["filled"] == 3
    assert (stands(ana, first)[:3], stands(carl, second)[:3]) == (("filled", "", 0), ("open", "", 6))


def test_a_bid_amended_upwards_fetches_what_it_lacks_and_trades(exchange: Exchange) -> None:
    """From 1 GPU to 3 at a price that somebody asks: 6.000002 more are needed, and two are filled at once."""
    ana, hour = exchange.member(usd="50"), exchange.fresh_hour()
    order = ana.placed(hour, "buy", 1, "2.50", client_order_id="grows")
    exchange.seller(hour).placed(hour, "sell", 2, "3.00")

    answer = ana.ask("PATCH", "/v1/orders/client/grows", {"qty": 3, "price": "3.00"}).json()

    assert [answer[name] for name in ("order_id", "qty", "price", "kept_place", "state", "leaves")] == [
        order["order_id"], 3, "3.00", False, "open", 1,
    ]  # fmt: skip
    assert [(fill["qty"], fill["price"], fill["role"]) for fill in answer["fills"]] == [(2, "3.00", "taker")]
    assert ana.money() == ("40.999997", "3.000003", "0.00")
    repeat = ana.order(hour, "buy", 1, "2.50", client_order_id="grows").json()
    assert (repeat["code"], order["order_id"] in repeat["detail"]) == ("duplicate_client_id", True)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"qty": 0, "price": "2.00"}, "wrong_qty"),
        ({"qty": 1, "price": "2.001"}, "wrong_price"),
        ({"qty": 1, "price": "9.00"}, "outside_collar"),
        ({"qty": 1_000, "price": "2.00"}, "insufficient_funds"),
        ({"qty": 1, "price": "2.00", "valid_for_ms": 0}, "wrong_validity"),
        ({"qty": 1, "price": "2"}, ""),
        ({"qty": 1, "price": "2.00", "tif": "ioc"}, "malformed"),
    ],
)
def test_an_amend_with_a_mistake_changes_nothing(exchange: Exchange, body: dict[str, Any], code: str) -> None:
    ana = exchange.member(usd="20")
    order = ana.placed(exchange.fresh_hour(), "buy", 2, "2.00")
    answer = ana.ask("PATCH", f"/v1/orders/{order['order_id']}", body)
    assert answer.json().get("code", "") == code, answer.text
    assert stands(ana, order) == ("open", "", 2, 0, 0) if code else ("open", "", 1, 0, 1)


def test_what_is_not_there_cannot_be_amended(exchange: Exchange, ana: Member) -> None:
    """Somebody else's order, an invented one, an unknown client id: one answer."""
    order = exchange.member().placed(exchange.fresh_hour(), "buy", 1, "2.00", client_order_id="theirs")
    for path in (order["order_id"], "0-999999-0-0", "77-1-0-0", "client/theirs"):
        answer = ana.ask("PATCH", f"/v1/orders/{path}", {"qty": 1, "price": "2.00"})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_order"), path


# --- All at once ---------------------------------------------------------------------------------------------


def test_a_mass_cancel_takes_what_matches_and_nothing_else(exchange: Exchange, ana: Member) -> None:
    """By class, hour and side, each narrower than the one before; without any, everything in every shard."""
    one, two, other = exchange.fresh_hour(), exchange.fresh_hour(), exchange.fresh_hour(L40S)
    bert = exchange.seller(one)
    theirs = bert.placed(one, "sell", 1, "6.00")
    orders = {
        "bid one": ana.placed(one, "buy", 1, "2.00"),
        "bid two": ana.placed(two, "buy", 1, "2.00"),
        "bid other": ana.placed(other, "buy", 1, "0.90"),
        "block two": ana.ask(
            "POST",
            "/v1/blocks",
            {"class": H100, "from": begin(two), "hours": 1, "side": "buy", "qty": 1, "price": "2.00"},
        ).json(),
    }

    def left() -> set[str]:
        open_orders = {order["order_id"] for order in ana.get("/v1/orders?state=open")}
        open_orders |= {block["block_id"] for block in ana.get("/v1/blocks?state=open")}
        return {name for name, order in orders.items() if order.get("order_id", order.get("block_id")) in open_orders}

    def cancel(query: str) -> int:
        answer = ana.ask("DELETE", f"/v1/orders{query}")
        assert answer.status_code == 200, answer.text
        return int(answer.json()["cancelled"])

    assert left() == set(orders)
    assert (cancel(f"?class={H100}&side=sell"), left()) == (0, set(orders))
    assert (cancel(f"?class={H100}&hour={begin(two)}&side=buy"), left()) == (2, {"bid one", "bid other"})
    assert (cancel(f"?class={L40S}"), left()) == (1, {"bid one"})
    ana.placed(other, "buy", 1, "0.90")
    assert (cancel(""), ana.get("/v1/orders?state=open")) == (2, [])
    assert {order["reason"] for order in ana.get("/v1/orders")} == {"mass"}
    assert stands(bert, theirs)[0] == "open"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?class=H101", "unknown_class"),
        ("?hour=tomorrow", "wrong_time"),
        ("?side=both", "malformed"),
        ("?class=", "malformed"),
        (f"?clas={H100}", "malformed"),
        ("/", "not_found"),
        ("/%2F", "not_found"),
        ("/client/", "not_found"),
    ],
)
def test_a_mass_cancel_with_a_mistake_cancels_nothing(exchange: Exchange, ana: Member, query: str, code: str) -> None:
    """Nor does a cancel whose id got lost on its way into the path."""
    order = ana.placed(exchange.fresh_hour(), "buy", 1, "2.00")
    assert ana.ask("DELETE", f"/v1/orders{query}").json()["code"] == code
    assert stands(ana, order)[0] == "open"


def test_a_switch_that_is_not_renewed_cancels_everything(exchange: Exchange, ana: Member) -> None:
    """Renewed it waits on; then Ana falls silent, and both shards let go of her orders."""
    orders = [
        ana.placed(exchange.fresh_hour(), "buy", 1, "2.00"),
        ana.placed(exchange.fresh_hour(L40S), "buy", 1, "0.90"),
    ]
    assert ana.ask("PUT", "/v1/cancel-all-after", {"after_seconds": 86_400}).status_code == 200
    assert ana.ask("PUT", "/v1/cancel-all-after", {"after_seconds": 0}).json() == {"at": ""}
    before_ms = exchange.market_ms()
    answer = ana.ask("PUT", "/v1/cancel-all-after", {"after_seconds": 2}).json()
    assert datetime.fromisoformat(answer["at"]).timestamp() * 1000 > before_ms
    time.sleep(0.5)
    assert [stands(ana, order)[0] for order in orders] == ["open", "open"]

    exchange.until(lambda: all(stands(ana, order)[0] == "cancelled" for order in orders), "the switch falls")

    assert [stands(ana, order)[1] for order in orders] == ["dead_man", "dead_man"]


def test_a_switch_of_a_class_is_that_of_its_shard_and_of_no_other(exchange: Exchange, ana: Member) -> None:
    here, there = (
        ana.placed(exchange.fresh_hour(L40S), "buy", 1, "0.90"),
        ana.placed(exchange.fresh_hour(), "buy", 1, "2.00"),
    )
    assert ana.ask("PUT", f"/v1/cancel-all-after?class={L40S}", {"after_seconds": 1}).status_code == 200

    exchange.until(lambda: stands(ana, here)[1] == "dead_man", "the switch falls")

    assert stands(ana, there)[0] == "open"


@pytest.mark.parametrize(
    ("query", "code"), [("?class=H101", "unknown_class"), (f"?clas={L40S}", "malformed"), ("?class=", "malformed")]
)
def test_a_switch_of_something_unknown_is_not_set_everywhere(ana: Member, query: str, code: str) -> None:
    answer = ana.ask("PUT", f"/v1/cancel-all-after{query}", {"after_seconds": 1})
    assert answer.json()["code"] == code


@pytest.mark.parametrize("seconds", [-1, 86_401])
def test_a_switch_out_of_its_bounds_is_refused(ana: Member, seconds: int) -> None:
    answer = ana.ask("PUT", "/v1/cancel-all-after", {"after_seconds": seconds})
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_expiry")
    assert "1 to 86400" in answer.json()["detail"]
