"""An exchange that stands in for the real one, agents as real processes, and people who log in over TCP."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import asyncssh
import pytest

from schemas.agents import Lease, LeaseReport
from services.agent import doorway, plan, processes, store
from tests.agent.exchange import Exchange, running_exchange

T = TypeVar("T")
PATIENCE_S = 45.0
"""Two cores, and other tests on them."""
ANA = asyncssh.generate_private_key("ssh-ed25519")
BERT = asyncssh.generate_private_key("ssh-ed25519")
PROBE = asyncssh.generate_private_key("ssh-ed25519")


def public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key("openssh").decode().strip()


class Carl:
    """A provider with one machine, whose agent is a process of its own."""

    def __init__(self, folder: Path, exchange: Exchange) -> None:
        self.folder = folder
        self.home = folder / "agent"
        self.exchange = exchange
        self.agent: subprocess.Popen[bytes] | None = None
        self.words: tuple[str, ...] = ("--driver", "open", "--gpus", "2")

    def command(self, *words: str) -> list[str]:
        key = self.exchange.profile(self.folder)
        fixed = ("--machine", "box", "--class", "CPU.X86.LOCAL.UNV", "--home", str(self.home), "--key", str(key))
        return [sys.executable, "-m", "services.agent", *fixed, *self.words, *words]

    def start(self, *words: str, environment: dict[str, str] | None = None) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(self.command(*words), stderr=log, env=os.environ | (environment or {}))

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.agent is not None
        self.agent.send_signal(number)
        code = self.agent.wait(PATIENCE_S)
        self.agent = None
        return code

    def ended(self) -> int:
        """The exit code, waited for."""
        assert self.agent is not None
        code = self.agent.wait(PATIENCE_S)
        self.agent = None
        return code

    def lease(self, name: str, *, starts_s: float = -1, lasts_s: float = 600, **fields: object) -> Lease:
        """Ana's, if nothing else is said; told to the exchange."""
        from_ms = self.exchange.now_ms() + int(starts_s * 1000)
        told: dict[str, object] = {
            "seats": ("seat-1",),
            "warn_ms": (),
            "probe_key": public(PROBE),
            "ssh_keys": (public(ANA),),
            **fields,
        }
        lease = Lease(lease=name, from_ms=from_ms, until_ms=from_ms + int(lasts_s * 1000), **told)  # type: ignore[arg-type]
        self.exchange.leases[name] = lease
        return lease

    async def reported(self, lease: str, state: str) -> LeaseReport:
        def found() -> LeaseReport | None:
            report = self.exchange.report(lease)
            return report if report is not None and report.state == state else None

        return await eventually(found, lambda: f"{lease} {state}: {self.exchange.report(lease)}\n{self.log()}")

    async def heard(self, lease: str) -> None:
        """The agent knows what the exchange has told last."""
        told = self.exchange.leases[lease]
        await eventually(lambda: self._state().held[lease].lease == told)

    def saved(self, lease: str) -> str:
        """Its stage on the agent's disk."""
        return self._state().held[lease].stage

    def _state(self) -> plan.Machine:
        return store.load(self.home).machine

    def tenant_home(self, lease: str) -> Path:
        return self.home / "leases" / lease / "home"


async def eventually(
    found: Callable[[], T | None], what: Callable[[], str] = lambda: "", patience_s: float = PATIENCE_S
) -> T:
    deadline = time.monotonic() + patience_s
    while True:
        if value := found():
            return value
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.05)


def runs(pid: int) -> bool:
    """Zombies do not: what takes leave of orphans may take its time."""
    return any(each.pid == pid and not each.zombie for each in processes.all_processes())


def log_in(
    report: LeaseReport, key: asyncssh.SSHKey, user: str | None = None
) -> Awaitable[asyncssh.SSHClientConnection]:
    """The host key is checked, as the exchange tells it."""
    known = asyncssh.import_known_hosts(f"[127.0.0.1]:{report.port} {report.host_key}\n")
    return asyncssh.connect(  # type: ignore[no-any-return]
        "127.0.0.1",
        report.port,
        username=user or report.user,
        client_keys=[key],
        known_hosts=known,
        agent_path=None,
        config=None,
    )


async def run(report: LeaseReport, key: asyncssh.SSHKey, command: str) -> str:
    async with await log_in(report, key) as connection:
        done = await connection.run(command, check=True)
        return str(done.stdout)


async def refused(report: LeaseReport, key: asyncssh.SSHKey) -> str:
    """How a login fails, by its error's name."""
    try:
        connection = await log_in(report, key)
    except (OSError, asyncssh.Error) as error:
        return type(error).__name__
    connection.close()
    raise AssertionError("the login was not refused")


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with running_exchange() as running:
        yield running


@pytest.fixture
def carl(tmp_path: Path, exchange: Exchange) -> Iterator[Carl]:
    with provider_at(tmp_path, exchange) as provider:
        yield provider


@contextlib.contextmanager
def provider_at(folder: Path, exchange: Exchange) -> Iterator[Carl]:
    """One whose agent and doors end with the block."""
    provider = Carl(folder, exchange)
    yield provider
    if provider.agent is not None:
        provider.kill()
    for lease in (provider.home / "leases").glob("*"):
        # Doors outlive their agent on purpose; these are of this test's folder.
        if doorway.lives(lease):
            pid = int((lease / doorway.LOCK).read_text())
            for each in (*processes.descendants(pid), pid):
                processes.send(each, signal.SIGKILL)
