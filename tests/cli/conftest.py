"""Places to type commands in: an empty folder with the project's .venv, as a newcomer's second terminal has it.

place     Place    an empty folder
sandbox   Sandbox  one for the tests of this folder, started as `make run` starts it, but without demo members and with
                   broker and database from wheels only
here      Place    the same as `place`, and commands given to `typed` are typed there
inside    Sandbox  likewise
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from services.cli.__main__ import hourbook
from services.runtime.infra import OwnedProcess, open_folder

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background, where Ctrl-C means nothing to us; to those whom we start it shall.
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).parents[2]
ZONE = "Europe/Berlin"
"""Not UTC: what is shown first is local."""
GATE_S = 60
USUAL_S = 0.7
"""What `slowness` needs on two cores that have nothing else to do is half a second."""


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Place:
    """A folder, and commands that are typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv = folder / ".venv"
        venv.mkdir()
        (venv / "bin").symlink_to(Path(sys.executable).parent)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HOURBOOK_")}
        self.environment = {**kept, "HOME": str(folder), "TZ": ZONE, "PYTHONUNBUFFERED": "1"}

    def run(self, words: str | list[str], *, timeout_s: float = 60, **more: str) -> Done:
        """As a process of its own. A string is what a shell is given."""
        done = subprocess.run(
            words,
            shell=isinstance(words, str),
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def hourbook(self, *words: str, **more: str) -> Done:
        """`.venv/bin/hourbook ...`, as a process of its own."""
        return self.run([".venv/bin/hourbook", *words], **more)

    def json(self, *words: str) -> Any:
        """What a command answers that must end well."""
        done = self.hourbook("--json", *words)
        assert done.code == 0, done
        return json.loads(done.out)


class Sandbox(Place):
    """One that runs."""

    def __init__(self, folder: Path, *, patience_s: float = 60) -> None:
        super().__init__(folder)
        before = slowness()
        began_s = time.monotonic()
        self.process = OwnedProcess(
            [".venv/bin/hourbook", "sandbox", "--only-wheels", "--quiet"],
            log=folder / "run.log",
            cwd=folder,
            env=self.environment,
            stop_signal=signal.SIGINT,
        )
        while "audit --young" not in self.said() and self.process.exit_code() is None:
            assert time.monotonic() < began_s + patience_s, self.said()
            time.sleep(0.05)
        self.ready_s = time.monotonic() - began_s
        self.slowness = max(before, slowness())
        assert self.process.exit_code() is None, self.said()

    def said(self) -> str:
        """All that it has printed."""
        return (self.folder / "run.log").read_text()

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.stop(30)


@pytest.fixture
def before_the_gate() -> None:
    """The next open hour stays the same for a minute: it closes five minutes before it begins."""
    until_gate_s = (55 * 60 - time.time()) % 3600
    if until_gate_s < GATE_S:
        time.sleep(until_gate_s + 2)


def slowness() -> float:
    """How many times slower than usual Python starts here now; 1: a machine with nothing else to do, of whatever age."""
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", "import services.gateway.__main__"], check=True, cwd=CHECKOUT)
    return max(1.0, (time.monotonic() - began_s) / USUAL_S)


@pytest.fixture
def place() -> Iterator[Place]:
    with open_folder() as folder:
        yield Place(folder)


@pytest.fixture(scope="package")
def sandbox() -> Iterator[Sandbox]:
    with open_folder() as folder:
        running = Sandbox(folder)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def here(place: Place) -> Iterator[Place]:
    """This very process types in an empty folder."""
    with typing_in(place):
        yield place


@pytest.fixture
def inside(sandbox: Sandbox) -> Iterator[Sandbox]:
    """This very process types in the sandbox's folder: a command costs milliseconds and not a start of Python."""
    with typing_in(sandbox):
        yield sandbox


@contextmanager
def typing_in(place: Place) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place.folder)
        for name in [name for name in os.environ if name.startswith("HOURBOOK_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(place.folder))
        patch.setenv("TZ", ZONE)
        time.tzset()
        yield
    time.tzset()


def closing() -> bool:
    """Whether no hour is sold just now, or not for long: from ten minutes before its end until the next one's gate."""
    return 49 <= time.gmtime().tm_min < 56


def wait_for_asks(class_id: str) -> None:
    """Until somebody asks in each hour between a few hours ahead and two days and a half."""
    deadline = time.monotonic() + 60
    while not all(row["ask"] for row in json.loads(typed("--json", "book", class_id, "--hours", "60").out)[8:]):
        assert time.monotonic() < deadline, typed("desk")
        time.sleep(0.5)


def typed(*words: str) -> Done:
    """A command typed in this process."""
    done = CliRunner().invoke(hourbook, list(words), prog_name="hourbook")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr)
