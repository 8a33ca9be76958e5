"""The order flow that `engine` and `pipeline` measure with: that of the PyPI package `matching-engine`, as our commands.

`order_flow(42, n)`: one contract, 1,000 accounts, a quarter cancels (some of orders that are filled already), one in twenty a
market order, the rest limit orders within 50 ticks of the middle, of which one in ten crosses. Ours: a market order is IOC at
the collar's edge; every account has an owner of its own, cash and backing without end; every order has a client id. The
package's default for orders of one account that would meet is ours, too: the newest is cancelled.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import NamedTuple

from bench.shard import CLASS_NO, LIST_PRICE, T0_MS, VALIDITY_MS, first_hour, opening
from schemas.codec import Malformed
from schemas.commands import CancelOrder, Command, PlaceOrder, Side, Tif
from schemas.events import Code, Event, Filled, OrderCancelled, OrderRepeated, Reason, Rejected
from schemas.ids import contract_of, order_id
from services.matching.engine import Engine

SEED = 42
ACCOUNTS = 1_000
MID_TICKS = 100_000
"""Where the flow's prices lie, in its own ticks: a tick is 20 µUSD, so that they lie around the list price."""
TICK = LIST_PRICE // MID_TICKS
COLLAR = {Side.BUY: 2 * LIST_PRICE, Side.SELL: LIST_PRICE // 2}
"""How far a market order may go: the collar's edge."""
SELLER_BP = 50

Frames = list[list[Command | Malformed]]


def require_flow() -> None:
    """Raises SystemExit with a sentence where the package cannot be."""
    if sys.version_info < (3, 12):
        raise SystemExit("no figure: the flow is that of the package matching-engine, which needs Python 3.12")


def opening_frames(t0_ms: int = T0_MS) -> Frames:
    """What a shard needs before the first order; its first frame is `StartShard`."""
    return [list(frame) for frame in opening(ACCOUNTS, hours=1, tick=TICK, t0_ms=t0_ms)]


def order_frames(orders: int, per_frame: int, first_offset: int, t0_ms: int = T0_MS) -> Frames:
    """The flow in frames that stand at `first_offset` and on: ids of orders follow from where they stand."""
    from matching_engine.domain import NewOrder
    from matching_engine.workload import order_flow

    contract = contract_of(CLASS_NO, first_hour(t0_ms))
    valid_ms = t0_ms + VALIDITY_MS

    def placed(number: int) -> int:
        offset, index = divmod(number - 1, per_frame)
        return order_id(0, first_offset + offset, index)

    commands: list[Command | Malformed] = []
    for number, command in enumerate(order_flow(SEED, orders), 1):
        if isinstance(command, NewOrder):
            side = Side.BUY if command.side == "buy" else Side.SELL
            market = command.order_type == "market"
            price, tif = (COLLAR[side], Tif.IOC) if market else (command.price * TICK, Tif.GTC)
            client_id = f"o{number}"
            commands.append(
                PlaceOrder(command.account, contract, int(side), command.qty, price, int(tif), 0, client_id, valid_ms)
            )
        else:
            commands.append(CancelOrder(command.account, placed(command.order_id), "", valid_ms))
    return [commands[start : start + per_frame] for start in range(0, orders, per_frame)]


class Said(NamedTuple):
    """What the events of a run say in sum."""

    fills: int
    moves: int
    """Pieces of titles that the fills moved."""
    fees: int


class Auditor:
    """Looks at every event of a run, and at the engine afterwards. Raises where something was not done that is claimed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cash = sum(engine.balances().values()) + sum(engine.escrows().values())
        self._codes: Counter[int] = Counter()
        self._reasons: Counter[int] = Counter()
        self._fills = self._moves = self._fees = 0

    def see(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Filled):
                self._fills += 1
                self._moves += len(event.moves)
                self._fees += event.seller_fee + event.buyer_fee
                assert event.seller_fee == -(-event.notional * SELLER_BP // 10_000), event
            elif isinstance(event, Rejected):
                self._codes[event.code] += 1
            elif isinstance(event, OrderCancelled):
                self._reasons[event.reason] += 1

    def finish(self) -> Said:
        engine = self._engine
        assert self._fees > 0, "no fees were charged"
        assert set(self._codes) == {Code.UNKNOWN_ORDER}, f"refused: {self._codes}"  # filled before they were cancelled
        assert {Reason.ASKED, Reason.IOC} <= set(self._reasons), self._reasons
        assert engine.trade_last == self._fills, f"{engine.trade_last} trades, {self._fills} fills were said"
        positions = engine.positions().values()
        assert positions, "nobody holds anything"
        assert sum(held - owed for held, owed in positions) == 0, "positions do not sum to zero"
        now = sum(engine.balances().values()) + sum(engine.escrows().values())
        assert now == self._cash, f"{self._cash} µUSD came in, {now} are there"
        engine.check()
        return Said(self._fills, self._moves, self._fees)


def refuse_repeats(engine: Engine, frames: Frames, stamp_ms: int = T0_MS) -> None:
    """Send the first and the last orders again: each is known, and nothing changes. Raises AssertionError."""
    again = [command for frame in (frames[0], frames[-1]) for command in frame if isinstance(command, PlaceOrder)]
    before = (engine.trade_last, engine.resting_count(), engine.balances(), engine.holds())
    assert again
    for order in again:
        events = engine.apply(engine.offset + 1, stamp_ms, [order])
        assert [type(event) for event in events] == [OrderRepeated], events
    assert before == (engine.trade_last, engine.resting_count(), engine.balances(), engine.holds())
