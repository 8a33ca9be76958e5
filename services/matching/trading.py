"""Where orders meet: fills, self-trade prevention, and what is left of a newcomer. Pure.

Hot: a shard does little else. Nothing here can be refused any more; whoever calls has judged the order.
"""

from __future__ import annotations

from typing import Final

from schemas.events import Filled, Reason
from schemas.units import MINUTES_PER_HOUR, Gpus, Price, fee
from services.matching.book import HalfBook, Order
from services.matching.literals import BUY, CANCEL_OLDEST, GTC, GTD, IOC, NOT_FILLED
from services.matching.state import Account, Contract, Shard, hold_of

_Filled: Final = Filled
_SELF_TRADE_NEWEST: Final = int(Reason.SELF_TRADE_NEWEST)
_SELF_TRADE_OLDEST: Final = int(Reason.SELF_TRADE_OLDEST)


def enter_book(shard: Shard, contract: Contract, account: Account, order: Order) -> None:
    """Match a newcomer; what is left rests or is cancelled."""
    half = contract.asks if order.side == BUY else contract.bids
    if half.reached_by(order.price) and match(shard, contract, account, order):
        return
    if order.leaves:
        if order.tif == GTC or order.tif == GTD:
            rest(shard, contract, account, order)
        else:
            shard.say_cancelled(order, order.leaves, NOT_FILLED)


def match(shard: Shard, contract: Contract, account: Account, taker: Order) -> bool:
    """Fill against the other side; True when self-trade prevention ended the newcomer."""
    half = contract.asks if taker.side == BUY else contract.bids
    while taker.leaves and half.reached_by(taker.price):
        maker = half.first()
        maker_account = shard.accounts[maker.account]
        if maker_account.owner == account.owner:
            if not taker.flags & CANCEL_OLDEST:
                shard.say_cancelled(taker, taker.leaves, _SELF_TRADE_NEWEST)
                return True
            shard.cancel_resting(maker, maker_account, _SELF_TRADE_OLDEST)
            continue
        take(shard, contract, half, maker, maker_account, taker, account)
    return False


def take(
    shard: Shard,
    contract: Contract,
    half: HalfBook,
    maker: Order,
    maker_account: Account,
    taker: Order,
    account: Account,
) -> None:
    """One fill against a resting order, which leaves the book when it was the rest of it."""
    fill(shard, contract, maker, maker_account, taker, account)
    if not maker.leaves:
        half.remove(maker)
        shard.end(maker, maker_account)


def fill(
    shard: Shard, contract: Contract, maker: Order, maker_account: Account, taker: Order, taker_account: Account
) -> None:
    """One trade at the maker's price, as large as the smaller of the two."""
    qty = taker.leaves if taker.leaves < maker.leaves else maker.leaves
    price = maker.price
    notional = price * qty
    minutes = 60
    if not contract.forward:
        minutes = shard.minutes_left(contract)
        notional = -(-notional * minutes // MINUTES_PER_HOUR)
    register = contract.register
    maker_leaves = maker.leaves = maker.leaves - qty
    taker.leaves -= qty
    if taker.side == BUY:
        buyer, seller = taker_account, maker_account
        buyer_fee = fee(notional, taker.taker_bp)
        seller_fee = fee(notional, maker.maker_bp)
        selling = maker.position
        assert selling is not None
        selling.open_asks -= qty
    else:
        buyer, seller = maker_account, taker_account
        buyer_fee = fee(notional, maker.maker_bp)
        seller_fee = fee(notional, taker.taker_bp)
        selling = taker.position
        assert selling is not None
        hold = hold_of(contract.listed, price, maker_leaves) if maker_leaves else 0
        buyer.holds += hold - maker.hold
        maker.hold = hold
    buying = register.of(buyer.account)
    if contract.forward:
        moves = register.trade(
            buying, selling, qty, 60, notional - seller_fee, seller_fee + buyer_fee, shard.title_last
        )
    else:
        moves = register.trade_running(
            buying, selling, qty, minutes, notional - seller_fee, seller_fee + buyer_fee, shard.title_last
        )
    shard.title_last = register.title_last
    buyer.cash -= register.paid
    seller.cash += register.received
    shard.recollateral(contract, buyer, buying)
    assert buyer.cash >= buyer.holds + buyer.collateral, f"M3: account {buyer.account} pays more than it has"
    shard.trade_last += 1
    shard.out.append(
        _Filled(
            shard.trade_last,
            contract.contract,
            price,
            qty,
            minutes,
            taker.side,
            maker.order,
            taker.order,
            maker_leaves,
            taker.leaves,
            buyer.account,
            seller.account,
            notional,
            buyer_fee,
            seller_fee,
            moves,
        )
    )


def rest(shard: Shard, contract: Contract, account: Account, order: Order) -> None:
    """What is left of it waits in the book."""
    if order.side == BUY:
        order.hold = hold_of(contract.listed, order.price, order.leaves)
        account.holds += order.hold
        assert account.holds + account.collateral <= account.cash, f"M3: hold of account {order.account}"
        contract.bids.add(order)
        blocks = contract.sell_blocks
    else:
        position = order.position
        assert position is not None
        position.open_asks += order.leaves
        assert contract.free(position) >= 0, f"C2: asks of account {order.account}"
        contract.asks.add(order)
        blocks = contract.buy_blocks
    if blocks:
        shard.touched.append(blocks)
    order.contract = contract.contract  # the same number: all orders of a book share one object
    shard.enter(order, account)


def fillable(shard: Shard, order: Order, half: HalfBook, owner: int) -> Gpus:
    """What a book gives within the order's limit, up to its quantity."""
    found = 0
    for maker in half:
        if found >= order.qty or (maker.price - order.price) * half.sign < 0:
            break
        if shard.accounts[maker.account].owner != owner:
            found += maker.leaves
        elif not order.flags & CANCEL_OLDEST:
            break
    return found


def buy_in(shard: Shard, contract: Contract, account: Account, qty: Gpus, limit: Price) -> None:
    """The exchange buys in an account's name what it owes as promised; its collateral pays."""
    order = Order(0, shard.time_ms, account.account, "", contract.contract, BUY, qty, limit, IOC, CANCEL_OLDEST)
    order.taker_bp = contract.listed.bid_bp[1]
    match(shard, contract, account, order)
