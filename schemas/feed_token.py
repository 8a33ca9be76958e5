"""Tokens for the private feed: a gateway makes one for the account of an API key, market data believes it. Pure.

Whoever asks at the door shows an API key there; the feed's process never sees one, nor the key that seals them. What the two
share is a key derived from the exchange's master key, good for nothing but this.

    token    base64url, without padding, of body + HMAC-SHA256(feed key, body)
    body     MessagePack [1, account, expires_ms, nonce, [tag, ...]]
    tag      first 8 bytes of HMAC-SHA256(feed key, "desk" + account, 8 bytes): of each account of the aggregator's own,
             so that a fill can say `desk` without a member learning the desk's number
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.units import Millis

LIFE_MS: Final = 60_000
"""From making to last use."""
NONCE_BYTES: Final = 16
TOKEN_MAX: Final = 4_096
"""Characters."""
_FORMAT: Final = 1
_MAC: Final = 32
_TAG: Final = 8


class WrongToken(Exception):
    """It is not one of ours, or was changed."""


class ExpiredToken(Exception):
    """It is one of ours, and its time is over."""


class FeedToken(Struct, array_like=True, frozen=True, gc=False):
    """What a token says."""

    format: int
    account: int
    expires_ms: Millis
    """Wall clock."""
    nonce: bytes
    desks: tuple[bytes, ...]
    """Tags."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FeedToken)


def derive_feed_key(master_key: bytes) -> bytes:
    """Master key → the key of feed tokens; there is no way back."""
    return hmac.new(master_key, b"hourbook feed token 1", hashlib.sha256).digest()


def make_token(feed_key: bytes, account: int, expires_ms: Millis, nonce: bytes, desks: Iterable[int]) -> str:
    """A token of `account`. `nonce`: fresh and random."""
    assert account > 0
    assert len(nonce) == NONCE_BYTES
    tags = tuple(desk_tag(feed_key, desk) for desk in desks)
    body = _encoder.encode(FeedToken(_FORMAT, account, expires_ms, nonce, tags))
    return base64.urlsafe_b64encode(body + _mac(feed_key, body)).rstrip(b"=").decode()


def read_token(feed_key: bytes, token: str, now_ms: Millis) -> FeedToken:
    """Raises WrongToken, ExpiredToken."""
    if len(token) > TOKEN_MAX or not token.isascii():
        raise WrongToken("this is not a token of ours")
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise WrongToken("this is not a token of ours") from None
    body, mac = data[:-_MAC], data[-_MAC:]
    if not hmac.compare_digest(_mac(feed_key, body), mac):
        raise WrongToken("this token was not made here, or was changed")
    try:
        read = _decoder.decode(body)
    except UNREADABLE:
        raise WrongToken("this token is of another version") from None
    if read.format != _FORMAT:
        raise WrongToken("this token is of another version")
    if now_ms >= read.expires_ms:
        raise ExpiredToken("this token has expired; POST /v1/feed-token gives a new one")
    return read


def desk_tag(feed_key: bytes, account: int) -> bytes:
    """By which the holder of the feed key knows an account of the desk's."""
    return hmac.new(feed_key, b"desk" + account.to_bytes(8, "big"), hashlib.sha256).digest()[:_TAG]


def _mac(feed_key: bytes, body: bytes) -> bytes:
    return hmac.new(feed_key, b"token" + body, hashlib.sha256).digest()
