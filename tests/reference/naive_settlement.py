"""Settlement's messages to the shard: docs/engine.md, "Settlement's messages". Pure."""

from __future__ import annotations

from typing import assert_never

import msgspec

from schemas import events as ev
from schemas.commands import Credit, Ground, OutboxCommand, Role, SetAccount, SetBacking, SetClass, Sweep
from schemas.events import Code
from schemas.ids import contract_of, is_class_id
from schemas.units import AMOUNT_MAX, BP, MS_PER_HOUR, PRICE_MAX, QTY_MAX, Hour
from tests.reference.naive_shard import HOUR_MAX, Account, Backing, Class, Phase, Refusal, Shard
from tests.reference.naive_time import list_class


def hear(shard: Shard, body: OutboxCommand) -> None:
    """One message: skipped when it is not the next one, else done or refused, and its number is used up."""
    expected = shard.outbox + 1
    if body.outbox != expected:
        shard.events.append(ev.OutboxSkipped(shard.index, body.outbox, expected))
        return
    shard.outbox = expected
    match body:
        case SetAccount():
            refusal = _set_account(shard, body)
        case Credit():
            refusal = _credit(shard, body)
        case Sweep():
            refusal = _sweep(shard, body)
        case SetBacking():
            refusal = _set_backing(shard, body)
        case SetClass():
            refusal = _set_class(shard, body)
        case _:
            assert_never(body)
    if refusal is not None:
        account = 0 if isinstance(body, SetClass) else body.account
        shard.events.append(ev.OutboxRejected(shard.index, body.outbox, account, *refusal))


# --- Accounts and money ---------------------------------------------------------------------------------------


def _set_account(shard: Shard, body: SetAccount) -> Refusal | None:
    known = shard.accounts.get(body.account)
    if body.account <= 0 or body.owner <= 0:
        return Refusal(Code.UNKNOWN_ACCOUNT)
    if known is not None and known.owner != body.owner:
        return Refusal(Code.WRONG_OWNER)
    if body.role not in {Role.MEMBER, Role.PROVIDER, Role.MARKET_MAKER}:
        return Refusal(Code.WRONG_ROLE)
    if body.fee_plan != 0:
        return Refusal(Code.NOT_OFFERED_YET)
    if known is None:
        shard.accounts[body.account] = Account(body.owner, body.role)
    else:
        known.role = body.role
    b = body
    shard.events.append(ev.AccountSet(shard.index, b.outbox, b.account, b.owner, b.role, b.fee_plan))
    return None


def _cannot_move(shard: Shard, body: Credit | Sweep) -> Refusal | None:
    if body.account not in shard.accounts:
        return Refusal(Code.UNKNOWN_ACCOUNT)
    return Refusal(Code.WRONG_AMOUNT) if not 0 < body.amount <= AMOUNT_MAX else None


def _credit(shard: Shard, body: Credit) -> Refusal | None:
    refusal = _cannot_move(shard, body)
    if refusal is None:
        account = shard.accounts[body.account]
        account.cash += body.amount
        shard.paid_in += body.amount
        shard.events.append(ev.Credited(shard.index, body.outbox, body.account, body.amount, account.cash))
    return refusal


def _sweep(shard: Shard, body: Sweep) -> Refusal | None:
    refusal = _cannot_move(shard, body)
    if refusal is None:
        account = shard.accounts[body.account]
        amount = min(body.amount, max(shard.available(body.account), 0))
        account.cash -= amount
        shard.paid_out += amount
        shard.events.append(ev.Swept(shard.index, body.outbox, body.account, amount, account.cash))
    return refusal


# --- Backing --------------------------------------------------------------------------------------------------


def _set_backing(shard: Shard, body: SetBacking) -> Refusal | None:
    refusal = _cannot_back(shard, body)
    if refusal is not None:
        return refusal
    keys = [(body.account, contract_of(body.class_no, hour), body.ground) for hour in body.hours]
    in_force = [shard.backing(*key) for key in keys]
    target = Backing(body.qty, body.collateral_price, body.version)
    for backing in in_force:
        if body.version < 1 or (body.version <= backing.version and backing != target):
            return Refusal(Code.STALE_VERSION, 0, backing.version)
    available, collateral, before = shard.available(body.account), shard.collateral(body.account), dict(shard.backings)
    for key in keys:
        shard.backings[key] = Backing(body.qty, body.collateral_price, body.version)
    increase = shard.collateral(body.account) - collateral
    if increase > 0 and increase > available:
        shard.backings = before
        return Refusal(Code.INSUFFICIENT_FUNDS, min(increase, 2**63 - 1), available)
    _backing_is_set(shard, body, changed=any(backing != target for backing in in_force))
    return None


