"""The gateway's process: HTTP on HOURBOOK_LISTEN:HOURBOOK_HTTP_PORT.

    HOURBOOK_HTTP_PORT=8080 python -m services.gateway

The log's end is resolved, keys are read whole and the classes are known before the first request is answered.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import asyncpg
import httpx

from schemas.codec import WRITER_GATEWAY_MIN
from schemas.market_clock import MarketClock
from services.gateway.app import build
from services.gateway.blocks import Blocks
from services.gateway.brake import Brake
from services.gateway.classes import Classes
from services.gateway.corrections import Corrections
from services.gateway.database import Database
from services.gateway.delivery import DeliveryRoom
from services.gateway.door import Door
from services.gateway.errors import ApiError
from services.gateway.funding import Funding
from services.gateway.idle import Idle
from services.gateway.keyring import Keyring
from services.gateway.limits import Limits
from services.gateway.market import MarketData
from services.gateway.metrics import tell_status
from services.gateway.offers import Offers
from services.gateway.orders import Orders
from services.gateway.previews import Previews
from services.gateway.progress import Progress
from services.gateway.quotes import Quotes
from services.gateway.ranges import Ranges
from services.gateway.reads import Reads
from services.gateway.requests import Requests
from services.gateway.router import Acting, Router
from services.gateway.shards import Shards
from services.gateway.telling import Telling
from services.gateway.volume import Volume
from services.gateway.wiring import Gateway
from services.runtime.errors import Halt
from services.runtime.http import http_server
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics, read_start

NEEDS: Final = ("kafka", "postgres", "shards", "master_key")
TOPICS: Final = ("commands", "events", "requests", "delivery", "keys", "offers")
POOL: Final = 8
_REFRESH_S: Final = 0.25


async def serve(service: Service) -> None:
    """Until a signal or a fault."""
    settings = service.settings
    if settings.http_port == 0:
        raise Halt("HOURBOOK_HTTP_PORT is not set: clients need to know where the gateway is")
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        gateway, tasks = await _wire(service, cluster)
        application = Brake(build(gateway), gateway.keyring, gateway.limits, gateway.clock)
        server = http_server(application, settings.listen, settings.http_port)
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task())
            group.create_task(server.serve())
            service.status.set(role="open", http=f"{settings.listen}:{settings.http_port}")


async def _wire(service: Service, cluster: Cluster) -> tuple[Gateway, list[Callable[[], Coroutine[Any, Any, None]]]]:
    settings = service.settings
    pool = await service.wait_for("postgres", lambda: open_pool(settings.postgres, size_max=POOL))
    start = await read_start(cluster, 0)
    market = MarketClock(start.t0_ms, start.rate, start.sandbox)
    writer = WRITER_GATEWAY_MIN + secrets.randbits(62)
    database = Database(pool)
    progress = Progress(database, settings.shards)
    doors = [
        Door(
            shard,
            writer,
            partial(cluster.log, "commands", shard),
            service.patient(cluster.log("events", shard)),
            progress,
        )
        for shard in range(settings.shards)
    ]
    keyring = Keyring(service.patient(cluster.log("keys")), settings.master_key)
    classes, limits = Classes(database), Limits()
    reads, requests, offers = (
        Reads(database, classes),
        Requests(database, cluster.log),
        Offers(service.patient(cluster.log("offers"))),
    )
    idle = Idle(database, requests, service.clock, market)
    # Inside the cluster: no proxy of the environment's.
    client = httpx.AsyncClient(trust_env=False)
    market_data = MarketData(settings.market, settings.master_key, database, client)
    shards, funding = Shards(doors, progress, service.clock, market), Funding(requests)
    delivery = DeliveryRoom(settings.delivery, settings.master_key, client)
    trade = (shards, classes, reads, progress, funding, Telling(classes, reads), delivery)
    orders, ranges, blocks = Orders(*trade), Ranges(*trade), Blocks(*trade)
    for door in doors:
        await door.start()
    await keyring.load()
    await service.wait_for("settlement's tables", classes.refresh, errors=(ApiError, asyncpg.UndefinedTableError))

    async def follow_keys() -> None:
        while True:
            await keyring.follow(wait_ms=1_000)

    async def follow_settlement() -> None:
        while True:
            await service.wait_for("postgres", progress.refresh, errors=(ApiError,))
            for door in doors:
                say = service.status.wait if shards.is_behind(door.shard) else service.status.go_on
                say(f"shard {door.shard}")
            await asyncio.sleep(_REFRESH_S)

    async def tell() -> None:
        # Apart from what it tells of: numbers must not stand still because something does.
        while True:
            await asyncio.sleep(_REFRESH_S)
            tell_status(service.status, shards, progress, pool)
            service.status.set(keys=len(keyring.keys), offers_undecodable=offers.undecodable)

    gateway = Gateway(
        shards=shards,
        classes=classes,
        reads=reads,
        progress=progress,
        requests=requests,
        orders=orders,
        ranges=ranges,
        blocks=blocks,
        quotes=Quotes(shards, classes, funding),
        previews=Previews(shards, classes, reads, progress, market_data, orders, ranges, blocks, delivery),
        corrections=Corrections(shards, reads, progress, service.clock, settings.master_key),
        keyring=keyring,
        limits=limits,
        offers=offers,
        market_data=market_data,
        delivery=delivery,
        router=Router(settings.router, settings.master_key, client),
        acting=Acting(settings.master_key, database),
        volume=Volume(database, classes, progress, service.clock, market),
        market=market,
        clock=service.clock,
        master_key=settings.master_key,
    )
    loops = [follow_keys, follow_settlement, tell, offers.follow, idle.sweep]
    return gateway, [*loops, *(door.write for door in doors), *(door.read for door in doors)]


if __name__ == "__main__":
    sys.exit(run("gateway", serve, needs=NEEDS))
