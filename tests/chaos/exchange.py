"""What `make up` starts, with a second gateway and settlement, two agents, and every connection by way of a lane of its own.

    with opened(home, background) as exchange: ...

Not as deployed are only: market time, which runs faster so that hours end within minutes; snapshots, which followers write after
seconds; the lanes; and a wall clock that can be shifted.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from schemas.http import NewKeyAnswer
from schemas.market_clock import MarketClock
from schemas.units import MS_PER_HOUR
from services.agent import doorway
from services.cli.furnishing import HOSTS, OPERATOR_FILE, begin, host_programs, is_open, open_account, operator_of
from services.cli.keeper import Keeper
from services.cli.local import DATABASE
from services.cli.stack import Stack, logins_of
from services.runtime.errors import Halt
from services.runtime.infra import ApacheKafka, LocalPostgres, Program, any_postgres, free_port
from services.runtime.kafka import Cluster
from services.runtime.log import Log
from services.runtime.topics import create_topics
from services.runtime.walls import ADMINISTRATOR
from tests.chaos.lanes import Background, Lane
from tests.integration.hall import status_of

RATE = 30
"""Market seconds in one of ours: an hour of the market in two minutes."""
SHARDS = 2
MATCHING = ("matching-0a", "matching-0b", "matching-1a", "matching-1b")
SETTLEMENTS = ("settlement", "settlement-b")
GATEWAYS = ("gateway", "gateway-b")
ROOMS = ("delivery", "router")
AT_KAFKA = (*MATCHING, *SETTLEMENTS, *GATEWAYS, "market_data", *ROOMS)
AT_POSTGRES = (*MATCHING, *SETTLEMENTS, *GATEWAYS, *ROOMS)
OTHERS = ("supply", "market_maker", "simulated-cloud", "simulated-hosts")
SERVICES = (*AT_KAFKA, *OTHERS)
AGENTS = tuple(f"agent-{name}" for name in HOSTS)
"""On machines of their own: they say nothing of themselves but to the exchange."""
INSIDE = ("gateways → delivery", "gateways → router", "router → gateway", *(f"{name} → gateway" for name in AGENTS))
"""Who asks whom over HTTP, members apart."""
SERVERS = ("Apache Kafka", "Postgres")
SNAPSHOT_MS = 4_000
DISKS_MIB = {"data": 64, "postgres": 768}
"""Folders of an exchange that are small disks of their own, where this user may mount them."""
_CLOCK = Path(__file__).with_name("clock")
_ADMINISTRATOR_S = 20


class HostileStack(Stack):
    """The stack of `make up`, each program told of its lanes instead of the servers."""

    kafka_lanes: dict[str, Lane]
    postgres_lanes: dict[str, Lane]
    inside_lanes: dict[str, Lane]
    """By INSIDE."""
    second_port: int
    hour_ends_in_s: float | None = None
    """After so long of our time an hour of the market ends; None: whenever it does."""
    market_clock: MarketClock

    async def create(self, *, sandbox: bool, rate: int = 1) -> None:
        """With a market's time that suits the day."""
        now_ms = time.time_ns() // 1_000_000
        t0_ms = now_ms
        if self.hour_ends_in_s is not None and rate > 1:
            then_ms = now_ms + int(self.hour_ends_in_s * 1_000) * rate
            t0_ms -= -then_ms % MS_PER_HOUR // (rate - 1)
        async with Cluster(self.bootstrap, login=self.login(ADMINISTRATOR)) as cluster:
            await create_topics(cluster, self.shards, sandbox=sandbox, rate=rate, t0_ms=t0_ms)
        self.market_clock = MarketClock(t0_ms, rate, sandbox)

    def programs(self) -> list[Program]:
        """With a second settlement and a second gateway."""
        found = [self._exposed(program) for program in super().programs()]
        for program in [each for each in found if each.name in ("settlement", "gateway")]:
            second = f"{program.name}-b"
            more = {"HOURBOOK_NAME": second}
            if program.name == "gateway":
                more["HOURBOOK_HTTP_PORT"] = str(self.second_port)
            found.append(self._exposed(Program(second, program.argv, {**program.env, **more})))
        return found

    def supply(self, sources: Path | None = None) -> Program:
        return self._exposed(super().supply(sources))

    def desk(self, key_file: Path) -> Program:
        return self._exposed(super().desk(key_file))

    def cloud(self, keys_file: Path) -> Program:
        return self._exposed(super().cloud(keys_file))

    def hosts(self, keys_file: Path, class_id: str, seats: int) -> Program:
        return self._exposed(super().hosts(keys_file, class_id, seats))

    def agent(self, name: str, key_file: Path, class_id: str, seats: int) -> Program:
        program = super().agent(name, key_file, class_id, seats)
        argv = [*program.argv, "--url", self._inside(f"{program.name} → gateway")]
        return self._exposed(Program(program.name, argv, program.env, silent=True))

    def _inside(self, lane: str) -> str:
        return f"http://127.0.0.1:{self.inside_lanes[lane].port}"

    def clock(self, name: str) -> Path:
        """Eight bytes: by how many nanoseconds a process's wall clock is wrong."""
        return self.home / "clocks" / name

    def _exposed(self, program: Program) -> Program:
        name = program.name
        clock = self.clock(name)
        clock.parent.mkdir(exist_ok=True)
        if not clock.exists():
            clock.write_bytes(bytes(8))
        env = {**program.env, "PYTHONPATH": str(_CLOCK), "HOURBOOK_CHAOS_CLOCK": str(clock)}
        if name in self.kafka_lanes:
            env["HOURBOOK_KAFKA"] = f"127.0.0.1:{self.kafka_lanes[name].port}"
        if name in self.postgres_lanes:
            env["HOURBOOK_POSTGRES"] = self.dsn.replace(
                f":{urlsplit(self.dsn).port}/", f":{self.postgres_lanes[name].port}/"
            )
        if name in GATEWAYS:
            env |= {f"HOURBOOK_{room.upper()}": self._inside(f"gateways → {room}") for room in ROOMS}
        if name == "router":
            env["HOURBOOK_GATEWAY"] = self._inside("router → gateway")
        argv = [*program.argv, *(["--snapshot-ms", str(SNAPSHOT_MS)] if name in MATCHING else [])]
        return Program(name, argv, env, program.silent)


