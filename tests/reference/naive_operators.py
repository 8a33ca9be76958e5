"""What operators and the shard's own shell may do: docs/engine.md, "Operators, and the shard's own shell". Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import ALL_HOURS, CorrectCash, MoveReference, SetEngineVersion, SetState, State
from schemas.events import Code
from schemas.ids import class_no_of, contract_of, is_client_id
from schemas.units import AMOUNT_MAX, MS_PER_HOUR, Hour, Millis
from tests.reference.naive_cover import cut_below
from tests.reference.naive_shard import COVER_DEADLINE, HOUR_MAX, STATE, Class, Contract, Moment, Refusal, Shard, collar

ENGINE_VERSIONS = (1, 2)
REOPENING_MS, OPENING_MS = 60_000, 30_000
REFERENCE_MS = 60_000
APPROVAL_MS = 1_200_000


def _target(shard: Shard, class_no: int, hour: Hour) -> Class | Contract | Refusal:
    """A class, or one of its contracts."""
    if class_no not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if hour == ALL_HOURS:
        return shard.classes[class_no]
    contract = shard.contracts.get(contract_of(class_no, hour)) if 0 < hour < HOUR_MAX else None
    return contract or Refusal(Code.UNKNOWN_CONTRACT)


# --- States -----------------------------------------------------------------------------------------------------


def set_state(shard: Shard, body: SetState) -> Refusal | None:
    """As asked, but that a halt ends by a reopening."""
    if body.state not in {State.OPEN, State.POST_ONLY, State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.WRONG_STATE)
    target = _target(shard, body.class_no, body.hour)
    if isinstance(target, Refusal):
        return target
    reopens = shard.version >= 2 and (target.state, body.state) == (State.HALTED, State.OPEN)
    for moment in [its for its in shard.moments if its[1:] == (STATE, body.class_no, body.hour)]:
        shard.moments.remove(moment)
    target.state = State.CANCEL_ONLY if reopens else body.state
    if reopens:
        shard.moments.add(Moment(shard.time_ms + REOPENING_MS, STATE, body.class_no, body.hour))
    b = body
    shard.events.append(ev.StateSet(shard.index, b.operator, b.class_no, b.hour, target.state, b.reason))
    return None


def state_is_due(shard: Shard, due_ms: Millis, class_no: int, hour: Hour) -> None:
    """An opening or reopening goes on."""
    target = _target(shard, class_no, hour)
    if isinstance(target, Refusal):
        return  # the contract is gone
    if target.state == State.CANCEL_ONLY:
        target.state = State.POST_ONLY
        shard.moments.add(Moment(due_ms + OPENING_MS, STATE, class_no, hour))
    else:
        assert target.state == State.POST_ONLY
        target.state = State.OPEN
    shard.events.append(ev.StateReached(class_no, hour, target.state))


# --- Versions ---------------------------------------------------------------------------------------------------


def set_engine_version(shard: Shard, body: SetEngineVersion) -> Refusal | None:
    """From the next record on."""
    if body.version not in ENGINE_VERSIONS or body.version < shard.version_next:
        return Refusal(Code.WRONG_VERSION)
    shard.version_next = body.version
    shard.events.append(ev.EngineVersionSet(shard.index, body.operator, body.version))
    return None


def turn_version(shard: Shard) -> None:
    """A record begins: what was set before holds now."""
    if shard.version == 1 and shard.version_next == 2:
        for number, contract in shard.contracts.items():
            if contract.gate_open:
                hour = number - contract_of(class_no_of(number), 0)
                due_ms = hour * MS_PER_HOUR - shard.rules(number).cover_ms
                shard.moments.add(Moment(due_ms, COVER_DEADLINE, class_no_of(number), hour))
    shard.version = shard.version_next


# --- Money and prices ---------------------------------------------------------------------------------------------


def correct_cash(shard: Shard, body: CorrectCash) -> Refusal | None:
    """Two operators of different owners put a clear error right, once under one approval."""
    if shard.time_ms > body.valid_until_ms:
        return Refusal(Code.TOO_LATE)
    if body.valid_until_ms > shard.time_ms + APPROVAL_MS * shard.start.rate:
        return Refusal(Code.WRONG_VALIDITY)
    if any(its not in shard.accounts for its in (body.operator, body.second_operator, body.payer, body.payee)):
        return Refusal(Code.UNKNOWN_ACCOUNT)
    if not is_client_id(body.approval):
        return Refusal(Code.WRONG_APPROVAL)
    if any(made.approval == body.approval and made.valid_until_ms >= shard.time_ms for made in shard.corrections):
        return Refusal(Code.WRONG_APPROVAL)
    if shard.same_owner(body.operator, body.second_operator) or body.payer == body.payee:
        return Refusal(Code.WRONG_OWNER)
    if not 0 < body.amount <= AMOUNT_MAX:
        return Refusal(Code.WRONG_AMOUNT)
    if not 1 <= body.trade <= shard.trades.last:
        return Refusal(Code.UNKNOWN_TRADE)
    available = shard.available(body.payer)
    if body.amount > available:
        return Refusal(Code.INSUFFICIENT_FUNDS, body.amount, available)
    shard.corrections.append(body)
    shard.accounts[body.payer].cash -= body.amount
    shard.accounts[body.payee].cash += body.amount
    b = body
    corrected = ev.CashCorrected(
        shard.index, b.operator, b.second_operator, b.payer, b.payee, b.amount, b.trade, b.reason
    )
    shard.events.append(corrected)
    return None


def move_reference(shard: Shard, body: MoveReference) -> Refusal | None:
    """The collar of a class or contract moves; promises below a higher cap are cut."""
    target = _target(shard, body.class_no, body.hour)
    if isinstance(target, Refusal):
        return target
    if target.moved_ms is not None and shard.time_ms < target.moved_ms + REFERENCE_MS:
        return Refusal(Code.TOO_SOON, target.moved_ms + REFERENCE_MS)
    rules = shard.classes[body.class_no].rules
    in_force = target.reference if isinstance(target, Class) else shard.reference(target.number)
    assert in_force is not None
    for low, high in (
        (-(-rules.list_price // 10), rules.list_price * 10),
        (-(-in_force // 2), in_force * 2),
    ):
        if not low <= body.price <= high:
            return Refusal(Code.WRONG_REFERENCE, low if body.price < low else high)
    caps = {number: shard.collar(number)[1] for number in shard.contracts if class_no_of(number) == body.class_no}
    target.reference, target.moved_ms = body.price, shard.time_ms
    moved = ev.ReferenceMoved(
        shard.index, body.class_no, body.hour, body.price, body.source, *collar(rules, body.price)
    )
    shard.events.append(moved)
    cut_below(shard, caps)
    return None
