"""The process as it is deployed, on a real broker: logs of two shards in, sockets and answers out."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from schemas.codec import CHAIN_START, epoch_header, next_chain, pack_accounts
from schemas.feed_token import LIFE_MS, make_token
from schemas.market import Reference
from schemas.rentals_log import RentalMade, RentalNoticed, RentalRecord, RentalStopped, RouterBegan, Terms
from schemas.supply import ClassReference, OfferSeen, PollDone
from services.runtime.archive import Archive, copy
from services.runtime.infra import ApacheKafka, OwnedProcess, free_port
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing
from services.runtime.topics import create_topics
from tests.market_data.client import Client
from tests.market_data.flow import CLASSES, Flow
from tests.market_data.wire import Wire

FEED_KEY = bytes(range(32))
SHARDS = 2


class Shard:
    """A random market whose output stands in `events`, byte for byte as matching writes it."""

    def __init__(self, cluster: Cluster, shard: int) -> None:
        self.flow = Flow(f"process/{shard}", shard=shard)
        self.day = self.flow.day(10_000)
        self.log = cluster.log("events", shard)
        self.seq = 0
        self.chain = CHAIN_START

    async def go_on(self, outputs: int) -> None:
        """So many whole outputs more."""
        records = []
        while outputs:
            record = next(self.day)
            body = msgspec.msgpack.encode(record)
            self.seq, self.chain = record.seq, next_chain(self.chain, body)
            number, pair = record.seq.to_bytes(8, "big"), (1).to_bytes(8, "big") + record.frame_no.to_bytes(8, "big")
            headers = [("c", self.chain), ("q", number), ("w", pair), ("a", pack_accounts([])), epoch_header(1)]
            records.append(Outgoing(body, headers))
            outputs -= record.last
        await self.log.append(records)


class Exchange:
    """Topics, two shards, and a process of market data."""

    def __init__(self, kafka: ApacheKafka, prefix: str, home: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.home = home
        self.shards = [Shard(cluster, shard) for shard in range(SHARDS)]
        self.http_port, self.feed_port = free_port(), free_port()
        self.environment = {
            "HOURBOOK_KAFKA": kafka.bootstrap,
            "HOURBOOK_SHARDS": str(SHARDS),
            "HOURBOOK_TOPIC_PREFIX": prefix,
            "HOURBOOK_RUN": str(home),
            "HOURBOOK_FEED_KEY": base64.b64encode(FEED_KEY).decode(),
            "HOURBOOK_FEED_PORT": str(self.feed_port),
            "HOURBOOK_HTTP_PORT": str(self.http_port),
        }
        self.process: OwnedProcess | None = None
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http_port}", trust_env=False, timeout=5)

    async def start(self, **more: str) -> None:
        """Until it is at the end of the log, or has ended."""
        self.process = OwnedProcess(
            [sys.executable, "-m", "services.market_data"],
            log=self.home / "market_data.log",
            cwd=Path(__file__).parents[2],
            env={**os.environ, **self.environment, **more},
        )
        deadline = time.monotonic() + 30
        while self.process.exit_code() is None and (await self.status()).get("role") != "open":
            assert time.monotonic() < deadline, self.said()
            await asyncio.sleep(0.05)

    async def status(self) -> dict[str, Any]:
        try:
            address = json.loads((self.home / "market_data.json").read_text())["status"]
            answer = await self.http.get(f"http://{address}/status")
        except (OSError, ValueError, httpx.HTTPError):
            return {}
        found: dict[str, Any] = answer.json()
        return found

    def said(self) -> str:
        return (self.home / "market_data.log").read_text()

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.stop(5)

    async def get(self, path: str, status: int = 200) -> dict[str, Any]:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def levels(self) -> dict[str, Any]:
        """Symbol → levels as answers have them, of both shards."""
        return {
            symbol: {"bids": _pairs(bids, best_first=-1), "asks": _pairs(asks, best_first=1)}
            for shard in self.shards
            for symbol, (bids, asks) in shard.flow.levels().items()
        }


def _pairs(levels: dict[int, int], best_first: int) -> list[list[Any]]:
    return [[_text(price), levels[price]] for price in sorted(levels, key=lambda price: price * best_first)]


def _text(price: int) -> str:
    whole, fraction = divmod(price, 1_000_000)
    return f"{whole}.{f'{fraction:06d}'.rstrip('0').ljust(2, '0')}"


@pytest.fixture
async def exchange(kafka: ApacheKafka, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Exchange]:
    async with Cluster(kafka.bootstrap, prefix=topic_prefix) as cluster:
        await create_topics(cluster, SHARDS, sandbox=True)
        made = Exchange(kafka, topic_prefix, tmp_path, cluster)
        for shard in made.shards:
            await shard.go_on(120)
        yield made
        if made.process is not None:
            made.process.stop(10)
        await made.http.aclose()


async def _follow(wire: Wire, client: Client, exchange: Exchange) -> None:
    """Until the client has all that stands in the logs: what was told before a pong came before it."""
    goal = [shard.seq for shard in exchange.shards]
    async with asyncio.timeout(20):
        while [shard["seq"] for shard in (await exchange.get("/v1/market"))["shards"]] != goal:
            pass
        await wire.say({"op": "ping"})
        message: Any = {"type": ""}
        while message["type"] != "pong":
            message = await wire.hear()
            assert isinstance(message, dict), message
            client.read(json.dumps(message))


def _told(client: Client) -> dict[str, Any]:
    return {
        name.partition(":")[2]: {
            "bids": [[text, qty] for _, (text, qty) in sorted(book.bids.items(), reverse=True)],
            "asks": [[text, qty] for _, (text, qty) in sorted(book.asks.items())],
        }
        for name, book in client.books.items()
    }


async def test_what_stands_in_the_log_is_told_and_told_again_after_a_crash(exchange: Exchange) -> None:
    """Answers, then a reader of every book while the log grows, a kill -9, and the reader comes back."""
    await exchange.start()
    levels = exchange.levels()
    for symbol, sides in levels.items():
        book = await exchange.get(f"/v1/market/{symbol}/book?depth=1000")
        assert {side: book[side] for side in ("bids", "asks")} == sides
        assert book["as_of"]["seq"] == exchange.shards[book["as_of"]["shard"]].seq
    market = await exchange.get("/v1/market")
    assert market["feed"] == f"ws://127.0.0.1:{exchange.feed_port}/v1/feed"
    assert [shard["seq"] for shard in market["shards"]] == [shard.seq for shard in exchange.shards]

    client = Client()
    async with Wire.open(exchange.feed_port) as wire:
        await wire.say({"op": "subscribe", "channels": [f"book:{symbol}" for symbol in levels]})
        await wire.until("subscribed")
        for shard in exchange.shards:
            await shard.go_on(60)
        await _follow(wire, client, exchange)
        exchange.kill()
    now = exchange.levels()
    assert _told(client) == {symbol: now[symbol] for symbol in levels if symbol in now}
    assert client.changes > 20

    for shard in exchange.shards:
        await shard.go_on(20)
    await exchange.start()
    client.kinds.clear()
    async with Wire.open(exchange.feed_port) as wire:
        await wire.say(client.resume())
        await _follow(wire, client, exchange)
    now = exchange.levels()
    assert _told(client) == {symbol: now[symbol] for symbol in levels if symbol in now}
    assert client.kinds.count("book_snapshot") == len(client.books)
    assert (await exchange.status())["readers"] <= 1


async def test_answers_say_how_old_they_are_refusals_say_why_and_references_are_written(exchange: Exchange) -> None:
    await exchange.start()
    class_id = CLASSES[1].class_id
    symbol = next(symbol for symbol in exchange.shards[0].flow.levels() if symbol.startswith(class_id))
    for path in (
        f"/v1/market/{symbol}/book", f"/v1/market/{symbol}/trades", f"/v1/market/{symbol}/ticker",
        f"/v1/classes/{class_id}/grid", f"/v1/classes/{class_id}/blocks", f"/v1/classes/{class_id}/references",
    ):  # fmt: skip
        as_of = (await exchange.get(path))["as_of"]
        assert set(as_of) == {"shard", "seq", "market_time", "read_at"}
    references = (await exchange.get(f"/v1/classes/{class_id}/references"))["rows"]
    assert references[0]["contract"] == ""
    assert len(references) == len((await exchange.get(f"/v1/classes/{class_id}/grid"))["rows"]) + 1
    refusals = {
        "/v1/market/none/book": (400, "wrong_contract"),
        f"/v1/market/NONE{symbol[len(class_id) :]}/book": (404, "unknown_class"),
        f"/v1/market/{class_id}.20200101T00-USD/ticker": (404, "unknown_contract"),
        f"/v1/market/{symbol}/book?depth=0": (400, "malformed"),
        f"/v1/market/{symbol}/trades?limit=501": (400, "malformed"),
        "/v1/classes/NONE/grid": (404, "unknown_class"),
        "/v1/nothing": (404, "not_found"),
    }
    for path, (status, code) in refusals.items():
        assert (await exchange.get(path, status))["code"] == code
    await _references_are_written(exchange)


async def _references_are_written(exchange: Exchange) -> None:
    """Two clouds that are alive list a class at another price than the one in force."""
    offers = exchange.cluster.log("offers")
    records: list[object] = []
    for cloud in ("a", "b"):
        records.append(OfferSeen(cloud, "r", "i", "on_demand", "TINY", 1, 110, 1, 1, "s", 0, 0, cloud))
        records.append(PollDone(cloud, 1, 1, 0, {}, time.time_ns() // 1_000_000))
    records.append(ClassReference("TINY", 110, 110, 2, 2, 0))
    await offers.append([Outgoing(msgspec.msgpack.encode(record)) for record in records])
    log = exchange.cluster.log("references")
    wishes: list[Reference] = []
    async with asyncio.timeout(20):
        while not any(wish.hour == 0 for wish in wishes):
            for record in await log.read(len(wishes), wait_ms=500):
                wishes.append(msgspec.msgpack.decode(record.value, type=Reference))
                assert record.key == f"{wishes[-1].class_no}|{wishes[-1].hour}".encode()
    of_class = [wish for wish in wishes if wish.hour == 0]
    assert {(wish.class_id, wish.price, wish.source) for wish in of_class} <= {("TINY", 110, "median of 2 clouds")}


async def test_an_account_is_told_in_both_shards(exchange: Exchange) -> None:
    await exchange.start()
    client = Client()
    async with Wire.open(exchange.feed_port) as wire:
        token = make_token(FEED_KEY, 3, time.time_ns() // 1_000_000 + LIFE_MS, os.urandom(16), [])
        await wire.say({"op": "auth", "token": token})
        await wire.say({"op": "subscribe", "channels": ["account"]})
        await wire.until("subscribed")
        for shard in exchange.shards:
            await shard.go_on(60)
        await _follow(wire, client, exchange)
    for shard in exchange.shards:
        account = client.accounts[shard.flow.shard]
        engine = shard.flow.engine
        assert account.balance["balance"] == _text(engine.balances()[3])
        assert account.balance["holds"] == _text(engine.holds()[3])
        assert account.balance["collateral"] == _text(engine.collaterals()[3])
        assert len(account.orders) == sum(1 for order in engine.open_orders() if order[1] == 3)
    assert client.kinds.count("account") > 10


async def test_owners_are_told_of_their_rentals_and_told_on_after_a_crash(exchange: Exchange) -> None:
    """A router that was late wrote in between; the reader goes on by the numbers of the log in another process."""
    log = exchange.cluster.log("rentals")
    terms = Terms((CLASSES[1].class_id,), 1, 100_000, 0, 500_000, 0, 6, "sell", "default", "")

    async def write(*records: RentalRecord) -> None:
        await log.append([Outgoing(msgspec.msgpack.encode(record)) for record in records])

    async def listen(wire: Wire, client: Client, number: int, op: Any) -> None:
        """Until record `number` is told."""
        token = make_token(FEED_KEY, 3, time.time_ns() // 1_000_000 + LIFE_MS, os.urandom(16), [])
        await wire.say({"op": "auth", "token": token})
        await wire.say(op)
        async with asyncio.timeout(45):
            while client.seqs.get("rentals") != number:
                message = await wire.hear()
                assert isinstance(message, dict), message
                client.read(json.dumps(message))

    client = Client()
    await write(RouterBegan(2, 1), RentalMade(2, 2, 1, 3, "a", terms), RentalMade(2, 3, 2, 4, "b", terms))
    await write(RentalNoticed(2, 4, 1, 500_000, "too_dear", "first"))
    await exchange.start()
    async with Wire.open(exchange.feed_port) as wire:
        await listen(wire, client, 4, {"op": "subscribe", "channels": ["rentals"]})
        await write(
            RentalNoticed(1, 5, 1, 500_001, "too_dear", "late"), RentalNoticed(2, 6, 2, 500_001, "too_dear", "other")
        )
        await write(RentalStopped(2, 7, 1, "sell"))
        await listen(wire, client, 7, {"op": "ping"})
        exchange.kill()
    assert client.kinds.count("rentals_snapshot") == client.kinds.count("rentals") == 1

    await write(RentalNoticed(2, 8, 1, 500_002, "too_dear", "second"))
    await exchange.start()
    async with Wire.open(exchange.feed_port) as wire:
        await listen(wire, client, 8, client.resume())
    assert [each["detail"] for each in client.notices.values()] == ["first", "second"]
    assert [(each["rental"], each["state"]) for each in client.rentals.values()] == [("1", "stopping")]


async def test_a_log_that_was_cut_is_read_through_its_archive_and_else_not_at_all(exchange: Exchange) -> None:
    """Without it the market would be told with a hole: it halts, and the sentence says what to do."""
    data = exchange.home / "data"
    log = exchange.cluster.log("events", 1)
    _, end = await log.bounds()
    cut = await copy(log, Archive(data / "archive", "events", 1), below=end - 3)
    await exchange.cluster.cut("events", 1, cut)

    await exchange.start()
    assert exchange.process is not None
    assert exchange.process.exit_code() == 65
    assert f"events/1 begins at {cut}: what was before is in the archive. Set HOURBOOK_DATA" in exchange.said()

    await exchange.start(HOURBOOK_DATA=str(data))
    for symbol, sides in exchange.levels().items():
        book = await exchange.get(f"/v1/market/{symbol}/book?depth=1000")
        assert {side: book[side] for side in ("bids", "asks")} == sides


@pytest.mark.parametrize("fault", ["gap", "chain"])
async def test_a_log_that_does_not_follow_halts_and_says_where(exchange: Exchange, fault: str) -> None:
    shard = exchange.shards[1]
    _, end = await shard.log.bounds()
    if fault == "gap":
        next(shard.day)
    else:
        shard.chain = bytes(16)
    await shard.go_on(1)
    await exchange.start()
    assert exchange.process is not None
    assert exchange.process.exit_code() == 65
    sentence = {"gap": "Gap: seq", "chain": "does not continue the chain"}[fault]
    assert f"events/1 offset {end}: " in exchange.said()
    assert sentence in exchange.said()


async def test_records_of_rentals_that_are_none_halt_and_say_where(exchange: Exchange) -> None:
    await exchange.cluster.log("rentals").append(
        [Outgoing(msgspec.msgpack.encode(RouterBegan(1, 1))), Outgoing(b"none")]
    )
    await exchange.start()
    assert exchange.process is not None
    assert exchange.process.exit_code() == 65
    assert "rentals/0 offset 1: " in exchange.said()
