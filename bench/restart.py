"""How long a shard with 100,000 resting orders takes from its snapshot to ready. Aim: under 2 s."""

from __future__ import annotations

import time

from bench.measure import done, options, report, rounds, run_side
from bench.shard import T0_MS, opening, resting_orders
from services.matching.engine import Engine
from services.matching.snapshot import dump, load, state_hash

ORDERS = 100_000
ACCOUNTS = 50


def measure() -> None:
    """Build the shard, then load it from the bytes of its snapshot and check that it is the same."""
    engine = Engine()
    offset = 0
    for offset, frame in enumerate([*opening(ACCOUNTS), *resting_orders(ORDERS, ACCOUNTS)]):
        engine.apply(offset, T0_MS, frame)
    assert engine.resting_count() == ORDERS, engine.resting_count()
    snapshot = dump(engine)
    started = time.perf_counter()
    again = load(snapshot)
    seconds = time.perf_counter() - started
    assert state_hash(again) == state_hash(engine)
    again.check()
    done(seconds, snapshot_bytes=len(snapshot))


if __name__ == "__main__":
    given = options(__doc__)
    if given.side:
        measure()
    else:
        mine, _ = rounds("restart", given.rounds, lambda side: run_side("restart", side), peer=False)
        report("restart", "s", mine, [], more_is_better=False)
