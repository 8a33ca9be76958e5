"""Programs are kept running, and never outlive whoever owns them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from services.runtime.infra import GaveUp, Life, OwnedProcess, Program, Supervisor
from services.runtime.infra.processes import GUARD

SLEEP = ("sleep", "600")


def test_a_program_that_fails_is_started_again_and_counted(tmp_path: Path) -> None:
    """It fails twice, then stays: two restarts, and its log holds all three lives."""
    program = shell(
        "flaky", f"echo life >> {tmp_path}/lives; [ $(wc -l < {tmp_path}/lives) -ge 3 ] || exit 1; sleep 600"
    )
    with Supervisor(tmp_path, backoff_s=0.01) as supervisor:
        supervisor.start(program)
        supervisor.run(until=lambda: supervisor.restarts() == {"flaky": 2}, every_s=0.01)

        assert supervisor.is_running("flaky")


def test_a_program_that_keeps_failing_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    """Three restarts are allowed in a row; the fourth end is final and says what was printed."""
    with Supervisor(tmp_path, restarts_in_a_row_max=3, backoff_s=0.01) as supervisor:
        supervisor.start(shell("broken", "echo no such table; exit 1"))

        with pytest.raises(GaveUp, match=r"broken ended with 1 after 3 restarts:\n(.*\n)*no such table"):
            supervisor.run(until=lambda: False, every_s=0.01)
    assert (tmp_path / "broken.log").read_text() == "no such table\n" * 4


def test_the_pause_between_restarts_doubles_up_to_its_limit(tmp_path: Path) -> None:
    """0.05 + 0.1 + 0.1 s of pauses and not 0.05 + 0.1 + 0.2: the limit is 0.1."""
    began_s = time.monotonic()
    with Supervisor(tmp_path, restarts_in_a_row_max=3, backoff_s=0.05, backoff_s_max=0.1) as supervisor:
        supervisor.start(shell("broken", "date +%s.%N >> times; exit 1", cwd=tmp_path))
        with pytest.raises(GaveUp):
            supervisor.run(until=lambda: False, every_s=0.001)
    times = [float(line) for line in (tmp_path / "times").read_text().split()]
    pauses = [later - earlier for earlier, later in pairwise(times)]

    assert [pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.1), strict=True)] == [True] * 3
    assert time.monotonic() - began_s >= 0.25


@pytest.mark.parametrize("code", [os.EX_CONFIG, os.EX_DATAERR])
def test_an_end_that_no_restart_mends_is_not_repeated(tmp_path: Path, code: int) -> None:
    """Wrong settings, or halted until an operator looks."""
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(shell("halted", f"exit {code}"))

        with pytest.raises(GaveUp, match=f"halted ended with {code} after 0 restarts"):
            supervisor.run(until=lambda: False, every_s=0.01)


def test_a_program_that_is_done_stays_done(tmp_path: Path) -> None:
    with Supervisor(tmp_path, backoff_s=0.0) as supervisor:
        supervisor.start(shell("done", "exit 0"))
        supervisor.run(until=lambda: not supervisor.is_running("done"), every_s=0.01)
        supervisor.poll()

        assert supervisor.restarts() == {"done": 0}
        assert not supervisor.is_running("done")


@pytest.mark.parametrize("code", [0, 1, os.EX_CONFIG, os.EX_DATAERR])
def test_where_every_end_is_repeated_one_program_takes_no_other_with_it(tmp_path: Path, code: int) -> None:
    """Its shard is halted until an operator has mended the cause: meanwhile the rest runs, and then it comes back."""
    mended = tmp_path / "mended"
    with Supervisor(tmp_path, restarts_in_a_row_max=2, backoff_s=0.01, backoff_s_max=0.01, always=True) as supervisor:
        supervisor.start(
            shell("halted", f"[ -e {mended} ] || {{ echo offset 12; exit {code}; }}; echo back; sleep 600")
        )
        supervisor.start(Program("other", SLEEP))
        supervisor.run(until=lambda: supervisor.restarts()["halted"] > 5, every_s=0.01)
        halted, other = supervisor.lives()

        assert (halted.failing, halted.exit_code, halted.last_words) == (True, code, "offset 12")
        assert other == Life("other", supervisor.pid("other"), True, 0, False, None, "")

        mended.touch()
        supervisor.run(until=lambda: (tmp_path / "halted.log").read_text().endswith("back\n"), every_s=0.01)

        assert supervisor.lives()[0].running


def test_programs_get_their_environment(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(Program("env", ["sh", "-c", 'echo "$HOURBOOK_SHARD of ${PATH:+a}"'], {"HOURBOOK_SHARD": "1"}))
        supervisor.run(until=lambda: not supervisor.is_running("env"), every_s=0.01)

    assert (tmp_path / "env.log").read_text() == "1 of a\n"


def test_stopping_asks_first_and_kills_the_deaf(tmp_path: Path) -> None:
    """One program stops when asked; the other ignores it and is gone after the deadline all the same."""
    supervisor = Supervisor(tmp_path)
    supervisor.start(shell("polite", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"))
    supervisor.start(shell("deaf", "trap '' TERM; echo ready; while :; do sleep 0.01; done"))
    eventually(lambda: all("ready" in (tmp_path / f"{name}.log").read_text() for name in ("polite", "deaf")))
    pids = [supervisor.pid("polite"), supervisor.pid("deaf")]

    began_s = time.monotonic()
    supervisor.stop(timeout_s=0.5)

    assert 0.5 <= time.monotonic() - began_s < 5
    assert (tmp_path / "polite.log").read_text().endswith("bye\n")
    assert [is_alive(pid) for pid in pids] == [False, False]


def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    """A crash takes the whole group along: no grandchild goes on writing."""
    process = OwnedProcess(["sh", "-c", "sleep 600 & echo $!; wait"], log=tmp_path / "log")
    eventually(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = int((tmp_path / "log").read_text())
    assert is_alive(grandchild)

    process.kill()

    eventually(lambda: not is_alive(grandchild))
    assert process.exit_code() == -signal.SIGKILL


@pytest.mark.parametrize("death", [signal.SIGKILL, None])
def test_nothing_outlives_an_owner_that_dies(tmp_path: Path, death: signal.Signals | None) -> None:
    """Killed without a chance to clean up, or simply forgetful: its programs end, the deaf one among them too."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), "stay" if death else "leave"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 2
    if death is not None:
        assert all(is_alive(pid) for pid in pids)
        owner.send_signal(death)
    owner.stdout.close()
    owner.wait(20)

    eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_an_owner_that_died_before_its_guard_began_is_guarded_all_the_same(tmp_path: Path) -> None:
    """What it had said is still in the pipe, whose other end somebody may hold open for ever."""
    process = OwnedProcess(["sleep", "600"], log=tmp_path / "log")
    guard = subprocess.Popen([sys.executable, GUARD, str(NOBODY)], stdin=subprocess.PIPE)
    assert guard.stdin is not None
    guard.stdin.write(f"own {process.pid} {int(signal.SIGTERM)}\n".encode())
    guard.stdin.flush()
    try:
        eventually(lambda: not is_alive(process.pid))
    finally:
        guard.communicate(timeout=20)
        process.kill()


NOBODY = 2**22 + 1
"""No process has this number: Linux ends at 2**22."""

OWNER = """
import sys, time
from itertools import pairwise
from pathlib import Path
from services.runtime.infra import OwnedProcess
folder = Path(sys.argv[1])
polite = OwnedProcess(["sleep", "600"], log=folder / "polite")
deaf = OwnedProcess(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"], log=folder / "deaf")
while not (folder / "deaf").read_text():
    time.sleep(0.01)
print(polite.pid, deaf.pid, flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
"""


def shell(name: str, script: str, cwd: Path | None = None) -> Program:
    return Program(name, ["sh", "-c", f"cd {cwd or '.'}; {script}"])


def is_alive(pid: int) -> bool:
    """False for a zombie as well: it does nothing any more, and only its new parent has not noticed yet."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
