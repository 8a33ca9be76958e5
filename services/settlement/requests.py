"""One request → checks, entries, messages to a shard, an outcome. Pure.

Checks come first and in a fixed order; the first that fails is the answer: `refused` with a code and its numbers. A
must confirm is `pending`; `events` finishes it. The same body again changes nothing and keeps its first outcome;
another body under the same id is noted in `refusals` (`request_reused`) and leaves the row as it is.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, assert_never

import msgspec

from schemas import requests as rq
from schemas.codec import UNREADABLE
from schemas.commands import Credit, Ground, Role, SetAccount, SetBacking, SetClass, Sweep
from schemas.ids import HOUR_MASK, contract_of, is_class_id
from schemas.units import AMOUNT_MAX, MONEY_MAX, MS_PER_HOUR, PRICE_MAX, QTY_MAX, Micros, Millis
from services.settlement import rows
from services.settlement.contracts import collar_of
from services.settlement.ledger import EXTERNAL, PAYOUT, REQUEST, TRANSIT, USD, WALLET, Origin, simulated
from services.settlement.refusals import NUMBER_MAX, is_text, refuse
from services.settlement.state import State, decode_outbox

Outcome = dict[str, int | bool | str]

ID_MAX: Final = 64
NAME_MAX: Final = 100
DESTINATION_MAX: Final = 200
SPECIFICATION_MAX: Final = 65_536
HOURS_MAX: Final = 1_024
CLASS_NO_MAX: Final = 1 << 20
DECLARED: Final = int(Ground.DECLARED)
READY: Final = int(Ground.READY)
_NEXT_STATE: Final = {"requested": ("sent", "returned"), "sent": ("paid", "returned")}
_decoder: msgspec.msgpack.Decoder[rq.Request] = msgspec.msgpack.Decoder(rq.Request)


class Refused(NamedTuple):
    """Nothing changed. `need` and `have` are the numbers of the code's sentence."""

    code: str
    need: int = 0
    have: int = 0


class Done(NamedTuple):
    """It has happened. `account`: whom it concerns."""

    account: int
    outcome: Outcome


class Pending(NamedTuple):
    """Its messages are in the outbox."""

    account: int
    outcome: Outcome


Answer = Refused | Done | Pending


class Asked(NamedTuple):
    """A decoded record of `requests`; `request` is None when it does not decode."""

    offset: int
    time_ms: Millis
    """Market time of the record."""
    digest: bytes
    request: rq.Request | None


class Known(NamedTuple):
    """What the store holds of the ids that a batch of requests speaks of."""

    digests: dict[str, bytes]
    """Request id → digest of its body."""
    deposits: set[tuple[str, str]]
    """(provider, provider's reference) of deposits made."""


def digest_of(value: bytes) -> bytes:
    """BLAKE2b-128 of a request's record: `requests.digest`."""
    return hashlib.blake2b(value, digest_size=16).digest()


def decode(offset: int, time_ms: Millis, value: bytes) -> Asked:
    """Value of a record of `requests` → what is asked."""
    try:
        request = _decoder.decode(value)
    except UNREADABLE:
        request = None
    return Asked(offset, time_ms, digest_of(value), request)


def ids(asked: list[Asked]) -> tuple[list[str], list[tuple[str, str]]]:
    """What must be known of the store before they are taken: (request ids, deposits as (provider, reference))."""
    wanted = [one.request for one in asked if one.request is not None and is_text(one.request.request_id, 1, ID_MAX)]
    deposits = [(one.provider, one.provider_ref) for one in wanted if isinstance(one, rq.Deposit)]
    known = [
        (provider, ref) for provider, ref in deposits if is_text(provider, 1, NAME_MAX) and is_text(ref, 1, NAME_MAX)
    ]
    return [one.request_id for one in wanted], known


