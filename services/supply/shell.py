"""The loop of supply: look at each source when it is due, publish what has changed there to `offers`.

One process writes the topic. What it promises its readers:
- a record replaces the one before with the same key, so a repeat changes nothing;
- a `PollDone` of each catalogue follows every `HEARTBEAT_MS`, and little more, while its last look went well: when these stop,
  the catalogue's offers are stale;
- a source that is away, broken, half written or all at once without a usable row withdraws nothing: its offers stay, and grow
  stale. A folder that can be read and lacks a file withdraws that file's offers.

Sources are looked at side by side, so that a slow one delays no other; they change the board and write one at a time. A write
that fails ends the process; the next one reads the topic back and says only what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from schemas.codec import UNREADABLE
from schemas.specifications import Specification
from schemas.supply import OfferRecord
from schemas.units import Millis
from services.runtime.errors import Halt
from services.runtime.log import Clock, Log, Outgoing
from services.runtime.status import Status
from services.supply.board import PART, Board, Changes, record_key
from services.supply.catalogue import Catalogue, Source, read_catalogue
from services.supply.circuit import Circuit
from services.supply.files import SETTLE_MS, FilePlace, FolderPlace
from services.supply.mapping import Reason
from services.supply.places import Away, BeingWritten, Document, Finding, Place, Same, Unread
from services.supply.rows import BadCatalogue
from services.supply.rules import Rules
from services.supply.sources import SourceSettings
from services.supply.web import UrlPlace

HEARTBEAT_MS: Final = 5_000
PULSE_MS: Final = 500
"""How often it is looked whether a sign of life is due."""
_RECORDS_PER_READ: Final = 1_000
_EXAMPLES_MAX: Final = 20

_decoder = msgspec.msgpack.Decoder(OfferRecord)
_encoder = msgspec.msgpack.Encoder()


class _Poll(Struct):
    """One catalogue of a source, and how its last look went."""

    digest: bytes = b""
    """Of the content that was read last; the same bytes under a new time stamp are no news."""
    error: str = ""
    half_written: bool = False
    """It has changed, and nobody knows yet to what."""
    said_ms: Millis = 0
    """When its last PollDone was published; 0: none yet."""
    counts: str = ""
    """What its last reading changed, for /status."""


class _Watch(Struct):
    """One source and what is known of it."""

    settings: SourceSettings
    place: Place
    circuit: Circuit
    due_ms: Millis = 0
    """Of a clock that never jumps."""
    error: str = ""
    """Why the source as a whole cannot be read."""
    polls: dict[str, _Poll] = field(default_factory=dict)

    def errors(self) -> list[str]:
        """Of the source, or of its catalogues."""
        name = self.settings.name
        if self.error:
            return [f"{name}: {self.error}"]
        return [f"{poll}: {of.error}" for poll, of in self.polls.items() if of.error]


class Supply:
    """Sources, the board, and the log that the board is on."""

    def __init__(
        self, log: Log, clock: Clock, status: Status, sources: Sequence[SourceSettings], rules: Rules,
        classes: Sequence[Specification], jitter: Callable[[], float] = random.random,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """`jitter` gives numbers in [0, 1); `environment` holds the tokens."""
        self.board = Board(classes, [settings.name for settings in sources])
        self._log = log
        self._clock = clock
        self._status = status
        self._rules = rules
        self._classes = classes
        self._jitter = jitter
        self._watches = [
            _Watch(settings, _place(settings, environment or {}), Circuit(settings.poll_ms)) for settings in sources
        ]
        self._writing = asyncio.Lock()
        self._totals = {"seen_total": 0, "changed_total": 0, "gone_total": 0}
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
        # Which catalogues a folder has now, its first look tells.
        folders = tuple(f"{w.settings.name}{PART}" for w in self._watches if w.settings.folder is not None)
        names = {watch.settings.name for watch in self._watches if watch.settings.folder is None}
        known = self.board.sources() | set(self.board.polls)
        retired = {source for source in known if source not in names and not source.startswith(folders or ("\0",))}
        await self._publish(self.board.retire(retired, self._clock.now_ms()))

    async def run(self) -> None:
        """Look and publish, for ever; the first error of any source's loop ends all."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self._watches:
                tasks.create_task(self._follow(watch))
            tasks.create_task(self._pulse())

    async def look(self) -> None:
        """One look at every source that is due, then a sign of life of each catalogue that owes one."""
        for watch in self._watches:
            if self._clock.elapsed_ms() >= watch.due_ms:
                await self._ask(watch)
        await self._beat()
        self._tell()

    async def _follow(self, watch: _Watch) -> None:
        while True:
            await self._ask(watch)
            self._tell()
            await self._clock.sleep_ms(max(watch.due_ms - self._clock.elapsed_ms(), 1))

    async def _pulse(self) -> None:
        """Beside the looks: a server that takes its time must not make stale what it has said before."""
        while True:
            await self._beat()
            await self._clock.sleep_ms(PULSE_MS)

    async def _ask(self, watch: _Watch) -> None:
        now_ms = self._clock.now_ms()
        watch.circuit.ask()
        try:
            findings = await watch.place.look(now_ms)
        except Away as away:
            # The answer: nothing is withdrawn and nothing confirmed, so that its offers grow stale; the operator is told once.
            self._fail(watch, str(away), away.wanted_ms)
            return
        for finding in findings:
            await self._take(watch, finding, now_ms)
        await self._withdraw(watch, {finding.name for finding in findings}, now_ms)
        broken = watch.polls.get(watch.settings.name)
        if broken is not None and broken.error:
            # Its only catalogue. A folder could be read, whatever is wrong with its files.
            self._fail(watch, broken.error)
            return
        self._recover(watch)
        if any(isinstance(finding, BeingWritten) for finding in findings):
            watch.due_ms = min(watch.due_ms, self._clock.elapsed_ms() + SETTLE_MS)

    async def _take(self, watch: _Watch, finding: Finding, now_ms: Millis) -> None:
        """What is to be done about one catalogue."""
        poll = watch.polls.setdefault(finding.name, _Poll())
        poll.half_written = isinstance(finding, BeingWritten)
        match finding:
            case BeingWritten():
                # Not confirmed either: what is written to for ever grows stale.
                pass
            case Unread():
                poll.digest = b""
                self._mark(finding.name, poll, finding.why)
            case Same():
                await self._confirm(watch, poll, finding.name)
            case Document():
                digest = hashlib.blake2b(finding.data, digest_size=16).digest()
                if poll.digest == digest:
                    await self._confirm(watch, poll, finding.name)
                else:
                    poll.digest = digest
                    await self._read(watch.settings, poll, finding, now_ms)

    async def _read(self, settings: SourceSettings, poll: _Poll, document: Document, now_ms: Millis) -> None:
        source = Source(
            name=document.name, catalogue=document.catalogue, label=document.label, as_of_ms=document.as_of_ms,
            connector=settings.connector, recorded=settings.recorded,
        )  # fmt: skip
        try:
            # In a thread: a large file takes seconds, in which /status still answers and others are looked at.
            catalogue = await asyncio.to_thread(
                read_catalogue, document.data, source, self._rules, self._classes, now_ms
            )
            async with self._writing:
                polled = self.board.poll(catalogue, now_ms)
                poll.said_ms = now_ms
                await self._publish(polled.records)
        except BadCatalogue as error:
            self._mark(document.name, poll, str(error))
            return
        self._mark(document.name, poll, "")
        self._show(poll, catalogue, polled.changes)

    async def _confirm(self, watch: _Watch, poll: _Poll, name: str) -> None:
        """It was looked at and holds what it held: what could not be read then cannot be read now."""
        if not poll.error and self._owes_beat(poll):
            await self._say(watch, poll, name, looked=True)

    async def _beat(self) -> None:
        """Between two looks: where nothing speaks against it, what was read last still holds."""
        for watch in self._watches:
            for name, poll in list(watch.polls.items()):
                if self._owes_beat(poll) and not (watch.error or poll.error or poll.half_written):
                    await self._say(watch, poll, name, looked=False)

    def _owes_beat(self, poll: _Poll) -> bool:
        """Also when the clock was set back since: what was said then lies ahead of it."""
        return bool(poll.said_ms) and not 0 <= self._clock.now_ms() - poll.said_ms < HEARTBEAT_MS

    async def _say(self, watch: _Watch, poll: _Poll, name: str, *, looked: bool) -> None:
        async with self._writing:
            if watch.polls.get(name) is poll:
                poll.said_ms = self._clock.now_ms()
                await self._publish([self.board.still(name, poll.said_ms, looked=looked)])

    async def _withdraw(self, watch: _Watch, there: set[str], now_ms: Millis) -> None:
        """Catalogues that the folder has no more."""
        if watch.settings.folder is None:
            return
        listed = self.board.sources() | set(self.board.polls)
        known = {source for source in listed if source.startswith(f"{watch.settings.name}{PART}")}
        vanished = (known | set(watch.polls)) - there
        if not vanished:
            return
        for name in vanished:
            watch.polls.pop(name, None)
        self._lines.info("catalogues vanished", extra={"fields": {"catalogues": sorted(vanished)}})
        async with self._writing:
            records = self.board.retire(vanished, now_ms)
            await self._publish(records)

    def _fail(self, watch: _Watch, why: str, wanted_ms: Millis = 0) -> None:
        if watch.error != why:
            watch.error = why
            self._lines.warning("source unreadable", extra={"fields": {"source": watch.settings.name, "why": why}})
        before = watch.circuit.state
        pause_ms = watch.circuit.failed(self._jitter(), wanted_ms)
        watch.due_ms = self._clock.elapsed_ms() + pause_ms
        if before == "closed" and watch.circuit.state == "open":
            fields = {"source": watch.settings.name, "failures": watch.circuit.failures, "pause_ms": pause_ms}
            self._lines.warning("circuit open", extra={"fields": fields})

    def _recover(self, watch: _Watch) -> None:
        if watch.error:
            self._lines.info("source readable again", extra={"fields": {"source": watch.settings.name}})
        watch.error = ""
        watch.due_ms = self._clock.elapsed_ms() + watch.circuit.succeeded(self._jitter())

    def _mark(self, name: str, poll: _Poll, error: str) -> None:
        if PART in name and error and poll.error != error:
            self._lines.warning("catalogue unreadable", extra={"fields": {"catalogue": name, "why": error}})
        poll.error = error

    def _show(self, poll: _Poll, catalogue: Catalogue, changes: Changes) -> None:
        """What a poll found, refused rows by reason with examples, moved prices old and new."""
        counts = {"seen": len(changes.seen), "changed": len(changes.changed), "gone": len(changes.gone)}
        for what, count in counts.items():
            self._totals[f"{what}_total"] += count
        poll.counts = ", ".join(f"{count} {what}" for what, count in counts.items())
        fields = {
            "source": catalogue.source.name, "rows": catalogue.rows, "mapped": len(catalogue.mapped),
            "refused": catalogue.reasons, "as_of_clamped": catalogue.clamped, **counts,
            "prices": changes.prices()[:_EXAMPLES_MAX], "examples": catalogue.details,
        }  # fmt: skip
        self._lines.info("polled", extra={"fields": fields})

    def _tell(self) -> None:
        """Counts for /status: `refused_<reason>` over all sources; sources and their circuits in words."""
        polls = self.board.polls.values()
        totals = {f"refused_{reason.value}": 0 for reason in Reason}
        for poll in polls:
            for reason, count in poll.reasons.items():
                totals[f"refused_{reason}"] = totals.get(f"refused_{reason}", 0) + count
        errors = [error for watch in self._watches for error in watch.errors()]
        self._status.set(
            offers=len(self.board.offers),
            rows=sum(poll.rows for poll in polls),
            mapped=sum(poll.mapped for poll in polls),
            refused=sum(poll.refused for poll in polls),
            as_of_clamped=self.board.clamped(),
            sources=len(self._watches),
            sources_unreadable=sum(bool(watch.errors()) for watch in self._watches),
            circuits_open=sum(watch.circuit.state != "closed" for watch in self._watches),
            circuits="; ".join(f"{w.settings.name} {_circuit_words(w)}" for w in self._watches),
            last_polls="; ".join(f"{name}: {poll.counts}" for w in self._watches for name, poll in w.polls.items()),
            last_error="; ".join(errors),
            polled_ms=max((poll.seen_ms for poll in polls), default=0),
            **self._totals,
            **totals,
        )

    async def _publish(self, records: Sequence[OfferRecord]) -> None:
        if records:
            await self._log.append([Outgoing(_encoder.encode(record), key=record_key(record)) for record in records])


def _circuit_words(watch: _Watch) -> str:
    circuit = watch.circuit
    return circuit.state if not circuit.failures else f"{circuit.state}, {circuit.failures} errors in a row"


def _place(settings: SourceSettings, environment: Mapping[str, str]) -> Place:
    if settings.file is not None:
        return FilePlace(settings)
    return FolderPlace(settings) if settings.folder is not None else UrlPlace(settings, environment)
