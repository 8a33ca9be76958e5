"""Supply on a real broker: what it publishes, what a restart repeats, and what a broken file does not do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from schemas.specifications import specifications
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from services.runtime.errors import Halt
from services.runtime.kafka import Cluster, KafkaLog
from services.runtime.log import Outgoing
from services.runtime.status import Status
from services.runtime.supervise import WallClock
from services.runtime.topics import wanted_settings
from services.supply.files import SETTLE_MS
from services.supply.rules import packaged_rules
from services.supply.shell import HEARTBEAT_MS, Supply
from services.supply.sources import SourceSettings
from tests.supply.catalogues import GOOD, table

PRICES = Path(sys.modules["services.supply.shell"].__file__ or "").with_name("recorded") / "prices.csv"


class Clock(WallClock):
    """The machine's clock, put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class Bench:
    """One source file, one topic, and the supply processes that come and go over it."""

    def __init__(self, cluster: Cluster, file: Path) -> None:
        self.cluster = cluster
        self.file = file
        self.clock = Clock()
        self.status = Status("supply")
        self.supply: Supply
        self._reader = cluster.log("offers")
        self._next = 0

    def write(self, *rows: dict[str, str]) -> None:
        self.raw(table(*rows))

    def raw(self, data: bytes) -> None:
        self.file.write_bytes(data)
        # Settled: as if written a second ago, and never the same time twice.
        self.clock.ahead_ms += 1_000
        stamp = (self.clock.now_ms() - SETTLE_MS) * 1_000_000
        os.utime(self.file, ns=(stamp, stamp))

    async def start(self, *names: str) -> None:
        """A new process over the same topic."""
        sources = [
            SourceSettings(name=name, catalogue="lambda", file=self.file, poll_ms=100) for name in names or ("file",)
        ]
        log: KafkaLog = self.cluster.log("offers")
        self.supply = Supply(log, self.clock, self.status, sources, packaged_rules(), specifications())
        await self.supply.restore()

    async def look(self) -> list[OfferRecord]:
        """What one look publishes."""
        self.clock.ahead_ms += 200
        await self.supply.look()
        return await self.published()

    async def published(self) -> list[OfferRecord]:
        """Records on the topic since the last call."""
        _, end = await self._reader.bounds()
        records: list[OfferRecord] = []
        while self._next < end:
            for record in await self._reader.read(self._next, wait_ms=1_000):
                records.append(msgspec.msgpack.decode(record.value, type=OfferRecord))
                self._next = record.offset + 1
        return records


