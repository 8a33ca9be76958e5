"""The engine's bench runs, small: the peer's own flow through both engines, and what is said of it."""

import json
import subprocess
import sys

import pytest

from bench.measure import KEYS


def test_the_engines_bench_prints_one_line_with_the_documented_keys() -> None:
    """Both engines filled the same orders of the flow; the processes themselves check fees, repeats and sums."""
    ran = subprocess.run(
        [sys.executable, "-m", "bench.engine", "--orders", "2000", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    if sys.version_info < (3, 12):
        assert ran.returncode == 1
        assert "needs Python 3.12" in ran.stderr
        return
    assert ran.returncode == 0, ran.stderr
    (text,) = ran.stdout.splitlines()
    line = json.loads(text)
    assert tuple(line)[: len(KEYS)] == KEYS
    assert {name: line[name] for name in ("bench", "unit", "better", "rounds", "orders", "fills", "resting")} == {
        "bench": "engine",
        "unit": "commands/s",
        "better": "more",
        "rounds": 1,
        "orders": 2000,
        "fills": 339,
        "resting": 890,
    }
    assert line["ratio"] == pytest.approx(line["ours"] / line["peer"], rel=0.01)
    assert line["moves"] >= line["fills"], "a fill moves one piece of a title at least"
