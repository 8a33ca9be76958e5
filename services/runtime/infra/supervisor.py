"""Keeps a set of programs running: logs to files, restarts with a back-off, an end that leaves nothing behind.

No threads: the owner calls `poll` often (or `run`), and everything happens there.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from services.runtime.infra.processes import OwnedProcess

BEYOND_RESTART = (os.EX_DATAERR, os.EX_CONFIG)


class GaveUp(Exception):
    """A program ended too often, or in a way that a restart does not mend. The message ends with its last output."""


@dataclass(frozen=True, slots=True)
class Program:
    """Something to keep running. `env` is laid over our own environment."""

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    """It has no /status: that it runs is all that one knows of it."""


class Life(NamedTuple):
    """How a program is."""

    name: str
    pid: int
    """Of its latest start."""
    running: bool
    restarts: int
    failing: bool
    """It has ended, and has not been healthy since."""
    exit_code: int | None
    """Of its latest end; None: it has never ended. Minus the signal's number when a signal ended it."""
    last_words: str
    """The last line that it had printed by then."""
    silent: bool = False
    """As `Program.silent`."""


@dataclass(slots=True)
class _Child:
    program: Program
    process: OwnedProcess
    began_s: float
    """Monotonic clock."""
    restarts: int = 0
    """Since the supervisor began."""
    restarts_in_a_row: int = 0
    """Without a healthy stretch between them."""
    due_s: float | None = None
    """When to start it again; None: it runs, or ended well."""
    exit_code: int | None = None
    last_words: str = ""


class Supervisor:
    """Owns its programs from `start` to `stop`. A program that ends with 0 is done; any other end is repeated.

    After 65 (halted: an operator must look) and 78 (wrong settings) a restart mends nothing: `poll` raises at once.
    With `always` it never raises: one program that is halted must not take the others with it, and comes back by itself
    once an operator has mended what it met.
    """

    def __init__(
        self,
        logs: Path,
        *,
        restarts_in_a_row_max: int = 5,
        backoff_s: float = 0.2,
        backoff_s_max: float = 5.0,
        healthy_s: float = 30.0,
        always: bool = False,
    ) -> None:
        """Output goes to `logs/<name>.log`. The pause doubles from `backoff_s` up to `backoff_s_max`.

        After `healthy_s` of running, the count towards `restarts_in_a_row_max` begins anew. `always`: every end is
        repeated for ever, whatever its code and however often.
        """
        self.logs = logs
        self._restarts_in_a_row_max = restarts_in_a_row_max
        self._backoff_s = backoff_s
        self._backoff_s_max = backoff_s_max
        self._healthy_s = healthy_s
        self._always = always
        self._children: dict[str, _Child] = {}

    def start(self, program: Program) -> None:
        """Starts it at once. Raises OSError when the program is not there."""
        assert program.name not in self._children, f"{program.name} was started before"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._children[program.name] = _Child(program, self._launch(program), time.monotonic())

    def poll(self) -> None:
        """Notices who has ended and starts again whoever is due. Raises GaveUp unless `always`; the others then still run."""
        now_s = time.monotonic()
        for child in self._children.values():
            if child.due_s is None:
                self._notice_end(child, now_s)
            elif now_s >= child.due_s:
                child.process = self._launch(child.program)
                child.began_s, child.due_s = now_s, None
                child.restarts += 1

    def run(self, until: Callable[[], bool], every_s: float = 0.1) -> None:
        """Polls until `until()` says so. Raises GaveUp."""
        while not until():
            self.poll()
            time.sleep(every_s)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Asks all to stop, the last started first, and kills those that have not done so in time."""
        deadline = time.monotonic() + timeout_s
        processes = [child.process for child in reversed(self._children.values())]
        for process in processes:
            process.ask_to_stop()
        for process in processes:
            if not process.wait(max(0.0, deadline - time.monotonic())):
                process.kill()
        assert not any(self.is_running(name) for name in self._children)
        self._children.clear()

    def is_running(self, name: str) -> bool:
        """Whether its process runs now; False between two starts."""
        return self._children[name].process.exit_code() is None

    def pid(self, name: str) -> int:
        """Process id of its latest start."""
        return self._children[name].process.pid

    def restarts(self) -> dict[str, int]:
        """How often each program had to be started again."""
        return {name: child.restarts for name, child in self._children.items()}

    def lives(self) -> list[Life]:
        """How every program is, in the order of their starts, as of the latest `poll`."""
        now_s = time.monotonic()
        return [
            Life(
                child.program.name,
                child.process.pid,
                child.due_s is None and child.process.exit_code() is None,
                child.restarts,
                child.exit_code is not None and (child.due_s is not None or now_s - child.began_s < self._healthy_s),
                child.exit_code,
                child.last_words,
                child.program.silent,
            )
            for child in self._children.values()
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()

    def _launch(self, program: Program) -> OwnedProcess:
        return OwnedProcess(program.argv, log=self.logs / f"{program.name}.log", env={**os.environ, **program.env})

    def _notice_end(self, child: _Child, now_s: float) -> None:
        code = child.process.exit_code()
        if code is None:
            return
        child.exit_code, child.last_words = code, child.process.log_tail(1)
        if code == 0 and not self._always:
            return
        if now_s - child.began_s >= self._healthy_s:
            child.restarts_in_a_row = 0
        hopeless = code in BEYOND_RESTART or child.restarts_in_a_row >= self._restarts_in_a_row_max
        if hopeless and not self._always:
            raise GaveUp(
                f"{child.program.name} ended with {code} after {child.restarts} restarts:\n{child.process.log_tail()}"
            )
        pause_s = min(self._backoff_s * 2 ** min(child.restarts_in_a_row, 30), self._backoff_s_max)
        child.restarts_in_a_row += 1
        child.due_s = now_s + pause_s
