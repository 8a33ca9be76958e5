"""Settlement's process: one of them works, others wait for its lease. Exit codes: see `services.runtime.errors`.

    HOURBOOK_KAFKA=... HOURBOOK_POSTGRES=... HOURBOOK_SHARDS=2 python -m services.settlement

While broker or database are away it waits, and `/status` says for what; its memory is thrown away and loaded anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Final

from services.runtime.collector import Collector
from services.runtime.errors import cause_of
from services.runtime.kafka import Cluster
from services.runtime.lease import LeaseAway, PostgresLease, get_lease, holder_name, keep_lease
from services.runtime.log import Unreachable
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics
from services.settlement.payments import SimulatedPayments
from services.settlement.postgres_store import PostgresStore
from services.settlement.shell import LEASE_NAME, Logs, Settlement
from services.settlement.store import StoreAway

NEEDS: Final = ("kafka", "postgres", "shards")
TOPICS: Final = ("commands", "events", "requests", "delivery")
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_AGAIN_MS: Final = 500


async def serve(service: Service) -> None:
    """One life after the other, until an exception that waiting does not mend, or a signal."""
    settings = service.settings
    pool = await service.wait_for("postgres", lambda: open_pool(settings.postgres))
    await service.wait_for("postgres", lambda: migrate_runtime(pool))
    await service.wait_for("postgres", lambda: migrate(pool, "settlement", MIGRATIONS))
    lease = PostgresLease(pool)
    # Two exchanges may share a database server, each with a database; a broker, each with a prefix.
    lease_name = f"{settings.topic_prefix}{LEASE_NAME}"
    holder = holder_name()
    collector = Collector(settles=True)
    while True:
        epoch = await get_lease(lease, holder, service.clock, service.status, lease_name)
        service.status.set(epoch=epoch, role="active")
        try:
            await _live(service, lease, lease_name, holder, epoch, collector)
        except (StoreAway, Unreachable) as away:
            what = "postgres" if isinstance(away, StoreAway) else "kafka"
            service.log.warning("%s is away", what, extra={"fields": {"error": str(away)}})
            service.status.wait(what, str(away))
            await service.clock.sleep_ms(_AGAIN_MS)
        finally:
            # However it ended, nothing more is committed: another need not wait until the lease has run out.
            with contextlib.suppress(LeaseAway):
                await lease.release(lease_name, holder, epoch)


async def _live(
    service: Service, lease: PostgresLease, lease_name: str, holder: str, epoch: int, collector: Collector
) -> None:
    """One life, from load to the exception that ends it."""
    settings = service.settings
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        store = PostgresStore(settings.postgres)
        try:
            with contextlib.closing(store):
                async with asyncio.TaskGroup() as tasks:
                    # Before anything else: what is loaded may take longer than a lease lasts. A second settlement would get it
                    # meanwhile, lose it in the same way, and so on for ever.
                    tasks.create_task(keep_lease(lease, holder, epoch, service.clock, lease_name))
                    await service.wait_for("kafka", cluster.ping)
                    found = await check_topics(cluster, settings.shards, TOPICS)
                    settlement = _settlement(service, cluster, store, collector)
                    await settlement.start()
                    collector.freeze()
                    service.log.info("settles", extra={"fields": {"epoch": epoch, "commits": settlement.state.commits}})
                    tasks.create_task(settlement.settle())
                    for shard in range(settings.shards):
                        tasks.create_task(settlement.send(shard))
                    if found.sandbox:
                        tasks.create_task(settlement.pay(SimulatedPayments()))
        except BaseExceptionGroup as group:
            raise cause_of(group) from group


def _settlement(service: Service, cluster: Cluster, store: PostgresStore, collector: Collector) -> Settlement:
    shards = service.settings.shards
    logs = Logs(
        [cluster.log("events", shard) for shard in range(shards)],
        cluster.log("requests"),
        cluster.log("delivery"),
        lambda shard: cluster.log("commands", shard),
        lambda: cluster.log("requests"),
    )
    return Settlement(shards, store, logs, service.clock, service.status, between=collector.turn)


def main() -> int:
    """Exit code."""
    return run("settlement", serve, needs=NEEDS)


if __name__ == "__main__":
    sys.exit(main())
