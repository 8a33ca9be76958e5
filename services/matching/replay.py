"""Replay: the same bytes again from the log alone.

    done = await replay(shard, commands, quarantine, clock, through_seq=812)
    done = await replay(shard, commands, quarantine, clock, events=events)      # and compare with what was said then
    done.replica.engine, done.replica.seq, done.replica.chain, done.commands_per_s

The audit compares the engine at a seq with the ledger at that seq; an operator compares a build with the log before trusting it.
"""

from __future__ import annotations

from typing import NamedTuple

from services.matching.engine import Engine
from services.matching.mirror import PATIENCE_MS, READ_MAX, Mirror
from services.matching.quarantine import QuarantineReader
from services.matching.replica import Replica
from services.runtime.errors import Halt
from services.runtime.log import Clock, Log
from services.runtime.positions import verify


class Replayed(NamedTuple):
    """A replay's end."""

    replica: Replica
    """At `through_seq`; where that lies inside an output of several parts, after its last part."""
    records: int
    """Records of `commands` that were applied."""
    commands: int
    """Commands in them."""
    compared: int
    """Records of `events` that were compared, and were equal."""
    elapsed_ms: int

    @property
    def commands_per_s(self) -> float:
        """Commands per second, reading included."""
        return 1000 * self.commands / max(1, self.elapsed_ms)


async def replay(
    shard: int,
    commands: Log,
    quarantine: Log,
    clock: Clock,
    *,
    through_seq: int | None = None,
    start: Replica | None = None,
    events: Log | None = None,
) -> Replayed:
    """Apply `commands` from the beginning (or from `start`) until seq `through_seq`, or to the present end.

    With `events`, and from the beginning, every output is compared with what stands there; the end of `events` may come first.
    Raises Halt where they differ, and for a `through_seq` that the log does not reach.
    """
    assert start is None or events is None, "a comparison begins where both logs begin"
    began_ms = clock.elapsed_ms()
    banned = QuarantineReader(quarantine, shard)
    await banned.refresh()
    replica = start or Replica(shard, Engine())
    await verify(commands, replica.position)
    # Without `events` nothing is ever compared, and the mirror's second log is never read: any will do.
    mirror = Mirror(replica, commands, events or commands, banned)
    records_before, commands_before = replica.records, replica.commands
    _, end = await commands.bounds()
    events_end = (await events.bounds())[1] if events is not None else 0
    while replica.next_offset < end and not _reached(replica, through_seq):
        await _apply_batch(mirror, end, through_seq)
        while mirror.pending and mirror.events_position.next_offset < events_end:
            await mirror.compare_some(wait_ms=PATIENCE_MS)
        mirror.pending.clear()
    if through_seq is not None and not _reached(replica, through_seq):
        raise Halt(f"commands/{shard} ends at seq {replica.seq}, asked is {through_seq}")
    return Replayed(
        replica,
        records=replica.records - records_before,
        commands=replica.commands - commands_before,
        compared=mirror.seq_verified if events is not None else 0,
        elapsed_ms=clock.elapsed_ms() - began_ms,
    )


async def _apply_batch(mirror: Mirror, end: int, through_seq: int | None) -> None:
    start = mirror.replica.next_offset
    for record in await mirror.commands.read(start, count=READ_MAX, wait_ms=PATIENCE_MS):
        if record.offset >= end or _reached(mirror.replica, through_seq):
            return
        mirror.pending.extend(await mirror.apply(record))


def _reached(replica: Replica, through_seq: int | None) -> bool:
    return through_seq is not None and replica.seq >= through_seq
