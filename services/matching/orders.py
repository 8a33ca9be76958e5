"""Orders of members as they are placed, in one hour or in many. Pure. What becomes of those that rest: `changes`.

The order of the checks is docs/engine.md's; the first that fails is the answer. Then a marked line, and from there on only
changes that cannot fail.
"""

from __future__ import annotations

import itertools
from typing import Final

from msgspec.structs import astuple

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import PlaceOrder
from schemas.events import Code, OrderAccepted
from schemas.ids import HOUR_MASK, LEGS_MAX, class_no_of, contract_of, is_client_id, order_id
from schemas.units import BP, QTY_MAX, Gpus, Hour, Micros, Millis, Price
from services.matching.book import Block, Order, Range
from services.matching.literals import (
    AMENDED,
    BUY,
    CANCEL_OLDEST,
    CANCEL_ONLY,
    FOK,
    GTC,
    GTD,
    OPEN,
    OPENING,
    POST_ONLY,
    RUNNING,
    SELL,
)
from services.matching.state import EXPIRED, VALIDITY_MS_MAX, Account, Contract, Refusal, Shard, hold_of
from services.matching.trading import enter_book, fillable

_astuple: Final = astuple
_OrderAccepted: Final = OrderAccepted
"""As constants: a compiled build looks other modules' names up each time."""

_REPEATED: Final = -1
"""As a code: the same body again; `need` is the order."""


def place(shard: Shard, index: int, command: PlaceOrder) -> None:
    """One order in one hour."""
    # All values in one call, and as they came: a compiled build would ask for each by its name, and box what it says.
    account_no, contract_no, side, qty, price, tif, flags, client_id, valid_until_ms, expires_ms = _astuple(command)
    account, contract = shard.accounts.get(account_no), shard.contracts.get(contract_no)
    number = order_id(shard.shard, shard.offset, index)
    order = Order(
        number, shard.time_ms, account_no, client_id, contract_no, side, qty, price, tif, flags, expires_ms
    )  # fmt: skip
    refusal = _refusal(shard, order, account, contract, valid_until_ms)
    if refusal is not None:
        refuse(shard, index, account_no, client_id, refusal)
        return
    # From here on it cannot be refused: a fill is already somebody's money.
    assert account is not None
    assert contract is not None
    rates = contract.listed.bid_bp if order.side == BUY else contract.listed.ask_bp
    order.maker_bp, order.taker_bp = maker_bp, taker_bp = rates
    shard.out.append(
        _OrderAccepted(
            index, number, account_no, contract_no, side, qty, price, tif, flags, client_id, maker_bp, taker_bp, expires_ms
        )
    )  # fmt: skip
    if order.client_id:
        use_client_id(shard, account, order)
    enter_book(shard, contract, account, order)
    if order.expires_ms and order.level is not None:
        expire_later(shard, order)


def refuse(shard: Shard, index: int, account: int, client_id: str, refusal: Refusal) -> None:
    """Say why not, or that it stands as first accepted."""
    code, need, have = refusal
    if code == _REPEATED:
        shard.out.append(ev.OrderRepeated(index, account, need, client_id))
    else:
        shard.reject(index, account, code, client_id, need, have)


def use_client_id(shard: Shard, account: Account, order: Order) -> None:
    """Its client id is in use from here on."""
    account.client_ids[order.client_id] = order
    shard.named.append(order)


def _refusal(
    shard: Shard, order: Order, account: Account | None, contract: Contract | None, valid_until_ms: Millis
) -> Refusal | None:
    """The first check that fails."""
    time_ms = shard.time_ms
    # What `refusal_of_member` checks, written out: asked of every order.
    if not time_ms <= valid_until_ms <= time_ms + VALIDITY_MS_MAX:
        return (Code.TOO_LATE if time_ms > valid_until_ms else Code.WRONG_VALIDITY), 0, 0
    if account is None:
        return Code.UNKNOWN_ACCOUNT, 0, 0
    if order.client_id:
        refusal = refusal_of_client_id(shard, account, order)
        if refusal is not None:
            return refusal
    if contract is None:
        known_class = class_no_of(order.contract) in shard.classes
        return (Code.UNKNOWN_CONTRACT if known_class else Code.UNKNOWN_CLASS), 0, 0
    return _refusal_of_contract(shard, order, contract, account, 0, 0)


def refusal_of_client_id(shard: Shard, account: Account, order: Order) -> Refusal | None:
    """A client id that is not empty: used for this very body, for another one, or not an id at all."""
    known = account.client_ids.get(order.client_id)
    if known is not None and shard.remembers(known):
        if _same(known, order):
            return _REPEATED, known.order, 0
        return Code.DUPLICATE_CLIENT_ID, 0, known.order
    return None if is_client_id(order.client_id) else (Code.WRONG_CLIENT_ID, 0, 0)


