"""What members do to orders and blocks that rest: amend, cancel one or many, and the dead man's switch. Pure.

Checks, a marked line, then changes that cannot fail, as in `orders`.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import astuple

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import CancelOrder
from schemas.events import CancelAccepted, Code, Reason
from schemas.ids import HOUR_MASK, class_no_of
from schemas.units import QTY_MAX, Gpus, Millis
from services.matching.book import Block, Order, Range
from services.matching.literals import AMENDED, ASKED, BUY, CANCEL_ONLY, OPENING, POST_ONLY, SELL
from services.matching.orders import refusal_of_member, refuse
from services.matching.state import DEAD_MAN, VALIDITY_MS_MAX, Account, Contract, Refusal, Shard, hold_of
from services.matching.trading import enter_book

_astuple: Final = astuple
_CancelAccepted: Final = CancelAccepted
"""As constants: a compiled build looks other modules' names up each time."""

AFTER_MS_MIN: Final = 1_000
AFTER_MS_MAX: Final = 86_400_000
"""Bounds of the dead man's switch."""

# --- Amend ---------------------------------------------------------------------------------------------------


def amend(shard: Shard, index: int, c: cmd.AmendOrder) -> None:
    """Less at the same price keeps its place; everything else enters as if it were new."""
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms)
    if refusal is not None:
        return refuse(shard, index, c.account, c.client_id, refusal)
    assert account is not None
    order = shard.resting(c.order) if c.order else account.client_ids.get(c.client_id)
    if order is None or order.level is None or order.account != c.account or type(order) is not Order:
        return shard.reject(index, c.account, Code.UNKNOWN_ORDER, c.client_id)
    contract = shard.contracts[order.contract]
    refusal = _refusal_of_amend(order, contract, account, c)
    if refusal is not None:
        return refuse(shard, index, c.account, c.client_id, refusal)
    # From here on it cannot be refused.
    kept = c.price == order.price and c.qty <= order.leaves
    shard.out.append(ev.OrderAmended(index, c.account, order.order, c.qty, c.price, kept))
    if kept:
        cut(contract, account, order, c.qty)
    else:
        _leave_to_return(shard, contract, account, order)
        order.leaves, order.price = c.qty, c.price
        order.flags |= AMENDED
        enter_book(shard, contract, account, order)
        if shard.resting(order.order) is None:
            shard.forget_client_id(order, account)
        elif order.expires_ms:
            shard.due_dead -= 1  # the moment that was planned when it first came to rest means something again
    return None


def _refusal_of_amend(order: Order, contract: Contract, account: Account, c: cmd.AmendOrder) -> Refusal | None:
    listed = contract.listed
    if not 0 < c.qty <= QTY_MAX or c.qty % listed.lot:
        return Code.WRONG_QTY, listed.lot, 0
    if c.price <= 0 or c.price % listed.tick:
        return Code.WRONG_PRICE, listed.tick, 0
    # Less at the same price harms nobody, and passes in every state.
    if c.price == order.price and c.qty <= order.leaves:
        return None
    state = contract.state_now()
    if state >= CANCEL_ONLY:
        return Code.HALTED, 0, 0
    if not contract.low <= c.price <= contract.high:
        return Code.OUTSIDE_COLLAR, contract.low if c.price < contract.low else contract.high, 0
    if (order.flags & POST_ONLY or state == OPENING) and contract.half(BUY + SELL - order.side).reached_by(c.price):
        return Code.WOULD_TRADE, 0, 0
    if order.side == BUY:
        # No bid rests in the running phase, so all its hour is ahead.
        need = hold_of(listed, c.price, c.qty) - order.hold
        if need > account.available:
            return Code.INSUFFICIENT_FUNDS, need, account.available
    else:
        assert order.position is not None
        more, free = c.qty - order.leaves, contract.free(order.position)
        if more > free:
            return Code.INSUFFICIENT_BACKING, more, max(0, free)
    return None


def cut(contract: Contract, account: Account, order: Order, leaves: Gpus) -> None:
    """Less of it waits, in its place."""
    assert 0 < leaves <= order.leaves
    if order.side == BUY:
        hold = hold_of(contract.listed, order.price, leaves)
        account.holds += hold - order.hold
        order.hold = hold
    else:
        assert order.position is not None
        order.position.open_asks += leaves - order.leaves
    order.leaves = leaves


