"""What stands behind asks: machines and promises, their collateral, and the deadline at which promises must be covered. Pure."""

from __future__ import annotations

import itertools
from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Ground, Role
from schemas.events import Code, Reason
from schemas.ids import LEGS_MAX, contract_of
from schemas.units import PRICE_MAX, QTY_MAX, Micros, Price
from services.matching.book import Order
from services.matching.literals import DECLARED, OPEN, PROMISED, READY
from services.matching.queues import Backing
from services.matching.state import NEED_MAX, Account, Contract, Refusal, Shard
from services.matching.titles import Position
from services.matching.trading import buy_in

_LOWERED: Final = int(Reason.BACKING_LOWERED)


def set_backing(shard: Shard, index: int, c: cmd.SetBacking) -> Refusal | None:
    """An absolute target of what the account may owe in each hour on one ground."""
    refusal = _refusal(shard, c)
    if refusal is not None:
        return refusal
    account = shard.accounts[c.account]
    contracts = [shard.contracts[contract_of(c.class_no, hour)] for hour in c.hours]
    increase = sum([_collateral_increase(contract, c) for contract in contracts])
    if increase > 0 and increase > account.available:
        return Code.INSUFFICIENT_FUNDS, min(increase, NEED_MAX), account.available
    # From here on it cannot be refused.
    place, changed, short = len(shard.out), False, 0
    for contract in contracts:
        position = contract.register.of(c.account)
        backing = position.on(c.ground)
        if backing.version != c.version:
            changed = True
            backing.qty, backing.collateral_price, backing.version = c.qty, c.collateral_price, c.version
            if c.ground != READY:
                _cover(shard, contract, c.account)
            cut_asks(shard, contract, account, position)
            shard.recollateral(contract, account, position)
        short = max(short, backing.owed_qty - backing.qty)
    # Hours may give and take: only together they must be paid for.
    assert increase <= 0 or account.available >= 0, f"M3: collateral of account {c.account}"
    said = ev.BackingSet(
        index,
        c.outbox,
        c.account,
        c.class_no,
        c.hours,
        c.ground,
        c.qty,
        c.collateral_price,
        c.version,
        changed,
        short,
    )
    shard.out.insert(place, said)
    return None


def _refusal(shard: Shard, c: cmd.SetBacking) -> Refusal | None:
    account = shard.accounts.get(c.account)
    if account is None:
        return Code.UNKNOWN_ACCOUNT, 0, 0
    listed = shard.classes.get(c.class_no)
    if listed is None:
        return Code.UNKNOWN_CLASS, 0, 0
    hours = c.hours
    if not 0 < len(hours) <= LEGS_MAX or any(a >= b for a, b in itertools.pairwise(hours)):
        return Code.WRONG_HOURS, 0, 0
    refusal = _refusal_of_role(shard, account, c.ground)
    if refusal is not None:
        return refusal
    contracts: list[Contract] = []
    for hour in hours:
        contract = shard.listed_contract(c.class_no, hour)
        if contract is None:
            return Code.UNKNOWN_CONTRACT, hour, 0
        if not _in_phase(shard, contract, c.ground):
            return Code.WRONG_PHASE, hour, 0
        contracts.append(contract)
    if not 0 <= c.qty <= QTY_MAX or c.qty % listed.lot:
        return Code.WRONG_QTY, listed.lot, 0
    refusal = _refusal_of_collateral(c, account, contracts)
    if refusal is not None:
        return refusal
    for contract in contracts:
        position = contract.register.positions.get(c.account)
        in_force = position.on(c.ground) if position else None
        version = in_force.version if in_force else 0
        same = in_force is not None and (in_force.qty, in_force.collateral_price) == (c.qty, c.collateral_price)
        if c.version < 1 or c.version < version or (c.version == version and not same):
            return Code.STALE_VERSION, 0, version
    return None


def _refusal_of_role(shard: Shard, account: Account, ground: int) -> Refusal | None:
    if ground == Ground.READY and shard.version == 1:
        return Code.NOT_OFFERED_YET, 0, 0
    if not Ground.DECLARED <= ground <= Ground.READY:
        return Code.WRONG_GROUND, 0, 0
    maker = account.role == Role.MARKET_MAKER
    provider = account.role == Role.PROVIDER
    may = maker if ground == Ground.PROMISED else provider or (maker and shard.version > 1)
    return None if may else (Code.WRONG_ROLE, 0, 0)


