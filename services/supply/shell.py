"""The loop of supply: look at each source when it is due, publish what has changed there to `offers`.

One process writes the topic. What it promises its readers:
- a record replaces the one before with the same key, so a repeat changes nothing;
- after each look at a source that could be read a `PollDone` follows, at the latest `HEARTBEAT_MS` after the last one:
  when these stop, the source's offers are stale;
- a file that is missing, broken or half written withdraws nothing: its offers stay, and grow stale.

A write that fails ends the process; the next one reads the topic back and says only what is missing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.specifications import Specification
from schemas.supply import OfferRecord
from schemas.units import Millis
from services.runtime.errors import Halt
from services.runtime.log import Clock, Log, Outgoing
from services.runtime.status import Status
from services.supply.board import Board, record_key
from services.supply.catalogue import Catalogue, Source, read_catalogue
from services.supply.mapping import Reason
from services.supply.rows import BadCatalogue
from services.supply.rules import Rules
from services.supply.sources import SETTLE_MS, FileState, SourceSettings, StillWritten, read_file, state_of

HEARTBEAT_MS: Final = 5_000
JITTER: Final = 0.1
"""Share of the interval by which a look comes earlier or later, so that many sources do not fall together."""
_RECORDS_PER_READ: Final = 1_000

_decoder = msgspec.msgpack.Decoder(OfferRecord)
_encoder = msgspec.msgpack.Encoder()


class _Watch(Struct):
    """One source and what is known of it."""

    settings: SourceSettings
    due_ms: Millis = 0
    said_ms: Millis = 0
    """When its last PollDone was published."""
    file: FileState | None = None
    """The file that was read last."""
    error: str = ""


class Supply:
    """Sources, the board, and the log that the board is on."""

    def __init__(
        self, log: Log, clock: Clock, status: Status, sources: Sequence[SourceSettings], rules: Rules,
        classes: Sequence[Specification], jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        """`jitter` gives numbers in [0, 1)."""
        self.board = Board(classes)
        self._log = log
        self._clock = clock
        self._status = status
        self._rules = rules
        self._classes = classes
        self._jitter = jitter
        self._watches = [_Watch(settings) for settings in sources]
        self._lines = logging.getLogger("hourbook.supply")

    async def restore(self) -> None:
        """Read the topic back, and say that offers of sources no longer polled are gone. Raises Halt."""
        offset, end = await self._log.bounds()
        while offset < end:
            for record in await self._log.read(offset, count=_RECORDS_PER_READ, wait_ms=1_000):
                try:
                    self.board.restore(_decoder.decode(record.value))
                except UNREADABLE as error:
                    raise Halt(f"{self._log.topic} offset {record.offset} is not an offer record: {error}") from error
                offset = record.offset + 1
        names = {watch.settings.name for watch in self._watches}
        await self._publish(self.board.retire(names, self._clock.now_ms()))

    async def run(self) -> None:
        """Look and publish, for ever."""
        while True:
            await self.look()
            due_ms = min(watch.due_ms for watch in self._watches)
            await self._clock.sleep_ms(max(due_ms - self._clock.now_ms(), 1))

    async def look(self) -> None:
        """One look at every source that is due."""
        for watch in self._watches:
            now_ms = self._clock.now_ms()
            if now_ms < watch.due_ms:
                continue
            spread = 1 + JITTER * (2 * self._jitter() - 1)
            watch.due_ms = now_ms + int(watch.settings.poll_ms * spread)
            records = self._look_at(watch, now_ms)
            if records:
                await self._publish(records)
                watch.said_ms = now_ms
        self._tell()

    def _look_at(self, watch: _Watch, now_ms: Millis) -> list[OfferRecord]:
        """What there is to publish of this source now. A source that cannot be read publishes nothing."""
        settings = watch.settings
        try:
            if watch.file is not None and state_of(settings.file) == watch.file:
                watch.error = ""
                due = now_ms - watch.said_ms >= HEARTBEAT_MS
                return self.board.still(settings.name, now_ms) if due else []
            state, data = read_file(settings.file, now_ms)
            source = Source(
                name=settings.name, catalogue=settings.catalogue, label=settings.file.name,
                as_of_ms=state.mtime_ns // 1_000_000, recorded=settings.recorded,
            )  # fmt: skip
            catalogue = read_catalogue(data, source, self._rules, self._classes, now_ms)
        except StillWritten:
            watch.due_ms = now_ms + SETTLE_MS
            return []
        except (OSError, BadCatalogue) as error:
            # The answer: nothing is withdrawn and nothing confirmed, so that its offers grow stale; the operator is told once.
            if watch.error != str(error):
                watch.error = str(error)
                self._lines.warning(
                    "source unreadable", extra={"fields": {"source": settings.name, "why": watch.error}}
                )
            watch.file = None
            return []
        watch.file, watch.error = state, ""
        records = self.board.poll(catalogue, now_ms)
        self._show(catalogue, len(records) - 1)
        return records

    def _show(self, catalogue: Catalogue, changes: int) -> None:
        """What a poll found, refused rows by reason with examples."""
        fields = {
            "source": catalogue.source.name, "rows": catalogue.rows, "mapped": len(catalogue.mapped),
            "refused": catalogue.reasons, "changes": changes, "examples": catalogue.details,
        }  # fmt: skip
        self._lines.info("polled", extra={"fields": fields})

    def _tell(self) -> None:
        """Counts for /status: `refused_<reason>` over all sources, `error_<source>` where one cannot be read."""
        polls = self.board.polls.values()
        totals = {f"refused_{reason.value}": 0 for reason in Reason}
        for poll in polls:
            for reason, count in poll.reasons.items():
                totals[f"refused_{reason}"] += count
        self._status.set(
            offers=len(self.board.offers),
            rows=sum(poll.rows for poll in polls),
            mapped=sum(poll.mapped for poll in polls),
            refused=sum(poll.refused for poll in polls),
            sources=len(self._watches),
            sources_unreadable=sum(bool(watch.error) for watch in self._watches),
            last_error="; ".join(f"{w.settings.name}: {w.error}" for w in self._watches if w.error),
            polled_ms=max((poll.seen_ms for poll in polls), default=0),
            **totals,
        )

    async def _publish(self, records: Sequence[OfferRecord]) -> None:
        if records:
            await self._log.append([Outgoing(_encoder.encode(record), key=record_key(record)) for record in records])
