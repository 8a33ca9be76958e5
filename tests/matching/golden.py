"""Golden logs: for each engine version a log that was recorded once, and must give the same bytes for ever.

    python -m tests.matching.golden 2           records the logs of version 2, if there are none
    python -m tests.matching.golden --snapshot  adds the state's hash in a new snapshot format; chains must still match

`golden/v1/clock.commands.gz` holds records of `commands` as MessagePack documents [offset, stamp, value], one after the
other; `clock.events.gz` the bodies of `events` they caused; `clock.toml` what must come out: counts, chain, hash of the
state. `sandbox` is the same for a shard whose time runs sixty times as fast. A recorded log is never recorded again: a
difference means that replaying real logs would contradict what was said, and asks for a new engine version.
"""

from __future__ import annotations

import gzip
import itertools
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import FRAME_FORMAT, decode_frame, decode_record
from schemas.events import Code, Reason
from services.matching.engine import Engine
from services.matching.replica import Replica
from services.matching.snapshot import STATE_FORMAT, state_hash
from services.runtime.log import Record
from services.runtime.positions import record_hash
from tests.reference.flow import random_day
from tests.reference.memory import Setting
from tests.reference.moods import MOODS, MOODS_OF_VERSION_1
from tests.reference.script import Script

FOLDER: Final = Path(__file__).parent / "golden"
LOGS: Final = {"clock": 1, "sandbox": 60}
"""Name → rate."""
COMMANDS: Final = {"clock": 9_000, "sandbox": 4_000}
FRAMES: Final = 40
"""Of a day in one mood."""
SHARD: Final = 7
OPERATOR: Final = 900
BROKEN: Final = b"\xc1 not a frame"
pack = msgspec.msgpack.encode


class Log(NamedTuple):
    """A recorded log, and what must come out of it."""

    commands: list[Record]
    bodies: list[bytes]
    """Of `events`."""
    quarantine: dict[int, bytes]
    expected: dict[str, Any]


def versions() -> list[int]:
    """Those with golden logs."""
    return sorted(int(path.name[1:]) for path in FOLDER.iterdir())


def load(version: int, name: str) -> Log:
    """Read one log."""
    stem = FOLDER / f"v{version}" / name
    expected = tomllib.loads(stem.with_suffix(".toml").read_text(encoding="utf-8"))
    quarantine = {int(offset): bytes.fromhex(found) for offset, found in expected["quarantine"].items()}
    commands = [Record(*row) for row in _documents(stem.with_suffix(".commands.gz"))]
    return Log(commands, list(_documents(stem.with_suffix(".events.gz"))), quarantine, expected)


def _documents(path: Path) -> Iterator[Any]:
    stream = gzip.decompress(path.read_bytes())
    return iter(msgspec.msgpack.decode(stream))


# --- Recording -------------------------------------------------------------------------------------------------


class Scribe(Script):
    """Days of chance in every mood, one after the other in one shard, and what the engine says to them."""

    def __init__(self, name: str, version: int, seed: str = "golden") -> None:
        super().__init__(Setting(shard=SHARD, rate=LOGS[name], version=version))
        self.seed = seed
        self.replica = Replica(SHARD, Engine())
        self.commands: list[Record] = []
        self.bodies: list[bytes] = []
        self.quarantine: dict[int, bytes] = {}
        self.seen: Counter[str] = Counter()

    def _record(self, bodies: Sequence[Any]) -> Any:
        """As the script writes it, and into the replica."""
        offset, stamp_ms = self.memory.offset, self.memory.stamp_ms
        value = BROKEN
        if bodies:
            value = pack((FRAME_FORMAT, 1, offset, bodies))
        else:
            self.quarantine[offset] = record_hash(BROKEN)
        record = Record(offset, stamp_ms, value)
        self.commands.append(record)
        for sealed in self.replica.apply(record, self.quarantine):
            self.bodies.append(sealed.body)
            for event in decode_record(sealed.body).events:
                self._note(event)
        return super()._record(bodies)

    def _note(self, event: ev.Event) -> None:
        self.seen[type(event).__name__] += 1
        if isinstance(event, (ev.Rejected, ev.OutboxRejected)):
            self.seen[f"code {Code(event.code).name}"] += 1
        if isinstance(event, ev.RangeAccepted):
            self.seen.update(f"code {Code(leg.code).name}" for leg in event.legs if leg.code)
        if isinstance(event, ev.QuotesPut):
            self.seen.update(f"code {Code(each.code).name}" for each in event.outcomes if each.code)
        if isinstance(event, ev.OrderCancelled):
            self.seen[f"reason {Reason(event.reason).name}"] += 1
        if isinstance(event, ev.Filled):
            for move in event.moves:
                self.seen[f"move {kind_of(move)}"] += 1

    def write(self, commands: int) -> None:
        """The whole log: rounds of all moods until so many commands are in it."""
        self.opening()
        self._record([cmd.SetEngineVersion(OPERATOR, self.memory.setting.version)])
        moods = MOODS_OF_VERSION_1 if self.memory.setting.version == 1 else [*MOODS]
        for number in itertools.count():
            for mood in moods:
                for frame in random_day(f"{self.seed}/{number}/{mood}", FRAMES, MOODS[mood]):
                    self.record(frame)
                    if self.replica.commands >= commands:
                        return


