"""A whole exchange on Apache Kafka and Postgres: two shards, a class in each, and the people who come to its door.

    ana = exchange.member()                               # 1,000 USD in the wallet, a key with every scope of a member
    order = ana.order(exchange.fresh_hour(), "buy", 2, "3.00").json()
    with exchange.stopped("settlement"): ...              # SIGSTOP, and SIGCONT at the end

Market time runs sixty times faster: a second is a minute, a quarter of an hour takes fifteen seconds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncpg
import httpx

from schemas.specifications import published
from services.cli.stack import Stack
from services.runtime.infra import (
    ApacheKafka,
    LocalPostgres,
    Program,
    Supervisor,
    any_postgres,
    free_port,
    open_folder,
)
from services.runtime.kafka import Cluster
from services.runtime.topics import create_topics
from services.runtime.walls import ADMINISTRATOR

T = TypeVar("T")
RATE = 60
CLASSES = ("H100.SXM.80.US", "L40S.48.US")
"""One per shard."""
BEGIN_MINUTE = 26
"""Of a market hour, when the exchange is created: half a minute later the first gate has closed."""
STOCK = 24
"""Accounts opened at once."""
FIRST_HOUR = 6
"""Hours ahead of the first that tests trade in: no gate closes on them."""
_MINE = "ref = $1 AND kind IN (2, 3, 4, 5, 8, 11)"
TABLES = {
    "orders": "orders WHERE account = $1 ORDER BY order_id",
    "balances": f"balances WHERE {_MINE} ORDER BY kind, shard, asset",
    "titles": "titles WHERE holder = $1 OR obligor = $1 ORDER BY contract, title",
    "fills": "fills WHERE buyer = $1 OR seller = $1 ORDER BY contract, trade",
    "ledger": f"postings WHERE {_MINE} ORDER BY source, shard, seq, index, line",
    "payouts": "payouts WHERE account = $1 ORDER BY payout",
    "backing": "backing WHERE account = $1 ORDER BY contract, ground",
}
"""Everything that an account is and has, in the schema of settlement."""


class Key(NamedTuple):
    """What POST /v1/keys answers."""

    key_id: str
    secret: bytes
    bearer: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Key:
        return cls(answer["key"]["key_id"], base64.b64decode(answer["secret"]), answer["bearer"])


def signature(key: Key, method: str, target: str, body: bytes, stamp: str | None = None) -> dict[str, str]:
    """Headers as docs/api.md says."""
    stamp = stamp or str(time.time_ns() // 1_000_000)
    digest = hmac.new(key.secret, f"{stamp}{method}{target}".encode() + body, hashlib.sha256).hexdigest()
    return {"Hourbook-Key": key.key_id, "Hourbook-Timestamp": stamp, "Hourbook-Signature": digest}


def begin(contract: str) -> str:
    """`...20261122T14-USD` → `2026-11-22T14:00Z`."""
    return f"{datetime.strptime(contract.rsplit('.', 1)[1], '%Y%m%dT%H-USD').replace(tzinfo=UTC):%Y-%m-%dT%H:%MZ}"


def milliseconds(told: str) -> int:
    """Of a time in an answer, since the epoch."""
    return round(datetime.fromisoformat(told).timestamp() * 1000)


class Member:
    """An account with a key, at one gateway. Every request is signed, unless it brings headers that say who asks."""

    def __init__(self, exchange: Exchange, account: int, key: Key, url: str = "") -> None:
        self.exchange = exchange
        self.account = account
        self.key = key
        self.url = url or exchange.url

    def at(self, url: str) -> Member:
        """The same member at another gateway."""
        return Member(self.exchange, self.account, self.key, url)

    def holding(self, key: Key) -> Member:
        """The same account with another key."""
        return Member(self.exchange, self.account, key)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        if body is not None:
            content = json.dumps(body).encode()
        given = {"Idempotency-Key": uuid.uuid4().hex} | (
            {"Content-Type": "application/json"} if content is not None else {}
        )
        http = self.exchange.http
        request = http.build_request(method, f"{self.url}{path}", content=content, headers=given | dict(headers or {}))
        if not {"authorization", "hourbook-key"} & set(request.headers):
            request.headers.update(signature(self.key, method, request.url.raw_path.decode(), content or b""))
        return http.send(request)

    def get(self, path: str) -> Any:
        """The document of a read that must succeed."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, contract: str, side: str, qty: int, price: str, **more: object) -> httpx.Response:
        return self.ask("POST", "/v1/orders", {"contract": contract, "side": side, "qty": qty, "price": price, **more})

    def placed(self, contract: str, side: str, qty: int, price: str, **more: object) -> dict[str, Any]:
        """An order that must be accepted."""
        answer = self.order(contract, side, qty, price, **more)
        assert answer.status_code == 201, answer.text
        order: dict[str, Any] = answer.json()
        return order

    def done(self, method: str, path: str, body: object, *, key: str | None = None) -> dict[str, Any]:
        """A request to settlement that must be done, at once or on a busy machine later; its outcome."""
        answer = self.ask(method, path, body, headers={"Idempotency-Key": key} if key else {})
        while answer.status_code == 202 or (answer.is_success and answer.json()["state"] == "pending"):
            answer = self.ask("GET", f"/v1/requests/{answer.json()['request_id']}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "done", answer.text
        outcome: dict[str, Any] = answer.json()["outcome"]
        return outcome

    def back(
        self, contract: str, qty: int, *, ground: str = "declared", version: int = 1, price: str = "0", hours: int = 1
    ) -> None:
        """Capacity in one hour, or in so many from it on."""
        body = {
            "class": contract.rsplit(".", 1)[0],
            "from": begin(contract),
            "hours": hours,
            "ground": ground,
            "qty": qty,
        }
        self.done("PUT", "/v1/capacity", body | {"version": version, "collateral_price": price})

    def paid_out(self) -> None:
        """Until nothing of the account is on its way out any more."""
        ended = {"paid", "returned"}
        self.exchange.until(lambda: {each["state"] for each in self.get("/v1/withdrawals")} <= ended, "payouts end")

    def money(self) -> tuple[str, ...]:
        """(wallet, trading balance in each shard)."""
        balance = self.get("/v1/balance")
        return (balance["wallet"], *(shard["balance"] for shard in balance["trading"]))

    def book(self, contract: str, query: str = "") -> dict[str, list[Any]]:
        """Both sides as market data shows them once it has seen all that has happened by now."""
        self.exchange.shown()
        book = self.get(f"/v1/market/{contract}/book{query}")
        return {"bids": book["bids"], "asks": book["asks"]}

    def state(self) -> dict[str, list[dict[str, Any]]]:
        """All that the account is and has, once settlement has passed everything that has happened by now."""
        self.exchange.settled()
        tables = TABLES.items()
        return {name: self.exchange.rows(f"SELECT * FROM settlement.{rest}", self.account) for name, rest in tables}


class Exchange:
    """Servers are somebody else's. `open` once, `close` at the end."""

    def __init__(self, kafka: ApacheKafka, postgres: LocalPostgres, home: Path, prefix: str) -> None:
        self.kafka = kafka
        self.postgres = postgres
        dsn = postgres.create_database("hourbook")
        ports = {name: free_port() for name in ("http_port", "feed_port", "market_port", "router_port")}
        self.stack = Stack(kafka.bootstrap, dsn, home, shards=2, topic_prefix=prefix, logins=kafka.logins, **ports)
        self.supervisor = Supervisor(home / "logs", restarts_in_a_row_max=1_000)
        self.url = self.stack.url
        self.http = httpx.Client(timeout=15, trust_env=False)
        self.early: Any = None
        """`conftest.Early`."""
        self._hours = dict.fromkeys(CLASSES, FIRST_HOUR)
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection | None = None
        self._listed: dict[str, list[str]] = {}
        self._stock: list[tuple[int, Key]] = []
        """Accounts that nobody is yet, and their keys."""

    def open(self) -> None:
        """Topics, processes, an operator, a class in each shard."""
        self._loop.run_until_complete(self._create())
        issued = self._loop.run_until_complete(self.stack.first_operator_key())
        key = Key(issued.record.key_id, base64.b64decode(issued.secret), issued.bearer)
        self.stack.start(self.supervisor)
        self.operator = Member(self, 0, key)
        self.until(lambda: self.answers(self.operator, "/v1/keys"), "the gateway opens", 100)
        for shard, class_id in enumerate(CLASSES):
            body = {"shard": shard, "specification": published()[class_id].decode()}
            self.operator.done("POST", "/v1/admin/classes", body)
            listed = self.operator.get(f"/v1/contracts?class={class_id}")
            self._listed[class_id] = [contract["contract"] for contract in listed]

    async def _create(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        begin_ms = (now_ms // 3_600_000 + 1) * 3_600_000 + BEGIN_MINUTE * 60_000
        # Market time is t0 + RATE × (now − t0); solved for t0 it is `begin_ms` now.
        t0_ms = (RATE * now_ms - begin_ms) // (RATE - 1)
        login = self.stack.login(ADMINISTRATOR)
        async with Cluster(self.stack.bootstrap, prefix=self.stack.topic_prefix, login=login) as cluster:
            await create_topics(cluster, 2, sandbox=True, rate=RATE, t0_ms=t0_ms)

    def close(self) -> None:
        self.http.close()
        if self._connection is not None:
            self._connection.terminate()
            self._loop.run_until_complete(asyncio.sleep(0))  # in which it closes
        self._loop.close()
        self.supervisor.stop()

    # --- People ----------------------------------------------------------------------------------------------

    def member(self, *, role: str = "member", usd: str = "1000", desk: bool = False) -> Member:
        """A new account with simulated money in its wallet and one key."""
        if not self._stock:
            self._stock = self.at_once(*[self._open_account] * STOCK)
        account, key = self._open_account(desk=True) if desk else self._stock.pop()
        if role != "member":
            self.operator.done("PATCH", f"/v1/admin/accounts/{account}", {"role": role})
        if usd != "0":
            ref = uuid.uuid4().hex
            deposit = {"account": account, "amount": usd, "provider": "simulated-faucet", "provider_ref": ref}
            self.operator.done("POST", "/v1/admin/deposits", deposit)
        return Member(self, account, key)

    def _open_account(self, *, desk: bool = False) -> tuple[int, Key]:
        body = {"name": "somebody", "role": "member", "desk": desk}
        account = self.operator.done("POST", "/v1/admin/accounts", body)["account"]
        return account, self.key(account, "read", "trade", "supply")

    def seller(self, contract: str, qty: int = 100, *, hours: int = 1, **more: Any) -> Member:
        """A provider with machines for one hour, or for so many from it on."""
        seller = self.member(role="provider", usd="0", **more)
        seller.back(contract, qty, hours=hours)
        return seller

    def key(self, account: int, *scopes: str, **more: object) -> Key:
        """A key that the gateway knows by now."""
        answer = self.operator.ask("POST", "/v1/admin/keys", {"account": account, "scopes": scopes, **more})
        assert answer.status_code == 201, answer.text
        key = Key.of(answer.json())
        probe = {"Authorization": f"Bearer {key.bearer}"}
        self.until(
            lambda: self.operator.ask("GET", "/v1/requests/none", headers=probe).json()["code"] != "unauthenticated",
            "the gateway reads the key",
        )
        return key

    def fresh_hour(self, class_id: str = CLASSES[0]) -> str:
        """A contract that no other test trades in."""
        self._hours[class_id] += 1
        return self._listed[class_id][self._hours[class_id]]

    def fresh_hours(self, count: int, class_id: str = CLASSES[0]) -> list[str]:
        """So many of them in a row."""
        return [self.fresh_hour(class_id) for _ in range(count)]

    def first_hour(self) -> str:
        """The one whose gate closes next, with a few seconds to act in it."""
        closing = (self.market_ms() + (5 + 5) * 60_000) // 3_600_000  # the gate's five minutes, and five for us
        return next(symbol for symbol in self._listed[CLASSES[0]] if milliseconds(begin(symbol)) // 3_600_000 > closing)

    def running_hour(self, class_id: str = CLASSES[0]) -> str:
        """The contract whose hour runs, with a third of it to go at least."""

        def found() -> list[str]:
            listed = self.operator.get(f"/v1/contracts?class={class_id}")
            return [each["contract"] for each in listed if each["phase"] == "running"]

        def early() -> bool:
            # Its gate closes five minutes before it begins.
            return bool(found()) and not 38 < self.market_ms() // 60_000 % 60 < 55

        self.until(early, "an hour begins")
        return found()[0]

    # --- Waiting and looking ---------------------------------------------------------------------------------

    def answers(self, member: Member, path: str) -> bool:
        try:
            return member.ask("GET", path).is_success
        except httpx.HTTPError:
            return False

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            self.supervisor.poll()
            time.sleep(0.01)

    def status(self) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = self.operator.get("/v1/status")["shards"]
        return shards

    def settled(self) -> None:
        """Settlement has passed all that has happened by now."""
        goal = [shard["seq"] for shard in self.status()]
        self.until(
            lambda: all(shard["settled_seq"] >= seq for shard, seq in zip(self.status(), goal, strict=True)), "settled"
        )

    def shown(self) -> None:
        """Market data has passed all that has happened by now."""
        goal = {shard["shard"]: shard["seq"] for shard in self.status()}

        def passed() -> bool:
            answer = self.operator.ask("GET", "/v1/market")
            return answer.is_success and all(at["seq"] >= goal[at["shard"]] for at in answer.json()["shards"])

        self.until(passed, "market data has passed it")

    def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """From the database itself."""
        return self._loop.run_until_complete(self._rows(query, arguments))

    async def _rows(self, query: str, arguments: Sequence[object]) -> list[dict[str, Any]]:
        for _ in range(2):
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self.stack.dsn)
            try:
                return [dict(row) for row in await self._connection.fetch(query, *arguments)]
            except asyncpg.PostgresConnectionError:  # the server was killed since
                self._connection.terminate()
        raise AssertionError("the database does not stay")

    def log_tails(self) -> list[tuple[str, str]]:
        """(file, its last lines, of each its end, where a traceback says what happened) of every service."""
        logs = sorted((self.stack.home / "logs").glob("*.log"))
        return [(log.name, "\n".join(line[-500:] for line in log.read_text().splitlines()[-8:])) for log in logs]

    def market_ms(self) -> int:
        """Market time, as the door tells it."""
        return milliseconds(self.operator.get("/v1/time")["market"])

    def at_once(self, *asks: Callable[[], T]) -> list[T]:
        """What is answered when all are asked at the same moment."""
        with ThreadPoolExecutor(len(asks)) as pool:
            ready = threading.Barrier(len(asks))

            def run(ask: Callable[[], T]) -> T:
                ready.wait()
                return ask()

            return list(pool.map(run, asks))

    # --- Faults ----------------------------------------------------------------------------------------------

    @contextmanager
    def stopped(self, *names: str) -> Iterator[None]:
        """Processes that stand still while the block runs. `broker` is Kafka."""
        pids = [self.kafka.pid if name == "broker" else self.supervisor.pid(name) for name in names]
        with ExitStack() as stack:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
                stack.callback(os.kill, pid, signal.SIGCONT)
            yield

    @contextmanager
    def pausing(self, name: str, seconds: float) -> Iterator[None]:
        """A process that stands still from the block's beginning on, for so long."""
        with self.stopped(name), ExitStack() as stack:
            pid = self.kafka.pid if name == "broker" else self.supervisor.pid(name)
            timer = threading.Timer(seconds, os.kill, (pid, signal.SIGCONT))
            timer.start()
            stack.callback(timer.join)
            yield

    def gateway(self, name: str) -> str:
        """Start a further gateway; its address. It may not answer yet."""
        port = free_port()
        environment = self.stack.environment(HOURBOOK_NAME=name, HOURBOOK_HTTP_PORT=str(port))
        (first,) = [program for program in self.stack.programs() if program.name == "gateway"]
        self.supervisor.start(Program(name, first.argv, environment))
        return f"http://127.0.0.1:{port}"


@contextmanager
def open_exchange(kafka: ApacheKafka, name: str) -> Iterator[Exchange]:
    """On a database server of its own; when it fails, the processes' last lines are shown. `name`: of its topics."""
    with open_folder() as home, any_postgres()(home / "postgres", fsync=False) as postgres:
        running = Exchange(kafka, postgres, home, f"{name}{secrets.token_hex(4)}-")
        try:
            running.open()
            yield running
        except BaseException:
            for process, text in running.log_tails():
                print(f"--- {process}\n{text}")
            raise
        finally:
            running.close()
