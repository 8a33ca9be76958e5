"""The delivery room's process: one of them works, others wait for its lease. HTTP for gateways on HOURBOOK_HTTP_PORT.

    HOURBOOK_KAFKA=... HOURBOOK_POSTGRES=... HOURBOOK_SHARDS=2 HOURBOOK_DELIVERY_KEY=... HOURBOOK_HTTP_PORT=8083 \
        python -m services.delivery

It keeps nothing but what is in the log. HOURBOOK_DATA: where the archive of a log is that was cut.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import asyncpg

from schemas.delivery_key import probe_seed
from schemas.market_clock import MarketClock
from schemas.specifications import parse
from services.delivery.app import Room, build
from services.delivery.checking import Probe
from services.delivery.shell import Delivery, Setup
from services.runtime.archive import readable
from services.runtime.errors import Halt
from services.runtime.http import http_server
from services.runtime.kafka import Cluster
from services.runtime.lives import live
from services.runtime.postgres import open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics, read_start

NEEDS: Final = ("kafka", "postgres", "shards", "delivery_key")
TOPICS: Final = ("commands", "events", "leases", "delivery")
LEASE_NAME: Final = "delivery"


async def serve(service: Service) -> None:
    """One life after the other, until an exception that waiting does not mend, or a signal."""
    settings = service.settings
    if settings.http_port == 0:
        raise Halt("HOURBOOK_HTTP_PORT is not set: gateways need to know where delivery is")
    pool = await service.wait_for("postgres", lambda: open_pool(settings.postgres, size_max=2))
    room = Room()
    server = http_server(build(room, settings.delivery_key), settings.listen, settings.http_port)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await live(service, pool, LEASE_NAME, lambda epoch: _live(service, pool, room, epoch))


async def _live(service: Service, pool: asyncpg.Pool, room: Room, epoch: int) -> None:
    """From load to the exception that ends it."""
    settings = service.settings
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        start = await read_start(cluster, 0)
        delivery = Delivery(
            epoch,
            cluster.log("leases"),
            [
                service.patient(readable(cluster.log("events", shard), settings.data))
                for shard in range(settings.shards)
            ],
            cluster.log("delivery"),
            Setup(lambda class_no: _setup_minutes(pool, class_no)),
            Probe(probe_seed(settings.delivery_key)),
            MarketClock(start.t0_ms, start.rate, start.sandbox),
            service.clock,
            service.status,
        )
        await delivery.load()
        room.life = delivery
        service.log.info("delivers", extra={"fields": {"epoch": epoch, "leases": delivery.state.lease_last}})
        try:
            async with asyncio.TaskGroup() as tasks:
                for shard in range(settings.shards):
                    tasks.create_task(delivery.follow(shard))
                tasks.create_task(delivery.look_around())
        finally:
            room.life = None


async def _setup_minutes(pool: asyncpg.Pool, class_no: int) -> int:
    text = await pool.fetchval("SELECT specification FROM settlement.classes WHERE class_no = $1", class_no)
    if text is None:
        raise Halt(f"class {class_no} is in events, and settlement has no specification of it")
    return parse(text.encode()).service.setup_minutes


if __name__ == "__main__":
    sys.exit(run("delivery", serve, needs=NEEDS))
