"""`python -m bench.costs`: what an order, a repricing, a shard and a reader of the feed cost, process by process.

Everything runs against an exchange as `make up` runs it, with market data and without desk and supply; processor time is the
system's own count (/proc), of each process with its children, while as much is asked as it takes: whoever is busy does not wait
in vain, so what it uses at rest is not taken off. docs/scaling.md gets the tables; what follows from them is said there by
people. With names: only these, and no page.

orders        µs per order, each a request of its own, and in batches of 64: the clients of bench/order_rate.py
reprices      µs per repricing of a class: both sides in all of its hours, one request of a market maker
idle          what the exchange uses when nobody asks, and what each class adds to it: memory of its 168 empty books
readers       market data's time per change of a book and reader, 1 to 1,000 of them
side by side  orders a second with one gateway or two, one shard or two
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench import order_ack, order_rate
from bench.attackers import attack
from bench.document import about, with_section
from bench.measure import Run, run_side
from bench.member import EVERY_S, Asked
from bench.order_ack import Caller, account, first_operator, processes, until
from bench.servers import Given, servers
from bench.usage import MIB, Meter, resident
from schemas.specifications import published
from services.cli.stack import Stack
from services.runtime.infra import Program, Supervisor, free_port
from services.runtime.kafka import Cluster

PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
HEADING: Final = "Measured"
CLASS: Final = order_ack.CLASS
ORDERS: Final = 100
"""Of each of the 64 clients."""
BATCHED: Final = 1_280
BATCH: Final = 64
REPRICES: Final = 300
WARM: Final = 50
IDLE_S: Final = 20
READERS: Final = (1, 100, 1_000)
READ_S: Final = 20
LEAST: Final = 0.005
"""Of a core: two measurements of the same differ by so much."""
CLIENTS: Final = "clients"


class Table(NamedTuple):
    """Of the page."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def text(self) -> str:
        lines = [self.title, "", f"| {' | '.join(self.head)} |", f"| {' | '.join('---' for _ in self.head)} |"]
        return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in self.rows)])


class House(NamedTuple):
    """A running exchange."""

    stack: Stack
    supervisor: Supervisor
    place: Given
    environment: Mapping[str, str]
    pids: dict[str, int]
    """Of all its processes and its servers."""


@contextmanager
def house(*, shards: int = 2, gateways: int = 1, feed: bool = True) -> Iterator[House]:
    """An exchange with nothing in it. The ports of further gateways are in BENCH_PORTS."""
    with servers() as started:
        environment, place = started.enter()
        with processes(place, shards=shards, feed=feed) as (stack, supervisor):
            ports = [stack.http_port]
            for number in range(1, gateways):
                first = stack.programs()[-1]
                ports.append(free_port())
                more = {"HOURBOOK_HTTP_PORT": str(ports[-1]), "HOURBOOK_NAME": f"gateway-{number}"}
                supervisor.start(Program(f"gateway-{number}", first.argv, {**first.env, **more}))
                until(
                    lambda port=ports[-1]: Caller(port, "").ask("GET", "/v1/status")[1]["accepting_orders"], supervisor
                )
            pids = {life.name: life.pid for life in supervisor.lives()} | started.pids()
            yield House(stack, supervisor, place, environment | {"BENCH_PORTS": json.dumps(ports)}, pids)
            supervisor.poll()
            assert not any(supervisor.restarts().values()), supervisor.restarts()


def idle_of(place: House) -> dict[str, float]:
    """Seconds of processor time a second, when nothing is asked."""
    meter = Meter(place.pids)
    time.sleep(IDLE_S)
    seconds, used = meter.read()
    return {name: spent / seconds for name, spent in used.items()}


def kind(name: str) -> str:
    """Which row a process is in: of a shard, its writer and its standby."""
    return name.partition("-")[0]


def by_kind(used: Mapping[str, float]) -> dict[str, float]:
    """Sums; two processes of a shard are one row."""
    sums: dict[str, float] = {}
    for name, value in used.items():
        sums[kind(name)] = sums.get(kind(name), 0.0) + value
    return sums


# --- Orders ---------------------------------------------------------------------------------------------------


class Load(NamedTuple):
    """Of one run of the clients."""

    rate: float
    cores: float
    """Cores that were at work: all processes and the clients."""
    each_us: dict[str, float]
    """Process → µs per order, the clients' among them."""


def load(place: House, clients: list[dict[str, str]], *, orders: int, batch: int) -> Load:
    """All clients at once, an equal part of them at each gateway."""
    ports = json.loads(place.environment["BENCH_PORTS"])

    def part(number: int) -> Run:
        file = place.place.home / f"clients-{number}.json"
        file.write_text(json.dumps(clients[number :: len(ports)]))
        environment = {**place.environment, "BENCH_PORT": str(ports[number]), "BENCH_CLIENTS": str(file)}
        return run_side("order_rate", "ours", "--orders", str(orders), "--batch", str(batch), env=environment)

    meter, before = Meter(place.pids), resource.getrusage(resource.RUSAGE_CHILDREN)
    with ThreadPoolExecutor(len(ports)) as pool:
        runs = list(pool.map(part, range(len(ports))))
    accepted = sum(run["accepted"] for run in runs)
    _, more = meter.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    more[CLIENTS] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert accepted == len(clients) * orders
    busy = sum(run["value"] for run in runs)
    return Load(
        busy,
        sum(more.values()) * busy / accepted,
        {name: 1e6 * each / accepted for name, each in by_kind(more).items()},
    )


