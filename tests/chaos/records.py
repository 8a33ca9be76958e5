"""What somebody with the administrator's login writes into the logs, and what must come of it.

Only records that an exchange survives, by itself or by an operator who follows docs/operations.md; what it must not survive is in
`damage`.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from schemas.codec import WRITER_GATEWAY_MIN, WRITER_SETTLEMENT, BrokenFrame, decode_frame
from schemas.commands import AmendOrder
from services.runtime.log import Outgoing, Record
from tests.chaos.exchange import SHARDS, Exchange
from tests.chaos.faults import Kind, Misbehaved, NotHit
from tests.chaos.moments import BY_SHARD, HEALTHY_S, keep_running

QUARANTINE: Final = re.compile(
    r"hourbook (quarantine --shard \d+ --offset (\d+) --hash [0-9a-f]+) --reason '\.\.\.' --operator '\.\.\.'"
)
CHECKOUT: Final = Path(__file__).parents[2]
_LOOK_BACK: Final = 300


async def append(exchange: Exchange, topic: str, partition: int, *records: Outgoing) -> None:
    """With the login that may do everything."""
    async with exchange.log(topic, partition) as log:
        await log.append(records)


async def last_records(exchange: Exchange, topic: str, partition: int) -> list[Record]:
    async with exchange.log(topic, partition) as log:
        first, end = await log.bounds()
        position, found = max(first, end - _LOOK_BACK), list[Record]()
        while position < end:
            found += await log.read(position, wait_ms=2_000)
            position = found[-1].offset + 1
        return found


def broken_frames(chance: random.Random, whole: bytes) -> dict[str, bytes]:
    """Records of `commands` that are no frames; `whole` is one."""
    return {
        "random bytes": chance.randbytes(chance.randint(1, 400)),
        "nothing": b"",
        "a truncated frame": whole[: chance.randint(1, len(whole) - 1)],
        "a frame of another format": msgspec.msgpack.encode([99, 1, 1, []]),
        "a frame without commands": msgspec.msgpack.encode([1, WRITER_SETTLEMENT, 1, []]),
        "a frame of a negative writer": msgspec.msgpack.encode([1, -1, 1, [[1]]]),
    }


@contextlib.contextmanager
def quarantined(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """A record that is no frame: the shard halts and says what to type; that is typed, and it goes on."""
    shard = int(target.removeprefix("shard "))
    last = exchange.background.do(last_records(exchange, "commands", shard))[-1]
    whole = last.value
    kind, value = chance.choice(sorted(broken_frames(chance, whole).items()))
    exchange.background.do(append(exchange, "commands", shard, Outgoing(value)))
    sentence = ""

    def halted() -> bool:
        nonlocal sentence
        for name in (f"matching-{shard}a", f"matching-{shard}b"):
            found = QUARANTINE.search(exchange.last_words(name))
            # An older one may still be its latest end.
            if exchange.exit_codes()[name] == os.EX_DATAERR and found and int(found[2]) > last.offset:
                sentence = found[1]
        return bool(sentence)

    keep_running(exchange, halted, f"{target} halts at {kind} in commands and says how to go on", HEALTHY_S)
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *shlex.split(sentence), "--reason", kind, "--operator", "chaos"],
        cwd=CHECKOUT,
        env={**os.environ, **exchange.stack.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise Misbehaved(f"`hourbook {sentence}` ended with {done.returncode}: {done.stdout}{done.stderr}")
    yield f"{kind} in commands of {target}: halted, quarantined as the sentence said"


@contextlib.contextmanager
def said_twice(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """What was said before comes again, as from a writer that does not know that it is over: nothing comes of it."""
    shard = int(target.removeprefix("shard "))
    topic = chance.choice(["events", "commands of gateways", "commands of settlement"])
    if topic == "events":
        # Not of the last ones: what is behind them may not have been read by everybody yet.
        found = exchange.background.do(last_records(exchange, "events", shard))[:-20]
    else:
        least, most = (WRITER_GATEWAY_MIN, 1 << 63) if "gateways" in topic else (WRITER_SETTLEMENT, WRITER_SETTLEMENT)
        found = [
            record
            for record in exchange.background.do(last_records(exchange, "commands", shard))
            if least <= _writer(record.value) <= most and not _amends(record.value)
        ]
    if not found:
        raise NotHit(f"there was nothing to say again in {topic}")
    again = [Outgoing(record.value, record.headers) for record in chance.sample(found, min(5, len(found)))]
    exchange.background.do(append(exchange, topic.split()[0], shard, *again))
    yield f"{len(again)} old records of {topic} once more in {target}"


def _amends(value: bytes) -> bool:
    """An amend has no id by which it would be known again: docs/api.md says that it is not harmless to repeat."""
    return any(isinstance(command, AmendOrder) for command in decode_frame(value).commands)


def _writer(value: bytes) -> int:
    try:
        return decode_frame(value).writer
    except BrokenFrame:
        return 0


@contextlib.contextmanager
def refused_records(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Rubbish where requests and delivery records are: each is noted as refused, and the next one is read."""
    source = {"requests": 2, "delivery": 3}[target]
    query = "SELECT count(*) FROM settlement.refusals WHERE source = $1 AND code = 'malformed'"
    ((before,),) = exchange.rows(query, source)
    rubbish = [Outgoing(chance.randbytes(chance.randint(0, 300))) for _ in range(3)]
    exchange.background.do(append(exchange, target, 0, *rubbish))
    keep_running(
        exchange,
        lambda: exchange.rows(query, source)[0][0] == before + len(rubbish),
        f"settlement notes {len(rubbish)} refusals in {target}",
        HEALTHY_S,
    )
    yield f"random bytes in {target}: noted as refused"


