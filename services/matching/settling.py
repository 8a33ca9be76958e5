"""Settlement's messages: accounts, money and classes. Pure. Backing has a module of its own."""

from __future__ import annotations

from typing import Any, assert_never

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Role
from schemas.events import Code
from schemas.ids import HOUR_MASK
from schemas.listing import CLASS_NO_MAX, can_be_listed
from schemas.units import AMOUNT_MAX, MS_PER_HOUR
from services.matching.backing import set_backing
from services.matching.moments import list_hour, list_next
from services.matching.state import Account, Listed, Refusal, Shard


def apply_message(shard: Shard, index: int, command: cmd.OutboxCommand) -> None:
    """Apply it when its number is the next one; a refusal uses the number up."""
    expected = shard.outbox_last + 1
    if command.outbox != expected:
        shard.out.append(ev.OutboxSkipped(index, command.outbox, expected))
        return
    shard.outbox_last = expected
    refusal: Refusal | None
    match command:
        case cmd.SetAccount():
            refusal = _set_account(shard, index, command)
        case cmd.Credit():
            refusal = _credit(shard, index, command)
        case cmd.Sweep():
            refusal = _sweep(shard, index, command)
        case cmd.SetBacking():
            refusal = set_backing(shard, index, command)
        case cmd.SetClass():
            refusal = _set_class(shard, index, command)
        case _:
            assert_never(command)
    if refusal is not None:
        account = 0 if isinstance(command, cmd.SetClass) else command.account
        shard.out.append(ev.OutboxRejected(index, command.outbox, account, int(refusal[0]), refusal[1], refusal[2]))


def _set_account(shard: Shard, index: int, c: cmd.SetAccount) -> Refusal | None:
    if c.account <= 0 or c.owner <= 0:
        return Code.UNKNOWN_ACCOUNT, 0, 0
    account = shard.accounts.get(c.account)
    if account is not None and account.owner != c.owner:
        return Code.WRONG_OWNER, 0, 0
    if not Role.MEMBER <= c.role <= Role.MARKET_MAKER:
        return Code.WRONG_ROLE, 0, 0
    if c.fee_plan != 0:
        return Code.NOT_OFFERED_YET, 0, 0
    if account is None:
        shard.accounts[c.account] = Account(c.account, c.owner, c.role, c.fee_plan)
    else:
        account.role = c.role
    shard.out.append(ev.AccountSet(index, c.outbox, c.account, c.owner, c.role, c.fee_plan))
    return None


def _credit(shard: Shard, index: int, c: cmd.Credit) -> Refusal | None:
    account = shard.accounts.get(c.account)
    if account is None:
        return Code.UNKNOWN_ACCOUNT, 0, 0
    if not 0 < c.amount <= AMOUNT_MAX:
        return Code.WRONG_AMOUNT, 0, 0
    account.cash += c.amount
    shard.out.append(ev.Credited(index, c.outbox, c.account, c.amount, account.cash))
    return None


def _sweep(shard: Shard, index: int, c: cmd.Sweep) -> Refusal | None:
    account = shard.accounts.get(c.account)
    if account is None:
        return Code.UNKNOWN_ACCOUNT, 0, 0
    if not 0 < c.amount <= AMOUNT_MAX:
        return Code.WRONG_AMOUNT, 0, 0
    amount = min(c.amount, max(account.available, 0))
    account.cash -= amount
    shard.out.append(ev.Swept(index, c.outbox, c.account, amount, account.cash))
    return None


def _set_class(shard: Shard, index: int, c: cmd.SetClass) -> Refusal | None:
    event = ev.ClassSet(
        index,
        c.outbox,
        c.class_no,
        c.class_id,
        c.lot,
        c.tick,
        c.list_price,
        c.fees,
        c.horizon_hours,
        c.gate_ms,
        c.cover_ms,
        c.running_close_ms,
        c.collar_low_bp,
        c.collar_high_bp,
        c.first_hour,
    )
    known = shard.classes.get(c.class_no)
    if (
        not 1 <= c.class_no <= CLASS_NO_MAX
        or not can_be_listed(c)
        or (known is not None and not _same_class(known.spec, event))
    ):
        return Code.WRONG_CLASS, 0, 0
    if known is None and any(listed.spec.class_id == c.class_id for listed in shard.classes.values()):
        return Code.WRONG_CLASS, 0, 0
    shard.out.append(event)
    if known is None:
        shard.classes[c.class_no] = Listed(event)
        hour_now = shard.time_ms // MS_PER_HOUR
        # From the hour that runs; the first version began with the next one whose gate is open.
        now = (shard.time_ms + c.running_close_ms) // MS_PER_HOUR
        first = max(c.first_hour, now if shard.version > 1 else (shard.time_ms + c.gate_ms) // MS_PER_HOUR + 1)
        last = hour_now + c.horizon_hours
        for hour in range(first, min(last, HOUR_MASK) + 1):
            list_hour(shard, c.class_no, hour, opening=False)
        list_next(shard, c.class_no, max(first, last + 1))
    return None


def _same_class(known: ev.ClassSet, new: ev.ClassSet) -> bool:
    return _values(known) == _values(new)


def _values(spec: ev.ClassSet) -> tuple[Any, ...]:
    """All but index and outbox."""
    return tuple([getattr(spec, name) for name in spec.__struct_fields__[2:]])
