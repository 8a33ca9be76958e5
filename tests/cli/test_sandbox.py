"""The sandbox as a whole: its screen in a terminal, the simulated cloud, demo members, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.furnishing import DEMO, demo_keys, operator_of
from services.cli.stack import Stack
from services.runtime.infra import OwnedProcess
from tests.cli.conftest import Place, Sandbox

CLASSES = 8
"""In which the desk quotes. In the ninth there are machines, whose hosts only sell."""


def until(true: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


# --- Demo members in the sandbox of the other tests -----------------------------------------------------------------


class Running:
    """The sandbox under test, as its keeper knows it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.home = sandbox.folder / "var/sandbox"
        told = json.loads((self.home / "environment.json").read_text())
        port = int(json.loads((self.home / "operator.json").read_text())["url"].rpartition(":")[2])
        self.stack = Stack(told["HOURBOOK_KAFKA"], told["HOURBOOK_POSTGRES"], self.home, shards=2, http_port=port)

    def status(self, name: str) -> dict[str, Any]:
        """Empty while it does not answer."""
        try:
            address = json.loads((self.home / "run" / f"{name}.json").read_text())["status"]
            return dict(httpx.get(f"http://{address}/status", trust_env=False).json())
        except (OSError, httpx.TransportError, ValueError):
            return {}


@contextlib.contextmanager
def demo(running: Running, per_minute: int) -> Iterator[OwnedProcess]:
    """Demo members as a sandbox starts them; afterwards nothing of theirs stands in the books."""
    with contextlib.closing(operator_of(running.home / "operator.json")) as operator:
        keys = demo_keys(running.stack, operator, print)
    program = running.stack.demo_members(keys)
    environment = {**os.environ, **program.env, "HOURBOOK_DEMO_ORDERS_PER_MINUTE": str(per_minute)}
    process = OwnedProcess(program.argv, log=running.home / "logs" / "demo.log", env=environment)
    try:
        yield process
    finally:
        process.stop(5)
        for key in json.loads(keys.read_text()).values():
            headers = {"Authorization": f"Bearer {key['bearer']}"}
            answer = httpx.delete(f"{running.stack.url}/v1/orders", headers=headers, timeout=30, trust_env=False)
            assert answer.status_code == 200, answer.text


def test_demo_members_trade_and_stop_at_once(sandbox: Sandbox) -> None:
    """Through the public API, each under a name that says what it is; asked to stop, they have stopped within two seconds."""
    running = Running(sandbox)
    with demo(running, 600) as process:
        until(lambda: running.status("simulated-members").get("done", 0) >= 25, 60, "25 orders were taken")
        until(lambda: fills(running), 60, "they have traded")
        told = running.status("simulated-members")
        began_s = time.monotonic()
        process.ask_to_stop()
        assert process.wait(10 * sandbox.slowness)
        print(f"stopped after {time.monotonic() - began_s:.2f} s")

    assert process.exit_code() == 0
    assert (told["role"], told["members"], told["requests_unknown"]) == ("simulated", len(DEMO), 0)
    assert told["refused"] <= told["asked"] // 3, told["last_refusal"]


def fills(running: Running) -> int:
    """How many trades the members have had."""
    keys = json.loads((running.home / "demo.keys").read_text()).values()
    headers = [{"Authorization": f"Bearer {key['bearer']}"} for key in keys]
    return sum(
        len(httpx.get(f"{running.stack.url}/v1/fills", headers=each, trust_env=False).json()) for each in headers
    )


def test_the_simulated_cloud_says_what_it_is(sandbox: Sandbox) -> None:
    """In its name, in its status, in its log."""
    running = Running(sandbox)
    until(lambda: running.status("simulated-cloud").get("role") == "simulated", 30, "it runs")
    told = running.status("simulated-cloud")

    assert (told["provider"], told["waiting_for"]) == ("simulated-cloud", "")
    assert '"service": "simulated-cloud"' in (running.home / "logs/simulated-cloud.log").read_text()


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        (["nobody"], {}, "settings: say which of cloud, members, hosts is to run"),
        ([], {}, "settings: say which of cloud, members, hosts is to run"),
        (["cloud"], {}, "stopped: HOURBOOK_GATEWAY is ''"),
        (["cloud"], {"GATEWAY": "http://127.0.0.1:1"}, "stopped: HOURBOOK_KEYS is not set"),
        (["members"], {"GATEWAY": "http://127.0.0.1:1", "KEYS": "nothing.keys"}, "does not hold keys by name"),
    ],
)
def test_what_simulates_says_what_it_lacks(
    place: Place, words: list[str], variables: dict[str, str], sentence: str
) -> None:
    named = {f"HOURBOOK_{name}": value for name, value in variables.items()}
    done = place.run([sys.executable, "-m", "services.simulated", *words], PYTHONPATH=str(Path.cwd()), **named)

    assert done.code == os.EX_CONFIG
    assert sentence in done.err


# --- A whole one, in a terminal -------------------------------------------------------------------------------------


class Terminal:
    """A sandbox with its screen, on a pseudo-terminal of 100 × 30."""

    def __init__(self, place: Place) -> None:
        self.text = ""
        self._here, there = pty.openpty()
        os.set_blocking(self._here, False)
        environment = {**place.environment, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        self.process = subprocess.Popen(
            [".venv/bin/hourbook", "sandbox", "--only-wheels"],
            cwd=place.folder,
            env=environment,
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
        )
        os.close(there)

    def shows(self, pattern: str) -> bool:
        """Whether it has shown this so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while read := os.read(self._here, 65_536):
                self.text += read.decode(errors="replace")
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)
        return re.search(pattern, plain) is not None

    def press(self, keys: bytes) -> None:
        os.write(self._here, keys)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._here)


def processes_of(folder: Path) -> list[str]:
    """Processes whose environment or command names the folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(each.name) != os.getpid() and str(folder).encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_the_screen_lives_and_ctrl_c_leaves_nothing(place: Place) -> None:
    """All classes have two sides, members trade, the cloud is there; Ctrl-C twice, as one does, and all of it is gone."""
    terminal = Terminal(place)
    try:
        until(lambda: terminal.shows("SIMULATED money and machines"), 120, "the screen is up")
        until(lambda: terminal.shows(f"two-sided in {CLASSES} of {CLASSES + 1}"), 90, "all classes have two sides")
        until(lambda: terminal.shows(r"\d\d:\d\d:\d\d \S+\.\S+ \d\d:00 \d+ × \d"), 90, "a trade is shown")
        terminal.press(b"\x1b[C")
        names = [each["name"] for each in json.loads((place.folder / "var/sandbox/processes.json").read_text())]
        assert {"simulated-cloud", "simulated-members", "market_maker", "market_data"} <= set(names)
        assert len(processes_of(place.folder)) > 10
        servers = Path((place.folder / "var/sandbox/servers").read_text())
        assert servers.is_dir()
        for _ in range(2):
            os.kill(terminal.process.pid, signal.SIGINT)
            time.sleep(0.05)
        until(lambda: terminal.process.poll() is not None, 30, "it has ended")
        assert terminal.shows("stopped; nothing is left")
        assert terminal.process.returncode == 0
        assert "\x1b[?1049l" in terminal.text  # the terminal is as it was
    finally:
        terminal.close()
    until(lambda: not processes_of(place.folder), 10, f"processes are left: {processes_of(place.folder)}")

    left = {each.name for each in place.folder.iterdir()} - {".venv", "var"}
    assert left - {".cache"} == set()
    assert [each.name for each in (place.folder / "var").iterdir()] == ["sandbox.lock"]
    assert not servers.exists()