def warmed_up(place: House) -> list[dict[str, str]]:
    """The clients, after some orders: a young exchange, and a young broker, are slower than warm ones."""
    clients = order_rate.furnish(place.stack)
    load(place, _fresh(clients), orders=WARM, batch=1)
    return clients


def orders() -> list[Table]:
    with house() as place:
        clients = warmed_up(place)
        singly = load(place, _fresh(clients), orders=ORDERS, batch=1)
        batched = load(place, _fresh(clients), orders=BATCHED, batch=BATCH)
    rows = [
        [name, f"{each:,.0f}", f"{batched.each_us[name]:,.0f}"]
        for name, each in sorted(singly.each_us.items(), key=lambda item: -item[1])
    ]
    rows.append(["all", *(f"**{sum(run.each_us.values()):,.0f}**" for run in (singly, batched))])
    rows.append(["orders/s", *(f"{run.rate:,.0f}" for run in (singly, batched))])
    title = "**µs of processor time per order**; half rest, half trade. Matching: writers and standbys"
    return [Table(title, ["process", "one a request", f"{BATCH} a request"], rows)]


def side_by_side() -> list[Table]:
    rows = []
    for gateways, shards in ((1, 1), (1, 2), (2, 1), (2, 2)):
        with house(shards=shards, gateways=gateways, feed=False) as place:
            clients = warmed_up(place)
            singly = load(place, _fresh(clients), orders=ORDERS, batch=1)
            batched = load(place, _fresh(clients), orders=BATCHED, batch=BATCH)
        row = [f"{gateways} and {shards}"]
        for run in (singly, batched):
            row += [f"{run.rate:,.0f}", f"{run.cores:.2f}"]
        rows.append(row)
    head = [
        "gateways and shards",
        "orders/s, one a request",
        "cores at work",
        f"orders/s, {BATCH} a request",
        "cores at work",
    ]
    return [Table(f"**Side by side**, on {os.cpu_count()} cores, clients included", head, rows)]


_rounds = 0