def _same(known: Order, o: Order) -> bool:
    first = (known.contract, known.side, known.qty, known.price, known.tif, known.flags & ~AMENDED, known.expires_ms)
    again = (o.contract, o.side, o.qty, o.price, o.tif, o.flags, o.expires_ms)
    if first != again or type(known) is not type(o):
        return False
    if isinstance(known, Block) and isinstance(o, Block):
        return (known.hours, known.qty_min) == (o.hours, o.qty_min)
    return not (isinstance(known, Range) and isinstance(o, Range)) or known.hours == o.hours


def _refusal_of_contract(
    shard: Shard, order: Order, contract: Contract, account: Account, before: int, promised: Micros
) -> Refusal | None:
    """Whether this contract takes it. `before` orders of the same range are in already, and hold `promised`."""
    if not contract.forward and not shard.takes_orders(contract):
        return Code.WRONG_PHASE, 0, 0
    listed = contract.listed
    side, qty, price = order.side, order.qty, order.price
    # All that `_refusal_of_kind` and `_refusal_of_other_side` ask is no question for such an order; most are.
    plain = (
        order.tif == GTC
        and order.flags == 0
        and order.expires_ms == 0
        and listed.state == OPEN
        and contract.state == OPEN
        and contract.forward
    )
    if not plain or (side != BUY and side != SELL):
        refusal = _refusal_of_kind(shard, order, contract)
        if refusal is not None:
            return refusal
    if not 0 < qty <= QTY_MAX or qty % listed.lot:
        return Code.WRONG_QTY, listed.lot, 0
    if price <= 0 or price % listed.tick:
        return Code.WRONG_PRICE, listed.tick, 0
    if not contract.low <= price <= contract.high:
        return Code.OUTSIDE_COLLAR, contract.low if price < contract.low else contract.high, 0
    if account.open_orders + before >= shard.open_orders_max:
        return Code.TOO_MANY_ORDERS, shard.open_orders_max, 0
    if order.client_id and len(account.client_ids) >= shard.client_ids_max:
        return Code.TOO_MANY_ORDERS, shard.client_ids_max, 0
    if side == BUY:
        need = hold_of(listed, price, qty) if contract.forward else cost_at_most(shard, contract, price, qty)
        have = account.cash - account.holds - account.collateral - promised
        if need > have:
            return Code.INSUFFICIENT_FUNDS, need, have
    else:
        position = order.position = contract.register.positions.get(order.account)
        free = contract.free(position) if position is not None else 0
        if qty > free:
            return Code.INSUFFICIENT_BACKING, qty, max(0, free)
    return None if plain else _refusal_of_other_side(shard, order, contract, account)


def _refusal_of_kind(shard: Shard, order: Order, contract: Contract) -> Refusal | None:
    """States, sides, kinds: all that is no question for a plain order in an open book."""
    state = contract.state_now()
    if state >= CANCEL_ONLY:
        return Code.HALTED, 0, 0
    tif, flags = order.tif, order.flags
    side = order.side
    if side != BUY and side != SELL:
        return Code.WRONG_SIDE, 0, 0
    if not GTC <= tif <= FOK:
        return Code.WRONG_TIF, 0, 0
    if shard.version == 1:
        if tif == GTD or (flags > 0 and flags & RUNNING):
            return Code.NOT_OFFERED_YET, 0, 0
        if order.expires_ms:
            return Code.WRONG_TIF, 0, 0
    refusal = refusal_of_expiry(shard, order)
    if refusal is not None:
        return refusal
    may_rest = tif == GTC or tif == GTD
    if (state == OPENING and not may_rest) or (not contract.forward and side == BUY and may_rest):
        return Code.WRONG_TIF, 0, 0
    if flags and (
        flags < 0
        or flags & ~(POST_ONLY | RUNNING | CANCEL_OLDEST)
        or (flags & (POST_ONLY | RUNNING) and not may_rest)
        or (flags & RUNNING and side == BUY)
    ):
        return Code.WRONG_FLAGS, 0, 0
    return None


def refusal_of_expiry(shard: Shard, order: Order) -> Refusal | None:
    """GTD says until when, and nothing else does."""
    if order.tif != GTD:
        return (Code.WRONG_TIF, 0, 0) if order.expires_ms else None
    return None if order.expires_ms > shard.time_ms else (Code.WRONG_EXPIRY, shard.time_ms, 0)


def _refusal_of_other_side(shard: Shard, order: Order, contract: Contract, account: Account) -> Refusal | None:
    """Who must not trade at once would, or who must be filled cannot be."""
    half = contract.asks if order.side == BUY else contract.bids
    if (order.flags & POST_ONLY or contract.state_now() == OPENING) and half.reached_by(order.price):
        return Code.WOULD_TRADE, 0, 0
    if order.tif == FOK:
        found = fillable(shard, order, half, account.owner)
        if found < order.qty:
            return Code.CANNOT_FILL, order.qty, found
    return None


