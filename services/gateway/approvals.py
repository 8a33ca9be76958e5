"""Approvals of corrections: what the first of two operators signs, and the second hands in. Pure.

A gateway keeps nothing: an approval carries all that it says, sealed with a key derived from the exchange's master key.

    approval   base64url, without padding, of body + HMAC-SHA256(approval key, body)
    body       MessagePack [1, operator, owner, expires_ms, nonce, digest of the correction]
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec
from msgspec import Struct

from schemas.units import Micros, Millis
from services.gateway.errors import ApiError

LIFE_MS: Final = 600_000
NONCE_BYTES: Final = 8
_FORMAT: Final = 1
_MAC_BYTES: Final = 32
_PURPOSE: Final = b"hourbook: approvals of corrections"


class Correction(Struct, array_like=True, frozen=True):
    """What both operators want, in one form however it was written."""

    shard: int
    trade: int
    payer: int
    payee: int
    amount: Micros
    reason: str


class Approval(Struct, array_like=True, frozen=True):
    """What an approval says."""

    format: int
    operator: int
    """The account of the first operator."""
    owner: int
    expires_ms: Millis
    """Our clock."""
    nonce: bytes
    digest: bytes
    """Of the correction."""

    @property
    def name(self) -> str:
        """Under which the engine makes one correction."""
        return self.nonce.hex()


def approve(
    master_key: bytes, correction: Correction, operator: int, owner: int, expires_ms: Millis, nonce: bytes
) -> str:
    """The sealed text."""
    assert len(nonce) == NONCE_BYTES
    body = msgspec.msgpack.encode(Approval(_FORMAT, operator, owner, expires_ms, nonce, _digest(correction)))
    return base64.urlsafe_b64encode(body + _mac(master_key, body)).rstrip(b"=").decode()


def check(master_key: bytes, text: str, correction: Correction, now_ms: Millis) -> Approval:
    """What it says of this correction. Raises ApiError wrong_approval."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("wrong_approval", "this is not an approval") from None
    body, mac = sealed[:-_MAC_BYTES], sealed[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(master_key, body)):
        raise ApiError("wrong_approval", "this is not an approval of ours, or it was changed")
    approval = msgspec.msgpack.decode(body, type=Approval)
    if now_ms >= approval.expires_ms:
        raise ApiError("wrong_approval", "its ten minutes are over: have the correction approved again")
    if approval.digest != _digest(correction):
        raise ApiError(
            "wrong_approval", "it is for another correction: payer, payee, amount, trade and reason must be the same"
        )
    return approval


def _digest(correction: Correction) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(correction), digest_size=16).digest()


def _mac(master_key: bytes, body: bytes) -> bytes:
    key = hmac.new(master_key, _PURPOSE, hashlib.sha256).digest()
    return hmac.new(key, body, hashlib.sha256).digest()
