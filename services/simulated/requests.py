"""A demo member's wish → the request for it, in the words of `schemas.http`. Pure."""

from __future__ import annotations

from typing import assert_never
from urllib.parse import quote

from msgspec import Struct

from schemas import http
from schemas.edge import iso_hour
from schemas.units import Millis, format_usd
from services.simulated.minds import Amend, Block, Cancel, Declare, Place, Range, Wish

VALID_MS: Millis = 10_000
"""A demo order that comes later than that is of no interest any more."""


class Request(Struct, frozen=True):
    """What to send, and what kind of answer comes."""

    method: str
    path: str
    body: Struct | None
    answer: type[Struct]
    idempotency_key: str = ""
    """Where it has no client order id."""


def request_for(wish: Wish, name: str, version: int) -> Request:
    """`name`: its client order id or Idempotency-Key; `version`: of a declaration, rising."""
    match wish:
        case Place():
            order = http.OrderRequest(
                contract=wish.symbol, side="sell" if wish.sells else "buy", qty=wish.qty, price=format_usd(wish.price),
                tif=wish.tif, client_order_id=name, valid_for_ms=VALID_MS,
            )  # fmt: skip
            return Request("POST", "/v1/orders", order, http.OrderAnswer)
        case Range():
            many = http.RangeRequest(
                class_id=wish.class_id, from_hour=iso_hour(wish.first_hour), count=wish.hours, side="buy", qty=wish.qty,
                price=format_usd(wish.price), client_order_id=name, valid_for_ms=VALID_MS,
            )  # fmt: skip
            return Request("POST", "/v1/ranges", many, http.RangeAnswer)
        case Block():
            block = http.BlockRequest(
                class_id=wish.class_id, from_hour=iso_hour(wish.first_hour), hours=wish.hours, side="buy", qty=wish.qty,
                price=format_usd(wish.price), tif="gtc" if wish.waits else "fok", client_order_id=name, valid_for_ms=VALID_MS,
            )  # fmt: skip
            return Request("POST", "/v1/blocks", block, http.BlockAnswer)
        case Amend():
            other = http.AmendRequest(qty=wish.qty, price=format_usd(wish.price), valid_for_ms=VALID_MS)
            return Request("PATCH", f"/v1/orders/{quote(wish.order_id)}", other, http.AmendAnswer)
        case Cancel():
            return Request("DELETE", f"/v1/orders/{quote(wish.order_id)}", None, http.CancelAnswer)
        case Declare():
            machines = http.CapacityRequest(
                class_id=wish.class_id, from_hour=iso_hour(wish.first_hour), hours=wish.hours, ground="declared",
                qty=wish.qty, version=version,
            )  # fmt: skip
            return Request("PUT", "/v1/capacity", machines, http.RequestAnswer, idempotency_key=name)
    assert_never(wish)
