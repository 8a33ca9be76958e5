"""Logs that are not what they were: in copies of an exchange that was stopped, since nothing comes back from this.

Whoever reads what was damaged must halt (exit code 65) with a sentence that names it, and nothing may be written from then on.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from schemas.codec import read_headers, seal
from services.runtime.log import Outgoing, Record
from tests.chaos.exchange import GATEWAYS, ROOMS, SETTLEMENTS, Exchange, servers, start
from tests.chaos.faults import Misbehaved
from tests.chaos.lanes import Background
from tests.chaos.records import append, last_records
from tests.chaos.storm import Say

HALT_S_MAX: Final = 180.0
"""After an hour a shard that can use no snapshot has a log to read that took an hour to write."""
STILL_S: Final = 3.0
"""So long nothing is written once all have halted."""
SHARD: Final = 0
OF_SHARD: Final = ("matching-0a", "matching-0b")
_BATCH: Final = struct.Struct(">qi")
"""Offset of a batch's first record, and bytes that follow."""


_IN_VALUE: Final = 61 + 14
"""In a batch: behind its head, and the lengths and differences with which its first record begins, is that record's value."""


class Damage(NamedTuple):
    """One way to spoil a log."""

    name: str
    topic: str
    """As the sentence of whoever halts must name it."""
    halts: tuple[str, ...]
    live: Callable[[Exchange], None] | None = None
    """Done while everything runs."""
    stopped: Callable[[Path], None] | None = None
    """Done to Kafka's folder, before it starts."""


# --- While it runs: records by somebody with the administrator's login -----------------------------------------------


def _appended(topic: str, partition: int, make: Callable[[list[Record]], Outgoing]) -> Callable[[Exchange], None]:
    def do(exchange: Exchange) -> None:
        last = exchange.background.do(last_records(exchange, topic, partition))
        exchange.background.do(append(exchange, topic, partition, make(last)))

    return do


def _begun_again(topic: str, room: str) -> Callable[[Exchange], None]:
    """Rubbish in a room's own log, which it reads as far as it decides something, and whole when it begins."""

    def do(exchange: Exchange) -> None:
        _appended(topic, 0, _rubbish)(exchange)
        exchange.signal(room, signal.SIGKILL)

    return do


def _rubbish(_: list[Record]) -> Outgoing:
    return Outgoing(random.Random(1).randbytes(80))


def _next_but_one(last: list[Record]) -> Outgoing:
    """A record that would follow, if one more were there."""
    return _forged(last[-1], ahead=2, chain=b"")


def _wrong_chain(last: list[Record]) -> Outgoing:
    """The next one, by somebody who does not know what was said before."""
    return _forged(last[-1], ahead=1, chain=bytes(range(16)))


def _forged(last: Record, *, ahead: int, chain: bytes) -> Outgoing:
    envelope = read_headers(last.headers)
    said = msgspec.msgpack.decode(last.value)
    frame = _Frame(said[7], said[8])
    (sealed,) = seal(said[1], envelope.seq + ahead - 1, chain or envelope.chain, said[3] + 1, said[6], frame, [])
    return Outgoing(sealed.body, [*sealed.headers, ("e", envelope.epoch.to_bytes(8))])


class _Frame(NamedTuple):
    writer: int
    frame_no: int
    commands: tuple[()] = ()


# --- While it is stopped: files of the broker -------------------------------------------------------------------------


def _shortened(partition: str, records: int) -> Callable[[Path], None]:
    """The last batches are gone, with so many records at least."""

    def do(data: Path) -> None:
        folder = data / partition
        log = max(folder.glob("*.log"))
        batches = list(_batches(log.read_bytes()))
        keep = [begin for begin, offset in batches if offset <= batches[-1][1] - records]
        os.truncate(log, keep[-1])
        _forget(data, folder)

    return do


def _replaced(partition: str) -> Callable[[Path], None]:
    """Another log of the same length: one record of the last batches is another one, with a checksum that is right."""

    def do(data: Path) -> None:
        folder = data / partition
        log = max(folder.glob("*.log"))
        content = bytearray(log.read_bytes())
        for begin, _ in list(_batches(content))[-20:]:
            _, length = _BATCH.unpack_from(content, begin)
            end = begin + _BATCH.size + length
            content[begin + _IN_VALUE] ^= 1
            content[begin + 17 : begin + 21] = _crc32c(content[begin + 21 : end]).to_bytes(4)
        log.write_bytes(content)
        _forget(data, folder)

    return do


def _batches(content: bytes | bytearray) -> list[tuple[int, int]]:
    """(where it begins, offset of its first record)."""
    found, begin = [], 0
    while begin + _BATCH.size <= len(content):
        offset, length = _BATCH.unpack_from(content, begin)
        if length <= 0:
            break  # the rest of a file that was made larger than its records
        found.append((begin, offset))
        begin += _BATCH.size + length
    return found


def _forget(data: Path, folder: Path) -> None:
    """What the broker knows of a partition besides its records: it looks at these again."""
    for file in folder.iterdir():
        if file.suffix in (".index", ".timeindex", ".snapshot", ".txnindex"):
            file.unlink()
    (data / ".kafka_cleanshutdown").unlink(missing_ok=True)
    for checkpoint in data.glob("*-checkpoint"):
        checkpoint.unlink()


def _crc32c(data: bytes | bytearray) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC32C: Final = _crc32c_table()

