"""The engine against the PyPI package `matching-engine`, on that package's own order flow. Target: 0.8 of it.

Both sides apply the same commands, see `bench.flow`. Ours also holds money and hours, charges fees, moves titles and escrow,
knows repeats, and says so in events; the peer does none of this.

Timed: the calls of `apply` (ours, records of 64 commands) and of `process` (the peer's, one command, it knows no records),
with the events they return. Both get command objects built before, and neither encodes or decodes anything. The clock is
processor time: both are one thread without I/O. The garbage collector is off. With `--compiled` ours runs on the build of
`make compile`; the peer is published as plain Python and stays that.

Afterwards ours applies the flow once more, untimed, to look at what it says: every fill, every fee, repeats, conservation. Later
rounds must end in the very state that was looked at.
"""

from __future__ import annotations

import argparse
import gc
import time
from importlib.metadata import version

from bench.compiled import environment, is_compiled
from bench.flow import SEED, Auditor, Frames, opening_frames, order_frames, refuse_repeats, require_flow
from bench.measure import Run, done, options, report, rounds, run_side
from bench.shard import T0_MS
from services.matching.engine import Engine
from services.matching.snapshot import state_hash

ORDERS = 1_000_000
PUBLISHED = {1_000_000: (189_443, 411_172)}
"""Commands: fills, and orders left resting, as the peer publishes them for its flow."""


def theirs(given: argparse.Namespace) -> None:
    from matching_engine.domain import SequencedCommand
    from matching_engine.engine import MatchingEngine
    from matching_engine.workload import order_flow

    engine = MatchingEngine()
    commands = [SequencedCommand(seq, T0_MS, command) for seq, command in enumerate(order_flow(SEED, given.orders), 1)]
    process = engine.process
    gc.collect()
    gc.disable()
    started = time.process_time()
    for command in commands:
        process(command)
    seconds = time.process_time() - started
    done(len(commands) / seconds, fills=engine.next_trade_id - 1, resting=len(engine.book))


def ours(given: argparse.Namespace) -> None:
    assert is_compiled() == given.compiled
    engine = opened()
    first = engine.offset + 1
    frames = order_frames(given.orders, given.frame, first)
    apply = engine.apply
    gc.collect()
    gc.disable()
    started = time.process_time()
    for offset, frame in enumerate(frames, first):
        apply(offset, T0_MS, frame)
    seconds = time.process_time() - started
    ended = state_hash(engine).hex()
    facts = {"fills": engine.trade_last, "resting": engine.resting_count(), "ended": ended}
    del engine
    done(given.orders / seconds, **facts, moves=look(frames, ended) if given.look else None)


def opened() -> Engine:
    """An engine before its first order."""
    engine = Engine()
    for offset, frame in enumerate(opening_frames()):
        engine.apply(offset, T0_MS, frame)
    return engine


def look(frames: Frames, ended: str) -> int:
    """The run again, looked at; raises where it did not do what is claimed, or ends otherwise. How many pieces moved."""
    engine = opened()
    auditor = Auditor(engine)
    for offset, frame in enumerate(frames, engine.offset + 1):
        auditor.see(engine.apply(offset, T0_MS, frame))
    said = auditor.finish()
    assert ended == state_hash(engine).hex(), "two runs of one log differ"
    refuse_repeats(engine, frames)
    return said.moves


def main() -> None:
    given = options(__doc__, rounds=5, compiled=True, orders=ORDERS, frame=64, look=0)
    if given.side:
        (theirs if given.side == "peer" else ours)(given)
        return
    require_flow()
    looked = iter((1,))

    def run(side: str) -> Run:
        if side == "peer":
            return run_side("engine", side, *given.passed_on)
        env = environment() if given.compiled else None
        return run_side("engine", side, *given.passed_on, "--look", str(next(looked, 0)), env=env)

    mine, peer = rounds("engine", given.rounds, run)
    counts = {(run["fills"], run["resting"]) for run in (*mine, *peer)}
    assert len(counts) == 1, f"(fills, resting orders) differ: {counts}"
    assert len({run["ended"] for run in mine}) == 1, "rounds end in different states"
    (counted,) = counts
    assert counted == PUBLISHED.get(given.orders, counted), f"{counted}: the flow is not the published one"
    report(
        "engine",
        "commands/s",
        mine,
        peer,
        compiled=given.compiled,
        orders=given.orders,
        fills=counted[0],
        moves=mine[0]["moves"],
        resting=counted[1],
        peer_version=version("matching-engine"),
    )


if __name__ == "__main__":
    main()
