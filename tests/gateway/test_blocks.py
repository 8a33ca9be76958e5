"""Blocks: contiguous hours, all or none, one limit on the average; and quotes, both sides of many hours in one command."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.gateway.reads import average, handovers
from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def block(member: Member, span: list[str], side: str = "buy", **more: object) -> httpx.Response:
    body = {"class": H100, "from": begin(span[0]), "hours": len(span), "side": side, "qty": 2, "price": "3.00"}
    return member.ask("POST", "/v1/blocks", body | more)


def blocked(member: Member, hours: list[str], side: str = "buy", **more: object) -> dict[str, Any]:
    answer = block(member, hours, side, **more)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def stands(told: dict[str, Any]) -> tuple[object, ...]:
    return tuple(told[name] for name in ("state", "reason", "filled", "leaves", "cancelled", "average"))


# --- Blocks --------------------------------------------------------------------------------------------------


def test_a_block_is_bought_hour_by_hour_within_its_average(exchange: Exchange) -> None:
    """Two sellers: 2.80 in the first hour, 3.20 in the others; three hours cost 3.066… on average. One seller changes once."""
    ana, hours = exchange.member(), exchange.fresh_hours(3)
    bert, carl = exchange.seller(hours[0]), exchange.seller(hours[1], hours=2)
    bert.placed(hours[0], "sell", 2, "2.80")
    for hour in hours[1:]:
        carl.placed(hour, "sell", 2, "3.20")
    assert block(ana, hours, tif="fok").json()["code"] == "cannot_fill", "3.00 on average is too little"

    told = blocked(ana, hours, price="3.07", client_order_id="night")

    assert stands(told) == ("filled", "", 2, 0, 0, "3.066667")
    fills = [(fill["contract"], fill["qty"], fill["price"], fill["block_id"]) for fill in told["fills"]]
    assert fills == [
        (hour, 2, price, told["block_id"]) for hour, price in zip(hours, ("2.80", "3.20", "3.20"), strict=True)
    ]
    whole = ana.get(f"/v1/blocks/{told['block_id']}")
    assert whole["by_hour"] == [
        {"contract": hour, "qty": 2, "average": price, "notional": cash, "fee": "0.00"}
        for hour, price, cash in zip(hours, ("2.80", "3.20", "3.20"), ("5.60", "6.40", "6.40"), strict=True)
    ]
    assert (whole["handovers"], stands(whole)) == (1, stands(told))
    assert ana.get("/v1/blocks/client/night") == whole
    assert [each["block_id"] for each in ana.get("/v1/blocks")] == [told["block_id"]]
    assert {fill["block_id"] for fill in ana.get("/v1/fills")} == {told["block_id"]}
    assert {fill["block_id"] for fill in bert.get("/v1/fills")} == {""}
    again = blocked(ana, hours, price="3.07", client_order_id="night")
    assert (again["repeated"], again["block_id"]) == (True, told["block_id"])
    assert block(ana, hours, price="3.10", client_order_id="night").json()["code"] == "duplicate_client_id"
    assert ana.order(hours[0], "buy", 1, "2.00", client_order_id="night").json()["code"] == "duplicate_client_id"


def test_a_block_that_waits_is_seen_by_all_and_trades_with_its_mirror_image(exchange: Exchange, ana: Member) -> None:
    """Its money is held; Bert's block of the same hours takes it, at the limit of the one that waited."""
    hours = exchange.fresh_hours(2)
    waiting = blocked(ana, hours, min_qty=1)
    assert stands(waiting) == ("open", "", 0, 2, 0, "")
    assert ana.get("/v1/balance")["trading"][0]["holds"] == "12.000004"
    exchange.shown()
    (line,) = [
        each for each in ana.get(f"/v1/classes/{H100}/blocks")["blocks"] if each["first_hour"] == begin(hours[0])
    ]
    assert [line[name] for name in ("hours", "side", "price", "qty", "qty_min", "blocks")] == [
        2,
        "buy",
        "3.00",
        2,
        1,
        1,
    ]

    sold = blocked(exchange.seller(hours[0], hours=2), hours, "sell", qty=1, price="2.90")

    assert stands(sold) == ("filled", "", 1, 0, 0, "3.00")
    bought = ana.get(f"/v1/blocks/{waiting['block_id']}")
    assert (stands(bought), bought["handovers"]) == (("open", "", 1, 1, 0, "3.00"), 0)
    gone = ana.ask("DELETE", f"/v1/blocks/{waiting['block_id']}").json()
    assert gone == {"order_id": waiting["block_id"], "contract": hours[0], "cancelled": 1, "orders": 1}
    assert stands(ana.get(f"/v1/blocks/{waiting['block_id']}")) == ("cancelled", "asked", 1, 0, 1, "3.00")


