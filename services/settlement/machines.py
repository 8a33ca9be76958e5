"""Requests about what stands behind hours for sale: backing, and machines bought for it. Pure."""

from __future__ import annotations

from typing import Final

from schemas import requests as rq
from schemas.commands import Ground, Role, SetBacking
from schemas.ids import HOUR_MASK, contract_of
from schemas.units import AMOUNT_MAX, PRICE_MAX, QTY_MAX
from services.settlement import rows
from services.settlement.answers import NAME_MAX, Answer, Done, Pending, Refused
from services.settlement.backing import READY
from services.settlement.ledger import EXTERNAL, USD, WALLET, Origin
from services.settlement.refusals import NUMBER_MAX, is_text
from services.settlement.state import State, decode_outbox

HOURS_MAX: Final = 1_024
DECLARED: Final = int(Ground.DECLARED)


def back(state: State, request: rq.Back) -> Answer:
    """The engine judges roles, hours and funds: only it knows them at the moment that counts. One thing it cannot tell.

    A market maker's machines are bought for it (`Procure`): by its own word it would have more of them than were paid for.
    """
    account, of_class = state.accounts.get(request.account), state.classes.get(request.class_no)
    if account is None:
        return Refused("unknown_account")
    if of_class is None:
        return Refused("unknown_class")
    if fault := _wrong_hours(request.hours):
        return fault
    if not 0 < request.version <= NUMBER_MAX:
        return Refused("stale_version")
    if not 0 <= request.collateral_price <= PRICE_MAX:
        return Refused("wrong_collateral")
    if request.ground == Ground.DECLARED and state.role_of(account, of_class.shard) == Role.MARKET_MAKER:
        return Refused("wrong_role")
    # --- from here on it happens
    command = SetBacking(
        state.next_outbox(of_class.shard),
        request.account,
        request.class_no,
        request.hours,
        request.ground,
        request.qty,
        request.collateral_price,
        request.version,
    )
    state.send(of_class.shard, command, request.request_id)
    return Pending(request.account, {})


def procure(state: State, at: Origin, request: rq.Procure) -> Answer:
    """One message, so that all of its hours get their machines or none does, and the cost goes or comes back as a whole."""
    account, of_class = state.accounts.get(request.account), state.classes.get(request.class_no)
    if account is None:
        return Refused("unknown_account")
    if of_class is None:
        return Refused("unknown_class")
    if fault := _wrong_hours(request.hours) or _wrong_procurement(state, account, of_class, request):
        return fault
    if request.title:
        return _procure_ready(state, at, request)
    if _is_on_its_way(state, account, of_class):
        # What it will be is not known before the shard has answered. Nothing is paid for; it can be asked again.
        return Refused("not_ready")
    shard = state.shards[of_class.shard]
    known = [
        shard.backing.find(contract_of(request.class_no, hour), account.account, DECLARED) for hour in request.hours
    ]
    qty, version = {row.qty if row else 0 for row in known}, max(row.version if row else 0 for row in known)
    if len(qty) > 1:
        return Refused("different_backing")
    total = qty.pop() + request.qty
    if total > QTY_MAX or version == NUMBER_MAX:
        return Refused("wrong_qty", of_class.lot)
    have = state.ledger.wallet(request.account)
    if request.cost > have:
        return Refused("insufficient_funds", request.cost, have)
    # --- from here on it happens
    provider = _pay_for_machines(state, at, request)
    command = SetBacking(
        state.next_outbox(shard.number),
        request.account,
        request.class_no,
        request.hours,
        DECLARED,
        total,
        0,
        version + 1,
    )
    state.send(shard.number, command, request.request_id)
    return Pending(request.account, {"cost": request.cost, "provider": provider, "declared": total})


def _procure_ready(state: State, at: Origin, request: rq.Procure) -> Answer:
    """On demand: the machine is bought when its minutes are sold, and once."""
    contract = contract_of(request.class_no, request.hours[0])
    title = state.shards[state.classes[request.class_no].shard].titles.titles.get(request.title)
    named = (contract, request.account, READY, request.qty, "live")
    if len(request.hours) != 1 or title is None:
        return Refused("unknown_title")
    if (title.contract, title.obligor, title.ground, title.qty, title.state) != named:
        return Refused("unknown_title")
    if title.title in state.procured.get(contract, ()):
        return Refused("procured_before")
    have = state.ledger.wallet(request.account)
    if request.cost > have:
        return Refused("insufficient_funds", request.cost, have)
    # --- from here on it happens
    provider = _pay_for_machines(state, at, request)
    state.procured.setdefault(contract, set()).add(title.title)
    row = rows.Procurement(contract, title.title, request.account, request.cost, request.request_id)
    state.changes.procurements.create((contract, title.title), row)
    return Done(request.account, {"cost": request.cost, "provider": provider, "title": title.title})


def _pay_for_machines(state: State, at: Origin, request: rq.Procure) -> int:
    """The provider's number."""
    provider = state.provider(request.provider)
    state.ledger.post(
        at,
        0,
        "simulated procurement",
        (
            (WALLET, 0, request.account, USD, -request.cost),
            (EXTERNAL, 0, provider, USD, request.cost),
        ),
    )
    return provider


def _wrong_procurement(
    state: State, account: rows.Account, of_class: rows.ClassRow, request: rq.Procure
) -> Refused | None:
    if state.role_of(account, of_class.shard) == Role.MEMBER:
        return Refused("wrong_role")
    if not 0 < request.qty <= QTY_MAX or request.qty % of_class.lot:
        return Refused("wrong_qty", of_class.lot)
    if not 0 < request.cost <= AMOUNT_MAX:
        return Refused("wrong_amount")
    if not is_text(request.provider, 1, NAME_MAX):
        return Refused("wrong_provider")
    if not request.provider.startswith("simulated"):
        return Refused("not_offered_yet")
    return None


def _is_on_its_way(state: State, account: rows.Account, of_class: rows.ClassRow) -> bool:
    """Whether DECLARED backing of the account is about to change."""
    on_its_way = (decode_outbox(row.body) for row in state.shards[of_class.shard].unconfirmed.values())
    return any(
        isinstance(command, SetBacking) and (command.account, command.ground) == (account.account, DECLARED)
        for command in on_its_way
    )


def _wrong_hours(hours: tuple[int, ...]) -> Refused | None:
    if not 1 <= len(hours) <= HOURS_MAX:
        return Refused("wrong_hours", HOURS_MAX, len(hours))
    return None if all(0 < hour <= HOUR_MASK for hour in hours) else Refused("unknown_contract")
