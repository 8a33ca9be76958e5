"""Times at the edge: market milliseconds and hours to ISO 8601 UTC and back. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.units import MS_PER_HOUR, Hour, Millis
from services.gateway.errors import ApiError


def iso(time_ms: Millis) -> str:
    """1_790_000_000_000 → `2026-09-21T14:13:20.000Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(time_ms: Millis) -> str:
    """The same; 0: empty."""
    return iso(time_ms) if time_ms else ""


def iso_hour(hour: Hour) -> str:
    """Begin of an hour."""
    return datetime.fromtimestamp(hour * 3600, UTC).isoformat(timespec="minutes").replace("+00:00", "Z")


def parse_hour(text: str) -> Hour:
    """`2026-11-22T14:00Z` → hours since the epoch. Raises ApiError wrong_time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError("wrong_time", f"{text!r} is not an hour: write it like 2026-11-22T14:00Z") from None
    if moment.tzinfo is None or moment.timestamp() % 3600 or moment.timestamp() < 0:
        raise ApiError("wrong_time", f"{text!r} is not a whole hour with a time zone: write it like 2026-11-22T14:00Z")
    return int(moment.timestamp()) // 3600


class MarketClock:
    """Market time = t0 + rate × (now − t0); rate 1 outside a sandbox."""

    def __init__(self, t0_ms: Millis, rate: int, sandbox: bool) -> None:
        self.t0_ms = t0_ms
        self.rate = rate
        self.sandbox = sandbox

    def market_ms(self, now_ms: Millis) -> Millis:
        """Of a wall-clock time."""
        return self.t0_ms + self.rate * (now_ms - self.t0_ms)

    def hour(self, now_ms: Millis) -> Hour:
        """The running hour."""
        return self.market_ms(now_ms) // MS_PER_HOUR
