"""Which catalogues are polled: sources.toml or the file named by HOURBOOK_SUPPLY_SOURCES. Reads files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from schemas.units import Millis
from services.runtime.errors import BadSettings

VARIABLE: Final = "HOURBOOK_SUPPLY_SOURCES"
PACKAGED: Final = Path(__file__).with_name("sources.toml")
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
SETTLE_MS: Final = 200
"""A file is read when it has not been written to for so long."""


class SourceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One polled file."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    catalogue: Annotated[str, Meta(min_length=1, max_length=40)]
    file: Path
    poll_ms: Annotated[int, Meta(ge=100, le=86_400_000)]
    recorded: bool = False


class _Document(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sources: Annotated[tuple[SourceSettings, ...], Meta(min_length=1)]


def read_sources(environment: Mapping[str, str]) -> tuple[SourceSettings, ...]:
    """Raises BadSettings."""
    path = Path(environment.get(VARIABLE) or PACKAGED)
    try:
        document = msgspec.toml.decode(path.read_bytes(), type=_Document, dec_hook=_path)
    except (OSError, msgspec.DecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    names = [source.name for source in document.sources]
    if len(set(names)) < len(names):
        raise BadSettings(f"{path}: two sources of one name")
    return tuple(msgspec.structs.replace(source, file=path.parent / source.file) for source in document.sources)


def _path(kind: type, value: object) -> object:
    assert kind is Path
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a path")  # noqa: TRY004  msgspec answers ValueError with the field's name
    return Path(value)


class StillWritten(Exception):
    """The file has changed just now: half of it would look like offers that are gone."""


class FileState(Struct, frozen=True):
    """By what a changed file is known."""

    mtime_ns: int
    size: int
    inode: int


def state_of(path: Path) -> FileState:
    """Raises OSError."""
    found = path.stat()
    return FileState(found.st_mtime_ns, found.st_size, found.st_ino)


def read_file(path: Path, now_ms: Millis) -> tuple[FileState, bytes]:
    """State and content that belong together. Raises StillWritten, OSError (also when it is too large)."""
    before = state_of(path)
    if before.size > FILE_BYTES_MAX:
        raise OSError(f"{path}: {before.size} bytes, allowed are {FILE_BYTES_MAX}")
    if 0 <= now_ms - before.mtime_ns // 1_000_000 < SETTLE_MS:
        raise StillWritten(str(path))
    data = path.read_bytes()
    if len(data) != before.size or state_of(path) != before:
        raise StillWritten(str(path))
    return before, data
