"""How long a shard with 100,000 resting orders takes from its snapshot to ready. Target: under 2 s.

The shard has traded: 10,000 fills stand in it as titles, and 120,000 client ids are young enough to be known.

Timed: what a process does between opening its newest snapshot and having a replica that may follow the log: file read,
checksum, engine loaded, state hash compared (`FileSnapshotStore.load`, `recovery.restore`). Apart: the interpreter's start
(about 0.3 s) and the broker's answers. In processor time: it is one thread, and the file is in the system's cache; `wall` in the
line is the clock's.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from pathlib import Path

from bench.flow import refuse_repeats
from bench.measure import done, options, report, rounds, run_side
from bench.shard import T0_MS, opening, resting_orders, trades
from schemas.codec import CHAIN_START
from services.matching.engine import Engine
from services.matching.recovery import restore
from services.matching.snapshot import dump, state_hash
from services.matching.store import FILE_FORMAT, FileSnapshotStore, Snapshot

ORDERS = 100_000
FILLS = 10_000
ACCOUNTS = 50


async def measure(folder: Path) -> None:
    """Build the shard, store it, take it up again, and check that it is the same one."""
    engine = Engine()
    frames = [*opening(ACCOUNTS), *trades(FILLS, ACCOUNTS), *resting_orders(ORDERS, ACCOUNTS)]
    for offset, frame in enumerate(frames):
        engine.apply(offset, T0_MS, frame)
    assert engine.resting_count() == ORDERS, engine.resting_count()
    assert engine.trade_last == FILLS, engine.trade_last
    store = FileSnapshotStore(folder, 0)
    name = await store.save(
        Snapshot(
            format=FILE_FORMAT,
            shard=0,
            commands_next=len(frames),
            commands_hash=bytes(16),
            events_next=len(frames),
            events_hash=bytes(16),
            seq=len(frames),
            chain=CHAIN_START,
            epoch=1,
            time_ms=engine.time_ms,
            state_hash=state_hash(engine),
            engine=dump(engine),
        )
    )
    gc.collect()
    gc.disable()  # as the process does before it loads
    started, started_wall = time.process_time(), time.perf_counter()
    again = restore(0, await store.load(name)).engine
    seconds, wall = time.process_time() - started, time.perf_counter() - started_wall
    assert dump(again) == dump(engine)
    assert (again.resting_count(), again.trade_last) == (ORDERS, FILLS)
    assert sum(held - owed for held, owed in again.positions().values()) == 0
    again.check()
    refuse_repeats(again, frames[-100:])
    done(seconds, wall=wall, snapshot_bytes=(folder / name).stat().st_size)


def main() -> None:
    given = options(__doc__, rounds=3)
    if given.side:
        with tempfile.TemporaryDirectory(prefix="hourbook-") as folder:
            asyncio.run(measure(Path(folder)))
        return
    mine, _ = rounds("restart", given.rounds, lambda side: run_side("restart", side), peer=False)
    report(
        "restart",
        "s",
        mine,
        [],
        more_is_better=False,
        wall=round(statistics.median(run["wall"] for run in mine), 3),
        orders=ORDERS,
        snapshot_bytes=mine[0]["snapshot_bytes"],
    )


if __name__ == "__main__":
    main()
