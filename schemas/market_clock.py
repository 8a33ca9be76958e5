"""Market time by a wall clock, and back. Pure."""

from __future__ import annotations

from schemas.units import MS_PER_HOUR, Hour, Millis


class MarketClock:
    """Market time = t0 + rate × (now − t0); rate 1 outside a sandbox."""

    def __init__(self, t0_ms: Millis, rate: int, sandbox: bool) -> None:
        self.t0_ms = t0_ms
        self.rate = rate
        self.sandbox = sandbox

    def market_ms(self, now_ms: Millis) -> Millis:
        """Of a wall-clock time."""
        return self.t0_ms + self.rate * (now_ms - self.t0_ms)

    def wall_ms(self, market_ms: Millis) -> Millis:
        """The first moment at which the market's time is not before it."""
        return self.t0_ms - (self.t0_ms - market_ms) // self.rate

    def hour(self, now_ms: Millis) -> Hour:
        """The running hour."""
        return self.market_ms(now_ms) // MS_PER_HOUR
