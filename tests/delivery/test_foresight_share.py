"""Previews take a small part of the room's time, whoever asks for how many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schemas.http import HandoversPreview
from schemas.market_clock import MarketClock
from schemas.rental import Foresight
from services.delivery import purchases
from services.delivery.shell import FORESIGHT_SHARE, FORESIGHTS_MAX, Delivery
from services.runtime.status import Status
from tests.delivery.room import ANA, CLASS, HOUR

TAKES_MS = 70


class Clock:
    """It passes where somebody reckons or sleeps, and nowhere else."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def elapsed_ms(self) -> int:
        return self.passed_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        self.passed_ms += duration_ms
        await asyncio.sleep(0)


async def test_a_flood_of_previews_leaves_the_room_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, nothing = Clock(), None
    room = Delivery(
        1, nothing, [], nothing, nothing, nothing, MarketClock(0, 1, sandbox=True), clock, Status("delivery")  # type: ignore[arg-type]
    )  # fmt: skip
    room.market.classes["ONE.X"] = CLASS
    told = HandoversPreview(least=0, most=1, likely=1, basis="why")
    reckoned = []

    def reckon(*_: Any) -> HandoversPreview:
        clock.passed_ms += TAKES_MS
        reckoned.append(clock.passed_ms)
        return told

    monkeypatch.setattr(purchases, "handovers", reckon)
    asked = Foresight(class_id="ONE.X", hours=((HOUR, 1),))

    answers = await asyncio.gather(*(room.handovers(ANA, asked) for _ in range(10 * FORESIGHTS_MAX)))

    assert answers.count(told) == len(reckoned) == FORESIGHTS_MAX
    assert clock.passed_ms >= TAKES_MS * FORESIGHT_SHARE * (FORESIGHTS_MAX - 1)
    assert await room.handovers(ANA, asked) == told, "and then goes on"
