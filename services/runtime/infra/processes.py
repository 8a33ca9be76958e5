"""A child process that never outlives us: not when we stop it, not when we forget it, not when we are killed."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class OsUser:
    """The user of the operating system as whom a process runs."""

    name: str
    uid: int
    gid: int


class OwnedProcess:
    """A running child in a process group of its own, so that a signal reaches what it started as well.

    A terminal's Ctrl-C therefore reaches us and not the child: whoever owns it decides in which order things stop.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        os_user: OsUser | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Starts it. Both outputs are appended to the file `log`; `env` replaces the environment where it is given.

        Raises OSError when the program cannot be started.
        """
        self.argv = [str(part) for part in argv]
        self.log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                user=os_user.uid if os_user else None,
                group=os_user.gid if os_user else None,
                extra_groups=[] if os_user else None,
            )
        try:
            _guard().own(self.pid, stop_signal)
        except OSError:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        if self._process.returncode is None and self._has_ended():
            # Its group goes before it is reaped: afterwards the number may belong to somebody else.
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            _guard().free(self.pid)
        return self._process.returncode

    def ask_to_stop(self) -> None:
        """Sends its group the stop signal and does not wait."""
        if self.exit_code() is None:
            self._signal_group(self._stop_signal)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within that time."""
        deadline = time.monotonic() + timeout_s
        while self.exit_code() is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        return True

    def stop(self, timeout_s: float = 10.0) -> None:
        """Asks it to stop and kills it when it has not done so in time. Harmless when it has ended."""
        self.ask_to_stop()
        if not self.wait(timeout_s):
            self.kill()

    def kill(self) -> None:
        """Ends it and its group at once, as a crash would."""
        if self._process.returncode is None:
            self._signal_group(signal.SIGKILL)
            self._process.wait()
            _guard().free(self.pid)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of what it has printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) only a zombie is left
            os.killpg(self.pid, number)


class _Guard:
    """Our side of `guard.py`."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", GUARD, str(self.owner)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.close)

    def own(self, group: int, stop_signal: signal.Signals) -> None:
        self._tell(f"own {group} {int(stop_signal)}\n")

    def free(self, group: int) -> None:
        with suppress(BrokenPipeError):  # the guard is gone, so it will not signal anybody
            self._tell(f"free {group}\n")

    def close(self) -> None:
        """Ends what is still owned, and the guard."""
        if os.getpid() == self.owner:
            self._pipe.close()
            self._process.wait()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _tell(self, line: str) -> None:
        self._pipe.write(line.encode())
        self._pipe.flush()


_the_guard: _Guard | None = None
_guard_lock = threading.Lock()


def _guard() -> _Guard:
    """The guard of this process; a forked process gets its own."""
    global _the_guard
    with _guard_lock:
        if _the_guard is None or _the_guard.owner != os.getpid():
            _the_guard = _Guard()
        return _the_guard
