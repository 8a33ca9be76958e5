"""Orders, from the first check to the last fill: docs/engine.md, "Place an order" and "Cancel". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import CancelOrder, Flag, PlaceOrder, Side, State, Tif
from schemas.events import Code, Reason
from schemas.ids import class_no_of, is_client_id, order_id
from schemas.units import QTY_MAX, Millis, bid_hold, fee, notional
from tests.reference.naive_shard import Order, Refusal, Shard, collar
from tests.reference.naive_titles import Released

VALID_MS_MAX = 600_000
CLIENT_ID_MS = 900_000
OPEN_ORDERS_MAX = 100_000
CLIENT_IDS_MAX = 200_000


def place(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """A new order: judged, accepted, matched; what is left rests or is cancelled."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    if body.client_id and not is_client_id(body.client_id):
        return Refusal(Code.WRONG_CLIENT_ID)
    known = shard.client_ids.get((body.account, body.client_id))
    if known is not None and _in_use(shard, known):
        if not _same(known.body, body):
            return Refusal(Code.DUPLICATE_CLIENT_ID, 0, known.number)
        shard.events.append(ev.OrderRepeated(shard.index, body.account, known.number, body.client_id))
        return None
    refusal = _cannot_enter(shard, body) or _cannot_afford(shard, body) or _cannot_match(shard, body)
    if refusal is not None:
        return refusal
    order = _accept(shard, body)
    _match(shard, order)
    if order.leaves > 0 and body.tif == Tif.GTC:
        shard.contracts[body.contract].rest(order)
    elif order.leaves > 0:
        shard.cancelled(order, Reason.IOC)
    return None


def cancel(shard: Shard, body: CancelOrder) -> Refusal | None:
    """By the order's id, or by the account's own when `order` is 0."""
    refusal = late(shard, body.account, body.valid_until_ms)
    if refusal is not None:
        return refusal
    if body.order != 0:
        order = next((order for order in shard.orders() if order.number == body.order), None)
    else:
        order = shard.client_ids.get((body.account, body.client_id))
    if order is None or not shard.rests(order) or order.body.account != body.account:
        return Refusal(Code.UNKNOWN_ORDER)
    shard.events.append(ev.CancelAccepted(shard.index, body.account, order.number))
    shard.remove(order, Reason.ASKED)
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


def _in_use(shard: Shard, order: Order) -> bool:
    return shard.rests(order) or shard.time_ms < order.accepted_ms + CLIENT_ID_MS


def _same(one: PlaceOrder, two: PlaceOrder) -> bool:
    """The bodies agree in what makes an order, which how long they may be under way does not."""
    return all(
        getattr(one, name) == getattr(two, name)
        for name in ("contract", "side", "qty", "price", "tif", "flags", "expires_ms")
    )