def test_a_block_fetches_what_it_lacks_and_gives_back_what_it_was_refused_with(exchange: Exchange) -> None:
    ana, hours = exchange.member(usd="50"), exchange.fresh_hours(2)
    assert block(ana, hours, tif="fok").json()["code"] == "cannot_fill"
    assert ana.money() == ("50.00", "0.00", "0.00")
    blocked(ana, hours)
    assert ana.money() == ("37.999996", "12.000004", "0.00")
    problem = block(ana, hours, qty=20).json()
    assert [problem[name] for name in ("code", "need", "have")] == ["insufficient_funds", "120.00004", "37.999996"]


def test_what_a_block_cannot_take_at_once_is_cancelled_when_it_is_to_be_immediate(
    exchange: Exchange, ana: Member
) -> None:
    """Three of five are there in both hours: an immediate block takes three, since one would do."""
    hours = exchange.fresh_hours(2)
    seller = exchange.seller(hours[0], hours=2)
    for hour, qty in zip(hours, (3, 4), strict=True):
        seller.placed(hour, "sell", qty, "3.00")
    assert stands(blocked(ana, hours, qty=5, min_qty=1, tif="ioc")) == ("cancelled", "ioc", 3, 0, 2, "3.00")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hours": 0}, "wrong_hours"),
        ({"hours": 169}, "wrong_hours"),
        ({"qty": 0}, "wrong_qty"),
        ({"min_qty": 3}, "wrong_qty"),
        ({"min_qty": -1}, "wrong_qty"),
        ({"min_qty": 1, "tif": "fok"}, "wrong_qty"),
        ({"price": "3.001"}, "wrong_price"),
        ({"price": "6.605"}, "outside_collar"),
        ({"side": "sell"}, "insufficient_backing"),
        ({"from": "2040-11-22T14:00Z"}, "unknown_contract"),
        ({"from": "tomorrow"}, "wrong_time"),
        ({"class": "H101"}, "unknown_class"),
        ({"expires": "2040-11-22T14:00Z"}, "wrong_tif"),
        ({"tif": "gtd", "expires": "2016-11-22T14:00Z"}, "wrong_expiry"),
        ({"client_order_id": "é"}, "wrong_client_id"),
        ({"post_only": True}, "malformed"),
    ],
)
def test_a_block_with_a_mistake_is_refused(
    exchange: Exchange, one_hour: str, changes: dict[str, Any], code: str
) -> None:
    ana = exchange.member()
    answer = block(ana, [one_hour, one_hour], **changes)
    assert answer.json()["code"] == code, answer.text
    assert (ana.get("/v1/blocks"), ana.money()) == ([], ("1000.00", "0.00", "0.00"))


@pytest.fixture(scope="module")
def one_hour(exchange: Exchange) -> str:
    """With an hour behind it in which nobody trades either."""
    return exchange.fresh_hours(2)[0]


def test_an_account_has_at_most_a_hundred_blocks_waiting(exchange: Exchange, one_hour: str) -> None:
    """Each makes every trade in its hours look at it once more."""
    ana = exchange.member()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "500", "class": H100})
    for _ in range(10):
        answers = exchange.at_once(*[lambda: block(ana, [one_hour], qty=1, price="1.70")] * 10)
        assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
    problem = block(ana, [one_hour], qty=1, price="1.70").json()
    assert [problem[name] for name in ("code", "need")] == ["too_many_orders", 100]
    assert ana.ask("DELETE", f"/v1/orders?class={H100}").json() == {"cancelled": 100}


def test_a_block_of_somebody_else_is_not_there(exchange: Exchange, ana: Member) -> None:
    theirs = blocked(exchange.member(), exchange.fresh_hours(2), client_order_id="theirs")["block_id"]
    for method, path in (
        ("GET", f"/v1/blocks/{theirs}"), ("DELETE", f"/v1/blocks/{theirs}"), ("GET", "/v1/blocks/client/theirs"),
        ("DELETE", "/v1/orders/client/theirs"), ("GET", "/v1/blocks/0-9999999-0-0"),
    ):  # fmt: skip
        answer = ana.ask(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_order"), path


@pytest.mark.parametrize(
    ("held", "qty", "changes"),
    [
        ([{1: 2}, {1: 2}, {1: 2}], 2, 0),
        ([{1: 2}, {2: 2}, {1: 2}], 2, 2),
        ([{1: 1, 2: 1}, {2: 1, 3: 1}, {2: 1, 3: 1}], 2, 1),
        ([{1: 1, 2: 1}, {1: 1, 3: 1}], 1, 0),  # of two machines the one that stays may be the block's
        ([{1: 2}, {}, {1: 2}], 2, 0),  # what is not held any more is not handed over
        ([{1: 2}], 2, 0),
    ],
)
def test_a_handover_is_where_not_all_machines_can_stay(held: list[dict[int, int]], qty: int, changes: int) -> None:
    """`held`: by hour, who owes how many."""
    assert handovers(held, qty) == changes


@pytest.mark.parametrize(
    ("cash", "gpu_hours", "shown"), [(0, 0, ""), (18_400_000, 6, "3.066667"), (1, 3, "0.00"), (2, 3, "0.000001")]
)
def test_an_average_is_rounded_to_the_nearest_micro(cash: int, gpu_hours: int, shown: str) -> None:
    assert average(cash, gpu_hours) == shown
