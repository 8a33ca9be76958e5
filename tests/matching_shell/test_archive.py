"""What was moved into files reads like the log it came from, and whatever happens to a file is noticed."""

import contextlib
import hashlib
import io
import json
from argparse import Namespace
from pathlib import Path

import pytest

from services.matching import tools
from services.matching.replay import replay
from services.matching.store import FileSnapshotStore, decode
from services.matching.tools import safe_offsets
from services.runtime.archive import Archive, ArchivedLog, copy
from services.runtime.config import Settings
from services.runtime.errors import Halt
from services.runtime.log import LogError, Outgoing, Record
from services.runtime.status import Status
from services.runtime.supervise import Service
from tests.matching_shell.shard import SHARD, SimShard
from tests.simulation.simlog import SimCluster, Topic
from tests.simulation.world import SimClock


def outcome(shard: SimShard, run):
    """What a coroutine returns, as a process of the world; its exception is raised."""
    results: list[object] = []

    async def keep() -> None:
        results.append(await run)

    process = shard.world.spawn("tool", keep())
    shard.run(lambda: process.ended is not None)
    if isinstance(process.ended, BaseException):
        raise process.ended
    return results[0]


def cut(topic: Topic, before: int) -> None:
    del topic.records[: before - topic.first]
    topic.first = before


async def read_all(log, start: int) -> list[Record]:
    records: list[Record] = []
    _, end = await log.bounds()
    while start < end:
        records += await log.read(start, count=7, wait_ms=100)
        start = records[-1].offset + 1
    return records


@pytest.fixture
def shard() -> SimShard:
    """200 records with headers and keys, nobody running."""
    built = SimShard()
    built.commands.land(
        [Outgoing(b"%d" % n * (n % 5), headers=[("a", b"%d" % n)], key=b"k" if n % 2 else None) for n in range(1, 200)]
    )
    return built


def test_archive_and_log_read_like_the_log_did(shard: SimShard, tmp_path: Path) -> None:
    """Several segments, several rounds, and a cut after each."""
    before = list(shard.commands.records)
    archive = Archive(tmp_path, "commands", SHARD)
    for below in (50, 120, 121, 160):
        assert outcome(shard, copy(shard.commands.log(), archive, below=below, segment_bytes=60)) == below
        cut(shard.commands, below)
    assert len(archive.spans()) > 4
    assert archive.check() == 160
    log = ArchivedLog(shard.commands.log(), archive)
    assert outcome(shard, log.bounds()) == (0, 200)
    for start in (0, 1, 49, 50, 119, 159, 160, 199):
        found = outcome(shard, read_all(log, start))
        assert [(r.offset, r.time_ms, r.value, list(r.headers), r.key) for r in found] == [
            (r.offset, r.time_ms, r.value, list(r.headers), r.key) for r in before[start:]
        ]


def test_copying_again_copies_nothing(shard: SimShard, tmp_path: Path) -> None:
    archive = Archive(tmp_path, "commands", SHARD)
    assert outcome(shard, copy(shard.commands.log(), archive, below=80)) == 80
    spans = archive.spans()
    assert outcome(shard, copy(shard.commands.log(), archive, below=80)) == 80
    assert outcome(shard, copy(shard.commands.log(), archive, below=30)) == 80
    assert archive.spans() == spans


def test_a_log_cut_beyond_its_archive_is_said_so(shard: SimShard, tmp_path: Path) -> None:
    """Those records are nowhere."""
    archive = Archive(tmp_path, "commands", SHARD)
    outcome(shard, copy(shard.commands.log(), archive, below=80))
    cut(shard.commands, 90)
    with pytest.raises(Halt, match="begins at 90, the archive ends at 80: what was between is lost"):
        outcome(shard, copy(shard.commands.log(), archive, below=120))
    with pytest.raises(Halt, match="begins at 90, the archive ends at 80"):
        outcome(shard, ArchivedLog(shard.commands.log(), archive).bounds())


def test_a_reader_in_the_archive_survives_a_cut_under_it(shard: SimShard, tmp_path: Path) -> None:
    """It reads on from files what the log held a moment ago."""
    archive = Archive(tmp_path, "commands", SHARD)
    log = ArchivedLog(shard.commands.log(), archive)
    assert outcome(shard, log.read(0, count=10))[-1].offset <= 9
    outcome(shard, copy(shard.commands.log(), archive, below=150))
    cut(shard.commands, 150)
    assert outcome(shard, log.read(100, count=1))[0].offset == 100
    with pytest.raises(LogError):
        outcome(shard, log.read(201))


