"""What an operator does with a shard's logs, each a short-lived process: `python -m services.matching WHAT`.

    snapshot                        come to the end of `events` and write a snapshot there
    replay [--through-seq N]        run the log through this build and compare with `events`; prints seq, chain, state hash, rate
    quarantine --offset --hash ...  take a broken record out of the market
    archive --cursors N,...         copy what nobody needs any more into files, and cut it where the broker can

Results are one JSON object on stdout. Snapshot and replay read through HOURBOOK_DATA/archive where that exists.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from services.matching.quarantine import ban
from services.matching.recovery import recover, save
from services.matching.replay import replay
from services.matching.snapshot import state_hash
from services.matching.store import FileSnapshotStore, Snapshot, Unusable
from services.runtime.archive import Archive, archived, copy
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.log import Log, LogError
from services.runtime.positions import Position, contradiction
from services.runtime.supervise import Service


class Safe(NamedTuple):
    """Offsets below which nobody has to read any more."""

    commands: int
    events: int


def safe_offsets(snapshots: Sequence[Snapshot], cursors: Sequence[int]) -> Safe:
    """Below every snapshot that may still be begun at, and every cursor on `events` (its next offset).

    The record before each position stays: whoever takes it up reads that record again. Raises Halt without a snapshot.
    """
    if not snapshots:
        raise Halt("there is no snapshot: without one every start begins at offset 0, and nothing can be cut")
    commands = min(snapshot.commands_next for snapshot in snapshots)
    events = min([snapshot.events_next for snapshot in snapshots] + list(cursors))
    return Safe(max(0, commands - 1), max(0, events - 1))


async def snapshot(service: Service, cluster: Cluster) -> None:
    """Come to the end of `events` and write a snapshot there."""
    shard = service.settings.shard
    store = FileSnapshotStore(_data(service) / "snapshots", shard)
    commands, events = (
        archived(cluster.log(topic, shard), _data(service) / "archive") for topic in ("commands", "events")
    )
    mirror = await recover(shard, commands, events, cluster.log("quarantine"), store, notice=service.log.warning)
    await mirror.catch_up()
    if not mirror.verified:
        raise Halt("events ends within an output, and nobody writes the rest: start matching, then try again")
    _print(file=await save(mirror, store), seq=mirror.replica.seq, offset=mirror.replica.next_offset)


async def run_replay(service: Service, cluster: Cluster, options: Namespace) -> None:
    """From the beginning, every output compared with `events`."""
    shard = service.settings.shard
    commands, events = (
        archived(cluster.log(topic, shard), _data(service) / "archive") for topic in ("commands", "events")
    )
    done = await replay(
        shard, commands, cluster.log("quarantine"), service.clock, through_seq=options.through_seq, events=events
    )
    _print(
        shard=shard,
        seq=done.replica.seq,
        chain=done.replica.chain.hex(),
        state_hash=state_hash(done.replica.engine).hex(),
        time_ms=done.replica.engine.time_ms,
        records=done.records,
        commands=done.commands,
        compared=done.compared,
        elapsed_ms=done.elapsed_ms,
        commands_per_s=round(done.commands_per_s),
    )


async def quarantine(service: Service, cluster: Cluster, options: Namespace) -> None:
    """Ban one record."""
    shard = service.settings.shard
    await ban(
        cluster.log("commands", shard),
        cluster.log("events", shard),
        cluster.log("quarantine"),
        offset=options.offset,
        hash_hex=options.hash,
        reason=options.reason,
        operator=options.operator,
    )
    _print(shard=shard, offset=options.offset, hash=options.hash, banned=True)


async def archive(service: Service, cluster: Cluster, options: Namespace) -> None:
    """Copy below every snapshot and cursor; cut only what was copied, and only then."""
    shard, folder = service.settings.shard, _data(service) / "archive"
    logs = [cluster.log(topic, shard) for topic in Safe._fields]
    snapshots = await _usable(service, [_data(service) / "snapshots", *options.snapshots], logs)
    safe = safe_offsets(snapshots, options.cursors)
    ends = [
        await copy(log, Archive(folder, log.topic, shard), below=below) for log, below in zip(logs, safe, strict=True)
    ]
    cut: dict[str, int | str] = {}
    for topic, end in zip(Safe._fields, ends, strict=True):
        try:
            cut[topic] = await cluster.cut(topic, shard, end) if end else 0
        except LogError as error:
            # The copy is good all the same; a broker that keeps everything is no fault.
            cut[topic] = f"not cut: {error}"
    _print(shard=shard, archived=dict(zip(Safe._fields, ends, strict=True)), begins=cut)


async def _usable(service: Service, folders: list[Path], logs: Sequence[Log]) -> list[Snapshot]:
    """Every snapshot of the shard that a start may begin at: whole, and both logs bear it out."""
    commands, events = logs
    found = []
    for folder in folders:
        store = FileSnapshotStore(folder, service.settings.shard)
        for name in await store.names():
            try:
                stored = await store.load(name)
            except Unusable as error:
                service.log.warning("snapshot %s does not count: %s", name, error)
                continue
            reason = await contradiction(commands, Position(stored.commands_next, stored.commands_hash))
            reason = reason or await contradiction(events, Position(stored.events_next, stored.events_hash))
            if reason:
                service.log.warning("snapshot %s does not count: %s", name, reason)
            else:
                found.append(stored)
    return found


def _data(service: Service) -> Path:
    assert service.settings.data is not None, "named in NEEDS"
    return service.settings.data


def _print(**values: object) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201 # the result of a tool