def _leave_to_return(shard: Shard, contract: Contract, account: Account, order: Order) -> None:
    """Out of its book without a word: what becomes of it is said by what follows."""
    if order.side == BUY:
        account.holds -= order.hold
        order.hold = 0
    else:
        assert order.position is not None
        order.position.open_asks -= order.leaves
    order.leaves = 0
    contract.half(order.side).remove(order)
    shard.leave(order, account)


# --- Cancel --------------------------------------------------------------------------------------------------


def cancel(shard: Shard, index: int, command: CancelOrder) -> None:
    """One order or block, by its id or the account's own; by its own a range too, with all legs that rest."""
    valid_until_ms: Millis
    account_no, number, client_id, valid_until_ms = _astuple(command)
    account = shard.accounts.get(account_no)
    if not shard.time_ms <= valid_until_ms <= shard.time_ms + VALIDITY_MS_MAX or account is None:
        refusal = refusal_of_member(shard, account, valid_until_ms)
        assert refusal is not None
        return refuse(shard, index, account_no, client_id, refusal)
    order = shard.resting(number) if number else account.client_ids.get(client_id)
    if type(order) is Range and shard.remembers(order):
        return _cancel_range(shard, index, account, order)
    if order is None or order.level is None or order.account != account.account:
        return shard.reject(index, account_no, Code.UNKNOWN_ORDER, client_id)
    # From here on it cannot be refused.
    shard.out.append(_CancelAccepted(index, account_no, order.order))
    shard.cancel_resting(order, account, ASKED)
    return None


def _cancel_range(shard: Shard, index: int, account: Account, head: Range) -> None:
    legs = [shard.resting(head.order + leg) for leg in range(len(head.hours))]
    if not any(legs):
        return shard.reject(index, account.account, Code.UNKNOWN_ORDER, head.client_id)
    # From here on it cannot be refused.
    shard.out.append(_CancelAccepted(index, account.account, head.order))
    for order in legs:
        if order is not None:
            shard.cancel_resting(order, account, ASKED)
    return None


def mass_cancel(shard: Shard, index: int, c: cmd.MassCancel) -> None:
    """Everything of the account that matches; 0 matches everything."""
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms)
    if refusal is not None:
        return refuse(shard, index, c.account, "", refusal)
    assert account is not None
    if not 0 <= c.side <= SELL:
        return shard.reject(index, c.account, Code.WRONG_SIDE)
    # From here on it cannot be refused.
    found = [order for order in account.open() if _matches(order, c)]
    shard.out.append(ev.MassCancelAccepted(index, c.account, len(found)))
    for order in found:
        shard.cancel_resting(order, account, int(Reason.MASS))
    return None


def _matches(order: Order, c: cmd.MassCancel) -> bool:
    if (c.class_no and class_no_of(order.contract) != c.class_no) or (c.side and order.side != c.side):
        return False
    first = order.contract & HOUR_MASK
    hours = order.hours if isinstance(order, Block) else 1
    return c.hour == 0 or first <= c.hour < first + hours


def cancel_all_after(shard: Shard, index: int, c: cmd.CancelAllAfter) -> None:
    """The dead man's switch, set anew."""
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms)
    if refusal is not None:
        return refuse(shard, index, c.account, "", refusal)
    assert account is not None
    if c.after_ms and not AFTER_MS_MIN <= c.after_ms <= AFTER_MS_MAX:
        bound = AFTER_MS_MIN if c.after_ms < AFTER_MS_MIN else AFTER_MS_MAX
        return shard.reject(index, c.account, Code.WRONG_EXPIRY, "", bound)
    # From here on it cannot be refused.
    at_ms = shard.time_ms + c.after_ms if c.after_ms else 0
    if at_ms != account.dead_ms:
        shard.due_dead += account.dead_ms > 0
        account.dead_ms = at_ms
        if at_ms:
            shard.plan(at_ms, DEAD_MAN, c.account, 0)
    shard.out.append(ev.CancelAllAfterSet(index, c.account, account.dead_ms))
    return None
