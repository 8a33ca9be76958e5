"""The shards as members' commands reach them: whether one takes new orders just now, and until when a command is valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.market_clock import MarketClock
from schemas.units import Millis
from services.gateway.door import Door
from services.gateway.errors import ApiError
from services.gateway.progress import LAG_MS_MAX, Progress
from services.gateway.values import VALID_MS_MAX
from services.runtime.log import Clock

CANCEL_VALID_MS: Final = 30_000
_SKEW_MS_MAX: Final = 5_000
SILENT_S_MAX: Final = 3.0
"""For how long a shard's log may not be heard: whoever waits for an answer there would wait in vain."""
BEHIND_MS_MAX: Final = 30_000
"""How old the newest settled record of a shard may be; an active shard says something every second."""
_BEHIND: Final = "the shard does not go on at the moment: send the order again with the same client order id"


class Shards:
    """Doors by shard, and how far settlement is behind each."""

    def __init__(self, doors: Sequence[Door], progress: Progress, clock: Clock, market: MarketClock) -> None:
        self.doors = doors
        self._progress = progress
        self._clock = clock
        self._market = market

    def door(self, shard: int) -> Door:
        """For what is always taken: cancels and the like. Raises ApiError unknown_order for a shard that is not there."""
        if not 0 <= shard < len(self.doors):
            raise ApiError("unknown_order")
        return self.doors[shard]

    def open_door(self, shard: int) -> Door:
        """For new orders. Raises ApiError overloaded, not_ready."""
        if code := self.refusal(shard):
            raise ApiError(code, _BEHIND if code == "not_ready" else "")
        return self.doors[shard]

    def refusal(self, shard: int) -> str:
        """The code with which new orders of a shard are refused just now; empty: they are taken.

        A client order id is looked for among the orders that are settled, and by the engine among those of a quarter of an
        hour. Where what is settled is older than that, an order that was sent before and is still to come would be in neither.
        """
        if self.doors[shard].silent_s > SILENT_S_MAX:
            return "not_ready"
        if self._progress.lag_ms(shard) > LAG_MS_MAX:
            return "overloaded"
        return "not_ready" if self.is_behind(shard) else ""

    def is_behind(self, shard: int) -> bool:
        """Whether what is settled of a shard is too old to take new orders: it stands still, or makes up for having done so."""
        return self.behind_ms(shard) > BEHIND_MS_MAX

    def behind_ms(self, shard: int) -> int:
        """How old, by our clock, the newest record of the shard is that is settled."""
        return (self.now_ms() - self._progress.time_ms[shard]) // self._market.rate

    def now_ms(self) -> Millis:
        """Market time by our clock."""
        return self.market_ms(self._clock.now_ms())

    def market_ms(self, our_ms: Millis) -> Millis:
        """Our clock → the market's."""
        return self._market.market_ms(our_ms)

    def market_span_ms(self, span_ms: int) -> Millis:
        """So long by our clock → by the market's."""
        return span_ms * self._market.rate

    def valid_until(self, valid_for_ms: int = CANCEL_VALID_MS) -> Millis:
        """Market time. Within the engine's bound also where time runs faster, or where our clock is ahead of the broker's."""
        most_ms = max(VALID_MS_MAX - _SKEW_MS_MAX * self._market.rate, VALID_MS_MAX // 2)
        return self.now_ms() + min(valid_for_ms * self._market.rate, most_ms)
