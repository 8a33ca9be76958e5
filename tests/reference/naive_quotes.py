"""A market maker's prices for many hours in one command: docs/engine.md, "Quotes". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Flag, PutQuotes, QuoteHour, Role, Side, State, Tif
from schemas.events import Code, Reason
from schemas.ids import contract_of
from schemas.units import QTY_MAX, Gpus, Price
from tests.reference.naive_matching import within
from tests.reference.naive_orders import late, outside_collar, rates, wrong_hours, wrong_price
from tests.reference.naive_shard import Contract, Order, Phase, Refusal, Shard

QUOTE_HOURS_MAX = 512


def put_quotes(shard: Shard, body: PutQuotes) -> Refusal | None:
    """Each hour stands or falls by itself."""
    refusal = late(shard, body.account, body.valid_until_ms) or _cannot_quote(shard, body)
    if refusal is not None:
        return refusal
    shard.accounts[body.account].quotes[body.class_no] = body.number
    said = shard.events
    shard.events = []  # what is cancelled is told behind the outcome
    outcomes = tuple(_quote_hour(shard, body, quote, 2 * place) for place, quote in enumerate(body.quotes))
    b, rules = body, shard.classes[body.class_no].rules
    (bid_bp, _), (ask_bp, _) = rates(rules, Side.BUY), rates(rules, Side.SELL)
    put = ev.QuotesPut(shard.index, b.account, b.class_no, b.number, outcomes, bid_bp=bid_bp, ask_bp=ask_bp)
    shard.events = [*said, put, *shard.events]
    return None


def _cannot_quote(shard: Shard, body: PutQuotes) -> Refusal | None:
    account = shard.accounts[body.account]
    if account.role != Role.MARKET_MAKER:
        return Refusal(Code.WRONG_ROLE)
    if body.class_no not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if body.budget_qty or body.budget_notional or body.protect_qty or body.protect_window_ms:
        return Refusal(Code.NOT_OFFERED_YET)
    last = account.quotes.get(body.class_no, 0)
    if body.number <= last:
        return Refusal(Code.STALE_NUMBER, 0, last)
    hours = tuple(quote.hour for quote in body.quotes)
    return Refusal(Code.WRONG_HOURS) if wrong_hours(hours, QUOTE_HOURS_MAX) else None


def _wanted(quote: QuoteHour) -> dict[Side, tuple[Price, Gpus]]:
    return {Side.BUY: (quote.bid, quote.bid_qty), Side.SELL: (quote.ask, quote.ask_qty)}


def _quote_hour(shard: Shard, body: PutQuotes, quote: QuoteHour, leg: int) -> ev.QuoteOutcome:
    contract = shard.contracts.get(contract_of(body.class_no, quote.hour))
    if contract is None:
        return ev.QuoteOutcome(quote.hour, 0, 0, Code.UNKNOWN_CONTRACT)
    if shard.phase(contract.number) != Phase.FORWARD:
        return ev.QuoteOutcome(quote.hour, 0, 0, Code.WRONG_PHASE)
    kept = _keep_or_cancel(shard, contract, body.account, quote)
    new = [side for side, (_, qty) in _wanted(quote).items() if qty != 0 and side not in kept]
    refusal = _cannot_stand(shard, contract.number, quote, new) or _cannot_afford(
        shard, contract.number, body.account, quote, new
    )
    if refusal is not None:
        for order in kept.values():
            shard.remove(order, Reason.QUOTE_REFUSED)
        return ev.QuoteOutcome(quote.hour, 0, 0, refusal.code)
    standing = {}
    for side, (price, qty) in _wanted(quote).items():
        if side in kept:
            standing[side] = kept[side]
            kept[side].leaves = qty
        elif qty:
            standing[side] = _rest(shard, contract, body.account, side, price, qty, leg + (side == Side.SELL))
    told = [
        (standing[side].number, standing[side].price, standing[side].leaves) if side in standing else (0, 0, 0)
        for side in (Side.BUY, Side.SELL)
    ]
    (bid_order, bid, bid_qty), (ask_order, ask, ask_qty) = told
    return ev.QuoteOutcome(quote.hour, bid_order, ask_order, 0, bid, bid_qty, ask, ask_qty)


def _keep_or_cancel(shard: Shard, contract: Contract, account: int, quote: QuoteHour) -> dict[Side, Order]:
    """Sides of the last quote that stay where they are: the same price, and not more than is open of them."""
    kept = {}
    for side, (price, qty) in _wanted(quote).items():
        order = contract.quotes.get((account, side))
        if order is None or not shard.rests(order):
            continue
        if price == order.price and 0 < qty <= order.leaves:
            kept[side] = order
        else:
            shard.remove(order, Reason.QUOTE_REPLACED)
    return kept


def _cannot_stand(shard: Shard, contract: int, quote: QuoteHour, new: list[Side]) -> Refusal | None:
    """State, sizes and prices."""
    wanted, rules = _wanted(quote), shard.rules(contract)
    if shard.state(contract) in {State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.HALTED)
    if any(not 0 <= qty <= QTY_MAX or qty % rules.lot for _, qty in wanted.values()):
        return Refusal(Code.WRONG_QTY)
    prices = [price for price, qty in wanted.values() if qty]
    if any(wrong_price(rules, price) for price in prices) or (len(prices) == 2 and prices[0] >= prices[1]):
        return Refusal(Code.WRONG_PRICE)
    if any(outside_collar(shard, contract, price) for price in prices):
        return Refusal(Code.OUTSIDE_COLLAR)
    if any(within(shard, contract, side, wanted[side][0]) for side in new):
        return Refusal(Code.WOULD_TRADE)
    return None


def _cannot_afford(shard: Shard, contract: int, account: int, quote: QuoteHour, new: list[Side]) -> Refusal | None:
    """Orders, money and machines."""
    if shard.open_orders(account) + len(new) > shard.bounds.open_orders_max:
        return Refusal(Code.TOO_MANY_ORDERS)
    if Side.BUY in new:
        bid = _order(shard, contract, account, Side.BUY, quote.bid, quote.bid_qty, leg=0)
        if shard.hold(bid) > shard.available(account):
            return Refusal(Code.INSUFFICIENT_FUNDS)
    if Side.SELL in new and quote.ask_qty > shard.free(account, contract):
        return Refusal(Code.INSUFFICIENT_BACKING)
    return None


def _rest(shard: Shard, contract: Contract, account: int, side: Side, price: Price, qty: Gpus, leg: int) -> Order:
    order = _order(shard, contract.number, account, side, price, qty, leg)
    shard.rest(order)
    contract.quotes[account, side] = order
    return order


def _order(shard: Shard, contract: int, account: int, side: Side, price: Price, qty: Gpus, leg: int) -> Order:
    number, its_rates = shard.order_id(leg), rates(shard.rules(contract), side)
    return Order(number, account, contract, side, qty, price, qty, Tif.GTC, Flag.POST_ONLY, *its_rates)
