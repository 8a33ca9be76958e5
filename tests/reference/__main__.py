"""Random days in both engines until so many operations are done: as many as one has time for.

    python -m tests.reference --operations 1000000 --seed 7

Ends with 1 at the first difference, with its trace cut down to a few commands. The same seed, the same days.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.reference.coverage import Tally
from tests.reference.days import day_of
from tests.reference.duel import disagreement, smallest_disagreement


def main() -> int:
    """Exit code: 0 no difference, 1 a difference."""
    parser = argparse.ArgumentParser(prog="python -m tests.reference", description=__doc__.splitlines()[0])
    parser.add_argument("--operations", type=int, default=1_000_000, help="commands to play")
    parser.add_argument("--seed", type=int, default=None, help="drawn anew when it is not given")
    parser.add_argument("--first-day", type=int, default=0, help="begin with a later day: the one that failed")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 40) if asked.seed is None else asked.seed
    print(f"python -m tests.reference --operations {asked.operations} --seed {seed}", flush=True)
    return fight(asked.operations, seed, asked.first_day)


def fight(operations: int, seed: int, first_day: int) -> int:
    """Day after day. The last line says what they agreed about, or on which day they did not."""
    tally = Tally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("operations", total=operations)
        for number in itertools.count(first_day):
            flow, setting = day_of(str(seed), number)
            tally.begin()
            if disagreement(flow, setting, tally.hear) is not None:
                print(smallest_disagreement(flow, setting), file=sys.stderr)
                print(f"seed {seed}: the engines differ on day {number}, {setting}")
                return 1
            progress.update(bar, completed=tally.commands)
            if tally.commands >= operations:
                break
    if tally.missing():
        print(f"never reached: {', '.join(tally.missing())}")
    reached = f"{len(tally.answers)} answers with {len({code for _, code in tally.answers})} codes"
    print(
        f"seed {seed}: {tally.commands} operations in {tally.records} records of {tally.flows} days, "
        f"{tally.said.total()} events, {reached}, {len(tally.feats)} feats, no difference"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
