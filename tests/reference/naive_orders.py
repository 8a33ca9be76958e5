"""An order from its first check to its acceptance: docs/engine.md, "Place an order" and "Range". Pure."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import Flag, PlaceBlock, PlaceOrder, PlaceRange, SetClass, Side, State, Tif
from schemas.events import Code
from schemas.ids import class_no_of, contract_of, is_client_id
from schemas.units import BP, QTY_MAX, Gpus, Hour, Micros, Millis, Price, bid_hold, notional
from tests.reference.naive_matching import RESTING, enter, within
from tests.reference.naive_shard import EXPIRED, HOUR_MAX, Moment, Named, Order, Phase, Refusal, Shard

VALID_MS_MAX = 600_000
CLIENT_ID_MS = 900_000
LEGS_MAX = 1_024


@dataclass
class Reserved:
    """What the legs of a range that were accepted before take from those that follow."""

    cash: Micros = 0
    orders: int = 0


def place(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """A new order: judged, accepted, matched; what is left rests or is cancelled."""
    refusal = late(shard, body.account, body.valid_until_ms) or wrong_client_id(body)
    if refusal is not None:
        return refusal
    named = in_use_as(shard, body.account, body.client_id)
    if named is not None:
        return once_more(shard, named, body)
    refusal = _judge(shard, body, Reserved())
    if refusal is not None:
        return refusal
    # From here on it cannot be refused.
    order = _accepted(shard, body)
    name(shard, body, order.number, [order])
    b = body
    accepted = ev.OrderAccepted(
        shard.index, order.number, b.account, b.contract, b.side, b.qty, b.price, b.tif, b.flags, b.client_id,
        order.maker_bp, order.taker_bp, b.expires_ms,
    )  # fmt: skip
    shard.events.append(accepted)
    enter(shard, order)
    return None


def place_range(shard: Shard, body: PlaceRange) -> Refusal | None:
    """All legs are judged before the first one trades."""
    refusal = late(shard, body.account, body.valid_until_ms) or wrong_client_id(body)
    if refusal is not None:
        return refusal
    named = in_use_as(shard, body.account, body.client_id)
    if named is not None:
        return once_more(shard, named, body)
    refusal = _wrong_range(shard, body)
    if refusal is not None:
        return refusal
    outcomes, orders, reserved = [], [], Reserved()
    for leg, hour in enumerate(body.hours):
        single = PlaceOrder(
            body.account, contract_of(body.class_no, hour), body.side, body.qty, body.price, body.tif, body.flags, "",
            body.valid_until_ms, body.expires_ms,
        )  # fmt: skip
        refusal = _judge(shard, single, reserved)
        if refusal is not None:
            outcomes.append(ev.LegOutcome(leg, 0, *refusal))
            continue
        orders.append(_accepted(shard, single, leg))
        outcomes.append(ev.LegOutcome(leg, orders[-1].number))
        reserved.orders += 1
        reserved.cash += _need(shard, single) if body.side == Side.BUY else 0
    name(shard, body, shard.order_id(), orders)
    b, (maker_bp, taker_bp) = body, rates(shard.classes[body.class_no].rules, body.side)
    accepted = ev.RangeAccepted(
        shard.index, b.account, b.class_no, b.hours, b.side, b.qty, b.price, b.tif, b.flags, b.client_id,
        maker_bp, taker_bp, tuple(outcomes), b.expires_ms,
    )  # fmt: skip
    shard.events.append(accepted)
    for order in orders:
        enter(shard, order)
    return None


# --- Checks, in the order of the table ----------------------------------------------------------------------


def late(shard: Shard, account: int, valid_until_ms: Millis) -> Refusal | None:
    """Checks 1 to 3."""
    if shard.time_ms > valid_until_ms:
        return Refusal(Code.TOO_LATE)
    if valid_until_ms > shard.time_ms + VALID_MS_MAX:
        return Refusal(Code.WRONG_VALIDITY)
    if account not in shard.accounts:
        return Refusal(Code.UNKNOWN_ACCOUNT)
    return None


def wrong_client_id(body: PlaceOrder | PlaceRange | PlaceBlock) -> Refusal | None:
    """Check 4."""
    return Refusal(Code.WRONG_CLIENT_ID) if body.client_id and not is_client_id(body.client_id) else None


def in_use(shard: Shard, named: Named) -> bool:
    """For 15 minutes; that of an order or block also for as long as it rests."""
    if shard.time_ms < named.accepted_ms + CLIENT_ID_MS:
        return True
    return not isinstance(named.body, PlaceRange) and shard.rests(named.orders[0])


def in_use_as(shard: Shard, account: int, client_id: str) -> Named | None:
    """What the account's client id stands for now."""
    named = shard.client_ids.get((account, client_id))
    return named if named is not None and in_use(shard, named) else None