def _fresh(clients: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same with other client order ids: those of the run before are known."""
    global _rounds
    _rounds += 1
    return [{**client, "round": str(_rounds)} for client in clients]


# --- What a class costs ---------------------------------------------------------------------------------------


def idle() -> list[Table]:
    """Processes at rest, then with all published classes listed."""
    with house() as place:
        time.sleep(IDLE_S)  # a young broker is busy with itself
        empty = {name: resident(pid) for name, pid in place.pids.items()}
        used = idle_of(place)
        operator = Caller(place.stack.http_port, first_operator(place.stack))
        contracts = 0
        for number, (class_id, text) in enumerate(published().items()):
            operator.done("POST", "/v1/admin/classes", {"shard": number % 2, "specification": text.decode()})
            contracts += len(operator.done("GET", f"/v1/contracts?class={class_id}"))
        time.sleep(5)
        listed = {name: resident(pid) for name, pid in place.pids.items()}

    def held(name: str) -> float:
        """Books that a process knows: of a shard, its half."""
        return contracts / 2 if kind(name) == "matching" else contracts

    rows = [
        [
            name,
            f"{100 * used[name]:.1f} %",
            f"{empty[name] / MIB:.0f}",
            "–" if name in ("Kafka", "Postgres") else f"{(listed[name] - empty[name]) / 1024 / held(name):.1f}",
        ]
        for name in empty
    ]
    title = (
        f"**At rest**: of a core; memory with nothing listed; what each of {contracts:,} empty books in two shards adds"
    )
    return [Table(title, ["process", "processor", "MiB", "KiB per empty book that it knows"], rows)]


def reprices() -> list[Table]:
    """One market maker, one class, all of its hours, again and again; once with a reader of all books."""
    with house() as place:
        operator = Caller(place.stack.http_port, first_operator(place.stack))
        operator.done("POST", "/v1/admin/classes", {"shard": 0, "specification": published()[CLASS].decode()})
        maker = Caller(place.stack.http_port, account(operator, "maker", "market_maker", order_rate.MONEY))
        until(lambda: maker.ask("GET", "/v1/account")[0] == 200)
        listed = [each for each in maker.done("GET", f"/v1/contracts?class={CLASS}") if each["phase"] == "forward"][2:]
        maker.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "90000", "class": CLASS})
        promise = {"class": CLASS, "from": listed[0]["hour"], "hours": len(listed), "ground": "promised", "qty": 4}
        maker.done("PUT", "/v1/capacity", promise | {"version": 1, "collateral_price": "6.60"})
        hours = [each["hour"] for each in listed]
        _reprice(place, maker, hours)
        began = asyncio.run(_written(place))
        silent = _reprice(place, maker, hours)
        ended = asyncio.run(_written(place))
        environment = {**place.environment, "BENCH_FEED_PORT": str(place.stack.feed_port)}
        books = [f"book:{each['contract']}" for each in listed]
        with attack(environment, "subscribers", readers=1, channels=books):
            heard = _reprice(place, maker, hours)
    rows = [
        [name, f"{each:,.0f}", f"{heard[name]:,.0f}"]
        for name, each in sorted(silent.items(), key=lambda item: -item[1])
    ]
    rows.append(["all", f"**{sum(silent.values()):,.0f}**", f"**{sum(heard.values()):,.0f}**"])
    rows += [
        [f"bytes of `{topic}`", f"{(ended[topic] - began[topic]) / REPRICES:,.0f}", ""]
        for topic in ("commands", "events")
    ]
    title = f"**µs of processor time per repricing** of a class: both sides of {len(hours)} hours, in one request"
    return [Table(title, ["process", "nobody reads the feed", "somebody reads all books"], rows)]


async def _written(place: House) -> dict[str, int]:
    """Bytes of all values in the logs of shard 0, by topic."""
    sizes = {}
    async with Cluster(place.stack.bootstrap, prefix=place.stack.topic_prefix) as cluster:
        for topic in ("commands", "events"):
            log, size = cluster.log(topic, 0), 0
            offset, end = await log.bounds()
            while offset < end:
                records = await log.read(offset, wait_ms=1_000)
                size += sum(len(record.value) for record in records)
                offset = records[-1].offset + 1 if records else offset
            sizes[topic] = size
    return sizes


def _reprice(place: House, maker: Caller, hours: list[str]) -> dict[str, float]:
    meter = Meter(place.pids)
    for turn in range(REPRICES):
        up = turn % 2
        prices = {"bid": f"{2 + up / 100:.2f}", "bid_qty": 4, "ask": f"{4 + up / 100:.2f}", "ask_qty": 4}
        status, said = maker.ask("PUT", f"/v1/quotes/{CLASS}", {"quotes": [{"hour": hour, **prices} for hour in hours]})
        assert status == 200, said
        refused = [each for each in said["outcomes"] if each["refusal"]]
        assert not refused, refused[0]
    _, used = meter.read()
    return by_kind({name: 1e6 * spent / REPRICES for name, spent in used.items()})


# --- What a reader costs --------------------------------------------------------------------------------------


def readers() -> list[Table]:
    rows = []
    with house() as place:
        environment = {
            **place.environment,
            **order_ack.furnish(place.stack),
            "BENCH_FEED_PORT": str(place.stack.feed_port),
        }
        pids = {name: place.pids[name] for name in ("market_data",)}
        member = Asked(environment)  # 20 orders a second, each a change of the one book, and a reader
        member.during(READ_S / 2)
        alone = _busy_share(pids, member)
        for number in READERS:
            with attack(
                environment, "subscribers", readers=number, channels=[f"book:{environment['BENCH_CONTRACT']}"]
            ) as got:
                before = resident(pids["market_data"])
                more = _busy_share(pids, member) - alone
            assert got["cut_off"] == 0, got
            rows.append(
                [
                    f"{number:,}",
                    *(
                        (f"{100 * more:.1f} %", f"{1e6 * more * EVERY_S / number:.1f}")
                        if more > LEAST
                        else ("too little to see", "–")
                    ),
                    f"{before / MIB:.0f}",
                ]
            )
        member.stop()
    title = (
        f"**Readers of one book** that changes {1 / EVERY_S:.0f} times a second. With one, and the trade itself, market data "
        f"used {100 * alone:.1f} % of a core; these are on top"
    )
    return [Table(title, ["readers", "of a core", "µs per reader and change", "market data MiB"], rows)]


def _busy_share(pids: Mapping[str, int], member: Asked) -> float:
    meter = Meter(pids)
    member.during(READ_S)
    seconds, used = meter.read()
    return statistics.fmean(used.values()) / seconds


TABLES: Final[Mapping[str, Callable[[], list[Table]]]] = {
    "orders": orders,
    "reprices": reprices,
    "idle": idle,
    "readers": readers,
    "side-by-side": side_by_side,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TABLES))
    names = parser.parse_args().names
    if unknown := set(names) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    began, load_before = time.monotonic(), os.getloadavg()[0]
    parts = []
    for name, make in TABLES.items():
        if name in names or not names:
            for table in make():
                print(table.text(), file=sys.stderr, flush=True)
                parts.append(table.text())
    if not names:
        run = "\n".join(about(time.monotonic() - began, load_before))
        text = "\n\n".join(["Written by `make costs`.", run, *parts])
        PAGE.write_text(with_section(PAGE.read_text(), HEADING, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