def take(state: State, asked: Asked, known: Known) -> str:
    """Take one request; the code of its refusal, or empty. Adds to `known` what it put in force."""
    offset, time_ms, digest, request = asked
    if request is None:
        return _note(state, asked, "malformed")
    if not is_text(request.request_id, 1, ID_MAX):
        return _note(state, asked, "wrong_request_id")
    first = known.digests.get(request.request_id)
    if first is not None:
        return "" if first == digest else _note(state, asked, "request_reused")
    known.digests[request.request_id] = digest
    answer = _answer(state, Origin(REQUEST, 0, offset, time_ms), request, known.deposits)
    row = rows.RequestRow(request.request_id, 0, digest, "", "", 0, 0, {}, offset, time_ms)
    match answer:
        case Refused():
            row.state, (row.code, row.need, row.have) = "refused", answer
            row.account = _account_of(state, request)
        case Done():
            row.state, (row.account, row.outcome) = "done", answer
        case Pending():
            row.state, (row.account, row.outcome) = "pending", answer
            state.requests[row.request_id] = row
        case _:
            assert_never(answer)
    state.changes.requests.create(row.request_id, row)
    return row.code


def _note(state: State, asked: Asked, code: str) -> str:
    refuse(state, REQUEST, asked.offset, "request", code, repr(asked.request), asked.time_ms)
    return code


def _account_of(state: State, request: rq.Request) -> int:
    account = getattr(request, "account", 0)
    return account if account in state.accounts else 0


def _answer(state: State, at: Origin, request: rq.Request, deposits: set[tuple[str, str]]) -> Answer:
    match request:
        case rq.OpenAccount():
            return _open_account(state, at, request)
        case rq.SetAccountRole():
            return _set_account_role(state, request)
        case rq.ListClass():
            return _list_class(state, request)
        case rq.Deposit():
            return _deposit(state, at, request, deposits)
        case rq.Withdraw():
            return _withdraw(state, at, request)
        case rq.PayoutMoved():
            return _payout_moved(state, at, request)
        case rq.ToTrading():
            return _to_trading(state, at, request)
        case rq.FromTrading():
            return _from_trading(state, request)
        case rq.Back():
            return _back(state, request)
        case rq.Procure():
            return _procure(state, at, request)
        case _:
            assert_never(request)


# --- Accounts and classes ------------------------------------------------------------------------------------


def _open_account(state: State, at: Origin, request: rq.OpenAccount) -> Answer:
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


def _set_account_role(state: State, request: rq.SetAccountRole) -> Answer:
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


def _list_class(state: State, request: rq.ListClass) -> Answer:
    if not 0 <= request.shard < len(state.shards):
        return Refused("unknown_shard")
    if not _is_sane(request):
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


def _is_sane(request: rq.ListClass) -> bool:
    """What the engine checks of a class, so that the row can be written before the engine has spoken."""
    fees = request.fees
    return (
        is_class_id(request.class_id)
        and 1 <= request.lot <= 1_000
        and request.tick >= 1
        and 0 < request.list_price <= 10**9
        and request.list_price % request.tick == 0
        and all(
            0 <= rate <= 1_000 for rate in (fees.buyer_maker, fees.buyer_taker, fees.seller_maker, fees.seller_taker)
        )
        and 1 <= request.horizon_hours <= 1_000
        and 0 <= request.gate_ms <= MS_PER_HOUR
        and 0 <= request.cover_ms <= 24 * MS_PER_HOUR
        and 0 <= request.running_close_ms < MS_PER_HOUR
        and 1 <= request.collar_low_bp <= 10_000 <= request.collar_high_bp <= 100_000
        and 0 <= request.first_hour < 1 << 24
        and len(request.specification) <= SPECIFICATION_MAX
    )


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
        *collar_of(request.list_price, request.collar_low_bp, request.collar_high_bp),
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


# --- Money of the outside world ------------------------------------------------------------------------------


def _wrong_transfer(state: State, account: int, amount: Micros) -> Refused | None:
    if account not in state.accounts:
        return Refused("unknown_account")
    return None if 0 < amount <= AMOUNT_MAX else Refused("wrong_amount")


def _deposit(state: State, at: Origin, request: rq.Deposit, deposits: set[tuple[str, str]]) -> Answer:
    if fault := _wrong_transfer(state, request.account, request.amount):
        return fault
    if not is_text(request.provider, 1, NAME_MAX) or not is_text(request.provider_ref, 1, NAME_MAX):
        return Refused("wrong_provider")
    key = (request.provider, request.provider_ref)
    if key in deposits:
        return Refused("deposit_known")
    room = MONEY_MAX + sum(state.ledger.balance(EXTERNAL, 0, number) for number in state.providers.values())
    if request.amount > room:
        return Refused("wrong_amount", room)
    # --- from here on it happens
    deposits.add(key)
    state.changes.deposits.create(key, rows.Deposited(*key, request.account, request.amount, request.request_id))
    state.ledger.post(
        at,
        0,
        simulated("deposit", request.provider),
        (
            (EXTERNAL, 0, state.provider(request.provider), USD, -request.amount),
            (WALLET, 0, request.account, USD, request.amount),
        ),
    )
    return Done(request.account, {"amount": request.amount})


