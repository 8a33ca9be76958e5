"""What an agent and the door of a lease say to each other: files in the lease's folder, so that either may die and come back.

door.json     DoorConfig, agent → door, read once at its start
orders.json   DoorOrders, agent → door, read whenever it changes
said.json     DoorSaid, door → agent
door.lock     held by the door for as long as it lives
door.log      what went wrong in it
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from schemas.units import Millis
from services.agent.plan import Script

T = TypeVar("T")
CONFIG: Final = "door.json"
ORDERS: Final = "orders.json"
SAID: Final = "said.json"
LOCK: Final = "door.lock"
LOG: Final = "door.log"
HOST_KEY: Final = "host_key"


class How(Struct, frozen=True, kw_only=True):
    """How a tenant's process is started."""

    user: str
    """The name to log in with."""
    home: str
    """Where the process that is started begins; on the machine, not in a container."""
    login: tuple[str, ...]
    """A login shell."""
    command: tuple[str, ...]
    """Before a command line."""
    enter: tuple[str, ...] = ()
    """Before either: how one gets into a container."""
    enter_terminal: tuple[str, ...] = ()
    """The same, with a terminal."""
    uid: int | None = None
    """None: as whoever runs the agent."""
    gid: int | None = None
    environment: dict[str, str] = {}
    sftp_inside: bool = False
    """SFTP in the door's own process, with its rights."""


class DoorSaid(Struct, kw_only=True):
    """How it is."""

    port: int = 0
    open: bool = False
    """To the tenant, as the orders want it."""
    script: Script = ""
    warned: str = ""
    """The last warning that has been shown."""
    failed: str = ""
    """Why it could not begin."""
    ended: bool = False
    """Access is gone, and all that the tenant ran is killed."""


class DoorConfig(Struct, frozen=True, kw_only=True):
    """What does not change while it lives."""

    listen: str
    ports: tuple[int, ...]
    """To be tried in this order; 0: any."""
    how: How
    banner: str
    before: DoorSaid
    """What the last door of this lease said, if it had one."""


class DoorOrders(Struct, frozen=True, kw_only=True):
    """What it must do."""

    open: bool = False
    keys: tuple[str, ...] = ()
    probe_keys: tuple[str, ...] = ()
    ends_elapsed_ms: Millis
    """Of the machine's elapsed time: then it ends by itself."""
    end: bool = False
    """Now."""
    warning: str = ""
    start_script: str = ""


def read(file: Path, kind: type[T]) -> T | None:
    """None: it is not there. Raises msgspec.DecodeError, OSError."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def write(file: Path, content: DoorConfig | DoorOrders | DoorSaid) -> None:
    """Whole or not at all, readable by the owner only. Not forced to disk: it is of no use after the machine's restart."""
    temporary = file.with_name(f"{file.name}.new")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(content))
    temporary.replace(file)


def lives(folder: Path) -> bool:
    """Whether a door holds the lock of this folder."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
