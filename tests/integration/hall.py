"""A whole exchange on servers of its own, which a test may stop, crash and start again; and members who ask it over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from schemas.specifications import published
from services.audit.report import Findings
from services.audit.run import audit
from services.cli.stack import Stack, logins_of
from services.runtime.infra import ApacheKafka, LocalPostgres, Supervisor, any_postgres, free_port, open_folder
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool
from services.runtime.walls import OPERATOR
from tests.conftest import Skip
from tests.integration.alarms import ringing, scraped

CLASSES = ("H100.SXM.80.US", "L40S.48.US")
"""One in each of two shards."""
MACHINES = "CPU.X86.LOCAL.UNV"
"""Where machines are handed over, with `delivers`: then there is market data as well."""
MEMBERS = (("provider", "provider"), ("maker", "market_maker"), ("buyer", "member"))


class Hall:
    """Servers, processes, and what members and an operator can ask."""

    def __init__(
        self,
        kafka: ApacheKafka,
        postgres: LocalPostgres,
        home: Path,
        supervisor: Supervisor,
        client: httpx.Client,
        logins: dict[str, str],
        *,
        delivers: bool = False,
        rents: bool = False,
    ) -> None:
        self.kafka = kafka
        self.postgres = postgres
        self.supervisor = supervisor
        dsn = postgres.create_database("hourbook")
        self.stack = Stack(kafka.bootstrap, dsn, home, shards=2, http_port=free_port(), logins=logins)
        self.stack.delivery_port = free_port() if delivers else 0
        if delivers or rents:
            self.stack.feed_port, self.stack.market_port = free_port(), free_port()
        self.stack.router_port = free_port() if rents else 0
        self.operator = ""
        self.bearers: dict[str, str] = {}
        self._client = client

    def open(self, rate: int) -> None:
        """Topics, processes, two classes in two shards, a provider, a market maker, a buyer."""
        asyncio.run(self.stack.create(sandbox=True, rate=rate))
        self.operator = asyncio.run(self.stack.first_operator_key()).bearer
        self.stack.start(self.supervisor)
        self.until(lambda: self.ask("GET", "/v1/keys", self.operator).is_success, "the gateway opens")
        for shard, class_id in enumerate(CLASSES):
            self.settle("/v1/admin/classes", {"shard": shard, "specification": published()[class_id].decode()})
        for name, role in MEMBERS:
            account = self.settle("/v1/admin/accounts", {"name": name, "role": role})["account"]
            deposit = {"account": account, "amount": "100000", "provider": "simulated-faucet", "provider_ref": name}
            self.settle("/v1/admin/deposits", deposit)
            asked = {"account": account, "scopes": ["read", "trade", "supply"]}
            self.bearers[name] = self.ask("POST", "/v1/admin/keys", self.operator, asked).json()["bearer"]
        self.until(lambda: self.ask("GET", "/v1/account", self.bearers["buyer"]).is_success, "the keys work")
        for class_id in CLASSES:
            self._back(class_id)
        if self.stack.delivery_port:
            self.settle("/v1/admin/classes", {"shard": 0, "specification": published()[MACHINES].decode()})

    def _back(self, class_id: str) -> None:
        """The next twelve hours are backed by machines and by promises."""
        cap = self.ask("GET", f"/v1/classes/{class_id}").json()["collar_high"]
        target = {"class": class_id, "from": self.hours(class_id)[1]["hour"], "hours": 12, "version": 1}
        self.settle("/v1/capacity", {**target, "ground": "declared", "qty": 500}, "provider", "PUT")
        self.settle("/v1/transfers", {"direction": "to_trading", "amount": "20000", "class": class_id}, "maker")
        promise = {**target, "ground": "promised", "qty": 8, "collateral_price": cap}
        self.settle("/v1/capacity", promise, "maker", "PUT")

    def hours(self, class_id: str) -> list[dict[str, Any]]:
        """Hours that can be traded, the next one first; empty while nobody answers."""
        found = self.ask("GET", f"/v1/contracts?class={class_id}")
        return [hour for hour in found.json() if hour["phase"] == "forward"] if found.is_success else []

    # --- Asking ----------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, bearer: str = "", body: Any = None) -> httpx.Response:
        """One request; 599 when nobody answers."""
        headers = {"Idempotency-Key": uuid.uuid4().hex[:32]}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            return self._client.request(method, f"{self.stack.url}{path}", json=body, headers=headers)
        except httpx.HTTPError:
            return httpx.Response(599)

    def settle(self, path: str, body: Any, who: str = "", method: str = "POST") -> dict[str, Any]:
        """A request to settlement that must be done."""
        answer = self.ask(method, path, self.bearers.get(who, self.operator), body)
        assert answer.status_code == 200, answer.text
        outcome: dict[str, Any] = answer.json()["outcome"]
        return outcome

    def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Keep the exchange running until it is so."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            self.supervisor.poll()
            time.sleep(0.1)

    def let_pass(self, seconds: float) -> None:
        """Keep the exchange running for so long."""
        deadline = time.monotonic() + seconds
        self.supervisor.run(until=lambda: time.monotonic() >= deadline)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Name → what each process says of itself, found by its run file; a process that does not answer is not there."""
        found = {}
        for file in sorted((self.stack.home / "run").glob("*.json")):
            try:
                found[file.stem] = status_of(json.loads(file.read_text())["status"])
            except (OSError, ValueError):
                continue
        return found

    def alarms(self) -> set[str]:
        """Which alerts of deploy/prometheus/alerts.yml what the processes tell now would set off."""
        files = (self.stack.home / "run").glob("*.json")
        return ringing(scraped({file.stem: json.loads(file.read_text())["status"] for file in files}))

    def waits(self) -> dict[str, str]:
        """Name → what it waits for."""
        return {name: said["waiting_for"] for name, said in self.statuses().items()}

    def rows(self, query: str) -> list[asyncpg.Record]:
        """Rows of the database."""

        async def ask() -> list[asyncpg.Record]:
            pool = await open_pool(self.stack.dsn)
            try:
                return list(await pool.fetch(query))
            finally:
                await pool.close()

        return asyncio.run(ask())

    def audited(self) -> Findings:
        """What the auditor finds in log and ledger."""

        async def run() -> Findings:
            pool = await open_pool(self.stack.dsn)
            try:
                async with Cluster(self.stack.bootstrap, login=self.stack.login(OPERATOR)) as cluster:
                    data = self.stack.home / "data"
                    return await audit(cluster, pool, 2, data / "snapshots", lambda _: None, archive=data / "archive")
            finally:
                await pool.close()

        return asyncio.run(run())

    def until_settled(self) -> None:
        """Until settlement has all that the gateway has heard by now: whoever was answered was answered from that."""
        wanted: dict[int, int] = {}

        def has_it() -> bool:
            answer = self.ask("GET", "/v1/status")
            shards = answer.json()["shards"] if answer.is_success else []
            for shard in shards:
                wanted.setdefault(shard["shard"], shard["seq"])
            return bool(shards) and all(shard["settled_seq"] >= wanted[shard["shard"]] for shard in shards)

        self.until(has_it, "settlement catches up")


