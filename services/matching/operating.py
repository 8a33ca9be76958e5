"""What operators and the shard's own shell ask: states, corrections in cash, references of collars, engine versions. Pure."""

from __future__ import annotations

from typing import Final

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import ALL_HOURS, State
from schemas.events import Code
from schemas.ids import is_client_id
from schemas.units import AMOUNT_MAX, Millis, Price
from services.matching.backing import cut_promises
from services.matching.literals import CANCEL_ONLY, HALTED, OPEN
from services.matching.moments import OPENING_MS, set_state
from services.matching.state import STATE, Contract, Listed, Refusal, Shard

ENGINE_VERSIONS: Final = (1, 2)
MOVE_MS: Final = 60_000
"""A reference moves at most so often."""
FROM_LIST_PRICE: Final = 10
"""How many times the list price, or which part of it, a reference may be."""
APPROVAL_MS_MAX: Final = 1_200_000
"""Our clock: for how long at most an approval may still be good. Twice what gateways give it, as clocks differ."""


def change_state(shard: Shard, index: int, c: cmd.SetState) -> None:
    """Halt, restrict or open. What was halted opens by way of a reopening."""
    if not State.OPEN <= c.state <= State.HALTED:
        return shard.reject(index, c.operator, Code.WRONG_STATE)
    target = _target(shard, c.class_no, c.hour)
    if target is None:
        code = Code.UNKNOWN_CONTRACT if c.class_no in shard.classes else Code.UNKNOWN_CLASS
        return shard.reject(index, c.operator, code)
    # From here on it cannot be refused.
    state = c.state
    if target.next_ms:
        shard.due_dead += 1
        target.next_ms = 0
    if shard.version > 1 and state == OPEN and target.state == HALTED:
        state = CANCEL_ONLY
        target.next_ms = shard.time_ms + OPENING_MS
        shard.plan(target.next_ms, STATE, c.class_no, c.hour)
    shard.out.append(ev.StateSet(index, c.operator, c.class_no, c.hour, state, c.reason))
    set_state(shard, c.class_no, c.hour, target, state)
    return None


def _target(shard: Shard, class_no: int, hour: int) -> Contract | Listed | None:
    if class_no not in shard.classes:
        return None
    return shard.classes[class_no] if hour == ALL_HOURS else shard.listed_contract(class_no, hour)


def set_version(shard: Shard, index: int, c: cmd.SetEngineVersion) -> None:
    """The rules of another engine version, from the next record on."""
    if c.version not in ENGINE_VERSIONS or c.version < shard.version_next:
        return shard.reject(index, c.operator, Code.WRONG_VERSION)
    shard.version_next = c.version
    shard.out.append(ev.EngineVersionSet(index, c.operator, c.version))
    return None


def correct_cash(shard: Shard, index: int, c: cmd.CorrectCash) -> None:
    """A clear error is put right in cash, by two operators who are not one owner, in public."""
    refusal = _refusal_of_correction(shard, c)
    if refusal is not None:
        return shard.reject(index, c.operator, refusal[0], "", refusal[1], refusal[2])
    # From here on it cannot be refused.
    shard.approvals = {name: until for name, until in shard.approvals.items() if until >= shard.time_ms}
    shard.approvals[c.approval] = c.valid_until_ms
    shard.accounts[c.payer].cash -= c.amount
    shard.accounts[c.payee].cash += c.amount
    assert shard.accounts[c.payer].available >= 0, f"M3: account {c.payer} pays more than it has"
    shard.out.append(
        ev.CashCorrected(index, c.operator, c.second_operator, c.payer, c.payee, c.amount, c.trade, c.reason)
    )
    return None


def _refusal_of_correction(shard: Shard, c: cmd.CorrectCash) -> Refusal | None:
    if shard.time_ms > c.valid_until_ms:
        return Code.TOO_LATE, 0, 0
    if c.valid_until_ms > shard.time_ms + APPROVAL_MS_MAX * shard.rate:
        return Code.WRONG_VALIDITY, 0, 0
    if any(number not in shard.accounts for number in (c.operator, c.second_operator, c.payer, c.payee)):
        return Code.UNKNOWN_ACCOUNT, 0, 0
    if not is_client_id(c.approval) or shard.approvals.get(c.approval, -1) >= shard.time_ms:
        return Code.WRONG_APPROVAL, 0, 0
    if shard.accounts[c.operator].owner == shard.accounts[c.second_operator].owner or c.payer == c.payee:
        return Code.WRONG_OWNER, 0, 0
    if not 0 < c.amount <= AMOUNT_MAX:
        return Code.WRONG_AMOUNT, 0, 0
    if not 0 < c.trade <= shard.trade_last:
        return Code.UNKNOWN_TRADE, 0, 0
    available = shard.accounts[c.payer].available
    return (Code.INSUFFICIENT_FUNDS, c.amount, available) if c.amount > available else None


def move_reference(shard: Shard, index: int, c: cmd.MoveReference) -> None:
    """A collar follows its reference; promises whose collateral a higher cap leaves behind are cut."""
    target = _target(shard, c.class_no, c.hour)
    if target is None:
        code = Code.UNKNOWN_CONTRACT if c.class_no in shard.classes else Code.UNKNOWN_CLASS
        return shard.reject(index, 0, code)
    listed = shard.classes[c.class_no]
    refusal = _refusal_of_move(shard.time_ms, listed, target, c.price)
    if refusal is not None:
        return shard.reject(index, 0, refusal[0], "", refusal[1], refusal[2])
    # From here on it cannot be refused.
    low, high = listed.collar(c.price)
    shard.out.append(ev.ReferenceMoved(index, c.class_no, c.hour, c.price, c.source, low, high))
    target.reference, target.moved_ms = c.price, shard.time_ms
    if isinstance(target, Listed):
        target.low, target.high = low, high
        moved = [k for k in shard.contracts.values() if k.listed is listed and not k.reference]
    else:
        moved = [target]
    for contract in sorted(moved, key=_by_number):
        cap = contract.high
        contract.low, contract.high = low, high
        if high > cap:
            cut_promises(shard, contract)
    return None


def _by_number(contract: Contract) -> int:
    return contract.contract


def _refusal_of_move(time_ms: Millis, listed: Listed, target: Contract | Listed, price: Price) -> Refusal | None:
    if target.moved_ms >= 0 and time_ms < target.moved_ms + MOVE_MS:
        return Code.TOO_SOON, target.moved_ms + MOVE_MS, 0
    list_price, before = listed.spec.list_price, target.reference or listed.reference
    for low, high in (
        (-(-list_price // FROM_LIST_PRICE), list_price * FROM_LIST_PRICE),
        (-(-before // 2), before * 2),
    ):
        if not low <= price <= high:
            return Code.WRONG_REFERENCE, (low if price < low else high), 0
    return None
