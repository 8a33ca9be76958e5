"""Who is asking, and may he? Pure: keys are given, the clock and the request are the caller's.

Two ways: `Authorization: Bearer <token>`, or a signature: headers Hourbook-Key, Hourbook-Timestamp (ms since the
epoch, ±30 s) and Hourbook-Signature = hex HMAC-SHA256(secret, timestamp + METHOD + path with query + body).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.keys import KeyIssued
from schemas.signing import signature
from services.gateway.errors import ApiError

WINDOW_MS: Final = 30_000
STAMP_MAX: Final = 16
"""Digits of a timestamp: enough for 300,000 years."""


class Caller(NamedTuple):
    """Whoever the key belongs to."""

    key_id: str
    account: int
    """0: an operator without an account."""
    owner: int
    scopes: tuple[str, ...]

    def require(self, scope: str) -> None:
        """Raises ApiError missing_scope."""
        if scope not in self.scopes:
            raise ApiError("missing_scope", f"this needs scope {scope}, the key has {', '.join(self.scopes) or 'none'}")


class Key(NamedTuple):
    """A key in force, with its secret open."""

    record: KeyIssued
    secret: bytes


class Request(NamedTuple):
    """What is judged of a request. `headers`: lower-case names."""

    method: str
    path: str
    """With query, as sent: nothing decoded, nothing tidied up."""
    body: bytes
    headers: Mapping[str, str]
    address: str


def authenticate(keys: Mapping[str, Key], request: Request, now_ms: int) -> Caller:
    """The caller. Raises ApiError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        key = _by_bearer(keys, token.strip())
    elif "hourbook-key" in request.headers:
        key = _by_signature(keys, request, now_ms)
    else:
        raise ApiError("unauthenticated")
    record = key.record
    if record.expires_ms and now_ms >= record.expires_ms:
        raise ApiError("key_expired")
    if record.networks and not _within(request.address, record.networks):
        raise ApiError("wrong_network")
    return Caller(record.key_id, record.account, record.owner, record.scopes)


def _by_bearer(keys: Mapping[str, Key], token: str) -> Key:
    key = keys.get(token.partition(".")[0])
    digest = hashlib.sha256(token.encode()).digest()
    if key is None or not key.record.bearer_hash or not hmac.compare_digest(digest, key.record.bearer_hash):
        raise ApiError("unauthenticated")
    return key


def _by_signature(keys: Mapping[str, Key], request: Request, now_ms: int) -> Key:
    stamp = request.headers.get("hourbook-timestamp", "")
    key = keys.get(request.headers["hourbook-key"])
    if key is None:
        raise ApiError("unauthenticated")
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > STAMP_MAX or abs(int(stamp) - now_ms) > WINDOW_MS:
        raise ApiError("wrong_timestamp")
    expected = signature(key.secret, stamp, request.method, request.path, request.body)
    given = request.headers.get("hourbook-signature", "")
    if not given.isascii() or not hmac.compare_digest(expected, given):
        raise ApiError("wrong_signature")
    return key


def _within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        ours = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ours in ipaddress.ip_network(network) for network in networks)


def check_networks(networks: tuple[str, ...]) -> None:
    """Raises ApiError for what is not CIDR notation."""
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ApiError("malformed", f"{network!r} is not a network; write it like 10.0.0.0/8") from None
