"""Starting an exchange on this machine: `sandbox` (ephemeral) and `up`/`down` (durable).

Both start servers, create what is missing, keep every service running, and furnish a new exchange with classes, a member with
simulated money, a desk, and keys. What is simulated says so. One service that is halted takes no other with it.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import msgspec

from schemas import http
from schemas.specifications import published
from services.cli import profile, status
from services.cli.client import Client
from services.cli.errors import CliError, Refused, Unusable
from services.cli.files import write_private
from services.cli.stack import Stack, key_answer, logins_of
from services.runtime.errors import Halt
from services.runtime.infra import (
    ApacheKafka,
    Life,
    LocalPostgres,
    MemoryBroker,
    Server,
    ServerFailed,
    Supervisor,
    WheelPostgres,
    any_postgres,
    free_port,
    open_folder,
)

SHARDS: Final = 2
READY_S: Final = 60.0
UP_S: Final = 240.0
"""Apache Kafka and Postgres start first; after a crash, or on a busy machine, more than once."""
START_TRIES: Final = 3
MEMBER_USD: Final = "10000"
BOT_USD: Final = "10000"
DESK_USD: Final = "3000000"
DEMO: Final = (
    ("demo-provider", "provider", "1000"),
    ("demo-buyer", "member", "2000000"),
    ("demo-trader", "member", "2000000"),
)
"""Members of a sandbox who trade by themselves: name, role, simulated USD."""
DATABASE: Final = "hourbook"
_SERVER_AGAIN_S: Final = 5.0
_BEYOND_WAITING: Final = (os.EX_DATAERR, os.EX_CONFIG)
CLOUD_OWNER: Final = (1 << 40) + 1
"""Not the first operator's: two operators of different owners are two."""
CLOUD: Final = "simulated-cloud"
CLOUD_KEYS: Final = "cloud.keys"
WITHOUT_CLOUD: Final = "--no-simulated-cloud"
_FOLDER_PREFIX: Final = "hourbook-"
_PORTS: Final = ("kafka", "postgres", "http", "feed", "market")

Say = Callable[[str], None]


class Keeper:
    """Keeps servers and services running, and tells `hourbook status` how they are."""

    def __init__(self, home: Path, *servers: Server, forgetful: Sequence[Server] = ()) -> None:
        """`forgetful`: those that have lost everything when they end; the exchange ends with them."""
        self.supervisor = Supervisor(home / "logs", always=True)
        self._home = home
        self._servers = servers
        self._forgetful = forgetful
        self._server_due_s = 0.0
        self._told: list[status.Kept] = []

    def poll(self) -> None:
        """Call it often. Raises Refused when it cannot go on."""
        self.supervisor.poll()
        for server in self._forgetful:
            if not server.is_running:
                raise Refused(f"the {server.name} has ended, and with it all that it had in memory: start again")
        # Told first: starting a server takes a while, and it is down meanwhile.
        self._tell()
        for server in self._servers:
            if not server.is_running and time.monotonic() >= self._server_due_s:
                self._start_again(server)
                self._tell()

    def _tell(self) -> None:
        kept = [
            *(
                status.Kept(name=server.name, pid=server.pid, running=server.is_running, server=True)
                for server in (*self._forgetful, *self._servers)
            ),
            *(status.Kept(**life._asdict()) for life in self.supervisor.lives()),
        ]
        if kept != self._told:
            self._told = kept
            with contextlib.suppress(OSError):  # a full disk: the exchange needs no file that only `status` reads
                status.keep(self._home, kept)

    def lives(self) -> list[Life]:
        """After a poll, how every service is."""
        self.poll()
        return self.supervisor.lives()

    def _start_again(self, server: Server) -> None:
        _log(f"{server.name} has ended: starting it again")
        try:
            server.start()
        except (ServerFailed, OSError) as error:
            _log(f"{server.name} does not start: {error}")
            self._server_due_s = time.monotonic() + _SERVER_AGAIN_S

    def hopeless(self) -> str:
        """Who cannot start, and why; empty: nobody."""
        return next(
            (
                f"{life.name} ended with {life.exit_code}: {status.last_words(life.last_words)}"
                for life in self.supervisor.lives()
                if life.failing and life.exit_code in _BEYOND_WAITING
            ),
            "",
        )


