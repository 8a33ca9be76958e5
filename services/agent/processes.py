"""Processes of a tenant, found and killed, however they have tried to get away. Reads /proc: Linux.

A lease's door is the *subreaper* of whatever it starts: a process whose parents have died becomes the door's child and not
init's. So all of a tenant's are below the door in the tree of processes, `nohup`, `setsid` and double forks included. Where a
door was killed itself, its tenant's processes are found by their user (where the tenant has one) or by the mark in their
environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

MARK: Final = "HOURBOOK_LEASE"
"""Variable in the environment of every process of a tenant: the lease's folder. Another agent here may have its number too."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_PROC: Final = Path("/proc")


class Process(NamedTuple):
    """One line of the tree."""

    pid: int
    parent: int
    zombie: bool


def become_subreaper() -> None:
    """Orphans among this process's descendants become its children. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl PR_SET_CHILD_SUBREAPER")


def all_processes() -> Iterator[Process]:
    """Of this machine, as far as it can be seen."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            # "pid (any name) state parent ...": the name may hold spaces and brackets.
            state, parent = stat[stat.rindex(b")") + 2 :].split()[:2]
            yield Process(int(entry.name), int(parent), zombie=state in {b"Z", b"X"})


def descendants(root: int) -> list[int]:
    """All below `root`, without zombies."""
    processes = list(all_processes())
    below = {root}
    while True:
        more = {process.pid for process in processes if process.parent in below} - below
        if not more:
            return [process.pid for process in processes if process.pid in below - {root} and not process.zombie]
        below |= more


def of_user(uid: int) -> list[int]:
    """All that run as this user, without zombies."""
    found = []
    for process in all_processes():
        try:
            owner = (_PROC / str(process.pid)).stat().st_uid
        except (FileNotFoundError, ProcessLookupError):
            continue
        if owner == uid and not process.zombie:
            found.append(process.pid)
    return found


def marked(folder: Path) -> list[int]:
    """All that carry the mark of the lease in this folder, without zombies and this process."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for process in all_processes():
        try:
            environment = (_PROC / str(process.pid) / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if mark in environment.split(b"\0") and not process.zombie and process.pid != os.getpid():
            found.append(process.pid)
    return found


def kill_all(find: Callable[[], list[int]], *, reaping: bool = False, patience_s: float = 10.0) -> bool:
    """Kills what `find` finds until it finds nothing; False: something was left after all that time.

    First all are stopped: what forks faster than it is killed cannot, then. `reaping`: they are, or become, our own children.
    """
    deadline = time.monotonic() + patience_s
    while found := find():
        if time.monotonic() > deadline:
            return False
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                send(pid, number)
        if reaping:
            reap()
        time.sleep(0.01)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """To a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def reap(but: frozenset[int] = frozenset()) -> None:
    """Takes leave of children that have ended; `but`: those that somebody else waits for."""
    me = os.getpid()
    for process in all_processes():
        if process.parent == me and process.zombie and process.pid not in but:
            try:
                os.waitpid(process.pid, os.WNOHANG)
            except ChildProcessError:
                continue
