"""What is asked of settlement, and other single records: written to a topic; a request's outcome is read from settlement's table.

A request's id is the caller and his Idempotency-Key: the same again gets the first outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.requests import Request
from services.gateway.auth import Caller
from services.gateway.database import Database, Row
from services.gateway.errors import CODES, ApiError
from services.runtime.log import Log, LogError, Outgoing, WriteRefused

WAIT_S: Final = 5.0
KEY_MAX: Final = 40
_FIRST_POLL_S: Final = 0.004
_POLL_S_MAX: Final = 0.1


class Outcome(msgspec.Struct, frozen=True):
    """`state`: pending, done or refused."""

    request_id: str
    state: str
    code: str = ""
    need: int = 0
    have: int = 0
    outcome: dict[str, Any] = {}


class Requests:
    """Writes single records to `requests`, `delivery` and `keys`, one append in flight each."""

    def __init__(self, database: Database, open_log: Callable[[str], Log]) -> None:
        self._database = database
        self._open_log = open_log
        self._logs: dict[str, Log] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def append(self, topic: str, body: msgspec.Struct) -> None:
        """Durable when it returns. Raises ApiError."""
        async with self._locks.setdefault(topic, asyncio.Lock()):
            if topic not in self._logs:
                self._logs[topic] = self._open_log(topic)
            log = self._logs[topic]
            try:
                await log.append([Outgoing(msgspec.msgpack.encode(body))])
            except WriteRefused as error:
                del self._logs[topic]
                raise ApiError("not_ready") from error
            except LogError as error:
                del self._logs[topic]
                raise ApiError("outcome_unknown") from error

    async def ask(self, request: Request, *, wait_s: float = WAIT_S) -> Outcome:
        """Write it, and wait until it is done or refused; `pending` when that takes longer. Raises ApiError."""
        digest = hashlib.blake2b(msgspec.msgpack.encode(request), digest_size=16).digest()
        known = await self._find(request.request_id)
        if known is None:
            await self.append("requests", request)
        elif bytes(known["digest"]) != digest:
            raise ApiError("request_reused")
        pause_s, deadline_s = _FIRST_POLL_S, time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            row = await self._look(request.request_id)
            if row is not None and bytes(row["digest"]) != digest:
                raise ApiError("request_reused")
            if row is not None and row["state"] != "pending":
                return _outcome(row)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _POLL_S_MAX)
        return Outcome(request.request_id, "pending")

    async def _look(self, request_id: str) -> Row | None:
        """None also while the database is away: the request is in the log, and will be settled."""
        try:
            return await self._find(request_id)
        except ApiError as error:
            if error.code != "not_ready":
                raise
            return None

    async def outcome(self, request_id: str) -> Outcome:
        """Raises ApiError unknown_request."""
        row = await self._find(request_id)
        if row is None:
            raise ApiError("unknown_request")
        return _outcome(row)

    async def _find(self, request_id: str) -> Row | None:
        return await self._database.fetchrow(
            "SELECT request_id, digest, state, code, need, have, outcome FROM settlement.requests WHERE request_id = $1",
            request_id,
        )


def _outcome(row: Row) -> Outcome:
    outcome = row["outcome"]
    document = msgspec.json.decode(outcome) if isinstance(outcome, str | bytes) else outcome
    return Outcome(row["request_id"], row["state"], row["code"], row["need"], row["have"], document)


def refusal_of(outcome: Outcome) -> ApiError:
    """Of a refused request."""
    assert outcome.code in CODES, f"settlement refuses with {outcome.code}, which has no answer"
    return ApiError(outcome.code, need=outcome.need, have=outcome.have)


def refuse(outcome: Outcome) -> Outcome:
    """Raises the ApiError of a refused request; gives back any other."""
    if outcome.state == "refused":
        raise refusal_of(outcome)
    return outcome


def request_id(caller: Caller, idempotency_key: str) -> str:
    """`<account>:<key>`, for an operator without an account `op<owner>:<key>`. Raises ApiError."""
    who = str(caller.account) if caller.account else f"op{caller.owner}"
    return f"{who}:{own_key(idempotency_key)}"


def own_key(idempotency_key: str) -> str:
    """The same, where it can be one. Raises ApiError."""
    if not idempotency_key:
        raise ApiError("idempotency_key_required")
    if len(idempotency_key) > KEY_MAX or not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise ApiError("wrong_request_id")
    return idempotency_key
