"""Snapshots of a shard and where they are kept.

A snapshot is a position in both logs and the engine there, as bytes of `services.matching.snapshot`, which have a format of their
own. It is written by a follower, never by the active writer, and only where `events` was seen to hold the same records as the
follower's own output, without a hole, up to `seq`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE

FILE_FORMAT: Final = 1
_MAGIC: Final = b"HBSNAP1\n"
_DIGEST: Final = 32
_ABANDONED_S: Final = 600
"""Nobody writes a snapshot for so long."""


class Snapshot(Struct, array_like=True, frozen=True, gc=False):
    """A shard after the record of `commands` before `commands_next` and the record of `events` before `events_next`."""

    format: int
    shard: int
    commands_next: int
    commands_hash: bytes
    """BLAKE2b-128 of the last record's value; so for `events_hash`."""
    events_next: int
    events_hash: bytes
    seq: int
    chain: bytes
    epoch: int
    """The highest seen in `events`."""
    time_ms: int
    state_hash: bytes
    """Of the engine, as `services.matching.snapshot.state_hash` gives it."""
    engine: bytes
    """`services.matching.snapshot.dump`."""


_decoder = msgspec.msgpack.Decoder(Snapshot)


class Unusable(Exception):
    """A stored snapshot cannot be used; an older one may."""


class SnapshotStore(Protocol):
    """Snapshots of one shard."""

    async def names(self) -> list[str]:
        """Newest first."""

    async def load(self, name: str) -> Snapshot:
        """Raises Unusable: gone, cut off, corrupt, or of another format."""

    async def save(self, snapshot: Snapshot) -> str:
        """Durable under the name given back when it returns; older ones beyond what is kept are deleted. Raises OSError."""


def encode(snapshot: Snapshot) -> bytes:
    """A snapshot → the bytes of its file: magic, BLAKE2b-256 of the body, body."""
    body = msgspec.msgpack.encode(snapshot)
    return _MAGIC + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body


def decode(data: bytes) -> Snapshot:
    """Bytes of a file → snapshot. Raises Unusable."""
    head = len(_MAGIC) + _DIGEST
    if data[: len(_MAGIC)] != _MAGIC:
        raise Unusable("it is not a snapshot of this format")
    if hashlib.blake2b(data[head:], digest_size=_DIGEST).digest() != data[len(_MAGIC) : head]:
        raise Unusable("its checksum does not match: corrupt or cut off")
    try:
        snapshot = _decoder.decode(data[head:])
    except UNREADABLE as error:
        raise Unusable(f"it does not decode: {error}") from error
    if snapshot.format != FILE_FORMAT:
        raise Unusable(f"format {snapshot.format}, this build reads {FILE_FORMAT}")
    return snapshot


class FileSnapshotStore:
    """`SnapshotStore` in a folder: `shard-<n>-<offset>.snapshot`, whole or not there at all."""

    def __init__(self, folder: Path, shard: int, *, keep: int = 3) -> None:
        self._folder = folder
        self._shard = shard
        self._keep = keep
        self._name = re.compile(rf"shard-{shard}-(\d{{12}})\.snapshot")

    async def names(self) -> list[str]:
        """Newest first."""
        if not self._folder.is_dir():
            return []
        return sorted((path.name for path in self._folder.iterdir() if self._name.fullmatch(path.name)), reverse=True)

    async def load(self, name: str) -> Snapshot:
        """Raises Unusable."""
        try:
            data = (self._folder / name).read_bytes()
        except OSError as error:
            raise Unusable(f"it cannot be read: {error}") from error
        return decode(data)

    async def save(self, snapshot: Snapshot) -> str:
        """Temporary file, fsync, rename, fsync of the folder. What did not fit is deleted."""
        assert snapshot.shard == self._shard
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"shard-{self._shard}-{snapshot.commands_next:012d}.snapshot"
        temporary = self._folder / f"{name}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(encode(snapshot))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in (await self.names())[self._keep :]:
            (self._folder / old).unlink(missing_ok=True)
        self._sweep(name)
        return name

    def _sweep(self, newest: str) -> None:
        """What a crash in the middle of `save` has left, here or where the folder is shared, would never go by itself."""
        # By the file system's own clock: both times are its.
        until_s = (self._folder / newest).stat().st_mtime - _ABANDONED_S
        for left in self._folder.glob(f"shard-{self._shard}-*.tmp"):
            with contextlib.suppress(FileNotFoundError):  # another process sweeps, too
                if left.stat().st_mtime < until_s:
                    left.unlink()
