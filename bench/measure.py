"""How every figure is taken: each side in a process of its own, interleaved, the spread shown.

A bench module has a `main()` that calls `compare`, and answers `--side NAME` by doing that side once and
calling `done`. Absolute numbers depend on the machine and its neighbours; read the ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

ROUNDS = 5


def done(value: float, **facts: object) -> None:
    """Called by one side: its figure, and facts that the other process checks or prints."""
    print(json.dumps({"value": value, **facts}), flush=True)


def run_side(module: str, side: str, python: str = sys.executable, *arguments: str) -> dict[str, Any]:
    """One run of one side in a process of its own. Raises when it fails: a figure is never made up."""
    command = [python, "-m", module, "--side", side, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{module} --side {side} failed ({finished.returncode}):\n{finished.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(finished.stdout.strip().splitlines()[-1])
    return answer


def compare(
    name: str, module: str, unit: str, *, peer: bool = True, rounds: int = ROUNDS, more_is_better: bool = True
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run both sides in turn and print the line: medians, their ratio (ours / peer) and the spread (min, max)."""
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for number in range(rounds):
        print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        if peer:
            theirs.append(run_side(module, "peer"))
        ours.append(run_side(module, "ours"))
    report(name, unit, [run["value"] for run in ours], [run["value"] for run in theirs], more_is_better=more_is_better)
    return ours, theirs


def report(
    name: str,
    unit: str,
    ours: list[float],
    peer: list[float],
    *,
    more_is_better: bool = True,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Print the one JSON line of a figure."""
    line: dict[str, object] = {
        "bench": name,
        "ours": _round(statistics.median(ours)),
        "peer": _round(statistics.median(peer)) if peer else None,
        "ratio": round(statistics.median(ours) / statistics.median(peer), 3) if peer else None,
        "unit": unit,
        "spread_ours": [_round(min(ours)), _round(max(ours))],
        "spread_peer": [_round(min(peer)), _round(max(peer))] if peer else None,
        "better": "more" if more_is_better else "less",
        "rounds": len(ours),
        **(extra or {}),
    }
    print(json.dumps(line), flush=True)


def _round(value: float) -> float:
    return round(value) if abs(value) >= 100 else round(value, 3)
