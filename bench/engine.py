"""The engine against the PyPI package `matching-engine`, on that package's own order flow. Target: 0.8 of it.

Both sides apply the same commands, `matching_engine.workload.order_flow(42, N)`: one contract, 1,000 accounts, a quarter
cancels, one in twenty a market order (ours: IOC at the collar's edge). Every account has an owner of its own, ample cash and
ample backing; every order has a client id; sellers pay 50 basis points. So ours also holds money and hours, charges fees,
moves titles and escrow, knows repeats, and says so in events. The peer does none of this.

Timed: the calls of `apply` (ours, records of 64 commands) and of `process` (the peer's, one command, it knows no
frames), with the events they return. Both get command objects built before, and neither encodes or decodes anything. The
clock is processor time: both are one thread without I/O. The garbage collector is off.

Afterwards ours is applied once more, untimed, to look at what it said: every fill, every fee, repeats, conservation.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from importlib.metadata import version

from bench.measure import Run, done, options, report, rounds, run_side
from bench.shard import CLASS_NO, FIRST_HOUR, LIST_PRICE, T0_MS, VALID_MS, opening
from schemas.codec import Malformed
from schemas.commands import CancelOrder, Command, PlaceOrder, Side, Tif
from schemas.events import Code, Filled, OrderCancelled, OrderRepeated, Reason, Rejected
from schemas.ids import contract_of, order_id
from services.matching.engine import Engine

ORDERS = 1_000_000
SEED = 42
ACCOUNTS = 1_000
MID_TICKS = 100_000
"""Where the flow's prices lie, in its own ticks: a tick is 20 µUSD, so that they lie around the list price."""
TICK = LIST_PRICE // MID_TICKS
CONTRACT = contract_of(CLASS_NO, FIRST_HOUR)
COLLAR = {Side.BUY: 2 * LIST_PRICE, Side.SELL: LIST_PRICE // 2}
"""How far a market order may go: the collar's edge."""
RECORD_FILLS = {1_000_000: (189_443, 411_172)}
"""Fills and orders left resting that the peer publishes for its flow, by number of commands."""

FramesOfCommands = list[list[Command | Malformed]]


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
    engine, frames = shard(given.orders, given.frame)
    apply = engine.apply
    first = engine.offset + 1
    gc.collect()
    gc.disable()
    started = time.process_time()
    for offset, frame in enumerate(frames, first):
        apply(offset, T0_MS, frame)
    seconds = time.process_time() - started
    facts = check(engine, given)
    done(given.orders / seconds, **facts)


def shard(orders: int, per_frame: int) -> tuple[Engine, FramesOfCommands]:
    """A shard before its first order, and the flow in records. Ids of orders follow from where they stand."""
    from matching_engine.domain import NewOrder
    from matching_engine.workload import order_flow

    engine = Engine()
    for offset, opened in enumerate(opening(ACCOUNTS, hours=1, tick=TICK)):
        engine.apply(offset, T0_MS, opened)
    first = engine.offset + 1

    def placed(number: int) -> int:
        offset, index = divmod(number - 1, per_frame)
        return order_id(0, first + offset, index)

    commands: list[Command | Malformed] = []
    for number, command in enumerate(order_flow(SEED, orders), 1):
        if isinstance(command, NewOrder):
            side = Side.BUY if command.side == "buy" else Side.SELL
            market = command.order_type == "market"
            price, tif = (COLLAR[side], Tif.IOC) if market else (command.price * TICK, Tif.GTC)
            client_id = f"o{number}"
            commands.append(
                PlaceOrder(command.account, CONTRACT, int(side), command.qty, price, int(tif), 0, client_id, VALID_MS)
            )
        else:
            commands.append(CancelOrder(command.account, placed(command.order_id), "", VALID_MS))
    return engine, [commands[start : start + per_frame] for start in range(0, orders, per_frame)]


def check(timed: Engine, given: argparse.Namespace) -> Run:
    """Say what the run was worth: raises where something was not done that is claimed."""
    engine, frames = shard(given.orders, given.frame)
    cash = sum(engine.balances().values())
    codes: Counter[int] = Counter()
    reasons: Counter[int] = Counter()
    fills = fees = 0
    for offset, frame in enumerate(frames, engine.offset + 1):
        for event in engine.apply(offset, T0_MS, frame):
            if isinstance(event, Filled):
                fills += 1
                fees += event.seller_fee + event.buyer_fee
                assert event.seller_fee == -(-event.notional * 50 // 10_000), event
            elif isinstance(event, Rejected):
                codes[event.code] += 1
            elif isinstance(event, OrderCancelled):
                reasons[event.reason] += 1
    assert fees > 0, "no fees were charged"
    assert set(codes) <= {Code.UNKNOWN_ORDER}, f"refused: {codes}"  # the flow cancels orders that are filled already
    assert set(reasons) == {Reason.ASKED, Reason.IOC, Reason.SELF_TRADE_NEWEST} or given.orders < 10_000, reasons
    assert (timed.trade_last, timed.title_last) == (fills, engine.title_last), "two runs differ"
    for one in (timed, engine):
        positions = one.positions().values()
        assert positions, "nobody holds anything"
        assert sum(held - owed for held, owed in positions) == 0, "positions do not sum to zero"
        assert sum(one.balances().values()) + sum(one.escrows().values()) == cash, "money was lost"
        one.check()
    _repeat(engine, frames)
    return {"fills": fills, "resting": engine.resting_count(), "fees": fees}


def _repeat(engine: Engine, frames: FramesOfCommands) -> None:
    """Send the first and the last orders again: each is known, and nothing changes."""
    again = [command for frame in (frames[0], frames[-1]) for command in frame if isinstance(command, PlaceOrder)]
    before = (engine.trade_last, engine.resting_count(), engine.balances())
    assert again
    for order in again:
        events = engine.apply(engine.offset + 1, T0_MS, [order])
        assert [type(event) for event in events] == [OrderRepeated], events
    assert before == (engine.trade_last, engine.resting_count(), engine.balances())


def main() -> None:
    given = options(__doc__, orders=ORDERS, frame=64)
    if given.side:
        (theirs if given.side == "peer" else ours)(given)
        return
    if sys.version_info < (3, 12):
        raise SystemExit("bench.engine: the peer needs Python 3.12")
    mine, peer = rounds("engine", given.rounds, lambda side: run_side("engine", side, *given.passed_on))
    counts = {(run["fills"], run["resting"]) for run in (*mine, *peer)}
    assert len(counts) == 1, f"(fills, resting orders) differ: {counts}"
    (counted,) = counts
    assert counted == RECORD_FILLS.get(given.orders, counted), f"{counted}: the flow is not the published one"
    facts = {
        "orders": given.orders,
        "fills": counted[0],
        "resting": counted[1],
        "peer_version": version("matching-engine"),
    }
    report("engine", "commands/s", mine, peer, **facts)


if __name__ == "__main__":
    main()
