"""The invariants of the design that the engine can see from inside, computed anew from its state. Pure.

Too slow for every command: tests, simulation and audit call `Engine.check`.
"""

from __future__ import annotations

import itertools
from collections import Counter

from schemas.commands import Side
from schemas.ids import class_no_of
from schemas.units import bid_hold
from services.matching.book import Block, HalfBook, Order
from services.matching.literals import AMENDED, OPEN
from services.matching.queues import Backing
from services.matching.state import Contract, Shard
from services.matching.titles import Position, Register


def check(shard: Shard) -> None:
    """Raises AssertionError with the name of the first invariant that does not hold."""
    seen = 0
    for contract in shard.contracts.values():
        seen += _check_book(shard, contract.bids) + _check_book(shard, contract.asks)
        bid, ask = contract.bids.best(), contract.asks.best()
        assert not (bid and ask) or bid < ask, f"B1: {contract.contract} is crossed, {bid} >= {ask}"
        _check_phase(contract)
        _check_register(contract.register)
        _check_asks(contract)
    seen += _check_blocks(shard)
    assert seen == len(shard.orders), f"B6: {seen} orders in books, {len(shard.orders)} by id"
    _check_money(shard)


def _check_phase(contract: Contract) -> None:
    resting = [*contract.bids, *contract.asks, *contract.buy_blocks, *contract.sell_blocks]
    if contract.closed:
        assert not resting, f"C3: orders in {contract.contract} after its running phase"
    elif not contract.forward:
        assert all(order.side == Side.SELL for order in resting), f"C3: bids in {contract.contract} after its gate"
        assert not contract.buy_blocks, f"C3: blocks over {contract.contract} after its gate"
        assert not contract.sell_blocks, f"C3: blocks over {contract.contract} after its gate"


def _check_book(shard: Shard, half: HalfBook) -> int:
    assert half.keys == sorted(half.levels), "B5: prices do not match the levels"
    assert half.top is (half.levels[half.keys[-1]] if half.keys else None), "B5: the best level is not the first"
    seen = 0
    for key, level in half.levels.items():
        queue = list(level)
        assert queue, f"B5: no orders at {key}"
        arrived = [order.order for order in queue if not order.flags & AMENDED]
        assert arrived == sorted(arrived), f"B4: queue at {key} is out of order"
        before = None
        for order in queue:
            assert order.leaves > 0, f"B5: order {order.order} waits without leaves"
            assert order.level is level, f"B5: order {order.order} does not know where it waits"
            assert order.before is before, f"B4: order {order.order} does not know who was before it"
            assert shard.resting(order.order) is order, f"B6: order {order.order} is not the one by id"
            assert order.price * half.sign == key == level.key, f"B5: order {order.order} at the wrong price"
            before = order
        assert level.last is before, f"B4: queue at {key} does not end with its last"
        seen += len(queue)
    return seen


def _check_blocks(shard: Shard) -> int:
    seen = 0
    over: Counter[tuple[int, int]] = Counter()
    for (first, hours), book in shard.block_books.items():
        assert book, f"B6: an empty book of blocks over {first}"
        seen += _check_book(shard, book.bids) + _check_book(shard, book.asks)
        bids, asks = _blocks_of(book.bids), _blocks_of(book.asks)
        for block in bids + asks:
            assert (block.contract, block.hours, len(block.contracts)) == (first, hours, hours), f"B6: {block.order}"
            assert [k.contract for k in block.contracts] == list(range(first, first + hours)), f"B6: {block.order}"
            over.update((k.contract, block.side) for k in block.contracts)
            assert block.asked == (block.leaves if block.side == Side.SELL else 0), f"C2: block {block.order}"
        if not shard.retries and all(k.state_now() == OPEN for k in (bids + asks)[0].contracts):
            _check_uncrossed(shard, bids, asks)
    for contract in shard.contracts.values():
        assert over[contract.contract, Side.BUY] == len(contract.buy_blocks), f"B6: blocks over {contract.contract}"
        assert over[contract.contract, Side.SELL] == len(contract.sell_blocks), f"B6: blocks over {contract.contract}"
    assert all(shard.resting(number) is block for number, block in shard.retries.items()), "B6: a retry of nobody"
    return seen


def _blocks_of(half: HalfBook) -> list[Block]:
    blocks = [order for order in half if isinstance(order, Block)]
    assert len(blocks) == len(list(half)), "B6: an order of one hour in a book of blocks"
    return blocks


def _check_uncrossed(shard: Shard, bids: list[Block], asks: list[Block]) -> None:
    """Blocks of one range cross only where they cannot trade: of one owner, or less is left than the other's least.

    Where there are minima, one may keep them apart although a cancel has made room since: what goes away wakes nobody.
    """
    for bid, ask in itertools.product(bids, asks):
        owners = {shard.accounts[order.account].owner for order in (bid, ask)}
        whole = bid.qty_min == ask.qty_min == shard.classes[class_no_of(bid.contract)].lot
        assert bid.price < ask.price or len(owners) == 1 or not whole, f"B9: {bid.order} and {ask.order} cross"


