"""Topics of the exchange: created once, by command, and checked by every service at its start.

    await create_topics(cluster, shards=2, sandbox=True, rate=1)     # refuses when all is there already
    found = await check_topics(cluster, shards=2)                    # Halt with a sentence; found.append_time, found.sandbox

`commands` and `events` have one partition per shard, the others one. All keep everything (`hourbook archive` cuts). Stamps
are the broker's (LogAppendTime). A broker that repeats settings without obeying them is found out by a probe: a record with
an old stamp is written to topic `probe` and read back. Such a broker is good for a sandbox and refused for anything else.

`create_topics` writes `StartShard` at offset 0 of each partition of `commands`, once, and the same bytes to topic `shards`,
which is never cut: a `commands` that begins with anything else was replaced, and one whose beginning is archived is still
known. Killed half way, it completes what is missing when called again with the same arguments.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from schemas.codec import WRITER_OPERATOR, BrokenFrame, decode_frame, encode_frame
from schemas.commands import StartShard
from services.runtime.errors import Halt
from services.runtime.kafka import MESSAGE_BYTES_MAX, Cluster
from services.runtime.log import Outgoing
from services.runtime.positions import read_one
from services.runtime.walls import raise_walls

ENGINE_VERSION: Final = 2
"""Of shards that are started now."""

PER_SHARD: Final = ("commands", "events")
SINGLE: Final = ("requests", "delivery", "leases", "rentals", "offers", "references", "keys", "quarantine", "shards")
ALL: Final = PER_SHARD + SINGLE
PROBE: Final = "probe"

_REPLICAS_WANTED: Final = 3
_AT_LEAST: Final = ("max.message.bytes", "min.insync.replicas")
_DAY_MS: Final = 86_400_000
_VISIBLE_TRIES: Final = 100


class Found(NamedTuple):
    """What `check_topics` learnt about broker and shards."""

    append_time: bool
    """Stamps are the broker's own."""
    sandbox: bool
    """The shards were started as a sandbox."""
    rate: int


async def create_topics(
    cluster: Cluster, shards: int, *, sandbox: bool = False, rate: int = 1, t0_ms: int | None = None
) -> None:
    """Create every topic and start every shard. Raises Halt when all shards are started already, or otherwise.

    `t0_ms`: where market time and stamps agree; default: now. Outside a sandbox `rate` is 1, and on a single broker each
    append is flushed to disk before it is acknowledged. With a login, which must be an administrator's, the broker's access
    lists are written too (`walls`), also where the shards are started already.
    """
    if rate < 1 or (rate != 1 and not sandbox):
        raise Halt(f"rate {rate}: market time runs at rate 1 outside a sandbox, at a whole rate from 1 inside")
    replicas = min(_REPLICAS_WANTED, await cluster.ping())
    settings = wanted_settings(replicas)
    if replicas == 1 and not sandbox:
        settings = {**settings, "flush.messages": "1"}
    await cluster.create_topic(PROBE, 1, replicas, {**settings, "retention.ms": str(_DAY_MS)})
    for topic in ALL:
        await cluster.create_topic(topic, shards if topic in PER_SHARD else 1, replicas, settings)
    await _until_visible(cluster)
    if cluster.login is not None:
        await raise_walls(cluster, (*ALL, PROBE))
    await _check_settings(cluster, shards, ALL)
    start = time.time_ns() // 1_000_000 if t0_ms is None else t0_ms
    known = await _known_starts(cluster)
    started = [
        await _start_shard(cluster, StartShard(shard, ENGINE_VERSION, start, rate, sandbox), known.get(shard, b""))
        for shard in range(shards)
    ]
    if not any(started):
        raise Halt(f"all {shards} shards are started already")


