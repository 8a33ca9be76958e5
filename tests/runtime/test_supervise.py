"""How a service starts, shows itself and ends: real processes, their exit codes and what they print."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

HEAD = """
import asyncio, sys
from services.runtime.supervise import run
from services.runtime.errors import Halt, Superseded
"""


def start(tmp_path: Path, body: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HOURBOOK_RUN": str(tmp_path / "run"), **variables}
    return subprocess.Popen(
        [sys.executable, *options, "-c", HEAD + body], env=environment, stderr=subprocess.PIPE, text=True
    )


def run_file(tmp_path: Path, name: str) -> dict[str, object]:
    path = tmp_path / "run" / f"{name}.json"
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, "no run file"
        time.sleep(0.02)
    return json.loads(path.read_text())


FOREVER = """
async def serve(service):
    service.status.set(lag=3, seq=812, role="active", caught_up=True)
    await asyncio.sleep(3600)
sys.exit(run("thing", serve))
"""


def test_a_service_shows_itself_and_stops_when_asked(tmp_path: Path) -> None:
    process = start(tmp_path, FOREVER)
    found = run_file(tmp_path, "thing")
    assert found["pid"] == process.pid
    with urllib.request.urlopen(f"http://{found['status']}/status", timeout=5) as answer:
        status = json.load(answer)
    assert {key: status[key] for key in ("name", "pid", "lag", "seq", "role", "caught_up", "waiting_for")} == {
        "name": "thing",
        "pid": process.pid,
        "lag": 3,
        "seq": 812,
        "role": "active",
        "caught_up": True,
        "waiting_for": "",
    }
    with urllib.request.urlopen(f"http://{found['status']}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    assert "hourbook_lag 3.0" in metrics
    assert "hourbook_caught_up 1.0" in metrics
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{found['status']}/other", timeout=5)
    process.send_signal(signal.SIGTERM)
    _, lines = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [json.loads(line)["what"] for line in lines.splitlines()] == ["started", "stopped"]
    assert not (tmp_path / "run" / "thing.json").exists()


def test_two_of_a_name_keep_apart_and_the_dead_give_way(tmp_path: Path) -> None:
    """The standby has a file of its own; what a killed process left is taken over."""
    first = start(tmp_path, FOREVER)
    run_file(tmp_path, "thing")
    second = start(tmp_path, FOREVER)
    assert run_file(tmp_path, f"thing-{second.pid}")["pid"] == second.pid
    for process in (first, second):
        process.kill()
        process.communicate(timeout=10)
    third = start(tmp_path, FOREVER)
    deadline = time.monotonic() + 20
    while run_file(tmp_path, "thing")["pid"] != third.pid:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    third.kill()
    third.communicate(timeout=10)


@pytest.mark.parametrize(
    ("ending", "code", "last_line"),
    [
        ("return", 0, "stopped"),
        ("raise Halt('offset 7 is not a frame')", 65, "stopped: offset 7 is not a frame"),
        ("raise Superseded('epoch 4 writes')", 75, "stopped: epoch 4 writes"),
        ("raise KeyError('bug')", 1, "fault"),
        ("assert False", 1, "fault"),
        ("raise asyncio.CancelledError", 1, "fault"),
    ],
)
def test_an_ending_has_its_exit_code_and_its_line(tmp_path: Path, ending: str, code: int, last_line: str) -> None:
    process = start(tmp_path, f"async def serve(service):\n    {ending}\nsys.exit(run('thing', serve))")
    _, lines = process.communicate(timeout=20)
    assert process.returncode == code
    last = json.loads(lines.splitlines()[-1])
    assert last["what"] == last_line
    assert ("traceback" in last) == (code == 1)


def test_bad_settings_are_a_sentence(tmp_path: Path) -> None:
    process = start(tmp_path, "async def serve(service): ...\nsys.exit(run('thing', serve, needs=('kafka',)))")
    _, lines = process.communicate(timeout=20)
    assert (process.returncode, lines) == (78, "settings: HOURBOOK_KAFKA is not set\n")


def test_without_assertions_it_does_not_run(tmp_path: Path) -> None:
    process = start(tmp_path, "async def serve(service): ...\nsys.exit(run('thing', serve))", "-O")
    _, lines = process.communicate(timeout=20)
    assert (process.returncode, lines) == (78, "refusing to run with -O: it removes the assertions\n")


def test_no_line_shows_a_secret(tmp_path: Path) -> None:
    """Not even the traceback of an error that quotes one."""
    process = start(
        tmp_path,
        "async def serve(service):\n    s = service.settings\n    raise KeyError(s.postgres + s.kafka_password)\n"
        "sys.exit(run('thing', serve))",
        HOURBOOK_POSTGRES="postgresql://u:open-sesame@127.0.0.1/d",
        HOURBOOK_KAFKA_USER="thing",
        HOURBOOK_KAFKA_PASSWORD="open-kafka",
    )
    _, lines = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "open-sesame" not in lines
    assert "open-kafka" not in lines
    assert "***" in lines


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HOURBOOK_POSTGRES": "postgresql://u:open%40sesame@127.0.0.1/d"}, "open@sesame"),
        ({"HOURBOOK_POSTGRES": "postgresql://127.0.0.1/d?password=open-sesame&x=1"}, "open-sesame"),
        ({"HOURBOOK_POSTGRES": "host=127.0.0.1 password=open-sesame"}, "host=127.0.0.1 password=open-sesame"),
        ({"HOURBOOK_KAFKA_USER": "u", "HOURBOOK_KAFKA_PASSWORD": 'open "sesame"'}, 'open "sesame"'),
    ],
    ids=["encoded", "in a query", "no address", "with quotation marks"],
)
def test_no_line_shows_a_secret_however_it_was_given(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    program = f"async def serve(service):\n    raise OSError(3, {said!r})\nsys.exit(run('thing', serve))"
    process = start(tmp_path, program, **variables)
    _, lines = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "sesame" not in json.loads(lines.splitlines()[-1])["traceback"].rpartition("OSError: ")[2]
    assert "***" in lines
