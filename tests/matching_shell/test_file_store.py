"""Snapshot files: whole or not there, checked when read, the oldest deleted."""

import os
import time
from pathlib import Path

import pytest

from services.matching.store import FileSnapshotStore, Snapshot, Unusable


def snapshot(offset: int, shard: int = 0) -> Snapshot:
    return Snapshot(
        1, shard, offset, b"h" * 16, offset, b"e" * 16, offset, b"c" * 16, 3, 1_000, b"s" * 32, b"engine" * 1000
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_the_newest_come_first_and_the_oldest_go(tmp_path: Path) -> None:
    store = FileSnapshotStore(tmp_path / "new" / "folder", 0, keep=3)
    assert await store.names() == []
    for offset in (5, 70, 900, 10_000, 200):
        await store.save(snapshot(offset))
    names = await store.names()
    assert names == [f"shard-0-{offset:012d}.snapshot" for offset in (10_000, 900, 200)]
    assert await store.load(names[0]) == snapshot(10_000)
    assert names_in(tmp_path / "new" / "folder") == set(names)


async def test_shards_share_a_folder(tmp_path: Path) -> None:
    for shard in (0, 1, 11):
        await FileSnapshotStore(tmp_path, shard).save(snapshot(7, shard))
    assert await FileSnapshotStore(tmp_path, 1).names() == ["shard-1-000000000007.snapshot"]


async def test_what_a_crash_left_is_neither_used_nor_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "shard-0-000000000009.snapshot.77.tmp").write_bytes(b"half")
    store = FileSnapshotStore(tmp_path, 0)
    assert await store.names() == []
    await store.save(snapshot(9))
    assert len(await store.names()) == 1


async def test_what_crashes_have_left_is_swept_away_and_what_others_write_just_now_is_not(tmp_path: Path) -> None:
    """Each process that dies while it writes leaves a file of its own: they would fill the disk."""
    files = [f"shard-{shard}-{9:012d}.snapshot.{pid}.tmp" for shard, pid in ((0, 77), (0, 78), (1, 77))]
    for name in files:
        (tmp_path / name).write_bytes(b"half")
    long_ago_s = time.time() - 3_600
    for name in files[1:]:
        os.utime(tmp_path / name, (long_ago_s, long_ago_s))
    await FileSnapshotStore(tmp_path, 0).save(snapshot(10))
    assert names_in(tmp_path) == {files[0], files[2], "shard-0-000000000010.snapshot"}


async def test_a_file_that_is_not_whole_is_unusable(tmp_path: Path) -> None:
    store = FileSnapshotStore(tmp_path, 0)
    name = await store.save(snapshot(9))
    data = (tmp_path / name).read_bytes()
    for damaged in (b"", data[:-1], data[:20], data[:30] + b"x" + data[31:], b"x" + data[1:]):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(Unusable):
            await store.load(name)
    with pytest.raises(Unusable, match="cannot be read"):
        await store.load("shard-0-000000000010.snapshot")