def cost_at_most(shard: Shard, contract: Contract, price: Price, qty: Gpus) -> Micros:
    """What a running bid may cost. Each fill is a whole number of lots, and rounds its notional and its fee up."""
    listed = contract.listed
    lots = qty // listed.lot
    cash = -(-price * qty * shard.minutes_left(contract) // 60) + lots
    return cash + cash * listed.bid_bp_max // BP + lots


def expire_later(shard: Shard, order: Order) -> None:
    """It rests, and not for ever."""
    shard.plan(order.expires_ms, EXPIRED, order.order, 0)


# --- The same order in many hours --------------------------------------------------------------------------


def place_range(shard: Shard, index: int, c: cmd.PlaceRange) -> None:
    """One order per hour, judged all together before the first of them trades."""
    number = order_id(shard.shard, shard.offset, index)
    head = Range(
        number, shard.time_ms, c.account, c.client_id, contract_of(c.class_no, 0), c.side, c.qty, c.price, c.tif, c.flags,
        c.expires_ms, c.hours,
    )  # fmt: skip
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms) or _refusal_of_range(shard, head, c, account)
    if refusal is not None:
        refuse(shard, index, c.account, c.client_id, refusal)
        return
    assert account is not None
    listed = shard.classes[c.class_no]
    maker_bp, taker_bp = listed.bid_bp if c.side == BUY else listed.ask_bp
    legs: list[tuple[Contract, Order]] = []
    outcomes: list[ev.LegOutcome] = []
    held: Micros = 0
    for leg, hour in enumerate(c.hours):
        contract = shard.contracts.get(contract_of(c.class_no, hour))
        if contract is None:
            outcomes.append(ev.LegOutcome(leg, 0, int(Code.UNKNOWN_CONTRACT)))
            continue
        order = Order(
            number + leg, shard.time_ms, c.account, "", contract.contract, c.side, c.qty, c.price, c.tif, c.flags, c.expires_ms
        )  # fmt: skip
        refused = _refusal_of_contract(shard, order, contract, account, len(legs), held)
        if refused is not None:
            code, need, have = refused
            outcomes.append(ev.LegOutcome(leg, 0, int(code), need, have))
            continue
        order.maker_bp, order.taker_bp = maker_bp, taker_bp
        if c.side == BUY:
            held += (
                hold_of(listed, c.price, c.qty) if contract.forward else cost_at_most(shard, contract, c.price, c.qty)
            )
        legs.append((contract, order))
        outcomes.append(ev.LegOutcome(leg, order.order))
    # From here on it cannot be refused.
    shard.out.append(
        ev.RangeAccepted(
            index, c.account, c.class_no, c.hours, c.side, c.qty, c.price, c.tif, c.flags, c.client_id, maker_bp, taker_bp,
            tuple(outcomes), c.expires_ms,
        )
    )  # fmt: skip
    if c.client_id:
        use_client_id(shard, account, head)
    for contract, order in legs:
        enter_book(shard, contract, account, order)
        if order.expires_ms and order.level is not None:
            expire_later(shard, order)


def refusal_of_member(shard: Shard, account: Account | None, valid_until_ms: Millis) -> Refusal | None:
    """What every command of a member must get past."""
    if shard.time_ms > valid_until_ms:
        return Code.TOO_LATE, 0, 0
    if valid_until_ms > shard.time_ms + VALIDITY_MS_MAX:
        return Code.WRONG_VALIDITY, 0, 0
    return (Code.UNKNOWN_ACCOUNT, 0, 0) if account is None else None


def _refusal_of_range(shard: Shard, head: Range, c: cmd.PlaceRange, account: Account | None) -> Refusal | None:
    assert account is not None
    if c.client_id:
        refusal = refusal_of_client_id(shard, account, head)
        if refusal is not None:
            return refusal
    if c.class_no not in shard.classes:
        return Code.UNKNOWN_CLASS, 0, 0
    if not are_hours(c.hours, LEGS_MAX):
        return Code.WRONG_HOURS, 0, 0
    if c.side != BUY and c.side != SELL:
        return Code.WRONG_SIDE, 0, 0
    if not GTC <= c.tif <= FOK:
        return Code.WRONG_TIF, 0, 0
    if c.client_id and len(account.client_ids) >= shard.client_ids_max:
        return Code.TOO_MANY_ORDERS, shard.client_ids_max, 0
    return None


def are_hours(hours: tuple[Hour, ...], at_most: int) -> bool:
    """Some, not too many, strictly rising, and none of more bits than an hour of a contract has."""
    return (
        0 < len(hours) <= at_most
        and hours[0] > 0
        and hours[-1] <= HOUR_MASK
        and all(a < b for a, b in itertools.pairwise(hours))
    )
