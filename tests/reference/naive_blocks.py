"""Blocks, all hours or none, at one limit on the average price: docs/engine.md, "Blocks". Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from schemas import events as ev
from schemas.commands import PlaceBlock, Side, State, Tif
from schemas.events import Code, Reason
from schemas.ids import contract_of
from schemas.units import Gpus, Micros, Price
from tests.reference.naive_matching import RESTING, fill, meets, other, take_from
from tests.reference.naive_orders import (
    expires,
    in_use_as,
    insufficient_backing,
    late,
    name,
    once_more,
    rates,
    too_many_ids,
    too_many_orders,
    wrong_client_id,
    wrong_expiry,
    wrong_price,
    wrong_qty,
    wrong_side_or_tif,
)
from tests.reference.naive_shard import HOUR_MAX, Block, Phase, Refusal, Shard

HOURS_MAX = 168


@dataclass
class Plan:
    """What a block would trade now."""

    hours_qty: Gpus = 0
    """In each of its hours, against the hours' own orders."""
    parts: list[tuple[Block, Gpus]] = field(default_factory=list)
    """Against blocks of the same range."""

    @property
    def total(self) -> Gpus:
        return self.hours_qty + sum(qty for _, qty in self.parts)


def place_block(shard: Shard, body: PlaceBlock) -> Refusal | None:
    """A new block: judged, accepted, carried out; what is left rests or is cancelled."""
    refusal = late(shard, body.account, body.valid_until_ms) or wrong_client_id(body)
    if refusal is not None:
        return refusal
    named = in_use_as(shard, body.account, body.client_id)
    if named is not None:
        return once_more(shard, named, body)
    refusal = _wrong_range(shard, body) or _wrong_terms(shard, body)
    if refusal is not None:
        return refusal
    b, rules = body, shard.classes[body.class_no].rules
    block = Block(
        shard.order_id(), b.account, b.class_no, b.first_hour, b.hours, b.side, b.qty, b.qty_min, b.price, b.qty,
        *rates(rules, b.side),
    )  # fmt: skip
    refusal = _too_many(shard, body, block) or _cannot_afford(shard, block) or _cannot_fill(shard, body, block)
    if refusal is not None:
        return refusal
    # From here on it cannot be refused.
    name(shard, body, block.number, [block])
    expires(shard, block.number, b.tif, b.expires_ms)
    accepted = ev.BlockAccepted(
        shard.index, block.number, b.account, b.class_no, b.first_hour, b.hours, b.side, b.qty, b.qty_min, b.price, b.tif,
        b.flags, b.client_id, block.maker_bp, block.taker_bp, b.expires_ms,
    )  # fmt: skip
    shard.events.append(accepted)
    carry_out(shard, block, make_plan(shard, block))
    if block.leaves > 0 and b.tif in RESTING:
        shard.blocks.append(block)
        shard.stirred.append(block)
    elif block.leaves > 0:
        shard.cancelled(block, Reason.IOC)
    return None


# --- Checks -----------------------------------------------------------------------------------------------------


def _wrong_range(shard: Shard, body: PlaceBlock) -> Refusal | None:
    if body.class_no not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if not 1 <= body.hours <= HOURS_MAX or body.first_hour <= 0 or body.first_hour + body.hours > HOUR_MAX:
        return Refusal(Code.WRONG_HOURS)
    for hour in range(body.first_hour, body.first_hour + body.hours):
        contract = contract_of(body.class_no, hour)
        if contract not in shard.contracts:
            return Refusal(Code.UNKNOWN_CONTRACT, hour)
        if shard.phase(contract) != Phase.FORWARD:
            return Refusal(Code.WRONG_PHASE, hour)
    return None


