"""Poll cloud catalogues, publish their offers to `offers`.

    HOURBOOK_KAFKA=127.0.0.1:9092 python -m services.supply

HOURBOOK_SUPPLY_SOURCES names another list of sources than the packaged one, which is recorded prices.
Exits: 0 stopped, 1 fault, 65 halted, 78 settings.
"""

from __future__ import annotations

import os
import sys

from schemas.specifications import specifications
from services.runtime.kafka import Cluster
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics
from services.supply.rules import packaged_rules
from services.supply.shell import Supply
from services.supply.sources import read_sources


async def serve(service: Service) -> None:
    """Opens the log, reads it back, polls."""
    settings = service.settings
    sources = read_sources(os.environ)
    async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
        await service.wait_for("kafka", cluster.ping)
        await check_topics(cluster, shards=1, topics=("offers",))
        supply = Supply(
            cluster.log("offers"), service.clock, service.status, sources, packaged_rules(), specifications(),
            environment=os.environ,
        )  # fmt: skip
        await supply.restore()
        await supply.run()


if __name__ == "__main__":
    sys.exit(run("supply", serve, needs=("kafka",)))
