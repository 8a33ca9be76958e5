"""What keeps an exchange on this machine running: its servers, its services, and what `hourbook status` is told of them."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.cli import status
from services.cli.errors import Refused
from services.runtime.infra import Life, Server, ServerFailed, Supervisor

_SERVER_AGAIN_S: Final = 5.0
_BEYOND_WAITING: Final = (os.EX_DATAERR, os.EX_CONFIG)


class Keeper:
    """Keeps servers and services running, and tells `hourbook status` how they are."""

    def __init__(self, home: Path, *servers: Server, forgetful: Sequence[Server] = ()) -> None:
        """`forgetful`: those that have lost everything when they end; the exchange ends with them."""
        self.supervisor = Supervisor(home / "logs", always=True)
        self._home = home
        self._servers = servers
        self._forgetful = forgetful
        self._server_due_s = 0.0
        self._told: list[status.Kept] = []

    def poll(self) -> None:
        """Call it often. Raises Refused when it cannot go on."""
        self.supervisor.poll()
        for server in self._forgetful:
            if not server.is_running:
                raise Refused(f"the {server.name} has ended, and with it all that it had in memory: start again")
        # Told first: starting a server takes a while, and it is down meanwhile.
        self._tell()
        for server in self._servers:
            if not server.is_running and time.monotonic() >= self._server_due_s:
                self._start_again(server)
                self._tell()

    def _tell(self) -> None:
        kept = [
            *(
                status.Kept(name=server.name, pid=server.pid, running=server.is_running, silent=True)
                for server in (*self._forgetful, *self._servers)
            ),
            *(status.Kept(**life._asdict()) for life in self.supervisor.lives()),
        ]
        if kept != self._told:
            self._told = kept
            with contextlib.suppress(OSError):  # a full disk: the exchange needs no file that only `status` reads
                status.keep(self._home, kept)

    def lives(self) -> list[Life]:
        """After a poll, how every service is."""
        self.poll()
        return self.supervisor.lives()

    def _start_again(self, server: Server) -> None:
        log_line(f"{server.name} has ended: starting it again")
        try:
            server.start()
        except (ServerFailed, OSError) as error:
            log_line(f"{server.name} does not start: {error}")
            self._server_due_s = time.monotonic() + _SERVER_AGAIN_S

    def hopeless(self) -> str:
        """Who cannot start, and why; empty: nobody."""
        return next(
            (
                f"{life.name} ended with {life.exit_code}: {status.last_words(life.last_words)}"
                for life in self.supervisor.lives()
                if life.failing and life.exit_code in _BEYOND_WAITING
            ),
            "",
        )


def log_line(line: str) -> None:
    """On standard error, which is the log of whoever runs in the background."""
    with contextlib.suppress(OSError):  # a full disk must not end the one who starts servers again once there is room
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
