"""Sources on this machine's disk: a file, or a folder of files. Reads files."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

from schemas.units import Millis
from services.supply.board import PART
from services.supply.connectors import CONNECTORS
from services.supply.places import BYTES_MAX, Away, BeingWritten, Document, Finding, Same, Unread
from services.supply.rows import NAME_MAX
from services.supply.sources import SourceSettings

SETTLE_MS: Final = 200
"""A file is read when it has not been written to for so long."""
FILES_MAX: Final = 500
ENTRIES_MAX: Final = 5_000
"""Of a folder, whatever they are: each is looked at."""
TREE_FILE: Final = "vms.csv"
"""What a cloud's own folder holds in SkyPilot's tree: <cloud>/vms.csv."""


class StillWritten(Exception):
    """The file has changed just now."""


class FileState(Struct, frozen=True):
    """By what a changed file is known."""

    mtime_ns: int
    size: int
    inode: int


def state_of(path: Path) -> FileState:
    """Raises OSError, also for what is no file and might never end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path.name} is not a file")
    return FileState(found.st_mtime_ns, found.st_size, found.st_ino)


def read_file(path: Path, now_ms: Millis) -> tuple[FileState, bytes]:
    """State and content that belong together. Raises StillWritten, OSError (also when it is too large)."""
    before = state_of(path)
    if before.size > BYTES_MAX:
        raise OSError(f"{path.name}: {before.size} bytes, allowed are {BYTES_MAX}")
    if 0 <= now_ms - before.mtime_ns // 1_000_000 < SETTLE_MS:
        raise StillWritten(str(path))
    with path.open("rb") as file:
        data = file.read(before.size + 1)
    if len(data) != before.size or state_of(path) != before:
        raise StillWritten(str(path))
    return before, data


class FilePlace:
    """One file."""

    def __init__(self, settings: SourceSettings) -> None:
        assert settings.file is not None
        self._settings = settings
        self._file = settings.file
        self._state: FileState | None = None

    async def look(self, now_ms: Millis) -> list[Finding]:
        """See `Place`."""
        name = self._settings.name
        try:
            if self._state is not None and state_of(self._file) == self._state:
                return [Same(name)]
            self._state = None
            state, data = read_file(self._file, now_ms)
        except StillWritten:
            return [BeingWritten(name)]
        except OSError as error:
            raise Away(_said(error)) from error
        self._state = state
        document = Document(
            name=name, catalogue=self._settings.catalogue, label=self._file.name, as_of_ms=_written_ms(state), data=data
        )
        return [document]


class FolderPlace:
    """Every file of the connector's kind is a catalogue of its own, named like its file up to the first dot.

    In SkyPilot's format also <cloud>/vms.csv, which is how its own tree is laid out; named like its folder.
    """

    def __init__(self, settings: SourceSettings) -> None:
        assert settings.folder is not None
        self._settings = settings
        self._folder = settings.folder
        self._suffixes = CONNECTORS[settings.connector].suffixes
        self._states: dict[str, FileState] = {}

    async def look(self, now_ms: Millis) -> list[Finding]:
        """See `Place`."""
        try:
            files = self._files()
        except OSError as error:
            raise Away(_said(error)) from error
        if len(files) > FILES_MAX:
            raise Away(f"{len(files)} catalogues in one folder, allowed are {FILES_MAX}")
        self._states = {name: state for name, state in self._states.items() if name in files}
        return [self._look_at(name, path, now_ms) for name, path in sorted(files.items())]

    def _files(self) -> dict[str, Path]:
        """Name → file. Raises OSError."""
        found: dict[str, Path] = {}
        for count, path in enumerate(self._folder.iterdir()):
            if count >= ENTRIES_MAX:
                raise OSError(f"more than {ENTRIES_MAX} entries in one folder")
            if path.name.startswith("."):
                continue
            if path.suffix in self._suffixes and not path.is_dir():
                found[path.name] = path
            elif self._settings.connector == "skypilot" and (path / TREE_FILE).is_file():
                found[f"{path.name}{PART}{TREE_FILE}"] = path / TREE_FILE
        return found

    def _look_at(self, name: str, path: Path, now_ms: Millis) -> Finding:
        poll = f"{self._settings.name}{PART}{name}"
        if not name.isprintable() or len(name) > NAME_MAX:
            return Unread(ascii(poll)[:NAME_MAX], "the file's name is too long or cannot be printed; rename it")
        try:
            if name in self._states and state_of(path) == self._states[name]:
                return Same(poll)
            self._states.pop(name, None)
            state, data = read_file(path, now_ms)
        except StillWritten:
            return BeingWritten(poll)
        except OSError as error:
            return Unread(poll, _said(error))
        self._states[name] = state
        first, _, _ = name.removesuffix(f"{PART}{TREE_FILE}").partition(".")
        return Document(
            name=poll, catalogue=self._settings.catalogue or first, label=name, as_of_ms=_written_ms(state), data=data
        )


def _written_ms(state: FileState) -> Millis:
    return max(0, state.mtime_ns // 1_000_000)


def _said(error: OSError) -> str:
    """Without what cannot be printed."""
    text = str(error)
    return text if text.isprintable() else ascii(text)
