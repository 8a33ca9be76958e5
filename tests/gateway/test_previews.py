"""Previews against the exchange itself: what is foretold is what then happens, and asking changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def foretold(member: Member, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """A preview, once market data has seen what has happened; asking changed nothing."""
    member.exchange.shown()
    before = member.state()
    answer = member.ask("POST", f"/v1/{what}/preview", body)
    assert answer.status_code == 200, answer.text
    assert member.state() == before
    told: dict[str, Any] = answer.json()
    return told


def code(told: dict[str, Any]) -> str:
    return str((told["refusal"] or {"code": ""})["code"])


def test_a_bid_is_foretold_to_the_micro(exchange: Exchange, ana: Member) -> None:
    """Two of five at 3.00, one at 3.05, two wait; then it is placed."""
    hour = exchange.fresh_hour()
    seller = exchange.seller(hour)
    for qty, price in ((2, "3.00"), (1, "3.05"), (9, "3.20")):
        seller.placed(hour, "sell", qty, price)
    body = {"contract": hour, "side": "buy", "qty": 5, "price": "3.10"}

    told = foretold(ana, "orders", body)

    assert told == {
        "contract": hour, "fills": 3, "minutes": 60, "average": "3.016667", "notional": "9.05", "fee": "0.00",
        "total": "9.05", "rests": 2, "hold": "6.200002", "refusal": None, "notes": [],
        "levels": [{"price": "3.00", "qty": 2, "notional": "6.00"}, {"price": "3.05", "qty": 1, "notional": "3.05"}],
        "funds": {"needs": "15.500005", "available": "0.00", "wallet": "1000.00", "transfer": "15.500005"},
    }  # fmt: skip
    placed = ana.placed(**{**body, "price": "3.10"})
    assert (placed["filled"], placed["leaves"]) == (3, 2)
    assert ana.money()[0] == "984.499995"
    assert ana.get("/v1/balance")["trading"][0]["holds"] == "6.200002"


def test_a_sale_says_what_is_left_after_fees(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    ana.placed(hour, "buy", 4, "2.00")
    bert = exchange.seller(hour, 3)
    told = foretold(bert, "orders", {"contract": hour, "side": "sell", "qty": 3, "price": "2.00"})
    assert [told[name] for name in ("fills", "notional", "fee", "total", "funds", "refusal")] == [
        3, "6.00", "0.03", "5.97", None, None,
    ]  # fmt: skip
    more = foretold(bert, "orders", {"contract": hour, "side": "sell", "qty": 4, "price": "2.00"})
    assert [more["refusal"][name] for name in ("code", "need", "have")] == ["insufficient_backing", 4, 3]
    own = foretold(ana, "orders", {"contract": hour, "side": "sell", "qty": 1, "price": "2.00"})
    assert own["notes"] == ["orders of yours stand in the way: self_trade says which of the two is cancelled"]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"contract": f"{H100}.20401122T14-USD"}, "unknown_contract"),
    ({"price": "2.001"}, "wrong_price"),
    ({"price": "6.605"}, "outside_collar"),
    ({"price": "1.645"}, "outside_collar"),
    ({"qty": 1_000_001}, "wrong_qty"),
    ({"qty": 1_000}, "insufficient_funds"),
    ({"side": "sell"}, "insufficient_backing"),
    ({"post_only": True, "price": "3.00"}, "would_trade"),
    ({"tif": "fok"}, "cannot_fill"),
    ({"tif": "gtd", "expires": "2016-11-22T14:00Z"}, "wrong_expiry"),
    ({"running": True}, "wrong_flags"),
    ({"post_only": True, "tif": "ioc"}, "wrong_flags"),
]


@pytest.fixture(scope="module")
def offered(exchange: Exchange) -> str:
    """An hour in which one GPU is to be had at 3.00."""
    hour = exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 1, "3.00")
    exchange.shown()
    return hour


@pytest.mark.parametrize(("changes", "refused"), REFUSALS, ids=[f"{row[1]} {list(row[0])}" for row in REFUSALS])
def test_a_refusal_that_is_certain_is_the_one_that_comes(
    offered: str, ana: Member, changes: dict[str, Any], refused: str
) -> None:
    """The same code and the same sentence, from the preview and from the engine."""
    body = {"contract": offered, "side": "buy", "qty": 1, "price": "2.00", **changes}
    told = ana.ask("POST", "/v1/orders/preview", body).json()
    really = ana.ask("POST", "/v1/orders", body).json()
    assert code(told) == really["code"] == refused
    names = ("title", "retryable", *(["detail"] if refused not in {"insufficient_funds", "wrong_expiry"} else []))
    assert [told["refusal"][name] for name in names] == [really[name] for name in names]


def test_a_range_is_foretold_hour_by_hour_and_in_all(exchange: Exchange) -> None:
    ana, hours = exchange.member(usd="10"), [*exchange.fresh_hours(3), f"{H100}.20401122T14-USD"]
    for hour, price in zip(hours[:2], ("2.80", "2.90"), strict=True):
        exchange.seller(hour).placed(hour, "sell", 1, price)
    body = {"class": H100, "hours": [begin(hour) for hour in hours], "side": "buy", "qty": 1, "price": "3.00"}

    told = foretold(ana, "ranges", body)

    assert [(leg["contract"], leg["fills"], leg["rests"], code(leg)) for leg in told["legs"]] == [
        (hours[0], 1, 0, ""), (hours[1], 1, 0, ""), (hours[2], 0, 1, ""), (hours[3], 0, 0, "unknown_contract"),
    ]  # fmt: skip
    assert [told[name] for name in ("fills", "average", "total", "worst", "rests", "refusal")] == [
        2, "2.85", "5.70", hours[1], 1, None,
    ]  # fmt: skip
    assert told["funds"] == {"needs": "9.000003", "available": "0.00", "wallet": "10.00", "transfer": "9.000003"}
    dearer = foretold(ana, "ranges", {**body, "qty": 2})
    assert [dearer["refusal"][name] for name in ("code", "need", "have")] == [
        "insufficient_funds",
        "18.000006",
        "10.00",
    ]


def test_a_block_is_foretold_with_an_estimate_of_its_handovers(exchange: Exchange, ana: Member) -> None:
    """The first hour is one seller's, the other two another's at one price: probably one hand-over, at most two."""
    hours = exchange.fresh_hours(3)
    bert, carl = exchange.seller(hours[0]), exchange.seller(hours[1], hours=2)
    bert.placed(hours[0], "sell", 2, "2.80")
    for hour in hours[1:]:
        carl.placed(hour, "sell", 2, "3.20")
    body = {"class": H100, "from": begin(hours[0]), "hours": 3, "side": "buy", "qty": 2, "price": "3.07"}

    told = foretold(ana, "blocks", body)

    handovers = told.pop("handovers")
    assert {name: handovers[name] for name in ("least", "most", "likely", "estimate")} == {
        "least": 0, "most": 2, "likely": 1, "estimate": True,
    }  # fmt: skip
    assert "do not say whose" in handovers["basis"]
    assert told == {
        "class": H100, "from": begin(hours[0]), "hours": 3, "fills": 2, "from_blocks": 0, "average": "3.066667",
        "notional": "18.40", "fee": "0.00", "total": "18.40", "worst": hours[1], "rests": 0, "hold": "0.00", "refusal": None,
        "by_hour": [
            {"contract": hour, "qty": 2, "average": price, "notional": cash, "fee": "0.00"}
            for hour, price, cash in zip(hours, ("2.80", "3.20", "3.20"), ("5.60", "6.40", "6.40"), strict=True)
        ],
        "funds": {"needs": "18.420006", "available": "0.00", "wallet": "1000.00", "transfer": "18.420006"},
    }  # fmt: skip
    bought = ana.ask("POST", "/v1/blocks", body).json()
    assert (bought["filled"], bought["average"]) == (2, "3.066667")
    assert ana.get(f"/v1/blocks/{bought['block_id']}")["handovers"] == 1
    gone = foretold(ana, "blocks", body)
    assert [gone[name] for name in ("fills", "rests", "hold", "handovers", "by_hour")] == [0, 2, "18.420006", None, []]


def test_a_block_of_the_same_hours_that_waits_is_counted(exchange: Exchange, ana: Member) -> None:
    hours = exchange.fresh_hours(2)
    body = {"class": H100, "from": begin(hours[0]), "hours": 2, "qty": 3}
    seller = exchange.seller(hours[0], hours=2)
    assert seller.ask("POST", "/v1/blocks", {**body, "side": "sell", "price": "2.90", "min_qty": 1}).is_success
    told = foretold(ana, "blocks", {**body, "side": "buy", "qty": 2, "price": "3.00"})
    assert [told[name] for name in ("fills", "from_blocks", "average", "refusal")] == [2, 2, "2.90", None]
    assert (
        code(foretold(ana, "blocks", {**body, "side": "buy", "qty": 4, "price": "3.00", "tif": "fok"})) == "cannot_fill"
    )


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"from": "2040-11-22T14:00Z"}, "unknown_contract"),
        ({"qty": 1_000_001}, "wrong_qty"),
        ({"min_qty": 3}, "wrong_qty"),
        ({"min_qty": 1, "tif": "fok"}, "wrong_qty"),
        ({"price": "3.001"}, "wrong_price"),
        ({"price": "6.605"}, "outside_collar"),
        ({"price": "1.60"}, "outside_collar"),
        ({"side": "sell"}, "insufficient_backing"),
        ({"qty": 1_000}, "insufficient_funds"),
        ({"tif": "fok"}, "cannot_fill"),
        ({"tif": "gtd", "expires": "2016-11-22T14:00Z"}, "wrong_expiry"),
    ],
)
def test_a_refusal_of_a_block_is_foretold(offered: str, ana: Member, changes: dict[str, Any], refused: str) -> None:
    body = {"class": H100, "from": begin(offered), "hours": 1, "side": "buy", "qty": 2, "price": "2.00", **changes}
    told = ana.ask("POST", "/v1/blocks/preview", body).json()
    really = ana.ask("POST", "/v1/blocks", body).json()
    assert code(told) == really["code"] == refused


def test_without_market_data_there_are_no_previews_and_everything_else_goes_on(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    body = {"contract": hour, "side": "buy", "qty": 1, "price": "2.00"}
    with exchange.stopped("market_data"):
        answer = ana.ask("POST", "/v1/orders/preview", body)
        assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "not_ready", True)
        assert ana.order(**body).status_code == 201
    exchange.until(lambda: ana.ask("POST", "/v1/orders/preview", body).is_success, "it goes on")
