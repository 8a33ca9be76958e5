"""What gateways and the router share, derived from the exchange's master key. Pure.

The router never sees the master key, which opens all API keys. With its own it may trade for the accounts that rent, and nobody
else's token opens that door.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

HEADER: Final = "Hourbook-Router"
"""Of a gateway's request to the router: `room_token(key)`. Of the router's to a gateway: `acting_token(key)`."""
ACCOUNT_HEADER: Final = "Hourbook-Account"
"""Of the router's request to a gateway: the account on whose behalf it asks."""
IDEMPOTENCY_HEADER: Final = "Hourbook-Idempotency"
"""Of a gateway's request to the router that makes a rental: the member's own key. The same again makes no second one."""


def derive_router_key(master_key: bytes) -> bytes:
    """32 bytes."""
    return hmac.new(master_key, b"hourbook router", hashlib.sha256).digest()


def room_token(router_key: bytes) -> str:
    """Whoever shows it speaks for the gateway."""
    return hmac.new(router_key, b"gateway", hashlib.sha256).hexdigest()


def acting_token(router_key: bytes) -> str:
    """Whoever shows it to a gateway, from inside the cluster, acts for the account that he names."""
    return hmac.new(router_key, b"act", hashlib.sha256).hexdigest()


def webhook_key(router_key: bytes) -> bytes:
    """32 bytes: what webhooks' keys are derived from, one for each account."""
    return hmac.new(router_key, b"webhook", hashlib.sha256).digest()
