"""How a request to the public API is signed with a key: what clients send, and what the gateway holds it against. Pure."""

from __future__ import annotations

import hashlib
import hmac

from schemas.units import Millis


def signature(secret: bytes, stamp: str, method: str, path: str, body: bytes) -> str:
    """Hex HMAC-SHA256 of stamp, method, path with its query, and body."""
    return hmac.new(secret, f"{stamp}{method}{path}".encode() + body, hashlib.sha256).hexdigest()


def signed_headers(
    key_id: str, secret: bytes, now_ms: Millis, method: str, path: str, body: bytes, idempotency_key: str = ""
) -> dict[str, str]:
    """What a request carries; `now_ms`: of the client's clock."""
    stamp = str(now_ms)
    headers = {
        "Hourbook-Key": key_id,
        "Hourbook-Timestamp": stamp,
        "Hourbook-Signature": signature(secret, stamp, method, path, body),
    }
    if body:
        headers["Content-Type"] = "application/json"
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    return headers
