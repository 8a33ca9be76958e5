"""What the door shows of the market: a trade from every side, each answer in its declared form, and HTTP's own manners."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from schemas import feeds, http
from schemas.specifications import published
from tests.gateway.exchange import CLASSES, RATE, Exchange, Member, milliseconds

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def test_a_trade_is_told_to_each_side_and_without_names_to_all(exchange: Exchange, ana: Member) -> None:
    """Ana buys 5 at up to 3.10: 2 from Bert at 3.00, 2 from the desk at 3.05, and bids for the rest."""
    hour = exchange.fresh_hour()
    bert, desk = exchange.seller(hour, 2), exchange.seller(hour, 2, desk=True)
    asks = [bert.placed(hour, "sell", 2, "3.00"), desk.placed(hour, "sell", 2, "3.05")]

    order = ana.placed(hour, "buy", 5, "3.10", client_order_id="five")

    assert without(order, "order_id", "accepted_at", "fills") == {
        "client_order_id": "five", "contract": hour, "side": "buy", "qty": 5, "price": "3.10", "tif": "gtc", "expires": "",
        "post_only": False, "running": False, "state": "open", "reason": "", "leaves": 1, "filled": 4, "cancelled": 0,
        "repeated": False,
    }  # fmt: skip
    taken = {
        "contract": hour,
        "order_id": order["order_id"],
        "block_id": "",
        "side": "buy",
        "role": "taker",
        "qty": 2,
        "minutes": 60,
        "fee": "0.00",
    }
    assert [without(fill, "trade", "at") for fill in order["fills"]] == [
        taken | {"price": "3.00", "notional": "6.00", "counterparty": "member"},
        taken | {"price": "3.05", "notional": "6.10", "counterparty": "desk"},
    ]
    assert list(reversed(ana.get("/v1/fills"))) == order["fills"], "the same trades, newest first"
    given = {
        "contract": hour,
        "block_id": "",
        "side": "sell",
        "role": "maker",
        "qty": 2,
        "minutes": 60,
        "counterparty": "member",
    }
    for seller, ask, price, notional, fee in (
        (bert, asks[0], "3.00", "6.00", "0.03"), (desk, asks[1], "3.05", "6.10", "0.0305")
    ):  # fmt: skip
        assert [without(fill, "trade", "at") for fill in seller.get("/v1/fills")] == [
            given | {"order_id": ask["order_id"], "price": price, "notional": notional, "fee": fee}
        ]
    position = {
        "contract": hour,
        "phase": "forward",
        "held": 0,
        "owed": 0,
        "cost": "0.00",
        "proceeds": "0.00",
        "running": 0,
    }
    assert [without(each, "hour") for each in ana.get("/v1/positions")] == [position | {"held": 4, "cost": "12.10"}]
    assert [without(each, "hour") for each in bert.get("/v1/positions")] == [position | {"owed": 2, "proceeds": "5.97"}]
    assert [without(trade, "trade", "at") for trade in ana.get(f"/v1/trades?contract={hour}")] == [
        {"contract": hour, "price": "3.05", "qty": 2, "maker_side": "sell"},
        {"contract": hour, "price": "3.00", "qty": 2, "maker_side": "sell"},
    ]
    assert ana.book(hour) == {"bids": [["3.10", 1]], "asks": []}
    (best,) = [each for each in ana.get(f"/v1/classes/{H100}/grid")["rows"] if each["contract"] == hour]
    shown = [best[name] for name in ("bid", "bid_qty", "ask", "ask_qty", "last", "phase", "state")]
    assert shown == ["3.10", 1, "", 0, "3.05", "forward", "open"]


def test_a_book_is_added_up_by_price_and_cut_where_it_is_asked_to_be(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    bert = exchange.seller(hour)
    for qty, price in ((1, "2.00"), (2, "2.10"), (3, "2.10"), (4, "1.90")):
        ana.placed(hour, "buy", qty, price)
    for qty, price in ((5, "3.10"), (6, "3.00")):
        bert.placed(hour, "sell", qty, price)
    bids, asks = [["2.10", 5], ["2.00", 1], ["1.90", 4]], [["3.00", 6], ["3.10", 5]]
    assert ana.book(hour) == {"bids": bids, "asks": asks}
    assert ana.book(hour, "?depth=1") == {"bids": bids[:1], "asks": asks[:1]}


def test_orders_are_listed_by_state_and_contract(exchange: Exchange, ana: Member) -> None:
    hours = [exchange.fresh_hour(), exchange.fresh_hour(L40S)]
    first = ana.placed(hours[0], "buy", 1, "2.00")["order_id"]
    second = ana.placed(hours[1], "buy", 1, "0.90")["order_id"]
    gone = ana.placed(hours[0], "buy", 1, "2.00", tif="ioc")["order_id"]

    def listed(query: str = "") -> list[str]:
        return [order["order_id"] for order in ana.get(f"/v1/orders{query}")]

    assert listed() == [gone, second, first]
    assert listed("?state=open") == [second, first]
    assert listed("?state=cancelled") == [gone]
    assert listed("?state=filled") == []
    assert listed(f"?contract={hours[0]}") == [gone, first]
    assert listed(f"?state=open&contract={hours[0]}&limit=1") == [first]


def test_a_class_that_is_halted_says_so_everywhere_and_takes_only_cancels(exchange: Exchange, ana: Member) -> None:
    """And opens again step by step: cancels only for a minute, then half a minute post-only."""
    hour = exchange.fresh_hour(L40S)
    order = ana.placed(hour, "buy", 1, "0.90")

    def shown() -> list[str]:
        classes = [each for each in ana.get("/v1/classes") if each["class"] == L40S]
        hours = [each for each in ana.get(f"/v1/contracts?class={L40S}") if each["contract"] == hour]
        return [each["state"] for each in (*classes, ana.get(f"/v1/classes/{L40S}"), *hours)]

    def put(state: str, then: str) -> None:
        answer = exchange.operator.ask("POST", "/v1/admin/states", {"class": L40S, "state": state, "reason": "a test"})
        assert (answer.status_code, answer.json()) == (200, {"class": L40S, "hour": "", "state": then})
        exchange.settled()

    put("halted", "halted")
    try:
        assert shown() == ["halted"] * 3
        assert ana.order(hour, "buy", 1, "0.90").json()["code"] == "halted"
        assert ana.ask("DELETE", f"/v1/orders/{order['order_id']}").is_success
    finally:
        put("open", "cancel_only")
    seen = list[str]()
    while "open" not in seen:
        now, *others = set(shown())
        seen += [now] if not others and now not in seen else []
    assert seen == [state for state in ("cancel_only", "post_only", "open") if state in seen]
    assert ana.placed(hour, "buy", 1, "0.90")["state"] == "open"


def test_a_class_shows_its_terms_and_its_published_specification(ana: Member) -> None:
    shown = ana.get(f"/v1/classes/{H100}")
    assert shown.pop("specification") == published()[H100].decode()
    assert shown == {
        "class": H100, "title": "One NVIDIA H100 SXM 80 GB, United States", "shard": 0, "lot": 1, "tick": "0.005",
        "list_price": "3.30", "reference": "3.30", "collar_low": "1.65", "collar_high": "6.60",
        "buyer_maker_bp": 0, "buyer_taker_bp": 0,
        "seller_maker_bp": 50, "seller_taker_bp": 50, "horizon_hours": 168, "gate_minutes": 5, "cover_minutes": 30,
        "state": "open",
    }  # fmt: skip
    listed = ana.get("/v1/classes")
    assert [each["class"] for each in listed] == list(CLASSES)
    assert [each["specification"] for each in listed] == ["", ""]


def test_an_account_says_who_it_is_to_each_of_its_keys(exchange: Exchange) -> None:
    opened = exchange.operator.done("POST", "/v1/admin/accounts", {"name": "erin", "role": "member"})
    key = exchange.key(opened["account"], "read")
    erin = Member(exchange, opened["account"], key)
    told = {
        "account": opened["account"],
        "owner": opened["owner"],
        "name": "erin",
        "role": "member",
        "scopes": ["read"],
    }
    assert erin.get("/v1/account") == told
    outcome = exchange.operator.done("PATCH", f"/v1/admin/accounts/{opened['account']}", {"role": "provider"})
    assert outcome == {"account": opened["account"], "role": 1}
    assert erin.get("/v1/account") == told | {"role": "provider"}


READS: list[tuple[str, Any]] = [
    ("/v1/time", http.TimeAnswer),
    ("/v1/status", http.StatusAnswer),
    ("/v1/classes", list[http.ClassAnswer]),
    (f"/v1/classes/{H100}", http.ClassAnswer),
    (f"/v1/contracts?class={H100}", list[http.ContractAnswer]),
    ("/v1/market", feeds.MarketStatus),
    ("/v1/market/{hour}/book", feeds.MarketBook),
    (f"/v1/classes/{H100}/grid", feeds.Grid),
    (f"/v1/classes/{H100}/blocks", feeds.BlockBook),
    ("/v1/corrections", list[http.CorrectionAnswer]),
    ("/v1/blocks", list[http.BlockAnswer]),
    ("/v1/quotes", list[http.QuotedAnswer]),
    ("/v1/trades?contract={hour}", list[http.TradeAnswer]),
    ("/v1/supply", http.SupplyAnswer),
    ("/v1/volume", http.VolumeAnswer),
    ("/v1/orders", list[http.OrderAnswer]),
    ("/v1/account", http.AccountAnswer),
    ("/v1/fills", list[http.FillAnswer]),
    ("/v1/positions", list[http.PositionAnswer]),
    ("/v1/balance", http.BalanceAnswer),
    ("/v1/ledger", list[http.LineAnswer]),
    ("/v1/capacity", list[http.CapacityAnswer]),
    ("/v1/withdrawals", list[http.WithdrawalAnswer]),
    ("/v1/keys", list[http.KeyAnswer]),
]


@pytest.fixture(scope="module")
def provider(exchange: Exchange) -> tuple[Member, str]:
    """Somebody who has one of everything that can be read."""
    hour, buyer = exchange.fresh_hour(), exchange.member()
    seller = exchange.member(role="provider")
    seller.back(hour, 5)
    seller.placed(hour, "sell", 2, "3.00")
    buyer.placed(hour, "buy", 1, "3.00")
    seller.done("POST", "/v1/withdrawals", {"amount": "1", "destination": "simulated:bert"})
    exchange.settled()
    return seller, hour


@pytest.mark.parametrize(("path", "kind"), READS, ids=[path for path, _ in READS])
def test_each_answer_has_its_declared_form(provider: tuple[Member, str], path: str, kind: Any) -> None:
    """It decodes as the struct of schemas/http.py, field for field, and has no field besides."""
    seller, hour = provider
    answer = seller.ask("GET", path.replace("{hour}", hour))
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document or path in {"/v1/supply", "/v1/corrections", "/v1/blocks", "/v1/quotes"}
    assert json.loads(msgspec.json.encode(msgspec.json.decode(answer.content, type=kind))) == document


@pytest.mark.parametrize("class_id", ["h100", "true", "H100..US", "%20"])
def test_what_is_no_class_has_no_supply(ana: Member, class_id: str) -> None:
    """An empty answer would say that no cloud lists it."""
    answer = ana.ask("GET", f"/v1/supply?class={class_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_class")


@pytest.mark.parametrize(
    ("shard", "version", "code"),
    [(-1, 2, "malformed"), (-1_409, 2, "malformed"), (2, 2, "malformed"), (2**62, 2, "malformed"),
     (0, -1, "wrong_version"), (0, 2**62, "wrong_version")],
)  # fmt: skip
def test_an_engine_version_is_one_that_there_is_for_a_shard_that_there_is(
    exchange: Exchange, shard: int, version: int, code: str
) -> None:
    """The shard before the first would be the last."""
    answer = exchange.operator.ask("POST", "/v1/admin/engine-version", {"shard": shard, "version": version})
    assert answer.json()["code"] == code, answer.text


@pytest.mark.parametrize("account", [0, 1])
def test_no_key_is_issued_to_an_owner_that_there_cannot_be(exchange: Exchange, account: int) -> None:
    body = {"account": account, "owner": -1, "scopes": ["operator"]}
    answer = exchange.operator.ask("POST", "/v1/admin/keys", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_the_clock_of_a_sandbox_runs_at_its_rate(ana: Member) -> None:
    first, then = (ana.get("/v1/time") for _ in range(2))
    assert first["rate"] == RATE
    assert ana.get("/v1/status")["sandbox"] is True
    wall_ms, market_ms = (milliseconds(then[name]) - milliseconds(first[name]) for name in ("now", "market"))
    assert market_ms == RATE * wall_ms


# --- HTTP ----------------------------------------------------------------------------------------------------


def test_the_openapi_document_declares_every_body(exchange: Exchange) -> None:
    """Whoever generates a client from it sends what the door takes."""
    answer = exchange.http.get(f"{exchange.url}/v1/openapi/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.")
    schemas = document["components"]["schemas"]
    (order,) = [schema for name, schema in schemas.items() if name.endswith("OrderRequest")]
    assert sorted(order["properties"]) == sorted(http.OrderRequest.__struct_fields__)
    assert sorted(order["required"]) == ["contract", "price", "qty", "side"]
    routes = [(method, it) for methods in document["paths"].values() for method, it in methods.items()]
    bare = [it["operationId"] for method, it in routes if ("requestBody" in it) != (method in {"post", "put", "patch"})]
    assert bare == ["post_feed_token"], "of all that is asked for, a token alone says nothing more than who asks"
    page = exchange.http.get(f"{exchange.url}/v1/openapi")
    assert page.json() == document, "a page for it would fetch scripts from strangers"


def test_a_method_that_is_not_taken_is_told_which_are(ana: Member) -> None:
    answer = ana.ask("PATCH", "/v1/orders", {})
    assert answer.status_code == 405
    assert {"GET", "POST"} <= {method.strip() for method in answer.headers["allow"].split(",")}


def test_whoever_is_not_known_is_told_how_to_say_it(exchange: Exchange) -> None:
    answer = exchange.http.get(f"{exchange.url}/v1/balance")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_limits_are_told_on_every_answer(exchange: Exchange, ana: Member) -> None:
    """The policy to all, and what is left of it to whoever is known, also on a refusal."""
    policy = '"key";q=400;w=2'
    public = exchange.http.get(f"{exchange.url}/v1/time")
    assert (public.headers["ratelimit-policy"], "ratelimit" in public.headers) == (policy, False)
    left = []
    for path in ("/v1/account", "/v1/orders/none"):
        answer = ana.ask("GET", path)
        assert answer.headers["ratelimit-policy"] == policy
        match = re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
        assert match is not None
        left.append(int(match[1]))
        assert 0 < int(match[2]) <= 2
    assert all(390 <= number < 400 for number in left)
