"""How fast the desk may ask: a bounded number of requests in any second. Pure: the clock is the caller's."""

from __future__ import annotations

from schemas.units import Millis


class Pace:
    """Requests evenly spaced, with a burst of a fifth of a second's worth after a rest."""

    def __init__(self, per_second: int) -> None:
        assert per_second > 0
        self._every_ms = 1_000 / per_second
        self._burst_ms = 200.0
        self._next_ms = 0.0

    def reserve(self, now_ms: Millis) -> Millis:
        """How long to wait before sending; the place in the line is taken."""
        self._next_ms = max(self._next_ms, now_ms - self._burst_ms)
        wait_ms = max(0.0, self._next_ms - now_ms)
        self._next_ms += self._every_ms
        return -int(-wait_ms // 1)

    def hold(self, until_ms: Millis) -> None:
        """Send nothing before: the other side has asked for it."""
        self._next_ms = max(self._next_ms, until_ms + self._burst_ms)
