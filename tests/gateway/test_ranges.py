"""Ranges: the same order in many hours, one outcome each."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def ranged(member: Member, hours: list[str], side: str = "buy", **more: object) -> httpx.Response:
    body = {"class": H100, "hours": [begin(hour) for hour in hours], "side": side, "qty": 1, "price": "3.00"}
    return member.ask("POST", "/v1/ranges", body | more)


def drawn(answer: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    """Each hour: (contract, state or code, filled, leaves)."""
    return [
        (leg["contract"], leg["order"]["state"], leg["order"]["filled"], leg["order"]["leaves"])
        if leg["order"]
        else (leg["contract"], (leg["refusal"] or {"code": "refused before"})["code"], 0, 0)
        for leg in answer["legs"]
    ]


def repeats(told: dict[str, Any]) -> list[bool]:
    """Whether the range says that it is a repeat, and each of its orders."""
    return [told["repeated"], *(leg["order"]["repeated"] for leg in told["legs"] if leg["order"])]


def test_each_hour_has_an_outcome_of_its_own(exchange: Exchange, ana: Member) -> None:
    """Of three hours one is sold by Bert, one has nobody, one is not listed."""
    hours = [*exchange.fresh_hours(2), f"{H100}.20401122T14-USD"]
    exchange.seller(hours[0]).placed(hours[0], "sell", 1, "2.80")

    answer = ranged(ana, hours, client_order_id="range")

    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert drawn(told) == [(hours[0], "filled", 1, 0), (hours[1], "open", 0, 1), (hours[2], "unknown_contract", 0, 0)]
    assert {name: told[name] for name in told if name != "legs"} == {
        "client_order_id": "range", "class": H100, "repeated": False,
    }  # fmt: skip
    assert told["legs"][0]["order"]["fills"][0]["price"] == "2.80"
    assert told["legs"][2]["refusal"]["detail"].endswith("lists those that are")
    # The one id stands for all of them.
    read = ana.get("/v1/ranges/range")
    assert drawn(read) == [(hours[0], "filled", 1, 0), (hours[1], "open", 0, 1)]
    assert repeats(read) == [False, False, False], "a read repeats nothing"
    again = ranged(ana, hours, client_order_id="range").json()
    assert (repeats(again), drawn(again)[:2]) == ([True, True, True], drawn(read))
    assert drawn(again)[2] == (hours[2], "refused before", 0, 0)
    assert ranged(ana, hours, client_order_id="range", qty=2).json()["code"] == "duplicate_client_id"
    assert ana.order(hours[1], "buy", 1, "2.00", client_order_id="range").json()["code"] == "duplicate_client_id"


def test_one_cancel_takes_all_hours_of_a_range(exchange: Exchange, ana: Member) -> None:
    hours = exchange.fresh_hours(3)
    placed = ranged(ana, hours, client_order_id="three", price="2.00").json()
    answer = ana.ask("DELETE", "/v1/orders/client/three").json()
    first = placed["legs"][0]["order"]["order_id"]
    assert answer == {"order_id": first, "contract": hours[0], "cancelled": 3, "orders": 3}
    assert [state for _, state, _, _ in drawn(ana.get("/v1/ranges/three"))] == ["cancelled"] * 3


def test_a_range_of_many_hours_is_named_by_its_first(exchange: Exchange, ana: Member) -> None:
    hours = exchange.fresh_hours(3)
    body = {"class": H100, "from": begin(hours[0]), "count": 3, "side": "buy", "qty": 2, "price": "2.00"}
    answer = ana.ask("POST", "/v1/ranges", body)
    assert drawn(answer.json()) == [(hour, "open", 0, 2) for hour in hours]


def test_what_all_bids_of_a_range_need_is_fetched_before_it_is_sent(exchange: Exchange) -> None:
    """4 USD are there: three hours hold 6.000003, and what a refused hour would have held goes back."""
    ana, hours = exchange.member(usd="50"), exchange.fresh_hours(3)
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "4", "class": H100})
    assert {state for _, state, _, _ in drawn(ranged(ana, hours, price="2.00").json())} == {"open"}
    assert ana.money() == ("43.999997", "6.000003", "0.00")

    crossing = exchange.fresh_hours(2)
    exchange.seller(crossing[1]).placed(crossing[1], "sell", 1, "2.00")
    told = ranged(ana, crossing, price="2.00", post_only=True).json()
    assert [state for _, state, _, _ in drawn(told)] == ["open", "would_trade"]
    assert ana.money() == ("41.999996", "8.000004", "0.00")


def test_a_range_without_the_money_for_all_of_it_is_not_sent(exchange: Exchange) -> None:
    ana, hours = exchange.member(usd="5"), exchange.fresh_hours(3)
    problem = ranged(ana, hours, price="2.00").json()
    assert [problem[name] for name in ("code", "need", "have")] == ["insufficient_funds", "6.000003", "5.00"]
    assert (ana.get("/v1/orders"), ana.money()) == ([], ("5.00", "0.00", "0.00"))


def test_what_was_bought_is_sold_again_in_some_of_its_hours(exchange: Exchange, ana: Member) -> None:
    """Four hours of a longer purchase, in one order; an hour that she does not hold is refused alone."""
    hours = exchange.fresh_hours(3)
    seller = exchange.seller(hours[0], hours=2)
    for hour in hours[:2]:
        seller.placed(hour, "sell", 1, "3.00")
        ana.placed(hour, "buy", 1, "3.00")
    told = ranged(ana, hours, "sell", price="3.20").json()
    assert drawn(told) == [(hours[0], "open", 0, 1), (hours[1], "open", 0, 1), (hours[2], "insufficient_backing", 0, 0)]
    assert {name: told["legs"][2]["refusal"][name] for name in ("need", "have")} == {"need": 1, "have": 0}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hours": []}, "malformed"),
        ({"from": "2030-11-22T14:00Z"}, "malformed"),
        ({"hours": [], "from": "2030-11-22T14:00Z"}, "wrong_hours"),
        ({"hours": [], "from": "2030-11-22T14:00Z", "count": 1_025}, "wrong_hours"),
        ({"hours": ["2030-11-22T14:00Z", "2030-11-22T14:00Z"]}, "wrong_hours"),
        ({"hours": ["2030-11-22T14:30Z"]}, "wrong_time"),
        ({"class": "H101"}, "unknown_class"),
        ({"qty": 0}, "wrong_qty"),
        ({"price": "1e1"}, "wrong_decimal"),
        ({"tif": "gtd"}, "wrong_tif"),
        ({"client_order_id": "my range"}, "wrong_client_id"),
        ({"valid_for_ms": 0}, "wrong_validity"),
        ({"leg": 1}, "malformed"),
    ],
)
def test_a_range_with_a_mistake_is_refused_as_a_whole(ana: Member, changes: dict[str, Any], code: str) -> None:
    body = {"class": H100, "hours": ["2030-11-22T14:00Z"], "side": "buy", "qty": 1, "price": "3.00"}
    answer = ana.ask("POST", "/v1/ranges", body | changes)
    assert answer.json()["code"] == code, answer.text
    assert ana.get("/v1/orders") == []


def test_a_range_that_is_not_there(ana: Member) -> None:
    assert ana.ask("GET", "/v1/ranges/never").json()["code"] == "unknown_order"
    assert ana.ask("GET", "/v1/ranges/%20").json()["code"] == "wrong_client_id"
