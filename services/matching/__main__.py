"""One process of a shard: follows, and writes when it gets the lease. A supervisor starts two of them.

    HOURBOOK_SHARD=0 python -m services.matching                 until stopped
    HOURBOOK_SHARD=0 python -m services.matching --snapshot      writes one snapshot and ends

Snapshots are in HOURBOOK_DATA/snapshots. Exit codes: see `services.runtime.errors`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

from services.matching.follower import Follower, SnapshotPlan
from services.matching.mirror import Mirror
from services.matching.recovery import recover, save
from services.matching.shell import Shell
from services.matching.store import FileSnapshotStore
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.lease import LeaseAway, PostgresLease
from services.runtime.postgres import migrate_runtime, open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics

NEEDS: Final = ("kafka", "postgres", "shards", "shard", "data")
TOPICS: Final = ("commands", "events", "quarantine")
_COLLECT_ALL_S: Final = 60


async def serve(service: Service, plan: SnapshotPlan) -> None:
    """Follow, then write, until an exception or a signal."""
    pool = await service.wait_for("postgres", lambda: open_pool(service.settings.postgres))
    await service.wait_for("postgres", lambda: migrate_runtime(pool))
    lease = PostgresLease(pool)
    # Two exchanges may share a database as they may share a broker: by their prefix.
    lease_name = f"{service.settings.topic_prefix}matching-{service.settings.shard}"
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    collector = Collector()
    async with _opened(service) as (mirror, store):
        collector.freeze()
        follower = Follower(
            mirror, lease, store, service.clock, service.status,
            lease_name=lease_name, holder=holder, plan=plan, idle=collector.idle,
        )
        epoch = await follower.run()
        try:
            collector.freeze()
            service.log.info("takes over", extra={"fields": {"epoch": epoch, "missing": len(mirror.pending)}})
            await Shell(
                mirror, lease, service.clock, service.status,
                lease_name=lease_name, holder=holder, epoch=epoch, idle=collector.idle,
            ).run()
        finally:
            # However it ends, it writes no more: the standby need not wait until the lease has run out.
            with contextlib.suppress(LeaseAway):
                await lease.release(lease_name, holder, epoch)


async def snapshot(service: Service) -> None:
    """Come to the end of `events` and write a snapshot there."""
    async with _opened(service) as (mirror, store):
        await mirror.catch_up()
        if not mirror.verified:
            raise Halt("events ends within an output, and nobody writes the rest: start matching, then try again")
        name = await save(mirror, store)
        service.log.info("snapshot", extra={"fields": {"file": name, "seq": mirror.replica.seq}})


@contextlib.asynccontextmanager
async def _opened(service: Service) -> AsyncIterator[tuple[Mirror, FileSnapshotStore]]:
    """The shard's mirror, recovered, over logs that are open while the block runs."""
    settings, shard = service.settings, service.settings.shard
    assert settings.data is not None, "named in NEEDS"
    store = FileSnapshotStore(settings.data / "snapshots", shard)
    async with Cluster(settings.kafka, prefix=settings.topic_prefix) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        commands, events, quarantine = cluster.log("commands", shard), cluster.log("events", shard), cluster.log("quarantine")
        service.status.set(role="recovering", shard=shard)
        mirror = await recover(shard, commands, events, quarantine, store, notice=service.log.warning)
        begins = {"offset": mirror.replica.next_offset, "seq": mirror.replica.seq}
        service.log.info("begins", extra={"fields": begins})
        yield mirror, store


class Collector:
    """Garbage collection when the market is quiet, and never in the middle of a batch."""

    def __init__(self) -> None:
        self._all_s = 0.0
        # Not while a snapshot is loaded either: all of it stays.
        gc.disable()

    def freeze(self) -> None:
        """What is there now stays: resting orders are not walked again and again."""
        gc.collect()
        gc.freeze()
        self._all_s = time.monotonic()

    def idle(self) -> None:
        """Nothing to do for a moment: young objects; about once a minute all."""
        if time.monotonic() - self._all_s >= _COLLECT_ALL_S:
            gc.collect()
            self._all_s = time.monotonic()
        else:
            gc.collect(1)


def main(arguments: list[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="python -m services.matching", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--snapshot", action="store_true", help="write one snapshot and end")
    parser.add_argument("--snapshot-records", type=int, default=SnapshotPlan().records, help="records between two snapshots")
    parser.add_argument("--snapshot-ms", type=int, default=SnapshotPlan().every_ms, help="milliseconds between two snapshots")
    options = parser.parse_args(arguments)
    name = f"matching-{os.environ.get('HOURBOOK_SHARD', '')}"
    if options.snapshot:
        return run(f"{name}-snapshot", snapshot, needs=[need for need in NEEDS if need != "postgres"])
    plan = SnapshotPlan(records=options.snapshot_records, every_ms=options.snapshot_ms)
    return run(name, lambda service: serve(service, plan), needs=NEEDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
