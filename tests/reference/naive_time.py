"""What time alone causes: docs/engine.md, "One record". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import SetClass, Side
from schemas.events import Reason
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR, Hour
from tests.reference.naive_shard import Contract, Moment, Shard
from tests.reference.naive_titles import FORWARD

HOUR_MAX = 2**24
HOUR_ENDED, RUNNING_CLOSED, GATE_CLOSED, LISTED = range(4)


def let_time_pass(shard: Shard) -> None:
    """Everything due at or before the shard's time happens, one after the other."""
    while shard.moments and shard.moments[0].due_ms <= shard.time_ms:
        _, kind, class_no, hour = shard.moments.pop(0)
        number = contract_of(class_no, hour)
        if kind == HOUR_ENDED:
            _end_hour(shard, shard.contracts[number])
        elif kind == RUNNING_CLOSED:
            shard.events.append(ev.RunningClosed(number))
        elif kind == GATE_CLOSED:
            _close_gate(shard, shard.contracts[number])
        else:
            _list(shard, class_no, hour)
            _list_later(shard, class_no, hour + 1)


def list_class(shard: Shard, rules: SetClass) -> None:
    """A new class: hours within its horizon whose gate is open are listed now, the others at their moment."""
    hour_now = shard.time_ms // MS_PER_HOUR
    after_horizon = hour_now + rules.horizon_hours + 1
    for hour in range(max(hour_now, rules.first_hour), min(after_horizon, HOUR_MAX)):
        if hour * MS_PER_HOUR - rules.gate_ms > shard.time_ms:
            _list(shard, rules.class_no, hour)
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
    shard.moments.add(Moment(begin_ms - rules.gate_ms, GATE_CLOSED, class_no, hour))
    shard.moments.add(Moment(end_ms - rules.running_close_ms, RUNNING_CLOSED, class_no, hour))
    shard.moments.add(Moment(end_ms, HOUR_ENDED, class_no, hour))


def _close_gate(shard: Shard, contract: Contract) -> None:
    for order in contract.resting:
        shard.remove(order, Reason.GATE_CLOSED)
    contract.gate_open = False
    for (_, number, ground), backing in shard.backings.items():
        if number == contract.number and ground in FORWARD:
            backing.qty = 0
    shard.events.append(ev.GateClosed(contract.number))


def _end_hour(shard: Shard, contract: Contract) -> None:
    number = contract.number
    titles = sorted(contract.titles.holding, key=lambda title: title.number)
    for t in titles:
        ended = ev.TitleEnded(number, t.number, t.obligor, t.holder, t.ground, t.qty, 60, t.proceeds, t.cost, t.escrow)
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
    assert not contract.books[Side.BUY]
    assert not contract.books[Side.SELL]
    del shard.contracts[number]
    shard.backings = {key: backing for key, backing in shard.backings.items() if key[1] != number}