@pytest.mark.parametrize("body", [b"", b"\x07", b"\x97\x01", b"\x91" * 9_999], ids=len)
def test_a_file_with_the_right_checksum_and_no_segment_in_it_is_noticed(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "commands-0" / f"{0:012}-{9:012}.segment"
    file.parent.mkdir()
    file.write_bytes(b"HBSEGM1\n" + hashlib.blake2b(body, digest_size=32).digest() + body)
    with pytest.raises(Halt, match="is no segment"):
        Archive(tmp_path, "commands", 0).check()


@pytest.mark.parametrize("damage", ["byte", "end", "exchanged", "renamed", "missing"])
def test_a_damaged_archive_is_noticed(shard: SimShard, tmp_path: Path, damage: str) -> None:
    archive = Archive(tmp_path, "commands", SHARD)
    outcome(shard, copy(shard.commands.log(), archive, below=160, segment_bytes=60))
    paths = sorted((tmp_path / "commands-0").iterdir())
    data = paths[1].read_bytes()
    if damage == "byte":
        paths[1].write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif damage == "end":
        paths[1].write_bytes(data[:-1])
    elif damage == "exchanged":
        other = SimShard(seed=2)
        other.commands.land([Outgoing(b"other") for _ in range(1, 200)])
        outcome(
            other, copy(other.commands.log(), Archive(tmp_path / "o", "commands", SHARD), below=160, segment_bytes=60)
        )
        (first, *_) = sorted((tmp_path / "o" / "commands-0").iterdir())
        paths[0].unlink()
        first.rename(paths[0])
    elif damage == "renamed":
        paths[0].rename(paths[0].with_name(f"{0:012d}-{999:012d}.segment"))
    else:
        paths[1].unlink()
    with pytest.raises(Halt):
        archive.check()


def test_nothing_is_safe_without_a_snapshot_and_nothing_above_the_lowest_cursor() -> None:
    """The record before each position stays: it is read again at every start."""
    with pytest.raises(Halt, match="there is no snapshot"):
        safe_offsets([], [5])
    shard = SimShard()
    shard.snapshot_records = 5
    shard.start("a")
    shard.run(shard.answered)
    shard.start("b")
    while len(shard.store.files) < 2:
        shard.send()
        shard.run_ms(300)
    snapshots = [decode(data) for data in shard.store.files.values()]
    oldest = min(snapshots, key=lambda snapshot: snapshot.commands_next)
    safe = safe_offsets(snapshots, [])
    assert safe == (oldest.commands_next - 1, oldest.events_next - 1)
    assert safe_offsets(snapshots, [4, 900]).events == 3
    assert safe_offsets(snapshots, [0]).events == 0


def test_a_replay_goes_through_archive_and_log(tmp_path: Path) -> None:
    """Cut both logs; every record of events is compared all the same."""
    shard = SimShard()
    process = shard.start("a")
    shard.send(60)
    shard.run(shard.answered)
    shard.world.kill(process)
    count = len(shard.events.records)
    logs = []
    for topic, below in ((shard.commands, 30), (shard.events, 41)):
        archive = Archive(tmp_path, topic.name, SHARD)
        outcome(shard, copy(topic.log(), archive, below=below, segment_bytes=500))
        cut(topic, below)
        logs.append(ArchivedLog(topic.log(), archive))
    commands, events = logs
    done = outcome(shard, replay(SHARD, commands, shard.quarantine.log(), SimClock(shard.world), events=events))
    assert done.compared == count


def archived_to(shard: SimShard, folder: Path, cursor: int) -> dict[str, dict[str, int]]:
    """`python -m services.matching archive` over the simulated broker; what it printed."""
    topics = {(topic.name, topic.partition): topic for topic in (shard.commands, shard.events)}
    service = Service(Settings(shard=SHARD, shards=1, data=folder), Status("archive"))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        outcome(shard, tools.archive(service, SimCluster(topics), Namespace(cursors=[cursor], snapshots=[])))
    return json.loads(output.getvalue())


def test_a_snapshot_that_is_newer_than_events_is_no_reason_to_cut(tmp_path: Path) -> None:
    """Whoever starts cannot begin at it, and needs everything since the one before: `events` must be said again from there."""
    shard = SimShard()
    shard.snapshot_records = 5
    shard.start("a")
    shard.run(shard.answered)
    shard.start("b")
    while len(shard.store.files) < 3:
        shard.send()
        shard.run_ms(300)
    for process in list(shard.world.processes):
        shard.world.kill(process)
    oldest, *_, newest = (decode(data) for _, data in sorted(shard.store.files.items()))
    store = FileSnapshotStore(tmp_path / "snapshots", SHARD)
    outcome(shard, store.save(newest))
    shard.events.lose_tail(newest.events_next - 1)
    with pytest.raises(Halt, match="there is no snapshot"):
        archived_to(shard, tmp_path, newest.events_next)
    assert shard.commands.first == 0

    outcome(shard, store.save(oldest))
    assert archived_to(shard, tmp_path, newest.events_next)["begins"]["commands"] == oldest.commands_next - 1
    shard.lease.held.clear()
    shard.start("c")
    shard.run(shard.answered)
