"""A week of 10,000 machines and 20,000 positions: how many hand-overs more than a lower bound. Target: at most 1.05 of it.

The titles are those of `bench.titles`: four classes, 50 providers. Without cover, so only lots of equal cost are exchanged: that
is the case in which the bound of `bench.lower_bound` knows what the solver may do. What cover saves is said beside it
(`handovers_with_cover`), with the bound of single boundaries for it, which does not know that cover is used up.

`seconds` in the line: processor time of the calls of `assign`, from titles to slots, the garbage collector off; it should be
less than 10. Afterwards, for each class: no seat has two buyers in an hour, every seat is on a machine of whoever owes what it
counts for, what is exchanged cost the same, and every lot has a seat or is said to have none.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace
from rich.console import Console
from rich.progress import Progress

from bench.lower_bound import Owed, Room, least_handovers
from bench.measure import Run, done, options, report, rounds, run_side
from bench.titles import CLASSES, Market, markets
from services.delivery.assignment import Assignment, assign, exchanges, handovers

MACHINES, HOURS, POSITIONS, OBLIGORS, SEED = 10_000, 168, 20_000, 50, 1
WINDOW = 24
"""Hours that the bound looks at together."""


def drawn(given: argparse.Namespace) -> Iterator[Market]:
    return markets(
        given.seed, machines=given.machines, hours=given.hours, positions=given.positions, obligors=given.obligors
    )


def ours(given: argparse.Namespace) -> None:
    """All classes, each once without cover and once with it."""
    seconds, covered_seconds = 0.0, 0.0
    facts: Counter[str] = Counter()
    gc.disable()
    for market in drawn(given):
        gc.collect()
        bare = replace(market.fleet, cover={})
        started = time.process_time()
        assignment = assign(bare, market.titles)
        seconds += time.process_time() - started
        look(market, assignment, covered=False)
        started = time.process_time()
        covered = assign(market.fleet, market.titles)
        covered_seconds += time.process_time() - started
        look(market, covered, covered=True)
        facts.update(
            handovers=sum(one.lots for one in handovers(assignment)),
            handovers_with_cover=sum(one.lots for one in handovers(covered)),
            exchanged=sum(one.lots for one in exchanges(assignment)),
            unplaced=sum(one.qty for one in assignment.unplaced) // bare.lot,
            titles=len(market.titles),
            positions=market.positions,
        )
    value = facts.pop("handovers")
    done(value, seconds=round(seconds, 2), seconds_with_cover=round(covered_seconds, 2), **facts)


def look(market: Market, assignment: Assignment, *, covered: bool) -> None:
    """Raises AssertionError where a rule is broken."""
    lot = market.fleet.lot
    machines = {machine.number: machine for machine in market.fleet.machines}
    titles = {title.number: title for title in market.titles}
    placed: Counter[int] = Counter({one.title: one.qty // lot for one in assignment.unplaced})
    for hour, slots in assignment.slots.items():
        taken: dict[int, int] = {}
        for slot in slots:
            machine, counted = machines[slot.machine], titles[slot.counts_for]
            assert not slot.seats & taken.get(slot.machine, 0), "a seat has two buyers"
            taken[slot.machine] = taken.get(slot.machine, 0) | slot.seats
            assert slot.seats >> machine.gpus // lot == 0
            assert not any(start <= hour < end for start, end in machine.out)
            assert counted.obligor == machine.obligor
            assert counted.hour == titles[slot.title].hour == hour
            assert covered or counted.cost == titles[slot.title].cost, "an exchange that nobody pays for"
            placed[slot.title] += slot.seats.bit_count()
    assert placed == Counter({number: title.qty // lot for number, title in titles.items()})


def bounds(given: argparse.Namespace) -> tuple[int, int, int]:
    """The least hand-overs of all classes (without exchanges, without cover, with it)."""
    alone = bare = covered = 0
    windows = -(-(given.hours - 1) // given.window)
    with Progress(console=Console(file=sys.stderr)) as progress:
        task = progress.add_task("lower bound", total=CLASSES * windows)
        for market in drawn(given):
            lot = market.fleet.lot
            rooms: list[Room] = [(one.obligor, one.gpus // lot, one.out) for one in market.fleet.machines]
            titles: list[Owed] = [
                (one.hour, one.number, one.obligor, one.holder, one.qty // lot, one.cost) for one in market.titles
            ]
            # Costs that nobody shares: nobody exchanges.
            alone += least_handovers(lot, rooms, [(*one[:5], one[2]) for one in titles], {})
            covered += least_handovers(lot, rooms, titles, market.fleet.cover)
            bare += least_handovers(lot, rooms, titles, {}, given.window, lambda: progress.advance(task))
    return alone, bare, covered


def main() -> None:
    given = options(
        __doc__,
        rounds=3,
        machines=MACHINES,
        hours=HOURS,
        positions=POSITIONS,
        obligors=OBLIGORS,
        seed=SEED,
        window=WINDOW,
    )
    if given.side:
        ours(given)
        return
    mine, _ = rounds(
        "assignment", given.rounds, lambda side: run_side("assignment", side, *given.passed_on), peer=False
    )
    alone, bare, covered = bounds(given)
    seconds = sorted(run["seconds"] for run in mine)
    facts = {name: value for name, value in mine[0].items() if name != "value" and not name.startswith("seconds")}
    assert all(run["value"] == mine[0]["value"] for run in mine), "the same titles were assigned in two ways"
    assert mine[0]["value"] >= bare, "fewer hand-overs than there can be: the bound is wrong"
    assert facts["handovers_with_cover"] >= covered, "fewer hand-overs than there can be: the bound is wrong"
    bound: list[Run] = [{"value": bare}] * len(mine)
    report(
        "assignment", "hand-overs", mine, bound, more_is_better=False, seconds=seconds[len(seconds) // 2],
        seconds_with_cover=sorted(run["seconds_with_cover"] for run in mine)[len(mine) // 2],
        least_without_exchanges=alone, least_with_cover=covered, **facts,
    )  # fmt: skip


if __name__ == "__main__":
    main()
