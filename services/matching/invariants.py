"""The invariants of the design that the engine can see from inside, computed anew from its state. Pure.

Too slow for every command: tests, simulation and audit call `Engine.check`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from schemas.commands import Side
from schemas.units import bid_hold
from services.matching.book import key_of

if TYPE_CHECKING:
    from services.matching.book import HalfBook, Order
    from services.matching.engine import Contract, Engine
    from services.matching.titles import Position, Register


def check(engine: Engine) -> None:
    """Raises AssertionError with the name of the first invariant that does not hold."""
    seen = 0
    for contract in engine.contracts.values():
        seen += _check_book(engine, contract.bids) + _check_book(engine, contract.asks)
        bid, ask = contract.bids.best(), contract.asks.best()
        assert not (bid and ask) or bid < ask, f"B1: {contract.contract} is crossed, {bid} >= {ask}"
        assert contract.forward or not (bid or ask), f"C3: orders in {contract.contract} after its gate"
        _check_register(contract.register)
        _check_asks(contract)
    assert seen == len(engine.orders), f"B6: {seen} orders in books, {len(engine.orders)} by id"
    _check_money(engine)


def _check_book(engine: Engine, half: HalfBook) -> int:
    assert half.keys == sorted(half.levels), "B5: prices do not match the levels"
    assert half.top is (half.levels[half.keys[-1]] if half.keys else None), "B5: the best level is not the first"
    seen = 0
    for key, level in half.levels.items():
        numbers = [order.order for order in level]
        assert numbers, f"B5: no orders at {key}"
        assert numbers == sorted(numbers), f"B4: queue at {key} is out of order"
        before = None
        for order in level:
            assert order.leaves > 0, f"B5: order {order.order} waits without leaves"
            assert order.level is level, f"B5: order {order.order} does not know where it waits"
            assert order.before is before, f"B4: order {order.order} does not know who was before it"
            assert engine.orders.get(key_of(order.order)) is order, f"B6: order {order.order} is not the one by id"
            assert order.price * half.sign == key, f"B5: order {order.order} at the wrong price"
            before = order
        assert level.last is before, f"B4: queue at {key} does not end with its last"
        seen += len(numbers)
    return seen


def _check_register(register: Register) -> None:
    held = sum(position.held.qty for position in register.positions.values())
    owed = sum(position.owed_qty() for position in register.positions.values())
    assert held == owed, f"C1: held {held}, owed {owed}"
    titles = register.titles()
    assert len({title.number for title in titles}) == len(titles), "C6: two titles have one number"
    assert held == sum(title.qty for title in titles), "C1: titles do not add up to what is held"
    escrow = sum(title.escrow for title in titles) + register.closed_escrow
    assert escrow == register.escrow, f"C6: escrow {register.escrow}, titles {escrow}"
    for account, position in register.positions.items():
        _check_position(account, position)
    all_owed = {title.number for p in register.positions.values() for b in (p.declared, p.promised) for title in b}
    assert all_owed == {title.number for title in titles}, "C1: a title is held and not owed, or owed and not held"
    for title in titles:
        number = title.number
        assert title.qty > 0, f"C6: title {number}"
        assert min(title.escrow - title.proceeds, title.escrow - title.cost, title.proceeds, title.cost) >= 0, (
            f"C6: title {number}: escrow {title.escrow} < proceeds {title.proceeds} or cost {title.cost}"
        )


def _check_position(account: int, position: Position) -> None:
    assert sum(title.qty for title in position.held) == position.held.qty, f"C1: held by {account}"
    assert not (position.held.qty and position.owed_qty()), f"C1: account {account} holds and owes at once"
    for title in position.held:
        assert title.holding is position.held, f"C1: title {title.number} held"
    for backing in (position.declared, position.promised):
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
    for account, position in contract.register.positions.items():
        assert asks[account] == position.open_asks, f"C2: open asks of {account}"
        assert position.open_asks <= position.capacity() or not contract.forward, f"C2: account {account}"
        due = position.collateral_due(contract.listed.spec.fees.buyer_taker)
        assert position.collateral == due, f"C5: collateral of {account}: {position.collateral}, {due} due"


def _check_money(engine: Engine) -> None:
    holds: Counter[int] = Counter()
    open_orders: Counter[int] = Counter()
    for order in engine.orders.values():
        holds[order.account] += _hold(engine, order)
        open_orders[order.account] += 1
    collateral: Counter[int] = Counter()
    for contract in engine.contracts.values():
        for account, position in contract.register.positions.items():
            collateral[account] += position.collateral
    for number, a in engine.accounts.items():
        assert a.available >= 0, f"M3: account {number} has {a.available} available"
        assert a.holds == holds[number], f"M4: account {number} holds {a.holds}, its orders need {holds[number]}"
        assert a.collateral == collateral[number], f"C5: account {number}: {a.collateral}, {collateral[number]} due"
        assert a.open_orders == open_orders[number], f"B6: account {number} counts its orders wrongly"


def _hold(engine: Engine, order: Order) -> int:
    if order.side == Side.SELL:
        assert order.hold == 0, f"M4: ask {order.order} holds cash"
        return 0
    spec = engine.contracts[order.contract].listed.spec
    due = bid_hold(order.price, order.leaves, spec.lot, max(order.maker_bp, order.taker_bp))
    assert order.hold == due, f"M4: order {order.order} holds {order.hold}, {due} due"
    return due
