"""Corrections in cash: one operator approves, another of a different owner sends it. Trades themselves are final.

The engine knows no repeat of a correction, so it carries its approval's name in its public reason: what was settled under that
name answers a repeat, and while the outcome of one is unknown this gateway sends no second.
"""

from __future__ import annotations

import secrets

from schemas import http
from schemas.commands import CorrectCash
from schemas.events import CashCorrected
from schemas.units import format_usd
from services.gateway.approvals import LIFE_MS, NONCE_BYTES, Approval, Correction, approve, check
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.gateway.progress import Progress
from services.gateway.reads import Reads
from services.gateway.shards import Shards
from services.gateway.telling import refusal_of
from services.gateway.times import iso
from services.gateway.values import decimal, trade_number
from services.runtime.log import Clock


class Corrections:
    """Use cases of operators who put an error right."""

    def __init__(self, shards: Shards, reads: Reads, progress: Progress, clock: Clock, master_key: bytes) -> None:
        self._shards = shards
        self._reads = reads
        self._progress = progress
        self._clock = clock
        self._master_key = master_key
        self._sent: dict[str, int] = {}
        """Approvals used here → until when they could be used again, our clock."""

    def approve(self, caller: Caller, body: http.CorrectionRequest) -> http.ApprovalAnswer:
        """The first operator's part: nothing happens yet. Raises ApiError."""
        operator = _operator(caller)
        expires_ms = self._clock.now_ms() + LIFE_MS
        nonce = secrets.token_bytes(NONCE_BYTES)
        approval = approve(self._master_key, self._read(body), operator, caller.owner, expires_ms, nonce)
        return http.ApprovalAnswer(approval=approval, operator=operator, expires_at=iso(expires_ms))

    async def submit(self, caller: Caller, body: http.ApprovedCorrectionRequest) -> http.CorrectionAnswer:
        """The second operator's part. Raises ApiError."""
        operator, correction, now_ms = _operator(caller), self._read(body), self._clock.now_ms()
        approval = check(self._master_key, body.approval, correction, now_ms)
        if approval.owner == caller.owner:
            raise ApiError("wrong_owner", "the one who approved has the same owner: it takes operators of two owners")
        reason = f"{correction.reason} (approval {approval.name})"
        await self._progress.wait_for(correction.payer)
        if known := await self._reads.correction(correction.shard, correction.trade, reason):
            return known
        self._sent = {name: until_ms for name, until_ms in self._sent.items() if until_ms > now_ms}
        if approval.name in self._sent:
            raise ApiError(
                "outcome_unknown", "it was sent before and is not settled: look at GET /v1/corrections first"
            )
        return await self._send(operator, approval, correction, reason)

    async def _send(
        self, operator: int, approval: Approval, correction: Correction, reason: str
    ) -> http.CorrectionAnswer:
        self._sent[approval.name] = approval.expires_ms
        command = CorrectCash(
            approval.operator,
            operator,
            correction.payer,
            correction.payee,
            correction.amount,
            correction.trade,
            reason,
        )
        try:
            answer = await self._shards.door(correction.shard).submit(command)
        except ApiError as error:
            if error.outcome == "rejected":
                del self._sent[approval.name]
            raise
        if not isinstance(answer.outcome, CashCorrected):
            del self._sent[approval.name]
            raise refusal_of(answer.outcome)
        return http.CorrectionAnswer(
            trade=f"{correction.shard}-{correction.trade}",
            amount=format_usd(correction.amount),
            reason=reason,
            at=iso(answer.time_ms),
        )

    def _read(self, body: http.CorrectionRequest) -> Correction:
        shard, trade = trade_number(body.trade)
        if shard >= len(self._shards.doors):
            raise ApiError("unknown_trade", f"there is no shard {shard}")
        if body.payer == body.payee:
            raise ApiError("wrong_owner", "payer and payee are the same account")
        return Correction(shard, trade, body.payer, body.payee, decimal(body.amount), body.reason)


def _operator(caller: Caller) -> int:
    """Raises ApiError."""
    if caller.account == 0:
        raise ApiError(
            "unknown_account", "a correction names its operators by their accounts: use a key that belongs to one"
        )
    return caller.account
