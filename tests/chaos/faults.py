"""What is done to an exchange. A fault is entered, lasts while others come and go, and is left; what it hurts is its target.

    with kind.begin(exchange, target, chance) as what: ...        # `what`: a sentence for whoever looks on

A fault that sees something which must not be raises Misbehaved.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos.exchange import (
    AGENTS,
    AT_KAFKA,
    AT_POSTGRES,
    DISKS_MIB,
    GATEWAYS,
    INSIDE,
    ROOMS,
    SERVERS,
    SERVICES,
    Exchange,
    ssh_doors,
)
from tests.chaos.lanes import Lane


class Misbehaved(Exception):
    """The exchange did what it must not do, or did not do what it must."""


class NotHit(Exception):
    """The moment that was waited for did not come; nothing was hurt."""


Begin = Callable[[Exchange, str, random.Random], AbstractContextManager[str]]


class Kind(NamedTuple):
    """Of faults."""

    name: str
    targets: tuple[str, ...]
    begin: Begin
    lasts_s: tuple[float, float] = (0, 0)
    alone: bool = False
    """It needs a moment that others would spoil: they are left first."""
    needs_disk: str = ""
    """Of DISKS_MIB: where it cannot be mounted, this kind is not tried."""
    is_due: Callable[[Exchange], bool] = lambda _: True
    """Now: else it is kept for later."""


def _signalled(number: signal.Signals) -> Begin:
    @contextlib.contextmanager
    def begin(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
        del chance
        exchange.signal(target, number)
        yield f"{number.name} of {target}"

    return begin


@contextlib.contextmanager
def stopped(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """It does nothing for a while, longer than any lease, and does not know it."""
    del chance
    exchange.signal(target, signal.SIGSTOP)
    try:
        yield f"SIGSTOP of {target}"
    finally:
        exchange.signal(target, signal.SIGCONT)


@contextlib.contextmanager
def power_cut(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The agent and the doors of all leases on its machine are gone at once."""
    del chance
    exchange.signal(target, signal.SIGKILL)
    doors = ssh_doors(exchange.home, target)
    for pid in doors:
        with contextlib.suppress(ProcessLookupError):  # its lease has just ended
            os.kill(pid, signal.SIGKILL)
    yield f"kill -9 of {target} and {len(doors)} doors"


# --- Connections ------------------------------------------------------------------------------------------------


LANES: Final = (
    *(f"{name} → Kafka" for name in AT_KAFKA),
    *(f"{name} → Postgres" for name in AT_POSTGRES),
    *(f"members → {name}" for name in GATEWAYS),
    *INSIDE,
)
CLOCKS: Final = (*(name for name in SERVICES if name != "delivery"), *AGENTS)
"""Delivery goes by its machine's clock, and docs/operations.md says so: minutes too early, its tenants are put out then."""


def lane_of(exchange: Exchange, target: str) -> Lane:
    if target in INSIDE:
        return exchange.stack.inside_lanes[target]
    left, _, right = target.partition(" → ")
    match right:
        case "Kafka":
            return exchange.stack.kafka_lanes[left]
        case "Postgres":
            return exchange.stack.postgres_lanes[left]
        case _:
            return exchange.doors[right]


@contextlib.contextmanager
def cut(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Connections are reset, and new ones as well."""
    del chance
    lane = lane_of(exchange, target)
    lane.cut()
    try:
        yield f"cut {target}"
    finally:
        lane.restore()


@contextlib.contextmanager
def silent(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Half open: nothing arrives and nobody is told. Afterwards what was under way arrives, or is reset."""
    lane = lane_of(exchange, target)
    lane.silence()
    try:
        yield f"silence {target}"
    finally:
        if chance.random() < 0.5:
            lane.reset()
        lane.restore()


@contextlib.contextmanager
def slow(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    lane = lane_of(exchange, target)
    lane.slow(delay_s := chance.uniform(0.05, 0.4))
    try:
        yield f"slow {target} by {delay_s * 1000:.0f} ms"
    finally:
        lane.restore()


# --- Clocks, disks ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def wrong_clock(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """By minutes, ahead or behind, from one moment to the next; and right again just so."""
    wrong_by_s = chance.choice([-1, 1]) * chance.uniform(60, 900)
    exchange.set_clock(target, wrong_by_s)
    try:
        yield f"clock of {target} {wrong_by_s:+.0f} s"
    finally:
        exchange.set_clock(target, 0)


@contextlib.contextmanager
def full_disk(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Not a byte is left."""
    del chance
    filler = exchange.home / target / "filler"
    try:
        _fill(filler)
        yield f"disk of {target} is full"
    finally:
        filler.unlink(missing_ok=True)


def _fill(file: Path) -> None:
    with file.open("wb") as filling:
        size = 0
        for step in (1 << 20, 4096):
            while True:
                try:
                    os.posix_fallocate(filling.fileno(), size, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    break
                size += step


LASTING: Final = (
    Kind("kill -9 of a service", SERVICES, _signalled(signal.SIGKILL), (0.5, 3)),
    Kind("kill -9 of a server", SERVERS, _signalled(signal.SIGKILL), (1, 3)),
    Kind("SIGTERM of a service", SERVICES, _signalled(signal.SIGTERM), (0.5, 3)),
    Kind("SIGSTOP of a service", SERVICES, stopped, (3.5, 9)),
    Kind("SIGSTOP of a server", SERVERS, stopped, (3.5, 9)),
    Kind("connection cut", LANES, cut, (1, 6)),
    Kind("connection silent", LANES, silent, (3, 12)),
    Kind("connection slow", LANES, slow, (3, 8)),
    Kind("clock wrong by minutes", CLOCKS, wrong_clock, (3, 8)),
    Kind("disk of snapshots full", ("data",), full_disk, (5, 9), needs_disk="data"),
    Kind("disk of Postgres full", ("postgres",), full_disk, (3, 8), needs_disk="postgres"),
)
assert {kind.needs_disk for kind in LASTING} - {""} == set(DISKS_MIB)

MACHINES: Final = (
    Kind("kill -9 of delivery or router", ROOMS, _signalled(signal.SIGKILL), (0.5, 3)),
    Kind("SIGSTOP of delivery or router", ROOMS, stopped, (3.5, 9)),
    Kind("kill -9 of an agent", AGENTS, _signalled(signal.SIGKILL), (0.5, 3)),
    Kind("SIGSTOP of an agent", AGENTS, stopped, (3.5, 9)),
    Kind("power of a machine cut", AGENTS, power_cut, (0.5, 3)),
)
"""Who makes machines of hours: in a short day they are hit once something is rented."""