@contextlib.contextmanager
def broken_reference(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Rubbish among the references: collars stay where they are, and the writers say why."""
    exchange.background.do(append(exchange, target, 0, Outgoing(chance.randbytes(100))))
    yield "random bytes in references"


@contextlib.contextmanager
def broken_body(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """A body that does not decode, in a frame that does: refused by an event, and the shard goes on."""
    shard = int(target.removeprefix("shard "))
    bodies = [[1], [chance.randint(40, 90), "x"], [99], chance.randbytes(10)]
    frame = msgspec.msgpack.encode([1, 3, time.time_ns(), bodies])
    exchange.background.do(append(exchange, "commands", shard, Outgoing(frame)))
    yield f"bodies that do not decode in commands of {target}"


# --- Snapshots --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def spoilt_snapshots(exchange: Exchange, target: str, chance: random.Random) -> Iterator[str]:
    """Every snapshot of a shard is damaged or gone, and both of its processes are killed: they say so and begin further back."""
    shard = int(target.removeprefix("shard "))
    folder = exchange.home / "data" / "snapshots"
    names = (f"matching-{shard}a", f"matching-{shard}b")
    logs = [exchange.home / "logs" / f"{name}.log" for name in names]
    from_there = [log.stat().st_size for log in logs]
    for name in names:
        exchange.signal(name, signal.SIGSTOP)
    damaged = {file.name: _spoil(file, chance) for file in sorted(folder.glob(f"shard-{shard}-*.snapshot"))}
    for name in names:
        exchange.signal(name, signal.SIGKILL)
    readable = [name for name, how in damaged.items() if how != "deleted"]

    def said() -> bool:
        text = "".join(
            log.read_bytes()[start:].decode(errors="replace") for log, start in zip(logs, from_there, strict=True)
        )
        return all(f"snapshot {name} is not used" in text for name in readable)

    keep_running(exchange, said, f"matching of {target} says that it does not use {readable}", HEALTHY_S)
    yield f"snapshots of {target}: {', '.join(damaged.values()) or 'there was none'}; both processes killed"


def _spoil(file: Path, chance: random.Random) -> str:
    how = chance.choice(["deleted", "truncated", "a bit flipped", "overwritten"])
    data = bytearray(file.read_bytes())
    if how == "deleted":
        file.unlink()
        return how
    if how == "truncated":
        data = data[: chance.randrange(len(data))]
    elif how == "a bit flipped":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        data = bytearray(chance.randbytes(len(data)))
    file.write_bytes(data)
    return how


RECORDS: Final = (
    Kind("broken frame, quarantined", BY_SHARD, quarantined, alone=True),
    Kind("records said twice", BY_SHARD, said_twice),
    Kind("rubbish in requests and delivery", ("requests", "delivery"), refused_records, alone=True),
    Kind("rubbish in references", ("references",), broken_reference),
    Kind("body that does not decode", BY_SHARD, broken_body),
    Kind("snapshots damaged or deleted", BY_SHARD, spoilt_snapshots, alone=True),
)
assert len(BY_SHARD) == SHARDS
