"""How every figure is taken: each side in a process of its own, the sides in turn, the spread shown.

A bench module has `side(name, options)`, which does one side once and calls `done`, and `finish(options)`, which runs the
rounds and prints the line. Absolute numbers depend on the machine and its neighbours; read the ratio. It is the median
of the rounds' own ratios, so that a neighbour who wakes up between two rounds does not count for one side only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

ROUNDS = 5

KEYS = ("bench", "ours", "peer", "ratio", "unit", "spread_ours", "spread_peer", "spread_ratio", "better", "rounds")
"""Of the JSON line; `peer`, `ratio` and their spreads are null where nothing is compared. A bench may add others."""

Run = dict[str, Any]
"""What one side said: its `value`, and facts that the other process checks or prints."""


def options(about: str | None, *, rounds: int = ROUNDS, compiled: bool = False, **counts: int) -> argparse.Namespace:
    """The command line: `--rounds`, `--side` for the processes started here, and a number per count.

    `compiled`: the bench can run our side on the build of `make compile`, when asked with `--compiled`.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="how often each side runs (default %(default)s)")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    for name, default in counts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help="default %(default)s")
    if compiled:
        parser.add_argument("--compiled", action="store_true", help="our side on the build of `make compile`")
    given = parser.parse_args()
    given.passed_on = ["--compiled"] * (compiled and given.compiled) + [
        word for name in counts for word in (f"--{name.replace('_', '-')}", str(getattr(given, name)))
    ]
    return given


def done(value: float, **facts: object) -> None:
    """Called by one side: its figure, and facts that the other process checks or prints."""
    print(json.dumps({"value": value, **facts}), flush=True)


def run_side(bench: str, side: str, *arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """One run of one side in a process of its own. Raises when it fails: a figure is never made up."""
    command = [sys.executable, "-m", f"bench.{bench}", "--side", side, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if finished.returncode:
        raise SystemExit(f"bench.{bench} --side {side} failed ({finished.returncode}):\n{finished.stderr[-4000:]}")
    answer: Run = json.loads(finished.stdout.strip().splitlines()[-1])
    return answer


def rounds(bench: str, number: int, run: Callable[[str], Run], *, peer: bool = True) -> tuple[list[Run], list[Run]]:
    """Both sides in turn, (ours, peer); who begins changes with every round."""
    ran: dict[str, list[Run]] = {"ours": [], "peer": []}
    for turn in range(number):
        sides = ("peer", "ours") if turn % 2 == 0 else ("ours", "peer")
        for side in sides if peer else ("ours",):
            ran[side].append(run(side))
        said = ", ".join(f"{side} {_round(runs[-1]['value'])}" for side, runs in ran.items() if runs)
        print(f"{bench}: round {turn + 1} of {number}: {said}", file=sys.stderr, flush=True)
    return ran["ours"], ran["peer"]


def report(
    bench: str,
    unit: str,
    ours: list[Run],
    peer: list[Run],
    *,
    more_is_better: bool = True,
    **extra: object,
) -> None:
    """Print the one JSON line of a figure: medians, the median of the rounds' ratios (ours / peer), the spreads."""
    mine = [run["value"] for run in ours]
    theirs = [run["value"] for run in peer]
    ratios = [one / other for one, other in zip(mine, theirs, strict=True)] if theirs else []
    line: dict[str, object] = {
        "bench": bench,
        "ours": _round(statistics.median(mine)),
        "peer": _round(statistics.median(theirs)) if theirs else None,
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "unit": unit,
        "spread_ours": _spread(mine),
        "spread_peer": _spread(theirs),
        "spread_ratio": [round(min(ratios), 3), round(max(ratios), 3)] if ratios else None,
        "better": "more" if more_is_better else "less",
        "rounds": len(mine),
    }
    assert tuple(line) == KEYS
    print(json.dumps({**line, **extra}), flush=True)


def _spread(values: list[float]) -> list[float] | None:
    return [_round(min(values)), _round(max(values))] if values else None


def _round(value: float) -> float:
    return round(value) if abs(value) >= 100 else round(value, 3)