def _log(line: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not end the one who starts servers again once there is room
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


# --- A new exchange -----------------------------------------------------------------------------------------


def begin(stack: Stack, keeper: Keeper, say: Say, *, sandbox: bool, cloud: bool = True, demo: bool = False) -> None:
    """Topics, services, the first key, and on a new exchange its furniture. Raises CliError.

    With `cloud` a simulated one, which procures and delivers; with `demo` members who trade by themselves.
    Interrupted anywhere, it completes what is missing when called again.
    """
    try:
        asyncio.run(stack.create(sandbox=sandbox))
        say(f"{stack.shards} shards are started")
    except Halt as error:
        say(f"the log is as it was left ({error})")
    stack.start(keeper.supervisor)
    file = stack.home / "operator.json"
    if not file.exists():
        issued = asyncio.run(stack.first_operator_key())
        profile.save(file, profile.Profile(stack.url, key_answer(issued)))
    desk_key = stack.home / "desk.key"
    if not (stack.home / "member.json").exists() or not desk_key.exists():
        wait_until_open(stack, keeper)
        say(f"the gateway answers at {stack.url}")
        with contextlib.closing(operator_of(file)) as operator:
            furnish(stack, operator, say)
    keeper.supervisor.start(stack.supply())
    keeper.supervisor.start(stack.desk(desk_key))
    if cloud:
        if not (keys := stack.home / CLOUD_KEYS).exists():
            wait_until_open(stack, keeper)
            with contextlib.closing(operator_of(file)) as operator:
                write_cloud_keys(keys, operator)
        keeper.supervisor.start(stack.cloud(keys))
        say(f"{CLOUD} procures what market makers sell, and delivers")
    if demo:
        with contextlib.closing(operator_of(file)) as operator:
            keeper.supervisor.start(stack.demo_members(demo_keys(stack, operator, say)))


def operator_of(file: Path) -> Client:
    """A client with the first operator's key."""
    return Client(msgspec.json.decode(file.read_bytes(), type=profile.Profile))


def furnish(stack: Stack, operator: Client, say: Say) -> None:
    """A new exchange's classes, accounts and keys. Called again, it opens and books nothing twice."""
    for number, (class_id, text) in enumerate(published().items()):
        body = http.ClassRequest(shard=number % stack.shards, specification=text.decode())
        operator.settle("POST", "/v1/admin/classes", body, key=f"start-{class_id}")
        say(f"listed {class_id} in shard {number % stack.shards}")
    for name, role, usd, scopes in (
        ("member", "member", MEMBER_USD, ("read", "trade")),
        ("desk", "market_maker", DESK_USD, ("read", "trade", "supply")),
        ("bot", "market_maker", BOT_USD, ("read", "trade", "supply")),
    ):
        issued = open_account(operator, name, role, usd, scopes, desk=name == "desk")
        if name == "desk":
            write_private(stack.home / "desk.key", msgspec.json.encode(issued))
        else:
            file = profile.BOT if name == "bot" else "member.json"
            profile.save(stack.home / file, profile.Profile(stack.url, issued))
        say(f"account {issued.key.account} ({name}) has {usd} USD from the simulated faucet")


def open_account(
    operator: Client, name: str, role: str, usd: str, scopes: tuple[str, ...], *, desk: bool = False
) -> http.NewKeyAnswer:
    """An account with simulated money, and a key of it. Called again, it opens and books nothing twice."""
    opened = http.AccountRequest(name=name, role=role, desk=desk)  # type: ignore[arg-type]  # one of the literals
    answer = operator.settle("POST", "/v1/admin/accounts", opened, key=f"start-{name}")
    account = int(answer.outcome["account"])
    deposit = http.DepositRequest(
        account=account, amount=usd, provider="simulated-faucet", provider_ref=f"start-{name}"
    )
    operator.settle("POST", "/v1/admin/deposits", deposit, key=f"start-money-{name}")
    body_of_key = http.OperatorKeyRequest(account=account, scopes=scopes, label=name)  # type: ignore[arg-type]  # likewise
    return operator.write("POST", "/v1/admin/keys", body_of_key, http.NewKeyAnswer)


def write_cloud_keys(file: Path, operator: Client) -> None:
    """The simulated cloud's key, an operator's of its own."""
    body = http.OperatorKeyRequest(account=0, owner=CLOUD_OWNER, scopes=("read", "operator"), label="simulated cloud")
    issued = operator.write("POST", "/v1/admin/keys", body, http.NewKeyAnswer)
    write_private(file, msgspec.json.encode({"operator": issued}))


def demo_keys(stack: Stack, operator: Client, say: Say) -> Path:
    """Accounts of demo members, and a file with a key of each."""
    keys = {name: open_account(operator, name, role, usd, ("read", "trade", "supply")) for name, role, usd in DEMO}
    file = stack.home / "demo.keys"
    write_private(file, msgspec.json.encode(keys))
    say(f"{len(keys)} demo members trade with simulated money: {', '.join(keys)}")
    return file


def wait_until_open(stack: Stack, keeper: Keeper) -> None:
    """Until the gateway takes orders. Raises Refused."""
    deadline = time.monotonic() + READY_S
    while not is_open(stack.url):
        keeper.poll()
        if hopeless := keeper.hopeless():
            raise Refused(hopeless)
        if time.monotonic() > deadline:
            raise Refused(f"the gateway did not open within {READY_S:.0f} s; see {stack.home / 'logs'}")
        time.sleep(0.1)


def is_open(url: str) -> bool:
    """Whether the gateway takes orders."""
    try:
        answer = httpx.get(f"{url}/v1/status", timeout=2, trust_env=False)
        return answer.status_code == 200 and bool(answer.json()["accepting_orders"])
    except httpx.HTTPError:
        return False


# --- Ephemeral ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def sandbox(say: Say, *, port: int = 0, only_wheels: bool = False, demo: bool = True) -> Iterator[tuple[Stack, Keeper]]:
    """An exchange that is gone when the block ends. Raises CliError."""
    home = profile.SANDBOX.resolve()
    try:
        with place_of_sandbox(home) as folder, contextlib.ExitStack() as servers:
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
            )
            keeper = Keeper(home, postgres, forgetful=[broker])
            with keeper.supervisor:
                begin(stack, keeper, say, sandbox=True, demo=demo)
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
            _log(f"{error}\n{server.name}: once more")
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
            logins=logins,
        )
        keeper = Keeper(home, kafka, postgres)
        try:
            with keeper.supervisor:
                begin(stack, keeper, _log, sandbox=False, cloud=cloud)
                while not stopping:
                    keeper.poll()
                    if not ready.exists() and is_open(stack.url):
                        ready.write_text(stack.url)
                        _log(f"open at {stack.url}")
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
