"""Kills at an instant that is waited for, from outside: in topic, table and folder, not in the process.

Each says whether it has hit: by what was left behind, not by when the signal was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import re
import select
import signal
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import httpx
import msgspec

from schemas.codec import (
    UNREADABLE,
    WRITER_OPERATOR,
    WRITER_SETTLEMENT,
    BrokenFrame,
    Frame,
    decode_frame,
    decode_record,
    encode_frame,
)
from schemas.commands import PutQuotes, QuoteHour
from schemas.delivery import Delivered
from schemas.leases import TitleCounted
from schemas.rentals_log import OrderSent
from schemas.units import MS_PER_HOUR, parse_usd
from services.runtime.log import Outgoing
from tests.chaos.exchange import MATCHING, SETTLEMENTS, SHARDS, Exchange
from tests.chaos.faults import Kind, Misbehaved, NotHit
from tests.chaos.lanes import Lane

PATIENCE_S: Final = 20.0
HEALTHY_S: Final = 60.0
"""Within so long processes do what they must, also where the machine has much else to do."""
SLOW_S: Final = 0.3
"""How much a lane is slowed so that an instant lasts."""
BIG_FRAME: Final = 100
"""Quotes commands of a hundred and more hours in one frame: an output of several records."""


def pids_of(exchange: Exchange, names: tuple[str, ...]) -> dict[int, str]:
    return {pid: name for name in names if (pid := exchange.pid(name))}


def lease(exchange: Exchange, name: str) -> tuple[int, int]:
    """(epoch, process id of the holder) as the database has it."""
    ((epoch, holder),) = exchange.rows("SELECT epoch, holder FROM runtime.leases WHERE name = $1", name)
    return epoch, int(holder.split(":")[1])


def writer_of(exchange: Exchange, shard: int) -> str:
    """The shard's active matching. Raises NotHit while there is none."""
    _, pid = lease(exchange, f"matching-{shard}")
    name = pids_of(exchange, MATCHING).get(pid)
    if name is None:
        raise NotHit(f"nobody writes shard {shard} just now")
    return name


def keep_running(exchange: Exchange, until: Callable[[], bool], what: str, seconds: float) -> None:
    """Poll the keeper until it is so. Raises Misbehaved."""
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise Misbehaved(f"not within {seconds:.0f} s: {what}")
        exchange.poll()
        time.sleep(0.05)


async def _watch(exchange: Exchange, query: str, *values: object, found: Callable[[Any], Awaitable[bool]]) -> bool:
    """Ask the database every millisecond, until `found` is content with a row. False: it was not."""
    connection = await asyncpg.connect(exchange.stack.dsn, timeout=5)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline:
            row = await connection.fetchrow(query, *values)
            if row is not None and await found(row):
                return True
            await asyncio.sleep(0.001)
    finally:
        await connection.close(timeout=1)
    return False


# --- Take-over ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def taking_over(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The writer is killed; whoever gets the lease after it is killed with it in its hands."""
    del chance
    shard = int(target.removeprefix("shard "))
    epoch, first = lease(exchange, f"matching-{shard}")
    name = writer_of(exchange, shard)
    exchange.signal(name, signal.SIGKILL)

    async def kill(row: Any) -> bool:
        os.kill(int(row["holder"].split(":")[1]), signal.SIGKILL)
        return True

    query = "SELECT holder FROM runtime.leases WHERE name = $1 AND epoch > $2"
    hit = exchange.background.do(_watch(exchange, query, f"matching-{shard}", epoch, found=kill))
    if not hit:
        raise Misbehaved(f"nobody took over shard {shard} within {PATIENCE_S:.0f} s after process {first} was killed")
    yield f"kill -9 of who takes over {target}, while it does"


