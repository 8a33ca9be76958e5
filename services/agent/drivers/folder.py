"""Driver `open`: the tenant works in a folder, as the very user who runs the agent. It isolates nothing, and says so at every login."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Final

from schemas.agents import Driver as DriverName
from schemas.agents import Lease
from services.agent.drivers.base import WithDoor
from services.agent.doorway import How

SHELLS: Final = ("/bin/bash", "/bin/sh")


class OpenDriver(WithDoor):
    """For machines and tenants of one owner."""

    name: DriverName = "open"
    banner = (
        "This machine isolates nothing: you work as the user who runs its agent, and see what he sees. (driver: open)"
    )

    async def make(self, lease: Lease, folder: Path) -> How:
        """See WithDoor."""
        home = folder / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        shell = first_shell()
        user = getpass.getuser()
        return How(
            user=user,
            home=str(home),
            shell=(shell, "-l"),
            command=(shell, "-c"),
            environment=self.environment(lease)
            | {"HOME": str(home), "USER": user, "LOGNAME": user, "SHELL": shell, "TMPDIR": str(home)},
            sftp_inside=True,
        )

    async def unmake(self, lease: Lease, folder: Path) -> None:
        """See WithDoor: all it has is in the folder."""


def first_shell() -> str:
    """Of those that may be there."""
    return next(shell for shell in SHELLS if os.access(shell, os.X_OK) or shell == SHELLS[-1])
