"""What a rental has in each hour: bought less sold, by its own orders' fills, and what is under way. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from schemas.commands import Side
from schemas.ids import hour_of
from schemas.units import MS_PER_HOUR, Gpus, Hour, Micros, Millis, Price
from services.router.market import Fate, Market
from services.router.state import CLASH, Order, PastHour, Rental

NO_TRADE: Final = "self_trade"


class Ask(Struct, frozen=True, gc=False):
    """An offer of what is held: under way, or in the book."""

    order: int
    """0: the exchange has not told of it yet."""
    contract: int
    price: Price


class Holding(Struct, gc=False):
    """One hour of a rental."""

    hour: Hour
    contract: int = 0
    """Of what was bought, or was tried last."""
    bought: Gpus = 0
    held: Gpus = 0
    minutes: int = 0
    cost: Micros = 0
    """Fees included."""
    weighted: Micros = 0
    """Sum of price × GPUs of what was bought."""
    returned: Micros = 0
    """By selling it again, fees taken off."""
    buying: list[Order] = msgspec.field(default_factory=list)
    """Sent, and not known to have come to anything: each may be filled yet."""
    asks: list[Ask] = msgspec.field(default_factory=list)
    first_ask: Price = 0
    """What it was first offered at; 0: it never was."""
    number: int = -1
    """Of a purchase that was refused: the next try has the same. -1: it needs a new one."""
    refusals: int = 0
    """Of the last purchase, or of the last offer where something is held."""
    refused_ms: Millis = 0
    refused_code: str = ""
    refused_detail: str = ""

    @property
    def average(self) -> Price:
        """Paid per GPU-hour, rounded down to a µUSD; 0: nothing was bought."""
        return self.weighted // self.bought if self.bought else 0


def holdings(rental: Rental, market: Market) -> dict[Hour, Holding]:
    """By hour, of those that are not over."""
    found: dict[Hour, Holding] = {}
    for number, order in rental.orders.items():
        holding = found.setdefault(hour_of(order.contract), Holding(hour_of(order.contract)))
        fates = market.fates.get((rental.account, rental.rental, number), [])
        for fate in fates:
            _count(holding, fate)
        if order.side == Side.BUY:
            _bid(holding, order, fates)
        else:
            _offer(holding, order, fates)
    return found


def has_until(rental: Rental, market: Market, now_ms: Millis) -> Hour:
    """The first hour after those that have begun, are bought or may be."""
    had = [hour for hour, holding in holdings(rental, market).items() if holding.held or holding.buying]
    return max(rental.terms.from_hour, now_ms // MS_PER_HOUR, *had) + 1


def past_hour(holding: Holding) -> PastHour:
    """The hour is over."""
    return PastHour(
        holding.contract, holding.held, holding.minutes, holding.bought, holding.cost, holding.returned, holding.average
    )


def _count(holding: Holding, fate: Fate) -> None:
    if not fate.filled:
        return
    if fate.side == Side.BUY:
        holding.contract = fate.contract
        holding.bought += fate.filled
        holding.held += fate.filled
        holding.minutes = fate.minutes
        holding.cost += fate.notional + fate.fees
        holding.weighted += fate.weighted
    else:
        holding.held -= fate.filled
        holding.returned += fate.notional - fate.fees


def _bid(holding: Holding, order: Order, fates: list[Fate]) -> None:
    holding.contract = holding.contract or order.contract
    holding.number = -1
    if any(not fate.is_over for fate in fates) or (not fates and not order.refused_code):
        holding.buying.append(order)
    elif not fates:
        holding.contract = holding.contract if holding.bought else order.contract
        holding.number = -1 if order.refused_code == CLASH else order.number
        _refused(holding, order)
    elif not any(fate.filled for fate in fates):
        # Accepted, and then nothing: the book held an order of its owner's own.
        holding.refusals, holding.refused_ms = holding.refusals + 1, order.sent_ms
        holding.refused_code, holding.refused_detail = NO_TRADE, "the order met one of your own and was cancelled"


def _offer(holding: Holding, order: Order, fates: list[Fate]) -> None:
    holding.first_ask = holding.first_ask or order.price
    live = [fate for fate in fates if not fate.is_over]
    if live:
        holding.asks += [Ask(fate.order, fate.contract, fate.price) for fate in live]
    elif not fates and not order.refused_code:
        holding.asks.append(Ask(0, order.contract, order.price))
    elif not fates:
        _refused(holding, order)


def _refused(holding: Holding, order: Order) -> None:
    holding.refusals, holding.refused_ms = holding.refusals + order.refusals, order.refused_ms
    holding.refused_code, holding.refused_detail = order.refused_code, order.refused_detail
