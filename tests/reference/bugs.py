"""Bugs of the second engine version, to be planted in the naive engine: what stands there, and what would be wrong instead."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.commands import Ground, PlaceBlock, Side, State
from schemas.events import DeadManFired, Reason
from schemas.units import BP
from tests.reference import (
    naive_blocks,
    naive_changes,
    naive_cover,
    naive_matching,
    naive_operators,
    naive_orders,
    naive_quotes,
    naive_shard,
    naive_time,
)
from tests.reference.naive_blocks import Plan
from tests.reference.naive_shard import Block, Order, Shard


class Bug(NamedTuple):
    where: Any
    name: str
    instead: Any
    mood: str
    """The days on which it shows."""
    commands_max: int


_hours_within, _best_plan, _cannot_amend = (
    naive_blocks.hours_within,
    naive_blocks.best_plan,
    naive_changes._cannot_amend,
)
_capacity, _move_reference, _keep = Shard.capacity, naive_operators.move_reference, naive_quotes._keep_or_cancel


def one_hour_less(shard: Shard, block: Block, limit: int, most: int) -> int:
    """The average of all hours but the last."""
    return (
        _hours_within(shard, block, limit, most)
        if block.hours == 1
        else _hours_within(shard, _shorter(block), limit, most)
    )


def _shorter(block: Block) -> Block:
    values = {name: getattr(block, name) for name in Block.__dataclass_fields__}
    return Block(**{**values, "hours": block.hours - 1})


def blocks_before_hours(shard: Shard, block: Block) -> Plan:
    """At the same price the block wins."""
    plan, left = Plan(), block.leaves
    if any(shard.state(contract) != State.OPEN for contract in block.contracts):
        return plan
    for resting in naive_blocks._candidates(shard, block):
        qty = min(left, resting.leaves)
        if qty >= min(resting.qty_min, resting.leaves):
            plan.parts.append((resting, qty))
            left -= qty
    plan.hours_qty = _hours_within(shard, block, block.price, left)
    return plan


def minimum_of_the_whole_block(shard: Shard, block: Block) -> Plan:
    """Also when less is left of it."""
    plan = _best_plan(shard, block)
    return plan if plan.total >= block.qty_min else Plan()


def youngest_blocks_first(shard: Shard, block: Block) -> list[Block]:
    found = [
        its
        for its in shard.blocks
        if its.side != block.side
        and its.range == block.range
        and not shard.same_owner(its.account, block.account)
        and naive_matching.meets(block.side, block.price, its.price)
    ]
    return sorted(found, key=lambda its: (its.price if block.side == Side.BUY else -its.price, -its.number))


def each_hour_rounded(price: int, leaves: int, hours: int, lot: int, rate: int) -> int:
    return hours * (price * leaves + price * leaves * rate // BP + leaves // lot)


def nobody_joins(shard: Shard) -> None:
    """Blocks wait for ever."""
    shard.came_to_rest = set()


def only_orders_wake_blocks(shard: Shard) -> None:
    """An opening does not."""
    shard.were_open = {number for number in shard.contracts if shard.state(number) == State.OPEN}
    _join(shard)


_join = naive_blocks._join


def blocks_survive_a_dead_man(shard: Shard, account: int) -> None:
    shard.accounts[account].dead_man_ms = 0
    shard.events.append(DeadManFired(account))
    for order in shard.orders_of(account):
        shard.remove(order, Reason.DEAD_MAN)


def smaller_quotes_lose_their_place(shard: Shard, contract: Any, account: int, quote: Any) -> dict[Side, Order]:
    kept = _keep(shard, contract, account, quote)
    wanted = naive_quotes._wanted(quote)
    for side in [side for side, order in kept.items() if order.leaves != wanted[side][1]]:
        shard.remove(kept.pop(side), Reason.QUOTE_REPLACED)
    return kept


def an_old_place(shard: Shard, order: Order) -> None:
    """Where it had stood before it was amended."""
    order.arrival = order.arrival or shard.arrivals.next()
    shard.contracts[order.contract].rest(order)
    shard.came_to_rest.add((order.contract, order.side))


def amended_for_nothing(shard: Shard, order: Order, body: Any) -> Any:
    """More of an order without the machines for it."""
    return None if order.side == Side.SELL else _cannot_amend(shard, order, body)


def rounded_down(price: int, qty: int, minutes: int = 60) -> int:
    return price * qty * minutes // 60


def minutes_begun(shard: Shard, contract: int) -> int:
    return min(60, -(-((naive_shard.hour_of(contract) + 1) * 3_600_000 - shard.time_ms) // 60_000))


def ready_counts_forward(shard: Shard, account: int, contract: int) -> int:
    room = shard.room(account, contract)[Ground.READY] if shard.contracts[contract].gate_open else 0
    return _capacity(shard, account, contract) + room


def bought_in_at_any_price(shard: Shard, account: int, number: int) -> None:
    """Up to the collar's cap, whatever the collateral is."""
    backing = shard.backing(account, number, Ground.PROMISED)
    price, backing.collateral_price = backing.collateral_price, shard.collar(number)[1]
    _buy_in(shard, account, number)
    backing.collateral_price = price


