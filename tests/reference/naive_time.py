"""What time alone causes: docs/engine.md, "One record". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Flag, Ground, SetClass, Side, State
from schemas.events import Reason
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR, Hour
from tests.reference.naive_changes import dead_man, expire
from tests.reference.naive_cover import cover_deadline
from tests.reference.naive_operators import state_is_due
from tests.reference.naive_shard import (
    COVER_DEADLINE,
    DEAD_MAN,
    EXPIRED,
    GATE_CLOSED,
    HOUR_ENDED,
    HOUR_MAX,
    LISTED,
    RUNNING_CLOSED,
    STATE,
    Contract,
    Moment,
    Shard,
)
from tests.reference.naive_titles import FORWARD

OPENS_AFTER_MS = 60_000


def let_time_pass(shard: Shard) -> None:
    """Everything due at or before the shard's time happens, one after the other."""
    while shard.moments and shard.moments[0].due_ms <= shard.time_ms:
        _happens(shard, shard.moments.pop(0))


def _happens(shard: Shard, moment: Moment) -> None:
    due_ms, kind, a, b = moment
    if kind == HOUR_ENDED:
        _end_hour(shard, shard.contracts[contract_of(a, b)])
    elif kind == RUNNING_CLOSED:
        _close_running(shard, contract_of(a, b))
    elif kind == GATE_CLOSED:
        _close_gate(shard, shard.contracts[contract_of(a, b)])
    elif kind == LISTED:
        _list(shard, a, b)
        _open_later(shard, a, b)
        _list_later(shard, a, b + 1)
    elif kind == COVER_DEADLINE:
        cover_deadline(shard, contract_of(a, b))
    elif kind == STATE:
        state_is_due(shard, due_ms, a, b)
    elif kind == EXPIRED:
        expire(shard, a)
    elif kind == DEAD_MAN:
        dead_man(shard, a)
    else:
        raise AssertionError(moment)


# --- Listing ----------------------------------------------------------------------------------------------------


def list_class(shard: Shard, rules: SetClass) -> None:
    """A new class: hours within its horizon that are not over are listed now, the others at their moment.

    The gate of the hour that runs has passed: it closes at once. In version 1 such an hour is not listed.
    """
    hour_now = shard.time_ms // MS_PER_HOUR
    after_horizon = hour_now + rules.horizon_hours + 1
    for hour in range(max(hour_now, rules.first_hour), min(after_horizon, HOUR_MAX)):
        gate_ms = hour * MS_PER_HOUR - rules.gate_ms
        end_ms = gate_ms if shard.version == 1 else (hour + 1) * MS_PER_HOUR - rules.running_close_ms
        if end_ms > shard.time_ms:
            _list(shard, rules.class_no, hour)
            if gate_ms <= shard.time_ms:
                shard.moments.remove(Moment(gate_ms, GATE_CLOSED, rules.class_no, hour))
                _close_gate(shard, shard.contracts[contract_of(rules.class_no, hour)])
    _list_later(shard, rules.class_no, max(rules.first_hour, after_horizon))


def _list_later(shard: Shard, class_no: int, hour: Hour) -> None:
    if hour < HOUR_MAX:
        due_ms = (hour - shard.classes[class_no].rules.horizon_hours) * MS_PER_HOUR
        shard.moments.add(Moment(due_ms, LISTED, class_no, hour))


def _list(shard: Shard, class_no: int, hour: Hour) -> None:
    number, rules = contract_of(class_no, hour), shard.classes[class_no].rules
    assert number not in shard.contracts
    shard.contracts[number] = Contract(number)
    shard.events.append(ev.ContractListed(number))
    begin_ms, end_ms = hour * MS_PER_HOUR, (hour + 1) * MS_PER_HOUR
    if shard.version >= 2 and shard.time_ms < begin_ms - rules.cover_ms:
        shard.moments.add(Moment(begin_ms - rules.cover_ms, COVER_DEADLINE, class_no, hour))
    shard.moments.add(Moment(begin_ms - rules.gate_ms, GATE_CLOSED, class_no, hour))
    shard.moments.add(Moment(end_ms - rules.running_close_ms, RUNNING_CLOSED, class_no, hour))
    shard.moments.add(Moment(end_ms, HOUR_ENDED, class_no, hour))


def _open_later(shard: Shard, class_no: int, hour: Hour) -> None:
    if shard.version >= 2:
        shard.contracts[contract_of(class_no, hour)].state = State.POST_ONLY
        shard.events.append(ev.StateReached(class_no, hour, State.POST_ONLY))
        shard.moments.add(Moment(shard.time_ms + OPENS_AFTER_MS, STATE, class_no, hour))


# --- Phases end -------------------------------------------------------------------------------------------------


def _close_gate(shard: Shard, contract: Contract) -> None:
    number = contract.number
    for order in contract.resting:
        if not order.flags & Flag.RUNNING:
            shard.remove(order, Reason.GATE_CLOSED)
    for block in list(shard.blocks):
        if number in block.contracts:
            shard.remove(block, Reason.GATE_CLOSED)
    contract.gate_open = False
    for account in sorted(shard.accounts):
        shard.cut_asks(account, number)
        for ground in FORWARD:
            shard.backing(account, number, ground).qty = 0
    shard.events.append(ev.GateClosed(number))


def _close_running(shard: Shard, number: int) -> None:
    contract = shard.contracts.get(number)
    if contract is not None:
        _end_running(shard, contract)
        contract.running_closed = True
    shard.events.append(ev.RunningClosed(number))


def _end_running(shard: Shard, contract: Contract) -> None:
    """Nothing rests any more, and what is ready and not sold is free."""
    for ask in list(contract.books[Side.SELL]):
        shard.remove(ask, Reason.RUNNING_CLOSED)
    for account in shard.accounts:
        backing = shard.backing(account, contract.number, Ground.READY)
        backing.qty = min(backing.qty, contract.titles.owed(account, Ground.READY))


def _end_hour(shard: Shard, contract: Contract) -> None:
    number = contract.number
    _end_running(shard, contract)
    assert not contract.resting
    titles = sorted(contract.titles.alive, key=lambda title: title.number)
    for t in titles:
        ended = ev.TitleEnded(
            number, t.number, t.obligor, t.holder, t.ground, t.qty, t.minutes, t.proceeds, t.cost, t.escrow
        )
        shard.events.append(ended)
    total = 0
    for account in sorted(shard.accounts):
        amount = shard.collateral_in(account, number)
        if amount > 0:
            shard.accounts[account].cash -= amount
            total += amount
            shard.events.append(ev.CollateralMoved(number, account, amount))
    escrow = contract.titles.escrow()
    shard.paid_out += escrow + total
    shard.events.append(ev.HourEnded(number, len(titles), escrow, total))
    del shard.contracts[number]
    shard.backings = {key: backing for key, backing in shard.backings.items() if key[1] != number}