def once_more(shard: Shard, named: Named, body: PlaceOrder | PlaceRange | PlaceBlock) -> Refusal | None:
    """Check 5: the bodies agree in all but how long they may be under way; the price is that of now."""
    before = replace(named.body, valid_until_ms=body.valid_until_ms)
    if isinstance(before, PlaceOrder):
        before = replace(before, price=named.orders[0].price)
    if before != body:
        return Refusal(Code.DUPLICATE_CLIENT_ID, 0, named.number)
    shard.events.append(ev.OrderRepeated(shard.index, body.account, named.number, body.client_id))
    return None


def wrong_hours(hours: tuple[Hour, ...], count_max: int) -> bool:
    """Some, not too many, strictly rising, each within the calendar."""
    return (
        not 1 <= len(hours) <= count_max
        or list(hours) != sorted(set(hours))
        or not 0 < hours[0] <= hours[-1] < HOUR_MAX
    )


def _wrong_range(shard: Shard, body: PlaceRange) -> Refusal | None:
    if body.class_no not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if wrong_hours(body.hours, LEGS_MAX):
        return Refusal(Code.WRONG_HOURS)
    return wrong_side_or_tif(body) or too_many_ids(shard, body)


def _judge(shard: Shard, body: PlaceOrder, reserved: Reserved) -> Refusal | None:
    """Checks 6 to 19."""
    return _cannot_enter(shard, body) or _cannot_afford(shard, body, reserved) or _cannot_match(shard, body)