_buy_in = naive_cover._buy_in


def unsold_promises_stay(*_: Any, **__: Any) -> None:
    """At the deadline, and when a collar rises."""


def only_the_class_has_a_reference(shard: Shard, contract: int) -> int:
    return shard.classes[naive_shard.class_no_of(contract)].reference


def no_deadlines_at_the_turn(shard: Shard) -> None:
    shard.version = shard.version_next


def judged_alone(shard: Shard, body: Any, _: Any) -> Any:
    """A leg that does not know of those before it."""
    return _judge(shard, body, naive_orders.Reserved())


_judge = naive_orders._judge


def a_range_is_known_as_long_as_it_rests(shard: Shard, named: Any) -> bool:
    young = shard.time_ms < named.accepted_ms + naive_orders.CLIENT_ID_MS
    return young or any(shard.rests(order) for order in named.orders)


def as_asked(shard: Shard, body: Any) -> Any:
    """A halt that ends at once."""
    before, shard.version = shard.version, 1
    refusal = _set_state(shard, body)
    shard.version = before
    return refusal


_set_state = naive_operators.set_state


def a_block_is_one_open_ask_less(shard: Shard, account: int, contract: int) -> int:
    """Sell blocks promise nothing."""
    return sum(order.leaves for order in shard.asks_of(account, contract))


def fill_all_or_nothing_of_the_minimum(shard: Shard, body: PlaceBlock, block: Block) -> Any:
    """Fill-or-kill is not looked at."""


BUGS = {
    "a block's average is over all hours": Bug(naive_blocks, "hours_within", one_hour_less, "blocks and quotes", 4),
    "hour orders come before blocks": Bug(naive_blocks, "best_plan", blocks_before_hours, "blocks and quotes", 5),
    "a block's minimum shrinks with it": Bug(naive_blocks, "make_plan", minimum_of_the_whole_block, "blocks", 5),
    "blocks queue by age": Bug(naive_blocks, "_candidates", youngest_blocks_first, "blocks", 5),
    "a block's hold is one sum": Bug(naive_shard, "block_hold", each_hour_rounded, "blocks", 2),
    "orders wake blocks": Bug(naive_blocks, "_join", nobody_joins, "blocks and quotes", 5),
    "an opening wakes blocks": Bug(naive_blocks, "_join", only_orders_wake_blocks, "stops", 8),
    "sell blocks are open asks": Bug(Shard, "open_asks", a_block_is_one_open_ask_less, "blocks", 3),
    "fill-or-kill blocks": Bug(naive_blocks, "_cannot_fill", fill_all_or_nothing_of_the_minimum, "blocks", 2),
    "a dead man's blocks": Bug(naive_time, "dead_man", blocks_survive_a_dead_man, "nearly right", 5),
    "a smaller quote keeps its place": Bug(
        naive_quotes, "_keep_or_cancel", smaller_quotes_lose_their_place, "quotes", 3
    ),
    "an amended order loses its place": Bug(Shard, "rest", an_old_place, "changes", 6),
    "more of an ask needs machines": Bug(naive_changes, "_cannot_amend", amended_for_nothing, "changes", 3),
    "running notional rounds up": Bug(naive_matching, "notional", rounded_down, "running", 6),
    "whole minutes": Bug(Shard, "minutes", minutes_begun, "running", 6),
    "READY is for the running hour": Bug(Shard, "capacity", ready_counts_forward, "running", 5),
    "collateral pays for buying in": Bug(naive_cover, "_buy_in", bought_in_at_any_price, "promises", 8),
    "promises end": Bug(naive_cover, "cut", unsold_promises_stay, "promises", 2),
    "a contract's own reference": Bug(Shard, "reference", only_the_class_has_a_reference, "quotes", 3),
    "too soon is a minute": Bug(naive_operators, "REFERENCE_MS", 60_001, "nearly right", 4),
    "version 2 brings deadlines": Bug(naive_operators, "turn_version", no_deadlines_at_the_turn, "promises", 4),
    "legs know of each other": Bug(naive_orders, "_judge", judged_alone, "changes", 3),
    "a range is known for a time": Bug(naive_orders, "in_use", a_range_is_known_as_long_as_it_rests, "changes", 4),
    "a halt ends slowly": Bug(naive_operators, "set_state", as_asked, "stops", 3),
    "an hour opens after a minute": Bug(naive_time, "OPENS_AFTER_MS", 59_999, "stops", 4),
    "an order expires on time": Bug(naive_orders, "expires", lambda *_: None, "changes", 3),
}
