"""The router's process: one of them works, others wait for its lease. HTTP for gateways on HOURBOOK_HTTP_PORT.

    HOURBOOK_KAFKA=... HOURBOOK_POSTGRES=... HOURBOOK_SHARDS=2 HOURBOOK_ROUTER_KEY=... HOURBOOK_HTTP_PORT=8084 \
    HOURBOOK_GATEWAY=http://127.0.0.1:8080 HOURBOOK_MARKET=http://127.0.0.1:8082 \
        python -m services.router

It keeps nothing but what is in the log. HOURBOOK_DATA: where the archive of a log is that was cut.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from schemas.market_clock import MarketClock
from services.router.app import Room, build
from services.router.gateway import GatewayClient
from services.router.reading import MarketClient
from services.router.shell import Router
from services.router.webhooks import Webhooks
from services.runtime.archive import readable
from services.runtime.errors import Halt
from services.runtime.http import http_server
from services.runtime.kafka import Cluster
from services.runtime.lives import live
from services.runtime.postgres import open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics, read_start

NEEDS: Final = ("kafka", "postgres", "shards", "router_key", "gateway", "market")
TOPICS: Final = ("commands", "events", "rentals")
LEASE_NAME: Final = "router"


async def serve(service: Service) -> None:
    """One life after the other, until an exception that waiting does not mend, or a signal."""
    settings = service.settings
    if settings.http_port == 0:
        raise Halt("HOURBOOK_HTTP_PORT is not set: gateways need to know where the router is")
    pool = await service.wait_for("postgres", lambda: open_pool(settings.postgres, size_max=2))
    gateway = GatewayClient(settings.gateway, settings.router_key)
    market = MarketClient(settings.market)
    room = Room()
    server = http_server(build(room, settings.router_key), settings.listen, settings.http_port)
    async with gateway, market, asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await live(service, pool, LEASE_NAME, lambda epoch: _live(service, room, epoch, gateway, market))


async def _live(service: Service, room: Room, epoch: int, gateway: GatewayClient, market: MarketClient) -> None:
    """From load to the exception that ends it."""
    settings = service.settings
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        start = await read_start(cluster, 0)
        hooks = Webhooks(settings.router_key, service.clock, service.status, sandbox=start.sandbox)
        router = Router(
            epoch,
            cluster.log("rentals"),
            [
                service.patient(readable(cluster.log("events", shard), settings.data))
                for shard in range(settings.shards)
            ],
            gateway,
            market,
            hooks,
            MarketClock(start.t0_ms, start.rate, start.sandbox),
            service.clock,
            service.status,
        )
        await router.load()
        room.life = router
        service.log.info("routes", extra={"fields": {"epoch": epoch, "rentals": len(router.state.live)}})
        try:
            async with asyncio.TaskGroup() as tasks:
                for shard in range(settings.shards):
                    tasks.create_task(router.follow(shard))
                tasks.create_task(router.work(tasks))
                tasks.create_task(hooks.run())
        finally:
            room.life = None


if __name__ == "__main__":
    sys.exit(run("router", serve, needs=NEEDS))
