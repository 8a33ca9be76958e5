"""Who may come through the door: bodies of the topic `keys` (one partition, kept for ever).

Written by: gateways (scope `operator`, or `read`+`trade` for an account's own keys), and the operator's command
that issues the first key. Read by: gateways, whole, at start and on. A key is usable when the gateway has
read its record. Secrets are sealed (AES-GCM under HOURBOOK_MASTER_KEY) or hashed, never plain.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct

from schemas.units import Millis

Scope = Literal["read", "trade", "supply", "agent", "operator"]
"""What a key may do: look, trade, say what it backs, speak for machines, or what operators do."""
SCOPES: Final = get_args(Scope)


class KeyIssued(Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A key works from here on."""

    key_id: str
    account: int
    """0: an operator's key with no account of its own."""
    owner: int
    """The person or company behind it; two-operator acts need two owners."""
    scopes: tuple[str, ...]
    secret_sealed: bytes
    """HMAC secret, AES-256-GCM sealed: nonce (12 B) + ciphertext."""
    bearer_hash: bytes
    """SHA-256 of the bearer token; empty: the key has none."""
    expires_ms: Millis
    """0: never."""
    networks: tuple[str, ...]
    """Allowed sources in CIDR notation; empty: any."""
    label: str


class KeyRevoked(Struct, array_like=True, frozen=True, gc=False, tag=2):
    """A key has ended."""

    key_id: str


KeyRecord = KeyIssued | KeyRevoked
