"""Moving the old part of a log into files, so that the broker need not keep everything for ever.

    end = await copy(log, archive, below=safe)               # written, synced, and read again before it returns
    await cluster.cut("commands", shard, end)                # where the broker can (DeleteRecords)
    log = ArchivedLog(live, archive)                         # a `Log` that begins in the files: readers read through it

A segment is one file of consecutive records, `<first>-<end>.segment`: magic, BLAKE2b-256 of the body, body. The body names
its log and repeats the hash of the segment before it: a file that is missing, exchanged or damaged is noticed.
Nothing in the files is trusted because it is there: `Archive.check` reads them all, and a replay compares chains.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from services.runtime.errors import Halt
from services.runtime.log import Log, Outgoing, OutOfRange, Record

SEGMENT_BYTES: Final = 32 * 1024 * 1024
"""A segment is closed when its values come to this."""
SEGMENT_FORMAT: Final = 1
_MAGIC: Final = b"HBSEGM1\n"
_DIGEST: Final = 32
_NAME = re.compile(r"(\d{12})-(\d{12})\.segment")
_NOTHING: Final = bytes(_DIGEST)


class Segment(Struct, array_like=True, frozen=True, gc=False):
    """Records `first` to `end` - 1 of one partition; offsets that the log skipped are missing in between."""

    format: int
    topic: str
    partition: int
    first: int
    end: int
    before: bytes
    """BLAKE2b-256 of the body of the segment before; zeros: there is none."""
    records: list[tuple[int, int, bytes, list[tuple[str, bytes]], bytes | None]]
    """(offset, time_ms, value, headers, key)."""


_decoder = msgspec.msgpack.Decoder(Segment)


class Archive:
    """The segments of one partition, in a folder of their own."""

    def __init__(self, folder: Path, topic: str, partition: int) -> None:
        self._folder = folder / f"{topic}-{partition}"
        self.topic = topic
        self.partition = partition

    def spans(self) -> list[tuple[int, int]]:
        """(first, end) of each segment, rising. Raises Halt where they do not join."""
        names = sorted(path.name for path in self._folder.iterdir()) if self._folder.is_dir() else []
        spans = [(int(match[1]), int(match[2])) for name in names if (match := _NAME.fullmatch(name))]
        for (_, end), (first, _) in itertools.pairwise(spans):
            if end != first:
                raise Halt(
                    f"archive of {self.topic}/{self.partition}: a segment ends at {end}, the next begins at {first}"
                )
        return spans

    def load(self, first: int, end: int) -> tuple[Segment, bytes]:
        """(segment, hash of its body). Raises Halt: damaged, or not what its name says."""
        path = self._folder / _name(first, end)
        data = path.read_bytes()
        head = len(_MAGIC) + _DIGEST
        digest, body = data[len(_MAGIC) : head], data[head:]
        if data[: len(_MAGIC)] != _MAGIC or hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
            raise Halt(f"archive {path.name} of {self.topic}/{self.partition} is damaged: its checksum does not match")
        try:
            segment = _decoder.decode(body)
        except UNREADABLE as error:
            raise Halt(f"archive {path.name} of {self.topic}/{self.partition} is no segment: {error}") from error
        found = (segment.format, segment.topic, segment.partition, segment.first, segment.end)
        if found != (SEGMENT_FORMAT, self.topic, self.partition, first, end):
            raise Halt(f"archive {path.name} of {self.topic}/{self.partition} holds {found}")
        return segment, digest

    def check(self) -> int:
        """Read everything; how many records. Raises Halt."""
        count, before = 0, _NOTHING
        for first, end in self.spans():
            segment, digest = self.load(first, end)
            if segment.before != before:
                raise Halt(f"archive of {self.topic}/{self.partition}: the segment at {first} follows another one")
            count, before = count + len(segment.records), digest
        return count

    def add(self, first: int, end: int, records: Sequence[Record]) -> None:
        """Write a segment: temporary file, fsync, rename, fsync of the folder; then read it again. Raises OSError, Halt."""
        spans = self.spans()
        assert not spans or spans[-1][1] == first, f"{first} after {spans[-1]}"
        before = self.load(*spans[-1])[1] if spans else _NOTHING
        rows = [(r.offset, r.time_ms, r.value, [(n, v) for n, v in r.headers], r.key) for r in records]
        segment = Segment(SEGMENT_FORMAT, self.topic, self.partition, first, end, before, rows)
        body = msgspec.msgpack.encode(segment)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / _name(first, end)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            file.write(_MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if self.load(first, end)[0] != segment:
            raise Halt(f"archive {path.name} reads differently from what was written")


async def end_of_whole(log: Log) -> int:
    """The end that a log has now, for whoever reads it from its first record ever. Raises Halt where that is not there."""
    first, end = await log.bounds()
    if first > 0:
        raise Halt(
            f"{log.topic}/{log.partition} begins at {first}: what was before is in the archive. Set HOURBOOK_DATA to the "
            "folder that has it (`hourbook archive` writes it to archive/ there)"
        )
    return end


async def copy(log: Log, archive: Archive, *, below: int, segment_bytes: int = SEGMENT_BYTES) -> int:
    """Copy what the archive lacks of the records below `below`; where it ends now. Only then may the log be cut there.

    Raises Halt when the log was cut above the archive's end: those records are nowhere.
    """
    spans = archive.spans()
    first, end = await log.bounds()
    start = spans[-1][1] if spans else 0
    if first > start and first > 0:
        raise Halt(
            f"{log.topic}/{log.partition} begins at {first}, the archive ends at {start}: what was between is lost"
        )
    below = min(below, end)
    records: list[Record] = []
    size, position = 0, start
    while position < below:
        for record in await log.read(position, wait_ms=1_000):
            position = min(record.offset + 1, below)
            if record.offset < below:
                records.append(record)
                size += len(record.value)
            if size >= segment_bytes or position >= below:
                archive.add(start, position, records)
                start, records, size = position, [], 0
            if position >= below:
                break
    return start


class ArchivedLog:
    """A `Log` whose beginning is in an archive and whose rest is on the broker; where both have a record, the broker's counts."""

    def __init__(self, live: Log, archive: Archive) -> None:
        self._live = live
        self._archive = archive
        self._loaded: Segment | None = None
        self._first: int | None = None
        """Where the broker's part began when it was last asked; it only rises."""
        self.topic = live.topic
        self.partition = live.partition

    async def bounds(self) -> tuple[int, int]:
        """First record in the archive (or the log), end of the log."""
        first, end = await self._live.bounds()
        self._first = first
        spans = self._archive.spans()
        if spans and spans[-1][1] < first:
            raise Halt(f"{self.topic}/{self.partition} begins at {first}, the archive ends at {spans[-1][1]}")
        return (min(first, spans[0][0]) if spans else first), end

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        """Records from `offset` on. Raises OutOfRange, Unreachable, Halt for a damaged segment."""
        if self._first is None:
            await self.bounds()
        assert self._first is not None
        if offset >= self._first:
            try:
                return await self._live.read(offset, count=count, wait_ms=wait_ms)
            except OutOfRange:
                await self.bounds()
                if offset >= self._first:
                    raise
        records: list[Record] = []
        while not records and offset < self._first:
            segment = self._segment(offset)
            records = [Record(*row) for row in segment.records if row[0] >= offset][:count]
            offset = segment.end
        return records or await self.read(offset, count=count, wait_ms=wait_ms)

    async def append(self, records: Sequence[Outgoing]) -> None:
        """To the broker."""
        await self._live.append(records)

    def _segment(self, offset: int) -> Segment:
        loaded = self._loaded
        if loaded is not None and loaded.first <= offset < loaded.end:
            return loaded
        for first, end in self._archive.spans():
            if first <= offset < end:
                self._loaded, _ = self._archive.load(first, end)
                return self._loaded
        raise OutOfRange(f"{self.topic}/{self.partition}: offset {offset} is neither in the log nor in the archive")


def archived(live: Log, folder: Path) -> Log:
    """The log, with its beginning from the archive where there is one. Raises Halt."""
    archive = Archive(folder, live.topic, live.partition)
    return ArchivedLog(live, archive) if archive.spans() else live


def _name(first: int, end: int) -> str:
    return f"{first:012d}-{end:012d}.segment"


def readable(log: Log, data: Path | None) -> Log:
    """A log that was cut is read through its archive, where the folder (HOURBOOK_DATA) is known."""
    return log if data is None else ArchivedLog(log, Archive(data / "archive", log.topic, log.partition))
