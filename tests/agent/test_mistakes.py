"""Whatever can be wrong at the start is one sentence and an exit code."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.agent import doorway
from tests.agent.conftest import Carl, eventually

NOBODY = 65_534


def tried(carl: Carl, *words: str, **options: object) -> str:
    """What the agent said on its way out."""
    done = subprocess.run(carl.command(*words), capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 2, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return str(lines[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--driver", "kvm"), "--driver is 'kvm', wanted is one of open, user, docker, podman, simulated"),
        (("--machine", "Box 1"), "--machine is 'Box 1', wanted are small letters"),
        (("--host", "no-such-host.invalid"), "--host is 'no-such-host.invalid', which cannot be resolved"),
        (("--ports", "22"), "--ports is '22', wanted is a range such as"),
        (("--ports", "9-1"), "wanted are at most 1000 ports"),
        (("--gpus", "0"), "--gpus is 0, wanted is a number from 1 to 64"),
        (("--url", "exchange"), "'exchange' is no address of an exchange"),
        (("--key", "/no/such/key"), "/no/such/key cannot be read"),
        (("--key", "/etc/passwd"), "/etc/passwd is no profile"),
        (("--home", "/proc/1/agent"), "/proc/1/agent cannot be written"),
    ],
)
def test_words_that_cannot_be_used_are_named(carl: Carl, words: tuple[str, ...], said: str) -> None:
    assert said in tried(carl, *words)


@pytest.mark.parametrize("driver", ["docker", "podman"])
def test_a_driver_whose_program_is_missing_says_so(carl: Carl, driver: str) -> None:
    said = tried(carl, "--driver", driver, env={"PATH": "/nowhere"})
    assert f"driver `{driver}` needs the program {driver}, which is not on the PATH" in said


def test_without_a_key_it_says_what_one_is(carl: Carl) -> None:
    command = [sys.executable, "-m", "services.agent", "--machine", "box", "--class", "X"]
    environment = {name: value for name, value in os.environ.items() if name != "HOURBOOK_PROFILE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 2
    assert (
        done.stderr
        == "hourbook agent: no key: --key names a profile with the exchange's address and a key of scope `agent`\n"
    )


def test_a_secret_that_is_none_is_said_without_saying_it(carl: Carl, tmp_path: Path) -> None:
    profile = json.loads(carl.exchange.profile(tmp_path).read_text())
    profile["key"]["secret"] = "not base64!"
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(profile))
    said = tried(carl, "--key", str(file))
    assert "is no profile" in said and "not base64!" not in said


async def test_a_second_agent_in_one_home_is_sent_away(carl: Carl) -> None:
    carl.start()
    await eventually(lambda: carl.exchange.heartbeats)
    assert "an agent runs in" in tried(carl)


def test_leases_that_cannot_be_read_are_not_forgotten_in_silence(carl: Carl) -> None:
    carl.home.mkdir()
    (carl.home / "state.json").write_text("{")
    assert "it says which leases run" in tried(carl)


def test_driver_user_is_for_root(carl: Carl, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        from services.agent.drivers.user import UserDriver
        from services.agent.errors import Unusable

        monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
        with pytest.raises(Unusable, match="run the agent as root, or choose another --driver"):
            UserDriver.check()
    else:
        assert "run the agent as root" in tried(carl, "--driver", "user")


async def test_ports_that_are_all_taken_are_a_failed_lease_that_says_so(carl: Carl) -> None:
    taken = carl.exchange.port
    carl.words = (*carl.words, "--ports", f"{taken}-{taken}")
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "failed")
    assert "no port could be opened" in report.detail
    assert not doorway.lives(carl.home / "leases" / "1")


def test_the_command_line_runs_it(carl: Carl) -> None:
    hourbook = shutil.which("hourbook", path=Path(sys.executable).parent)
    assert hourbook is not None
    done = subprocess.run([hourbook, "agent", "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "--machine" in done.stdout and "hourbook agent" in done.stdout
    done = subprocess.run(
        [hourbook, "agent", *carl.command("--driver", "kvm")[3:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("hourbook agent: --driver is 'kvm'")
