"""The routes of /v1. A handler checks the scope, calls one use case, and names the answer; nothing is decided here."""

from __future__ import annotations

from typing import Final

from services.gateway import market as market_data
from services.gateway.routes import account, keys, machines, market, operators, rentals, trading

ROUTES: Final = [
    *market.ROUTES,
    *market_data.ROUTES,
    *trading.ROUTES,
    *account.ROUTES,
    *machines.ROUTES,
    *rentals.ROUTES,
    *keys.ROUTES,
    *operators.ROUTES,
]
