"""What `/metrics` tells: of requests by route and outcome, never by who asked; of queues and lags as they are.

The routes are those of the API, so that no client makes the numbers many: an address or a method of no route counts as `none`.
"""

from __future__ import annotations

import time
from typing import Final

import asyncpg
from litestar.enums import ScopeType
from litestar.types import Message, Scope
from prometheus_client import Counter, Histogram

from services.gateway.progress import Progress
from services.gateway.shards import Shards
from services.runtime.status import Status

REQUESTS: Final = Counter("hourbook_requests", "answered requests", ["method", "route", "status"])
SECONDS: Final = Histogram(
    "hourbook_request_seconds",
    "from the first look at a request to the beginning of its answer",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


async def count_request(message: Message, scope: Scope) -> None:
    """Hook before an answer is sent."""
    if message["type"] != "http.response.start" or scope["type"] != ScopeType.HTTP:
        return
    began_s = scope.get("state", {}).get("began_s")
    if began_s is None:  # no handler was found for it
        REQUESTS.labels("none", "none", message["status"]).inc()
        return
    count_answer(scope["method"], scope["path_template"], message["status"], began_s)


def count_answer(method: str, route: str, status: int, began_s: float) -> None:
    """One answer of a route."""
    REQUESTS.labels(method, route, status).inc()
    SECONDS.labels(route).observe(time.perf_counter() - began_s)


def tell_status(status: Status, shards: Shards, progress: Progress, pool: asyncpg.Pool) -> None:
    """Queues, lags and what is in use, now."""
    for door in shards.doors:
        status.set_of(
            door.shard,
            door_queue=door.queued,
            door_in_flight=door.in_flight,
            shard_silent_ms=int(door.silent_s * 1_000),
            shard_behind_ms=shards.behind_ms(door.shard),
        )
    status.set(
        settlement_lag_ms=max(progress.lag_ms(door.shard) for door in shards.doors),
        seq=max(door.seq for door in shards.doors),
        postgres_busy=pool.get_size() - pool.get_idle_size(),
    )
