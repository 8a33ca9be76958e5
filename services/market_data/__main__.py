"""Market data's process: the feed on HOURBOOK_LISTEN:HOURBOOK_FEED_PORT, answers for the gateway on HOURBOOK_HTTP_PORT.

    HOURBOOK_KAFKA=... HOURBOOK_SHARDS=2 HOURBOOK_FEED_KEY=... HOURBOOK_FEED_PORT=8081 HOURBOOK_HTTP_PORT=8082 \
        python -m services.market_data

Stateless: it reads the log from its beginning, and answers when it is at the end. Several may run beside each other.
HOURBOOK_DATA: where the archive of a log is that was cut. HOURBOOK_FEED_URL: the feed's address as clients see it.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Final

from services.market_data.answers import Answers
from services.market_data.app import Room, build
from services.market_data.hub import Hub
from services.market_data.server import PATH, FeedServer
from services.market_data.shell import MarketData
from services.runtime.archive import readable
from services.runtime.collector import Collector
from services.runtime.errors import Halt
from services.runtime.http import http_server
from services.runtime.kafka import Cluster
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics

NEEDS: Final = ("kafka", "shards", "feed_key")
TOPICS: Final = ("events", "rentals", "offers", "references")


async def serve(service: Service) -> None:
    """Until a signal or a fault."""
    settings = service.settings
    for name, port in (("HTTP", settings.http_port), ("FEED", settings.feed_port)):
        if port == 0:
            raise Halt(f"HOURBOOK_{name}_PORT is not set: others need to know where market data is")
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, settings.shards, TOPICS)
        collector = Collector()
        # In microseconds: no channel says a million messages a second, so numbers of an older process are lower.
        hub = Hub(settings.shards, first_seq=service.clock.now_ms() * 1_000, feed_key=settings.feed_key)
        data = MarketData(
            hub,
            [
                service.patient(readable(cluster.log("events", shard), settings.data))
                for shard in range(settings.shards)
            ],
            service.patient(cluster.log("rentals")),
            service.patient(cluster.log("offers")),
            partial(cluster.log, "references"),
            service.clock,
            service.status,
            between=collector.turn,
        )

        def is_ready() -> bool:
            return data.ready

        feed_url = settings.feed_url or f"ws://{settings.listen}:{settings.feed_port}{PATH}"
        answers = Answers(hub, data.references, data.read_ms, feed_url)
        server = http_server(
            build(Room(answers, service.clock, is_ready, feed_url)), settings.listen, settings.http_port
        )
        feed = FeedServer(hub, service.clock, is_ready)
        try:
            await feed.serve(settings.listen, settings.feed_port)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve())
                await data.catch_up()
                collector.freeze()
                service.log.info("caught up", extra={"fields": {"seq": {m.shard: m.seq for m in hub.markets}}})
                for shard in range(settings.shards):
                    group.create_task(data.follow_events(shard))
                group.create_task(data.follow_rentals())
                group.create_task(data.follow_offers())
                group.create_task(data.beat())
                group.create_task(data.wish())
                group.create_task(feed.watch())
        finally:
            feed.close()


if __name__ == "__main__":
    sys.exit(run("market_data", serve, needs=NEEDS))
