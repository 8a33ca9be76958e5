"""A disk without room for a snapshot costs snapshots and nothing else: the standby stands by, and says what it lacks."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from schemas.codec import read_headers
from services.matching.store import FileSnapshotStore
from tests.matching_shell.shard import SimShard
from tests.matching_shell.test_file_store import snapshot


def full() -> SimShard:
    """A shard with a standby whose disk is full, and for a while it has been due to write a snapshot."""
    shard = SimShard()
    shard.snapshot_records = 5
    shard.store.full = True
    shard.start("a")
    shard.run(shard.answered)
    shard.start("b")
    for _ in range(20):
        shard.send()
        shard.run_ms(300)
    return shard


def test_the_standby_goes_on_following_and_says_that_it_waits_for_the_disk() -> None:
    shard = full()
    said = shard.statuses["b"].values
    assert said["waiting_for"] == "disk"
    assert "no space left on device" in str(said["last_error"])
    assert said["lag"] == 0
    assert shard.store.files == {}


def test_it_tries_again_now_and_then_and_not_all_the_time() -> None:
    shard = full()
    tried = shard.store.did["disk was full"]
    shard.run_ms(60_000)
    assert 2 <= shard.store.did["disk was full"] - tried <= 12


def test_it_takes_over_all_the_same() -> None:
    shard = full()
    shard.world.kill(next(process for process in shard.world.processes if process.name == "a"))
    shard.send(5)
    shard.run(shard.answered)
    assert read_headers(shard.events.records[-1].headers).epoch == 2
    assert shard.statuses["b"].values["waiting_for"] == "", "who writes takes no snapshots"
    shard.check()


def test_with_room_again_the_snapshot_is_written_and_nothing_is_waited_for() -> None:
    shard = full()
    shard.store.full = False
    shard.run(lambda: bool(shard.store.files))
    shard.run_ms(500)
    assert shard.statuses["b"].values["waiting_for"] == ""


def test_what_did_not_fit_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a file, again and again, would fill the disk even more."""

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    store = FileSnapshotStore(tmp_path, 0)
    asyncio.run(store.save(snapshot(5)))
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="no space left"):
        asyncio.run(store.save(snapshot(9)))
    assert [path.name for path in tmp_path.iterdir()] == ["shard-0-000000000005.snapshot"]
