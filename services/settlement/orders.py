"""Orders of one hour and quotes → their projections. Pure.

A quote's orders have no rows: a market maker's reprice of a class would make and end hundreds. What settles their fills stands in
the fills; that an order behind one is a quote's follows from who traded, and from its number (`schemas.ids`: even legs bid,
odd ones ask).
"""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Side
from schemas.ids import contract_of, shard_of_order
from services.settlement import rows
from services.settlement.ledger import Contradiction, Origin
from services.settlement.refusals import NUMBER_MAX
from services.settlement.state import State


def accepted(state: State, at: Origin, event: ev.OrderAccepted) -> None:
    """A new order, open as a whole."""
    order = rows.Order(
        event.order,
        event.account,
        event.contract,
        at.shard,
        event.side,
        event.qty,
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
        at.time_ms,
        at.time_ms,
        at.seq,
        # No column takes a moment beyond these; no clock reaches them either.
        event.expires_ms if event.expires_ms <= NUMBER_MAX else NUMBER_MAX,  # noqa: FURB136 # for every order; min() takes thrice as long
    )
    state.orders[event.order] = order
    state.changes.orders.create(event.order, order)


def range_accepted(state: State, at: Origin, event: ev.RangeAccepted) -> None:
    """An order for each leg that was not refused."""
    for leg in event.legs:
        if leg.code == 0:
            order = ev.OrderAccepted(
                event.index,
                leg.order,
                event.account,
                contract_of(event.class_no, event.hours[leg.leg]),
                event.side,
                event.qty,
                event.price,
                event.tif,
                event.flags,
                event.client_id,
                event.maker_bp,
                event.taker_bp,
                event.expires_ms,
            )
            accepted(state, at, order)


def trade(state: State, at: Origin, order: rows.Order, qty: int, leaves: int) -> None:
    """A fill of `qty`."""
    order.filled += qty
    order.leaves = leaves
    order.updated_ms, order.seq = at.time_ms, at.seq
    assert leaves >= 0, f"O1: {order}"
    assert order.filled + order.cancelled + leaves == order.qty, f"O1: {order}"
    if leaves == 0:
        order.state = "filled"
        del state.orders[order.order_id]
    state.changes.orders.change(order.order_id, order)


def amended(state: State, at: Origin, event: ev.OrderAmended) -> None:
    """What it is made smaller by counts as cancelled; what it is made larger by has been asked for now. Raises Contradiction."""
    order = state.orders.get(event.order)
    if order is None:
        check_quote(state, at, event.order, event.account)
        return
    keeps = event.price == order.price and event.qty <= order.leaves
    if order.account != event.account or event.qty <= 0 or event.kept_place != keeps:
        raise Contradiction(f"{event}: ours is {order}")
    if event.qty < order.leaves:
        order.cancelled += order.leaves - event.qty
    else:
        order.qty += event.qty - order.leaves
    order.leaves, order.price = event.qty, event.price
    order.updated_ms, order.seq = at.time_ms, at.seq
    state.changes.orders.change(event.order, order)


def cancelled(state: State, at: Origin, order: rows.Order, event: ev.OrderCancelled) -> None:
    """The rest of an order is gone. Raises Contradiction."""
    if (order.leaves, order.account, order.contract) != (event.qty, event.account, event.contract):
        raise Contradiction(f"{event}: ours is {order}")
    order.cancelled += event.qty
    order.leaves = 0
    order.state, order.reason = "cancelled", event.reason
    order.updated_ms, order.seq = at.time_ms, at.seq
    del state.orders[event.order]
    state.changes.orders.change(event.order, order)


# --- Quotes --------------------------------------------------------------------------------------------------


def quotes_put(state: State, at: Origin, event: ev.QuotesPut) -> None:
    """One row per account and class: the last command. Raises Contradiction."""
    if event.account not in state.accounts or event.class_no not in state.classes:
        raise Contradiction(f"quotes of account {event.account} in class {event.class_no}: we know no such")
    key = (event.account, event.class_no)
    known = state.quotes.get(key)
    # A market maker may use up the last number; a column shows it as far as it can.
    number = min(event.number, NUMBER_MAX)
    if known is not None and number <= known.number < NUMBER_MAX:
        raise Contradiction(f"quotes number {event.number} of account {event.account}: ours are {known}")
    open_hours = sum(outcome.bid_qty + outcome.ask_qty > 0 for outcome in event.outcomes)
    refused = sum(outcome.code != 0 for outcome in event.outcomes)
    row = rows.Quotes(*key, at.shard, number, open_hours, refused, at.time_ms, at.seq)
    state.quotes[key] = row
    if known is None:
        state.changes.quotes.create(key, row)
    else:
        state.changes.quotes.change(key, row)


def check_quote(state: State, at: Origin, order: int, account: int, class_no: int = 0, side: int = 0) -> None:
    """`class_no`, `side` 0: not known. Raises Contradiction when an order without a row can be no quote of the account."""
    quotes = any(of == account and class_no in (0, quoted) for of, quoted in state.quotes)
    of_side = side == 0 or (side == Side.SELL) == bool(order & 1)
    if not quotes or not of_side or shard_of_order(order) != at.shard:
        raise Contradiction(f"order {order} is not open here, and is no quote of account {account}")
