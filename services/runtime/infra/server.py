"""What every server here has in common: it starts until it answers, stops in order, and can be crashed."""

import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from services.runtime.infra.ports import free_port
from services.runtime.infra.processes import OsUser, OwnedProcess

PORT_S_MAX = 10.0
"""So long whoever listened on a port may take to end: longer than a guard leaves to what its owner has left behind."""


class ServerFailed(Exception):
    """A server could not be started. The message says which, why, and what it printed last."""


class Server(ABC):
    """One server program on 127.0.0.1. Starts and stops any number of times, on the same port and the same data.

    `with server:` starts it and stops it at the end.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_s_max: ClassVar[float] = 60.0
    os_user: OsUser | None = None
    """As whom it runs; None: as we do."""

    def __init__(self, home: Path, port: int = 0) -> None:
        """`home` is created when absent and holds all that the server writes; `port` 0 takes any free one."""
        self.home = home.resolve()
        self.port = port or free_port()
        self._process: OwnedProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.exit_code() is None

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self) -> Self:
        """Returns once the server answers. Raises ServerFailed when it cannot be started."""
        assert not self.is_running, f"{self.name} runs already"
        self.home.mkdir(parents=True, exist_ok=True)
        self._prepare()
        self._wait_for_port()
        deadline = time.monotonic() + self.start_s_max
        self._process = self._launch()
        while not self._is_ready():
            if self._process.exit_code() is not None:
                if self._may_try_again() and time.monotonic() < deadline:
                    time.sleep(0.2)
                    self._process = self._launch()
                    continue
                raise ServerFailed(f"{self.name} ended with {self._process.exit_code()}:\n{self._process.log_tail()}")
            if time.monotonic() >= deadline:
                self._process.kill()
                raise ServerFailed(f"{self.name} did not answer in {self.start_s_max} s:\n{self._process.log_tail()}")
            time.sleep(0.02)
        return self

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stops it in order, and kills it when that takes longer. Harmless when it does not run."""
        if self._process is not None:
            self._process.stop(timeout_s)

    def kill9(self) -> None:
        """Ends it at once, as a crash would. `start` brings it back on what reached its files."""
        assert self._process is not None, f"{self.name} was not started"
        self._process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()

    def _wait_for_port(self) -> None:
        """Else whoever listens there would be taken for this server: the copy of an exchange has the original's ports."""
        deadline = time.monotonic() + PORT_S_MAX
        while _is_taken(self.port):
            if time.monotonic() >= deadline:
                raise ServerFailed(f"{self.name}: another process listens on its port {self.port}")
            time.sleep(0.1)

    def _launch(self) -> OwnedProcess:
        return OwnedProcess(
            self._argv(),
            log=self.home / "server.log",
            env={**os.environ, **self._environment()},
            cwd=self.home,
            os_user=self.os_user,
            stop_signal=self.stop_signal,
        )

    @abstractmethod
    def _prepare(self) -> None:
        """Makes `home` ready before each start."""

    def _environment(self) -> Mapping[str, str]:
        """Variables on top of ours."""
        return {}

    def _may_try_again(self) -> bool:
        """Whether a start that just failed is worth repeating until the time is up."""
        return False

    @abstractmethod
    def _argv(self) -> Sequence[str | Path]:
        """The program and its arguments; must stay in the foreground."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it answers a request now."""


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
