"""What time alone causes: listing, opening, cover deadlines, gates, expiry, ends of hours, dead men's switches. Pure."""

from __future__ import annotations

from typing import Final

from schemas import events as ev
from schemas.events import Reason
from schemas.ids import HOUR_MASK, contract_of
from schemas.units import MS_PER_HOUR, Hour, Millis
from services.matching.backing import cover_deadline, cut_asks
from services.matching.blocks import hour_opened
from services.matching.book import Block
from services.matching.literals import CANCEL_ONLY, OPEN, OPENING, RUNNING
from services.matching.state import (
    COVER,
    DEAD_MAN,
    EXPIRED,
    GATE_CLOSED,
    HOUR_ENDED,
    LISTED,
    RUNNING_CLOSED,
    STATE,
    Contract,
    Listed,
    Shard,
)

OPENING_MS: Final = 60_000
"""A new hour is post-only for so long, and a reopening cancel-only before."""
REOPENING_MS: Final = 30_000
"""How long a reopening is post-only."""


def happen(shard: Shard, when_ms: Millis, kind: int, a: int, b: int) -> None:
    """One moment that is due."""
    if kind == EXPIRED:
        order = shard.resting(a)
        shard.due_dead -= 1  # by its leaving, or because it had left already
        if order is None:
            return
        shard.cancel_resting(order, shard.accounts[order.account], int(Reason.EXPIRED))
    elif kind == DEAD_MAN:
        _dead_man(shard, when_ms, a)
    elif kind == STATE:
        _go_on(shard, when_ms, a, b)
    elif kind == LISTED:
        list_hour(shard, a, b, opening=shard.version > 1)
        list_next(shard, a, b + 1)
    else:
        contract = shard.contracts.get(contract_of(a, b))
        if contract is None:
            # Of a class that closes its running phase with the hour: at the same moment the end comes first.
            assert kind == RUNNING_CLOSED
            shard.out.append(ev.RunningClosed(contract_of(a, b)))
        elif kind == GATE_CLOSED:
            _close_gate(shard, contract)
        elif kind == COVER:
            cover_deadline(shard, contract)
        elif kind == RUNNING_CLOSED:
            _close_running(shard, contract)
            shard.out.append(ev.RunningClosed(contract.contract))
        else:
            assert kind == HOUR_ENDED
            _end_hour(shard, contract)


def list_next(shard: Shard, class_no: int, hour: Hour) -> None:
    """`hour` is listed when its moment comes, unless it has more bits than an hour of a contract."""
    if hour <= HOUR_MASK:
        horizon = shard.classes[class_no].spec.horizon_hours
        shard.plan((hour - horizon) * MS_PER_HOUR, LISTED, class_no, hour)


def list_hour(shard: Shard, class_no: int, hour: Hour, *, opening: bool) -> None:
    """A contract, its moments, and how it opens."""
    listed = shard.classes[class_no]
    number = contract_of(class_no, hour)
    contract = shard.contracts[number] = Contract(number, listed)
    gate_ms = hour * MS_PER_HOUR - listed.spec.gate_ms
    # With its class: whatever comes next, in this record too, finds the hour that runs running.
    gate_is_over = shard.version > 1 and not opening and gate_ms <= shard.time_ms
    if not gate_is_over:
        shard.plan(gate_ms, GATE_CLOSED, class_no, hour)
    shard.plan((hour + 1) * MS_PER_HOUR - listed.spec.running_close_ms, RUNNING_CLOSED, class_no, hour)
    shard.plan((hour + 1) * MS_PER_HOUR, HOUR_ENDED, class_no, hour)
    shard.out.append(ev.ContractListed(number))
    if shard.version > 1:
        cover_ms = hour * MS_PER_HOUR - listed.spec.cover_ms
        if shard.time_ms < cover_ms:
            shard.plan(cover_ms, COVER, class_no, hour)
        else:
            contract.covered = True
    if gate_is_over:
        _close_gate(shard, contract)
    if opening:
        contract.state = OPENING
        contract.next_ms = shard.time_ms + OPENING_MS
        shard.plan(contract.next_ms, STATE, class_no, hour)
        shard.out.append(ev.StateReached(class_no, hour, OPENING))


def begin_covering(shard: Shard) -> None:
    """The engine version that knows cover deadlines begins: hours that are listed get theirs."""
    for number in sorted(shard.contracts):
        contract = shard.contracts[number]
        if contract.forward:
            spec = contract.listed.spec
            shard.plan(contract.hour * MS_PER_HOUR - spec.cover_ms, COVER, spec.class_no, contract.hour)