@pytest.fixture
async def bench(bootstrap: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Cluster(bootstrap, prefix=topic_prefix) as cluster:
        await cluster.create_topic("offers", 1, 1, wanted_settings(1))
        yield Bench(cluster, tmp_path / "vms.csv")


def kinds(records: list[OfferRecord]) -> list[str]:
    return [type(record).__name__ for record in records]


async def test_a_price_that_moves_is_published_once_and_an_offer_that_vanishes_is_gone(bench: Bench) -> None:
    bench.write(GOOD, GOOD | {"Region": "us-west-1"})
    await bench.start()
    first = await bench.look()
    assert kinds(first) == ["OfferSeen", "OfferSeen", "ClassReference", "PollDone"]
    assert await bench.look() == []

    bench.write(GOOD | {"Price": "3.99"})
    moved = await bench.look()
    assert kinds(moved) == ["OfferSeen", "OfferGone", "ClassReference", "PollDone"]
    seen, gone, reference, done = moved
    assert isinstance(seen, OfferSeen)
    assert isinstance(gone, OfferGone)
    assert isinstance(reference, ClassReference)
    assert isinstance(done, PollDone)
    assert (seen.price, seen.poll, seen.source) == (3_990_000, "file", "vms.csv")
    assert (gone.cloud, gone.region) == ("lambda", "us-west-1")
    assert (reference.class_id, reference.cheapest, reference.offers) == ("H100.SXM.80.US", 3_990_000, 1)
    assert (done.rows, done.mapped, done.refused) == (1, 1, 0)


async def test_a_restart_repeats_nothing_and_notices_what_went_meanwhile(bench: Bench) -> None:
    bench.write(GOOD, GOOD | {"Region": "us-west-1"})
    await bench.start()
    await bench.look()
    await bench.start()
    assert kinds(await bench.look()) == ["PollDone"]
    bench.write(GOOD | {"Region": "us-west-1"})
    await bench.start()
    # What has not changed is not said again, though the file was written anew.
    assert kinds(await bench.look()) == ["OfferGone", "ClassReference", "PollDone"]


async def test_a_source_that_is_taken_off_the_list_takes_its_offers_along(bench: Bench) -> None:
    bench.write(GOOD)
    await bench.start("old")
    await bench.look()
    await bench.start("new")
    assert kinds(await bench.published()) == ["OfferGone", "ClassReference"]
    assert kinds(await bench.look()) == ["OfferSeen", "ClassReference", "PollDone"]


@pytest.mark.parametrize("data", [b"", b"<html>busy</html>", table(GOOD) + b'"half a li'])
async def test_a_broken_file_withdraws_nothing_and_confirms_nothing(bench: Bench, data: bytes) -> None:
    bench.write(GOOD)
    await bench.start()
    await bench.look()
    bench.raw(data)
    bench.clock.ahead_ms += 10 * HEARTBEAT_MS
    assert await bench.look() == []
    assert bench.status.values["sources_unreadable"] == 1
    assert "file" in str(bench.status.values["last_error"])

    bench.write(GOOD)
    assert kinds(await bench.look())[-1] == "PollDone"
    assert bench.status.values["last_error"] == ""


async def test_a_missing_file_is_waited_for(bench: Bench) -> None:
    await bench.start()
    assert await bench.look() == []
    assert bench.status.values["sources_unreadable"] == 1
    bench.write(GOOD)
    assert kinds(await bench.look()) == ["OfferSeen", "ClassReference", "PollDone"]


async def test_a_file_is_not_read_while_it_is_written(bench: Bench) -> None:
    bench.write(GOOD, GOOD | {"Region": "us-west-1"})
    await bench.start()
    await bench.look()
    bench.file.write_bytes(table(GOOD))
    stamp = (bench.clock.now_ms() + 200) * 1_000_000
    os.utime(bench.file, ns=(stamp, stamp))
    assert await bench.look() == []
    bench.clock.ahead_ms += SETTLE_MS
    assert "OfferGone" in kinds(await bench.look())


async def test_an_unchanged_source_says_now_and_then_that_it_is_looked_at(bench: Bench) -> None:
    bench.write(GOOD)
    await bench.start()
    (*_, done) = await bench.look()
    bench.clock.ahead_ms += HEARTBEAT_MS
    (beat,) = await bench.look()
    assert isinstance(beat, PollDone)
    assert isinstance(done, PollDone)
    assert beat.seen_ms >= done.seen_ms + HEARTBEAT_MS
    assert msgspec.structs.replace(beat, seen_ms=done.seen_ms, looked_ms=done.looked_ms) == done


async def test_a_record_that_is_no_offer_stops_a_start(bench: Bench) -> None:
    await bench.cluster.log("offers").append([Outgoing(b"not MessagePack")])
    with pytest.raises(Halt, match="offers offset 0 is not an offer record"):
        await bench.start()


async def test_refused_rows_are_counted_by_reason_and_shown(bench: Bench) -> None:
    bench.write(GOOD, GOOD | {"Price": "x"}, GOOD | {"InstanceType": "gpu_1x_h100_pcie"})
    await bench.start()
    (*_, done) = await bench.look()
    assert isinstance(done, PollDone)
    assert (done.rows, done.mapped, done.reasons) == (3, 1, {"broken_row": 1, "no_class_for_form": 1})
    shown = {key: value for key, value in bench.status.values.items() if key.startswith("refused_") and value}
    assert shown == {"refused_broken_row": 1, "refused_no_class_for_form": 1}


async def test_the_process_publishes_recorded_prices_and_follows_their_file(
    bench: Bench, bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """As deployed: its own process, its own settings, the packaged prices in a file that is edited meanwhile."""
    prices = tmp_path / "prices.csv"
    prices.write_bytes(PRICES.read_bytes())
    listed = tmp_path / "sources.toml"
    listed.write_text(
        '[[sources]]\nname = "recorded"\ncatalogue = "recorded"\nfile = "prices.csv"\nrecorded = true\npoll_ms = 100\n'
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOURBOOK_KAFKA": bootstrap,
        "HOURBOOK_TOPIC_PREFIX": topic_prefix,
        "HOURBOOK_SUPPLY_SOURCES": str(listed),
        "HOURBOOK_RUN": str(tmp_path / "run"),
    }
    async with process("services.supply", environment) as running:
        records = await until(bench, lambda seen: any(isinstance(record, PollDone) for record in seen))
        status = await asyncio.to_thread(read_status, tmp_path / "run" / "supply.json")
        assert status["offers"] == sum(isinstance(record, OfferSeen) for record in records) > 20
        assert status["rows"] == status["mapped"] + status["refused"]

        text = prices.read_text()
        assert ",2.29,0.8015,FIN-02" in text
        prices.write_text(text.replace(",2.29,0.8015,FIN-02", ",2.09,0.8015,FIN-02"))
        moved = await until(bench, lambda seen: any(isinstance(record, OfferSeen) for record in seen))
        assert [record.price for record in moved if isinstance(record, OfferSeen)] == [2_090_000]
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 10) == 0


@contextlib.asynccontextmanager
async def process(module: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=environment)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def until(bench: Bench, enough) -> list[OfferRecord]:
    """Records published until `enough`, within 20 s."""
    records: list[OfferRecord] = []
    async with asyncio.timeout(20):
        while not enough(records):
            records += await bench.published()
            await asyncio.sleep(0.05)
    return records


def read_status(run_file: Path) -> dict[str, object]:
    address = json.loads(run_file.read_text())["status"]
    with urllib.request.urlopen(f"http://{address}/status", timeout=5) as answer:
        return json.load(answer)
