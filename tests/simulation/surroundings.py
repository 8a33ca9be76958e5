"""What production processes take from outside (sockets, files, clocks, chance), replaced by the world's for a while.

    with surroundings():
        ...             # `services.matching.__main__.serve` and its like now run inside a `World`

Only names that stand for the outside are replaced: connections to broker and database, the snapshot folder, the HTTP server,
`time.monotonic`, `secrets`, and the garbage collector, which is this process's own. Every replacement finds its world by
the process that runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import services.gateway.__main__ as gateway_main
import services.gateway.corrections as gateway_corrections
import services.gateway.funding as gateway_funding
import services.gateway.progress as gateway_progress
import services.gateway.requests as gateway_requests
import services.market_data.__main__ as market_data_main
import services.market_maker.desk as desk_module
import services.matching.__main__ as matching_main
import services.matching.tools as matching_tools
import services.runtime.lease as runtime_lease
import services.settlement.__main__ as settlement_main
from schemas.commands import StartShard
from services.gateway.wiring import Gateway
from services.market_data.app import Room
from services.runtime.config import Login
from services.runtime.topics import Found
from tests.simulation.simhttp import SimHttpx
from tests.simulation.simlog import SimCluster
from tests.simulation.simpool import SimPool
from tests.simulation.simstore import SimStore
from tests.simulation.stores import SimLease, SimSnapshots
from tests.simulation.world import Process, Signal, Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange


def _process() -> Process:
    return cast("Process", asyncio.get_running_loop())


def _outside() -> Exchange:
    return cast("Exchange", _process().world.outside)


class SimSecrets:
    """`secrets`, from the seed."""

    @staticmethod
    def token_hex(count: int) -> str:
        return f"{SimSecrets.randbits(8 * count):0{2 * count}x}"

    @staticmethod
    def token_bytes(count: int) -> bytes:
        return SimSecrets.randbits(8 * count).to_bytes(count)

    @staticmethod
    def randbits(bits: int) -> int:
        return _process().world.chance("secrets").getrandbits(bits)


class SimTime:
    """`time`, as far as gateways ask it."""

    @staticmethod
    def monotonic() -> float:
        return _process().time()


class NoCollector:
    """`services.runtime.collector.Collector`: the world's processes share one memory."""

    def __init__(self, *, settles: bool = False) -> None:
        """Whatever is asked for."""

    def freeze(self) -> None:
        """Nothing."""

    def turn(self, busy: bool) -> None:
        """Nothing."""


class SimServer:
    """`services.runtime.http.http_server`: members reach the gateway while this serves."""

    def __init__(self, gateway: Gateway, *_: object) -> None:
        self.gateway = gateway

    async def serve(self) -> None:
        process, outside = _process(), _outside()
        outside.open_gateways[process.name] = (process, self.gateway)
        await Wait(1 << 60, Signal())


class SimMarketServer:
    """The same of market data: gateways reach its answers while this serves."""

    def __init__(self, room: Room, *_: object) -> None:
        self.room = room

    async def serve(self) -> None:
        _outside().market_rooms.append((_process(), self.room))
        await Wait(1 << 60, Signal())


class NoFeed:
    """`services.market_data.server.FeedServer`: nobody listens to the feed in here."""

    def __init__(self, *_: object) -> None:
        """Nothing is open."""

    async def serve(self, *_: object) -> int:
        return 0

    async def watch(self) -> None:
        await Wait(1 << 60, Signal())

    def close(self) -> None:
        """Nothing is open."""


def _cluster(_bootstrap: str, *, prefix: str, login: Login | None) -> SimCluster:
    assert not prefix
    assert login is None
    return _outside().cluster


async def _check_topics(*_: object) -> Found:
    await Wait(_process().world.now_ms + 1)
    return Found(append_time=True, sandbox=True, rate=_outside().rate)


async def _read_start(_cluster: SimCluster, shard: int) -> StartShard:
    await Wait(_process().world.now_ms + 1)
    return _outside().start(shard)


async def _open_pool(_dsn: str, *, size_max: int = 4) -> SimPool:
    del size_max
    await _reach_database()
    return SimPool(_outside().database, _outside().tables)


async def _migrate(*_: object) -> int:
    await _reach_database()
    return 0


async def _reach_database() -> None:
    await Wait(_process().world.now_ms + 1)
    if _outside().database.away:
        raise OSError("simulated: the database is away")


def _lease(_pool: SimPool) -> SimLease:
    return _outside().lease


def _store(_dsn: str) -> SimStore:
    return SimStore(_outside().database)


def _snapshots(folder: Path, shard: int) -> SimSnapshots:
    return _outside().disk(folder, shard)


def _printed(**values: object) -> None:
    process = _process()
    process.world.note(f"{process.name}: {values}")


def _no_application(wired: Any) -> Any:
    return wired


def _no_brake(gateway: Gateway, *_: object) -> Gateway:
    """It is about HTTP, and members in here speak none."""
    return gateway


REPLACED: list[tuple[Any, dict[str, Any]]] = [
    (
        matching_main,
        {
            "Cluster": _cluster,
            "check_topics": _check_topics,
            "open_pool": _open_pool,
            "migrate_runtime": _migrate,
            "PostgresLease": _lease,
            "FileSnapshotStore": _snapshots,
            "Collector": NoCollector,
        },
    ),
    (matching_tools, {"FileSnapshotStore": _snapshots, "_print": _printed}),
    (
        settlement_main,
        {
            "Cluster": _cluster,
            "check_topics": _check_topics,
            "open_pool": _open_pool,
            "migrate": _migrate,
            "migrate_runtime": _migrate,
            "PostgresLease": _lease,
            "PostgresStore": _store,
            "Collector": NoCollector,
        },
    ),
    (
        gateway_main,
        {
            "Cluster": _cluster,
            "check_topics": _check_topics,
            "read_start": _read_start,
            "open_pool": _open_pool,
            "http_server": SimServer,
            "build": _no_application,
            "Brake": _no_brake,
            "httpx": SimHttpx,
            "secrets": SimSecrets,
        },
    ),
    (
        market_data_main,
        {
            "Cluster": _cluster,
            "check_topics": _check_topics,
            "http_server": SimMarketServer,
            "FeedServer": NoFeed,
            "build": _no_application,
            "Collector": NoCollector,
        },
    ),
    (desk_module, {"secrets": SimSecrets}),
    (runtime_lease, {"secrets": SimSecrets}),
    (gateway_funding, {"secrets": SimSecrets}),
    (gateway_corrections, {"secrets": SimSecrets}),
    (gateway_requests, {"time": SimTime}),
    (gateway_progress, {"time": SimTime}),
]


class _Trace(logging.Handler):
    """Lines that services log are lines of the world's trace."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(RuntimeError):  # not said by a process of a world
            process = _process()
            fields = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
            said = record.getMessage()
            process.world.note(f"{process.name}: {said} {fields}".rstrip())
            if said.startswith("snapshot") and "is not used" in said:
                _outside().did["snapshot passed over"] += 1


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """While it is open, the outside is the world."""
    before = [(module, name, getattr(module, name)) for module, names in REPLACED for name in names]
    logger, trace = logging.getLogger("hourbook"), _Trace()
    level, propagate = logger.level, logger.propagate
    for module, names in REPLACED:
        for name, replacement in names.items():
            setattr(module, name, replacement)
    logger.addHandler(trace)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(trace)
        logger.setLevel(level)
        logger.propagate = propagate
        for module, name, original in before:
            setattr(module, name, original)