def status_of(address: str) -> dict[str, Any]:
    """What a process says of itself. Raises OSError."""
    with urllib.request.urlopen(f"http://{address}/status", timeout=2) as answer:
        said: dict[str, Any] = json.load(answer)
    return said


@contextmanager
def open_hall(rate: int, *, always: bool = False, delivers: bool = False, rents: bool = False) -> Iterator[Hall]:
    """On a broker and a database of its own, every process with its login; when it fails, the processes' last lines are shown.

    `delivers`: with the delivery room; `rents`: with the router as well. `always`: who is halted
    is started again, as `make up` does it, and fails no test by itself.
    """
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)
    with (
        open_folder() as home,
        ApacheKafka(home / "kafka", logins=(logins := logins_of(home))) as kafka,
        any_postgres()(home / "postgres", fsync=False) as postgres,
        Supervisor(home / "logs", restarts_in_a_row_max=1_000, always=always) as supervisor,
        httpx.Client(timeout=10, trust_env=False) as client,
    ):
        try:
            hall = Hall(kafka, postgres, home, supervisor, client, logins, delivers=delivers, rents=rents)
            hall.open(rate)
            yield hall
        except BaseException:
            show_logs(home / "logs")
            raise


def show_logs(folder: Path) -> None:
    """What processes printed last."""
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-1500:]}")
