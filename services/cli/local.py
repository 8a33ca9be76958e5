"""Starting an exchange on this machine: `sandbox` (ephemeral) and `up`/`down` (durable).

Both start servers, create and furnish what is missing (`furnishing`), and keep every service running (`keeper`). What is
simulated says so. One service that is halted takes no other with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from services.cli import profile, status
from services.cli.errors import CliError, Refused, Unusable
from services.cli.files import write_private
from services.cli.furnishing import CLOUD, READY_S, Say, begin, is_open
from services.cli.keeper import Keeper, log_line
from services.cli.stack import Stack, logins_of
from services.runtime.infra import (
    ApacheKafka,
    LocalPostgres,
    MemoryBroker,
    Server,
    ServerFailed,
    WheelPostgres,
    any_postgres,
    can_listen,
    free_port,
    open_folder,
)

SHARDS: Final = 2
UP_S: Final = 240.0
"""Apache Kafka and Postgres start first; after a crash, or on a busy machine, more than once."""
START_TRIES: Final = 3
DATABASE: Final = "hourbook"
WITHOUT_CLOUD: Final = "--no-simulated-cloud"
_FOLDER_PREFIX: Final = "hourbook-"
_PORTS: Final = ("kafka", "postgres", "http", "feed", "market", "delivery", "router")

# --- Ephemeral ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sandbox(
    say: Say, *, port: int = 0, only_wheels: bool = False, demo: bool = True, rate: int = 1
) -> Iterator[tuple[Stack, Keeper]]:
    """An exchange that is gone when the block ends. Raises CliError."""
    home = profile.SANDBOX.resolve()
    if port and not can_listen(port):
        raise Unusable(f"port {port} cannot be had on this machine: choose another with --port, or leave it out")
    try:
        with place_of_sandbox(home) as folder, contextlib.ExitStack() as servers:
            if told := profile.beside(profile.SANDBOX):
                say(told)
            say("starting broker (in memory, no logins and no access lists) and database")
            broker = servers.enter_context(MemoryBroker(folder / "broker"))
            kind = WheelPostgres if only_wheels else any_postgres()
            postgres = servers.enter_context(kind(folder / "postgres", fsync=False))
            dsn = postgres.create_database(DATABASE)
            stack = Stack(
                broker.bootstrap,
                dsn,
                home,
                shards=SHARDS,
                http_port=port or free_port(),
                feed_port=free_port(),
                market_port=free_port(),
                delivery_port=free_port(),
                router_port=free_port(),
            )
            keeper = Keeper(home, postgres, forgetful=[broker])
            with keeper.supervisor:
                begin(stack, keeper, say, sandbox=True, demo=demo, rate=rate)
                yield stack, keeper
    except ServerFailed as error:
        raise Refused(str(error)) from None


@contextlib.contextmanager
def place_of_sandbox(home: Path) -> Iterator[Path]:
    """`home`, empty and ours, and a folder for its servers; both are gone when the block ends. Raises Unusable."""
    with profile.claimed(home):
        _clear(home)
        home.mkdir(parents=True)
        try:
            with open_folder() as folder:
                (home / "servers").write_text(str(folder))
                yield folder
        finally:
            shutil.rmtree(home, ignore_errors=True)  # keys and logs of an exchange that is gone


def _clear(home: Path) -> None:
    """Removes what a killed sandbox has left."""
    with contextlib.suppress(FileNotFoundError):
        left = Path((home / "servers").read_text())
        if left.parent == Path(tempfile.gettempdir()) and left.name.startswith(_FOLDER_PREFIX):
            shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


# --- Durable ------------------------------------------------------------------------------------------------


class Up(msgspec.Struct, frozen=True):
    """`hourbook --json up`."""

    url: str
    home: str
    pid: int
    simulated_cloud: bool
    """Whether one procures and delivers; else an operator does."""


def up(say: Say, *, cloud: bool = True) -> Up:
    """Start the durable exchange in the background, or find it running. Raises CliError."""
    home = profile.DURABLE.resolve()
    if missing := ApacheKafka.missing():
        raise Unusable(f"{missing}; `make run` starts a sandbox, which does without")
    if not profile.owner(home):
        home.mkdir(parents=True, exist_ok=True)
        (home / "ready").unlink(missing_ok=True)
        with (home / "up.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "services.cli.local", str(home), *([] if cloud else [WITHOUT_CLOUD])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if told := profile.beside(profile.DURABLE):
            say(told)
        say(f"starting Apache Kafka, Postgres and {SHARDS} shards in {profile.DURABLE} (process {daemon.pid})")
    else:
        daemon = None
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline:
        if (home / "ready").exists() and (pid := profile.owner(home)):
            clouds = any(each.name == CLOUD for each in status.kept(home))
            return Up((home / "ready").read_text(), str(profile.DURABLE), pid, clouds)
        if daemon is not None and daemon.poll() is not None:
            last = (home / "up.log").read_text(errors="replace").strip().rpartition("\n")[2]
            raise Refused(f"it ended with {daemon.returncode}: {last}; see {profile.DURABLE / 'up.log'}")
        time.sleep(0.2)
    raise Refused(f"it runs, and is not open after {UP_S:.0f} s: `hourbook status` says what it waits for")


def down() -> int:
    """Stop the durable exchange; its data stays. The process that ran it; 0: none did. Raises CliError."""
    home = profile.DURABLE.resolve()
    owner = profile.owner(home)
    if owner:
        os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + READY_S
    while owner and profile.owner(home) == owner:
        if time.monotonic() > deadline:
            raise Refused(f"process {owner} does not stop; see {profile.DURABLE / 'up.log'}")
        time.sleep(0.2)
    return owner


def _ports(home: Path) -> dict[str, int]:
    """The same after every start, since data and profiles name them; an exchange of an older build has not all of them."""
    file = home / "ports.json"
    ports: dict[str, int] = json.loads(file.read_bytes()) if file.exists() else {}
    if missing := [name for name in _PORTS if name not in ports]:
        ports |= {name: free_port() for name in missing}
        write_private(file, json.dumps(ports).encode())
    return ports


def _database(postgres: LocalPostgres) -> str:
    """The exchange's database, created when it is not there; its connection string."""

    async def exists() -> bool:
        connection = await asyncpg.connect(postgres.dsn)
        try:
            return bool(await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE))
        finally:
            await connection.close()

    return postgres.dsn_of(DATABASE) if asyncio.run(exists()) else postgres.create_database(DATABASE)