def wanted_settings(replicas: int) -> dict[str, str]:
    """Settings of every topic, with `replicas` copies of each partition."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        "min.insync.replicas": str(max(1, replicas - 1)),
        "unclean.leader.election.enable": "false",
    }


async def check_topics(cluster: Cluster, shards: int, topics: Collection[str] = ALL) -> Found:
    """Partitions, settings, shards' first records, and how the broker stamps. Raises Halt with a sentence.

    A service that may read only some `topics` names them; the shards are looked at when `commands` is among them.
    """
    of_shards = {"shards"} if "commands" in topics else set()
    await _check_settings(cluster, shards, [*topics, *of_shards.difference(topics)])
    if not of_shards:
        return Found(append_time=False, sandbox=False, rate=1)
    starts = [await read_start(cluster, shard) for shard in range(shards)]
    if any((start.sandbox, start.rate) != (starts[0].sandbox, starts[0].rate) for start in starts):
        raise Halt("the shards were started with different rates, or some as a sandbox and some not")
    append_time = await cluster.keeps_append_time(PROBE)
    if not append_time and not starts[0].sandbox:
        raise Halt(
            "topic commands, setting message.timestamp.type: found a broker that says LogAppendTime and keeps the writer's "
            "stamp, wanted is LogAppendTime; only a sandbox goes without"
        )
    return Found(append_time, starts[0].sandbox, starts[0].rate)


async def read_start(cluster: Cluster, shard: int) -> StartShard:
    """How the shard was started. Raises Halt when it was not, or when `commands` begins with anything else."""
    known = (await _known_starts(cluster)).get(shard, b"")
    found = await _first_record(cluster, shard)
    if not known:
        raise Halt(f"shard {shard} is not started: `hourbook admin topics` starts it")
    if found is not None and found != known:
        raise Halt(f"commands/{shard} does not begin with the StartShard that topic shards knows: the log was replaced")
    return _decode_start(known, shard)


async def _start_shard(cluster: Cluster, start: StartShard, known: bytes) -> bool:
    """Write the shard's first record, and its copy, where they are missing. False: both were there."""
    found = await _first_record(cluster, start.shard)
    if known:
        there = await read_start(cluster, start.shard)
    elif found is None:
        # The number tells our record from one of another run of this command at the same moment.
        found = await _append_first(cluster, start, encode_frame(WRITER_OPERATOR, secrets.randbits(63), [start]))
        there = start
    else:
        there = _decode_start(found, start.shard)
    if (there.rate, there.sandbox) != (start.rate, start.sandbox):
        raise Halt(f"shard {start.shard} is started already, with rate {there.rate} and sandbox {there.sandbox}")
    if not known:
        assert found is not None
        log = cluster.log("shards")
        await log.append([Outgoing(found)])
        await log.close()
    return not known


async def _append_first(cluster: Cluster, start: StartShard, frame: bytes) -> bytes:
    log = cluster.log("commands", start.shard)
    await log.append([Outgoing(frame)])
    await log.close()
    if await _first_record(cluster, start.shard) != frame:
        raise Halt(f"commands/{start.shard}: something else was written at offset 0 at the same moment")
    return frame


async def _first_record(cluster: Cluster, shard: int) -> bytes | None:
    """The record at offset 0 of `commands`; None: there is none, or it was cut."""
    log = cluster.log("commands", shard)
    try:
        first, end = await log.bounds()
        record = await read_one(log, 0) if first == 0 and end > 0 else None
    finally:
        await log.close()
    return None if record is None else record.value


async def _known_starts(cluster: Cluster) -> dict[int, bytes]:
    """Shard → its first record, as topic `shards` has it."""
    log = cluster.log("shards")
    starts: dict[int, bytes] = {}
    try:
        position, end = await log.bounds()
        while position < end:
            for record in await log.read(position, wait_ms=1000):
                starts.setdefault(_decode_start(record.value).shard, record.value)
                position = record.offset + 1
    finally:
        await log.close()
    return starts


def _decode_start(frame: bytes, shard: int | None = None) -> StartShard:
    where = "topic shards" if shard is None else f"commands/{shard}"
    try:
        commands = decode_frame(frame).commands
    except BrokenFrame as error:
        raise Halt(f"{where} does not begin with a frame: {error}") from error
    if len(commands) != 1 or not isinstance(commands[0], StartShard):
        raise Halt(f"{where} does not begin with StartShard: this log belongs to something else")
    if shard is not None and commands[0].shard != shard:
        raise Halt(f"{where} begins with StartShard of shard {commands[0].shard}")
    return commands[0]


async def _until_visible(cluster: Cluster) -> None:
    """A broker tells of a new topic a moment after it has acknowledged it."""
    for _ in range(_VISIBLE_TRIES):
        if await cluster.topics() >= {*ALL, PROBE}:
            return
        await asyncio.sleep(0.1)


async def _check_settings(cluster: Cluster, shards: int, topics: Collection[str]) -> None:
    there = await cluster.topics()
    replicas = min(_REPLICAS_WANTED, await cluster.ping())
    for topic in topics:
        # Asking a broker about a topic that is not there may create it: the list comes first.
        if topic not in there:
            hidden = f", or {cluster.whom} may not see it" if cluster.login else ""
            raise Halt(f"topic {topic} does not exist{hidden}: `hourbook admin topics` creates what is missing")
        partitions, settings = await cluster.describe(topic)
        faults = _faults(partitions, settings, shards if topic in PER_SHARD else 1, replicas)
        if faults:
            raise Halt("; ".join(f"topic {topic}, {fault}" for fault in faults))


def _faults(partitions: list[int], settings: Mapping[str, str], count: int, replicas: int) -> list[str]:
    """What is not as it must be: setting, found, wanted."""
    faults = []
    if len(partitions) != count:
        faults.append(f"partitions: found {len(partitions)}, wanted {count}")
    if min(partitions, default=0) < replicas:
        faults.append(f"replicas: found {min(partitions, default=0)}, wanted at least {replicas}")
    for name, wanted in wanted_settings(replicas).items():
        found = settings.get(name, "")
        more = name in _AT_LEAST and found.isdigit() and int(found) >= int(wanted)
        if found != wanted and not more:
            faults.append(f"setting {name}: found {found or 'nothing'}, wanted {wanted}")
    return faults