@dataclasses.dataclass(frozen=True)
class Member:
    """An account with a key."""

    name: str
    role: str
    account: int
    bearer: str


class Exchange:
    """Running servers and processes, and what an administrator can do and see without asking any of them."""

    def __init__(
        self, stack: HostileStack, keeper: Keeper, kafka: ApacheKafka, postgres: LocalPostgres, background: Background
    ) -> None:
        self.stack = stack
        self.keeper = keeper
        self.kafka = kafka
        self.postgres = postgres
        self.background = background
        self.doors: dict[str, Lane] = {}
        """By gateway: what members are told is its port."""
        self.disks: set[str] = set()
        """Of DISKS_MIB, those that could be mounted."""
        self.wholesaler: Member | None = None
        """A market maker in whose name a frame is written past the gateways."""
        self.start_usd: list[str] = []
        """Paid in for members that `members` has opened."""

    @property
    def home(self) -> Path:
        return self.stack.home

    # --- Processes --------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Whoever has ended is started again."""
        self.keeper.poll()

    def pid(self, name: str) -> int:
        """Of a service or a server; 0: it does not run now."""
        for server in (self.kafka, self.postgres):
            if server.name == name:
                return server.pid if server.is_running else 0
        supervisor = self.keeper.supervisor
        return supervisor.pid(name) if name in supervisor.restarts() and supervisor.is_running(name) else 0

    def signal(self, name: str, number: signal.Signals) -> bool:
        """To it and to all that it has started; False: it did not run."""
        pid = self.pid(name)
        for each in [pid, *_children(pid)] if pid else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
        return pid > 0

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Name → what each service says of itself; whoever does not answer is not there."""
        found = {}
        for name in SERVICES:
            pid = self.pid(name)
            for file in (self.home / "run").glob(f"{name}*.json"):
                try:
                    told = json.loads(file.read_text())
                    if told["pid"] == pid:
                        found[name] = status_of(told["status"])
                except (OSError, ValueError):
                    continue  # it has just ended, or hangs
        return found

    def exit_codes(self) -> dict[str, int | None]:
        """Of each service's latest end."""
        return {life.name: life.exit_code for life in self.keeper.supervisor.lives()}

    def last_words(self, name: str) -> str:
        """The last line that it had printed when it ended last."""
        return next(life.last_words for life in self.keeper.supervisor.lives() if life.name == name)

    def set_clock(self, name: str, wrong_by_s: float) -> None:
        """The process's wall clock from now on."""
        with self.stack.clock(name).open("r+b") as file:
            file.write(struct.pack("q", int(wrong_by_s * 1e9)))

    # --- Past all services ------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """From the database. Raises OSError, asyncpg.PostgresError, TimeoutError."""

        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.stack.dsn, timeout=_ADMINISTRATOR_S)
            try:
                return list(await connection.fetch(query, *values))
            finally:
                await connection.close(timeout=1)

        return self.background.do(ask())

    @contextlib.asynccontextmanager
    async def log(self, topic: str, partition: int = 0, user: str = "administrator") -> Any:
        """One partition, with a login."""
        async with Cluster(self.stack.bootstrap, login=self.stack.login(user)) as cluster:
            log: Log = cluster.log(topic, partition)
            yield log


