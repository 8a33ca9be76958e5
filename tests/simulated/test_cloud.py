"""The simulated cloud before a gateway: what it buys and delivers, what it says, and what it does when it is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.runtime.status import Status
from services.simulated.client import Away
from services.simulated.cloud import AGAIN_MS, Cloud
from services.simulated.covering import report
from services.simulated.fleet import Market
from tests.simulated.gateway import Answer, FakeGateway, TestClock, problem

HOUR = 494_900
H100 = "H100.SXM.80.US"
NOW_MS = HOUR * MS_PER_HOUR - 60 * MS_PER_MINUTE
PROCURE, DELIVER = "POST /v1/admin/procure", "POST /v1/admin/deliveries"
PROCURED: Answer = (200, {"request_id": "r", "state": "done", "outcome": {"declared": 3}})
NO_MONEY = problem(422, "insufficient_funds")


def promise(owed: int, *, hour: int = HOUR, declared: int = 0) -> dict[str, Any]:
    return {
        "account": 2, "contract": format_symbol(H100, hour), "hour": "", "owed": owed, "collateral_price": "7.26",
        "declared": declared,
    }  # fmt: skip


def sold(title: int, *, qty: int = 2, minutes: int = 37, hour: int = HOUR - 1, ground: str = "ready") -> dict[str, Any]:
    """A title of a market maker's with no machine behind it, in the hour that runs."""
    return {
        "account": 2, "contract": format_symbol(H100, hour), "hour": "", "title": title, "ground": ground, "qty": qty,
        "minutes": minutes, "ended": False,
    }  # fmt: skip


def ended(hour: int) -> dict[str, Any]:
    return {"contract": format_symbol(H100, hour), "hour": "", "titles": 2}


def listed() -> dict[str, Any]:
    return {
        "class": H100, "title": "", "shard": 0, "lot": 1, "tick": "0.005", "list_price": "3.30", "reference": "3.30",
        "collar_low": "1.65", "collar_high": "6.60", "buyer_maker_bp": 0, "buyer_taker_bp": 0, "seller_maker_bp": 50,
        "seller_taker_bp": 50, "horizon_hours": 168, "gate_minutes": 5, "cover_minutes": 30,
        "running_close_minutes": 10, "collar_low_bp": 5_000, "collar_high_bp": 20_000, "state": "open",
    }  # fmt: skip


def supply(cheapest: str) -> dict[str, Any]:
    offers = 0 if not cheapest else 3
    return {
        "references": [{"class": H100, "cheapest": cheapest or "0", "median": "3.39", "clouds": 3, "offers": offers}],
        "offers": [],
        "polls": [],
    }


class World:
    """What the gateway shows, and the cloud that looks at it."""

    def __init__(self, *, cheapest: str = "3.29") -> None:
        self.promises: list[dict[str, Any]] = []
        self.uncovered: list[dict[str, Any]] = []
        self.served: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self.procured: list[Answer] = [PROCURED]
        self.delivered: list[Answer] = [(202, {"contract": "X", "record_id": "r", "simulated": True})]
        self.gateway = FakeGateway(
            {
                "GET /v1/admin/promises": lambda _: (200, self.promises),
                "GET /v1/admin/served": lambda _: (200, self.served),
                "GET /v1/admin/uncovered": lambda _: (200, self.uncovered),
                "GET /v1/admin/undelivered": lambda _: (200, self.ended),
                "GET /v1/classes": [(200, [listed()])],
                "GET /v1/time": [(200, {"now": iso(NOW_MS), "market": iso(NOW_MS), "rate": 1})],
                "GET /v1/supply": [(200, supply(cheapest))],
                PROCURE: lambda _: self.procured.pop(0) if len(self.procured) > 1 else self.procured[0],
                DELIVER: lambda _: self.delivered.pop(0) if len(self.delivered) > 1 else self.delivered[0],
            }
        )
        self.clock = TestClock(NOW_MS)
        self.status = Status("simulated-cloud")
        self.cloud = self.start()

    def start(self) -> Cloud:
        return Cloud(self.gateway.client(self.clock), self.clock, self.status, "1")

    def news(self) -> list[str]:
        return [line.partition(" ")[2] for line in str(self.status.values.get("news", "")).splitlines()]


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat().replace("+00:00", "Z")


