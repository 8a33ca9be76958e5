"""An exchange on this machine: its topics, its processes, its first key.

    stack = Stack(bootstrap, dsn, home, shards=2, http_port=8080)
    asyncio.run(stack.create(sandbox=True))      # topics, once
    with Supervisor(home / "logs") as supervisor:
        stack.start(supervisor)

Servers (broker, database) are somebody else's: the sandbox's, `hourbook up`'s, or production's.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from schemas.delivery_key import derive_delivery_key
from schemas.feed_token import derive_feed_key
from schemas.http import KeyAnswer, NewKeyAnswer
from schemas.router_key import derive_router_key
from services.cli.files import write_private
from services.runtime.config import Login
from services.runtime.infra import Program, Supervisor
from services.runtime.kafka import Cluster
from services.runtime.keys import Issued, issue_key
from services.runtime.log import Outgoing
from services.runtime.topics import create_topics
from services.runtime.walls import ADMINISTRATOR, OPERATOR, USERS

_MASTER_KEY_FILE: Final = "master.key"
_LOGINS_FILE: Final = "kafka.logins"
_BROKER: Final = ("KAFKA", "KAFKA_USER", "KAFKA_PASSWORD", "TOPIC_PREFIX")
"""Settings of whoever speaks to the broker."""


class Stack:
    """What the processes of one exchange have in common."""

    def __init__(
        self,
        bootstrap: str,
        dsn: str,
        home: Path,
        *,
        shards: int,
        http_port: int,
        feed_port: int = 0,
        market_port: int = 0,
        delivery_port: int = 0,
        router_port: int = 0,
        topic_prefix: str = "",
        logins: Mapping[str, str] | None = None,
    ) -> None:
        """`logins`: user to password at the broker (`logins_of`); without them nobody logs in.

        `feed_port`, `market_port`: market data's, for everybody and for the gateway; `delivery_port`, `router_port`: of these
        two, for the gateway; 0: this exchange goes without.
        """
        self.bootstrap = bootstrap
        self.dsn = dsn
        self.home = home
        self.shards = shards
        self.http_port = http_port
        self.feed_port = feed_port
        self.market_port = market_port
        self.delivery_port = delivery_port
        self.router_port = router_port
        self.topic_prefix = topic_prefix
        self.logins = logins or {}
        self.master_key = _master_key(home)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.http_port}"

    def login(self, user: str) -> Login | None:
        """At the broker; None: this exchange goes without."""
        return Login(user, self.logins[user]) if self.logins else None

    def environment(self, user: str = OPERATOR, **more: str) -> dict[str, str]:
        """HOURBOOK_* for one process, with the login of `user`; as `operator`, for the tools."""
        login = self.login(user)
        return {
            "HOURBOOK_KAFKA": self.bootstrap,
            "HOURBOOK_KAFKA_USER": login.user if login else "",
            "HOURBOOK_KAFKA_PASSWORD": login.password if login else "",
            "HOURBOOK_POSTGRES": self.dsn,
            "HOURBOOK_SHARDS": str(self.shards),
            "HOURBOOK_DATA": str(self.home / "data"),
            "HOURBOOK_RUN": str(self.home / "run"),
            "HOURBOOK_MASTER_KEY": base64.b64encode(self.master_key).decode(),
            "HOURBOOK_HTTP_PORT": str(self.http_port),
            "HOURBOOK_MARKET": _inside(self.market_port),
            "HOURBOOK_DELIVERY": _inside(self.delivery_port),
            "HOURBOOK_ROUTER": _inside(self.router_port),
            "HOURBOOK_TOPIC_PREFIX": self.topic_prefix,
            **more,
        }

    def programs(self) -> list[Program]:
        """Everything but the desk, which needs a member's key first. Two processes per shard: one works, one stands by."""
        matching = [
            self._program(f"matching-{shard}{letter}", "matching", HOURBOOK_SHARD=str(shard))
            for shard in range(self.shards)
            for letter in "ab"
        ]
        feed = [self.market_data()] if self.feed_port else []
        delivery = [self.delivery()] if self.delivery_port else []
        router = [self.router()] if self.router_port else []
        return [
            self._program("settlement", "settlement"),
            *matching,
            *feed,
            *delivery,
            *router,
            self._program("gateway", "gateway"),
        ]

    def market_data(self) -> Program:
        """The feed: it reads the log, and has neither the database nor the key that seals all others."""
        return Program(
            "market_data",
            _module("market_data"),
            {
                **_only(self.environment("market_data"), *_BROKER, "SHARDS", "DATA", "RUN"),
                "HOURBOOK_FEED_KEY": base64.b64encode(derive_feed_key(self.master_key)).decode(),
                "HOURBOOK_FEED_PORT": str(self.feed_port),
                "HOURBOOK_HTTP_PORT": str(self.market_port),
            },
        )

    def delivery(self) -> Program:
        """Machines and leases: it reads the log, and has neither the key that seals all others nor a member's."""
        return Program(
            "delivery",
            _module("delivery"),
            {
                **_only(self.environment("delivery"), *_BROKER, "POSTGRES", "SHARDS", "DATA", "RUN"),
                "HOURBOOK_DELIVERY_KEY": base64.b64encode(derive_delivery_key(self.master_key)).decode(),
                "HOURBOOK_HTTP_PORT": str(self.delivery_port),
            },
        )

    def router(self) -> Program:
        """Rentals: it reads the log, and trades at the gateway for the accounts that rent, with a key that is derived for it."""
        return Program(
            "router",
            _module("router"),
            {
                **_only(self.environment("router"), *_BROKER, "POSTGRES", "SHARDS", "DATA", "RUN", "MARKET"),
                "HOURBOOK_ROUTER_KEY": base64.b64encode(derive_router_key(self.master_key)).decode(),
                "HOURBOOK_GATEWAY": self.url,
                "HOURBOOK_HTTP_PORT": str(self.router_port),
            },
        )

    def supply(self, sources: Path | None = None) -> Program:
        """The poller of catalogues; `sources`: another list than the packaged one."""
        more = {"HOURBOOK_SUPPLY_SOURCES": str(sources)} if sources else {}
        return Program("supply", _module("supply"), {**_only(self.environment("supply"), *_BROKER, "RUN"), **more})

    def desk(self, key_file: Path) -> Program:
        """The desk: a member's key, the gateway, the topic `offers`, and nothing else."""
        reached = _only(self.environment("market_maker"), *_BROKER, "RUN")
        return Program(
            "market_maker",
            _module("market_maker"),
            {**reached, "HOURBOOK_GATEWAY": self.url, "HOURBOOK_KEY": str(key_file)},
        )

    def cloud(self, keys_file: Path) -> Program:
        """The simulated cloud: an operator's key and the gateway."""
        return self._simulated("cloud", keys_file)

    def demo_members(self, keys_file: Path) -> Program:
        """Members who trade so that a sandbox lives: a key each and the gateway."""
        return self._simulated("members", keys_file)

    def hosts(self, keys_file: Path, class_id: str, seats: int) -> Program:
        """Who sells the shares of a sandbox's own machines: a key each and the gateway."""
        program = self._simulated("hosts", keys_file)
        more = {"HOURBOOK_HOSTS_CLASS": class_id, "HOURBOOK_HOSTS_SEATS": str(seats)}
        return Program(program.name, program.argv, {**program.env, **more})

    def agent(self, name: str, key_file: Path, class_id: str, seats: int) -> Program:
        """An agent on this machine: a provider's key and the gateway."""
        command = [
            *_module("agent"), "--machine", name, "--class", class_id, "--gpus", str(seats), "--driver", "open",
            "--key", str(key_file), "--home", str(self.home / "agents" / name),
        ]  # fmt: skip
        return Program(f"agent-{name}", command, silent=True)

    def _simulated(self, role: str, keys_file: Path) -> Program:
        return Program(
            f"simulated-{role}",
            [*_module("simulated"), role],
            {**_only(self.environment(), "RUN"), "HOURBOOK_GATEWAY": self.url, "HOURBOOK_KEYS": str(keys_file)},
        )

    def _program(self, name: str, room: str, **more: str) -> Program:
        return Program(name, _module(room), self.environment(room, HOURBOOK_NAME=name, **more))

    def start(self, supervisor: Supervisor) -> None:
        """Start them; they wait for each other by themselves. Tools find the exchange by `environment.json`."""
        write_private(self.home / "environment.json", json.dumps(self.environment()).encode())
        for program in self.programs():
            supervisor.start(program)

    async def create(self, *, sandbox: bool, rate: int = 1) -> None:
        """Topics, access lists and shards. Raises Halt when the shards are started already."""
        async with Cluster(self.bootstrap, prefix=self.topic_prefix, login=self.login(ADMINISTRATOR)) as cluster:
            await create_topics(cluster, self.shards, sandbox=sandbox, rate=rate)

    async def first_operator_key(self) -> Issued:
        """Of `write_operator_key`."""
        login = self.login(ADMINISTRATOR)
        return await write_operator_key(self.bootstrap, self.topic_prefix, self.master_key, login)