def _children(pid: int) -> list[int]:
    """Of a process: Postgres gives each session one, in a group of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            # After the name, which may have any characters: state and parent.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(folder.name))
    return found


# --- Opening one ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(
    home: Path, background: Background, rate: int = RATE, hour_ends_in_s: float | None = None
) -> Iterator[Exchange]:
    """A new one: servers, every process, the furniture of `make up`. At the end all is stopped, and the folder stays."""
    with _small_disks(home) as disks, _no_doors_left(home), servers(home, background) as exchange:
        exchange.disks = disks
        exchange.stack.hour_ends_in_s = hour_ends_in_s
        start(exchange, rate)
        while not is_open(exchange.stack.url):
            exchange.poll()
        _start_machines(exchange)
        yield exchange


@contextlib.contextmanager
def _no_doors_left(home: Path) -> Iterator[None]:
    """Of leases that run still: an agent that stops leaves them open, as it should."""
    try:
        yield
    finally:
        for pid in [pid for agent in AGENTS for pid in ssh_doors(home, agent)]:
            with contextlib.suppress(ProcessLookupError):  # its lease has just ended
                os.kill(pid, signal.SIGKILL)


def ssh_doors(home: Path, agent: str) -> list[int]:
    """Of the leases on a machine: processes that outlive its agent."""
    found = []
    for folder in (home / "agents" / agent.removeprefix("agent-") / "leases").glob("*"):
        with contextlib.suppress(OSError, ValueError):  # it opens, or has just ended
            if doorway.lives(folder):
                found.append(int((folder / doorway.LOCK).read_text()))
    return found


def _start_machines(exchange: Exchange) -> None:
    """Two, with an agent each, and who sells their hours."""
    with contextlib.closing(operator_of(exchange.home / OPERATOR_FILE)) as operator:
        for program in host_programs(exchange.stack, operator, lambda _: None):
            exchange.keeper.supervisor.start(program)


@contextlib.contextmanager
def servers(home: Path, background: Background) -> Iterator[Exchange]:
    """Broker and database of a folder, new ones or those of an exchange that was stopped; no service yet."""
    logins = logins_of(home)
    kafka = ApacheKafka(home / "kafka", flush_each=True, logins=logins)
    lanes = _lanes_to_kafka(kafka, background)
    is_new = not (home / "postgres").exists() or not any((home / "postgres").iterdir())
    with kafka, any_postgres()(home / "postgres") as postgres:
        dsn = postgres.create_database(DATABASE) if is_new else postgres.dsn_of(DATABASE)
        stack = HostileStack(
            kafka.bootstrap, dsn, home, shards=SHARDS, http_port=free_port(), feed_port=free_port(),
            market_port=free_port(), delivery_port=free_port(), router_port=free_port(), logins=logins,
        )  # fmt: skip
        stack.second_port = free_port()
        stack.kafka_lanes = lanes
        ports = {"delivery": stack.delivery_port, "router": stack.router_port, "gateway": stack.http_port}
        stack.inside_lanes = {name: Lane(background, ports[name.rpartition(" ")[2]]) for name in INSIDE}
        stack.postgres_lanes = {name: Lane(background, postgres.port) for name in AT_POSTGRES}
        keeper = Keeper(home, kafka, postgres)
        exchange = Exchange(stack, keeper, kafka, postgres, background)
        for name, port in zip(GATEWAYS, (stack.http_port, stack.second_port), strict=True):
            exchange.doors[name] = Lane(background, port)
        with keeper.supervisor:
            yield exchange


def start(exchange: Exchange, rate: int = RATE) -> None:
    """Topics where there are none, and every service."""
    with contextlib.suppress(Halt):  # the shards are started already
        asyncio.run(exchange.stack.create(sandbox=True, rate=rate))
    # Not as a sandbox: the desk has no machines, and an operator's word, the simulated cloud's, says what it has delivered.
    begin(exchange.stack, exchange.keeper, lambda _: None, sandbox=False)


def _lanes_to_kafka(kafka: ApacheKafka, background: Background) -> dict[str, Lane]:
    """A listener for each service's lane: a broker tells whoever has come by a listener to come by that one again."""
    assert kafka.logins is not None
    ports = {name: free_port() for name in AT_KAFKA}
    lanes = {name: Lane(background, port) for name, port in ports.items()}
    users = " ".join(f'user_{user}="{password}"' for user, password in kafka.logins.items())
    own = kafka._broker_password
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    named = {name: f"LANE{number}" for number, name in enumerate(lanes)}
    kafka._settings |= {
        "num.network.threads": "1",
        "listeners": ",".join(
            [
                f"CLIENTS://127.0.0.1:{kafka.port}",
                f"CONTROLLER://127.0.0.1:{kafka._controller_port}",
                *(f"{named[name]}://127.0.0.1:{port}" for name, port in ports.items()),
            ]
        ),
        "advertised.listeners": ",".join(
            [
                f"CLIENTS://127.0.0.1:{kafka.port}",
                *(f"{named[name]}://127.0.0.1:{lane.port}" for name, lane in lanes.items()),
            ]
        ),
        "listener.security.protocol.map": ",".join(
            f"{listener}:SASL_PLAINTEXT" for listener in ("CLIENTS", "CONTROLLER", *named.values())
        ),
        **{
            f"listener.name.{listener.lower()}.plain.sasl.jaas.config": f'{login} username="broker" '
            f'password="{own}" {users};'
            for listener in named.values()
        },
    }
    return lanes


