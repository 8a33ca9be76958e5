"""Starting an exchange on this machine: `sandbox` (ephemeral) and `up`/`down` (durable).

Both start servers, create what is missing, run every service under a supervisor, and furnish a new exchange with classes, a
member with simulated money, a desk, and keys. What is simulated says so.
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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import httpx
import msgspec

from schemas import http
from schemas.specifications import published
from services.cli import profile
from services.cli.client import Client
from services.cli.errors import CliError, Refused, Unusable
from services.cli.stack import Stack, key_answer, write_private
from services.runtime.errors import Halt
from services.runtime.infra import (
    ApacheKafka,
    LocalPostgres,
    Supervisor,
    WheelBroker,
    any_postgres,
    free_port,
    open_folder,
)

SHARDS: Final = 2
READY_S: Final = 60.0
MEMBER_USD: Final = "10000"
DESK_USD: Final = "2000000"
RESTARTS_MAX: Final = 1_000
"""A service whose server is away for long keeps being started again."""

Say = Callable[[str], None]


def furnish(stack: Stack, operator: Client, say: Say) -> None:
    """A new exchange's classes, accounts and keys. Repeating it lists the same classes and opens nothing twice."""
    for number, (class_id, text) in enumerate(published().items()):
        body = http.ClassRequest(shard=number % stack.shards, specification=text.decode())
        operator.settle("POST", "/v1/admin/classes", body)
        say(f"listed {class_id} in shard {number % stack.shards}")
    for name, role, usd, scopes, desk in (
        ("member", "member", MEMBER_USD, ("read", "trade"), False),
        ("desk", "market_maker", DESK_USD, ("read", "trade", "supply"), True),
    ):
        opened = http.AccountRequest(name=name, role=role, desk=desk)  # type: ignore[arg-type]  # one of the literals
        account = operator.settle("POST", "/v1/admin/accounts", opened)["account"]
        deposit = http.DepositRequest(
            account=account, amount=usd, provider="simulated-faucet", provider_ref=f"start-{name}"
        )
        operator.settle("POST", "/v1/admin/deposits", deposit)
        body_of_key = http.OperatorKeyRequest(account=account, scopes=scopes, label=name)  # type: ignore[arg-type]  # likewise
        issued = operator.write("POST", "/v1/admin/keys", body_of_key, http.NewKeyAnswer)
        if desk:
            write_private(stack.home / "desk.key", msgspec.json.encode(issued))
        else:
            profile.save(stack.home / "member.json", profile.Profile(stack.url, issued))
        say(f"account {account} ({name}) has {usd} USD from the simulated faucet")


def open_exchange(stack: Stack, supervisor: Supervisor, say: Say, *, sandbox: bool) -> None:
    """Topics, services, and on a new exchange its furniture. Raises CliError, GaveUp."""
    try:
        asyncio.run(stack.create(sandbox=sandbox))
        say(f"{stack.shards} shards are started")
    except Halt as error:
        say(f"the log is as it was left ({error})")
    stack.start(supervisor)
    file = stack.home / "operator.json"
    if not file.exists():
        issued = asyncio.run(stack.first_operator_key())
        profile.save(file, profile.Profile(stack.url, key_answer(issued)))
    wait_ready(stack, supervisor)
    say(f"the gateway answers at {stack.url}")
    if not (stack.home / "member.json").exists() or not (stack.home / "desk.key").exists():
        furnish(stack, Client(msgspec.json.decode(file.read_bytes(), type=profile.Profile)), say)
    supervisor.start(stack.supply())
    supervisor.start(stack.desk(stack.home / "desk.key"))


