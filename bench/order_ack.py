"""One client's order → acknowledgement over HTTP, p50. Target: at most 2.5 bare round trips over two hops of Kafka.

Ours: a client of the public API (bearer key, one connection kept open, one order after the other) against an exchange as `make
up` runs it: gateway, two shards with a standby each, settlement, Apache Kafka, Postgres; without desk and supply. The trading
balance is funded. Half of the orders rest, half buy at once from a standing ask. An acknowledgement is the answer 201.
Peer, on the same broker: client → topic → consumer → producer → topic → client, with bare aiokafka, acks=all, one message at a
time, each end in a process of its own; it begins when the message is sent, and ends when the client has read its echo.

The two take turns while the whole exchange runs. The broker does not force its disk (in a cluster replicas survive a power cut).

Afterwards every order is in the ledger, as many were filled as should be, with their fees; an order that is sent again is
answered as the first, and the audit of log and ledger finds nothing broken (`python -m services.audit`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.measure import Run, done, options, report, rounds, run_side
from bench.servers import Given, servers
from schemas.specifications import published
from services.audit.run import audit
from services.cli.stack import Stack
from services.runtime.infra import OwnedProcess, Supervisor, free_port
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool
from services.runtime.topics import wanted_settings

ORDERS = 100
"""In each round; the door lets 400 through at once and 200 a second."""
ROUNDS = 10
WARM = 20
SHARDS = 2
CLASS = "H100.SXM.80.US"
ASK, BID = "2.50", "1.90"
ASK_QTY = 100_000


class Caller:
    """The API as anybody speaks it: a bearer key, one connection, plain HTTP/1.1, nothing else in the way."""

    def __init__(self, port: int, bearer: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """(status, document)."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({} if method == "GET" else {"Idempotency-Key": secrets.token_hex(8)})
        try:
            self._connection.request(method, path, data, headers)
            with self._connection.getresponse() as answer:
                return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it again
            raise

    def done(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 # whatever the route answers
        """The document; of a request to settlement its outcome, once that is known."""
        status, document = self.ask(method, path, body)
        while status == 202:
            time.sleep(0.05)
            status, document = self.ask("GET", f"/v1/requests/{document['request_id']}")
            status = 202 if document["state"] == "pending" else status
        assert status in (200, 201), document
        return document["outcome"] if isinstance(document, dict) and "outcome" in document else document

    def order(self, **body: object) -> dict[str, Any]:
        """A placed order."""
        self._connection.request("POST", "/v1/orders", json.dumps(body).encode(), self._headers)
        with self._connection.getresponse() as answer:
            data = answer.read()
            assert answer.status == 201, data
        placed: dict[str, Any] = json.loads(data)
        return placed


def ours(given: argparse.Namespace) -> None:
    """One client process; its orders carry the round in their ids."""
    member = Caller(int(os.environ["BENCH_PORT"]), os.environ["BENCH_BEARER"])
    contract = os.environ["BENCH_CONTRACT"]
    taken: list[float] = []
    filled = 0
    for number in range(WARM + given.orders):
        crosses = number % 2 == 0
        started = time.perf_counter()
        answer = member.order(
            contract=contract,
            side="buy",
            qty=1,
            price=ASK if crosses else BID,
            tif="gtc",
            client_order_id=f"{os.environ['BENCH_ROUND']}-{number}",
        )
        taken.append(time.perf_counter() - started)
        assert answer["filled"] == crosses, answer
        filled += answer["filled"]
    done(1000 * statistics.median(taken[WARM:]), filled=filled, p99=1000 * sorted(taken[WARM:])[-given.orders // 100])


async def theirs(given: argparse.Namespace) -> None:
    """The client of the bare round trip."""
    place = Given.from_environment()
    there, back = f"{place.prefix}there", TopicPartition(f"{place.prefix}back", 0)
    producer, consumer = clients(place.bootstrap)
    await producer.start()
    await consumer.start()
    consumer.assign([back])
    consumer.seek(back, (await consumer.end_offsets([back]))[back])
    taken = []
    body = b"x" * 120  # about an order
    for number in range(WARM + given.orders):
        value = b"%d %b" % (number, body)
        started = time.perf_counter()
        await producer.send(there, value, partition=0)
        record = await consumer.getone(back)
        taken.append(time.perf_counter() - started)
        assert record.value == value
    await producer.stop()
    await consumer.stop()
    done(1000 * statistics.median(taken[WARM:]), p99=1000 * sorted(taken[WARM:])[-given.orders // 100])


async def echo() -> None:
    """The other end of the bare round trip."""
    place = Given.from_environment()
    there, back = TopicPartition(f"{place.prefix}there", 0), f"{place.prefix}back"
    producer, consumer = clients(place.bootstrap)
    await producer.start()
    await consumer.start()
    consumer.assign([there])
    consumer.seek(there, 0)
    async for record in consumer:
        await producer.send(back, record.value, partition=0)


def clients(bootstrap: str) -> tuple[AIOKafkaProducer, AIOKafkaConsumer]:
    """As the rooms open them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    return producer, AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", fetch_max_wait_ms=250)


# --- The exchange -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def exchange(place: Given) -> Iterator[Stack]:
    """An exchange with an empty ledger, taking orders."""
    with processes(place) as (stack, _):
        yield stack


@contextlib.contextmanager
def processes(
    place: Given, *, shards: int = SHARDS, feed: bool = False, delivery: bool = False, router: bool = False
) -> Iterator[tuple[Stack, Supervisor]]:
    """The same, and who keeps its processes; with market data, delivery and the router where they are asked for."""
    stack = Stack(
        place.bootstrap,
        place.dsn,
        place.home,
        shards=shards,
        http_port=free_port(),
        feed_port=free_port() if feed else 0,
        market_port=free_port() if feed else 0,
        delivery_port=free_port() if delivery else 0,
        router_port=free_port() if router else 0,
        topic_prefix=place.prefix,
    )
    asyncio.run(stack.create(sandbox=True))
    with Supervisor(place.home / "logs") as supervisor:
        stack.start(supervisor)
        nobody = Caller(stack.http_port, "")
        until(lambda: nobody.ask("GET", "/v1/status")[1]["accepting_orders"], supervisor)
        if feed:
            until(lambda: nobody.ask("GET", "/v1/market")[0] == 200, supervisor)
        yield stack, supervisor


def furnish(stack: Stack) -> dict[str, str]:
    """A provider with a standing ask, a member with money in the shard; the environment of the member's client."""
    operator = Caller(stack.http_port, first_operator(stack))
    operator.done("POST", "/v1/admin/classes", {"shard": 0, "specification": published()[CLASS].decode()})
    bearers = {name: account(operator, name, name) for name in ("provider", "member")}
    provider, member = (Caller(stack.http_port, bearers[name]) for name in ("provider", "member"))
    until(lambda: member.ask("GET", "/v1/account")[0] == 200)
    hours = operator.done("GET", f"/v1/contracts?class={CLASS}")
    hour = [hour for hour in hours if hour["phase"] == "forward"][2]
    backing = {"class": CLASS, "from": hour["hour"], "hours": 1, "ground": "declared", "qty": ASK_QTY, "version": 1}
    provider.done("PUT", "/v1/capacity", backing)
    member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "500000", "class": CLASS})
    ask = provider.order(contract=hour["contract"], side="sell", qty=ASK_QTY, price=ASK, client_order_id="the-ask")
    assert ask["leaves"] == ASK_QTY, ask
    return {
        "BENCH_PORT": str(stack.http_port),
        "BENCH_BEARER": bearers["member"],
        "BENCH_CONTRACT": hour["contract"],
    }


def first_operator(stack: Stack) -> str:
    """His bearer, once the door knows it."""
    bearer = asyncio.run(stack.first_operator_key()).bearer
    operator = Caller(stack.http_port, bearer)
    until(lambda: operator.ask("GET", "/v1/keys")[0] == 200)
    return bearer


def account(operator: Caller, name: str, role: str, amount: str = "1000000") -> str:
    """A new account with so many USD in its wallet; its bearer."""
    account = operator.done("POST", "/v1/admin/accounts", {"name": name, "role": role})["account"]
    deposit = {"account": account, "amount": amount, "provider": "simulated-faucet", "provider_ref": name}
    operator.done("POST", "/v1/admin/deposits", deposit)
    asked = {"account": account, "scopes": ["read", "trade", "supply"]}
    bearer: str = operator.done("POST", "/v1/admin/keys", asked)["bearer"]
    return bearer


def until(holds: Callable[[], bool], supervisor: Supervisor | None = None, seconds: float = 60) -> None:
    """Wait for it; a door that is not open yet, or does not know a key yet, is no error."""
    deadline = time.monotonic() + seconds
    while True:
        if supervisor is not None:
            supervisor.poll()
        try:
            if holds():
                return
        except (OSError, http.client.HTTPException):
            pass  # nobody listens yet
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)


def main() -> None:
    given = options(__doc__, rounds=ROUNDS, orders=ORDERS)
    if given.side == "ours":
        ours(given)
        return
    if given.side:
        uvloop.run({"peer": lambda: theirs(given), "echo": echo}[given.side]())
        return
    with servers() as started:
        environment, place = started.enter()
        with exchange(place) as stack:
            asyncio.run(create_bare_topics(place))
            command = [sys.executable, "-m", "bench.order_ack", "--side", "echo"]
            bare = OwnedProcess(command, log=place.home / "echo.log")
            environment |= furnish(stack)
            numbers = count(1)

            def run(side: str) -> Run:
                if side == "ours":
                    environment["BENCH_ROUND"] = f"r{next(numbers)}"
                return run_side("order_ack", side, *given.passed_on, env=environment)

            # A young broker and a young exchange are twice as slow as warm ones.
            warm, _ = rounds("order_ack, not counted", 2, run)
            mine, peer = rounds("order_ack", given.rounds, run)
            bare.stop()
            answered = [*warm, *mine]
            placed = len(answered) * (WARM + given.orders)
            asyncio.run(check(environment, place, placed, sum(run["filled"] for run in answered)))
    report(
        "order_ack",
        "ms",
        mine,
        peer,
        more_is_better=False,
        orders=given.orders,
        p99_ours=round(statistics.median(run["p99"] for run in mine), 3),
        p99_peer=round(statistics.median(run["p99"] for run in peer), 3),
    )


async def check(environment: dict[str, str], place: Given, orders: int, filled: int) -> None:
    """What a figure is worth nothing without. Raises AssertionError."""
    member = Caller(int(environment["BENCH_PORT"]), environment["BENCH_BEARER"])
    contract = environment["BENCH_CONTRACT"]
    again = member.order(contract=contract, side="buy", qty=1, price=ASK, tif="gtc", client_order_id="r1-0")
    assert again["repeated"], again
    pool = await open_pool(place.dsn)
    deadline = time.monotonic() + 20
    while await pool.fetchval("SELECT count(*) FROM settlement.orders") < orders + 1:
        assert time.monotonic() < deadline, "settlement does not catch up"
        await asyncio.sleep(0.1)
    row = await pool.fetchrow("SELECT count(*) AS fills, sum(seller_fee + buyer_fee) AS fees FROM settlement.fills")
    assert row["fills"] == filled == orders // 2, f"{row['fills']} fills, {filled} were acknowledged"
    assert row["fees"] == filled * -(-int(float(ASK) * 1e6) * 50 // 10_000), row
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        found = await audit(cluster, pool, SHARDS, None, lambda _: None)
    await pool.close()
    broken = {finding.name: finding.breaches for finding in found if finding.broken}
    assert not broken, broken
    seen = {finding.name for finding in found if finding.looked_at}
    assert seen >= {"M1", "M7", "C1", "O1", "O2", "O3", "S1", "D1"}, f"only {seen} were looked at"


async def create_bare_topics(place: Given) -> None:
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        for topic in ("there", "back"):
            await cluster.create_topic(topic, 1, 1, wanted_settings(1))


if __name__ == "__main__":
    main()
