"""One request → checks, entries, messages to a shard, an outcome. Pure.

Here: what every request has in common. What each asks is in `accounts` (and classes), `money` and `machines`: checks come
first and in a fixed order, the first that fails is the answer, `refused` with a code and its numbers. A request that a shard must
confirm is `pending`; `confirmations` finishes it. The same body again changes nothing and keeps its first outcome; another body
under the same id is noted in `refusals` (`request_reused`) and leaves the row as it is.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple, assert_never

import msgspec

from schemas import requests as rq
from schemas.codec import UNREADABLE
from schemas.units import Millis
from services.settlement import accounts, machines, money, rows
from services.settlement.answers import NAME_MAX, Answer, Done, Pending, Refused
from services.settlement.ledger import REQUEST, Origin
from services.settlement.refusals import is_text, refuse
from services.settlement.state import State

ID_MAX: Final = 64
"""Characters."""
_decoder: msgspec.msgpack.Decoder[rq.Request] = msgspec.msgpack.Decoder(rq.Request)


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
            return accounts.open_account(state, at, request)
        case rq.SetAccountRole():
            return accounts.set_account_role(state, request)
        case rq.ListClass():
            return accounts.list_class(state, request)
        case rq.Deposit():
            return money.deposit(state, at, request, deposits)
        case rq.Withdraw():
            return money.withdraw(state, at, request)
        case rq.PayoutMoved():
            return money.payout_moved(state, at, request)
        case rq.ToTrading():
            return money.to_trading(state, at, request)
        case rq.FromTrading():
            return money.from_trading(state, request)
        case rq.Back():
            return machines.back(state, request)
        case rq.Procure():
            return machines.procure(state, at, request)
        case _:
            assert_never(request)
