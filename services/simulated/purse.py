"""How much a demo member may spend. Pure.

Its hourly allowance is a share of what it has: what is spent in an hour leaves most of the rest, so its money never
runs out, and lasts for days at full speed. What is not spent waits, up to one hour's allowance.
"""

from __future__ import annotations

from typing import Final

from schemas.units import BP, MS_PER_HOUR, Micros, Millis

SHARE_BP: Final = 50
"""Per hour, of what there is: after three days at full speed 70 % is left."""


class Purse:
    """Filled with time, emptied by purchases."""

    def __init__(self) -> None:
        self._wealth: Micros = 0
        self._filled: Micros = 0
        self._at_ms: Millis | None = None

    def weigh(self, wealth: Micros, now_ms: Millis) -> None:
        """What the member has now; the first time its purse is half full."""
        if self._at_ms is None:
            self._filled, self._at_ms = wealth * SHARE_BP // BP // 2, now_ms
        else:
            self.available(now_ms)
        self._wealth = wealth

    def available(self, now_ms: Millis) -> Micros:
        """To be spent at once."""
        if self._at_ms is None:
            return 0
        allowance = self._wealth * SHARE_BP // BP
        passed_ms = max(0, now_ms - self._at_ms)
        self._filled = min(allowance, self._filled + allowance * passed_ms // MS_PER_HOUR)
        self._at_ms = max(now_ms, self._at_ms)
        return self._filled

    def spend(self, amount: Micros) -> None:
        """Bought, or bid for: what a bid does not buy comes back with time."""
        assert amount >= 0
        self._filled -= min(amount, self._filled)
