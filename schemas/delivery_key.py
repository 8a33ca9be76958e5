"""What gateways and the delivery room share, and the room's own SSH key: both derived from the exchange's master key. Pure.

The delivery room never sees the master key, which opens all API keys.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

HEADER: Final = "Hourbook-Delivery"
"""Of a gateway's request to the room: `room_token(key)`."""


def derive_delivery_key(master_key: bytes) -> bytes:
    """32 bytes."""
    return hmac.new(master_key, b"hourbook delivery", hashlib.sha256).digest()


def room_token(delivery_key: bytes) -> str:
    """Whoever shows it speaks for the gateway."""
    return hmac.new(delivery_key, b"gateway", hashlib.sha256).hexdigest()


def probe_seed(delivery_key: bytes) -> bytes:
    """32 bytes: the Ed25519 key with which the exchange itself logs in."""
    return hmac.new(delivery_key, b"probe", hashlib.sha256).digest()
