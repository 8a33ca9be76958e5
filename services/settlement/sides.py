"""Who stands behind a side of a fill that is no order of one hour: a block, a quote, or the exchange that buys in. Pure."""

from __future__ import annotations

from typing import NamedTuple

from schemas import events as ev
from schemas.commands import Side
from schemas.ids import class_no_of
from schemas.units import fee, notional
from services.settlement import blocks, orders
from services.settlement.backing import PROMISED
from services.settlement.contracts import buy_in_limit
from services.settlement.ledger import Contradiction, Origin
from services.settlement.state import Shard, State

BOUGHT_IN = 0
"""The taker's order in a fill of a buy-in."""


class Terms(NamedTuple):
    """What a fill's money and parties follow from, on one side."""

    account: int
    side: int
    rate: int


def check_fill(state: State, shard: Shard, at: Origin, event: ev.Filled) -> None:
    """As `events` does for two orders of one hour, where one of the sides is none. Raises Contradiction."""
    taker_side = event.taker_side
    maker = _terms(state, shard, at, event, event.maker_order, event.maker_leaves, Side.BUY + Side.SELL - taker_side)
    taker = _terms(state, shard, at, event, event.taker_order, event.taker_leaves, taker_side)
    buyer, seller = (taker, maker) if taker_side == Side.BUY else (maker, taker)
    cash = notional(event.price, event.qty, event.minutes)
    if not (
        event.notional == cash
        and event.buyer_fee == fee(cash, buyer.rate)
        and event.seller_fee == fee(cash, seller.rate)
        and (event.buyer, event.seller) == (buyer.account, seller.account)
        and (buyer.side, seller.side) == (Side.BUY, Side.SELL)
    ):
        raise Contradiction(f"{event} does not follow from {maker} and {taker}")


def _terms(state: State, shard: Shard, at: Origin, event: ev.Filled, number: int, leaves: int, side: int) -> Terms:
    takes = side == event.taker_side
    if (order := state.orders.get(number)) is not None:
        if order.contract != event.contract or order.leaves - event.qty != leaves:
            raise Contradiction(f"{event} does not follow from {order}")
        return Terms(order.account, order.side, order.taker_bp if takes else order.maker_bp)
    if (block := state.blocks.get(number)) is not None:
        blocks.check_turn(block, event, leaves)
        return Terms(block.account, block.side, block.taker_bp if takes else block.maker_bp)
    class_no = class_no_of(event.contract)
    of_class = state.classes.get(class_no)
    if of_class is None:
        raise Contradiction(f"{event}: we know no such class")
    if number == BOUGHT_IN and takes:
        owed = shard.backing.owed(event.contract, event.buyer, PROMISED)
        limit = buy_in_limit(state, shard, event.contract, event.buyer)
        if owed - event.qty != leaves or event.price > limit:
            raise Contradiction(f"{event}: account {event.buyer} owes {owed} GPUs as promised, the limit is {limit}")
        return Terms(event.buyer, Side.BUY, of_class.buyer_taker)
    account = event.buyer if side == Side.BUY else event.seller
    orders.check_quote(state, at, number, account, class_no, side)
    if side == Side.BUY:
        return Terms(account, side, of_class.buyer_taker if takes else of_class.buyer_maker)
    return Terms(account, side, of_class.seller_taker if takes else of_class.seller_maker)


def trade(state: State, at: Origin, event: ev.Filled, number: int, leaves: int) -> None:
    """The side has traded: what we keep of it moves on."""
    if (order := state.orders.get(number)) is not None:
        orders.trade(state, at, order, event.qty, leaves)
    elif (block := state.blocks.get(number)) is not None:
        blocks.trade(state, at, block, event, leaves)