@contextlib.contextmanager
def _started(server: Server) -> Iterator[None]:
    """Raises ServerFailed."""
    for left in reversed(range(START_TRIES)):
        try:
            server.start()
            break
        except ServerFailed as error:
            if not left:
                raise
            log_line(f"{error}\n{server.name}: once more")
    try:
        yield
    finally:
        server.stop()


def _run_durable(home: Path, *, cloud: bool) -> None:
    """The background process: owns servers and services until SIGTERM. Raises CliError, ServerFailed."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: stopping.append(signum))
    ports = _ports(home)
    logins = logins_of(home)
    kafka = ApacheKafka(home / "kafka", port=ports["kafka"], flush_each=True, logins=logins)
    postgres = any_postgres()(home / "postgres", port=ports["postgres"])
    ready = home / "ready"
    with profile.claimed(home), _started(kafka), _started(postgres):
        stack = Stack(
            kafka.bootstrap,
            _database(postgres),
            home,
            shards=SHARDS,
            http_port=ports["http"],
            feed_port=ports["feed"],
            market_port=ports["market"],
            delivery_port=ports["delivery"],
            router_port=ports["router"],
            logins=logins,
        )
        keeper = Keeper(home, kafka, postgres)
        try:
            with keeper.supervisor:
                begin(stack, keeper, log_line, sandbox=False, cloud=cloud)
                while not stopping:
                    keeper.poll()
                    if not ready.exists() and is_open(stack.url):
                        ready.write_text(stack.url)
                        log_line(f"open at {stack.url}")
                    time.sleep(0.2)
        finally:
            ready.unlink(missing_ok=True)
            (home / "processes.json").unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        _run_durable(Path(sys.argv[1]), cloud=WITHOUT_CLOUD not in sys.argv[2:])
    except CliError as error:
        sys.exit(error.message)
    except ServerFailed as error:
        sys.exit(str(error))
