"""What must survive the agent's death: leases, and the time as it was known last. One file, whole or as it was before."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from services.agent.clock import Anchor
from services.agent.errors import Unusable
from services.agent.plan import Machine

STATE = "state.json"
LOCK = "agent.lock"


class Saved(Struct, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    machine: Machine = Machine()
    anchor: Anchor | None = None


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """`home` is this agent's while the block runs. Raises Unusable: it cannot be written, or is another's."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Opened for writing: a home that cannot be written is said before any tenant is let in.
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unusable(f"{home} cannot be written ({error.strerror}); --home names another folder") from None
    with os.fdopen(descriptor, "r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(f"an agent runs in {home} already; a second machine needs another --home") from None
        # The file stays afterwards: whoever removes it while another waits for it makes two locks of one.
        yield


def load(home: Path) -> Saved:
    """What was there; empty at the first start. Raises Unusable: the file is not ours."""
    file = home / STATE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Saved)
    except FileNotFoundError:
        return Saved()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unusable(
            f"{file} cannot be read ({error}); it says which leases run: repair it, or take it away once no tenant is left"
        ) from None


def save(home: Path, saved: Saved) -> None:
    """Durable when this returns. Raises OSError."""
    write_durably(home / STATE, msgspec.json.encode(saved))


def write_durably(file: Path, data: bytes) -> None:
    """Mode 0600; after a crash the old content or the new one. Raises OSError."""
    temporary = file.with_name(f"{file.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
