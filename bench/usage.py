"""What processes use, as the system counts it: memory that is theirs, processor time, with all of their children."""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

MIB: Final = 1024 * 1024
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds now."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, f"process {pid} has ended"
    return int(found[1]) * 1024


def processor_s(pid: int) -> float:
    """Seconds that a process and its children have worked so far, those included that have ended.

    A database serves each connection with a child.
    """
    fields = {int(stat.parent.name): text for stat in Path("/proc").glob("[0-9]*/stat") if (text := _fields(stat))}
    own = fields[pid]
    ticks = sum(map(int, own[11:15]))  # user, system, and both of children that were waited for
    family, found = {pid}, True
    while found:
        found = [each for each, text in fields.items() if each not in family and int(text[1]) in family]
        family.update(found)
    return _TICK_S * (ticks + sum(int(fields[each][11]) + int(fields[each][12]) for each in family - {pid}))


def _fields(stat: Path) -> list[str]:
    """From the state on; empty: it has ended meanwhile."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def status_of(run: Path, name: str) -> dict[str, Any]:
    """What a service tells of itself. Raises OSError where it does not."""
    address = json.loads((run / f"{name}.json").read_bytes())["status"]
    with urllib.request.urlopen(f"http://{address}/status", timeout=1) as answer:
        status: dict[str, Any] = json.load(answer)
    return status


class Meter:
    """Processor time of several processes from one moment to another."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began_s = time.monotonic()
        self._before = self._now()

    def read(self) -> tuple[float, dict[str, float]]:
        """(seconds since the meter was made, those of them that each process has worked)."""
        now = self._now()
        return time.monotonic() - self._began_s, {name: now[name] - before for name, before in self._before.items()}

    def _now(self) -> dict[str, float]:
        return {name: processor_s(pid) for name, pid in self._pids.items()}


class Peak:
    """The most memory that processes held while the block ran, looked at five times a second."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self._now()
        self.most = dict(self.before)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for name, size in self._now().items():
                self.most[name] = max(self.most[name], size)

    def _now(self) -> dict[str, int]:
        return {name: resident(pid) for name, pid in self._pids.items()}
