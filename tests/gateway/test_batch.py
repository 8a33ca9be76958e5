"""Many orders in one request: each is judged by itself, and answered as if it had come alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member

L40S = CLASSES[1]


def bid(contract: str, **more: Any) -> dict[str, Any]:
    return {"contract": contract, "side": "buy", "qty": 1, "price": "0.90", **more}


def placed(member: Member, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = member.ask("POST", "/v1/orders/batch", {"orders": orders})
    assert answer.status_code == 200, answer.text
    outcomes: list[dict[str, Any]] = answer.json()["outcomes"]
    return outcomes


def test_each_order_has_its_own_outcome_and_none_depends_on_another(exchange: Exchange, ana: Member) -> None:
    """Two shards; a price off the tick; an id that is known, one that comes twice; what is no hour; a fill."""
    here, there = exchange.fresh_hour(), exchange.fresh_hour(L40S)
    seller = exchange.seller(there)
    seller.placed(there, "sell", 1, "0.95")
    before = ana.placed(here, "buy", 1, "2.00", client_order_id="before")
    body = {"contract": here, "side": "buy", "qty": 1, "price": "2.00"}

    outcomes = placed(
        ana,
        [
            {**body, "client_order_id": "one"},
            bid(there, client_order_id="two", price="0.95"),
            bid(there, price="0.901"),
            {**body, "client_order_id": "before"},
            {**body, "client_order_id": "before", "qty": 2},
            {**body, "client_order_id": "one"},
            bid("H101-27010100-USD"),
            bid(there),
        ],
    )

    codes = [outcome["problem"] and outcome["problem"]["code"] for outcome in outcomes]
    assert codes == [None, None, "wrong_price", None, "duplicate_client_id", None, "wrong_contract", None]
    assert [bool(outcome["order"]) for outcome in outcomes] == [code is None for code in codes]
    one, two, _, again, _, twice, _, last = [outcome["order"] for outcome in outcomes]
    assert (one["state"], two["state"], last["state"]) == ("open", "filled", "open")
    assert (again["order_id"], again["repeated"]) == (before["order_id"], True)
    assert (twice["order_id"], twice["repeated"]) == (one["order_id"], True)
    for order in (one, two, last):
        assert ana.get(f"/v1/orders/{order['order_id']}")["state"] == order["state"]
    assert len(ana.get(f"/v1/orders?contract={here}")) == 2, "what came twice is there once"


def test_orders_of_one_shard_reach_it_in_their_order(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour(L40S)
    outcomes = placed(ana, [bid(hour, client_order_id=f"in-order-{number}") for number in range(64)])
    ids = [[int(part) for part in outcome["order"]["order_id"].split("-")] for outcome in outcomes]
    assert ids == sorted(ids)
    assert ana.book(hour)["bids"] == [["0.90", 64]]


def test_bids_that_lack_money_have_it_moved_at_once_and_as_far_as_it_goes(exchange: Exchange) -> None:
    """Ten dollars for 64 bids of 0.90: the first eleven stand, and what was moved in vain goes back."""
    member = exchange.member(usd="10")
    hour = exchange.fresh_hour(L40S)

    outcomes = placed(member, [bid(hour) for _ in range(64)])

    assert [bool(outcome["order"]) for outcome in outcomes] == [True] * 11 + [False] * 53
    assert {outcome["problem"]["code"] for outcome in outcomes[11:]} == {"insufficient_funds"}
    assert member.book(hour)["bids"] == [["0.90", 11]]
    member.exchange.settled()
    # Each holds its price and a µUSD for the fee's rounding.
    assert member.money() == ("0.099989", "0.00", "9.900011")


@pytest.mark.parametrize("count", [0, 65])
def test_no_order_and_too_many_are_refused_as_a_whole(exchange: Exchange, ana: Member, count: int) -> None:
    hour = exchange.fresh_hour()
    answer = ana.ask("POST", "/v1/orders/batch", {"orders": [bid(hour)] * count})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert ana.get(f"/v1/orders?contract={hour}") == []


def test_eight_more_orders_count_as_one_more_request(exchange: Exchange) -> None:
    """A batch of 64 as eight; one that is more than what is left is refused whole, and told how long to wait."""
    member = exchange.member()
    hour = exchange.fresh_hour(L40S)

    def left(answer: Any) -> int:
        return int(re.findall(r"r=(\d+)", answer.headers["RateLimit"])[0])

    single = member.ask("POST", "/v1/orders/batch", {"orders": [bid(hour)]})
    whole = member.ask("POST", "/v1/orders/batch", {"orders": [bid(hour, price="0.901")] * 64})
    # The bucket fills meanwhile; at most up to its brim.
    assert left(single) - 8 <= left(whole) < left(single)