# --- Two writers --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def two_writers(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The writer sleeps until another one writes, and wakes up believing that it still is the one."""
    del chance
    shard = int(target.removeprefix("shard "))
    epoch, pid = lease(exchange, f"matching-{shard}")
    name = writer_of(exchange, shard)
    exchange.signal(name, signal.SIGSTOP)
    try:
        keep_running(
            exchange,
            lambda: lease(exchange, f"matching-{shard}")[0] > epoch,
            f"the standby of {target} takes over",
            HEALTHY_S,
        )
        keep_running(exchange, lambda: _writes(exchange, shard, epoch), f"the new writer of {target} writes", HEALTHY_S)
    finally:
        exchange.signal(name, signal.SIGCONT)
    # Fenced: it ends, and begins again as a follower.
    keep_running(exchange, lambda: exchange.pid(name) not in (pid, 0), f"the former writer {name} ends", HEALTHY_S)
    code = exchange.exit_codes()[name]
    if code not in (os.EX_TEMPFAIL, 1):
        raise Misbehaved(f"the former writer {name} ended with {code}: {exchange.last_words(name)}")
    yield f"two writers of {target}: {name} was fenced, exit code {code}"


def _writes(exchange: Exchange, shard: int, epoch: int) -> bool:
    found = [said for name, said in exchange.statuses().items() if name.startswith(f"matching-{shard}")]
    return any(said.get("role") == "active" and said.get("epoch", 0) > epoch for said in found)


# --- A snapshot half written ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing_a_snapshot(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The follower is killed as soon as its temporary file is there."""
    del target, chance
    folder = exchange.home / "data" / "snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    left: list[str] = []
    with _Created(folder) as created:
        deadline = time.monotonic() + PATIENCE_S
        while not left and time.monotonic() < deadline:
            for name in created.within(0.1):
                if found := re.fullmatch(r".*\.(\d+)\.tmp", name):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(found[1]), signal.SIGKILL)
                    time.sleep(0.05)
                    left = [name for _ in range(1) if (folder / name).exists()]
            exchange.poll()
    if not left:
        raise NotHit("every snapshot was whole before its writer was dead")
    yield f"kill -9 in the middle of a snapshot: {left[0]} was left"


class _Created:
    """Names of files as they are created in a folder, told by the kernel."""

    _CREATE: Final = 0x100
    _HEAD: Final = struct.Struct("iIII")

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK)
        if self._libc.inotify_add_watch(self._fd, os.fsencode(folder), self._CREATE) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def within(self, seconds: float) -> list[str]:
        if not select.select([self._fd], [], [], seconds)[0]:
            return []
        data, names = os.read(self._fd, 65_536), []
        while data:
            *_, length = self._HEAD.unpack_from(data)
            end = self._HEAD.size + length
            names.append(data[self._HEAD.size : end].rstrip(b"\0").decode())
            data = data[end:]
        return names


# --- Between commit and outbox --------------------------------------------------------------------------------------


