"""Trading balance that nothing needs goes back to the wallet, where it can be withdrawn or used in another shard.

Idle: no open order, block or quote of the account in the shard, nothing promised there, and no movement of the balance for 15
minutes of market time. The engine judges what is really free (`Sweep`), so a bid that comes at the same moment loses nothing but
time: it fetches its money again (docs/decisions/004-try-first.md).

Every gateway looks; the request's id is made of the balance's last movement, so that all of them ask once.
"""

from __future__ import annotations

import contextlib
from typing import Final

from schemas.commands import Ground
from schemas.market_clock import MarketClock
from schemas.requests import FromTrading
from schemas.units import Millis
from services.gateway.database import Database
from services.gateway.errors import ApiError
from services.gateway.requests import Requests
from services.runtime.log import Clock

IDLE_MS: Final = 900_000
"""Market time; as long as the engine itself remembers what the account last asked for."""
EVERY_MS: Final = 60_000
"""Market time between two looks."""
_EVERY_MS_MIN: Final = 1_000
_ROWS_MAX: Final = 100
# Kinds and sources are those of docs/decisions/002-ledger.md; the list of kinds is the index's, word for word.
_SQL: Final = f"""
    SELECT b.ref AS account, b.shard, b.amount, last.seq FROM settlement.balances b
    CROSS JOIN LATERAL (
        SELECT p.seq, e.time_ms FROM settlement.postings p JOIN settlement.entries e USING (source, shard, seq, index)
        WHERE p.ref = b.ref AND p.kind IN (2, 3, 4, 5, 8) AND p.source = 1 AND p.shard = b.shard ORDER BY p.seq DESC LIMIT 1
    ) last
    WHERE b.kind = 5 AND b.asset = 0 AND b.amount > 0 AND last.time_ms <= $1
    AND NOT EXISTS (SELECT FROM settlement.orders o WHERE o.account = b.ref AND o.shard = b.shard AND o.state = 'open')
    AND NOT EXISTS (SELECT FROM settlement.blocks o WHERE o.account = b.ref AND o.shard = b.shard AND o.state = 'open')
    AND NOT EXISTS (SELECT FROM settlement.quotes q WHERE q.account = b.ref AND q.shard = b.shard AND q.hours > 0)
    AND NOT EXISTS (
        SELECT FROM settlement.backing k JOIN settlement.contracts c USING (contract)
        WHERE k.account = b.ref AND c.shard = b.shard AND k.ground IN ({int(Ground.PROMISED)}, {int(Ground.READY)})
        AND (k.qty > 0 OR k.owed > 0)
    )
    LIMIT {_ROWS_MAX}
"""  # noqa: S608 # numbers of ours


class Idle:
    """Looks now and then, and asks settlement."""

    def __init__(self, database: Database, requests: Requests, clock: Clock, market: MarketClock) -> None:
        self._database = database
        self._requests = requests
        self._clock = clock
        self._market = market

    async def sweep(self) -> None:
        """For ever. What fails is tried again at the next look."""
        while True:
            with contextlib.suppress(ApiError):
                await self.look()
            await self._clock.sleep_ms(max(_EVERY_MS_MIN, EVERY_MS // self._market.rate))

    async def look(self) -> None:
        """Once. Raises ApiError."""
        now_ms = self._market.market_ms(self._clock.now_ms())
        for row in await self._database.fetch(_SQL, now_ms - IDLE_MS):
            await self._requests.append(
                "requests", _request(row["account"], row["shard"], row["amount"], row["seq"], now_ms)
            )


def _request(account: int, shard: int, amount: int, seq: int, now_ms: Millis) -> FromTrading:
    """The same for whoever looks within the same quarter of an hour: after it, what was in use meanwhile is asked for again."""
    return FromTrading(f"{account}:idle-{shard}-{seq}-{now_ms // IDLE_MS}", account, shard, amount)
