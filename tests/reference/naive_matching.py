"""What happens when two meet: docs/engine.md, "From here on it cannot be refused". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Flag, Side, State, Tif
from schemas.events import Reason
from schemas.units import Gpus, fee, notional
from tests.reference.naive_shard import Block, Order, Phase, Shard
from tests.reference.naive_titles import Released

RESTING = (Tif.GTC, Tif.GTD)


def other(side: int) -> Side:
    return Side.SELL if side == Side.BUY else Side.BUY


def meets(side: int, limit: int, price: int) -> bool:
    """The limit of somebody on `side` allows a trade at the price."""
    return price <= limit if side == Side.BUY else price >= limit


def within(shard: Shard, contract: int, side: int, limit: int) -> list[Order]:
    """Who rests on the other side and is within the limit, best first."""
    return [order for order in shard.contracts[contract].books[other(side)] if meets(side, limit, order.price)]


def enter(shard: Shard, order: Order) -> None:
    """An accepted order trades; what is left rests or is cancelled."""
    match(shard, order)
    if order.leaves > 0 and order.tif in RESTING:
        shard.rest(order)
    elif order.leaves > 0:
        assert order.tif == Tif.IOC, "fill-or-kill, and neither"
        shard.cancelled(order, Reason.IOC)


def match(shard: Shard, taker: Order) -> None:
    """Best price first, oldest first, while the limit allows."""
    while taker.leaves > 0:
        makers = within(shard, taker.contract, taker.side, taker.price)
        if not makers:
            return
        maker = makers[0]
        if not shard.same_owner(taker.account, maker.account):
            qty = min(taker.leaves, maker.leaves)
            taker.leaves -= qty
            take_from(shard, maker, qty)
            fill(shard, taker.contract, qty, taker, maker, taker.leaves, maker.leaves)
        elif taker.flags & Flag.CANCEL_OLDEST:
            shard.remove(maker, Reason.SELF_TRADE_OLDEST)
        else:
            shard.cancelled(taker, Reason.SELF_TRADE_NEWEST)


def take_from(shard: Shard, maker: Order, qty: Gpus) -> None:
    """The maker is the first of his queue, and leaves it when nothing is left of him."""
    book = shard.contracts[maker.contract].books[Side(maker.side)]
    assert maker is book[0], "B2: there is a better price"
    same_price = [order for order in book if order.price == maker.price]
    assert maker is min(same_price, key=lambda order: order.arrival), "B4: somebody waits for longer"
    assert 0 < qty <= maker.leaves
    maker.leaves -= qty
    if maker.leaves == 0:
        shard.take_out(maker)


def fill(
    shard: Shard, contract: int, qty: Gpus, taker: Order | Block, maker: Order | Block, taker_leaves: Gpus, maker_leaves: Gpus
) -> None:  # fmt: skip
    """One trade of one hour, at the maker's price."""
    titles, phase = shard.contracts[contract].titles, shard.phase(contract)
    assert phase != Phase.CLOSED, "C3: it trades outside its phase"
    assert shard.state(contract) == State.OPEN, "C3: it trades while it is not open"
    assert not shard.same_owner(taker.account, maker.account), "B7: within one owner"
    assert taker.side == other(maker.side)
    minutes = 60 if phase == Phase.FORWARD else shard.minutes(contract)
    bid, ask = (taker, maker) if taker.side == Side.BUY else (maker, taker)
    cash = notional(maker.price, qty, minutes)
    buyer_fee = fee(cash, bid.taker_bp if bid is taker else bid.maker_bp)
    seller_fee = fee(cash, ask.taker_bp if ask is taker else ask.maker_bp)
    net, fees = cash - seller_fee, seller_fee + buyer_fee
    room, released = shard.room(ask.account, contract), Released()
    if phase == Phase.FORWARD:
        moves = titles.trade(bid.account, ask.account, qty, net, fees, room, shard.title_numbers, released)
    else:
        moves = titles.trade_running(bid.account, ask.account, qty, minutes, net, fees, shard.title_numbers)
    shard.accounts[bid.account].cash += released.buyer - cash - buyer_fee
    shard.accounts[ask.account].cash += released.seller
    filled = ev.Filled(
        shard.trades.next(), contract, maker.price, qty, minutes, taker.side, maker.number, taker.number,
        maker_leaves, taker_leaves, bid.account, ask.account, cash, buyer_fee, seller_fee, moves,
    )  # fmt: skip
    shard.events.append(filled)