async def write_operator_key(bootstrap: str, topic_prefix: str, master_key: bytes, login: Login | None) -> Issued:
    """The key that can make all others, written to the log directly: whoever holds log and master key may."""
    issued = issue_key(master_key, account=0, owner=1 << 40, scopes=("read", "operator"), label="first operator")
    async with Cluster(bootstrap, prefix=topic_prefix, login=login) as cluster:
        await cluster.log("keys").append([Outgoing(msgspec.msgpack.encode(issued.record))])
    return issued


def _module(room: str) -> list[str]:
    return [sys.executable, "-m", f"services.{room}"]


def _inside(port: int) -> str:
    """The address of a room of this machine; empty: this exchange goes without."""
    return f"http://127.0.0.1:{port}" if port else ""


def _only(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {f"HOURBOOK_{name}": environment[f"HOURBOOK_{name}"] for name in names}


def _master_key(home: Path) -> bytes:
    """Made once per exchange; everything sealed is lost with it."""
    file = home / _MASTER_KEY_FILE
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        write_private(file, secrets.token_bytes(32))
    return file.read_bytes()


def logins_of(home: Path) -> dict[str, str]:
    """User to password at the broker. Made once per exchange; a login that a newer build brings is added."""
    file = home / _LOGINS_FILE
    found: dict[str, str] = json.loads(file.read_bytes()) if file.exists() else {}
    if missing := [user for user in USERS if user not in found]:
        found |= {user: secrets.token_urlsafe(24) for user in missing}
        home.mkdir(parents=True, exist_ok=True)
        write_private(file, json.dumps(found).encode())
    return found


def key_answer(issued: Issued) -> NewKeyAnswer:
    """A key in the form in which POST /v1/keys answers it, and key files keep it."""
    record = issued.record
    key = KeyAnswer(
        key_id=record.key_id,
        account=record.account,
        scopes=record.scopes,
        label=record.label,
        expires_at="",
        networks=record.networks,
    )
    return NewKeyAnswer(key=key, secret=issued.secret, bearer=issued.bearer)
