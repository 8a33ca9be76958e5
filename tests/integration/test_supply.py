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
from typing import Any

import msgspec
import pytest

from schemas.specifications import specifications
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from services.runtime.errors import Halt
from services.runtime.infra import ApacheKafka
from services.runtime.kafka import Cluster, KafkaLog
from services.runtime.log import LogError, Outgoing
from services.runtime.status import Status
from services.runtime.supervise import WallClock
from services.runtime.topics import wanted_settings
from services.supply.circuit import COOL_DOWN_MS, FAILURES_MAX
from services.supply.files import SETTLE_MS
from services.supply.rules import packaged_rules
from services.supply.shell import HEARTBEAT_MS, Supply
from services.supply.sources import SourceSettings
from tests.supply.catalogues import GOOD, table
from tests.supply.formats import HUNT, MACHINE, answer, archive

PRICES = Path(sys.modules["services.supply.shell"].__file__ or "").with_name("recorded") / "prices.csv"


class Clock(WallClock):
    """The machine's clock, put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    def elapsed_ms(self) -> int:
        return super().elapsed_ms() + self.ahead_ms


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

    def write(self, *rows: dict[str, str], to: Path | None = None) -> None:
        self.raw(table(*rows), to)

    def raw(self, data: bytes, to: Path | None = None) -> None:
        file = to or self.file
        file.write_bytes(data)
        # Settled: as if written a second ago, and never the same time twice.
        self.clock.ahead_ms += 1_000
        stamp = (self.clock.now_ms() - SETTLE_MS) * 1_000_000
        os.utime(file, ns=(stamp, stamp))

    async def start(self, *names: str) -> None:
        """A new process over the same topic, each source the one file."""
        await self.start_with(*(self.source(name, file=self.file) for name in names or ("file",)))

    async def start_with(self, *sources: SourceSettings) -> None:
        """The same with these sources, in the order in which they count."""
        log: KafkaLog = self.cluster.log("offers")
        self.supply = Supply(
            log, self.clock, self.status, sources, packaged_rules(), specifications(), jitter=lambda: 0.5
        )
        await self.supply.restore()

    @staticmethod
    def source(name: str, **settings: Any) -> SourceSettings:
        return SourceSettings(**{"name": name, "catalogue": "lambda", "poll_ms": 100} | settings)

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


async def test_a_file_that_is_written_to_for_ever_grows_stale(bench: Bench) -> None:
    bench.write(GOOD)
    await bench.start()
    await bench.look()
    bench.file.write_bytes(table(GOOD | {"Price": "1.99"}))
    for _ in range(5):
        bench.clock.ahead_ms += HEARTBEAT_MS
        stamp = (bench.clock.now_ms() + 200) * 1_000_000
        os.utime(bench.file, ns=(stamp, stamp))
        assert await bench.look() == []


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


def words(records: list[OfferRecord]) -> list[str]:
    """Records as short words, references left out."""
    said = []
    for record in records:
        match record:
            case OfferSeen():
                said.append(f"{record.cloud} {record.region} at {record.price} by {record.poll}")
            case OfferGone():
                said.append(f"{record.cloud} {record.region} gone")
            case PollDone():
                said.append(f"{record.source}: {record.rows} = {record.mapped} + {record.refused}")
            case ClassReference():
                pass
    return said


VERDA = GOOD | {"InstanceType": "1H100.80S.32V", "vCPUs": "32", "MemoryGiB": "185", "Region": "FIN-02", "Price": "2.29"}


async def test_in_a_folder_each_file_comes_goes_and_breaks_by_itself(bench: Bench, tmp_path: Path) -> None:
    """A file that vanishes takes its offers along; one that breaks keeps them; a folder that is away keeps all."""
    folder = tmp_path / "catalogues"
    folder.mkdir()
    bench.write(GOOD, to=folder / "lambda.csv")
    bench.write(VERDA, to=folder / "verda.csv")
    (folder / "notes.csv").write_bytes(b"<html>")
    tree = bench.source("tree", catalogue="", folder=folder)
    await bench.start_with(tree)
    assert words(await bench.look()) == [
        "lambda us-east-1 at 4290000 by tree/lambda.csv",
        "tree/lambda.csv: 1 = 1 + 0",
        "verda FIN-02 at 2290000 by tree/verda.csv",
        "tree/verda.csv: 1 = 1 + 0",
    ]
    assert bench.status.values["last_error"] == (
        "tree/notes.csv: a web page or XML, not a table; look at what that address answers"
    )
    assert (bench.status.values["sources_unreadable"], bench.status.values["circuits"]) == (1, "tree closed")

    (folder / "notes.csv").unlink()
    bench.raw(b"half an expo", to=folder / "lambda.csv")
    (folder / "verda.csv").unlink()
    assert words(await bench.look()) == ["verda FIN-02 gone"]
    assert str(bench.status.values["last_error"]).startswith("tree/lambda.csv: columns are missing")

    # While nobody looks, the broken file is mended and then vanishes: each time a new process notices.
    bench.write(VERDA, to=folder / "verda.csv")
    bench.write(GOOD | {"Price": "4.00"}, to=folder / "lambda.csv")
    await bench.start_with(tree)
    assert words(await bench.look())[0] == "lambda us-east-1 at 4000000 by tree/lambda.csv"
    (folder / "lambda.csv").unlink()
    await bench.start_with(tree)
    assert words(await bench.look()) == ["tree/verda.csv: 1 = 1 + 0", "lambda us-east-1 gone"]

    folder.rename(tmp_path / "away")
    bench.clock.ahead_ms += 10 * HEARTBEAT_MS
    assert await bench.look() == []
    assert "No such file" in str(bench.status.values["last_error"])
    await bench.start_with(tree)
    assert await bench.published() == []


async def test_the_source_listed_first_owns_an_offer_until_it_drops_it(bench: Bench, tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    bench.write(GOOD | {"Price": "2.00"}, to=second)
    await bench.start_with(bench.source("first", file=first), bench.source("second", file=second))
    assert words(await bench.look()) == ["lambda us-east-1 at 2000000 by second", "second: 1 = 1 + 0"]
    bench.write(GOOD, to=first)
    bench.clock.ahead_ms += 1_000
    assert words(await bench.look()) == ["lambda us-east-1 at 4290000 by first", "first: 1 = 1 + 0"]
    bench.clock.ahead_ms += HEARTBEAT_MS
    assert "second: 1 = 0 + 1" in words(await bench.look())
    assert bench.status.values["refused_duplicate"] == 1

    # Away is not gone: the first one's price stands, and grows stale.
    first.rename(tmp_path / "moved.csv")
    assert words(await bench.look()) == []
    bench.write(GOOD | {"Region": "us-west-1"}, to=first)
    bench.clock.ahead_ms += 1_000
    assert words(await bench.look()) == [
        "lambda us-west-1 at 4290000 by first",
        "lambda us-east-1 at 2000000 by second",
        "first: 1 = 1 + 0",
    ]


async def test_the_same_bytes_under_a_new_time_are_no_news_and_the_future_is_now(bench: Bench) -> None:
    bench.write(GOOD)
    await bench.start()
    (seen, *_) = await bench.look()
    assert isinstance(seen, OfferSeen)
    bench.write(GOOD)
    assert await bench.look() == []
    bench.write(GOOD, GOOD | {"Region": "us-west-1"})
    assert [record.region for record in await bench.look() if isinstance(record, OfferSeen)] == ["us-west-1"]

    bench.write(GOOD | {"Price": "4.00"})
    ahead = (bench.clock.now_ms() + 86_400_000) * 1_000_000
    os.utime(bench.file, ns=(ahead, ahead))
    (moved, *_) = await bench.look()
    assert isinstance(moved, OfferSeen)
    assert seen.as_of_ms < moved.as_of_ms == moved.seen_ms
    assert bench.status.values["as_of_clamped"] == 1


async def test_a_source_that_keeps_failing_is_asked_seldom_and_one_good_trial_closes_its_circuit(bench: Bench) -> None:
    await bench.start()
    asked = []
    for _ in range(400):
        before = bench.supply._watches[0].due_ms
        await bench.supply.look()
        asked.append(before != bench.supply._watches[0].due_ms)
        bench.clock.ahead_ms += 100
    # 100, 200, 400 and 800 ms of pause, then one look in half a minute.
    assert sum(asked) == FAILURES_MAX + 1
    assert (bench.status.values["circuits"], bench.status.values["circuits_open"]) == (
        "file open, 6 errors in a row",
        1,
    )
    bench.write(GOOD)
    bench.clock.ahead_ms += COOL_DOWN_MS
    assert kinds(await bench.look()) == ["OfferSeen", "ClassReference", "PollDone"]
    assert (bench.status.values["circuits"], bench.status.values["circuits_open"]) == ("file closed", 0)


async def test_a_source_all_of_whose_rows_are_refused_at_once_keeps_its_offers_and_grows_stale(bench: Bench) -> None:
    regions = [f"us-{place}-{number}" for place in ("east", "west", "south", "north") for number in (1, 2, 3)]
    good = [GOOD | {"Region": region} for region in regions]
    bench.write(*good)
    await bench.start()
    await bench.look()
    # Somebody's export says cents.
    bench.write(*(row | {"Price": "429"} for row in good))
    bench.clock.ahead_ms += 2 * HEARTBEAT_MS
    assert await bench.look() == []
    assert "all 12 rows are refused, where 12 offers stood" in str(bench.status.values["last_error"])
    assert bench.status.values["offers"] == 12
    bench.write(*(row | {"Price": "4.30"} for row in good))
    bench.clock.ahead_ms += HEARTBEAT_MS
    assert kinds(await bench.look()) == ["OfferSeen"] * 12 + ["ClassReference", "PollDone"]
    assert bench.status.values["last_polls"] == "file: 0 seen, 12 changed, 0 gone"
    assert (bench.status.values["seen_total"], bench.status.values["changed_total"]) == (12, 12)


async def test_a_source_that_is_asked_seldom_gives_a_sign_of_life_between(bench: Bench) -> None:
    """Readers call it stale after 20 s without one; how often it is worth asking is another matter."""
    bench.write(GOOD)
    await bench.start_with(bench.source("slow", file=bench.file, poll_ms=3_600_000))
    (*_, done) = await bench.look()
    bench.write(GOOD | {"Price": "4.00"})
    bench.clock.ahead_ms += HEARTBEAT_MS
    (beat,) = await bench.look()
    assert isinstance(done, PollDone)
    assert isinstance(beat, PollDone)
    assert (beat.looked_ms, beat.seen_ms > done.seen_ms) == (done.looked_ms, True)
    bench.clock.ahead_ms += 3_600_000
    assert kinds(await bench.look()) == ["OfferSeen", "ClassReference", "PollDone"]


async def test_three_formats_give_one_reference_across_their_clouds(bench: Bench, tmp_path: Path) -> None:
    """One machine that two formats list is one offer; the median is over clouds."""
    (tmp_path / "catalog.zip").write_bytes(
        archive(
            lambdalabs=table(HUNT | {"price": "9.99"}),
            runpod=table(HUNT | {"instance_name": "NVIDIA H100 80GB HBM3", "location": "US-KS-2", "price": "3.29"}),
        )
    )
    machine = {
        "gpu_name": "H100 SXM", "gpu_ram": 81559, "geolocation": "Texas, US", "cpu_ram": 900_000, "dph_total": 2.5,
        "hosting_type": 1, "datacenter": True, "cpu_cores_effective": 64,
    }  # fmt: skip
    (tmp_path / "offers.json").write_bytes(answer(MACHINE | machine, MACHINE | machine | {"id": 1, "rentable": False}))
    bench.write(GOOD)
    bench.clock.ahead_ms += 1_000
    await bench.start_with(
        bench.source("sky", file=bench.file),
        bench.source("hunt", catalogue="", connector="gpuhunt", file=tmp_path / "catalog.zip"),
        bench.source("vast", catalogue="vast", connector="vast", file=tmp_path / "offers.json"),
    )
    records = await bench.look()
    assert words(records) == [
        "lambda us-east-1 at 4290000 by sky",
        "sky: 1 = 1 + 0",
        "hunt: 2 = 0 + 2",
        "vast Texas, US at 2500000 by vast",
        "vast: 2 = 1 + 1",
    ]
    (*_, reference) = (record for record in records if isinstance(record, ClassReference))
    assert reference == ClassReference("H100.SXM.80.US", 3_395_000, 2_500_000, 2, 2, reference.as_of_ms)
    assert {key for key, count in bench.status.values.items() if key.startswith("refused_") and count} == {
        "refused_outlier_price", "refused_no_class_for_tier", "refused_not_available"
    }  # fmt: skip


async def test_a_source_that_does_not_answer_delays_no_other(bench: Bench) -> None:
    """The address takes the request and says nothing; the file beside it is followed all the while."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    bench.write(GOOD)
    await bench.start_with(
        bench.source("web", url=f"http://127.0.0.1:{port}/vms.csv", timeout_ms=60_000),
        bench.source("file", file=bench.file),
    )
    async with silent:
        async with following(bench):
            await until(bench, lambda seen: "PollDone" in kinds(seen))
            bench.write(GOOD | {"Price": "3.99"})
            moved = await until(bench, lambda seen: "OfferSeen" in kinds(seen))
        silent.close()
        await silent.wait_closed()
    assert words(moved)[0] == "lambda us-east-1 at 3990000 by file"


