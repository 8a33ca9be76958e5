"""What keeps an exchange of this machine running, and what it leaves behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from services.cli import local, status
from services.cli.errors import Refused
from services.cli.keeper import Keeper
from services.cli.status import Kept
from services.runtime.infra import Program, Server, ServerFailed
from tests.cli.conftest import Place


class Sleeper(Server):
    """A server as every other, whose work is to sleep."""

    name = "sleeper"
    start_s_max = 5.0

    def __init__(self, home: Path) -> None:
        super().__init__(home, port=1)
        self.broken = False

    def _prepare(self) -> None:
        if self.broken:
            raise ServerFailed("sleeper: no room")

    def _argv(self) -> list[str]:
        return ["sleep", "600"]

    def _is_ready(self) -> bool:
        return True


def until(keeper: Keeper, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        keeper.poll()
        time.sleep(0.01)


def told(home: Path) -> dict[str, Kept]:
    found = msgspec.json.decode((home / "processes.json").read_bytes(), type=list[Kept])
    return {each.name: each for each in found}


def test_whatever_ends_is_started_again_and_status_is_told(tmp_path: Path) -> None:
    """A server like a service; a service that is halted leaves the others alone."""
    with Sleeper(tmp_path / "server") as server:
        keeper = Keeper(tmp_path, server)
        with keeper.supervisor:
            keeper.supervisor.start(Program("calm", ["sleep", "600"]))
            keeper.supervisor.start(Program("halted", ["sh", "-c", "echo offset 12; exit 65"]))
            first = server.pid
            server.kill9()
            until(keeper, lambda: server.is_running and told(tmp_path)["halted"].restarts >= 2)

            assert server.pid != first
            assert told(tmp_path)["sleeper"] == Kept(name="sleeper", pid=server.pid, running=True, silent=True)
            assert told(tmp_path)["calm"] == Kept(name="calm", pid=keeper.supervisor.pid("calm"), running=True)
            halted = told(tmp_path)["halted"]
            assert (halted.failing, halted.exit_code, halted.last_words) == (True, 65, "offset 12")
            assert keeper.hopeless() == "halted ended with 65: offset 12"


def test_a_server_that_does_not_start_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, say: status says that it is down, and when there is room it comes back by itself."""
    monkeypatch.setattr("services.cli.keeper._SERVER_AGAIN_S", 0.1)
    with Sleeper(tmp_path / "server") as server:
        keeper = Keeper(tmp_path, server)
        with keeper.supervisor:
            keeper.supervisor.start(Program("calm", ["sleep", "600"]))
            server.broken = True
            server.kill9()
            for _ in range(20):
                keeper.poll()
                time.sleep(0.02)
            assert not told(tmp_path)["sleeper"].running
            server.broken = False
            until(keeper, lambda: server.is_running)
            keeper.poll()

            assert told(tmp_path)["sleeper"].running
            assert keeper.supervisor.restarts() == {"calm": 0}


def test_with_a_server_that_forgets_everything_the_exchange_ends(tmp_path: Path) -> None:
    """A broker in memory that came back empty would be another market under the same name."""
    with Sleeper(tmp_path / "server") as server:
        keeper = Keeper(tmp_path, forgetful=[server])
        keeper.poll()
        server.kill9()
        with pytest.raises(Refused, match="the sleeper has ended, and with it all that it had in memory: start again"):
            keeper.poll()


def test_what_status_reads_is_no_reason_to_end(tmp_path: Path) -> None:
    """The file cannot be written: the exchange goes on."""
    (tmp_path / "processes.tmp").mkdir()
    keeper = Keeper(tmp_path)
    with keeper.supervisor:
        keeper.supervisor.start(Program("calm", ["sleep", "600"]))
        keeper.poll()

        assert keeper.supervisor.is_running("calm")
        assert not (tmp_path / "processes.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_of_a_sandbox_however_it_ends(place: Place, number: signal.Signals) -> None:
    """Ctrl-C, kill and a closed terminal clean up by themselves; what kill -9 leaves is gone with the next start."""
    home = place.folder / "var/sandbox"
    program = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from services.cli import __main__, local, profile\n"
        "for each in (signal.SIGTERM, signal.SIGHUP): signal.signal(each, __main__._interrupt)\n"
        "home = Path(sys.argv[1])\n"
        "try:\n"
        "    with local.place_of_sandbox(home) as folder:\n"
        "        print(folder, flush=True)\n"
        "        for _ in range(6000): time.sleep(0.01)  # one long sleep may begin after the signal was noted\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, home], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert folder.is_dir()
    assert home.is_dir()

    process.send_signal(number)
    process.wait(20)

    if number == signal.SIGKILL:
        assert folder.is_dir()
        with local.place_of_sandbox(home):
            assert not folder.exists()
    assert not folder.exists()
    assert not home.exists()
    assert process.stdout.read() == ("" if number == signal.SIGKILL else "stopped\n")
    process.stdout.close()


def test_a_foreign_folder_is_never_removed(tmp_path: Path) -> None:
    """What a damaged note of a killed sandbox names may be anything."""
    precious = tmp_path / "precious"
    precious.mkdir()
    home = tmp_path / "var/sandbox"
    home.mkdir(parents=True)
    (home / "servers").write_text(str(precious))
    with local.place_of_sandbox(home):
        pass

    assert precious.is_dir()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"what": "stopped: topic commands does not exist"}', "topic commands does not exist"),
        ('{"what": "fault", "traceback": "Traceback\\n  x\\nOSError: no space"}', "fault: OSError: no space"),
        ("settings: HOURBOOK_KAFKA is not set", "settings: HOURBOOK_KAFKA is not set"),
        ("12", "12"),
        ("", ""),
    ],
)
def test_the_sentence_of_a_line_of_a_log(line: str, sentence: str) -> None:
    assert status.last_words(line) == sentence


def test_the_ports_of_a_durable_exchange_stay(tmp_path: Path) -> None:
    """Profiles and bookmarks name them."""
    first = local._ports(tmp_path)

    assert local._ports(tmp_path) == first
    assert sorted(first) == ["delivery", "feed", "http", "kafka", "market", "postgres", "router"]
    assert len(set(first.values())) == 7
    assert (tmp_path / "ports.json").stat().st_mode & 0o777 == 0o600