@contextlib.contextmanager
def _small_disks(home: Path) -> Iterator[set[str]]:
    """DISKS_MIB in memory, where we may mount; at the end their files are in plain folders, for whoever looks for a reason."""
    mounted: set[str] = set()
    for name, mib in DISKS_MIB.items():
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tmpfs", folder], check=False, capture_output=True
        )
        if done.returncode == 0:
            mounted.add(name)
    try:
        yield mounted
    finally:
        for name in mounted:
            kept = home / f"{name}.kept"
            subprocess.run(["cp", "-a", home / name, kept], check=False, capture_output=True)
            subprocess.run(["umount", home / name], check=True)
            (home / name).rmdir()
            kept.rename(home / name)


def members(exchange: Exchange, wanted: dict[str, tuple[str, str]]) -> dict[str, Member]:
    """Accounts with simulated money: name → (role, USD)."""
    found = {}
    with contextlib.closing(operator_of(exchange.home / OPERATOR_FILE)) as operator:
        for name, (role, usd) in wanted.items():
            exchange.start_usd.append(usd)
            issued: NewKeyAnswer = open_account(operator, name, role, usd, ("read", "trade", "supply"))
            found[name] = Member(name, role, issued.key.account, issued.bearer)
    return found


def machines_alive(exchange: Exchange) -> dict[str, bool]:
    """Name → whether its agent was heard a moment ago, as its provider is told. Raises httpx.HTTPError."""
    found = {}
    for name in HOSTS:
        key = json.loads((exchange.home / f"{name}.json").read_bytes())["key"]["bearer"]
        answer = httpx.get(
            f"{exchange.stack.url}/v1/machines", headers={"Authorization": f"Bearer {key}"}, timeout=3, trust_env=False
        )
        told = {machine["machine"]: machine["alive"] for machine in answer.raise_for_status().json()}
        found[name] = told.get(name, False)
    return found
