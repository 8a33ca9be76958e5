"""Driver `user`: each lease is a user of the system, made for it and removed with it. Needs root.

It isolates what users of one machine are isolated by: rights of files, signals, processes. GPUs, network, /tmp and all that is readable for
everybody are shared.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import Final

from schemas.agents import Driver as DriverName
from schemas.agents import Lease
from services.agent import processes
from services.agent.doorway import How
from services.agent.drivers.base import Failed, Place, Stuck, WithDoor, remove, run
from services.agent.drivers.folder import first_shell
from services.agent.errors import Unusable

HOMES: Final = Path("/home")
SHARED: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 # what a tenant leaves there is removed
FIRST_UID: Final = 1000
"""Below are the system's own: what has none of ours is never touched."""


class UserDriver(WithDoor):
    """For machines with root, and no containers."""

    name: DriverName = "user"
    banner = "Other people's processes run on this machine: you are a user of it, and no more. (driver: user)"

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        # Two programs that change /etc/passwd at once: one of them fails.
        self._passwd = asyncio.Lock()

    @staticmethod
    def check() -> None:
        """Raises Unusable: this machine cannot."""
        if os.geteuid() != 0:
            raise Unusable("driver `user` makes users of the system: run the agent as root, or choose another --driver")
        for program in ("useradd", "userdel"):
            if shutil.which(program) is None:
                raise Unusable(f"driver `user` needs the program {program}, which is not on the PATH")

    async def make(self, lease: Lease, folder: Path) -> How:
        """See WithDoor."""
        del folder
        name = user_name(lease.lease)
        home = HOMES / name
        async with self._passwd:
            if _entry(name) is None:
                code, said = await run(
                    *("useradd", "--create-home", "--home-dir", str(home), "--shell", first_shell(), name)
                )
                if code != 0:
                    raise Failed(f"no user could be made for the lease: {said}")
        entry = _entry(name)
        if entry is None or entry.pw_uid < FIRST_UID:
            raise Failed(f"the user made for the lease is not to be found, or is one of the system's: {entry}")
        home.chmod(0o700)
        return How(
            user=name,
            home=str(home),
            shell=(entry.pw_shell, "-l"),
            command=(entry.pw_shell, "-c"),
            uid=entry.pw_uid,
            gid=entry.pw_gid,
            environment=self.environment(lease)
            | {"HOME": str(home), "USER": name, "LOGNAME": name, "SHELL": entry.pw_shell},
        )

    def leftovers(self, lease: Lease) -> list[int]:
        """See WithDoor: whatever runs as this user, marked or not."""
        entry = _entry(user_name(lease.lease))
        return [] if entry is None or entry.pw_uid < FIRST_UID else processes.of_user(entry.pw_uid)

    async def unmake(self, lease: Lease, folder: Path) -> None:
        """See WithDoor."""
        del folder
        name = user_name(lease.lease)
        entry = _entry(name)
        if entry is None:
            return
        if entry.pw_uid < FIRST_UID:
            raise Stuck(f"user {name} is one of the system's")
        # Before the number is free: the next user may get it, and would own what is left.
        await asyncio.to_thread(_remove_owned, entry.pw_uid)
        if shutil.which("crontab") is not None:
            await run("crontab", "-r", "-u", name)
        async with self._passwd:
            code, said = await run("userdel", "--remove", name)
        await asyncio.to_thread(remove, HOMES / name)
        if _entry(name) is not None:
            raise Stuck(f"user {name} cannot be removed ({code}): {said}")


def user_name(lease: str) -> str:
    """Of the system: 32 characters at most, and always the same for a lease."""
    return f"hb-{hashlib.blake2b(lease.encode(), digest_size=8).hexdigest()}"


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _remove_owned(uid: int) -> None:
    """What a user has left where everybody may write. Follows no link."""
    for place in SHARED:
        for folder, folders, files in os.walk(place, topdown=False):
            for name in (*files, *folders):
                entry = Path(folder) / name
                try:
                    found = entry.lstat()
                    if found.st_uid != uid:
                        continue
                    if stat.S_ISDIR(found.st_mode):
                        remove(entry)
                    else:
                        entry.unlink()
                except FileNotFoundError:
                    continue