async def test_it_procures_what_the_desk_has_sold_and_says_that_it_is_simulated() -> None:
    world = World()
    world.promises = [promise(3), promise(5, hour=HOUR + 20)]
    await world.cloud.look()

    assert world.gateway.sent(PROCURE) == [
        {
            "account": 2, "class": H100, "from": "2026-06-16T20:00Z", "hours": 1, "qty": 3, "cost": "9.87",
            "provider": "simulated-cloud", "title": 0,
        }
    ]  # fmt: skip
    assert world.news() == [f"simulated cloud: procured 3 × {format_symbol(H100, HOUR)} for account 2 at 3.29"]


async def test_started_anew_before_its_answer_was_settled_it_asks_the_very_same() -> None:
    """Not twice the machines: the key is made of what is owed, and settlement answers with the first outcome."""
    world = World()
    world.promises = [promise(3)]
    await world.cloud.look()
    await world.start().look()
    world.promises = [promise(3, declared=3)]
    await world.start().look()
    keys = world.gateway.keys(PROCURE)

    assert keys[0] == keys[1] != keys[2]


async def test_what_was_refused_is_asked_again_a_minute_later_under_another_key() -> None:
    """The first outcome stands under the first key for ever."""
    world = World()
    world.procured = [NO_MONEY, PROCURED]
    world.promises = [promise(3)]
    for _ in range(3):
        await world.cloud.look()
    assert len(world.gateway.sent(PROCURE)) == 1
    world.clock.now += AGAIN_MS
    await world.cloud.look()

    first, second = world.gateway.keys(PROCURE)
    assert first != second
    assert [line.partition(":")[2].strip()[:17] for line in world.news()] == ["procured nothing:", "procured 3 × H100"]


async def test_where_no_cloud_offers_it_says_so_once() -> None:
    """All sources are stale: the exchange buys in at the deadline, or the promise fails."""
    world = World(cheapest="")
    world.promises = [promise(3)]
    for _ in range(3):
        await world.cloud.look()

    assert world.gateway.sent(PROCURE) == []
    assert world.news() == [
        f"simulated cloud: no cloud offers 3 × {format_symbol(H100, HOUR)}: a promise stays uncovered"
    ]


async def test_what_is_sold_as_ready_is_procured_at_once_for_its_minutes() -> None:
    """Two machines for 37 minutes at 3.29 an hour are 4.0576666..., rounded up; each title by itself, under its own key."""
    world = World()
    world.uncovered = [sold(7), sold(9, qty=1, minutes=60), sold(3, ground="promised")]
    await world.cloud.look()

    bought = [(body["title"], body["from"], body["qty"], body["cost"]) for body in world.gateway.sent(PROCURE)]
    assert bought == [(7, "2026-06-16T19:00Z", 2, "4.057667"), (9, "2026-06-16T19:00Z", 1, "3.29")]
    keys = world.gateway.keys(PROCURE)
    assert len(set(keys)) == 2
    assert world.news()[0] == (
        f"simulated cloud: procured 2 × {format_symbol(H100, HOUR - 1)} for 37 minutes for account 2 at 3.29"
    )
    await world.start().look()
    assert world.gateway.keys(PROCURE) == keys * 2, "asked again, it is the very same"


async def test_what_has_no_machine_when_its_hour_is_over_was_not_delivered() -> None:
    """First the titles, then the hour: of an hour that has only just ended nothing is said before the next look."""
    world = World(cheapest="")
    this, other = sold(7)["contract"], format_symbol(H100, HOUR - 2)
    world.uncovered = [sold(7), sold(8, ground="promised", minutes=60)]
    world.ended = [ended(HOUR - 2), ended(HOUR - 1)]
    await world.cloud.look()
    assert delivered(world) == [(other, 0, report(other, "1").undelivered_minutes)]

    world.uncovered = [each | {"ended": True} for each in world.uncovered]
    await world.cloud.look()
    await world.cloud.look()

    assert delivered(world)[1:] == [(this, 7, 37), (this, 8, 60), (this, 0, report(this, "1").undelivered_minutes)]
    assert world.gateway.sent(PROCURE) == []
    assert [line.partition(": ")[2] for line in world.news()][2:4] == [
        f"not delivered: title 7 of {this}: no machine was procured for it",
        f"not delivered: title 8 of {this}: no machine was procured for it",
    ]


async def test_an_hour_waits_until_what_failed_in_it_is_written() -> None:
    world = World()
    world.uncovered = [sold(7) | {"ended": True}]
    world.ended = [ended(HOUR - 1)]
    world.delivered = [problem(503, "not_ready", retryable=True), *world.delivered]
    await world.cloud.look()
    assert [title for _, title, _ in delivered(world)] == [7]
    await world.cloud.look()
    assert [title for _, title, _ in delivered(world)] == [7, 7, 0]
    assert len(set(world.gateway.keys(DELIVER))) == 2


