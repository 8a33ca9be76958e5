"""Blocks: contiguous hours in equal quantity, all hours or none, one limit on the average price. Pure.

A block trades by a plan (`plans`), which is made without changing anything; what it says is then carried out here and cannot
fail. Prices in µUSD per GPU-hour, quantities in GPUs.

    placing      checks, plan, trade, rest
    what trades  hour by hour, and with each block of the plan
    retries      who may trade now because something came to rest, opened or became smaller
"""

from __future__ import annotations

from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.events import Code
from schemas.ids import HOUR_MASK, class_no_of, contract_of, hour_of, order_id
from schemas.units import QTY_MAX, Gpus, Micros, Price
from services.matching.book import Block, BlockBook, Order
from services.matching.literals import BUY, CANCEL_ONLY, FOK, GTC, GTD, IOC, NOT_FILLED, OPENING, SELL
from services.matching.orders import (
    expire_later,
    refusal_of_client_id,
    refusal_of_expiry,
    refusal_of_member,
    refuse,
    use_client_id,
)
from services.matching.plans import Plan, make_plan
from services.matching.state import NEED_MAX, Account, Contract, Listed, Refusal, Shard, hold_of_block
from services.matching.trading import fill, take

BLOCK_HOURS_MAX: Final = 168


def place_block(shard: Shard, index: int, c: cmd.PlaceBlock) -> None:
    """Judge it, trade it, and let what is left rest."""
    number = order_id(shard.shard, shard.offset, index)
    first = contract_of(c.class_no, c.first_hour)
    block = Block(
        number, shard.time_ms, c.account, c.client_id, first, c.side, c.qty, c.price, c.tif, c.flags, c.expires_ms, c.hours,
        c.qty_min, [],
    )  # fmt: skip
    account = shard.accounts.get(c.account)
    refusal = refusal_of_member(shard, account, c.valid_until_ms) or _refusal(shard, block, c, account)
    if refusal is not None:
        refuse(shard, index, c.account, c.client_id, refusal)
        return
    assert account is not None
    plan = make_plan(shard, block, account.owner)
    if c.tif == FOK and plan.total < c.qty:
        shard.reject(index, c.account, Code.CANNOT_FILL, c.client_id, c.qty, plan.total)
        return
    # From here on it cannot be refused.
    listed = shard.classes[c.class_no]
    rates = listed.bid_bp if c.side == BUY else listed.ask_bp
    block.maker_bp, block.taker_bp = maker_bp, taker_bp = rates
    shard.out.append(
        ev.BlockAccepted(
            index, number, c.account, c.class_no, c.first_hour, c.hours, c.side, c.qty, c.qty_min, c.price, c.tif, c.flags,
            c.client_id, maker_bp, taker_bp, c.expires_ms,
        )
    )  # fmt: skip
    if c.client_id:
        use_client_id(shard, account, block)
    if plan.trades:
        carry_out(shard, block, account, plan)
    if block.leaves and (c.tif == GTC or c.tif == GTD):
        _rest(shard, block, account)
        return
    if block.leaves:
        shard.say_cancelled(block, block.leaves, NOT_FILLED)
    block.forget_hours()


