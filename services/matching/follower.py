"""The warm standby: follows both logs, writes snapshots, and takes over when the lease has run out.

Every process of a shard begins here; one of them gets the lease. Awaits nothing but Log, Clock, Lease and SnapshotStore.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from services.matching.mirror import READ_MAX, Mirror
from services.matching.recovery import save
from services.matching.store import SnapshotStore
from services.runtime.lease import Lease, LeaseAway
from services.runtime.log import Clock
from services.runtime.status import Status

LEASE_MS: Final = 3_000
"""How long a writer that says nothing keeps its lease; it renews at a third of that."""
_WAIT_MS: Final = 100
_PAUSE_MS: Final = 50
"""Between two looks at the logs, so that one look finds many records: nobody waits for a standby, and while it woke for every
record it took broker and processors from those who are waited for."""
_SAVE_AGAIN_MS: Final = 10_000
"""Pause after a snapshot for which the disk had no room."""


class SnapshotPlan(Struct, frozen=True):
    """After how many records of `commands`, or how much time, a follower writes a snapshot."""

    records: int = 200_000
    every_ms: int = 600_000


class Follower:
    """Follows a shard until it may write it."""

    def __init__(
        self,
        mirror: Mirror,
        lease: Lease,
        store: SnapshotStore,
        clock: Clock,
        status: Status,
        *,
        lease_name: str,
        holder: str,
        plan: SnapshotPlan | None = None,
        between: Callable[[bool], None] = lambda busy: None,  # noqa: ARG005 # who tests or simulates wants nothing done
    ) -> None:
        self.mirror = mirror
        self._lease = lease
        self._store = store
        self._clock = clock
        self._status = status
        self._lease_name = lease_name
        """One for the shard."""
        self._holder = holder
        """Of this one process: nobody else ever uses it."""
        self._plan = plan or SnapshotPlan()
        self._between = between
        """Called between two looks, with whether there was anything to do: the moment for a garbage collection."""
        self._saved_offset = mirror.replica.next_offset
        self._saved_ms = clock.elapsed_ms()
        self._save_not_before_ms = 0
        self._lease_asked_ms = 0

    async def run(self) -> int:
        """Follow until the lease is ours; the new epoch. Raises Halt where the logs contradict each other."""
        await self.mirror.catch_up(progress=self._report)
        while True:
            moved = await self.mirror.compare_some(wait_ms=_WAIT_MS if self.mirror.full else 0)
            applied = await self.mirror.apply_some(wait_ms=0 if moved else _WAIT_MS)
            self._report()
            await self._save_when_due()
            epoch = await self._try_lease()
            if epoch is not None:
                # Who writes takes no snapshots.
                self._status.go_on("disk")
                return epoch
            self._between(bool(moved or applied))
            if max(moved, applied) < READ_MAX:
                await self._clock.sleep_ms(_PAUSE_MS)

    async def _save_when_due(self) -> None:
        new = self.mirror.replica.next_offset - self._saved_offset
        now_ms = self._clock.elapsed_ms()
        if new < self._plan.records and (new <= 0 or now_ms - self._saved_ms < self._plan.every_ms):
            return
        if now_ms < self._save_not_before_ms:
            return
        # Nothing is applied meanwhile, so what is pending comes to an end; while nobody writes it does not come at all,
        # and the lease is more urgent than a snapshot.
        patience_ms = self._clock.elapsed_ms() + LEASE_MS // 3
        while not self.mirror.verified and self._clock.elapsed_ms() < patience_ms:
            await self.mirror.compare_some(wait_ms=_WAIT_MS)
        if self.mirror.verified:
            await self._save()

    async def _save(self) -> None:
        try:
            name = await save(self.mirror, self._store)
        except OSError as error:
            # A disk without room costs snapshots; a standby that ended for it would cost the market.
            self._save_not_before_ms = self._clock.elapsed_ms() + _SAVE_AGAIN_MS
            self._status.wait("disk", str(error))
            return
        self._saved_offset, self._saved_ms = self.mirror.replica.next_offset, self._clock.elapsed_ms()
        self._status.set(snapshot=name)
        self._status.go_on("disk")

    async def _try_lease(self) -> int | None:
        now_ms = self._clock.elapsed_ms()
        if now_ms - self._lease_asked_ms < LEASE_MS // 3:
            return None
        self._lease_asked_ms = now_ms
        # Whoever is behind would keep the market waiting for what another may have at hand.
        await self.mirror.catch_up()
        try:
            epoch = await self._lease.acquire(self._lease_name, self._holder, LEASE_MS, above=self.mirror.epoch)
        except LeaseAway as error:
            self._status.wait("lease", str(error))
            return None
        self._status.go_on("lease")
        return epoch

    def _report(self) -> None:
        mirror = self.mirror
        self._status.set(
            role="follower",
            seq=mirror.replica.seq,
            seq_verified=mirror.seq_verified,
            epoch=mirror.epoch,
            lag=mirror.lag,
            offset=mirror.replica.next_offset,
            pending=len(mirror.pending),
            time_ms=mirror.replica.engine.time_ms,
            unsaved=mirror.replica.next_offset - self._saved_offset,
            engine_version=mirror.replica.engine.version,
            **mirror.sizes(),
        )
        self._status.set_of(mirror.replica.engine.shard, active=0)
