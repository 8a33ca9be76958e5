"""`Exchange` over the public HTTP API, on behalf of accounts that rent.

What became of a request, and what is said of it:
- no connection was made, or the gateway could not look at it: `Away`;
- the answer says `rejected`: `Refused`;
- sent and no answer, a broken one, one that leads elsewhere, or one that says `unknown`: `Unknown`; the same may be sent again.
"""

from __future__ import annotations

from typing import Any, Final, Self

import httpx
import msgspec

from schemas import http
from schemas.codec import UNREADABLE
from schemas.commands import Side
from schemas.edge import SIDES
from schemas.ids import format_order
from schemas.rental import DEFAULT_LAUNCH
from schemas.router_key import ACCOUNT_HEADER, HEADER, acting_token
from schemas.units import format_usd
from services.router.trading import VALID_MS, Accepted, Away, Outcome, Refused, Sent, Unknown

ANSWER_S: Final = 8.0
"""Longer than the gateway takes to give up by itself."""
CONNECT_S: Final = 2.0
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_LOOKED_AT: Final = frozenset({"not_ready", "overloaded", "rate_limited", "not_settled_yet", "too_slow"})


class GatewayClient:
    """One gateway, or a proxy before several."""

    def __init__(self, url: str, router_key: bytes, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport`: in place of sockets."""
        self._token = acting_token(router_key)
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def place(self, order: Sent) -> Outcome:
        """Fill-or-kill to buy, good till cancelled to sell."""
        buys = order.side == Side.BUY
        body: dict[str, Any] = {
            "contract": order.symbol,
            "side": SIDES[order.side],
            "qty": order.qty,
            "price": format_usd(order.price),
            "tif": "fok" if buys else "gtc",
            "client_order_id": order.client_id,
            "valid_for_ms": VALID_MS,
        }
        if buys and order.launch != DEFAULT_LAUNCH:
            body["launch"] = order.launch
        return await self._send(order.account, "POST", "/v1/orders", body)

    async def cancel(self, account: int, order: int) -> Outcome:
        """By the exchange's id."""
        return await self._send(account, "DELETE", f"/v1/orders/{format_order(order)}")

    async def _send(self, account: int, method: str, path: str, body: dict[str, Any] | None = None) -> Outcome:
        headers = {HEADER: self._token, ACCOUNT_HEADER: str(account)}
        content = b"" if body is None else msgspec.json.encode(body)
        if content:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._http.request(method, path, content=content, headers=headers)
        except _NOT_SENT as error:
            return Away(repr(error), is_everything=True)
        except httpx.HTTPError as error:
            return Unknown(repr(error))
        return outcome_of(answer.status_code, answer.content)


def outcome_of(status: int, content: bytes) -> Outcome:
    """What an answer says."""
    if httpx.codes.is_success(status):
        return Accepted()
    try:
        problem = msgspec.json.decode(content, type=http.Problem)
    except UNREADABLE:
        # Not from the exchange's own hand: what stands between us may have passed the request on.
        return Unknown(f"status {status} without a problem document")
    if problem.outcome == "unknown":
        return Unknown(problem.code)
    if problem.code == "unauthenticated":
        return Away("the gateway does not take the router's token", is_everything=True)
    if problem.code in _NOT_LOOKED_AT:
        return Away(f"{problem.code}: {problem.detail}")
    return Refused(problem.code, problem.detail)
