"""Requests that move money: in from outside, out by a payout, and between wallet and trading balance. Pure."""

from __future__ import annotations

from typing import Final

from schemas import requests as rq
from schemas.commands import Credit, Sweep
from schemas.units import AMOUNT_MAX, MONEY_MAX, Micros
from services.settlement import rows
from services.settlement.answers import NAME_MAX, Answer, Done, Pending, Refused
from services.settlement.ledger import EXTERNAL, PAYOUT, TRANSIT, USD, WALLET, Origin, simulated
from services.settlement.refusals import is_text
from services.settlement.state import State

DESTINATION_MAX: Final = 200
"""Characters."""
_NEXT_STATE: Final = {"requested": ("sent", "returned"), "sent": ("paid", "returned")}

# --- The outside world ---------------------------------------------------------------------------------------


def _wrong_transfer(state: State, account: int, amount: Micros) -> Refused | None:
    if account not in state.accounts:
        return Refused("unknown_account")
    return None if 0 < amount <= AMOUNT_MAX else Refused("wrong_amount")


def deposit(state: State, at: Origin, request: rq.Deposit, deposits: set[tuple[str, str]]) -> Answer:
    """Money has come in: it is in the wallet, once per provider and reference."""
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


def withdraw(state: State, at: Origin, request: rq.Withdraw) -> Answer:
    """Wallet → payout, if the wallet has it."""
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


def payout_moved(state: State, at: Origin, request: rq.PayoutMoved) -> Answer:
    """A payout goes on, leaves, or comes back."""
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


def to_trading(state: State, at: Origin, request: rq.ToTrading) -> Answer:
    """Wallet → transit; the shard confirms its arrival."""
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


def from_trading(state: State, request: rq.FromTrading) -> Answer:
    """As much of it as is free comes back; only the shard knows how much that is."""
    if fault := _wrong_transfer(state, request.account, request.amount):
        return fault
    if not 0 <= request.shard < len(state.shards):
        return Refused("unknown_shard")
    # --- from here on it happens
    command = Sweep(state.next_outbox(request.shard), request.account, request.amount)
    state.send(request.shard, command, request.request_id)
    return Pending(request.account, {})
