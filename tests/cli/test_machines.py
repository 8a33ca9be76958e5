"""A provider takes a machine away for hours to come, and brings it back."""

from __future__ import annotations

import time

import pytest

from tests.cli.conftest import Sandbox, typed
from tests.cli.test_newcomer import told


@pytest.fixture(autouse=True)
def provider(inside: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are his."""
    monkeypatch.setenv("HOURBOOK_PROFILE", str(inside.folder / "var/sandbox/host-b.json"))
    deadline = time.monotonic() + 60
    while not told("machines"):
        assert time.monotonic() < deadline, "its agent does not come"
        time.sleep(0.5)


def planned() -> list[int]:
    """Length of each window, as the machines' list has them."""
    (machine,) = told("machines")
    return [hours(window["from"], window["until"]) for window in machine["maintenance"]]


def hours(begin: str, end: str) -> int:
    return (time_of(end) - time_of(begin)) // 3600


def time_of(text: str) -> int:
    return int(time.mktime(time.strptime(text, "%Y-%m-%dT%H:%MZ")))


def test_windows_are_added_shown_and_taken_back() -> None:
    first = typed("machines", "maintenance", "host-b", "--from", "in 70 hours", "--hours", "4")
    assert (first.code, first.out.startswith("host-b is away ")) == (0, True), first
    typed("machines", "maintenance", "host-b", "--from", "in 100 hours", "--hours", "2")
    assert planned() == [4, 2]
    assert "away" in typed("machines").out

    cut = typed("machines", "maintenance", "host-b", "--back", "in 73 hours")
    assert (cut.code, planned()) == (0, [3]), cut
    back = typed("machines", "maintenance", "host-b", "--back", "next")
    assert (back.out, planned()) == ("host-b is there in all hours to come\n", [])


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["host-x"], 3, "you have no machine 'host-x'"),
        (["host-b", "--from", "in 3 hours"], 2, "--from and --hours go together"),
        (
            ["host-b", "--from", "in 3 hours", "--hours", "1", "--back", "next"],
            2,
            "say --from and --hours to take it away",
        ),
    ],
)
def test_words_that_do_not_fit(words: list[str], code: int, line: str) -> None:
    done = typed("machines", "maintenance", *words)
    assert (done.code, line in done.err) == (code, True), done


def test_windows_that_overlap_are_refused_and_nothing_changes() -> None:
    for begin in ("in 80 hours", "in 81 hours"):
        done = typed("machines", "maintenance", "host-b", "--from", begin, "--hours", "2")
    assert done.code == 3
    assert "overlap: make one of them" in done.err
    assert planned() == [2]
    typed("machines", "maintenance", "host-b", "--back", "next")
