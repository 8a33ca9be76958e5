"""Quotes: a market maker's two-sided prices for many hours in one command. Pure.

Per hour all or nothing, and post-only: a quote never takes. A quote that is refused takes the one that it was to replace with
it, because a price that its maker no longer wants must not trade.
"""

from __future__ import annotations

from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import QuoteHour, Role
from schemas.events import Code, Reason
from schemas.ids import LEGS_MAX, contract_of, order_id
from schemas.units import QTY_MAX, Gpus, Price
from services.matching.book import Order
from services.matching.changes import cut
from services.matching.literals import BUY, CANCEL_ONLY, GTC, POST_ONLY, SELL
from services.matching.orders import are_hours, refusal_of_member, refuse
from services.matching.state import Account, Contract, Listed, Quote, Refusal, Shard, hold_of
from services.matching.trading import rest

HOURS_MAX: Final = LEGS_MAX // 2
"""Each hour has two legs: the bid, and the ask."""
_REPLACED: Final = int(Reason.QUOTE_REPLACED)
_REFUSED: Final = int(Reason.QUOTE_REFUSED)


def put_quotes(shard: Shard, index: int, c: cmd.PutQuotes) -> None:
    """Each hour in turn: replace, refuse, or leave as it is."""
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms) or _refusal(shard, c, account)
    if refusal is not None:
        return refuse(shard, index, c.account, "", refusal)
    # From here on it cannot be refused as a whole.
    assert account is not None
    account.numbers[c.class_no] = c.number
    place = len(shard.out)
    first = order_id(shard.shard, shard.offset, index)
    outcomes = tuple([_put(shard, account, c.class_no, hour, first + 2 * leg) for leg, hour in enumerate(c.quotes)])
    listed = shard.classes[c.class_no]
    said = ev.QuotesPut(
        index, c.account, c.class_no, c.number, outcomes, bid_bp=listed.bid_bp[0], ask_bp=listed.ask_bp[0]
    )  # fmt: skip
    shard.out.insert(place, said)
    return None


def _refusal(shard: Shard, c: cmd.PutQuotes, account: Account | None) -> Refusal | None:
    assert account is not None
    if account.role != Role.MARKET_MAKER:
        return Code.WRONG_ROLE, 0, 0
    if c.class_no not in shard.classes:
        return Code.UNKNOWN_CLASS, 0, 0
    if c.budget_qty or c.budget_notional or c.protect_qty or c.protect_window_ms:
        return Code.NOT_OFFERED_YET, 0, 0
    last = account.numbers.get(c.class_no, 0)
    if c.number <= last:
        return Code.STALE_NUMBER, 0, last
    return None if are_hours(tuple([quote.hour for quote in c.quotes]), HOURS_MAX) else (Code.WRONG_HOURS, 0, 0)


def _put(shard: Shard, account: Account, class_no: int, new: QuoteHour, number: int) -> ev.QuoteOutcome:
    """One hour. `number`: the id of the bid; the ask's is the next."""
    contract = shard.contracts.get(contract_of(class_no, new.hour))
    if contract is None:
        return ev.QuoteOutcome(new.hour, 0, 0, int(Code.UNKNOWN_CONTRACT))
    if not contract.forward:
        return ev.QuoteOutcome(new.hour, 0, 0, int(Code.WRONG_PHASE))
    quote = contract.quotes.get(account.account)
    bid = ask = None
    if quote is not None:
        bid = _keep(shard, account, quote.bid, new.bid, new.bid_qty)
        ask = _keep(shard, account, quote.ask, new.ask, new.ask_qty)
    code = _refusal_of_hour(shard, contract, account, new, bid, ask)
    if code:
        for kept in (bid, ask):
            if kept is not None:
                shard.cancel_resting(kept, account, _REFUSED)
        return ev.QuoteOutcome(new.hour, 0, 0, code)
    # From here on this hour cannot be refused.
    if bid is not None:
        cut(contract, account, bid, new.bid_qty)
    elif new.bid_qty:
        bid = _rest(shard, contract, account, number, BUY, new.bid, new.bid_qty)
    if ask is not None:
        cut(contract, account, ask, new.ask_qty)
    elif new.ask_qty:
        ask = _rest(shard, contract, account, number + 1, SELL, new.ask, new.ask_qty)
    if quote is None:
        quote = contract.quotes[account.account] = Quote()
    quote.bid, quote.ask = bid, ask
    return ev.QuoteOutcome(
        new.hour,
        bid.order if bid is not None else 0,
        ask.order if ask is not None else 0,
        0,
        new.bid if bid is not None else 0,
        new.bid_qty,
        new.ask if ask is not None else 0,
        new.ask_qty,
    )


def _keep(shard: Shard, account: Account, order: Order | None, price: Price, qty: Gpus) -> Order | None:
    """What stays of a side: unchanged or smaller at the same price. Everything else leaves."""
    if order is None or order.level is None:
        return None
    if price == order.price and 0 < qty <= order.leaves:
        return order
    shard.cancel_resting(order, account, _REPLACED)
    return None


def _refusal_of_hour(
    shard: Shard, contract: Contract, account: Account, new: QuoteHour, bid: Order | None, ask: Order | None
) -> int:
    """0, or the code of the first check that fails."""
    listed = contract.listed
    if contract.state_now() >= CANCEL_ONLY:
        return Code.HALTED
    lot = listed.lot
    if not (0 <= new.bid_qty <= QTY_MAX and 0 <= new.ask_qty <= QTY_MAX) or new.bid_qty % lot or new.ask_qty % lot:
        return Code.WRONG_QTY
    bids, asks = new.bid_qty > 0, new.ask_qty > 0
    if (bids and not _is_price(listed, new.bid)) or (asks and not _is_price(listed, new.ask)):
        return Code.WRONG_PRICE
    if bids and asks and new.bid >= new.ask:
        return Code.WRONG_PRICE
    low, high = contract.low, contract.high
    if (bids and not low <= new.bid <= high) or (asks and not low <= new.ask <= high):
        return Code.OUTSIDE_COLLAR
    new_bid, new_ask = bids and bid is None, asks and ask is None
    if (new_bid and contract.asks.reached_by(new.bid)) or (new_ask and contract.bids.reached_by(new.ask)):
        return Code.WOULD_TRADE
    if account.open_orders + int(new_bid) + int(new_ask) > shard.open_orders_max:
        return Code.TOO_MANY_ORDERS
    if new_bid and hold_of(listed, new.bid, new.bid_qty) > account.available:
        return Code.INSUFFICIENT_FUNDS
    if new_ask:
        position = contract.register.positions.get(account.account)
        if position is None or new.ask_qty > contract.free(position):
            return Code.INSUFFICIENT_BACKING
    return 0


def _is_price(listed: Listed, price: Price) -> bool:
    return price > 0 and price % listed.tick == 0


def _rest(shard: Shard, contract: Contract, account: Account, number: int, side: int, price: Price, qty: Gpus) -> Order:
    order = Order(number, shard.time_ms, account.account, "", contract.contract, side, qty, price, GTC, POST_ONLY)
    listed = contract.listed
    order.maker_bp, order.taker_bp = listed.bid_bp if side == BUY else listed.ask_bp
    if side == SELL:
        order.position = contract.register.positions[account.account]
    rest(shard, contract, account, order)
    return order
