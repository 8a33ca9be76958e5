"""Making and opening API keys: secrets sealed with the master key, bearer tokens hashed.

A sealed secret is nonce (12 B) + AES-256-GCM ciphertext, bound to its key id; a bearer token is kept as SHA-256 only.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.keys import KeyIssued

_NONCE = 12


class Issued(NamedTuple):
    """The record for topic `keys`, and what only its holder is told."""

    record: KeyIssued
    secret: str
    """base64."""
    bearer: str


def issue_key(
    master_key: bytes,
    *,
    account: int,
    owner: int,
    scopes: tuple[str, ...],
    label: str = "",
    expires_ms: int = 0,
    networks: tuple[str, ...] = (),
) -> Issued:
    """A new key with a fresh secret and bearer token."""
    key_id = f"hb_{secrets.token_hex(8)}"
    secret = secrets.token_bytes(32)
    bearer = f"{key_id}.{secrets.token_urlsafe(32)}"
    record = KeyIssued(
        key_id,
        account,
        owner,
        scopes,
        seal(master_key, key_id, secret),
        hash_bearer(bearer),
        expires_ms,
        networks,
        label,
    )
    return Issued(record, base64.b64encode(secret).decode(), bearer)


def seal(master_key: bytes, key_id: str, secret: bytes) -> bytes:
    """Secret → what is stored."""
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(master_key).encrypt(nonce, secret, key_id.encode())


def unseal(master_key: bytes, key_id: str, sealed: bytes) -> bytes:
    """What is stored → secret. Raises cryptography.exceptions.InvalidTag: another master key or key id, or no seal at all."""
    if len(sealed) <= _NONCE:
        raise InvalidTag  # the cipher has an error of its own for a nonce that is too short
    return AESGCM(master_key).decrypt(sealed[:_NONCE], sealed[_NONCE:], key_id.encode())


def hash_bearer(bearer: str) -> bytes:
    """SHA-256."""
    return hashlib.sha256(bearer.encode()).digest()
