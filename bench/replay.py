"""Replaying a log against the engine's own speed on the same commands. Target: at least half.

Ours: `services.matching.replay.replay` over a log in memory, 64 commands in a record: decode, apply, seal, and compare each chain
with the one in `events`. Peer: `Engine.apply` alone, with ready-made commands. The flow is that of `bench.flow`.

The clock is processor time: both are one thread without I/O. The garbage collector is off, as in the process. With `--compiled`
both sides run on the build of `make compile`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time

from bench.compiled import environment, is_compiled
from bench.flow import Auditor, Frames, opening_frames, order_frames, refuse_repeats, require_flow
from bench.logs import Stored
from bench.measure import done, options, report, rounds, run_side
from bench.shard import T0_MS
from schemas.codec import CHAIN_START, Frame, encode_frame, epoch_header, seal
from services.matching.engine import Engine
from services.matching.replay import replay
from services.runtime.log import Record
from services.runtime.supervise import WallClock

ORDERS = 200_000
PER_FRAME = 64


async def side(given: argparse.Namespace) -> None:
    assert is_compiled() == given.compiled
    opened = opening_frames()
    flow = order_frames(given.orders, PER_FRAME, len(opened))
    commands = Stored("commands")
    events = Stored("events")
    engine = Engine()
    seq, chain, auditor = 0, CHAIN_START, None
    for offset, frame in enumerate([*opened, *flow]):
        if offset == len(opened):
            auditor = Auditor(engine)
        said = engine.apply(offset, T0_MS, frame)
        if auditor is not None:
            auditor.see(said)
        commands.records.append(Record(offset, T0_MS, encode_frame(1 << 32, offset, frame)))
        for sealed in seal(0, seq, chain, offset, engine.time_ms, Frame(1 << 32, offset, frame), said):
            seq, chain = sealed.seq, sealed.chain
            headers = [*sealed.headers, epoch_header(1)]
            events.records.append(Record(len(events.records), T0_MS, sealed.body, headers))
    assert auditor is not None
    fills = auditor.finish().fills
    refuse_repeats(engine, flow)
    del engine, said
    gc.collect()
    gc.disable()
    measured = await ours(commands, events) if given.side == "ours" else theirs([*opened, *flow])
    done(given.orders / measured, fills=fills)


async def ours(commands: Stored, events: Stored) -> float:
    """Seconds; the few records that open the shard count as well."""
    started = time.process_time()
    replayed = await replay(0, commands, Stored("quarantine"), WallClock(), events=events)
    seconds = time.process_time() - started
    assert replayed.compared == len(events.records), f"{replayed.compared} of {len(events.records)} were compared"
    replayed.replica.engine.check()
    return seconds


def theirs(frames: Frames) -> float:
    engine = Engine()
    started = time.process_time()
    for offset, frame in enumerate(frames):
        engine.apply(offset, T0_MS, frame)
    seconds = time.process_time() - started
    engine.check()
    return seconds


def main() -> None:
    given = options(__doc__, rounds=3, compiled=True, orders=ORDERS)
    if given.side:
        asyncio.run(side(given))
        return
    require_flow()
    env = environment() if given.compiled else None
    mine, peer = rounds("replay", given.rounds, lambda side: run_side("replay", side, *given.passed_on, env=env))
    (fills,) = {run["fills"] for run in (*mine, *peer)}
    report(
        "replay",
        "commands/s",
        mine,
        peer,
        compiled=given.compiled,
        orders=given.orders,
        fills=fills,
        per_record=PER_FRAME,
    )


if __name__ == "__main__":
    main()
