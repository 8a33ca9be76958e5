"""Requests that open accounts and list classes. Pure. Each is told to shards, and done when they have confirmed it."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas import requests as rq
from schemas.commands import Role, SetAccount, SetClass
from schemas.listing import CLASS_NO_MAX, can_be_listed
from schemas.units import collar
from services.settlement import rows
from services.settlement.answers import NAME_MAX, Answer, Pending, Refused
from services.settlement.ledger import Origin
from services.settlement.refusals import is_text
from services.settlement.state import State

SPECIFICATION_MAX: Final = 65_536
"""Bytes."""


def open_account(state: State, at: Origin, request: rq.OpenAccount) -> Answer:
    """A new account with a wallet, in every shard."""
    if not is_text(request.name, 1, NAME_MAX):
        return Refused("wrong_name", NAME_MAX)
    if request.owner != 0 and request.owner not in state.owners:
        # A number made up today would be a stranger's account tomorrow.
        return Refused("unknown_owner")
    if fault := _wrong_terms(request.role, request.fee_plan):
        return fault
    # --- from here on it happens
    number = state.number("account")
    account = rows.Account(
        number, request.owner or number, request.name, request.role, request.fee_plan, request.desk, at.time_ms
    )
    state.accounts[number] = account
    state.owners.add(account.owner)
    state.changes.accounts.create(number, account)
    _set_everywhere(state, account, account.role, account.fee_plan, request.request_id)
    return Pending(number, {"account": number, "owner": account.owner})


def set_account_role(state: State, request: rq.SetAccountRole) -> Answer:
    """Other terms for an account, in every shard."""
    account = state.accounts.get(request.account)
    if account is None:
        return Refused("unknown_account")
    if fault := _wrong_terms(request.role, request.fee_plan):
        return fault
    # --- from here on it happens
    _set_everywhere(state, account, request.role, request.fee_plan, request.request_id)
    return Pending(account.account, {"account": account.account, "role": request.role})


def _wrong_terms(role: int, fee_plan: int) -> Refused | None:
    if role not in tuple(Role):
        return Refused("wrong_role")
    return Refused("not_offered_yet") if fee_plan != 0 else None


def _set_everywhere(state: State, account: rows.Account, role: int, fee_plan: int, request_id: str) -> None:
    for shard in state.shards:
        number = state.next_outbox(shard.number)
        state.send(shard.number, SetAccount(number, account.account, account.owner, role, fee_plan), request_id)


def list_class(state: State, request: rq.ListClass) -> Answer:
    """A class into a shard; the same again changes nothing."""
    if not 0 <= request.shard < len(state.shards):
        return Refused("unknown_shard")
    # What the engine checks, so that the row can be written before the engine has spoken.
    if not can_be_listed(request) or len(request.specification) > SPECIFICATION_MAX:
        return Refused("wrong_class")
    number = state.class_nos.get(request.class_id)
    listed = _class_row(number or state.last("class") + 1, request)
    if listed is None or listed.class_no > CLASS_NO_MAX:
        return Refused("wrong_class")
    if number is not None and not _same_class(state.classes[number], listed):
        return Refused("wrong_class")
    # --- from here on it happens
    if number is None:
        assert listed.class_no == state.number("class")
        state.classes[listed.class_no] = listed
        state.class_nos[listed.class_id] = listed.class_no
        state.changes.classes.create(listed.class_no, listed)
    state.send(
        request.shard, _set_class(state.next_outbox(request.shard), listed.class_no, request), request.request_id
    )
    return Pending(0, {"class_no": listed.class_no})


def _class_row(class_no: int, request: rq.ListClass) -> rows.ClassRow | None:
    """None: the specification is not text."""
    try:
        specification = request.specification.decode()
    except UnicodeDecodeError:
        return None
    if "\x00" in specification:
        return None
    fees = request.fees
    return rows.ClassRow(
        class_no,
        request.class_id,
        request.shard,
        specification,
        request.lot,
        request.tick,
        request.list_price,
        fees.buyer_maker,
        fees.buyer_taker,
        fees.seller_maker,
        fees.seller_taker,
        request.horizon_hours,
        request.gate_ms,
        request.cover_ms,
        request.running_close_ms,
        request.collar_low_bp,
        request.collar_high_bp,
        request.first_hour,
        False,
        1,
        request.list_price,
        *collar(request.list_price, request.collar_low_bp, request.collar_high_bp),
    )


def _same_class(ours: rows.ClassRow, asked: rows.ClassRow) -> bool:
    """But for what happened to it since, a class never changes."""
    happened = {name: getattr(ours, name) for name in rows.ClassRow.TABLE.changing}
    return ours == msgspec.structs.replace(asked, **happened)


def _set_class(outbox: int, class_no: int, request: rq.ListClass) -> SetClass:
    return SetClass(
        outbox,
        class_no,
        request.class_id,
        request.lot,
        request.tick,
        request.list_price,
        request.fees,
        request.horizon_hours,
        request.gate_ms,
        request.cover_ms,
        request.running_close_ms,
        request.collar_low_bp,
        request.collar_high_bp,
        request.first_hour,
    )