def _wrong_terms(shard: Shard, body: PlaceBlock) -> Refusal | None:
    rules = shard.classes[body.class_no].rules
    contracts = [contract_of(body.class_no, body.first_hour + i) for i in range(body.hours)]
    states = {shard.state(contract) for contract in contracts}
    if states & {State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.HALTED)
    refusal = wrong_side_or_tif(body) or wrong_expiry(shard, body.tif, body.expires_ms)
    if refusal is not None:
        return refusal
    if State.POST_ONLY in states and body.tif not in RESTING:
        return Refusal(Code.WRONG_TIF)
    if body.flags != 0:
        return Refusal(Code.WRONG_FLAGS)
    refusal = wrong_qty(rules, body.qty)
    if refusal is not None:
        return refusal
    if (
        body.qty_min % rules.lot
        or not 0 < body.qty_min <= body.qty
        or (body.tif == Tif.FOK and body.qty_min != body.qty)
    ):
        return Refusal(Code.WRONG_QTY, rules.lot)
    refusal = wrong_price(rules, body.price)
    if refusal is not None:
        return refusal
    lows, highs = (sum(bounds) for bounds in zip(*map(shard.collar, contracts), strict=True))
    if body.price * body.hours < lows:
        return Refusal(Code.OUTSIDE_COLLAR, -(-lows // body.hours))
    if body.price * body.hours > highs:
        return Refusal(Code.OUTSIDE_COLLAR, highs // body.hours)
    return None


def _too_many(shard: Shard, body: PlaceBlock, block: Block) -> Refusal | None:
    refusal = too_many_orders(shard, body.account) or too_many_ids(shard, body)
    if refusal is not None or body.tif not in RESTING:
        return refusal
    if len(shard.blocks_of(body.account)) >= shard.bounds.blocks_max:
        return Refusal(Code.TOO_MANY_ORDERS, shard.bounds.blocks_max)
    for contract in block.contracts:
        over = [its for its in shard.blocks if its.side == block.side and contract in its.contracts]
        if len(over) >= shard.bounds.blocks_over_hour_max:
            return Refusal(Code.TOO_MANY_ORDERS, shard.bounds.blocks_over_hour_max)
    return None


def _cannot_afford(shard: Shard, block: Block) -> Refusal | None:
    if block.side == Side.SELL:
        return insufficient_backing(block.qty, min(shard.free(block.account, contract) for contract in block.contracts))
    hold, available = shard.hold(block), shard.available(block.account)
    return Refusal(Code.INSUFFICIENT_FUNDS, min(hold, 2**63 - 1), available) if hold > available else None


def _cannot_fill(shard: Shard, body: PlaceBlock, block: Block) -> Refusal | None:
    total = best_plan(shard, block).total if body.tif == Tif.FOK else block.qty
    return Refusal(Code.CANNOT_FILL, block.qty, total) if total != block.qty else None


# --- The plan ---------------------------------------------------------------------------------------------------


def make_plan(shard: Shard, block: Block) -> Plan:
    """At least the block's minimum, or nothing."""
    plan = best_plan(shard, block)
    return plan if plan.total >= min(block.qty_min, block.leaves) else Plan()


def best_plan(shard: Shard, block: Block) -> Plan:
    """As much as can be had within the limit; hours' own orders come before blocks at the same price."""
    plan, left = Plan(), block.leaves
    if any(shard.state(contract) != State.OPEN for contract in block.contracts):
        return plan
    for resting in _candidates(shard, block):
        plan.hours_qty = max(plan.hours_qty, hours_within(shard, block, resting.price, left))
        qty = min(left - plan.hours_qty, resting.leaves)
        if qty > 0 and qty >= min(resting.qty_min, resting.leaves):
            plan.parts.append((resting, qty))
            left -= qty
    plan.hours_qty = max(plan.hours_qty, hours_within(shard, block, block.price, left))
    return plan


def _candidates(shard: Shard, block: Block) -> list[Block]:
    """Best limit first, then oldest."""
    found = [
        resting
        for resting in shard.blocks
        if resting.side == other(block.side)
        and resting.range == block.range
        and not shard.same_owner(resting.account, block.account)
        and meets(block.side, block.price, resting.price)
    ]
    return sorted(found, key=lambda its: (its.price if block.side == Side.BUY else -its.price, its.number))


def hours_within(shard: Shard, block: Block, limit: Price, most: Gpus) -> Gpus:
    """How much, up to `most`, the hours' own orders give at an average within the limit."""
    depths = [_depth(shard, block, contract) for contract in block.contracts]
    most = min([most, *(sum(qty for _, qty in depth) for depth in depths)])
    lot = shard.rules(block.contract).lot

    def beyond(qty: Gpus) -> bool:
        return not meets(block.side, limit * block.hours * qty, sum(_cost(depth, qty) for depth in depths))

    # The more one takes, the worse the average: what is within the limit comes first.
    return bisect_left(range(lot, most + 1, lot), True, key=beyond) * lot


def _depth(shard: Shard, block: Block, contract: int) -> list[tuple[Price, Gpus]]:
    """Whom the block can trade with in an hour: best first, up to its own owner's."""
    depth = []
    for order in shard.contracts[contract].books[other(block.side)]:
        if shard.same_owner(order.account, block.account):
            break
        depth.append((order.price, order.leaves))
    return depth


def _cost(depth: list[tuple[Price, Gpus]], qty: Gpus) -> Micros:
    """Of the first GPUs at their prices."""
    cost = 0
    for price, leaves in depth:
        cost += price * min(leaves, qty)
        qty -= min(leaves, qty)
    assert qty == 0
    return cost


# --- Carrying it out --------------------------------------------------------------------------------------------


def carry_out(shard: Shard, block: Block, plan: Plan) -> None:
    """Everything of the plan, with the block as the taker."""
    if plan.hours_qty > 0:
        cash = sum(_take_from_hour(shard, block, contract, plan.hours_qty) for contract in block.contracts)
        assert meets(block.side, block.price * plan.hours_qty * block.hours, cash), (
            "B2: the average is beyond the limit"
        )
        _filled(shard, block, plan.hours_qty, cash)
    for resting, qty in plan.parts:
        for contract in block.contracts:
            fill(shard, contract, qty, block, resting, 0, 0)
        for its in (resting, block):
            _filled(shard, its, qty, resting.price * qty * block.hours)


def _take_from_hour(shard: Shard, block: Block, contract: int, qty: Gpus) -> Micros:
    """One hour's part: B8, exactly as much as in every other hour."""
    cash, left = 0, qty
    while left > 0:
        maker = shard.contracts[contract].books[other(block.side)][0]
        part = min(left, maker.leaves)
        left -= part
        take_from(shard, maker, part)
        fill(shard, contract, part, block, maker, left, maker.leaves)
        cash += maker.price * part
    return cash


def _filled(shard: Shard, block: Block, qty: Gpus, cash: Micros) -> None:
    assert qty <= block.leaves
    block.leaves -= qty
    shard.stirred.append(block)
    if block.leaves == 0 and shard.rests(block):
        shard.take_out(block)
    b = block
    filled = ev.BlockFilled(b.number, b.account, b.class_no, b.first_hour, b.hours, qty, b.leaves, cash)
    shard.events.append(filled)


# --- Retries ----------------------------------------------------------------------------------------------------


def retry(shard: Shard, retries_max: int) -> None:
    """Blocks for which there is news are tried again, as many as the record still may."""
    _join(shard)
    while shard.retries and shard.retries_made < retries_max:
        shard.retries_made += 1
        block = shard.retries.pop(0)
        carry_out(shard, block, make_plan(shard, block))
        _join(shard)


def _join(shard: Shard) -> None:
    are_open = {contract for contract in shard.contracts if shard.state(contract) == State.OPEN}
    opened = are_open - shard.were_open
    joining = [
        block
        for block in shard.blocks
        if block not in shard.retries
        and (
            any(
                contract in opened or (contract, other(block.side)) in shard.came_to_rest
                for contract in block.contracts
            )
            or any(block in shard.stirred or its in shard.stirred for its in _crossed_by(shard, block))
        )
    ]
    buys = [block for block in joining if block.side == Side.BUY]
    sells = [block for block in joining if block.side == Side.SELL]
    shard.retries += sorted(buys, key=lambda block: (-block.price, block.number))
    shard.retries += sorted(sells, key=lambda block: (block.price, block.number))
    shard.came_to_rest, shard.stirred, shard.were_open = set(), [], are_open


def _crossed_by(shard: Shard, block: Block) -> list[Block]:
    """Resting blocks of its range whose limits it meets, of whichever owner."""
    return [
        its
        for its in shard.blocks
        if its.side == other(block.side) and its.range == block.range and meets(block.side, block.price, its.price)
    ]
