"""Collars follow their references: what market data wishes (topic `references`), turned into commands of the shard's shell.

A wish is about one class or contract; the newest counts, and waits until its target may move again. The engine judges each.
A record that cannot be read stops this and nothing else: collars stay where they are, and the status says why.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.codec import UNREADABLE
from schemas.commands import ALL_HOURS, MoveReference
from schemas.market import Reference
from schemas.units import Hour
from services.matching.operating import MOVE_MS
from services.matching.state import Contract, Listed, Shard
from services.runtime.log import Log, LogError

LOOK_BACK: Final = 10_000
"""Records at the end of the topic that a new writer reads: wishes older than these have been answered or have lapsed."""
COMMANDS_MAX: Final = 256
"""In one frame; the rest a second later."""

_decoder = msgspec.msgpack.Decoder(Reference)


class References:
    """Reads the topic; says what may be moved now."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._offset = -1
        self._wishes: dict[tuple[int, Hour], Reference] = {}
        self.fault = ""
        """Why collars do not move any more; empty: they do."""

    async def read(self) -> None:
        """Take in what was written since; when the log does not answer, nothing."""
        if self.fault:
            return
        try:
            if self._offset < 0:
                first, end = await self._log.bounds()
                self._offset = max(first, end - LOOK_BACK)
            records = await self._log.read(self._offset)
        except LogError:
            return  # a reader without a log has no wishes; the writer's own log says what is wrong
        for record in records:
            try:
                wish = _decoder.decode(record.value)
            except UNREADABLE as error:
                self.fault = f"{self._log.topic} offset {record.offset} is not a reference: {error}"
                return
            self._wishes[wish.class_no, wish.hour] = wish
            self._offset = record.offset + 1

    def moves(self, shard: Shard) -> list[MoveReference]:
        """What may be moved now, in order; each is said once."""
        if shard.version < 2:
            return []
        found: list[MoveReference] = []
        for key, wish in sorted(self._wishes.items()):
            target = _target(shard, wish)
            if target is None or _in_force(shard, wish, target) == wish.price or wish.as_of_ms < target.moved_ms:
                del self._wishes[key]
            elif target.moved_ms < 0 or shard.time_ms >= target.moved_ms + MOVE_MS:
                del self._wishes[key]
                found.append(MoveReference(wish.class_no, wish.hour, wish.price, wish.source))
                if len(found) == COMMANDS_MAX:
                    break
        return found


def _target(shard: Shard, wish: Reference) -> Contract | Listed | None:
    """None: another shard's class, or an hour that has ended."""
    listed = shard.classes.get(wish.class_no)
    if listed is None or wish.hour == ALL_HOURS:
        return listed
    return shard.listed_contract(wish.class_no, wish.hour)


def _in_force(shard: Shard, wish: Reference, target: Contract | Listed) -> int:
    return target.reference or shard.classes[wish.class_no].reference
