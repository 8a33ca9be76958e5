"""Orders a second from 64 clients over HTTP, against the gateway of PyPI `matching-engine`. Target: 0.7 of it.

Ours: 64 members with a bearer key and a connection each, kept open, one request under way on each, against an exchange as
`make up` runs it (gateway, two shards with a standby each, settlement, Apache Kafka, Postgres; without desk and supply), new for
each round. Trading balances are funded. Half of the orders rest, half buy at once from a standing ask; half go to each shard.
`--batch 64` sends them with POST /v1/orders/batch, as `bench.batch_rate` does. An order counts when its acknowledgement has come;
one that is told to come later (`overloaded`: settlement is behind) is sent again, and the time counts.
Peer: its own gateway as it is published (`matching-engine serve`, two markets, a write-ahead log forced to disk in groups), the
same 64 connections, the same half that rests and half that trades; it knows no keys, no money and no order ids of clients.
Nothing of ours runs meanwhile but an idle broker and an idle database.

Afterwards every order of ours is in the ledger, half of them filled, with their fees; one that is sent again is answered as the
first; the audit of log and ledger finds nothing broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.crowd import crowd, request
from bench.measure import Run, done, options, report, rounds, run_side
from bench.order_ack import Caller, account, exchange, first_operator, until
from bench.servers import Given, Servers, servers
from schemas.specifications import published
from services.audit.run import audit
from services.cli.stack import Stack
from services.runtime.infra import OwnedProcess, free_port
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool

CLIENTS = 64
ORDERS = 100
"""Of each client in each round."""
CLASSES = ("H100.SXM.80.US", "L40S.48.US")
"""One in each shard."""
PRICES = {"H100.SXM.80.US": ("2.50", "1.90"), "L40S.48.US": ("0.95", "0.70")}
"""What the standing ask wants, and what a bid that rests offers."""
ASK_QTY = 100_000
MONEY = "100000"
AGAIN_S = 0.05


# --- Ours ---------------------------------------------------------------------------------------------------


def ours(given: argparse.Namespace) -> None:
    """The crowd's process."""
    clients = json.loads(Path(os.environ["BENCH_CLIENTS"]).read_text())
    filled = accepted = 0

    def deal(status: int, body: bytes) -> float | None:
        nonlocal filled, accepted
        if status in (429, 503):
            assert json.loads(body)["retryable"], body
            return AGAIN_S
        assert status in (200, 201), (status, body)
        answer = json.loads(body)
        outcomes = [outcome["order"] for outcome in answer["outcomes"]] if given.batch > 1 else [answer]
        if not all(outcomes):
            refused = [outcome["problem"] for outcome in answer["outcomes"] if outcome["problem"]]
            assert all(each["retryable"] for each in refused), refused
            return AGAIN_S
        accepted += len(outcomes)
        filled += sum(order["filled"] for order in outcomes)
        return None

    asked = [_requests(number, client, given) for number, client in enumerate(clients)]
    taken = uvloop.run(crowd(int(os.environ["BENCH_PORT"]), asked, deal))
    done(accepted / taken.seconds, accepted=accepted, filled=filled, again=taken.again)


def _requests(number: int, client: dict[str, str], given: argparse.Namespace) -> list[bytes]:
    orders = [_order(number, turn, client) for turn in range(given.orders)]
    key = f"Authorization: Bearer {client['bearer']}"
    if given.batch == 1:
        return [request("/v1/orders", json.dumps(order).encode(), key) for order in orders]
    batches = [orders[first : first + given.batch] for first in range(0, len(orders), given.batch)]
    return [request("/v1/orders/batch", json.dumps({"orders": batch}).encode(), key) for batch in batches]


def _order(number: int, turn: int, client: dict[str, str]) -> dict[str, Any]:
    class_id = CLASSES[(number + turn // 2) % 2]
    price = PRICES[class_id][turn % 2]
    name = f"o{client.get('round', '')}-{turn}"
    return {"contract": client[class_id], "side": "buy", "qty": 1, "price": price, "client_order_id": name}


def furnish(stack: Stack) -> list[dict[str, str]]:
    """A provider with a standing ask in each class, and the clients: bearer, and the hour in which they trade of each class.

    One class in each shard, or both in the only one.
    """
    bearer = first_operator(stack)
    operator = Caller(stack.http_port, bearer)
    for number, class_id in enumerate(CLASSES):
        listed = {"shard": number % stack.shards, "specification": published()[class_id].decode()}
        operator.done("POST", "/v1/admin/classes", listed)
    provider = Caller(stack.http_port, account(operator, "provider", "provider", MONEY))
    until(lambda: provider.ask("GET", "/v1/account")[0] == 200)
    hours = {}
    for class_id in CLASSES:
        contracts = operator.done("GET", f"/v1/contracts?class={class_id}")
        hour = [hour for hour in contracts if hour["phase"] == "forward"][2]
        backing = {
            "class": class_id,
            "from": hour["hour"],
            "hours": 1,
            "ground": "declared",
            "qty": ASK_QTY,
            "version": 1,
        }
        provider.done("PUT", "/v1/capacity", backing)
        ask = {"contract": hour["contract"], "side": "sell", "qty": ASK_QTY, "price": PRICES[class_id][0]}
        assert provider.order(**ask, client_order_id=f"ask-{class_id}")["leaves"] == ASK_QTY
        hours[class_id] = hour["contract"]

    def client(number: int) -> dict[str, str]:
        own = account(Caller(stack.http_port, bearer), f"client-{number}", "member", MONEY)
        member = Caller(stack.http_port, own)
        until(lambda: member.ask("GET", "/v1/account")[0] == 200)
        for class_id in CLASSES:
            member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "40000", "class": class_id})
        return {"bearer": own, **hours}

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(client, range(CLIENTS)))