def _refusal(shard: Shard, block: Block, c: cmd.PlaceBlock, account: Account | None) -> Refusal | None:
    """Fills in the block's contracts and positions on the way."""
    assert account is not None
    if c.client_id:
        refusal = refusal_of_client_id(shard, account, block)
        if refusal is not None:
            return refusal
    listed = shard.classes.get(c.class_no)
    if listed is None:
        return Code.UNKNOWN_CLASS, 0, 0
    refusal = _refusal_of_hours(shard, block, c, listed) or _refusal_of_kind(shard, block, c)
    if refusal is not None:
        return refusal
    if not 0 < c.qty <= QTY_MAX or c.qty % listed.lot:
        return Code.WRONG_QTY, listed.lot, 0
    if not 0 < c.qty_min <= c.qty or c.qty_min % listed.lot or (c.tif == FOK and c.qty_min != c.qty):
        return Code.WRONG_QTY, listed.lot, 0
    if c.price <= 0 or c.price % listed.tick:
        return Code.WRONG_PRICE, listed.tick, 0
    lows, highs = sum(contract.low for contract in block.contracts), sum(contract.high for contract in block.contracts)
    if c.price * c.hours < lows:
        return Code.OUTSIDE_COLLAR, -(-lows // c.hours), 0
    if c.price * c.hours > highs:
        return Code.OUTSIDE_COLLAR, highs // c.hours, 0
    return _refusal_of_bounds(shard, block, account) or _refusal_of_means(block, account, listed)


def _refusal_of_hours(shard: Shard, block: Block, c: cmd.PlaceBlock, listed: Listed) -> Refusal | None:
    last = c.first_hour + c.hours - 1
    if not 0 < c.hours <= BLOCK_HOURS_MAX or c.first_hour <= 0 or last > HOUR_MASK:
        return Code.WRONG_HOURS, 0, 0
    halted = listed.state >= CANCEL_ONLY
    for hour in range(c.first_hour, last + 1):
        contract = shard.contracts.get(contract_of(c.class_no, hour))
        if contract is None:
            return Code.UNKNOWN_CONTRACT, hour, 0
        if not contract.forward:
            return Code.WRONG_PHASE, hour, 0
        halted = halted or contract.state >= CANCEL_ONLY
        block.contracts.append(contract)
    return (Code.HALTED, 0, 0) if halted else None


def _refusal_of_kind(shard: Shard, block: Block, c: cmd.PlaceBlock) -> Refusal | None:
    if c.side != BUY and c.side != SELL:
        return Code.WRONG_SIDE, 0, 0
    if not GTC <= c.tif <= FOK:
        return Code.WRONG_TIF, 0, 0
    refusal = refusal_of_expiry(shard, block)
    if refusal is not None:
        return refusal
    if (c.tif == IOC or c.tif == FOK) and any(contract.state_now() == OPENING for contract in block.contracts):
        return Code.WRONG_TIF, 0, 0
    return (Code.WRONG_FLAGS, 0, 0) if c.flags else None


def _refusal_of_bounds(shard: Shard, block: Block, account: Account) -> Refusal | None:
    if account.open_orders >= shard.open_orders_max:
        return Code.TOO_MANY_ORDERS, shard.open_orders_max, 0
    if block.client_id and len(account.client_ids) >= shard.client_ids_max:
        return Code.TOO_MANY_ORDERS, shard.client_ids_max, 0
    if block.tif == GTC or block.tif == GTD:
        if account.blocks >= shard.blocks_max:
            return Code.TOO_MANY_ORDERS, shard.blocks_max, 0
        for contract in block.contracts:
            if len(_over(contract, block.side)) >= shard.blocks_over_hour_max:
                return Code.TOO_MANY_ORDERS, shard.blocks_over_hour_max, 0
    return None


def _refusal_of_means(block: Block, account: Account, listed: Listed) -> Refusal | None:
    if block.side == BUY:
        need = hold_of_block(listed, block.price, block.qty, block.hours)
        return (Code.INSUFFICIENT_FUNDS, min(need, NEED_MAX), account.available) if need > account.available else None
    least = QTY_MAX
    for contract in block.contracts:
        position = contract.register.positions.get(block.account)
        if position is None:
            return Code.INSUFFICIENT_BACKING, block.qty, 0
        free = contract.free(position)
        least = free if free < least else least
        block.positions.append(position)
    return (Code.INSUFFICIENT_BACKING, block.qty, max(0, least)) if block.qty > least else None


def _over(contract: Contract, side: int) -> list[Block]:
    return contract.buy_blocks if side == BUY else contract.sell_blocks


def _rest(shard: Shard, block: Block, account: Account) -> None:
    """What is left of it waits in the block book of its range."""
    if block.side == BUY:
        block.hold = hold_of_block(block.contracts[0].listed, block.price, block.leaves, block.hours)
        account.holds += block.hold
        assert account.holds + account.collateral <= account.cash, f"M3: hold of account {account.account}"
    else:
        block.asked = block.leaves
        for contract, position in zip(block.contracts, block.positions, strict=True):
            position.open_asks += block.leaves
            assert contract.free(position) >= 0, f"C2: asks of account {account.account}"
    for contract in block.contracts:
        _over(contract, block.side).append(block)
    account.blocks += 1
    key = (block.contract, block.hours)
    book = shard.block_books.get(key)
    if book is None:
        book = shard.block_books[key] = BlockBook()
    book.half(block.side).add(block)
    shard.enter(block, account)
    _stir(shard, block)
    if block.expires_ms:
        expire_later(shard, block)


# --- What it trades ------------------------------------------------------------------------------------------


def carry_out(shard: Shard, block: Block, account: Account, plan: Plan) -> None:
    """Trade what the plan says. The block may rest, or be on its way in."""
    qty = plan.total
    _spend(block, account, qty)
    if plan.hours_qty:
        _trade_hours(shard, block, account, plan.hours_qty)
    for other, part in plan.with_blocks:
        _trade_block(shard, block, account, other, part)
    if not block.leaves and block.level is not None:
        shard.leave_block_book(block, account)
        shard.end(block, account)


def _spend(block: Block, account: Account, qty: Gpus) -> None:
    """What was held for, or stood among the asks of, the part that trades now."""
    if block.level is None:
        return
    if block.side == BUY:
        hold = hold_of_block(block.contracts[0].listed, block.price, block.leaves - qty, block.hours)
        account.holds += hold - block.hold
        block.hold = hold
    else:
        block.asked -= qty
        for position in block.positions:
            position.open_asks -= qty


def _trade_hours(shard: Shard, block: Block, account: Account, qty: Gpus) -> None:
    cost: Micros = 0
    for place, contract in enumerate(block.contracts):
        half = contract.half(BUY + SELL - block.side)
        leg = _leg(shard, block, place, qty, block.price)
        while leg.leaves:
            maker = half.first()
            before = leg.leaves
            take(shard, contract, half, maker, shard.accounts[maker.account], leg, account)
            cost += maker.price * (before - leg.leaves)
    _filled(shard, block, qty, cost)


def _trade_block(shard: Shard, block: Block, account: Account, other: Block, qty: Gpus) -> None:
    other_account = shard.accounts[other.account]
    _spend(other, other_account, qty)
    for place, contract in enumerate(block.contracts):
        maker = _leg(shard, other, place, qty, other.price)
        if maker.side == SELL:
            assert maker.position is not None
            maker.position.open_asks += qty  # `fill` takes it off, as it does for an order that rests
        fill(shard, contract, maker, other_account, _leg(shard, block, place, qty, block.price), account)
    cost = other.price * qty * block.hours
    _filled(shard, other, qty, cost)
    if not other.leaves:
        shard.leave_block_book(other, other_account)
        shard.end(other, other_account)
    _filled(shard, block, qty, cost)


def _leg(shard: Shard, block: Block, place: int, qty: Gpus, price: Price) -> Order:
    """The block in one of its hours, as far as it trades now."""
    leg = Order(
        block.order, shard.time_ms, block.account, "", block.contracts[place].contract, block.side, qty, price, IOC, 0
    )  # fmt: skip
    leg.maker_bp, leg.taker_bp = block.maker_bp, block.taker_bp
    if block.side == SELL:
        leg.position = block.positions[place]
    return leg


def _filled(shard: Shard, block: Block, qty: Gpus, cost: Micros) -> None:
    block.leaves -= qty
    class_no, hour = class_no_of(block.contract), hour_of(block.contract)
    shard.out.append(ev.BlockFilled(block.order, block.account, class_no, hour, block.hours, qty, block.leaves, cost))
    if block.leaves and block.level is not None:
        _stir(shard, block)


# --- Retries -------------------------------------------------------------------------------------------------


def hour_opened(shard: Shard, contract: Contract) -> None:
    """An hour is open from here on: blocks over it may trade."""
    for blocks in (contract.buy_blocks, contract.sell_blocks):
        if blocks:
            shard.touched.append(blocks)


def _stir(shard: Shard, block: Block) -> None:
    """It has come to rest, or less is left of it: what kept it and those that it crosses apart may do so no more."""
    half = shard.block_books[block.contract, block.hours].half(BUY + SELL - block.side)
    if half.reached_by(block.price):
        pairs = [block]
        for other in half:
            if (other.price - block.price) * half.sign < 0:
                break
            assert isinstance(other, Block)
            pairs.append(other)
        shard.stirred.append(pairs)


def _join(shard: Shard) -> None:
    """Who was touched, and still rests, joins the queue."""
    new = {block.order: block for blocks in shard.touched for block in blocks}
    shard.touched.clear()
    for stirred, *crossed in shard.stirred:
        # Who was filled meanwhile crosses nobody any more.
        left = [block for block in crossed if block.level is not None]
        if left and stirred.level is not None:
            new.update((block.order, block) for block in (stirred, *left))
    shard.stirred.clear()
    for block in sorted(new.values(), key=_by_rank):
        if block.level is not None and block.order not in shard.retries:
            shard.retries[block.order] = block


def retry(shard: Shard) -> None:
    """After a command, or after what was due: who was touched joins the queue; the first ones are tried."""
    _join(shard)
    while shard.retries and shard.retried < shard.retries_max:
        shard.retried += 1
        block = shard.retries.pop(next(iter(shard.retries)))
        account = shard.accounts[block.account]
        plan = make_plan(shard, block, account.owner)
        if plan.trades:
            carry_out(shard, block, account, plan)
            _join(shard)


def _by_rank(block: Block) -> tuple[int, Price, int]:
    return block.side, (-block.price if block.side == BUY else block.price), block.order
