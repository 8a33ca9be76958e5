"""Demo members before a gateway: how often they ask, what they do when refused, and that nothing is asked twice by mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from schemas.ids import format_symbol
from services.runtime.status import Status
from services.simulated.members import LOOK_MS, WITHOUT_MS, Member, Members
from services.simulated.minds import Kind
from tests.simulated.gateway import Answer, FakeGateway, TestClock, problem
from tests.simulated.test_cloud import H100, HOUR, listed

ORDERS = "POST /v1/orders"
BLOCKS = "POST /v1/blocks"


def row(hour: int) -> dict[str, Any]:
    return {
        "contract": format_symbol(H100, hour), "hour": "", "phase": "forward", "state": "open", "bid": "3.20",
        "bid_qty": 16, "ask": "3.40", "ask_qty": 16, "last": "", "reference": "3.30",
    }  # fmt: skip


def grid() -> Answer:
    as_of = {"shard": 0, "seq": 1, "market_time": "", "read_at": ""}
    return 200, {"class": H100, "rows": [row(HOUR + place) for place in range(40)], "as_of": as_of}


def accepted(body: Any) -> Answer:
    return 201, {
        "order_id": "0-1-0-0", "client_order_id": body["client_order_id"], "contract": body["contract"],
        "side": body["side"], "qty": body["qty"], "price": body["price"], "tif": body["tif"], "post_only": False,
        "state": "open", "reason": "", "leaves": body["qty"], "filled": 0, "cancelled": 0, "accepted_at": "",
    }  # fmt: skip


def balance(usd: str) -> Answer:
    return 200, {
        "account": 3, "wallet": usd, "in_transit": "0", "payouts": "0", "waiting_collateral": "0", "trading": [],
    }  # fmt: skip


class Floor:
    """A gateway, and members that trade there."""

    def __init__(self, *kinds: Kind, usd: str = "2000000", per_minute: int = 120, **routes: Any) -> None:
        self.gateway = FakeGateway(
            {
                "GET /v1/classes": [(200, [listed()])],
                f"GET /v1/classes/{H100}/grid": lambda _: grid(),
                "GET /v1/orders": [(200, [])],
                "GET /v1/positions": [(200, [])],
                "GET /v1/balance": [balance(usd)],
                "GET /v1/capacity": [(200, [])],
                ORDERS: accepted,
                "PUT /v1/capacity": [(200, {"request_id": "r", "state": "done", "outcome": {}})],
                **routes,
            }
        )
        self.clock = TestClock(HOUR * 3_600_000 - 7_200_000)
        self.status = Status("simulated-members")
        people = [
            Member(f"demo-{kind}", kind, self.gateway.client(self.clock), "1") for kind in kinds or ("buyer", "trader")
        ]
        self.members = Members(people, self.clock, self.status, seed="1", per_minute=per_minute, run="9")

    async def trade(self, minutes: float) -> None:
        """For so long, by the clock."""
        until = self.clock.now + int(minutes * 60_000)
        self.clock.until = until
        with pytest.raises(TimeIsUp):
            await self.members.run()

    def asked(self) -> list[str]:
        return [where for where, _, _ in self.gateway.asked if not where.startswith("GET")]


class TimeIsUp(Exception):
    pass


@pytest.fixture(autouse=True)
def _until(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep: Callable[..., Any] = TestClock.sleep_ms

    async def until(self: TestClock, duration_ms: int) -> None:
        await sleep(self, duration_ms)
        if self.now > self.until:
            raise TimeIsUp

    monkeypatch.setattr(TestClock, "until", 1 << 60, raising=False)
    monkeypatch.setattr(TestClock, "sleep_ms", until)


async def test_they_ask_as_often_as_was_set() -> None:
    """On average; now and then a wish is not possible, and then they think a moment longer."""
    floor = Floor(per_minute=120)
    await floor.trade(1)

    assert 80 < len(floor.asked()) < 140
    assert floor.status.values["asked"] == len(floor.asked())


async def test_the_same_seed_does_the_same() -> None:
    one, other = Floor(), Floor()
    await one.trade(1)
    await other.trade(1)

    assert [each[:2] for each in one.gateway.asked] == [each[:2] for each in other.gateway.asked]


async def test_every_order_has_a_name_of_its_own() -> None:
    floor = Floor()
    await floor.trade(1)
    names = [body["client_order_id"] for body in floor.gateway.sent(ORDERS)]

    assert len(names) > 30
    assert len(set(names)) == len(names)
    assert all(name.startswith("demo-9-") for name in names)


async def test_an_order_whose_outcome_is_unknown_is_asked_for_again() -> None:
    """The very same, under the same client order id, until it is known; meanwhile nothing else is asked."""
    answers: list[Answer] = [
        httpx.ReadTimeout("lost"),
        problem(504, "outcome_unknown", retryable=True, outcome="unknown"),
    ]
    floor = Floor(**{ORDERS: lambda body: answers.pop(0) if answers else accepted(body)})
    await floor.trade(1)
    first, second, third, fourth, *_ = floor.gateway.sent(ORDERS)

    assert first == second == third
    assert fourth["client_order_id"] != third["client_order_id"]
    assert floor.status.values["requests_unknown"] == 1


async def test_what_an_exchange_does_not_offer_is_not_asked_for_again_and_again() -> None:
    """Ten minutes later it may do."""
    floor = Floor("buyer", per_minute=20, **{BLOCKS: [problem(422, "not_offered_yet")]})
    await floor.trade(9)
    assert floor.asked().count(BLOCKS) == 1
    await floor.trade(WITHOUT_MS / 60_000)

    assert floor.asked().count(BLOCKS) == 2
    assert "not_offered_yet" in str(floor.status.values["last_refusal"]) or floor.status.values["refused"] >= 2


async def test_a_provider_declares_before_it_asks() -> None:
    capacity = [{**row_of_capacity(HOUR + place), "qty": 12} for place in range(40)]
    declared: list[Answer] = [(200, []), (200, capacity)]
    floor = Floor("provider", **{"GET /v1/capacity": lambda _: declared.pop(0) if len(declared) > 1 else declared[0]})
    await floor.trade(2)
    asked = floor.asked()

    assert asked[0] == "PUT /v1/capacity"
    assert {body["side"] for body in floor.gateway.sent(ORDERS)} == {"sell"}
    assert len(floor.gateway.sent(ORDERS)) > 20
    versions = [body["version"] for body in floor.gateway.sent("PUT /v1/capacity")]
    assert versions == sorted(set(versions))


def row_of_capacity(hour: int) -> dict[str, Any]:
    return {
        "contract": format_symbol(H100, hour), "ground": "declared", "owed": 0, "collateral_price": "0", "version": 1,
    }  # fmt: skip


async def test_without_money_nobody_buys() -> None:
    floor = Floor("buyer", usd="0.00")
    await floor.trade(2)

    assert floor.asked() == []


async def test_money_is_spent_no_faster_than_the_purse_allows() -> None:
    """2,000 USD: ten an hour, and five to begin with."""
    floor = Floor("buyer", usd="2000", per_minute=4)
    await floor.trade(60)
    bought = sum(body["qty"] * float(body["price"]) for body in floor.gateway.sent(ORDERS))

    assert 5 < bought <= 15


async def test_while_the_gateway_is_away_nothing_is_sent_and_then_they_go_on() -> None:
    refused: list[Answer] = [httpx.ConnectError("refused")] * 5
    floor = Floor(**{f"GET /v1/classes/{H100}/grid": lambda _: refused.pop(0) if refused else grid()})
    await floor.trade(1)

    assert refused == []
    assert len(floor.asked()) > 50
    assert floor.status.values["waiting_for"] == ""


async def test_they_look_at_themselves_now_and_then_and_not_at_every_order() -> None:
    floor = Floor("buyer")
    await floor.trade(3)
    looks = floor.gateway.sent("GET /v1/positions")

    assert 3 * 60_000 / LOOK_MS * 0.8 < len(looks) < len(floor.asked())
