"""What a driver promises, and the part that all share whose tenants come in by a door.

Everything may be done again: an agent that died in the middle of an action, or before it noted the outcome, does it once more.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import asyncssh
from msgspec import Struct

from schemas.agents import Driver as DriverName
from schemas.agents import Lease
from services.agent import doorway, processes
from services.agent.doorway import DoorConfig, DoorOrders, DoorSaid, How
from services.agent.plan import Script

START_S: Final = 20.0
"""A door that has not opened its port by then does not open it."""
END_S: Final = 15.0
"""A door that has not ended by then is killed."""
LOOK_S: Final = 0.05
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


class Failed(Exception):
    """A lease cannot be opened; the sentence is for whoever rents."""


class Stuck(Exception):
    """A lease cannot be wiped yet; it is tried again."""


class Prepared(Struct, frozen=True, kw_only=True):
    """Where a tenant is to log in."""

    port: int = 0
    user: str = ""
    host_key: str = ""
    detail: str = ""


class Look(Struct, frozen=True, kw_only=True):
    """How a lease is that has been prepared."""

    lives: bool
    open: bool = False
    """The tenant's login works."""
    script: Script = ""


class Driver(Protocol):
    """What the agent needs of one."""

    name: DriverName

    async def prepare(self, lease: Lease) -> Prepared:
        """So that a login works at once when the lease begins. Raises Failed."""

    async def begin(self, lease: Lease) -> str:
        """Its seats are free now; what the tenant should know of it, or nothing. Raises Failed."""

    def order(self, lease: Lease, orders: DoorOrders) -> None:
        """From now on this holds. Raises OSError."""

    def look(self, lease: Lease) -> Look:
        """How it is."""

    async def close(self, lease: Lease) -> None:
        """Nobody is in, nothing runs, nothing is left on the disk. Raises Stuck."""


class Place(Struct, frozen=True, kw_only=True):
    """Where doors are."""

    home: Path
    """The agent's."""
    listen: str
    """The address on which they listen."""
    ports: tuple[int, ...]
    """They may have; empty: any."""
    gpus_are_real: bool
    """Read off the machine: sessions are told which are theirs."""

    def folder(self, lease: str) -> Path:
        """Of a lease, whatever its name may be."""
        plain = lease if _PLAIN.fullmatch(lease) else hashlib.blake2b(lease.encode(), digest_size=16).hexdigest()
        return self.home / "leases" / plain


