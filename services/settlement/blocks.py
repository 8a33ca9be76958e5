"""Blocks: several hours at once, all or none → their projections. Pure.

A block trades hour by hour: a fill says how much of this trade is still to come in its hour, and `BlockFilled` that all hours
have it. Between the two the trade is under way (`rows.Block.trade_*`), and each number of it must follow from those before (B8).
"""

from __future__ import annotations

from schemas import events as ev
from schemas.ids import class_no_of, contract_of, hour_of
from services.settlement import rows
from services.settlement.ledger import Contradiction, Origin
from services.settlement.refusals import NUMBER_MAX
from services.settlement.state import State


def accepted(state: State, at: Origin, event: ev.BlockAccepted) -> None:
    """A new block, open as a whole."""
    block = rows.Block(
        event.order,
        event.account,
        event.class_no,
        event.first_hour,
        event.hours,
        at.shard,
        event.side,
        event.qty,
        event.qty_min,
        event.price,
        event.tif,
        event.flags,
        event.client_id,
        event.qty,
        0,
        0,
        "open",
        0,
        event.maker_bp,
        event.taker_bp,
        min(event.expires_ms, NUMBER_MAX),
        at.time_ms,
        at.time_ms,
        at.seq,
    )
    state.blocks[event.order] = block
    state.changes.blocks.create(event.order, block)


def check_turn(block: rows.Block, fill: ev.Filled, leaves: int) -> None:
    """Hour after hour, the same quantity in each. Raises Contradiction."""
    hour = hour_of(fill.contract) - block.first_hour
    # The first fill of a trade says how much it is: of its hour, this fill and what is still to come.
    trade_qty = block.trade_qty or fill.qty + leaves
    in_turn = class_no_of(fill.contract) == block.class_no and hour == block.trade_hours < block.hours
    if not in_turn or block.trade_gpus + fill.qty + leaves != trade_qty or trade_qty > block.leaves:
        raise Contradiction(f"{fill} is not what comes next in {block}")


def trade(state: State, at: Origin, block: rows.Block, fill: ev.Filled, leaves: int) -> None:
    """One fill of a trade under way."""
    block.trade_qty = block.trade_qty or fill.qty + leaves
    block.trade_gpus += fill.qty
    block.trade_cash += fill.price * fill.qty
    if leaves == 0:
        block.trade_hours += 1
        block.trade_gpus = 0
    block.updated_ms, block.seq = at.time_ms, at.seq
    state.changes.blocks.change(block.order_id, block)


def filled(state: State, at: Origin, event: ev.BlockFilled) -> None:
    """The trade is complete in every hour. Raises Contradiction."""
    block = state.blocks.get(event.order)
    if block is None:
        raise Contradiction(f"{event}: it is not open here")
    ours = (block.account, block.class_no, block.first_hour, block.hours, block.trade_qty, block.leaves - event.qty)
    said = (event.account, event.class_no, event.first_hour, event.hours, event.qty, event.leaves)
    complete = (block.hours, 0, event.average_price_num)
    if ours != said or (block.trade_hours, block.trade_gpus, block.trade_cash) != complete or event.qty <= 0:
        raise Contradiction(f"{event}: ours is {block}")
    block.filled += event.qty
    block.leaves = event.leaves
    block.trade_qty = block.trade_hours = block.trade_cash = 0
    block.updated_ms, block.seq = at.time_ms, at.seq
    assert block.filled + block.cancelled + block.leaves == block.qty, f"O1: {block}"
    if block.leaves == 0:
        block.state = "filled"
        del state.blocks[event.order]
    state.changes.blocks.change(event.order, block)


def cancelled(state: State, at: Origin, block: rows.Block, event: ev.OrderCancelled) -> None:
    """The rest of a block is gone, in all its hours. Raises Contradiction."""
    ours = (block.leaves, block.account, contract_of(block.class_no, block.first_hour), 0)
    if ours != (event.qty, event.account, event.contract, block.trade_qty):
        raise Contradiction(f"{event}: ours is {block}")
    block.cancelled += event.qty
    block.leaves = 0
    block.state, block.reason = "cancelled", event.reason
    block.updated_ms, block.seq = at.time_ms, at.seq
    del state.blocks[event.order]
    state.changes.blocks.change(event.order, block)
