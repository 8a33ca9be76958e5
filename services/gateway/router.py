"""The router, behind the routes of rentals; and the router at this door, where it trades for members.

It has no key of a member's. It shows a token that only it can make, and names the account: then it may read what the account
may, and trade; it moves no money out, makes no keys and rents nothing itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

import httpx

from schemas.router_key import ACCOUNT_HEADER, HEADER, acting_token, derive_router_key, room_token
from services.gateway.auth import Caller
from services.gateway.database import Database
from services.gateway.errors import ApiError
from services.gateway.rooms import Room

SCOPES: Final = ("read", "trade")
TRADING: Final = ("/v1/orders", "/v1/ranges", "/v1/blocks")
"""What the router may change is below these."""
_DIGITS_MAX: Final = 18
_SHOWN: Final = HEADER.lower()
_OWN_KEY: Final = ("authorization", "hourbook-key")


class Router(Room):
    """The room. `url` empty: this exchange runs none."""

    def __init__(self, url: str, master_key: bytes, client: httpx.AsyncClient) -> None:
        super().__init__("router", url, {HEADER: room_token(derive_router_key(master_key))}, client)


class Acting:
    """Whom the router acts for."""

    def __init__(self, master_key: bytes, database: Database) -> None:
        self._token = acting_token(derive_router_key(master_key))
        self._database = database
        self._owners: dict[int, int] = {}
        """An account's owner never changes."""

    async def caller(self, headers: Mapping[str, str], method: str, path: str) -> Caller | None:
        """None: it is not the router that asks. `headers`: lower-case names. Raises ApiError."""
        if _SHOWN not in headers or any(name in headers for name in _OWN_KEY):
            return None
        shown = headers[_SHOWN]
        if not shown.isascii() or not hmac.compare_digest(shown, self._token):
            raise ApiError("unauthenticated")
        if method != "GET" and not path.startswith(TRADING):
            raise ApiError("missing_scope", "the router trades for members, and changes nothing else of theirs")
        account = _number(headers.get(ACCOUNT_HEADER.lower(), ""))
        return Caller(f"router:{account}", account, await self._owner(account), SCOPES)

    async def _owner(self, account: int) -> int:
        if account not in self._owners:
            owner = await self._database.fetchval("SELECT owner FROM settlement.accounts WHERE account = $1", account)
            if owner is None:
                raise ApiError("unknown_account", f"there is no account {account}")
            self._owners[account] = owner
        return self._owners[account]


def _number(text: str) -> int:
    """Of an account; 0 is none. Raises ApiError."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_MAX or not int(text):
        raise ApiError("unknown_account", f"{ACCOUNT_HEADER} names the account for which the router acts")
    return int(text)
