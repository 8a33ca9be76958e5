"""Replaying a log (decode, apply, seal, compare chains) against the engine's own speed on the same commands. Aim: at
least half."""

from __future__ import annotations

import gc
import random
import time

from bench.measure import done, options, report, rounds, run_side
from bench.shard import CLASS_NO, FIRST_HOUR, LIST_PRICE, T0_MS, TICK, VALID_MS, opening
from schemas.codec import CHAIN_START, decode_frame, encode_frame, seal
from schemas.commands import Command, PlaceOrder, Side, Tif
from schemas.events import Filled
from schemas.ids import contract_of
from services.matching.engine import Engine

COMMANDS = 200_000
PER_FRAME = 64
ACCOUNTS = 50


def flow(seed: int = 42) -> list[list[Command]]:
    """Crossing limit orders in four contracts, 64 to a frame."""
    rng = random.Random(seed)
    starts = range(0, COMMANDS, PER_FRAME)
    return [[_order(rng, number) for number in range(first, first + PER_FRAME)] for first in starts]


def _order(rng: random.Random, number: int) -> PlaceOrder:
    side = rng.choice((Side.BUY, Side.SELL))
    price = LIST_PRICE + rng.randint(-20, 20) * TICK
    contract = contract_of(CLASS_NO, FIRST_HOUR + rng.randrange(4))
    tif = Tif.GTC if rng.random() < 0.7 else Tif.IOC
    return PlaceOrder(
        rng.randint(1, ACCOUNTS), contract, side, rng.randint(1, 8), price, tif, 0, f"c{number}", VALID_MS
    )


def measure(side: str) -> None:
    """`ours`: the replay; `peer`: the engine alone."""
    frames = [*opening(ACCOUNTS), *flow()]
    opened = len(frames) - len(flow())
    engine = Engine()
    values = [encode_frame(1 << 32, number, frame) for number, frame in enumerate(frames)]
    for offset in range(opened):
        engine.apply(offset, T0_MS, frames[offset])
    gc.collect()
    gc.disable()
    fills = seq = 0
    chain = CHAIN_START
    started = time.perf_counter()
    for offset in range(opened, len(frames)):
        if side == "peer":
            events = engine.apply(offset, T0_MS, frames[offset])
        else:
            frame = decode_frame(values[offset])
            events = engine.apply(offset, T0_MS, frame.commands)
            for record in seal(0, seq, chain, offset, engine.time_ms, frame, events):
                seq, chain = record.seq, record.chain
        fills += sum(type(event) is Filled for event in events)
    seconds = time.perf_counter() - started
    engine.check()
    assert fills > COMMANDS // 10, fills
    done((len(frames) - opened) * PER_FRAME / seconds, fills=fills)


if __name__ == "__main__":
    given = options(__doc__)
    if given.side:
        measure(given.side)
    else:
        ours, peer = rounds("replay", given.rounds, lambda side: run_side("replay", side))
        assert len({run["fills"] for run in (*ours, *peer)}) == 1
        report("replay", "commands/s", ours, peer)
