"""How often a key may ask: a token bucket per key. Pure: the clock is the caller's."""

from __future__ import annotations

from typing import Final, NamedTuple

RATE_PER_S: Final = 200
BURST: Final = 400
KEYS_MAX: Final = 10_000
"""Buckets kept; the one that was asked longest ago goes first."""


class Verdict(NamedTuple):
    """`wait_ms` 0: it may."""

    remaining: int
    wait_ms: int
    full_ms: int
    """Until the bucket is full again, if nothing more is asked."""


class Limits:
    """Token buckets by key id."""

    def __init__(self, rate_per_s: int = RATE_PER_S, burst: int = BURST) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._buckets: dict[str, tuple[int, int]] = {}
        """key -> (thousandths of a token, when)."""

    def take(self, key: str, now_ms: int, cost: int = 1) -> Verdict:
        """One request of `key`, which counts as `cost`."""
        tokens, then_ms = self._buckets.pop(key, (self.burst * 1000, now_ms))
        tokens = min(self.burst * 1000, tokens + max(0, now_ms - then_ms) * self.rate_per_s)
        allowed = tokens >= 1000 * cost
        tokens -= 1000 * cost if allowed else 0
        self._buckets[key] = (tokens, now_ms)
        if len(self._buckets) > KEYS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return Verdict(
            remaining=tokens // 1000,
            wait_ms=0 if allowed else -(-(1000 * cost - tokens) // self.rate_per_s),
            full_ms=-(-(self.burst * 1000 - tokens) // self.rate_per_s),
        )

    def headers(self, verdict: Verdict | None) -> dict[str, str]:
        """RateLimit fields: the policy, and to a caller that is known what is left of it."""
        window_s = -(-self.burst // self.rate_per_s)
        shown = {"ratelimit-policy": f'"key";q={self.burst};w={window_s}'}
        if verdict is not None:
            shown["ratelimit"] = f'"key";r={verdict.remaining};t={-(-verdict.full_ms // 1000)}'
        return shown