def _cannot_enter(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """Contract, state and the shape of the order: checks 6 to 14."""
    if class_no_of(body.contract) not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if body.contract not in shard.contracts:
        return Refusal(Code.UNKNOWN_CONTRACT)
    if not shard.contracts[body.contract].gate_open:
        return Refusal(Code.WRONG_PHASE)
    state = shard.state(body.contract)
    if state in {State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.HALTED)
    if body.side not in {Side.BUY, Side.SELL}:
        return Refusal(Code.WRONG_SIDE)
    if body.tif not in {Tif.GTC, Tif.GTD, Tif.IOC, Tif.FOK}:
        return Refusal(Code.WRONG_TIF)
    if body.tif == Tif.GTD or (body.flags > 0 and body.flags & Flag.RUNNING):
        return Refusal(Code.NOT_OFFERED_YET)
    if body.expires_ms != 0 or (state == State.POST_ONLY and body.tif != Tif.GTC):
        return Refusal(Code.WRONG_TIF)
    if body.flags not in {0, 1, 4, 5} or (body.flags & Flag.POST_ONLY and body.tif != Tif.GTC):
        return Refusal(Code.WRONG_FLAGS)
    rules = shard.rules(body.contract)
    if not 0 < body.qty <= QTY_MAX or body.qty % rules.lot:
        return Refusal(Code.WRONG_QTY, rules.lot)
    if body.price <= 0 or body.price % rules.tick:
        return Refusal(Code.WRONG_PRICE, rules.tick)
    low, high = collar(rules)
    if not low <= body.price <= high:
        return Refusal(Code.OUTSIDE_COLLAR, low if body.price < low else high)
    return None


def _cannot_afford(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """Checks 15 to 17."""
    if len(shard.orders_of(body.account)) >= OPEN_ORDERS_MAX:
        return Refusal(Code.TOO_MANY_ORDERS, OPEN_ORDERS_MAX)
    in_use = [
        order for (account, _), order in shard.client_ids.items() if account == body.account and _in_use(shard, order)
    ]
    if body.client_id and len(in_use) >= CLIENT_IDS_MAX:
        return Refusal(Code.TOO_MANY_ORDERS, CLIENT_IDS_MAX)
    if body.side == Side.BUY:
        rules = shard.rules(body.contract)
        rate = max(rules.fees.buyer_maker, rules.fees.buyer_taker)
        hold = bid_hold(body.price, body.qty, rules.lot, rate)
        available = shard.available(body.account)
        return Refusal(Code.INSUFFICIENT_FUNDS, hold, available) if hold > available else None
    may = shard.capacity(body.account, body.contract) - shard.open_asks(body.account, body.contract)
    return Refusal(Code.INSUFFICIENT_BACKING, body.qty, max(0, may)) if body.qty > may else None


def _cannot_match(shard: Shard, body: PlaceOrder) -> Refusal | None:
    """Checks 18 and 19."""
    within = [order for order in _opposite(shard, body) if _reaches(body, order)]
    if within and (body.flags & Flag.POST_ONLY or shard.state(body.contract) == State.POST_ONLY):
        return Refusal(Code.WOULD_TRADE)
    if body.tif == Tif.FOK:
        fillable = 0
        for order in within:
            if not shard.same_owner(body.account, order.body.account):
                fillable += order.leaves
            elif not body.flags & Flag.CANCEL_OLDEST:
                break
        if fillable < body.qty:
            return Refusal(Code.CANNOT_FILL, body.qty, fillable)
    return None


def _opposite(shard: Shard, body: PlaceOrder) -> list[Order]:
    """Who rests on the other side, best first."""
    side = Side.SELL if body.side == Side.BUY else Side.BUY
    return list(shard.contracts[body.contract].books[side])


def _reaches(body: PlaceOrder, resting: Order) -> bool:
    """The limit allows a trade at the resting order's price."""
    return resting.body.price <= body.price if body.side == Side.BUY else resting.body.price >= body.price


# --- From here on it cannot be refused ------------------------------------------------------------------------


def _accept(shard: Shard, body: PlaceOrder) -> Order:
    fees = shard.rules(body.contract).fees
    buys = body.side == Side.BUY
    maker_bp, taker_bp = (fees.buyer_maker, fees.buyer_taker) if buys else (fees.seller_maker, fees.seller_taker)
    number = order_id(shard.start.shard, shard.offset, shard.index)
    order = Order(number, body, body.qty, maker_bp, taker_bp, shard.time_ms)
    if body.client_id:
        shard.client_ids[body.account, body.client_id] = order
    b = body
    accepted = ev.OrderAccepted(
        shard.index, number, b.account, b.contract, b.side, b.qty, b.price, b.tif, b.flags, b.client_id,
        maker_bp, taker_bp, b.expires_ms,
    )  # fmt: skip
    shard.events.append(accepted)
    return order


def _match(shard: Shard, taker: Order) -> None:
    while taker.leaves > 0:
        within = [order for order in _opposite(shard, taker.body) if _reaches(taker.body, order)]
        if not within:
            return
        maker = within[0]
        if not shard.same_owner(taker.body.account, maker.body.account):
            _fill(shard, taker, maker)
        elif taker.body.flags & Flag.CANCEL_OLDEST:
            shard.remove(maker, Reason.SELF_TRADE_OLDEST)
        else:
            shard.cancelled(taker, Reason.SELF_TRADE_NEWEST)
            return


def _fill(shard: Shard, taker: Order, maker: Order) -> None:
    qty, price, contract = min(taker.leaves, maker.leaves), maker.body.price, shard.contracts[maker.body.contract]
    bid, ask = (taker, maker) if taker.body.side == Side.BUY else (maker, taker)
    buyer, seller = bid.body.account, ask.body.account
    cash = notional(price, qty)
    buyer_fee = fee(cash, bid.taker_bp if bid is taker else bid.maker_bp)
    seller_fee = fee(cash, ask.taker_bp if ask is taker else ask.maker_bp)
    taker.leaves -= qty
    maker.leaves -= qty
    if maker.leaves == 0:
        contract.books[Side(maker.body.side)].remove(maker)
    released = Released()
    room = shard.room(seller, contract.number)
    moves = contract.titles.trade(
        buyer, seller, qty, cash - seller_fee, seller_fee + buyer_fee, room, shard.title_numbers, released
    )
    shard.accounts[buyer].cash += released.buyer - cash - buyer_fee
    shard.accounts[seller].cash += released.seller
    filled = ev.Filled(
        shard.trades.next(), contract.number, price, qty, 60, taker.body.side, maker.number, taker.number,
        maker.leaves, taker.leaves, buyer, seller, cash, buyer_fee, seller_fee, moves,
    )  # fmt: skip
    shard.events.append(filled)
