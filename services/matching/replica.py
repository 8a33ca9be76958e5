"""One copy of a shard: the engine, and the chain of what it has said.

Pure: bytes of `commands` in, bytes of `events` out, the same for every copy. Who reads, writes and compares is in `mirror`,
`follower` and `shell`.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.codec import CHAIN_START, Frame, Sealed, decode_frame, seal
from schemas.commands import StartShard
from services.matching.engine import Engine
from services.runtime.log import Record
from services.runtime.positions import START, Position, after, record_hash

QUARANTINED = Frame(writer=0, frame_no=0, commands=())
"""Stands for a record in quarantine, whose own writer and number may not be legible."""


class Contradiction(Exception):
    """The log is of another shard, or a quarantine names a record where another one is."""


class Replica:
    """Applies records of `commands` in order, each exactly once; answers with records of `events`."""

    def __init__(
        self, shard: int, engine: Engine, *, position: Position = START, seq: int = 0, chain: bytes = CHAIN_START
    ) -> None:
        self.shard = shard
        self.engine = engine
        self.next_offset = position.next_offset
        """In `commands`: where the next record comes from."""
        self._position = position
        self._last: Record | None = None
        self.seq = seq
        self.chain = chain
        """Of the last record said."""
        self.records = 0
        self.commands = 0
        """Applied since this object was made."""

    @property
    def position(self) -> Position:
        """In `commands`, with the hash of the last record applied."""
        return self._position if self._last is None else after(self._last)

    def apply(self, record: Record, quarantine: Mapping[int, bytes]) -> list[Sealed]:
        """The records of `events` that this record of `commands` causes.

        `quarantine`: offset → hash of the records that cause nothing. Raises BrokenFrame, Contradiction, WrongStart; nothing of
        it was applied then.
        """
        assert record.offset >= self.next_offset, f"offset {record.offset} after {self.next_offset - 1}"
        banned = quarantine.get(record.offset)
        if banned is not None and banned != record_hash(record.value):
            raise Contradiction(
                f"offset {record.offset} is in quarantine with hash {banned.hex()}, and the record there has "
                f"{record_hash(record.value).hex()}"
            )
        frame = decode_frame(record.value) if banned is None else QUARANTINED
        first = frame.commands[0] if frame.commands else None
        if self.seq == 0 and isinstance(first, StartShard) and first.shard != self.shard:
            raise Contradiction(f"offset {record.offset} starts shard {first.shard}, this is shard {self.shard}")
        # From here on the record is consumed.
        if banned is None:
            events = self.engine.apply(record.offset, record.time_ms, frame.commands)
        else:
            self.engine.skip(record.offset)
            events = []
        sealed = seal(self.shard, self.seq, self.chain, record.offset, self.engine.time_ms, frame, events)
        self.seq, self.chain = sealed[-1].seq, sealed[-1].chain
        # Its hash is taken when a position is asked for: thousands of records pass in between.
        self._last = record
        self.next_offset = record.offset + 1
        self.records += 1
        self.commands += len(frame.commands)
        return sealed
