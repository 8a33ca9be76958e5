"""When a source is asked again: at its interval, later after errors, and seldom once it keeps failing.

Pure: it is told the time and given its chance. A circuit breaker with the usual three states:
closed      asked at its interval; after each error in a row the pause doubles
open        `FAILURES_MAX` errors in a row: asked once per cool-down only
half-open   the cool-down is over, one trial is under way: it closes the circuit, or opens it again
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from schemas.units import Millis

FAILURES_MAX: Final = 5
COOL_DOWN_MS: Final = 30_000
JITTER: Final = 0.1
"""Share of a pause by which it is shorter or longer, so that many sources do not fall together."""
RETRY_AFTER_MS_MAX: Final = 3_600_000
_DOUBLINGS_MAX: Final = 20

State = Literal["closed", "open", "half-open"]


class Circuit(Struct):
    """One source's."""

    poll_ms: Millis
    failures: int = 0
    """In a row."""
    state: State = "closed"

    def ask(self) -> None:
        """It is asked now."""
        if self.state == "open":
            self.state = "half-open"

    def succeeded(self, chance: float) -> Millis:
        """It answered well; how long until it is asked again. `chance` is in [0, 1)."""
        self.failures = 0
        self.state = "closed"
        return _spread(self.poll_ms, chance)

    def failed(self, chance: float, wanted_ms: Millis = 0) -> Millis:
        """It did not; how long until it is asked again. `wanted_ms`: the pause that it asks for itself."""
        self.failures += 1
        if self.failures >= FAILURES_MAX:
            self.state = "open"
        doublings = min(self.failures - 1, _DOUBLINGS_MAX)
        pause_ms = COOL_DOWN_MS if self.state == "open" else min(self.poll_ms << doublings, COOL_DOWN_MS)
        longest_ms = max(pause_ms, self.poll_ms, min(wanted_ms, RETRY_AFTER_MS_MAX))
        return _spread(longest_ms, chance)


def _spread(pause_ms: Millis, chance: float) -> Millis:
    return max(1, int(pause_ms * (1 + JITTER * (2 * chance - 1))))
