"""`hourbook status`: how every process of an exchange is, as it says itself and as whoever keeps it running says.

Two sources: `<home>/run/<name>.json` leads to each process's own `/status`; `<home>/processes.json` is what the keeper of a
sandbox or durable exchange knows (restarts, exit codes, last words), also of what is not there to answer. In production there
is no keeper: HOURBOOK_RUN names the folder of run files.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import msgspec
from msgspec import Struct

from services.cli import output, profile
from services.cli.files import write_private

ANSWER_S_MAX: Final = 2.0
_STEADY_MS: Final = 3_000
"""Who has been halted and answers for so long has got over it."""

State = Literal["runs", "starts", "silent", "down", "halted", "settings"]
"""starts: it has not yet said what it does, or reads its past · silent: alive without an answer · halted: it ended with 65, an
operator must look · settings: 78."""

_HOPELESS: Final[dict[int | None, State]] = {65: "halted", 78: "settings"}


class Kept(Struct, frozen=True, kw_only=True):
    """A process as its keeper knows it."""

    name: str
    pid: int
    running: bool
    silent: bool = False
    """A broker, a database, an agent: it has no `/status`."""
    restarts: int = 0
    failing: bool = False
    exit_code: int | None = None
    last_words: str = ""


class Process(Struct, frozen=True, kw_only=True):
    """One row."""

    name: str
    pid: int
    state: State
    does: str = ""
    """Its role, or how much it handles."""
    seq: dict[int, int] = {}
    """By shard, the last record of `events` that it knows."""
    epoch: int | None = None
    """Of the lease that it holds, or whose holder it follows."""
    lag: int | None = None
    """Records behind."""
    lag_ms: int | None = None
    """The gateway: how far settlement is behind what it has acknowledged."""
    waits_for: str = ""
    restarts: int = 0
    exit_code: int | None = None
    said: str = ""
    """Its last error, or its last words."""
    details: dict[str, int | float | str | bool] = {}
    """All of its `/status`."""


class Status(Struct, frozen=True, kw_only=True):
    """`hourbook --json status`."""

    exchange: str
    """Folder of the exchange, or of run files."""
    well: bool
    """Everything runs, and nothing waits."""
    processes: tuple[Process, ...]


def keep(home: Path, processes: list[Kept]) -> None:
    """The keeper's part."""
    write_private(home / "processes.json", msgspec.json.encode(processes))


def read() -> Status:
    """Of the exchange that commands are about. Raises Unreachable when there is none."""
    if named := os.environ.get("HOURBOOK_RUN"):
        return _of(Path(named), Path(named), [])
    home = profile.home()
    if home is None or not profile.owner(home):
        raise profile.nothing_runs()
    return _of(home, home / "run", kept(home))


def kept(home: Path) -> list[Kept]:
    """What the keeper has told last."""
    file = home / "processes.json"
    return msgspec.json.decode(file.read_bytes(), type=list[Kept]) if file.exists() else []


def _of(exchange: Path, run: Path, kept: list[Kept]) -> Status:
    files = {file.stem: file for file in run.glob("*.json")}
    names = [*(each.name for each in kept), *sorted(set(files) - {each.name for each in kept})]
    known = {each.name: each for each in kept}
    with ThreadPoolExecutor(max_workers=8) as pool:
        processes = tuple(pool.map(lambda name: _process(known.get(name), files.get(name)), names))
    well = bool(processes) and all(each.state == "runs" and not each.waits_for for each in processes)
    return Status(exchange=str(exchange), well=well, processes=processes)


def _process(kept: Kept | None, file: Path | None) -> Process:
    entry = _entry(file)
    told = _ask(entry["status"]) if entry else {}
    if kept is None:
        assert file is not None, "named by one of the two"
        pid = entry["pid"] if entry else 0
        kept = Kept(name=file.stem, pid=pid, running=_alive(pid))
    state = _state(kept, told, has_file=bool(entry))
    return Process(
        name=kept.name,
        pid=kept.pid,
        state=state,
        does=_does(told),
        seq=_seq(told),
        epoch=_whole(told, "epoch"),
        lag=_whole(told, "lag"),
        lag_ms=_whole(told, "settlement_lag_ms"),
        waits_for=str(told.get("waiting_for", "")),
        restarts=kept.restarts,
        exit_code=kept.exit_code,
        said=last_words(kept.last_words) if kept.failing and state != "runs" else str(told.get("last_error", "")),
        details=told,
    )


