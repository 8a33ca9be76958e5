"""How far settlement has come behind what this gateway has seen in `events`, and whose reads must therefore wait.

The headers of a record name the accounts that it concerns. A read of such an account waits until settlement has passed the
record: an acknowledged write is seen, whoever caused it. What was written before this gateway began counts as well, and so does
what a database has forgotten that was restored to an earlier moment meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from services.gateway.database import Database
from services.gateway.errors import ApiError

READ_WAIT_S: Final = 1.0
LAG_MS_MAX: Final = 2_000
"""Beyond it no new orders are accepted."""
_POLL_S: Final = 0.005
_STEP_S: Final = 0.05
"""What was seen within it is one moment for the lag: bounds memory while settlement stands still."""


class Progress:
    """`begin` with the newest record of each shard, `saw` with every later one."""

    def __init__(self, database: Database, shards: int) -> None:
        self._database = database
        self.settled = [0] * shards
        self.time_ms = [0] * shards
        """Market time up to which each shard is settled."""
        self._seen: list[deque[tuple[float, int]]] = [deque() for _ in range(shards)]
        """Per shard (when, newest seq then) of what is not settled yet."""
        self._before = [0] * shards
        self._touched: dict[int, dict[int, int]] = {}
        """account -> shard -> its newest record."""
        self._asking = asyncio.Lock()
        self._asked_s = self._answered_s = 0.0
        self._doubtful = False
        """The database did not answer: it may come back as one from an earlier moment."""

    def begin(self, shard: int, seq: int) -> None:
        """Nobody knows here whom the records up to `seq` concern: all reads wait for them."""
        self._before[shard] = seq
        self.saw(shard, seq, ())

    def saw(self, shard: int, seq: int, accounts: Iterable[int]) -> None:
        """A record of `events`."""
        for account in accounts:
            shards = self._touched.setdefault(account, {})
            shards[shard] = max(seq, shards.get(shard, 0))
        if seq <= self.settled[shard]:
            return
        seen, now = self._seen[shard], time.monotonic()
        if seen and now - seen[-1][0] < _STEP_S:
            seen[-1] = (seen[-1][0], max(seq, seen[-1][1]))
        else:
            seen.append((now, seq))

    def lag_ms(self, shard: int) -> int:
        """For how long settlement has owed the oldest record that it has not settled."""
        seen = self._seen[shard]
        return int((time.monotonic() - seen[0][0]) * 1000) if seen else 0

    async def refresh(self) -> None:
        """Read settlement's cursors, and forget what is settled. Raises ApiError not_ready."""
        await self._read_cursors()
        self._touched = {account: left for account, seqs in self._touched.items() if (left := self._unsettled(seqs))}

    async def _read_cursors(self) -> None:
        asked_s = time.monotonic()
        try:
            rows = await self._database.fetch(
                "SELECT partition, seq, time_ms FROM settlement.cursors WHERE topic = 'events'"
            )
        except ApiError:
            self._doubtful = True
            raise
        # Of two answers under way at once the later one may be the older. One that was asked for afterwards counts in any case.
        newest = asked_s > self._answered_s
        self._asked_s, self._answered_s, self._doubtful = asked_s, time.monotonic(), False
        found = {row["partition"]: row for row in rows}
        for shard, seen in enumerate(self._seen):
            seq, time_ms = (found[shard]["seq"], found[shard]["time_ms"]) if shard in found else (0, 0)
            if newest and seq < self.settled[shard]:
                self._owe_again(shard)
                self.settled[shard], self.time_ms[shard] = seq, time_ms
            self.settled[shard] = max(seq, self.settled[shard])
            self.time_ms[shard] = max(time_ms, self.time_ms[shard])
            while seen and seen[0][1] <= self.settled[shard]:
                seen.popleft()

    def _owe_again(self, shard: int) -> None:
        """The database was restored to an earlier moment: whom the records concern that it lacks, nobody knows here any more."""
        was, seen = self.settled[shard], self._seen[shard]
        self._before[shard] = max(was, self._before[shard])
        seen.appendleft((seen[0][0] if seen else time.monotonic(), was))

    def _unsettled(self, seqs: dict[int, int]) -> dict[int, int]:
        return {shard: seq for shard, seq in seqs.items() if seq > self.settled[shard]}

    async def wait_for(self, account: int) -> None:
        """Until settlement has passed what concerns the account now. Raises ApiError not_settled_yet."""
        try:
            async with asyncio.timeout(READ_WAIT_S):
                if self._doubtful:
                    await self._newer()
                # A copy: what comes while we wait is not waited for, else a busy account would never read.
                goal = dict(enumerate(self._before))
                for shard, seq in self._touched.get(account, {}).items():
                    goal[shard] = max(seq, goal[shard])
                while self._unsettled(goal):
                    await self._newer()
                    if self._unsettled(goal):
                        await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise ApiError("not_settled_yet") from None

    async def _newer(self) -> None:
        """Cursors as they are from now on: one query serves all who wait."""
        wanted_s = time.monotonic()
        async with self._asking:
            if self._asked_s < wanted_s:
                await self._read_cursors()
