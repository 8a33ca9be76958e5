"""The state of every process, from its own words and from its keeper's."""

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from services.cli import status
from services.cli.status import Kept
from services.runtime.status import Status, run_file, serve
from tests.cli.conftest import Place, typed

LONG_AGO_MS = 1_000


@contextmanager
def answering(run: Path, *processes: Status) -> Iterator[None]:
    """Processes that answer as every service does, with their run files."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def open_all() -> None:
        for each in processes:
            address = await stack.enter_async_context(serve(each, 0))
            stack.enter_context(run_file(run, each, address))

    try:
        asyncio.run_coroutine_threadsafe(open_all(), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def process(name: str, **values: int | str | bool) -> Status:
    told = Status(name)
    told.started_ms = LONG_AGO_MS
    told.set(**values)
    return told


def kept(name: str, **more: object) -> Kept:
    return Kept(**{"name": name, "pid": os.getpid(), "running": True, **more})  # type: ignore[arg-type]


@pytest.fixture
def gone() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_a_table_of_all_and_a_sentence_of_who_needs_one(
    here: Place, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    monkeypatch.setenv("HOURBOOK_HOME", str(here.folder))
    monkeypatch.setattr("services.cli.profile.owner", lambda _: os.getpid())
    halted = json.dumps({"level": "ERROR", "what": "stopped: commands/0 offset 12 is not a frame"})
    fault = json.dumps({"level": "ERROR", "what": "fault", "traceback": "Traceback\n  ...\nOSError: no space"})
    status.keep(
        here.folder,
        [
            kept("Apache Kafka", silent=True),
            kept("Postgres", silent=True, running=False),
            kept("settlement"),
            kept("matching-0a", failing=True, exit_code=65, restarts=3, last_words=halted),
            kept(
                "matching-0b", failing=True, exit_code=78, restarts=3, last_words="settings: HOURBOOK_DATA is not set"
            ),
            kept("matching-1a", restarts=1, exit_code=-9),
            kept("matching-1b", failing=True, exit_code=65, restarts=1, last_words=halted),
            kept("gateway"),
            kept("gateway-2"),
            kept("supply", pid=gone, failing=True, exit_code=1, restarts=2, last_words=fault),
            kept("market_maker"),
        ],
    )
    with answering(
        here.folder / "run",
        process(
            "settlement", role="active", epoch=2, lag=0, seq_0=12, seq_1=7, waiting_for="postgres", last_error="refused"
        ),
        process("matching-1a", role="active", shard=1, epoch=4, lag=0, seq=7, last_error="an error that is over"),
        process("matching-1b", role="follower", shard=1, epoch=4, lag=3, seq=6),
        process("gateway", role="open", settlement_lag_ms=40, seq=12),
        process("gateway-2"),
    ):
        done = typed("status")

    assert done.code == 1
    assert [line.split() for line in done.out.splitlines()[1:13]] == rows(f"""
        process      | pid | state | does | seq | epoch | lag | restarts | waits for
        Apache Kafka | {os.getpid()} | runs | 0
        Postgres     | {os.getpid()} | DOWN | 0
        settlement   | {os.getpid()} | runs | active | 0:12 1:7 | 2 | 0 | 0 | postgres
        matching-0a  | {os.getpid()} | HALTED | 3
        matching-0b  | {os.getpid()} | SETTINGS | 3
        matching-1a  | {os.getpid()} | runs | active | 7 | 4 | 0 | 1
        matching-1b  | {os.getpid()} | runs | follower | 6 | 4 | 3 | 1
        gateway      | {os.getpid()} | runs | open | 40 ms | 0
        gateway-2    | {os.getpid()} | starts | 0
        supply       | {gone} | DOWN | 2
        market_maker | {os.getpid()} | starts | 0
    """)
    assert done.out.splitlines()[13:] == [
        "settlement: refused",
        "matching-0a ended with 65: commands/0 offset 12 is not a frame",
        "matching-0b ended with 78: settings: HOURBOOK_DATA is not set",
        "supply ended with 1: fault: OSError: no space",
    ]


def rows(text: str) -> list[list[str]]:
    return [line.replace("|", " ").split() for line in text.strip().splitlines()]


def test_who_has_just_been_started_again_after_a_halt_is_not_believed_yet(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers for a moment before it meets the same record again."""
    monkeypatch.setenv("HOURBOOK_HOME", str(here.folder))
    monkeypatch.setattr("services.cli.profile.owner", lambda _: os.getpid())
    status.keep(here.folder, [kept("young", failing=True, exit_code=65), kept("reading", failing=True, exit_code=65)])
    young = process("young", role="follower")
    young.started_ms = time.time_ns() // 1_000_000
    with answering(here.folder / "run", young, process("reading", role="recovering")):
        found = status.read()

    assert [each.state for each in found.processes] == ["halted", "halted"]
    assert not found.well


def test_without_a_keeper_run_files_are_enough(here: Place, monkeypatch: pytest.MonkeyPatch, gone: int) -> None:
    """As in production: HOURBOOK_RUN names their folder. Who died without removing his is down, who is deaf is silent."""
    run = here.folder / "run"
    monkeypatch.setenv("HOURBOOK_RUN", str(run))
    with answering(run, process("gateway", role="open", settlement_lag_ms=0)):
        assert status.read().well
        for name, pid in (("dead", gone), ("deaf", os.getpid())):
            (run / f"{name}.json").write_text(json.dumps({"name": name, "pid": pid, "status": "127.0.0.1:1"}))
        (run / "torn.json").write_text("{")
        found = status.read()

    assert [(each.name, each.state) for each in found.processes] == [
        ("dead", "down"),
        ("deaf", "silent"),
        ("gateway", "runs"),
        ("torn", "down"),
    ]
    assert not found.well


def test_where_nothing_runs_it_says_so(here: Place) -> None:
    done = typed("status")

    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("hourbook: no exchange runs from this folder; `make run` starts a sandbox")
    assert here.folder.is_dir()
