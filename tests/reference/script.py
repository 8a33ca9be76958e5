"""Turns intents into records of `commands`, through the bytes of the log.

No engine is looked at. What becomes of an intent: members.py, settlement.py, operators.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from schemas import commands as cmd
from schemas.codec import FRAME_FORMAT, Malformed, decode_frame
from schemas.commands import Command
from schemas.units import Millis
from tests.reference import members, operators, settlement
from tests.reference.flow import FrameIntent
from tests.reference.memory import Memory, Setting
from tests.reference.world import CLASSES, MEMBERS, OPENING_BACKING, OPENING_HOURS, T0_MS, start_of

_MAKERS: dict[str, Callable[..., Any]] = {**members.MAKERS, **settlement.MAKERS, **operators.MAKERS}
"""An intent's kind → what makes a body of it."""
_USUAL = Setting()


class Record(NamedTuple):
    """One record of `commands`, decoded."""

    offset: int
    stamp_ms: Millis
    commands: Sequence[Command | Malformed]
    quarantined: bool = False


def play(frames: Iterable[FrameIntent], setting: Setting = _USUAL) -> Iterator[Record]:
    """The shard's opening, and then a record a frame."""
    script = Script(setting)
    yield from script.opening()
    for frame in frames:
        yield script.record(frame)


class Script:
    """One flow."""

    def __init__(self, setting: Setting) -> None:
        self.memory = Memory(setting)

    def opening(self) -> list[Record]:
        """The shard's start, and a record of settlement's: classes, accounts with money, backing."""
        memory = self.memory
        commands: list[Command] = [replace(rules, outbox=memory.next_outbox()) for rules in CLASSES.values()]
        for number, member in MEMBERS.items():
            commands.append(cmd.SetAccount(memory.next_outbox(), number, member.owner, member.role, 0))
            commands.append(cmd.Credit(memory.next_outbox(), number, member.cash))
        commands += [
            settlement.backing(
                memory, "next", account, class_no, 0, OPENING_HOURS[class_no], ground, lots, "cap", "next", ""
            )
            for account, class_no, ground, lots in OPENING_BACKING
        ]
        start = start_of(memory.setting.shard, memory.setting.version, memory.setting.rate)
        return [self._record([start]), self._record(commands)]

    def record(self, frame: FrameIntent) -> Record:
        """The next record."""
        memory = self.memory
        alone = frame.intents[0] if len(frame.intents) == 1 else None
        if alone is not None and alone.kind == "tick":
            tick = operators.tick(memory, **alone.picks)
            memory.time_ms = max(memory.time_ms, self._market(tick.until_ms))
            memory.stamp_ms = max(memory.stamp_ms, tick.until_ms)
            return self._record([tick])
        if alone is not None and alone.kind == "quarantined":
            return self._record([])._replace(quarantined=True)
        memory.stamp_ms += frame.step_ms
        target = min(self._market(memory.stamp_ms), memory.time_ms + 60_000 * memory.setting.rate)
        memory.time_ms = max(memory.time_ms, target)
        bodies = []
        for memory.index, intent in enumerate(frame.intents):
            bodies.append(_MAKERS[intent.kind](memory, **intent.picks))
        return self._record(bodies)

    def _record(self, bodies: Sequence[Any]) -> Record:
        """What a reader of the log finds."""
        memory = self.memory
        commands: Sequence[Command | Malformed] = ()
        if bodies:
            commands = decode_frame(msgspec.msgpack.encode((FRAME_FORMAT, 1, memory.offset, bodies))).commands
        record = Record(memory.offset, memory.stamp_ms, commands)
        memory.offset += 1
        return record

    def _market(self, stamp_ms: Millis) -> Millis:
        return T0_MS + self.memory.setting.rate * (stamp_ms - T0_MS)
