"""One process of a shard: follows, and writes when it gets the lease. A supervisor starts two of them.

    HOURBOOK_SHARD=0 python -m services.matching                 until stopped
    HOURBOOK_SHARD=0 python -m services.matching --snapshot      writes one snapshot and ends; also: snapshot, replay,
                                                                 quarantine, archive (see `services.matching.tools`)

Snapshots are in HOURBOOK_DATA/snapshots. Exit codes: see `services.runtime.errors`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from services.matching import tools
from services.matching.follower import Follower, SnapshotPlan
from services.matching.mirror import Mirror
from services.matching.recovery import recover
from services.matching.references import References
from services.matching.shell import Shell
from services.matching.store import FileSnapshotStore
from services.runtime.collector import Collector
from services.runtime.kafka import Cluster
from services.runtime.lease import LeaseAway, PostgresLease, holder_name
from services.runtime.postgres import migrate_runtime, open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics

NEEDS: Final = ("kafka", "postgres", "shards", "shard", "data")
TOPICS: Final = ("commands", "events", "quarantine", "references")


async def serve(service: Service, plan: SnapshotPlan) -> None:
    """Follow, then write, until an exception or a signal."""
    pool = await service.wait_for("postgres", lambda: open_pool(service.settings.postgres))
    await service.wait_for("postgres", lambda: migrate_runtime(pool))
    lease = PostgresLease(pool)
    # Two exchanges may share a database as they may share a broker: by their prefix.
    lease_name = f"{service.settings.topic_prefix}matching-{service.settings.shard}"
    holder = holder_name()
    collector = Collector(settles=True)
    async with _opened(service) as (mirror, store, references):
        collector.freeze()
        follower = Follower(
            mirror,
            lease,
            store,
            service.clock,
            service.status,
            lease_name=lease_name,
            holder=holder,
            plan=plan,
            between=collector.turn,
        )
        epoch = await follower.run()
        try:
            collector.freeze()
            service.log.info("takes over", extra={"fields": {"epoch": epoch, "missing": len(mirror.pending)}})
            await Shell(
                mirror,
                lease,
                service.clock,
                service.status,
                lease_name=lease_name,
                holder=holder,
                epoch=epoch,
                references=references,
                between=collector.turn,
            ).run()
        finally:
            # However it ends, it writes no more: the standby need not wait until the lease has run out.
            with contextlib.suppress(LeaseAway):
                await lease.release(lease_name, holder, epoch)


@contextlib.asynccontextmanager
async def _opened(service: Service) -> AsyncIterator[tuple[Mirror, FileSnapshotStore, References]]:
    """The shard's mirror, recovered, over logs that are open while the block runs."""
    shard = service.settings.shard
    assert service.settings.data is not None, "named in NEEDS"
    store = FileSnapshotStore(service.settings.data / "snapshots", shard)
    async with _cluster(service) as cluster:
        commands, events, quarantine = (
            cluster.log("commands", shard),
            cluster.log("events", shard),
            cluster.log("quarantine"),
        )
        service.status.set(role="recovering", shard=shard)
        mirror = await recover(shard, commands, events, quarantine, store, notice=service.log.warning)
        begins = {"offset": mirror.replica.next_offset, "seq": mirror.replica.seq}
        service.log.info("begins", extra={"fields": begins})
        yield mirror, store, References(cluster.log("references"))


@contextlib.asynccontextmanager
async def _cluster(service: Service) -> AsyncIterator[Cluster]:
    settings = service.settings
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        yield cluster


async def use(service: Service, options: argparse.Namespace) -> None:
    """One of the tools."""
    async with _cluster(service) as cluster:
        match options.what:
            case "snapshot":
                await tools.snapshot(service, cluster)
            case "replay":
                await tools.run_replay(service, cluster, options)
            case "quarantine":
                await tools.quarantine(service, cluster, options)
            case _:
                await tools.archive(service, cluster, options)


def main(arguments: list[str]) -> int:
    """Exit code."""
    options = _parser().parse_args(arguments)
    if options.snapshot:
        options.what = "snapshot"
    name = f"matching-{os.environ.get('HOURBOOK_SHARD', '')}"
    if options.what is None:
        plan = SnapshotPlan(records=options.snapshot_records, every_ms=options.snapshot_ms)
        return run(name, lambda service: serve(service, plan), needs=NEEDS)
    needs = [need for need in NEEDS if need != "postgres"]
    return run(f"{name}-{options.what}", lambda service: use(service, options), needs=needs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.matching", description=(__doc__ or "").split("\n", 1)[0])
    plan = SnapshotPlan()
    parser.add_argument("--snapshot", action="store_true", help="the same as: snapshot")
    parser.add_argument("--snapshot-records", type=int, default=plan.records, help="records between two snapshots")
    parser.add_argument("--snapshot-ms", type=int, default=plan.every_ms, help="milliseconds between two snapshots")
    what = parser.add_subparsers(dest="what", metavar="WHAT")
    what.add_parser("snapshot", help="write one snapshot")
    replaying = what.add_parser("replay", help="run the log through this build, compare with events")
    replaying.add_argument("--through-seq", type=int)
    banning = what.add_parser("quarantine", help="take a broken record out of the market")
    banning.add_argument("--offset", type=int, required=True)
    for text in ("--hash", "--reason", "--operator"):
        banning.add_argument(text, required=True)
    archiving = what.add_parser("archive", help="copy what nobody needs any more into files, and cut it")
    archiving.add_argument(
        "--cursors",
        type=_numbers,
        required=True,
        help="next offsets in events of everybody who keeps one, joined by commas",
    )
    archiving.add_argument(
        "--snapshots", type=Path, nargs="*", default=[], help="snapshot folders of the shard's other machines"
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