class WithDoor(ABC):
    """A driver whose tenants come in by a door of ours."""

    name: DriverName
    banner: str

    def __init__(self, place: Place) -> None:
        self.place = place
        self._ordered: dict[str, DoorOrders] = {}

    # --- What a driver adds ---------------------------------------------------------------------------------

    @abstractmethod
    async def make(self, lease: Lease, folder: Path) -> How:
        """What the tenant is to have. Raises Failed."""

    @abstractmethod
    async def unmake(self, lease: Lease, folder: Path) -> None:
        """Undo it, whole or half made. Sessions have ended. Raises Stuck."""

    async def begin(self, lease: Lease) -> str:
        """See Driver."""
        del lease
        return ""

    # --- What all share -------------------------------------------------------------------------------------

    async def prepare(self, lease: Lease) -> Prepared:
        """See Driver. A door that lives is left as it is, with all its sessions."""
        folder = self.place.folder(lease.lease)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            host_key = _host_key(folder)
            how = await self.make(lease, folder)
            said = await self._start(lease, folder, how)
        except OSError as error:
            raise Failed(f"this machine could not make room for the lease: {error.strerror or error}") from error
        return Prepared(port=said.port, user=how.user, host_key=host_key)

    async def _start(self, lease: Lease, folder: Path, how: How) -> DoorSaid:
        before = doorway.read(folder / doorway.SAID, DoorSaid) or DoorSaid()
        if doorway.lives(folder) and before.port:
            return before
        wanted = before.port
        config = DoorConfig(
            listen=self.place.listen,
            ports=_ports(wanted, self.place.ports),
            how=how,
            banner=self.banner,
            before=DoorSaid(script=before.script, warned=before.warned),
        )
        doorway.write(folder / doorway.CONFIG, config)
        # Until the agent says more: closed to the tenant, and the probe is not known yet.
        patience_ms = int(2 * START_S * 1000)
        self.order(
            lease, DoorOrders(ends_elapsed_ms=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000 + patience_ms)
        )
        (folder / doorway.SAID).unlink(missing_ok=True)
        with (folder / doorway.LOG).open("ab") as log:
            starting = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.agent.door", str(folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            await starting.wait()
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            said = doorway.read(folder / doorway.SAID, DoorSaid)
            if said is not None and said.failed:
                raise Failed(said.failed)
            if said is not None and said.port:
                return said
            await asyncio.sleep(LOOK_S)
        raise Failed(f"the lease's SSH server did not start; {folder / doorway.LOG} says why")

    def order(self, lease: Lease, orders: DoorOrders) -> None:
        """See Driver."""
        if self._ordered.get(lease.lease) != orders:
            doorway.write(self.place.folder(lease.lease) / doorway.ORDERS, orders)
            self._ordered[lease.lease] = orders

    def look(self, lease: Lease) -> Look:
        """See Driver."""
        folder = self.place.folder(lease.lease)
        said = doorway.read(folder / doorway.SAID, DoorSaid) or DoorSaid()
        return Look(lives=doorway.lives(folder), open=said.open, script=said.script)

    async def close(self, lease: Lease) -> None:
        """See Driver."""
        folder = self.place.folder(lease.lease)
        self._ordered.pop(lease.lease, None)
        if folder.is_dir():
            await _end_door(folder)
        if not await asyncio.to_thread(processes.kill_all, lambda: self.leftovers(lease)):
            raise Stuck("processes of the tenant do not die")
        await self.unmake(lease, folder)
        await asyncio.to_thread(remove, folder)

    def leftovers(self, lease: Lease) -> list[int]:
        """What a tenant has started and a door that was killed could not end."""
        return processes.marked(self.place.folder(lease.lease))

    def environment(self, lease: Lease) -> dict[str, str]:
        """Of every process of a tenant on the machine itself."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        if self.place.gpus_are_real:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(lease.seats)
        return environment


async def _end_door(folder: Path) -> None:
    """Raises Stuck."""
    if not doorway.lives(folder):
        return
    doorway.write(folder / doorway.ORDERS, DoorOrders(ends_elapsed_ms=0, end=True))
    if await _until(lambda: not doorway.lives(folder), END_S):
        return
    # The number is that of whoever holds the lock.
    if (pid := int((folder / doorway.LOCK).read_text() or 0)) > 0:
        processes.send(pid, signal.SIGKILL)
    if not await _until(lambda: not doorway.lives(folder), END_S):
        raise Stuck("its SSH server does not end")


async def _until(come: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not come():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def _ports(before: int, allowed: tuple[int, ...]) -> tuple[int, ...]:
    """Where it was before comes first: whoever is to log in again knows that one."""
    others = tuple(port for port in allowed if port != before)
    if not others:
        others = (0,)
    return (before, *others) if before else others


def _host_key(folder: Path) -> str:
    """Of the lease, made once; its public half, as in known_hosts. Raises OSError."""
    file = folder / doorway.HOST_KEY
    if not file.exists():
        temporary = file.with_name("host_key.new")
        temporary.touch(mode=0o600)
        temporary.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh"))
        temporary.replace(file)
    return asyncssh.read_private_key(file).export_public_key("openssh").decode().strip()


def remove(folder: Path) -> None:
    """With all in it, whatever rights its owner has taken away. Follows no link. Raises Stuck."""
    try:
        try:
            shutil.rmtree(folder)
        except PermissionError:
            folder.chmod(0o700)
            for path, folders, _ in os.walk(folder):
                for name in folders:
                    below = Path(path) / name
                    if not below.is_symlink():
                        below.chmod(0o700)
            shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Stuck(f"{folder} cannot be removed: {error.strerror}") from error


async def run(*words: str, patience_s: float = 60.0) -> tuple[int, str]:
    """A program of the system's: its exit code, and what it said (the last 300 characters)."""
    try:
        child = await asyncio.create_subprocess_exec(
            *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        return 127, f"{words[0]} cannot be run: {error.strerror}"
    try:
        out, _ = await asyncio.wait_for(child.communicate(), patience_s)
    except (TimeoutError, asyncio.CancelledError) as error:
        child.kill()
        await child.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        return 124, f"{words[0]} took longer than {patience_s:.0f} s"
    return child.returncode or 0, out.decode(errors="replace").strip()[-300:]
