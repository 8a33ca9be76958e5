"""Drivers docker and podman: the very words that are said to them, by a program on the PATH that stands in for either.

No real docker or podman has ever been asked: docs/agent.md says so.
"""

import os
import signal
from pathlib import Path

import pytest

from schemas.agents import Lease
from services.agent.drivers.base import Failed, Place, Stuck
from services.agent.drivers.container import ContainerDriver, container_name
from tests.agent.conftest import ANA, Carl, eventually, run

STAND_IN = """#!/bin/sh
# Keeps what it was told, one line a call, words between bars; a file named like the first word says how that ends.
for word; do printf '%s|' "$word"; done >>"$STAND_IN/calls"; echo >>"$STAND_IN/calls"
if [ -e "$STAND_IN/$1" ]; then cat "$STAND_IN/$1"; exit "$(cat "$STAND_IN/$1.code" 2>/dev/null || echo 1)"; fi
case "$1" in
  inspect) [ -e "$STAND_IN/made" ] && cat "$STAND_IN/made" || exit 1 ;;
  create) for word; do case "$word" in hourbook.image=*) echo "${word#hourbook.image=}" >"$STAND_IN/made" ;; esac; done ;;
  rm) rm -f "$STAND_IN/made" ;;
  port) echo "8888/tcp -> 0.0.0.0:32768" ;;
  exec) while [ "$1" != "$(cat "$STAND_IN/name")" ]; do shift; done; shift; exec "$@" ;;
esac
"""
NAME = container_name("7")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stand-in"
    folder.mkdir()
    for program in ("docker", "podman"):
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / program).write_text(STAND_IN)
        (folder / "bin" / program).chmod(0o755)
    (folder / "name").write_text(NAME)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN", str(folder))
    return folder


def calls(stand_in: Path) -> list[list[str]]:
    """Each without its last bar."""
    return [line.split("|")[:-1] for line in (stand_in / "calls").read_text().splitlines()]


def ends(stand_in: Path, word: str, says: str, code: int = 1) -> None:
    (stand_in / word).write_text(says)
    (stand_in / f"{word}.code").write_text(str(code))


def driver(tmp_path: Path, program: str, *, gpus: bool = True) -> ContainerDriver:
    place = Place(home=tmp_path, listen="127.0.0.1", ports=(), gpus_are_real=gpus)
    return ContainerDriver(place, program, "")  # type: ignore[arg-type]


def lease(**fields: object) -> Lease:
    told = {"seats": ("GPU-1", "GPU-2"), "image": "pytorch/pytorch:2", "ports": (8888,)} | fields
    return Lease(lease="7", from_ms=0, until_ms=1, warn_ms=(), probe_key="", **told)  # type: ignore[arg-type]


CREATE_HEAD = ["create", "--name", NAME, "--hostname", NAME, "--init", "--security-opt", "no-new-privileges"]
CREATE_HEAD += ["--label", "hourbook.image=pytorch/pytorch:2"]
CREATE_TAIL = ["--publish", "8888", "--entrypoint", "sleep", "pytorch/pytorch:2", "infinity"]


@pytest.mark.parametrize(
    ("program", "gpus"),
    [
        ("docker", ["--gpus", '"device=GPU-1,GPU-2"']),
        ("podman", ["--device", "nvidia.com/gpu=GPU-1", "--device", "nvidia.com/gpu=GPU-2"]),
    ],
)
async def test_a_container_is_made_of_the_tenants_image_with_his_gpus_and_ports_and_started_when_he_begins(
    stand_in: Path, tmp_path: Path, program: str, gpus: list[str]
) -> None:
    containers = driver(tmp_path, program)
    how = await containers.make(lease(), tmp_path)
    label = '{{index .Config.Labels "hourbook.image"}}'
    assert calls(stand_in) == [
        ["inspect", "--type", "container", "--format", label, NAME],
        ["pull", "--quiet", "pytorch/pytorch:2"],
        ["rm", "--force", "--volumes", NAME],
        [*CREATE_HEAD, *gpus, *CREATE_TAIL],
    ]
    assert how.enter == (program, "exec", "--interactive", NAME)
    assert how.enter_terminal == (program, "exec", "--interactive", "--tty", "--env", "TERM", NAME)
    (stand_in / "calls").unlink()
    assert await containers.begin(lease()) == "ports: 8888/tcp -> 0.0.0.0:32768"
    assert calls(stand_in) == [["start", NAME], ["exec", NAME, "/bin/sh", "-c", "true"], ["port", NAME]]