def _check_register(register: Register) -> None:
    held = sum(position.held.qty + position.running.qty for position in register.positions.values())
    owed = sum(position.owed_qty() + position.ready.owed_qty for position in register.positions.values())
    assert held == owed, f"C1: held {held}, owed {owed}"
    titles = register.titles()
    assert len({title.number for title in titles}) == len(titles), "C6: two titles have one number"
    assert held == sum(title.qty for title in titles), "C1: titles do not add up to what is held"
    escrow = sum(title.escrow for title in titles) + register.closed_escrow
    assert escrow == register.escrow, f"C6: escrow {register.escrow}, titles {escrow}"
    for account, position in register.positions.items():
        _check_position(account, position)
    all_owed = {title.number for p in register.positions.values() for backing in _backings(p) for title in backing}
    assert all_owed == {title.number for title in titles}, "C1: a title is held and not owed, or owed and not held"
    for title in titles:
        number = title.number
        assert title.qty > 0, f"C6: title {number}"
        assert min(title.escrow - title.proceeds, title.escrow - title.cost, title.proceeds, title.cost) >= 0, (
            f"C6: title {number}: escrow {title.escrow} < proceeds {title.proceeds} or cost {title.cost}"
        )


def _backings(position: Position) -> tuple[Backing, Backing, Backing]:
    return position.declared, position.promised, position.ready


def _check_position(account: int, position: Position) -> None:
    assert not (position.held.qty and position.owed_qty()), f"C1: account {account} holds and owes at once"
    for held in (position.held, position.running):
        assert sum(title.qty for title in held) == held.qty, f"C1: held by {account}"
        assert all(title.holding is held for title in held), f"C1: held by {account}"
    for backing in _backings(position):
        assert sum(title.qty for title in backing) == backing.owed_qty, f"C1: owed by {account}"
        assert backing.account == account, f"C1: owed by {account}"
        for title in backing:
            assert title.owing is backing, f"C1: title {title.number} owed"


def _check_asks(contract: Contract) -> None:
    asks: Counter[int] = Counter()
    for order in contract.asks:
        asks[order.account] += order.leaves
        assert order.position is contract.register.positions[order.account], (
            f"C2: ask {order.order} sells from elsewhere"
        )
    for block in contract.sell_blocks:
        asks[block.account] += block.leaves
    for account, position in contract.register.positions.items():
        assert asks[account] == position.open_asks, f"C2: open asks of {account}"
        assert contract.free(position) >= 0 or not asks[account], f"C2: account {account}"
        due = position.collateral_due(contract.listed.spec.fees.buyer_taker)
        assert position.collateral == due, f"C5: collateral of {account}: {position.collateral}, {due} due"


def _check_money(shard: Shard) -> None:
    holds: Counter[int] = Counter()
    open_orders: Counter[int] = Counter()
    blocks: Counter[int] = Counter()
    for order in shard.orders.values():
        holds[order.account] += _hold(shard, order)
        open_orders[order.account] += 1
        blocks[order.account] += isinstance(order, Block)
    collateral: Counter[int] = Counter()
    for contract in shard.contracts.values():
        for account, position in contract.register.positions.items():
            collateral[account] += position.collateral
    for number, a in shard.accounts.items():
        assert a.available >= 0, f"M3: account {number} has {a.available} available"
        assert a.holds == holds[number], f"M4: account {number} holds {a.holds}, its orders need {holds[number]}"
        assert a.collateral == collateral[number], f"C5: account {number}: {a.collateral}, {collateral[number]} due"
        assert a.open_orders == open_orders[number], f"B6: account {number} counts its orders wrongly"
        assert a.blocks == blocks[number], f"B6: account {number} counts its blocks wrongly"
        assert len(a.open()) == a.open_orders, f"B6: account {number} does not find its orders"
        assert all(order.account == number for order in a.open()), f"B6: account {number} has another's order"


def _hold(shard: Shard, order: Order) -> int:
    if order.side == Side.SELL:
        assert order.hold == 0, f"M4: ask {order.order} holds cash"
        return 0
    spec = shard.classes[class_no_of(order.contract)].spec
    hours = order.hours if isinstance(order, Block) else 1
    # Over many hours at once: the same as one bid of `hours` times the quantity.
    due = bid_hold(order.price, order.leaves * hours, spec.lot, max(order.maker_bp, order.taker_bp))
    assert order.hold == due, f"M4: order {order.order} holds {order.hold}, {due} due"
    return due