async def test_a_server_that_takes_its_time_does_not_make_stale_what_it_said_before(bench: Bench) -> None:
    """Its first answer comes at once, its second not within the test: the desk goes on quoting meanwhile."""
    first, second = asyncio.Event(), asyncio.Event()

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if first.is_set():
            second.set()
        else:
            first.set()
            body = table(GOOD)
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await bench.start_with(bench.source("web", url=f"http://127.0.0.1:{port}/vms.csv", timeout_ms=60_000))
        async with following(bench):
            await until(bench, lambda seen: "PollDone" in kinds(seen))
            await second.wait()
            for _ in range(2):
                bench.clock.ahead_ms += HEARTBEAT_MS
                (beat,) = await until(bench, lambda seen: "PollDone" in kinds(seen))
                assert isinstance(beat, PollDone)
                assert beat.seen_ms - beat.looked_ms >= HEARTBEAT_MS


@contextlib.asynccontextmanager
async def following(bench: Bench) -> AsyncIterator[None]:
    """Supply runs by itself while the block does."""
    running = asyncio.ensure_future(bench.supply.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_write_that_fails_ends_supply_with_what_failed(own_kafka: ApacheKafka, tmp_path: Path) -> None:
    """Going on would publish against a board that the topic does not have."""
    own_kafka.start()
    async with Cluster(own_kafka.bootstrap, write_ms_max=1_000) as cluster:
        await cluster.create_topic("offers", 1, 1, wanted_settings(1))
        bench = Bench(cluster, tmp_path / "vms.csv")
        bench.write(GOOD)
        await bench.start()
        await bench.look()
        own_kafka.kill9()
        bench.write(GOOD | {"Price": "3.99"})
        bench.clock.ahead_ms += 1_000
        async with asyncio.timeout(20):
            with pytest.RaisesGroup(LogError):
                await bench.supply.run()
        # Connections close in peace only while somebody is there.
        own_kafka.start()


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
