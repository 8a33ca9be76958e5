"""Bytes of the engine per resting order, indexes included, dedupe entries apart. Aim: at most 400.

Measured as the growth of allocated memory between 100,000 and 200,000 resting orders without client ids.
"""

from __future__ import annotations

import gc
import tracemalloc

import msgspec

from bench.measure import done, options, report, rounds, run_side
from bench.shard import T0_MS, opening, resting_orders
from schemas.commands import PlaceOrder
from services.matching.engine import Engine

ORDERS = 100_000
ACCOUNTS = 50


def measure() -> None:
    """Fill the books twice over and divide the growth."""
    engine = Engine()
    offset = 0
    for offset, frame in enumerate(opening(ACCOUNTS)):
        engine.apply(offset, T0_MS, frame)
    sizes = []
    orders = resting_orders(2 * ORDERS, ACCOUNTS)
    tracemalloc.start()
    while engine.resting_count() < 2 * ORDERS:
        offset += 1
        frame = [msgspec.structs.replace(c, client_id="") for c in next(orders) if isinstance(c, PlaceOrder)]
        engine.apply(offset, T0_MS, frame)
        if engine.resting_count() in (ORDERS, 2 * ORDERS):
            del frame
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    assert len(sizes) == 2, sizes
    engine.check()
    done((sizes[1] - sizes[0]) / ORDERS)


if __name__ == "__main__":
    given = options(__doc__, rounds=1)
    if given.side:
        measure()
    else:
        mine, _ = rounds("memory", given.rounds, lambda side: run_side("memory", side), peer=False)
        report("memory", "bytes per resting order", mine, [], more_is_better=False)