def _cannot_back(shard: Shard, body: SetBacking) -> Refusal | None:
    """Who, where and how much: everything before versions and funds."""
    if body.account not in shard.accounts:
        return Refusal(Code.UNKNOWN_ACCOUNT)
    if body.class_no not in shard.classes:
        return Refusal(Code.UNKNOWN_CLASS)
    if not 1 <= len(body.hours) <= 1024 or list(body.hours) != sorted(set(body.hours)):
        return Refusal(Code.WRONG_HOURS)
    if body.ground not in {Ground.DECLARED, Ground.PROMISED, Ground.READY}:
        return Refusal(Code.WRONG_GROUND)
    if shard.version == 1 and body.ground == Ground.READY:
        return Refusal(Code.NOT_OFFERED_YET)
    if shard.accounts[body.account].role not in _may_back(shard, body.ground):
        return Refusal(Code.WRONG_ROLE)
    for hour in body.hours:
        if not 0 < hour < HOUR_MAX or contract_of(body.class_no, hour) not in shard.contracts:
            return Refusal(Code.UNKNOWN_CONTRACT, hour)
        if not _in_time(shard, body, hour):
            return Refusal(Code.WRONG_PHASE, hour)
    rules = shard.classes[body.class_no].rules
    if not 0 <= body.qty <= QTY_MAX or body.qty % rules.lot:
        return Refusal(Code.WRONG_QTY, rules.lot)
    return _wrong_collateral(shard, body)


def _may_back(shard: Shard, ground: int) -> set[Role]:
    """The roles that a ground is for."""
    if ground == Ground.PROMISED:
        return {Role.MARKET_MAKER}
    return {Role.PROVIDER} if shard.version == 1 else {Role.PROVIDER, Role.MARKET_MAKER}


def _in_time(shard: Shard, body: SetBacking, hour: Hour) -> bool:
    """Each ground has the phases in which it counts, and promises end before the gate."""
    phase = shard.phase(contract_of(body.class_no, hour))
    if body.ground == Ground.READY:
        return phase != Phase.CLOSED
    cover_ms = hour * MS_PER_HOUR - shard.classes[body.class_no].rules.cover_ms
    covered = shard.version >= 2 and body.ground == Ground.PROMISED and shard.time_ms >= cover_ms
    return phase == Phase.FORWARD and not covered


def _wrong_collateral(shard: Shard, body: SetBacking) -> Refusal | None:
    price, role = body.collateral_price, shard.accounts[body.account].role
    numbers = [contract_of(body.class_no, hour) for hour in body.hours]
    owes = [number for number in numbers if shard.contracts[number].titles.owed(body.account, body.ground)]
    secured = any(shard.backing(body.account, number, body.ground).collateral_price > 0 for number in owes)
    if body.ground == Ground.DECLARED or (body.ground == Ground.READY and role == Role.PROVIDER and not secured):
        return Refusal(Code.WRONG_COLLATERAL) if price != 0 else None
    cap = max(shard.collar(number)[1] for number in numbers)
    if (body.qty > 0 or owes) and price < cap:
        return Refusal(Code.WRONG_COLLATERAL, cap)
    return Refusal(Code.WRONG_COLLATERAL) if not 0 <= price <= PRICE_MAX else None


def _backing_is_set(shard: Shard, body: SetBacking, *, changed: bool) -> None:
    contracts = [contract_of(body.class_no, hour) for hour in body.hours]
    short = max(shard.contracts[number].titles.owed(body.account, body.ground) - body.qty for number in contracts)
    b = body
    backing_set = ev.BackingSet(
        shard.index, b.outbox, b.account, b.class_no, b.hours, b.ground, b.qty, b.collateral_price, b.version,
        changed, max(0, short),
    )  # fmt: skip
    shard.events.append(backing_set)
    for number in contracts:
        if body.ground == Ground.DECLARED:
            _cover(shard, body.account, number)
        shard.cut_asks(body.account, number)


def _cover(shard: Shard, account: int, number: int) -> None:
    """Titles owed as promised move to declared machines, oldest first, while there are some to spare."""
    titles = shard.contracts[number].titles
    while (room := shard.room(account, number)[Ground.DECLARED]) and titles.owed(account, Ground.PROMISED):
        source = titles.owed_by(account, Ground.PROMISED)[0]
        piece = titles.split(source, min(room, source.qty), shard.title_numbers)
        titles.move_to_declared(piece)
        shard.events.append(ev.TitleCovered(number, source.number, piece.number, piece.qty, Ground.DECLARED))


# --- Classes --------------------------------------------------------------------------------------------------


def _set_class(shard: Shard, body: SetClass) -> Refusal | None:
    known = shard.classes.get(body.class_no)
    others = [its.rules.class_id for number, its in shard.classes.items() if number != body.class_no]
    if not _class_is_sound(body) or body.class_id in others:
        return Refusal(Code.WRONG_CLASS)
    values = msgspec.structs.astuple(body)[1:]
    if known is not None and msgspec.structs.astuple(known.rules)[1:] != values:
        return Refusal(Code.WRONG_CLASS)
    shard.events.append(ev.ClassSet(shard.index, body.outbox, *values))
    if known is None:
        shard.classes[body.class_no] = Class(body, body.list_price)
        list_class(shard, body)
    return None


def _class_is_sound(body: SetClass) -> bool:
    return (
        1 <= body.class_no <= 2**20
        and is_class_id(body.class_id)
        and 1 <= body.lot <= 1_000
        and body.tick >= 1
        and 0 < body.list_price <= 10**9
        and body.list_price % body.tick == 0
        and all(0 <= rate <= 1_000 for rate in msgspec.structs.astuple(body.fees))
        and 1 <= body.horizon_hours <= 1_000
        and 0 <= body.gate_ms <= MS_PER_HOUR
        and 0 <= body.cover_ms <= 24 * MS_PER_HOUR
        and 0 <= body.running_close_ms < MS_PER_HOUR
        and 1 <= body.collar_low_bp <= BP <= body.collar_high_bp <= 10 * BP
        and 0 <= body.first_hour < HOUR_MAX
    )