def _cannot_enter(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """Contract, state and the shape of the order: checks 6 to 14."""
    if class_no_of(body.contract) not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if body.contract not in shard.contracts:
        return Refusal(Code.UNKNOWN_CONTRACT)
    phase, state, rules = shard.phase(body.contract), shard.state(body.contract), shard.rules(body.contract)
    if phase == Phase.CLOSED:
        return Refusal(Code.WRONG_PHASE)
    if state in {State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.HALTED)
    refusal = wrong_side_or_tif(body)
    if refusal is not None:
        return refusal
    if shard.version == 1 and (body.tif == Tif.GTD or (body.flags > 0 and body.flags & Flag.RUNNING)):
        return Refusal(Code.NOT_OFFERED_YET)
    refusal = wrong_expiry(shard, body.tif, body.expires_ms)
    if refusal is not None:
        return refusal
    rests = body.tif in RESTING
    if (state == State.POST_ONLY and not rests) or (phase == Phase.RUNNING and body.side == Side.BUY and rests):
        return Refusal(Code.WRONG_TIF)
    wrong = not 0 <= body.flags <= 7
    if wrong or (body.flags & Flag.POST_ONLY and not rests):
        return Refusal(Code.WRONG_FLAGS)
    if body.flags & Flag.RUNNING and not (rests and body.side == Side.SELL):
        return Refusal(Code.WRONG_FLAGS)
    return (
        wrong_qty(rules, body.qty) or wrong_price(rules, body.price) or outside_collar(shard, body.contract, body.price)
    )


def wrong_side_or_tif(body: PlaceOrder | PlaceRange | PlaceBlock) -> Refusal | None:
    """Check 8."""
    if body.side not in {Side.BUY, Side.SELL}:
        return Refusal(Code.WRONG_SIDE)
    return Refusal(Code.WRONG_TIF) if body.tif not in {Tif.GTC, Tif.GTD, Tif.IOC, Tif.FOK} else None


def wrong_expiry(shard: Shard, tif: int, expires_ms: Millis) -> Refusal | None:
    """Check 9."""
    if tif == Tif.GTD:
        return Refusal(Code.WRONG_EXPIRY, shard.time_ms) if expires_ms <= shard.time_ms else None
    return Refusal(Code.WRONG_TIF) if expires_ms != 0 else None


def wrong_qty(rules: SetClass, qty: Gpus) -> Refusal | None:
    """Check 12."""
    return Refusal(Code.WRONG_QTY, rules.lot) if not 0 < qty <= QTY_MAX or qty % rules.lot else None


def wrong_price(rules: SetClass, price: Price) -> Refusal | None:
    """Check 13."""
    return Refusal(Code.WRONG_PRICE, rules.tick) if price <= 0 or price % rules.tick else None


def outside_collar(shard: Shard, contract: int, price: Price) -> Refusal | None:
    """Check 14."""
    low, high = shard.collar(contract)
    if not low <= price <= high:
        return Refusal(Code.OUTSIDE_COLLAR, low if price < low else high)
    return None


def too_many_orders(shard: Shard, account: int, reserved: int = 0) -> Refusal | None:
    """Check 15, the first half."""
    if shard.open_orders(account) + reserved >= shard.bounds.open_orders_max:
        return Refusal(Code.TOO_MANY_ORDERS, shard.bounds.open_orders_max)
    return None


def too_many_ids(shard: Shard, body: PlaceOrder | PlaceRange | PlaceBlock) -> Refusal | None:
    """Check 15, the second half."""
    ids = [named for (account, _), named in shard.client_ids.items() if account == body.account]
    if body.client_id and sum(in_use(shard, named) for named in ids) >= shard.bounds.client_ids_max:
        return Refusal(Code.TOO_MANY_ORDERS, shard.bounds.client_ids_max)
    return None


def _cannot_afford(shard: Shard, body: PlaceOrder, reserved: Reserved) -> Refusal | None:
    """Checks 15 to 17."""
    refusal = too_many_orders(shard, body.account, reserved.orders) or too_many_ids(shard, body)
    if refusal is not None:
        return refusal
    if body.side == Side.BUY:
        need, available = _need(shard, body), shard.available(body.account) - reserved.cash
        return Refusal(Code.INSUFFICIENT_FUNDS, need, available) if need > available else None
    return insufficient_backing(body.qty, shard.free(body.account, body.contract))


def insufficient_backing(qty: Gpus, free: Gpus) -> Refusal | None:
    """Check 17."""
    return Refusal(Code.INSUFFICIENT_BACKING, qty, max(0, free)) if qty > free else None


def _need(shard: Shard, body: PlaceOrder) -> Micros:
    """What a bid must find: its hold, or what it may cost at most where it cannot rest."""
    rules = shard.rules(body.contract)
    rate = max(rates(rules, Side.BUY))
    if shard.phase(body.contract) == Phase.FORWARD:
        return bid_hold(body.price, body.qty, rules.lot, rate)
    lots = body.qty // rules.lot
    n = notional(body.price, body.qty, shard.minutes(body.contract)) + lots
    return n + n * rate // BP + lots


def _cannot_match(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """Checks 18 and 19."""
    refusal = would_trade(shard, body.contract, body.side, body.price, body.flags)
    if refusal is None and body.tif == Tif.FOK:
        fillable = 0
        for order in within(shard, body.contract, body.side, body.price):
            if not shard.same_owner(body.account, order.account):
                fillable += order.leaves
            elif not body.flags & Flag.CANCEL_OLDEST:
                break
        if fillable < body.qty:
            return Refusal(Code.CANNOT_FILL, body.qty, fillable)
    return refusal


def would_trade(shard: Shard, contract: int, side: int, price: Price, flags: int) -> Refusal | None:
    """Check 18."""
    quiet = flags & Flag.POST_ONLY or shard.state(contract) == State.POST_ONLY
    return Refusal(Code.WOULD_TRADE) if quiet and within(shard, contract, side, price) else None


# --- From here on it cannot be refused ------------------------------------------------------------------------


def rates(rules: SetClass, side: int) -> tuple[int, int]:
    """The class's maker and taker rates for the side."""
    fees = rules.fees
    return (fees.buyer_maker, fees.buyer_taker) if side == Side.BUY else (fees.seller_maker, fees.seller_taker)


def _accepted(shard: Shard, body: PlaceOrder, leg: int = 0) -> Order:
    b, number = body, shard.order_id(leg)
    expires(shard, number, body.tif, body.expires_ms)
    return Order(
        number,
        b.account,
        b.contract,
        b.side,
        b.qty,
        b.price,
        b.qty,
        b.tif,
        b.flags,
        *rates(shard.rules(b.contract), b.side),
    )


def expires(shard: Shard, number: int, tif: int, expires_ms: Millis) -> None:
    """A moment for a GTD order."""
    if tif == Tif.GTD:
        shard.moments.add(Moment(expires_ms, EXPIRED, number, 0))


def name(shard: Shard, body: PlaceOrder | PlaceRange | PlaceBlock, number: int, orders: list) -> None:
    """From now on the account's client id stands for this."""
    assert in_use_as(shard, body.account, body.client_id) is None, "O2: one client id, two orders"
    if body.client_id:
        shard.client_ids[body.account, body.client_id] = Named(body, number, shard.time_ms, orders)
