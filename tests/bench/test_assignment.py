"""The bench of the assignment runs, small: its own checks, its bound below it, and the same titles for the same seed."""

import json
import subprocess
import sys

from bench.measure import KEYS
from bench.titles import markets


def test_the_assignments_bench_prints_one_line_whose_bound_is_below_it() -> None:
    small = ["--machines", "80", "--positions", "160", "--hours", "18", "--obligors", "20", "--window", "6"]
    ran = subprocess.run(
        [sys.executable, "-m", "bench.assignment", "--rounds", "2", *small], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    line = json.loads(ran.stdout)
    assert tuple(line)[: len(KEYS)] == KEYS
    assert 0 < line["peer"] <= line["ours"]
    assert line["peer"] < line["least_without_exchanges"]
    assert line["least_with_cover"] <= line["handovers_with_cover"]
    assert line["exchanged"] > 0
    assert line["positions"] == 160


def test_a_seed_gives_the_same_market_again_and_another_gives_another() -> None:
    def drawn(seed: int) -> list[object]:
        return [tuple(market) for market in markets(seed, machines=40, hours=12, positions=40, obligors=8)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
