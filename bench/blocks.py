"""Immediate blocks of 24 hours against books 20 levels deep, per second of processor time. Target: at least 5,000.

Every hour's book has 20 prices with two asks of 4 GPUs at each. A buyer sends fill-or-kill blocks of 4 and 8 GPUs in turn in all
24 hours: 24 and 48 fills, each of which moves a title. After each block the sellers put back what it took, untimed, so that the
next one finds the same depth.

Timed: the calls of `apply` with one block each, and the events they return. The garbage collector is off. Afterwards: every
block filled in all its hours or was refused, no limit was passed, and the engine's own invariants hold.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator

from bench.compiled import environment, is_compiled
from bench.measure import done, options, report, rounds, run_side
from bench.shard import CLASS_NO, FIRST_HOUR, LIST_PRICE, T0_MS, TICK, VALID_MS, opening
from schemas.commands import Command, PlaceBlock, PlaceOrder, Side, Tif
from schemas.events import BlockFilled, Event, Filled
from schemas.ids import contract_of
from services.matching.engine import Engine

HOURS = 24
LEVELS = 20
PER_ORDER = 4
SELLERS = 40
BUYER = SELLERS + 1
BLOCKS = 5_000


def depth() -> Iterator[list[Command]]:
    """A frame per hour: two asks at each of its prices."""
    for hour in range(HOURS):
        contract = contract_of(CLASS_NO, FIRST_HOUR + hour)
        yield [
            PlaceOrder(
                1 + (2 * level + half) % SELLERS, contract, Side.SELL, PER_ORDER, LIST_PRICE + level * TICK, Tif.GTC, 0, "",
                VALID_MS,
            )
            for level in range(LEVELS)
            for half in (0, 1)
        ]  # fmt: skip


def block(number: int) -> PlaceBlock:
    """The next one: 4 or 8 GPUs, a limit three ticks above the best price."""
    qty = PER_ORDER * (1 + number % 2)
    limit = LIST_PRICE + 3 * TICK
    return PlaceBlock(BUYER, CLASS_NO, FIRST_HOUR, HOURS, Side.BUY, qty, qty, limit, Tif.FOK, 0, "", VALID_MS)


def refill(events: list[Event]) -> list[Command]:
    """What the sellers put back: as much, at the same prices."""
    return [
        PlaceOrder(event.seller, event.contract, Side.SELL, event.qty, event.price, Tif.GTC, 0, "", VALID_MS)
        for event in events
        if isinstance(event, Filled)
    ]


def ours(given: argparse.Namespace) -> None:
    assert is_compiled() == given.compiled
    engine = Engine()
    for frame in [*opening(SELLERS + 1, HOURS), *depth()]:
        engine.apply(engine.offset + 1, T0_MS, frame)
    gc.collect()
    gc.disable()
    seconds, fills = 0.0, 0
    for number in range(given.blocks):
        command = [block(number)]
        started = time.process_time()
        events = engine.apply(engine.offset + 1, T0_MS, command)
        seconds += time.process_time() - started
        fills += look(number, events)
        frame = refill(events)
        for at in range(0, len(frame), 64):
            engine.apply(engine.offset + 1, T0_MS, frame[at : at + 64])
    engine.check()
    done(given.blocks / seconds, fills=fills)


def look(number: int, events: list[Event]) -> int:
    """Raises where a block did not trade all of itself in every hour within its limit; how many fills it took."""
    command = block(number)
    filled = [event for event in events if isinstance(event, Filled)]
    per_hour: dict[int, int] = {}
    for event in filled:
        per_hour[event.contract] = per_hour.get(event.contract, 0) + event.qty
    assert list(per_hour.values()) == [command.qty] * HOURS, f"B8: block {number} filled {per_hour}"
    (whole,) = [event for event in events if isinstance(event, BlockFilled)]
    assert whole.average_price_num == sum(event.price * event.qty for event in filled)
    assert whole.average_price_num <= command.price * command.qty * HOURS, f"B2: block {number} passed its limit"
    return len(filled)


def main() -> None:
    given = options(__doc__, rounds=3, compiled=True, blocks=BLOCKS)
    if given.side:
        ours(given)
        return
    env = environment() if given.compiled else None
    mine, _ = rounds(
        "blocks", given.rounds, lambda side: run_side("blocks", side, *given.passed_on, env=env), peer=False
    )
    fills = {run["fills"] for run in mine}
    assert len(fills) == 1, f"fills differ: {fills}"
    report(
        "blocks", "blocks/s", mine, [], compiled=given.compiled, blocks=given.blocks,
        fills_per_block=round(fills.pop() / given.blocks, 1),
    )  # fmt: skip


if __name__ == "__main__":
    main()
