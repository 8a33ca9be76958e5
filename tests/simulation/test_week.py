"""A week of the market with everybody in it, under faults, audited; and a day and a half of it for every day.

make week                           168 hours from a new seed
HOURBOOK_SEED=77 make week          that one again
HOURBOOK_HOURS=24 make week         fewer of them

What came of it is printed as a table.
"""

from __future__ import annotations

import os
import random
import sys

import pytest

from tests.simulation.weekly import Result, live_through, table

HOURS = 168
BOUNDED_SEED, BOUNDED_HOURS = 11, 36
KINDS = ("order, ioc", "order, gtc", "range", "block", "quote", "running")
"""What the bounded part must have traded; a week: everything in the table."""
NOT_HERE = {"H2", "H3", "R1", "R2", "R3", "R4"}
"""Minutes of machines, and rentals: here are none."""


def test_a_day_with_the_desk_ends_with_every_promise_kept() -> None:
    """Its seed is fixed: what it reaches does not depend on luck."""
    result = live_through(BOUNDED_SEED, BOUNDED_HOURS, faults=12)
    print(table(result), file=sys.stderr)
    assert not result.failure, result.failure
    assert never(result) == []


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_week_ends_with_every_promise_kept() -> None:
    """Faults every few hours; the judge looks at the end of every day, the production audit at the end of all."""
    seed = int(os.environ.get("HOURBOOK_SEED") or random.SystemRandom().getrandbits(40))
    hours = int(os.environ.get("HOURBOOK_HOURS") or HOURS)
    print(f"HOURBOOK_SEED={seed} HOURBOOK_HOURS={hours}", file=sys.stderr, flush=True)
    result = live_through(seed, hours, faults=hours // 3)
    print(table(result), file=sys.stderr)
    assert not result.failure, result.failure
    if hours >= HOURS:
        assert never(result) == []


def never(result: Result) -> list[str]:
    """What should have happened, and did not."""
    wanted = {
        "trades of the desk": result.desk_trades,
        "machines procured": result.procured,
        "hours delivered": result.delivered,
        "faults": sum(result.faults.values()),
        "GPU-hours": sum(result.gpu_hours.values()),
        **{f"trades by {kind}": result.trades[kind] for kind in KINDS},
        **{f"looked at for {name}": count for name, count in result.looked.items() if name not in NOT_HERE},
    }
    return [name for name, count in wanted.items() if not count]