def _withdraw(state: State, at: Origin, request: rq.Withdraw) -> Answer:
    if fault := _wrong_transfer(state, request.account, request.amount):
        return fault
    if not is_text(request.destination, 1, DESTINATION_MAX):
        return Refused("wrong_destination", DESTINATION_MAX)
    have = state.ledger.wallet(request.account)
    if request.amount > have:
        return Refused("insufficient_funds", request.amount, have)
    # --- from here on it happens
    payout = rows.Payout(
        state.number("payout"),
        request.account,
        request.amount,
        request.destination,
        "requested",
        request.request_id,
        at.time_ms,
        at.time_ms,
    )
    state.payouts[payout.payout] = payout
    state.changes.payouts.create(payout.payout, payout)
    state.ledger.post(
        at,
        0,
        "withdraw",
        (
            (WALLET, 0, request.account, USD, -request.amount),
            (PAYOUT, 0, request.account, USD, request.amount),
        ),
    )
    return Done(request.account, {"payout": payout.payout})


def _payout_moved(state: State, at: Origin, request: rq.PayoutMoved) -> Answer:
    if not 0 < request.payout <= state.last("payout"):
        return Refused("unknown_payout")
    if not is_text(request.provider, 1, NAME_MAX):
        return Refused("wrong_provider")
    payout = state.payouts.get(request.payout)
    if payout is None or request.state not in _NEXT_STATE[payout.state]:
        return Refused("wrong_state")
    # --- from here on it happens
    payout.state, payout.updated_ms = request.state, at.time_ms
    state.changes.payouts.change(payout.payout, payout)
    out = (PAYOUT, 0, payout.account, USD, -payout.amount)
    if request.state == "paid":
        provider = state.provider(request.provider)
        what = simulated("payout_paid", request.provider)
        state.ledger.post(at, 0, what, (out, (EXTERNAL, 0, provider, USD, payout.amount)))
    elif request.state == "returned":
        what = simulated("payout_returned", request.provider)
        state.ledger.post(at, 0, what, (out, (WALLET, 0, payout.account, USD, payout.amount)))
    if request.state != "sent":
        del state.payouts[payout.payout]
    return Done(payout.account, {"payout": payout.payout, "state": payout.state})


# --- Between wallet and shard --------------------------------------------------------------------------------


def _to_trading(state: State, at: Origin, request: rq.ToTrading) -> Answer:
    if fault := _wrong_transfer(state, request.account, request.amount):
        return fault
    if not 0 <= request.shard < len(state.shards):
        return Refused("unknown_shard")
    have = state.ledger.wallet(request.account)
    if request.amount > have:
        return Refused("insufficient_funds", request.amount, have)
    # --- from here on it happens
    state.ledger.post(
        at,
        0,
        "to_trading",
        (
            (WALLET, 0, request.account, USD, -request.amount),
            (TRANSIT, request.shard, request.account, USD, request.amount),
        ),
    )
    command = Credit(state.next_outbox(request.shard), request.account, request.amount)
    state.send(request.shard, command, request.request_id)
    return Pending(request.account, {})


def _from_trading(state: State, request: rq.FromTrading) -> Answer:
    if fault := _wrong_transfer(state, request.account, request.amount):
        return fault
    if not 0 <= request.shard < len(state.shards):
        return Refused("unknown_shard")
    # --- from here on it happens
    command = Sweep(state.next_outbox(request.shard), request.account, request.amount)
    state.send(request.shard, command, request.request_id)
    return Pending(request.account, {})


# --- Backing -------------------------------------------------------------------------------------------------


def _back(state: State, request: rq.Back) -> Answer:
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


def _procure(state: State, at: Origin, request: rq.Procure) -> Answer:
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
        return Refused("wrong_hours", len(request.hours))  # hours of different backing: each kind by itself
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