@contextlib.contextmanager
def between_commit_and_outbox(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Settlement has committed a message to a shard, and dies before the shard's log has it."""
    del target, chance
    _, pid = lease(exchange, "settlement")
    name = pids_of(exchange, SETTLEMENTS).get(pid)
    if name is None:
        raise NotHit("nobody settles just now")
    lane = exchange.stack.kafka_lanes[name]
    messages: list[tuple[int, int]] = []

    async def kill(row: Any) -> bool:
        os.kill(pid, signal.SIGKILL)
        messages.append((row["shard"], row["outbox"]))
        return True

    lane.slow(SLOW_S)
    # Older ones may be on their way already.
    before = [row["last"] for row in exchange.rows("SELECT last FROM settlement.outbox_counters ORDER BY shard")]
    query = (
        "SELECT shard, outbox FROM settlement.outbox WHERE NOT confirmed AND outbox > ($1::bigint[])[shard + 1]"
        " ORDER BY outbox LIMIT 1"
    )
    try:
        hit = exchange.background.do(_watch(exchange, query, before, found=kill))
        # What it had sent on its way is lost with it.
        lane.reset()
    finally:
        lane.restore()
    if not hit or exchange.background.do(_is_sent(exchange, *messages[0])):
        raise NotHit("the message was in the shard's log already")
    shard, outbox = messages[0]
    yield f"kill -9 of {name} between commit and sending: message {outbox} to shard {shard}"


async def _is_sent(exchange: Exchange, shard: int, outbox: int) -> bool:
    return any(
        frame.writer == WRITER_SETTLEMENT and any(getattr(each, "outbox", 0) == outbox for each in frame.commands)
        for frame in await _last_frames(exchange, shard)
    )


async def _last_frames(exchange: Exchange, shard: int) -> list[Frame]:
    """Of a shard's commands."""
    found = []
    async with exchange.log("commands", shard) as log:
        first, end = await log.bounds()
        position = max(first, end - 200)
        while position < end:
            for record in await log.read(position, wait_ms=2_000):
                position = record.offset + 1
                with contextlib.suppress(BrokenFrame):  # somebody else's fault
                    found.append(decode_frame(record.value))
    return found


# --- What a room has decided, and has not done yet --------------------------------------------------------------------


@contextlib.contextmanager
def between_count_and_word(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Delivery has counted a title, and dies before settlement is told of it."""
    del chance
    with _slow(exchange.stack.kafka_lanes[target]):
        counted = exchange.background.do(_kill_at(exchange, target, "leases", TitleCounted))
    if exchange.background.do(_is_told(exchange, counted)):
        raise NotHit("settlement was told already")
    yield f"kill -9 of {target} between count and word: title {counted.title} of contract {counted.contract}"


@contextlib.contextmanager
def between_record_and_order(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The router has recorded an order, and dies before anybody has heard of it."""
    del chance
    with _slow(exchange.stack.inside_lanes[f"{target} → gateway"]):
        sent = exchange.background.do(_kill_at(exchange, target, "rentals", OrderSent))
    name = f"r{sent.rental}-{sent.number}"
    frames = [frame for shard in range(SHARDS) for frame in exchange.background.do(_last_frames(exchange, shard))]
    if any(getattr(each, "client_id", "") == name for frame in frames for each in frame.commands):
        raise NotHit(f"order {name} was in the shard's log already")
    yield f"kill -9 of {target} between record and order: {name}"


@contextlib.contextmanager
def _slow(lane: Lane) -> Iterator[None]:
    """What is on its way at the end is lost with its sender."""
    lane.slow(SLOW_S)
    try:
        yield
        lane.reset()
    finally:
        lane.restore()


async def _kill_at(exchange: Exchange, name: str, topic: str, kind: Any) -> Any:
    """The first record of a kind that a room writes from now on; the room is killed at it. Raises NotHit."""
    decoder = msgspec.msgpack.Decoder(Any)
    deadline = time.monotonic() + PATIENCE_S
    async with exchange.log(topic) as log:
        _, position = await log.bounds()
        while time.monotonic() < deadline:
            for record in await log.read(position, wait_ms=20):
                position = record.offset + 1
                if decoder.decode(record.value)[0] == kind.__struct_config__.tag:
                    exchange.signal(name, signal.SIGKILL)
                    return msgspec.msgpack.decode(record.value, type=kind)
    raise NotHit(f"no {kind.__name__} came within {PATIENCE_S:.0f} s")


async def _is_told(exchange: Exchange, counted: TitleCounted) -> bool:
    async with exchange.log("delivery") as log:
        position, end = await log.bounds()
        while position < end:
            for record in await log.read(position, wait_ms=2_000):
                position = record.offset + 1
                with contextlib.suppress(*UNREADABLE):  # somebody else's fault
                    told = msgspec.msgpack.decode(record.value, type=Delivered)
                    if (told.contract, told.title) == (counted.contract, counted.title):
                        return True
    return False


def _an_hour_ends(exchange: Exchange) -> bool:
    """Soon, and not so soon that it may be over."""
    clock = exchange.stack.market_clock
    now_ms = time.time_ns() // 1_000_000
    left_ms = clock.wall_ms((clock.hour(now_ms) + 1) * MS_PER_HOUR) - now_ms
    return PATIENCE_S / 4 < left_ms / 1_000 < PATIENCE_S * 3 / 4


# --- Between two parts of an output -----------------------------------------------------------------------------------


def big_frame(exchange: Exchange, shard: int) -> bytes:
    """A market maker's quotes for all hours of a class, a hundred times: written past the gateway, which would take fewer."""
    maker = exchange.wholesaler
    assert maker is not None, "the load has opened its account"
    # What it had there may have been swept back: nothing needed it.
    funded = httpx.post(
        f"{exchange.stack.url}/v1/transfers",
        json={"direction": "to_trading", "amount": "1000", "shard": shard},
        headers={"Authorization": f"Bearer {maker.bearer}", "Idempotency-Key": f"funds-{time.time_ns()}"},
        timeout=10,
        trust_env=False,
    )
    if funded.status_code != httpx.codes.OK:
        raise NotHit(f"the maker has no money in shard {shard}: {funded.text}")
    query = "SELECT class_no, class_id, tick FROM settlement.classes WHERE shard = $1 AND lot = 1 ORDER BY class_no"
    of_class = exchange.rows(query, shard)[0]
    answer = httpx.get(f"{exchange.stack.url}/v1/classes/{of_class['class_id']}", timeout=5, trust_env=False)
    lowest = -(-parse_usd(answer.raise_for_status().json()["collar_low"]) // of_class["tick"])
    query = "SELECT hour FROM settlement.contracts WHERE class_no = $1 AND phase = 'forward' ORDER BY hour"
    hours = [row["hour"] for row in exchange.rows(query, of_class["class_no"])][2:]
    said = [
        said.get("time_ms", 0) for name, said in exchange.statuses().items() if name.startswith(f"matching-{shard}")
    ]
    commands = []
    for number in range(BIG_FRAME):
        price = (lowest + 5 + number % 2) * of_class["tick"]
        commands.append(
            PutQuotes(
                account=maker.account,
                class_no=of_class["class_no"],
                number=time.time_ns() // 1_000 + number,
                quotes=tuple(QuoteHour(hour, price, 1, 0, 0) for hour in hours),
                valid_until_ms=max(said, default=0) + 300_000,
            )
        )
    return encode_frame(WRITER_OPERATOR, time.time_ns(), commands)


@contextlib.contextmanager
def between_two_parts(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """The writer has written the first record of an output of several, and dies."""
    del chance
    shard = int(target.removeprefix("shard "))
    frame = big_frame(exchange, shard)
    name = writer_of(exchange, shard)
    pid = exchange.pid(name)
    lane = exchange.stack.kafka_lanes[name]
    lane.slow(SLOW_S)
    try:
        left = exchange.background.do(_kill_after_first_part(exchange, shard, frame, pid))
        lane.reset()
    finally:
        lane.restore()
    yield f"kill -9 of {name} between two parts of an output: part {left} was the last there"


async def _kill_after_first_part(exchange: Exchange, shard: int, frame: bytes, pid: int) -> int:
    """The number of the last part that is there. Raises NotHit when it is the last of all."""
    async with exchange.log("events", shard) as events, exchange.log("commands", shard) as commands:
        _, position = await events.bounds()
        _, cause = await commands.bounds()
        await commands.append([Outgoing(frame)])
        there: dict[int, bool] = {}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            records = await events.read(position, wait_ms=20)
            for record in records:
                position = record.offset + 1
                said = decode_record(record.value)
                if said.offset >= cause and (said.part > 0 or not said.last):
                    there[said.part] = said.last
            if there:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                if any(there.values()):
                    raise NotHit(f"all {len(there)} parts were there at once")
                if not records:
                    return max(there)
        raise Misbehaved(f"no output in parts came from shard {shard} within {PATIENCE_S:.0f} s")


BY_SHARD: Final = tuple(f"shard {shard}" for shard in range(SHARDS))
MOMENTS: Final = (
    Kind("kill during a take-over", BY_SHARD, taking_over, alone=True),
    Kind("two writers of a shard", BY_SHARD, two_writers, alone=True),
    Kind("kill during a snapshot", ("snapshots",), writing_a_snapshot, alone=True),
    Kind("kill between commit and outbox", ("settlement",), between_commit_and_outbox, alone=True),
    Kind("kill between two parts of an output", BY_SHARD, between_two_parts, alone=True),
    Kind("kill between record and order", ("router",), between_record_and_order, alone=True),
    Kind("kill between count and word", ("delivery",), between_count_and_word, alone=True, is_due=_an_hour_ends),
)
