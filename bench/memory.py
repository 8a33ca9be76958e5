"""Bytes of the engine per resting order, indexes included, dedupe entries apart. Target: at most 400.

Measured as what `tracemalloc` says is allocated more once 100,000 orders rest in books that were empty: the orders, the
levels (9,600 prices, so about ten orders in each) with their queues, and every index. Without client ids: their entries are
apart.
"""

from __future__ import annotations

import gc
import tracemalloc

import msgspec

from bench.measure import done, options, report, rounds, run_side
from bench.shard import T0_MS, opening, resting_orders
from schemas.commands import PlaceOrder, Tick
from services.matching.engine import Engine

ORDERS = 100_000
ACCOUNTS = 50


def measure() -> None:
    """Fill the books, and divide the growth."""
    engine = Engine()
    for offset, frame in enumerate(opening(ACCOUNTS)):
        engine.apply(offset, T0_MS, frame)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for frame in resting_orders(ORDERS, ACCOUNTS):
        nameless = [msgspec.structs.replace(order, client_id="") for order in frame if isinstance(order, PlaceOrder)]
        assert len(nameless) == len(frame)
        engine.apply(engine.offset + 1, T0_MS, nameless)
    del frame, nameless
    # The engine still refers to the events of the last record.
    engine.apply(engine.offset + 1, T0_MS, [Tick(T0_MS)])
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    assert engine.resting_count() == ORDERS, engine.resting_count()
    assert not engine.ids_by_age
    engine.check()
    done((after - before) / ORDERS)


def main() -> None:
    given = options(__doc__, rounds=1)
    if given.side:
        measure()
        return
    mine, _ = rounds("memory", given.rounds, lambda side: run_side("memory", side), peer=False)
    report("memory", "bytes per resting order", mine, [], more_is_better=False, orders=ORDERS)


if __name__ == "__main__":
    main()