READERS: Final = (*OF_SHARD, *SETTLEMENTS, *GATEWAYS, "market_data", *ROOMS)
DAMAGES: Final = (
    Damage("rubbish in events", "events/0", READERS, live=_appended("events", SHARD, _rubbish)),
    Damage("a hole in events", "events/0", READERS, live=_appended("events", SHARD, _next_but_one)),
    Damage("a wrong chain in events", "events/0", READERS, live=_appended("events", SHARD, _wrong_chain)),
    Damage("rubbish in keys", "keys", GATEWAYS, live=_appended("keys", 0, _rubbish)),
    Damage("rubbish in offers", "offers", ("market_data",), live=_appended("offers", 0, _rubbish)),
    Damage("rubbish in leases", "leases", ("delivery",), live=_begun_again("leases", "delivery")),
    Damage("rubbish in rentals", "rentals", ("router",), live=_begun_again("rentals", "router")),
    Damage("commands lost its end", "commands/0", OF_SHARD, stopped=_shortened("commands-0", 40)),
    Damage("commands replaced", "commands/0", OF_SHARD, stopped=_replaced("commands-0")),
    Damage("events replaced", "events/0", (*OF_SHARD, *SETTLEMENTS, *ROOMS), stopped=_replaced("events-0")),
    Damage("requests lost its end", "requests/0", SETTLEMENTS[:1], stopped=_shortened("requests-0", 1)),
    Damage("requests replaced", "requests/0", SETTLEMENTS[:1], stopped=_replaced("requests-0")),
)


def damage_all(home: Path, background: Background, say: Say, damages: Sequence[Damage] = DAMAGES) -> list[str]:
    """Of a stopped exchange's folder. What is wrong, a sentence each."""
    wrong = []
    for damage in damages:
        copy = home.with_name(f"{home.name}-damaged")
        subprocess.run(["cp", "-a", "--sparse=always", home, copy], check=True)
        shutil.rmtree(copy / "run", ignore_errors=True)
        shutil.rmtree(copy / "logs", ignore_errors=True)
        try:
            said = _try(damage, copy, background)
        except Misbehaved as error:
            wrong.append(f"{damage.name}: {error}")
            said = f"MISBEHAVED: {error}"
            copy.rename(copy.with_name(f"{copy.name}-{len(wrong)}"))
        else:
            shutil.rmtree(copy)
        say(f"{damage.name}: {said}")
    return wrong


def _try(damage: Damage, home: Path, background: Background) -> str:
    """How it halted. Raises Misbehaved."""
    if damage.stopped is not None:
        damage.stopped(home / "kafka" / "data")
    with servers(home, background) as exchange:
        start(exchange)
        if damage.live is not None:
            _until(
                exchange,
                lambda: _all_work(exchange),
                lambda: f"{_silent(exchange)} do not work before anything is done",
            )
            damage.live(exchange)
        halted: dict[str, str] = {}

        def all_halted() -> bool:
            codes = exchange.exit_codes()
            for name in damage.halts:
                if codes[name] == os.EX_DATAERR:
                    halted[name] = exchange.last_words(name)
            # Of two that share a lease only one reads at a time.
            return all(name in halted for name in damage.halts if name not in SETTLEMENTS) and (
                not set(damage.halts) & set(SETTLEMENTS) or bool(set(halted) & set(SETTLEMENTS))
            )

        _until(
            exchange,
            all_halted,
            lambda: f"{sorted(set(damage.halts) - set(halted))} did not halt, but {_ends(exchange)}",
        )
        if silent := {name: words for name, words in halted.items() if damage.topic not in words}:
            raise Misbehaved(f"who halted does not name {damage.topic}: {silent}")
        _nothing_is_written(exchange, damage)
        return f"{', '.join(sorted(halted))} halted: {_sentence(halted[min(halted)])}"


def _until(exchange: Exchange, holds: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + HALT_S_MAX
    while not holds():
        if time.monotonic() > deadline:
            raise Misbehaved(f"not within {HALT_S_MAX:.0f} s: {why()}")
        exchange.poll()
        time.sleep(0.1)


def _all_work(exchange: Exchange) -> bool:
    return not _silent(exchange)


def _silent(exchange: Exchange) -> list[str]:
    told = exchange.statuses()
    working = [name for name in READERS if told.get(name, {}).get("role") in ("active", "follower", "open")]
    return sorted(set(READERS) - set(working) - (set(SETTLEMENTS) if set(SETTLEMENTS) & set(working) else set()))


def _ends(exchange: Exchange) -> dict[str, int | None]:
    return {name: code for name, code in exchange.exit_codes().items() if code is not None}


def _sentence(line: str) -> str:
    try:
        return str(msgspec.json.decode(line)["what"]).removeprefix("stopped: ")
    except msgspec.DecodeError:
        return line


def _nothing_is_written(exchange: Exchange, damage: Damage) -> None:
    """By those who halted: neither what a shard says, nor the ledger."""

    def state() -> tuple[int, int]:
        events = exchange.background.do(_end_of_events(exchange)) if set(damage.halts) & set(OF_SHARD) else 0
        settles = set(damage.halts) & set(SETTLEMENTS)
        return events, exchange.rows("SELECT last FROM settlement.commits")[0][0] if settles else 0

    before = state()
    deadline = time.monotonic() + STILL_S
    _until(exchange, lambda: time.monotonic() >= deadline, lambda: "")
    if (after := state()) != before:
        raise Misbehaved(f"all had halted, and (end of events, commits) went from {before} to {after}")


async def _end_of_events(exchange: Exchange) -> int:
    async with exchange.log("events", SHARD) as log:
        return int((await log.bounds())[1])