async def check(place: Given, orders: int, filled: int) -> None:
    """What a figure is worth nothing without. Raises AssertionError."""
    pool = await open_pool(place.dsn)
    deadline = time.monotonic() + 60
    while await pool.fetchval("SELECT count(*) FROM settlement.orders") < orders + len(CLASSES):
        assert time.monotonic() < deadline, "settlement does not catch up"
        await asyncio.sleep(0.1)
    row = await pool.fetchrow("SELECT count(*) AS fills, sum(seller_fee) AS fees FROM settlement.fills")
    assert row["fills"] == filled == orders // 2, f"{row['fills']} fills, {filled} were acknowledged"
    assert row["fees"] > 0, row
    async with Cluster(place.bootstrap, prefix=place.prefix) as cluster:
        found = await audit(cluster, pool, len(CLASSES), None, lambda _: None)
    await pool.close()
    broken = {finding.name: finding.breaches for finding in found if finding.broken}
    assert not broken, broken


# --- The peer -----------------------------------------------------------------------------------------------


def theirs(given: argparse.Namespace) -> None:
    """The crowd's process. Account 1 to 64 buy from the standing ask of account 1000, or rest."""
    filled = accepted = 0

    def deal(status: int, body: bytes) -> None:
        nonlocal filled, accepted
        assert status == 200, (status, body)
        accepted += 1
        filled += json.loads(body)["status"] == "filled"

    asked = [[_their_order(number, turn) for turn in range(given.orders)] for number in range(CLIENTS)]
    taken = uvloop.run(crowd(int(os.environ["BENCH_PORT"]), asked, deal))
    assert filled == accepted // 2, (filled, accepted)
    done(accepted / taken.seconds, accepted=accepted, filled=filled)


def _their_order(number: int, turn: int) -> bytes:
    symbol = ("BTC-USDT", "ETH-USDT")[(number + turn // 2) % 2]
    body = {"account": number + 1, "side": "buy", "price": ("2.50", "1.90")[turn % 2], "quantity": "1"}
    return request(f"/markets/{symbol}/orders", json.dumps(body).encode())


@contextmanager
def peer(home: Path) -> Iterator[int]:
    """Its gateway with nothing in its books but a standing ask in each of two markets; its port."""
    port = free_port()
    data = home / "peer"
    command = [sys.executable, "-m", "matching_engine", "serve", "--port", str(port)]
    gateway = OwnedProcess(command, log=home / "peer.log", env={**os.environ, "ME_DATA_DIR": str(data)})
    try:
        until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).status == 200)
        for symbol in ("BTC-USDT", "ETH-USDT"):
            ask = {"account": 1_000, "side": "sell", "price": "2.50", "quantity": "100000"}
            asked = urllib.request.Request(  # an address of this file
                f"http://127.0.0.1:{port}/markets/{symbol}/orders",
                json.dumps(ask).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(asked, timeout=5) as answer:  # the same
                assert json.load(answer)["status"] == "resting"
        yield port
    finally:
        gateway.stop()
        shutil.rmtree(data, ignore_errors=True)


# --- Both ---------------------------------------------------------------------------------------------------


def measured(bench: str, given: argparse.Namespace, started: Servers) -> None:
    """Rounds in turn, each with an exchange, or a gateway of the peer's, of its own."""

    def run(side: str) -> Run:
        environment, place = started.enter()
        if side == "peer":
            with peer(place.home) as port:
                return run_side(bench, side, *given.passed_on, env=environment | {"BENCH_PORT": str(port)})
        with exchange(place) as stack:
            clients = place.home / "clients.json"
            clients.write_text(json.dumps(furnish(stack)))
            environment |= {"BENCH_PORT": str(stack.http_port), "BENCH_CLIENTS": str(clients)}
            result = run_side(bench, side, *given.passed_on, env=environment)
            asyncio.run(check(place, CLIENTS * given.orders, result["filled"]))
            return result

    mine, theirs = rounds(bench, given.rounds, run)
    report(
        bench,
        "orders/s",
        mine,
        theirs,
        clients=CLIENTS,
        orders=CLIENTS * given.orders,
        again=[run["again"] for run in mine],
    )


def bench(name: str, *, batch: int, orders: int) -> None:
    """The command line of a figure."""
    given = options(__doc__, rounds=3, orders=orders, batch=batch)
    if given.side:
        (theirs if given.side == "peer" else ours)(given)
        return
    with servers() as started:
        measured(name, given, started)


if __name__ == "__main__":
    bench("order_rate", batch=1, orders=ORDERS)
