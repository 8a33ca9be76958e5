"""Quotes: both sides of many hours in one command, numbered, per hour all or nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


@pytest.fixture
def maker(exchange: Exchange) -> Member:
    return exchange.member(role="market_maker")


def both(hour: str, bid: str = "2.00", bid_qty: int = 2, ask: str = "3.00", ask_qty: int = 1) -> dict[str, object]:
    return {"hour": begin(hour), "bid": bid, "bid_qty": bid_qty, "ask": ask, "ask_qty": ask_qty}


def quote(member: Member, *quotes: dict[str, object], **more: object) -> httpx.Response:
    return member.ask("PUT", f"/v1/quotes/{H100}", {"quotes": quotes, **more})


def drawn(answer: httpx.Response) -> list[tuple[object, ...]]:
    """Each hour: (contract, bid, GPUs, ask, GPUs, code)."""
    assert answer.status_code == 200, answer.text
    names = ("contract", "bid", "bid_qty", "ask", "ask_qty")
    return [
        (*(each[name] for name in names), (each["refusal"] or {"code": ""})["code"])
        for each in answer.json()["outcomes"]
    ]


def promise(maker: Member, hours: list[str], qty: int = 4) -> None:
    """In hours that follow each other."""
    maker.back(hours[0], qty, ground="promised", price="6.60", hours=len(hours))


def test_a_bot_quotes_both_sides_against_a_promise(exchange: Exchange, maker: Member) -> None:
    """Its first quote, money included; then somebody buys, and sells; then it takes all away."""
    hours = exchange.fresh_hours(2)
    maker.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "60", "class": H100})
    promise(maker, hours)

    answer = quote(maker, *map(both, hours), number=7)

    assert drawn(answer) == [(hour, "2.00", 2, "3.00", 1, "") for hour in hours]
    assert answer.json()["number"] in {7, 8}, "8 where its money had to be fetched"
    assert exchange.member().book(hours[0]) == {"bids": [["2.00", 2]], "asks": [["3.00", 1]]}
    ana = exchange.member()
    bought = ana.placed(hours[0], "buy", 1, "3.00")
    sold = ana.placed(hours[0], "sell", 1, "2.00")
    assert [order["state"] for order in (bought, sold)] == ["filled", "filled"]
    orders = {name: answer.json()["outcomes"][0][f"{name}_order"] for name in ("bid", "ask")}
    assert [(fill["order_id"], fill["side"], fill["role"]) for fill in reversed(maker.get("/v1/fills"))] == [
        (orders["ask"], "sell", "maker"), (orders["bid"], "buy", "maker"),
    ]  # fmt: skip
    assert maker.get("/v1/orders") == [], "quotes are not listed one by one"
    assert maker.get("/v1/balance")["trading"][0]["quoted"] is True

    away = quote(maker, *(both(hour, "", 0, "", 0) for hour in hours), number=20)

    assert drawn(away) == [(hour, "", 0, "", 0, "") for hour in hours]
    assert exchange.member().book(hours[1]) == {"bids": [], "asks": []}
    (row,) = maker.get("/v1/quotes")
    assert [row[name] for name in ("class", "number", "hours", "refused")] == [H100, 20, 0, 0]
    assert maker.get("/v1/balance")["trading"][0]["quoted"] is False


def test_bids_that_lack_money_fetch_it_and_are_quoted_again(exchange: Exchange) -> None:
    """Nothing is there for trading: both hours' bids hold 8.000004, which comes out of the wallet."""
    maker, hours = exchange.member(role="market_maker", usd="50"), exchange.fresh_hours(2)
    answer = quote(maker, *(both(hour, ask="", ask_qty=0) for hour in hours), number=100)
    assert drawn(answer) == [(hour, "2.00", 2, "", 0, "") for hour in hours]
    assert (answer.json()["number"], maker.money()) == (101, ("41.999996", "8.000004", "0.00"))


def test_an_hour_that_cannot_be_quoted_says_why_and_the_others_stand(exchange: Exchange) -> None:
    """One has no backing, one would trade, one asks for more than there is in the world, one is not listed."""
    maker, hours = exchange.member(role="market_maker", usd="50"), exchange.fresh_hours(4)
    exchange.member().placed(hours[1], "buy", 1, "3.00")
    answer = quote(
        maker,
        both(hours[0], "", 0),
        both(hours[1], "2.00", 0, "3.00", 1),
        both(hours[2], "2.00", 40, "", 0),
        both(hours[3], "2.00", 1, "", 0),
        both(f"{H100}.20401122T14-USD"),
    )
    codes = [row[-1] for row in drawn(answer)]
    assert codes == ["insufficient_backing", "would_trade", "insufficient_funds", "", "unknown_contract"]
    refusal = answer.json()["outcomes"][2]["refusal"]
    assert [refusal[name] for name in ("need", "have")] == ["80.00004", "50.00"]
    assert drawn(answer)[3] == (hours[3], "2.00", 1, "", 0, "")


def test_a_number_that_is_not_the_latest_changes_nothing(exchange: Exchange, maker: Member) -> None:
    """Without a number the door finds one, also after a maker who counted far ahead."""
    hour = exchange.fresh_hour()
    maker.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "20", "class": H100})
    bid = both(hour, ask="", ask_qty=0)
    far = 4_000_000_000_000_000
    assert quote(maker, bid, number=far).json()["number"] == far
    stale = quote(maker, both(hour, "2.50", ask="", ask_qty=0), number=far)
    assert (stale.status_code, stale.json()["code"], stale.json()["have"]) == (409, "stale_number", far)
    assert exchange.member().book(hour)["bids"] == [["2.00", 2]]
    assert quote(maker, both(hour, "2.50", ask="", ask_qty=0)).json()["number"] == far + 1
    assert exchange.member().book(hour)["bids"] == [["2.50", 2]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"quotes": []}, "wrong_hours"),
        ({"quotes": [{"hour": "2030-11-22T14:00Z", "bid": "2", "bid_qty": 1}] * 2}, "wrong_hours"),
        ({"quotes": [{"hour": "2030-11-22T14:30Z", "bid": "2", "bid_qty": 1}]}, "wrong_time"),
        ({"quotes": [{"hour": "2030-11-22T14:00Z", "bid": "-2", "bid_qty": 1}]}, "wrong_decimal"),
        ({"quotes": [{"hour": "2030-11-22T14:00Z", "bid": "2", "bid_qty": -1}]}, "wrong_qty"),
        ({"quotes": [{"hour": "2030-11-22T14:00Z", "price": "2"}]}, "malformed"),
        ({"quotes": [{"hour": "2030-11-22T14:00Z"}], "valid_for_ms": 600_001}, "wrong_validity"),
    ],
)
def test_quotes_with_a_mistake_are_refused_as_a_whole(maker: Member, body: dict[str, Any], code: str) -> None:
    answer = maker.ask("PUT", f"/v1/quotes/{H100}", body)
    assert answer.json()["code"] == code, answer.text
    assert maker.get("/v1/quotes") == []


def test_quotes_are_for_market_makers(exchange: Exchange, ana: Member) -> None:
    answer = quote(ana, both(exchange.fresh_hour()))
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_role")
