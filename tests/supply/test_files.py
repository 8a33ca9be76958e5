"""Files and folders on a disk: what is read, what is only looked at, and what cannot be read without harm to its neighbours."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from services.supply import files
from services.supply.files import SETTLE_MS, FilePlace, FolderPlace
from services.supply.places import Away, BeingWritten, Document, Finding, Same, Unread
from services.supply.sources import SourceSettings

NOW_MS = time.time_ns() // 1_000_000


def write(path: Path, text: str = "x", age_ms: int = 1_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    stamp = (NOW_MS - age_ms) * 1_000_000
    os.utime(path, ns=(stamp, stamp))


def told(findings: list[Finding]) -> list[str]:
    """Findings as short words."""
    words = []
    for finding in findings:
        match finding:
            case Document():
                words.append(f"{finding.name} of {finding.catalogue}: {finding.data.decode()}")
            case Same() | BeingWritten():
                words.append(f"{finding.name} {type(finding).__name__}")
            case Unread():
                words.append(f"{finding.name} unread: {finding.why}")
    return words


def file_place(path: Path) -> FilePlace:
    return FilePlace(SourceSettings(name="own", catalogue="lambda", file=path, poll_ms=1_000))


def folder_place(path: Path, **settings: str) -> FolderPlace:
    return FolderPlace(SourceSettings(name="tree", folder=path, poll_ms=1_000, **settings))


async def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    place = file_place(tmp_path / "vms.csv")
    write(tmp_path / "vms.csv", "one", age_ms=2_000)
    (first,) = await place.look(NOW_MS)
    assert isinstance(first, Document)
    assert (first.name, first.catalogue, first.label, first.as_of_ms, first.data) == (
        "own", "lambda", "vms.csv", NOW_MS - 2_000, b"one"
    )  # fmt: skip
    assert told(await place.look(NOW_MS)) == ["own Same"]
    write(tmp_path / "vms.csv", "two")
    assert told(await place.look(NOW_MS)) == ["own of lambda: two"]


async def test_a_file_is_not_read_while_it_is_written(tmp_path: Path) -> None:
    place = file_place(tmp_path / "vms.csv")
    write(tmp_path / "vms.csv", age_ms=SETTLE_MS - 1)
    assert told(await place.look(NOW_MS)) == ["own BeingWritten"]
    assert told(await place.look(NOW_MS + 1)) == ["own of lambda: x"]


async def test_what_is_missing_too_large_or_no_file_is_away_and_nothing_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BYTES_MAX", 3)
    write(tmp_path / "large", "four")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("none", "No such file"), ("large", "4 bytes, allowed are 3"), ("pipe", "is not a file"), (".", "is not a file")
    ):  # fmt: skip
        with pytest.raises(Away, match=why):
            await file_place(tmp_path / name).look(NOW_MS)
    with pytest.raises(Away, match="is not a file"):
        await file_place(Path("/dev/zero")).look(NOW_MS)


async def test_each_file_of_a_folder_is_a_catalogue_named_like_it(tmp_path: Path) -> None:
    write(tmp_path / "lambda.csv", "l")
    write(tmp_path / "vast.2.csv", "v")
    write(tmp_path / "nebius/vms.csv", "n")
    write(tmp_path / "nebius/images.csv", "not a price list")
    write(tmp_path / "README.md", "nor this")
    write(tmp_path / ".hidden.csv", "nor this")
    place = folder_place(tmp_path)
    assert told(await place.look(NOW_MS)) == [
        "tree/lambda.csv of lambda: l",
        "tree/nebius/vms.csv of nebius: n",
        "tree/vast.2.csv of vast: v",
    ]
    write(tmp_path / "lambda.csv", "changed")
    (tmp_path / "vast.2.csv").unlink()
    assert told(await place.look(NOW_MS)) == ["tree/lambda.csv of lambda: changed", "tree/nebius/vms.csv Same"]


async def test_a_folder_may_be_all_of_one_catalogue_and_of_another_format(tmp_path: Path) -> None:
    write(tmp_path / "a.json")
    write(tmp_path / "b.csv")
    place = folder_place(tmp_path, connector="vast", catalogue="vast")
    assert told(await place.look(NOW_MS)) == ["tree/a.json of vast: x"]


async def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write(tmp_path / "good.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "odd\x1b[2J.csv")
    write(tmp_path / "young.csv", age_ms=0)
    found = told(await folder_place(tmp_path).look(NOW_MS))
    assert [word for word in found if "gone.csv" not in word] == [
        "tree/good.csv of good: x",
        r"'tree/odd\x1b[2J.csv' unread: the file's name is too long or cannot be printed; rename it",
        "tree/pipe.csv unread: pipe.csv is not a file",
        "tree/young.csv BeingWritten",
    ]
    (gone,) = (word for word in found if "gone.csv" in word)
    assert gone.startswith("tree/gone.csv unread: ")


async def test_a_folder_that_cannot_be_read_tells_of_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Away, match="No such file"):
        await folder_place(tmp_path / "none").look(NOW_MS)
    write(tmp_path / "a.csv")
    with pytest.raises(Away, match="Not a directory"):
        await folder_place(tmp_path / "a.csv").look(NOW_MS)
    monkeypatch.setattr(files, "FILES_MAX", 1)
    write(tmp_path / "b.csv")
    with pytest.raises(Away, match="2 catalogues in one folder, allowed are 1"):
        await folder_place(tmp_path).look(NOW_MS)
    monkeypatch.setattr(files, "ENTRIES_MAX", 1)
    with pytest.raises(Away, match="more than 1 entries"):
        await folder_place(tmp_path).look(NOW_MS)


def test_what_an_operating_system_says_can_be_shown() -> None:
    assert files._said(OSError(2, "No such file", "a\x1b[2J")) == "[Errno 2] No such file: 'a\\x1b[2J'"
    assert files._said(OSError("a\x1b[2J")) == "'a\\x1b[2J'"
