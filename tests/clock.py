"""A clock for tests in which nobody really waits."""

from __future__ import annotations

import asyncio


class HandClock:
    """`services.runtime.log.Clock`; time stands still unless somebody waits, or it is moved."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def elapsed_ms(self) -> int:
        return self.ms

    async def sleep_ms(self, duration_ms: int) -> None:
        self.ms += duration_ms
        await asyncio.sleep(0)