def _in_phase(shard: Shard, contract: Contract, ground: int) -> bool:
    if ground == READY:
        return shard.takes_orders(contract)
    return contract.forward and not (ground == PROMISED and contract.covered)


def _refusal_of_collateral(c: cmd.SetBacking, account: Account, contracts: list[Contract]) -> Refusal | None:
    owed = bound = False
    for contract in contracts:
        position = contract.register.positions.get(c.account)
        if position is not None and position.on(c.ground).owed_qty:
            owed = True
            bound = bound or position.on(c.ground).collateral_price > 0
    # What a market maker owes keeps its collateral, whatever it becomes.
    if c.ground == DECLARED or (c.ground == READY and account.role == Role.PROVIDER and not bound):
        return (Code.WRONG_COLLATERAL, 0, 0) if c.collateral_price else None
    cap = max([contract.high for contract in contracts])
    if (c.qty or owed) and c.collateral_price < cap:
        return Code.WRONG_COLLATERAL, cap, 0
    return None if 0 <= c.collateral_price <= PRICE_MAX else (Code.WRONG_COLLATERAL, 0, 0)


def _collateral_increase(contract: Contract, c: cmd.SetBacking) -> Micros:
    if c.ground == DECLARED:
        return 0
    rate = contract.listed.spec.fees.buyer_taker
    position = contract.register.positions.get(c.account) or Position(c.account)
    backing = position.on(c.ground)
    return backing.collateral_if(c.qty, c.collateral_price, rate) - backing.collateral_due(rate)


def _cover(shard: Shard, contract: Contract, account: int) -> None:
    """Declared backing takes over titles owed as promised, oldest first."""
    covered = contract.register.cover(account, shard.title_last)
    shard.title_last = contract.register.title_last
    for source, title, qty in covered:
        shard.out.append(ev.TitleCovered(contract.contract, source, title, qty, DECLARED))


def cut_asks(shard: Shard, contract: Contract, account: Account, position: Position) -> None:
    """Cancel, worst first, what is not backed any more: blocks before the asks of the hour."""
    if contract.free(position) >= 0:
        return
    blocks: list[Order] = [block for block in contract.sell_blocks if block.account == account.account]
    blocks.sort(key=_worst_first)
    asks: list[Order] = [order for order in contract.asks if order.account == account.account]
    asks.reverse()
    for order in blocks + asks:
        shard.cancel_resting(order, account, _LOWERED)
        if contract.free(position) >= 0:
            return


def _worst_first(order: Order) -> tuple[Price, int]:
    return -order.price, -order.order


def cut_promises(shard: Shard, contract: Contract) -> None:
    """The collar's cap rose: promises not sold yet whose collateral is below it end."""
    positions = contract.register.positions
    for number in sorted(positions):
        position = positions[number]
        for backing in (position.promised, position.ready):
            if 0 < backing.collateral_price < contract.high and backing.unsold():
                _end_unsold(shard, contract, shard.accounts[number], position, backing, backing.owed_qty)


def _end_unsold(
    shard: Shard, contract: Contract, account: Account, position: Position, backing: Backing, left: int
) -> None:
    unsold = backing.unsold()
    backing.qty = left
    if unsold:
        shard.out.append(ev.BackingCut(contract.contract, account.account, backing.ground, unsold))
        cut_asks(shard, contract, account, position)
    shard.recollateral(contract, account, position)


def cover_deadline(shard: Shard, contract: Contract) -> None:
    """Unsold promises end; what is owed as promised is bought in on the book, as far as its collateral goes."""
    contract.covered = True
    positions = contract.register.positions
    for number in sorted(positions):
        position = positions[number]
        if position.promised.qty or position.promised.owed_qty:
            _end_unsold(shard, contract, shard.accounts[number], position, position.promised, 0)
    for number in sorted(positions):
        promised = positions[number].promised
        if not promised.owed_qty:
            continue
        if contract.forward and contract.state_now() == OPEN:
            limit = min(contract.high, promised.collateral_price)
            shard.out.append(ev.BuyIn(contract.contract, number, promised.owed_qty, limit))
            buy_in(shard, contract, shard.accounts[number], promised.owed_qty, limit)
        if promised.owed_qty:
            shard.out.append(ev.BuyInFailed(contract.contract, number, promised.owed_qty))