def delivered(world: World) -> list[tuple[str, int, int]]:
    """(contract, title, minutes that did not come) of the records that were sent."""
    return [(body["contract"], body["title"], body["undelivered_minutes"]) for body in world.gateway.sent(DELIVER)]


async def test_of_a_class_with_machines_it_says_nothing() -> None:
    world = World()
    world.ended, world.served = [ended(HOUR - 1)], [H100]

    await world.cloud.look()

    assert world.gateway.sent(DELIVER) == []


async def test_every_ended_hour_is_delivered_once_and_some_not_wholly() -> None:
    world = World()
    hours = range(HOUR - 40, HOUR)
    world.ended = [ended(hour) for hour in hours]
    for _ in range(3):
        await world.cloud.look()
    sent = world.gateway.sent(DELIVER)

    assert [body["contract"] for body in sent] == [format_symbol(H100, hour) for hour in hours]
    assert {body["simulated"] for body in sent} == {True}
    lost = {body["contract"]: body["undelivered_minutes"] for body in sent if body["undelivered_minutes"]}
    assert lost == {
        symbol: minutes
        for symbol in (format_symbol(H100, hour) for hour in hours)
        if (minutes := report(symbol, "1").undelivered_minutes)
    }
    assert len(lost) > 0
    told = [line for line in world.news() if "but for" in line]
    assert told == [
        f"simulated cloud: delivered {symbol}, but for {minutes} minutes"
        for symbol, minutes in lost.items()
        if symbol in {body["contract"] for body in sent[-20:]}
    ]
    await world.start().look()
    assert world.gateway.keys(DELIVER)[: len(sent)] == world.gateway.keys(DELIVER)[len(sent) :]


async def test_a_record_that_cannot_be_written_now_is_written_later() -> None:
    world = World()
    world.ended = [ended(HOUR - 2)]
    world.delivered = [
        problem(503, "not_ready", retryable=True),
        (202, {"contract": "X", "record_id": "r", "simulated": True}),
    ]
    await world.cloud.look()
    await world.cloud.look()
    await world.cloud.look()

    assert len(world.gateway.sent(DELIVER)) == 2
    assert len(set(world.gateway.keys(DELIVER))) == 1


async def test_while_the_gateway_is_away_it_waits_and_says_so() -> None:
    world = World()
    answers: list[Answer] = [OSError("x"), OSError("x"), (200, [])]
    world.gateway.routes["GET /v1/admin/promises"] = lambda _: _raised(answers)
    running = asyncio.create_task(world.cloud.run())
    seen = []
    for _ in range(200):
        await asyncio.sleep(0)
        seen.append(world.status.values["waiting_for"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert "gateway" in seen
    assert world.status.values["waiting_for"] == ""
    assert world.status.values["role"] == "simulated"


def _raised(answers: list[Answer]) -> Answer:
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    return httpx.ConnectError("refused") if isinstance(answer, Exception) else answer


async def test_a_look_that_is_not_answered_buys_nothing() -> None:
    world = World()
    world.promises = [promise(3)]
    world.gateway.routes["GET /v1/supply"] = lambda _: problem(503, "not_ready", retryable=True)
    with pytest.raises(Away):
        await world.cloud.look()

    assert world.gateway.sent(PROCURE) == []


async def test_machines_are_seen_to_after_what_has_ended_was_reported() -> None:
    """From the first machine of a class on nobody's word for its hours is taken: one that ended before would wait for ever."""
    seen: list[int] = []

    class Fleet:
        """In place of `agents.Fleet`."""

        agents: dict[str, dict[str, object]] = {"X": {"x-1": object()}}  # noqa: RUF012 # nobody changes it
        gpus = 3

        async def look(self, lots: dict[str, int], market: Market, promises: list[Any], uncovered: list[Any]) -> None:
            assert (lots, market.at(NOW_MS), promises, uncovered) == ({H100: 1}, NOW_MS, [], [])
            seen.append(len(world.gateway.sent(DELIVER)))

    world = World()
    world.ended = [ended(HOUR - 3)]
    cloud = Cloud(world.gateway.client(world.clock), world.clock, world.status, "1", [Fleet()])  # type: ignore[list-item]
    await cloud.look()

    assert seen == [1]
    assert (world.status.values["machines"], world.status.values["machine_gpus"]) == (1, 3)
