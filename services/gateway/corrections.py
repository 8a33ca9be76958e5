"""Corrections in cash: one operator approves, another of a different owner sends it. Trades themselves are final.

The engine makes one correction under an approval's name, and remembers the name for as long as the approval is good. Sent
again, at whichever gateway and however soon, it is refused there, and answered here with what was settled.
"""

from __future__ import annotations

import secrets

from schemas import http
from schemas.commands import CorrectCash
from schemas.edge import iso
from schemas.events import CashCorrected, Code, Rejected
from schemas.units import format_usd
from services.gateway.approvals import LIFE_MS, NONCE_BYTES, Correction, approve, check
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.gateway.progress import Progress
from services.gateway.reads import Reads
from services.gateway.shards import Shards
from services.gateway.telling import after_the_fact, refusal_of
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

    def approve(self, caller: Caller, body: http.CorrectionRequest) -> http.ApprovalAnswer:
        """The first operator's part: nothing happens yet. Raises ApiError."""
        operator = _operator(caller)
        expires_ms = self._clock.now_ms() + LIFE_MS
        nonce = secrets.token_bytes(NONCE_BYTES)
        approval = approve(self._master_key, self._read(body), operator, caller.owner, expires_ms, nonce)
        return http.ApprovalAnswer(approval=approval, operator=operator, expires_at=iso(expires_ms))

    async def submit(self, caller: Caller, body: http.ApprovedCorrectionRequest) -> http.CorrectionAnswer:
        """The second operator's part. Raises ApiError."""
        operator, correction = _operator(caller), self._read(body)
        approval = check(self._master_key, body.approval, correction, self._clock.now_ms())
        if approval.owner == caller.owner:
            raise ApiError("wrong_owner", "the one who approved has the same owner: it takes operators of two owners")
        command = CorrectCash(
            approval.operator,
            operator,
            correction.payer,
            correction.payee,
            correction.amount,
            correction.trade,
            f"{correction.reason} (approval {approval.name})",
            approval.name,
            self._shards.market_ms(approval.expires_ms),
        )
        answer = await self._shards.door(correction.shard).submit(command)
        if isinstance(answer.outcome, CashCorrected):
            return http.CorrectionAnswer(
                trade=f"{correction.shard}-{correction.trade}",
                amount=format_usd(correction.amount),
                reason=command.reason,
                at=iso(answer.time_ms),
            )
        assert isinstance(answer.outcome, Rejected), f"{answer.outcome!r} answers something else"
        if answer.outcome.code != Code.WRONG_APPROVAL:
            raise refusal_of(answer.outcome)
        with after_the_fact():
            await self._progress.wait_for(correction.payer)
            settled = await self._reads.correction(correction.shard, correction.trade, command.reason)
            assert settled is not None, f"correction {approval.name} is settled and not there"
            return settled

    def _read(self, body: http.CorrectionRequest) -> Correction:
        shard, trade = trade_number(body.trade)
        if shard >= len(self._shards.doors):
            raise ApiError("unknown_trade", f"there is no shard {shard}")
        if min(body.payer, body.payee) <= 0:
            raise ApiError("unknown_account")
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
