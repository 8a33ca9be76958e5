"""What becomes of orders that rest: docs/engine.md, "Cancel", "Amend", "Mass cancel, dead man's switch". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import AmendOrder, CancelAllAfter, CancelOrder, MassCancel, PlaceRange, Side, State
from schemas.events import Code, Reason
from schemas.ids import class_no_of, contract_of
from schemas.units import Millis
from tests.reference.naive_matching import enter
from tests.reference.naive_orders import (
    in_use,
    insufficient_backing,
    late,
    outside_collar,
    would_trade,
    wrong_price,
    wrong_qty,
)
from tests.reference.naive_shard import DEAD_MAN, Block, Moment, Order, Refusal, Shard

AFTER_MS_MIN, AFTER_MS_MAX = 1_000, 86_400_000


def cancel(shard: Shard, body: CancelOrder) -> Refusal | None:
    """By the order's id, or by the account's own when `order` is 0; the legs of a range all at once."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    found = _found(shard, body)
    if not found:
        return Refusal(Code.UNKNOWN_ORDER)
    number = found[0].number if body.order else shard.client_ids[body.account, body.client_id].number
    shard.events.append(ev.CancelAccepted(shard.index, body.account, number))
    for order in found:
        shard.remove(order, Reason.ASKED)
    return None


def _found(shard: Shard, body: CancelOrder | AmendOrder) -> list[Order | Block]:
    """What rests of the account under an id or a client id."""
    if body.order != 0:
        return [order for order in shard.all_resting() if (order.number, order.account) == (body.order, body.account)]
    named = shard.client_ids.get((body.account, body.client_id))
    if named is None or not in_use(shard, named):
        return []
    return [order for order in named.orders if shard.rests(order)]


# --- Amend ------------------------------------------------------------------------------------------------------


def amend(shard: Shard, body: AmendOrder) -> Refusal | None:
    """Less at the same price keeps its place; anything else is as a new order under the old name."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    order = _amendable(shard, body)
    if order is None:
        return Refusal(Code.UNKNOWN_ORDER)
    rules = shard.rules(order.contract)
    refusal = wrong_qty(rules, body.qty) or wrong_price(rules, body.price)
    if refusal is not None:
        return refusal
    keeps_place = body.price == order.price and body.qty <= order.leaves
    if not keeps_place:
        refusal = _cannot_amend(shard, order, body)
        if refusal is not None:
            return refusal
        shard.take_out(order)
    order.leaves, order.price = body.qty, body.price
    shard.events.append(ev.OrderAmended(shard.index, body.account, order.number, body.qty, body.price, keeps_place))
    if not keeps_place:
        enter(shard, order)
    return None


def _amendable(shard: Shard, body: AmendOrder) -> Order | None:
    """One order; a block keeps its terms, and a range has no order of its own."""
    if body.order == 0:
        named = shard.client_ids.get((body.account, body.client_id))
        if named is not None and isinstance(named.body, PlaceRange):
            return None
    found = _found(shard, body)
    return found[0] if found and isinstance(found[0], Order) else None


def _cannot_amend(shard: Shard, order: Order, body: AmendOrder) -> Refusal | None:
    if shard.state(order.contract) in {State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.HALTED)
    refusal = outside_collar(shard, order.contract, body.price)
    refusal = refusal or would_trade(shard, order.contract, order.side, body.price, order.flags)
    if refusal is not None:
        return refusal
    if order.side == Side.SELL:
        return insufficient_backing(body.qty - order.leaves, shard.free(order.account, order.contract))
    amended = Order(
        order.number, order.account, order.contract, order.side, order.qty, body.price, body.qty, order.tif, order.flags,
        order.maker_bp, order.taker_bp,
    )  # fmt: skip
    more, available = shard.hold(amended) - shard.hold(order), shard.available(order.account)
    return Refusal(Code.INSUFFICIENT_FUNDS, more, available) if more > available else None


# --- All at once ------------------------------------------------------------------------------------------------


def mass_cancel(shard: Shard, body: MassCancel) -> Refusal | None:
    """Everything of the account that matches; 0 matches all."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    if body.side not in {0, Side.BUY, Side.SELL}:
        return Refusal(Code.WRONG_SIDE)
    found = [order for order in shard.all_resting() if order.account == body.account and _matches(order, body)]
    shard.events.append(ev.MassCancelAccepted(shard.index, body.account, len(found)))
    for order in found:
        shard.remove(order, Reason.MASS)
    return None


def _matches(order: Order | Block, body: MassCancel) -> bool:
    if body.class_no not in {0, class_no_of(order.contract)} or body.side not in {0, order.side}:
        return False
    contracts = order.contracts if isinstance(order, Block) else [order.contract]
    return body.hour == 0 or any(contract == contract_of(class_no_of(contract), body.hour) for contract in contracts)


def cancel_all_after(shard: Shard, body: CancelAllAfter) -> Refusal | None:
    """The switch is set anew, or is off."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    if body.after_ms != 0 and not AFTER_MS_MIN <= body.after_ms <= AFTER_MS_MAX:
        return Refusal(Code.WRONG_EXPIRY, AFTER_MS_MIN if body.after_ms < AFTER_MS_MIN else AFTER_MS_MAX)
    _set_dead_man(shard, body.account, shard.time_ms + body.after_ms if body.after_ms else 0)
    at_ms = shard.accounts[body.account].dead_man_ms
    shard.events.append(ev.CancelAllAfterSet(shard.index, body.account, at_ms))
    return None


def _set_dead_man(shard: Shard, account: int, at_ms: Millis) -> None:
    before_ms = shard.accounts[account].dead_man_ms
    if before_ms:
        shard.moments.discard(Moment(before_ms, DEAD_MAN, account, 0))
    if at_ms:
        shard.moments.add(Moment(at_ms, DEAD_MAN, account, 0))
    shard.accounts[account].dead_man_ms = at_ms


def dead_man(shard: Shard, account: int) -> None:
    """Nobody has set the switch anew: all that rests of the account is cancelled."""
    shard.accounts[account].dead_man_ms = 0
    shard.events.append(ev.DeadManFired(account))
    for order in shard.all_resting():
        if order.account == account:
            shard.remove(order, Reason.DEAD_MAN)


def expire(shard: Shard, number: int) -> None:
    """The end of a GTD order or block, where it still rests."""
    for order in shard.all_resting():
        if order.number == number:
            shard.remove(order, Reason.EXPIRED)