def _state(kept: Kept, told: dict[str, Any], *, has_file: bool) -> State:
    steady = told.get("role") != "recovering" and told.get("started_ms", 0) <= time.time() * 1000 - _STEADY_MS
    if kept.failing and kept.exit_code in _HOPELESS and not (told and steady):
        return _HOPELESS[kept.exit_code]
    # Its keeper may be busy with a server, or unable to write: a process that is not there is down.
    if not kept.running or not _alive(kept.pid):
        return "down"
    if kept.silent or _does(told) not in ("", "recovering"):
        return "runs"
    return "starts" if told or not has_file else "silent"


def _entry(file: Path | None) -> dict[str, Any]:
    """What a run file says; empty: it was removed this moment."""
    try:
        return dict(json.loads(file.read_bytes())) if file is not None else {}
    except (FileNotFoundError, ValueError):
        return {}


def _ask(address: str) -> dict[str, Any]:
    """The process's own words; empty: it does not answer."""
    try:
        return dict(httpx.get(f"http://{address}/status", timeout=ANSWER_S_MAX, trust_env=False).json())
    except (httpx.HTTPError, ValueError):
        return {}


def _alive(pid: int) -> bool:
    return pid > 0 and Path(f"/proc/{pid}").exists()


def _does(told: dict[str, Any]) -> str:
    if "role" in told:
        return str(told["role"])
    for count in ("asks", "offers"):
        if count in told:
            return f"{told[count]} {count}"
    return ""


def _seq(told: dict[str, Any]) -> dict[int, int]:
    if "shard" in told and "seq" in told:
        return {told["shard"]: told["seq"]}
    return {int(key.removeprefix("seq_")): seq for key, seq in told.items() if key.removeprefix("seq_").isdigit()}


def _whole(told: dict[str, Any], key: str) -> int | None:
    return int(told[key]) if key in told else None


def last_words(line: str) -> str:
    """The sentence of a line of a service's log, or the line as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    sentence = str(entry.get("what", line)).removeprefix("stopped: ")
    cause = str(entry.get("traceback", "")).strip().rpartition("\n")[2]
    return f"{sentence}: {cause}" if cause else sentence


# --- For people ---------------------------------------------------------------------------------------------


def show(found: Status) -> None:
    """A table, then whoever needs attention in a sentence each."""
    output.table(
        f"Exchange of {found.exchange}",
        ("process", ">pid", "state", "does", ">seq", ">epoch", ">lag", ">restarts", "?waits for"),
        (
            (
                each.name,
                str(each.pid),
                each.state if each.state in ("runs", "starts") else each.state.upper(),
                each.does,
                _shown_seq(each.seq),
                _shown(each.epoch),
                _shown(each.lag) if each.lag_ms is None else f"{each.lag_ms} ms",
                str(each.restarts),
                each.waits_for,
            )
            for each in found.processes
        ),
        empty="nothing runs",
    )
    for each in found.processes:
        # An error that is over is in --json, where it is in nobody's way.
        if each.state == "runs" and each.said and (each.waits_for or each.details.get("sources_unreadable")):
            output.console.print(f"{each.name}: {each.said}")
        elif each.exit_code is not None and each.state != "runs":
            output.console.print(f"{each.name} ended with {each.exit_code}: {each.said}")


def _shown(number: int | None) -> str:
    return "" if number is None else str(number)


def _shown_seq(seq: dict[int, int]) -> str:
    """`84`, or of several shards `0:84 1:85`."""
    if len(seq) == 1:
        return str(*seq.values())
    return " ".join(f"{shard}:{number}" for shard, number in sorted(seq.items()))