async def test_a_container_that_is_there_is_left_as_it_is_unless_the_image_is_another(
    stand_in: Path, tmp_path: Path
) -> None:
    containers = driver(tmp_path, "docker")
    await containers.make(lease(), tmp_path)
    (stand_in / "calls").unlink()
    await containers.make(lease(), tmp_path)
    assert [call[0] for call in calls(stand_in)] == ["inspect"]
    await containers.make(lease(image="other"), tmp_path)
    assert [call[0] for call in calls(stand_in)] == ["inspect", "inspect", "pull", "rm", "create"]


async def test_without_real_gpus_none_are_asked_for(stand_in: Path, tmp_path: Path) -> None:
    await driver(tmp_path, "docker", gpus=False).make(lease(), tmp_path)
    assert calls(stand_in)[-1] == [*CREATE_HEAD, *CREATE_TAIL]


@pytest.mark.parametrize("image", ["", "--privileged"])
async def test_what_is_no_name_of_an_image_is_never_passed_on(stand_in: Path, tmp_path: Path, image: str) -> None:
    with pytest.raises(Failed, match="is not the name of an image"):
        await driver(tmp_path, "docker").make(lease(image=image), tmp_path)
    assert not (stand_in / "calls").exists()


async def test_a_container_that_cannot_be_removed_is_not_called_wiped(stand_in: Path, tmp_path: Path) -> None:
    containers = driver(tmp_path, "docker")
    await containers.make(lease(), tmp_path)
    ends(stand_in, "rm", "device or resource busy")
    with pytest.raises(Stuck, match="device or resource busy"):
        await containers.unmake(lease(), tmp_path)
    (stand_in / "rm").unlink()
    await containers.unmake(lease(), tmp_path)
    await containers.unmake(lease(), tmp_path)


@pytest.mark.parametrize(
    ("word", "says", "detail"),
    [
        ("pull", "manifest unknown", "image no-such cannot be fetched: manifest unknown"),
        ("start", "executable file not found: sleep", "image no-such does not start: executable file not found: sleep"),
        (
            "create",
            "could not select device driver",
            "image no-such cannot be made a container: could not select device",
        ),
    ],
)
async def test_an_image_that_does_not_start_is_a_failed_lease_that_says_why(
    carl: Carl, stand_in: Path, word: str, says: str, detail: str
) -> None:
    ends(stand_in, word, says)
    carl.words = ("--driver", "docker")
    carl.lease("7", image="no-such")
    carl.start()
    report = await carl.reported("7", "failed")
    assert report.detail.startswith(detail)
    del carl.exchange.leases["7"]
    await carl.reported("7", "closed")
    assert ["rm", "--force", "--volumes", NAME] in calls(stand_in)


async def test_a_tenants_commands_go_into_his_container_as_they_are(carl: Carl, stand_in: Path) -> None:
    """The stand-in's container is this machine: what matters is that the words arrive unharmed."""
    carl.words = ("--driver", "docker")
    carl.lease("7", image="pytorch/pytorch:2", start_script="echo begun >$STAND_IN/begun")
    carl.start(environment={"HOME": str(carl.folder)})
    report = await carl.reported("7", "open")
    assert report.user == "root"
    assert (
        await run(report, ANA, """printf '%s\\n' "it's" "a  b" '$HOME' && pwd""")
        == f"it's\na  b\n$HOME\n{carl.folder}\n"
    )
    asked = [call for call in calls(stand_in) if call[:2] == ["exec", "--interactive"]]
    assert all(call[2] == NAME for call in asked) and asked
    assert carl.kill(signal.SIGTERM) == 0
    carl.exchange.alive_ms = 0
    (stand_in / "calls").unlink()
    carl.exchange.heartbeats.clear()
    carl.start(environment={"HOME": str(carl.folder)})
    await carl.reported("7", "open")
    assert "rm" not in [call[0] for call in calls(stand_in)], "a container with a tenant in it survives a new agent"
    del carl.exchange.leases["7"]
    await carl.reported("7", "closed")
    await eventually(lambda: ["rm", "--force", "--volumes", NAME] in calls(stand_in))
