"""The simulated cloud's machines before a gateway: enrolled, heard, grown, and taken up again after a start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR
from services.simulated.agents import Fleet
from services.simulated.client import Client
from services.simulated.fleet import Market
from tests.simulated.gateway import KEY, Answer, FakeGateway, TestClock, problem

CLASS = "H100.SXM.80.US"
MACHINE = "h100-sxm-80-us-1"
HOUR = 495_000
NOW_MS = HOUR * MS_PER_HOUR + 1_000
ENROL, BEAT = "POST /v1/machines", f"POST /v1/machines/{MACHINE}/heartbeats"


class Over(Exception):
    """The test is."""


class Exchange:
    """What a gateway answers that knows one account."""

    def __init__(self) -> None:
        self.owed = 2
        self.before: list[dict[str, Any]] = []
        self.leases: list[dict[str, Any]] = []
        self.nonces = 0
        self.beats: list[Answer] = []
        """In place of answers, once each."""
        self.gateway = FakeGateway(
            {
                "GET /v1/machines": lambda _: (200, self.before),
                "GET /v1/positions": lambda _: (200, [self.position()]),
                ENROL: self.enrolled,
                BEAT: self.beat,
            }
        )

    def position(self) -> dict[str, Any]:
        return {
            "contract": format_symbol(CLASS, HOUR), "hour": "", "phase": "running", "held": 0, "cost": "0", "owed": self.owed,
            "proceeds": "0", "running": 0,
        }  # fmt: skip

    def enrolled(self, asked: dict[str, Any]) -> Answer:
        self.nonces += 1
        known = {
            "machine": asked["machine"],
            "every_ms": 1_000,
            "grace_ms": 1,
            "nonce": f"n{self.nonces}",
            "now_ms": NOW_MS,
        }
        return 200, known

    def beat(self, _: dict[str, Any]) -> Answer:
        if self.beats:
            return self.beats.pop(0)
        self.nonces += 1
        told = {"nonce": f"n{self.nonces}", "now_ms": NOW_MS, "every_ms": 1_000, "grace_ms": 1, "leases": self.leases}
        return 200, told

    @property
    def sizes(self) -> list[int]:
        """GPUs of each enrolment."""
        return [len(body["inventory"]) for body in self.gateway.sent(ENROL)]

    @property
    def said(self) -> list[dict[str, Any]]:
        return self.gateway.sent(BEAT)


@asynccontextmanager
async def living(exchange: Exchange) -> AsyncIterator[Callable[[], Any]]:
    """A fleet in it; what is given looks and lets its machines speak for a while."""
    clock = TestClock(NOW_MS)
    try:
        async with Client("http://gateway", KEY, clock, exchange.gateway) as client, asyncio.TaskGroup() as tasks:
            fleet = Fleet(client, KEY.account, clock, "seed", tasks)

            async def look() -> None:
                await fleet.look({CLASS: 1}, Market(NOW_MS, NOW_MS, 1), [], [])
                before = len(exchange.said)
                for _ in range(1_000):
                    await asyncio.sleep(0)
                    if len(exchange.said) > before + 3:
                        break
                clock.now = NOW_MS

            yield look
            raise Over
    except* Over:
        pass


def lease(number: int, gpus: int) -> dict[str, Any]:
    seats = [f"simulated-{KEY.account}-{MACHINE}-{gpu}" for gpu in range(gpus)]
    return {
        "lease": str(number), "seats": seats, "from_ms": NOW_MS - 1, "until_ms": NOW_MS + MS_PER_HOUR, "warn_ms": [],
        "probe_key": "",
    }  # fmt: skip


async def test_what_is_owed_has_a_machine_that_says_that_it_is_simulated() -> None:
    exchange = Exchange()
    exchange.leases = [lease(1, 2), lease(2, 1)]
    async with living(exchange) as look:
        await look()

    (asked,) = exchange.gateway.sent(ENROL)
    assert (asked["machine"], asked["source"], asked["driver"], len(asked["inventory"])) == (
        MACHINE, "simulated", "simulated", 2,
    )  # fmt: skip
    assert [each["seq"] for each in exchange.said[:3]] == [1, 2, 3]
    assert [each["nonce"] for each in exchange.said[:3]] == ["n1", "n2", "n3"], "each echoes the answer before"
    assert [(each["lease"], each["state"]) for each in exchange.said[2]["leases"]] == [("1", "open"), ("2", "failed")]


async def test_a_machine_grows_with_what_is_owed_and_does_not_shrink() -> None:
    exchange = Exchange()
    async with living(exchange) as look:
        for exchange.owed in (2, 5, 1):
            await look()

    assert exchange.sizes == [2, 5]
    first, then = ([gpu["uuid"] for gpu in body["inventory"]] for body in exchange.gateway.sent(ENROL))
    assert then[:2] == first


async def test_after_a_start_it_takes_up_what_it_had() -> None:
    """Fewer seats would be seats that are gone, with tenants on them."""
    exchange = Exchange()
    exchange.before = [
        {
            "machine": MACHINE, "class_id": CLASS, "source": "simulated", "driver": driver, "host": "simulated", "alive": False,
            "heard_s_ago": -1, "clock_off_ms": 0, "retired": False,
            "seats": [{"uuid": str(number), "usable": True, "lease": ""} for number in range(7)],
        }
        for driver in ("simulated", "open")
    ]  # fmt: skip
    async with living(exchange) as look:
        await look()

    assert exchange.sizes == [7], "another's machines are not its own"


async def test_a_machine_that_is_not_known_any_more_is_enrolled_again() -> None:
    """The exchange's room began anew, or is away for a moment."""
    exchange = Exchange()
    exchange.beats = [problem(404, "unknown_machine"), problem(503, "not_ready")]
    async with living(exchange) as look:
        await look()

    assert exchange.sizes == [2, 2, 2]
    assert exchange.said[-1]["seq"] > 1