def kind_of(move: ev.TitleMove) -> str:
    """What a move did: to the title sold, to the title closed."""
    source = "new" if not move.source else "whole" if move.source == move.title else "piece"
    if not move.closes:
        return source
    return source + ("/own" if move.closes == move.title else "/whole" if move.closes == move.closed else "/piece")


def record(version: int) -> None:
    """Write the logs of a version that has none."""
    folder = FOLDER / f"v{version}"
    if folder.exists():
        sys.exit(f"{folder} is there: a golden log is recorded once")
    folder.mkdir(parents=True)
    for name in LOGS:
        day = Scribe(name, version)
        day.write(COMMANDS[name])
        rows = [(one.offset, one.time_ms, one.value) for one in day.commands]
        (folder / f"{name}.commands.gz").write_bytes(gzip.compress(pack(rows), mtime=0))
        (folder / f"{name}.events.gz").write_bytes(gzip.compress(pack(day.bodies), mtime=0))
        (folder / f"{name}.toml").write_text(_expected(version, name, day), encoding="utf-8")


def _expected(version: int, name: str, day: Scribe) -> str:
    replica = day.replica
    events = sum(count for what, count in day.seen.items() if " " not in what)
    asked: Counter[str] = Counter()
    for one in day.commands:
        if one.offset not in day.quarantine:
            asked.update(type(command).__name__ for command in decode_frame(one.value).commands)
    return "\n".join([
        f"# Recorded once by `python -m tests.matching.golden {version}`. Never changed: see tests/matching/golden.py.",
        f"engine_version = {version}",
        f"rate = {LOGS[name]}",
        f"records = {len(day.commands)}",
        f"commands = {replica.commands}",
        f"seq = {replica.seq}",
        f"events = {events}",
        f'chain = "{replica.chain.hex()}"',
        "",
        "# Snapshot format: hash of the state after the last record.",
        "[state_hash]",
        f'{STATE_FORMAT} = "{state_hash(replica.engine).hex()}"',
        "",
        "# Offset: hash of the record there.",
        "[quarantine]",
        *(f'{offset} = "{found.hex()}"' for offset, found in day.quarantine.items()),
        "",
        "[asked]",
        *(f"{kind} = {count}" for kind, count in sorted(asked.items())),
        "",
        "[said]",
        *(f'"{what}" = {count}' for what, count in sorted(day.seen.items())),
        "",
    ])  # fmt: skip


def add_snapshot_format() -> None:
    """Where the snapshot's bytes have a new format, write down its hashes beside the old ones."""
    for version in versions():
        for name in LOGS:
            log = load(version, name)
            replica = Replica(SHARD, Engine())
            for one in log.commands:
                replica.apply(one, log.quarantine)
            assert replica.chain.hex() == log.expected["chain"], (
                "the events have changed as well: this is a new version"
            )
            if str(STATE_FORMAT) in log.expected["state_hash"]:
                continue
            path = FOLDER / f"v{version}" / f"{name}.toml"
            line = f'[state_hash]\n{STATE_FORMAT} = "{state_hash(replica.engine).hex()}"\n'
            path.write_text(path.read_text(encoding="utf-8").replace("[state_hash]\n", line), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--snapshot"]:
        add_snapshot_format()
    else:
        record(int(sys.argv[1]))
