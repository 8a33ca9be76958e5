"""The desk's process: quotes both sides around what clouds ask, as a member of the exchange.

    HOURBOOK_KAFKA=127.0.0.1:9092 HOURBOOK_GATEWAY=http://127.0.0.1:8080 HOURBOOK_KEY=var/desk.key python -m services.market_maker

HOURBOOK_KAFKA     it reads topic `offers`, nothing else
HOURBOOK_GATEWAY   the public API
HOURBOOK_KEY       file with a member's key, as POST /v1/keys answers it
HOURBOOK_RUN       folder for what must outlive a restart, and for the status's address
HOURBOOK_DESK_LIMITS   other limits than the packaged ones
Exits: 0 stopped, 1 fault, 65 halted, 78 settings.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from services.market_maker.client import BadKey, GatewayClient, Key, read_key
from services.market_maker.desk import Desk
from services.market_maker.limits import BadLimits, Limits, packaged_limits, parse_limits
from services.runtime.errors import BadSettings, ServiceEnd
from services.runtime.kafka import Cluster
from services.runtime.supervise import Service, run
from services.runtime.topics import check_topics

DAY_FILE: Final = "desk.day"
"""In HOURBOOK_RUN: what the desk was worth when the day began."""


async def serve(service: Service) -> None:
    """Opens log and client; follows the one, trades over the other."""
    settings = service.settings
    url, key, limits = read_settings()
    if settings.run is None:
        raise BadSettings("HOURBOOK_RUN is not set: the desk keeps there what it was worth when the day began")
    rate, name = limits.requests_per_second, f"{service.clock.now_ms():x}"
    async with (
        Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster,
        GatewayClient(url, key, service.clock, rate, limits.order_valid_ms, name) as exchange,
    ):
        desk = Desk(exchange, limits, service.clock, service.status, settings.run / DAY_FILE)

        async def follow() -> None:
            await service.wait_for("kafka", cluster.ping)
            await check_topics(cluster, shards=1, topics=("offers",))
            await desk.follow(cluster.log("offers"))

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(follow())
                tasks.create_task(desk.trade())
        except BaseExceptionGroup as group:
            # An ending with an exit code says what to do; anything else is a fault with its traceback.
            ends = group.subgroup(ServiceEnd)
            raise (ends.exceptions[0] if ends else group) from None


def read_settings() -> tuple[str, Key, Limits]:
    """Raises BadSettings."""
    url, key_file = (os.environ.get(name, "") for name in ("HOURBOOK_GATEWAY", "HOURBOOK_KEY"))
    if not url.startswith(("http://", "https://")):
        raise BadSettings(f"HOURBOOK_GATEWAY is {url!r}, wanted is the gateway's address, http://host:port")
    if not key_file:
        raise BadSettings("HOURBOOK_KEY is not set: it names a file with a member's key")
    limits_file = os.environ.get("HOURBOOK_DESK_LIMITS", "")
    try:
        limits = parse_limits(Path(limits_file).read_bytes()) if limits_file else packaged_limits()
        return url, read_key(Path(key_file)), limits
    except (OSError, BadLimits, BadKey) as error:
        raise BadSettings(str(error)) from error


if __name__ == "__main__":
    sys.exit(run("market_maker", serve, needs=("kafka",)))