def wait_ready(stack: Stack, supervisor: Supervisor) -> None:
    """Until the gateway takes orders. Raises Refused, GaveUp."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        supervisor.poll()
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{stack.url}/v1/status", timeout=2, trust_env=False)
            if answer.status_code == 200 and answer.json()["accepting_orders"]:
                return
        time.sleep(0.1)
    raise Refused(f"the gateway did not answer within {READY_S:.0f} s; see {stack.home / 'logs'}")


# --- Ephemeral ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sandbox(say: Say, *, port: int = 0) -> Iterator[tuple[Stack, Supervisor]]:
    """An exchange that is gone when the block ends."""
    home = profile.SANDBOX.resolve()
    _claim(home)
    try:
        with open_folder() as servers:
            say("starting broker (from a wheel, memory only) and database")
            with (
                WheelBroker(servers / "broker") as broker,
                any_postgres()(servers / "postgres", fsync=False) as postgres,
            ):
                dsn = postgres.create_database("hourbook")
                stack = Stack(broker.bootstrap, dsn, home, shards=SHARDS, http_port=port or free_port())
                with Supervisor(home / "logs", restarts_in_a_row_max=RESTARTS_MAX) as supervisor:
                    open_exchange(stack, supervisor, say, sandbox=True)
                    yield stack, supervisor
    finally:
        shutil.rmtree(home, ignore_errors=True)  # keys and logs of an exchange that is gone


def _claim(home: Path) -> None:
    """Raises Unusable when another sandbox runs from this folder."""
    owner = _owner(home)
    if owner:
        raise Unusable(f"a sandbox runs here already (process {owner}); stop it first")
    shutil.rmtree(home, ignore_errors=True)  # left by one that was killed
    home.mkdir(parents=True)
    (home / "pid").write_text(str(os.getpid()))


def _owner(home: Path) -> int:
    """The process that runs the exchange of `home`; 0: none."""
    try:
        pid = int((home / "pid").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return 0
    command = Path(f"/proc/{pid}/cmdline")
    if command.exists() and b"services.cli" not in command.read_bytes() and b"hourbook" not in command.read_bytes():
        return 0  # the number is another program's by now
    return pid


# --- Durable ------------------------------------------------------------------------------------------------


def up(say: Say) -> str:
    """Start the durable exchange in the background, or find it running; its address. Raises CliError."""
    home = profile.DURABLE.resolve()
    missing = ApacheKafka.missing()
    if missing:
        raise Unusable(f"{missing}; `make run` needs neither")
    if owner := _owner(home):
        return f"it runs already (process {owner})"
    home.mkdir(parents=True, exist_ok=True)
    (home / "ready").unlink(missing_ok=True)
    with (home / "up.log").open("ab") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "services.cli.local", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    say(f"starting Apache Kafka, Postgres and {SHARDS} shards in {profile.DURABLE} (process {daemon.pid})")
    deadline = time.monotonic() + 2 * READY_S
    while time.monotonic() < deadline:
        if (home / "ready").exists():
            return f"open at {(home / 'ready').read_text()}"
        if daemon.poll() is not None:
            raise Refused(f"it ended with {daemon.returncode}; see {profile.DURABLE / 'up.log'}")
        time.sleep(0.2)
    raise Refused(f"it is not ready after {2 * READY_S:.0f} s; see {profile.DURABLE / 'up.log'}")


def down() -> str:
    """Stop the durable exchange; its data stays. Raises CliError."""
    home = profile.DURABLE.resolve()
    owner = _owner(home)
    if not owner:
        return "nothing runs"
    os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + READY_S
    while _owner(home):
        if time.monotonic() > deadline:
            raise Refused(f"process {owner} does not stop; see {profile.DURABLE / 'up.log'}")
        time.sleep(0.2)
    return f"stopped; the data stays in {profile.DURABLE}"


def _ports(home: Path) -> dict[str, int]:
    """The same after every start, since data and profiles name them."""
    file = home / "ports.json"
    if not file.exists():
        file.write_text(json.dumps({name: free_port() for name in ("kafka", "postgres", "http")}))
    ports: dict[str, int] = json.loads(file.read_text())
    return ports


def _run_durable(home: Path) -> int:
    """The background process: owns servers and services until SIGTERM."""
    (home / "pid").write_text(str(os.getpid()))
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: stopping.append(signum))
    ports = _ports(home)
    kafka = ApacheKafka(home / "kafka", port=ports["kafka"], flush_each=True)
    postgres: LocalPostgres = any_postgres()(home / "postgres", port=ports["postgres"])
    with kafka, postgres:
        dsn = postgres.dsn_of("hourbook") if (home / "database").exists() else postgres.create_database("hourbook")
        (home / "database").touch()
        stack = Stack(kafka.bootstrap, dsn, home, shards=SHARDS, http_port=ports["http"])
        with Supervisor(home / "logs", restarts_in_a_row_max=RESTARTS_MAX) as supervisor:
            open_exchange(stack, supervisor, lambda line: print(line, flush=True), sandbox=False)
            (home / "ready").write_text(stack.url)
            while not stopping:
                supervisor.poll()
                for server in (kafka, postgres):
                    if not server.is_running:
                        print(f"{server.name} has ended: starting it again", flush=True)
                        server.start()
                time.sleep(0.2)
    (home / "ready").unlink(missing_ok=True)
    (home / "pid").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(_run_durable(Path(sys.argv[1])))
    except CliError as error:
        sys.exit(error.message)