def set_state(shard: Shard, class_no: int, hour: Hour, target: Contract | Listed, state: int) -> None:
    """A class (`hour` 0) or contract gets a state; whoever was waiting for it to open may trade."""
    closed = [contract for contract in _contracts_of(shard, class_no, hour) if contract.state_now() != OPEN]
    target.state = state
    for contract in closed:
        if contract.state_now() == OPEN:
            hour_opened(shard, contract)


def _contracts_of(shard: Shard, class_no: int, hour: Hour) -> list[Contract]:
    if hour:
        return [shard.contracts[contract_of(class_no, hour)]]
    listed = shard.classes[class_no]
    return [contract for contract in shard.contracts.values() if contract.listed is listed]


def _go_on(shard: Shard, when_ms: Millis, class_no: int, hour: Hour) -> None:
    """An opening or reopening goes on to its next state, if it has not been ended."""
    if not shard.still_due(when_ms, STATE, class_no, hour):
        shard.due_dead -= 1
        return
    target: Contract | Listed = shard.contracts[contract_of(class_no, hour)] if hour else shard.classes[class_no]
    if target.state == CANCEL_ONLY:
        state = OPENING
        target.next_ms = when_ms + REOPENING_MS
        shard.plan(target.next_ms, STATE, class_no, hour)
    else:
        state = OPEN
        target.next_ms = 0
    shard.out.append(ev.StateReached(class_no, hour, state))
    set_state(shard, class_no, hour, target, state)


def _dead_man(shard: Shard, when_ms: Millis, number: int) -> None:
    account = shard.accounts[number]
    if account.dead_ms != when_ms:
        shard.due_dead -= 1
        return
    account.dead_ms = 0
    shard.out.append(ev.DeadManFired(number))
    for order in account.open():
        shard.cancel_resting(order, account, int(Reason.DEAD_MAN))


def _close_gate(shard: Shard, contract: Contract) -> None:
    contract.forward = False  # from here on `free` counts what is READY
    for order in [*contract.bids, *contract.asks]:
        if not order.flags & RUNNING:
            shard.cancel_resting(order, shard.accounts[order.account], int(Reason.GATE_CLOSED))
    blocks: list[Block] = sorted([*contract.buy_blocks, *contract.sell_blocks], key=lambda block: block.order)
    for block in blocks:
        shard.cancel_resting(block, shard.accounts[block.account], int(Reason.GATE_CLOSED))
    for number in sorted(contract.register.positions):
        account, position = shard.accounts[number], contract.register.positions[number]
        cut_asks(shard, contract, account, position)
        position.declared.qty = position.promised.qty = 0
        shard.recollateral(contract, account, position)
    contract.quotes.clear()
    shard.out.append(ev.GateClosed(contract.contract))


def _close_running(shard: Shard, contract: Contract) -> None:
    contract.closed = True
    for order in list(contract.asks):
        shard.cancel_resting(order, shard.accounts[order.account], int(Reason.RUNNING_CLOSED))
    for number in sorted(contract.register.positions):
        account, position = shard.accounts[number], contract.register.positions[number]
        position.ready.qty = min(position.ready.qty, position.ready.owed_qty)
        shard.recollateral(contract, account, position)


def _end_hour(shard: Shard, contract: Contract) -> None:
    if not contract.closed:
        _close_running(shard, contract)
    register = contract.register
    ended = escrow = collateral = 0
    for t in register.titles():
        ended += 1
        escrow += t.escrow
        shard.out.append(
            ev.TitleEnded(
                contract.contract,
                t.number,
                t.obligor,
                t.holder,
                t.ground,
                t.qty,
                t.minutes,
                t.proceeds,
                t.cost,
                t.escrow,
            )
        )
    assert escrow + register.closed_escrow == register.escrow, f"C6: escrow of contract {contract.contract}"
    for number in sorted(register.positions):
        amount = register.positions[number].collateral
        if amount:
            account = shard.accounts[number]
            account.collateral -= amount
            account.cash -= amount
            collateral += amount
            shard.out.append(ev.CollateralMoved(contract.contract, number, amount))
    shard.out.append(ev.HourEnded(contract.contract, ended, register.escrow, collateral))
    register.clear()
    if contract.next_ms:
        shard.due_dead += 1
    del shard.contracts[contract.contract]
