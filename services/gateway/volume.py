"""How much is traded, and the desk's part of it: public, by class and in all.

A fill counts once, and as the desk's where the desk is on either side of it. Fills never change, so an hour of the market that
every shard has passed is summed once and kept; what is younger is summed again, at most every few seconds, whoever asks.
With a million fills in the week the first answer after a start took 1.4 s, and every further one 11 to 18 ms (two busy cores,
Postgres on the same machine, index `fills_of_time`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from schemas import http
from schemas.edge import iso_hour, iso_or_none
from schemas.market_clock import MarketClock
from schemas.units import BP, MS_PER_HOUR, Hour, Micros, Millis, format_usd
from services.gateway.classes import Classes
from services.gateway.database import Database
from services.gateway.progress import Progress
from services.runtime.log import Clock

PERIODS: Final = (24, 168)
"""Whole hours before the one that runs, which comes on top."""
FRESH_MS: Final = 5_000
HOURS_AT_ONCE: Final = 24
"""Of one query, so that each ends in time however much is traded: what it has read is kept, even where the next one fails."""
_SQL: Final = (
    "SELECT (contract >> 24)::int AS class_no, (time_ms / 3600000)::int AS hour,"
    " (buyer = ANY($3::bigint[]) OR seller = ANY($3::bigint[])) AS desk,"
    " sum(qty::bigint * minutes)::bigint AS minutes, sum(notional)::bigint AS notional"
    " FROM settlement.fills WHERE time_ms >= $1 AND time_ms < $2 GROUP BY 1, 2, 3"
)


class Sum(NamedTuple):
    """Of some fills. Minutes are GPU-minutes."""

    minutes: int = 0
    notional: Micros = 0
    desk_minutes: int = 0
    desk_notional: Micros = 0

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(*(a + b for a, b in zip(self, other, strict=True)))


OfHour = dict[int, Sum]
"""Class number → what was traded."""


class Volume:
    """Asked often, read seldom; one answer is made at a time."""

    def __init__(
        self, database: Database, classes: Classes, progress: Progress, clock: Clock, market: MarketClock
    ) -> None:
        self._database = database
        self._classes = classes
        self._progress = progress
        self._clock = clock
        self._market = market
        self._making = asyncio.Lock()
        self._over: dict[Hour, OfHour] = {}
        """Hours in which nothing more can be traded."""
        self._answer: http.VolumeAnswer | None = None
        self._made_ms: Millis = 0

    async def answer(self) -> http.VolumeAnswer:
        """At most `FRESH_MS` old. Raises ApiError not_ready."""
        async with self._making:
            now_ms = self._clock.now_ms()
            if self._answer is None or not 0 <= now_ms - self._made_ms < FRESH_MS:
                self._answer = await self._make()
                self._made_ms = now_ms
            return self._answer

    async def _make(self) -> http.VolumeAnswer:
        # Before the fills are read: of an hour that was settled by then no fill is missing.
        settled_ms = min(self._progress.time_ms)
        now = self._market.hour(self._clock.now_ms())
        hours = await self._read(now - max(PERIODS), now, settled_ms // MS_PER_HOUR)
        periods = [(count, now - count) for count in PERIODS]
        return http.VolumeAnswer(
            settled_to=iso_or_none(settled_ms),
            periods=tuple([await self._period(count, since, hours) for count, since in periods]),
        )

    async def _read(self, first: Hour, last: Hour, over: Hour) -> dict[Hour, OfHour]:
        """`over`: the first hour in which something may still be traded."""
        self._over = {hour: sums for hour, sums in self._over.items() if hour >= first}
        missing = [hour for hour in range(first, last + 1) if hour not in self._over]
        desks = await self._database.fetch("SELECT account FROM settlement.accounts WHERE desk") if missing else []
        found = dict(self._over)
        for place in range(0, len(missing), HOURS_AT_ONCE):
            part = missing[place : place + HOURS_AT_ONCE]
            since_ms, until_ms = part[0] * MS_PER_HOUR, (part[-1] + 1) * MS_PER_HOUR
            sums = await self._sums(since_ms, until_ms, [row["account"] for row in desks])
            read = {hour: sums.get(hour, {}) for hour in part}
            found |= read
            self._over |= {hour: of_hour for hour, of_hour in read.items() if hour < over}
        return found

    async def _sums(self, since_ms: Millis, until_ms: Millis, desks: list[int]) -> dict[Hour, OfHour]:
        rows = await self._database.fetch(_SQL, since_ms, until_ms, desks)
        found: defaultdict[Hour, OfHour] = defaultdict(dict)
        for row in rows:
            both = (row["minutes"], row["notional"])
            one = Sum(*both, *both) if row["desk"] else Sum(*both)
            of_hour = found[row["hour"]]
            of_hour[row["class_no"]] = of_hour.get(row["class_no"], Sum()).plus(one)
        return found

    async def _period(self, count: int, since: Hour, hours: Mapping[Hour, OfHour]) -> http.VolumePeriod:
        of_class: defaultdict[int, Sum] = defaultdict(Sum)
        for hour, sums in hours.items():
            if hour >= since:
                for class_no, one in sums.items():
                    of_class[class_no] = of_class[class_no].plus(one)
        rows = [row((await self._classes.number(number))["class_id"], one) for number, one in of_class.items()]
        return http.VolumePeriod(
            hours=count,
            since=iso_hour(since),
            total=row("", total(of_class.values())),
            classes=tuple(sorted(rows, key=lambda each: each.class_id)),
        )


def total(sums: Iterable[Sum]) -> Sum:
    """All of them together."""
    found = Sum()
    for one in sums:
        found = found.plus(one)
    return found


def row(class_id: str, one: Sum) -> http.VolumeRow:
    """As the public reads it."""
    share_bp = (2 * BP * one.desk_minutes + one.minutes) // (2 * one.minutes) if one.minutes else 0
    return http.VolumeRow(
        class_id=class_id,
        gpu_minutes=one.minutes,
        notional=format_usd(one.notional),
        desk_gpu_minutes=one.desk_minutes,
        desk_notional=format_usd(one.desk_notional),
        desk_share_bp=share_bp,
    )
