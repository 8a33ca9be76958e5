"""Every wish in the words of the API; the door decodes them with the very same structs."""

import msgspec
import pytest

from schemas import http
from services.simulated.minds import Amend, Block, Cancel, Declare, Place, Range, Wish
from services.simulated.requests import request_for

SYMBOL = "H100.SXM.80.US.20260616T20-USD"
HOUR = 494_900
FROM = "2026-06-16T20:00Z"

SENT: list[tuple[Wish, str, dict[str, object]]] = [
    (
        Place(SYMBOL, sells=False, qty=2, price=3_395_000, tif="ioc"),
        "POST /v1/orders",
        {"contract": SYMBOL, "side": "buy", "qty": 2, "price": "3.395", "tif": "ioc", "client_order_id": "demo-1-a"},
    ),
    (
        Place(SYMBOL, sells=True, qty=8, price=3_400_000, tif="gtc"),
        "POST /v1/orders",
        {"contract": SYMBOL, "side": "sell", "qty": 8, "price": "3.40", "tif": "gtc", "client_order_id": "demo-1-a"},
    ),
    (
        Range("H100.SXM.80.US", HOUR, 6, 1, 3_100_000),
        "POST /v1/ranges",
        {"class": "H100.SXM.80.US", "from": FROM, "count": 6, "side": "buy", "qty": 1, "price": "3.10", "tif": "gtc"},
    ),
    (
        Block("H100.SXM.80.US", HOUR, 24, 8, 3_100_000),
        "POST /v1/blocks",
        {"class": "H100.SXM.80.US", "from": FROM, "hours": 24, "side": "buy", "qty": 8, "price": "3.10", "tif": "fok"},
    ),
    (Amend("0-1-0-0", 1, 3_000_000), "PATCH /v1/orders/0-1-0-0", {"qty": 1, "price": "3.00"}),
    (
        Declare("H100.SXM.80.US", HOUR, 160, 12),
        "PUT /v1/capacity",
        {"class": "H100.SXM.80.US", "from": FROM, "hours": 160, "ground": "declared", "qty": 12, "version": 77},
    ),
]


@pytest.mark.parametrize(("wish", "where", "said"), SENT)
def test_a_wish_is_said_in_the_words_of_the_api(wish: Wish, where: str, said: dict[str, object]) -> None:
    request = request_for(wish, "demo-1-a", 77)
    body = msgspec.json.decode(msgspec.json.encode(request.body))

    assert f"{request.method} {request.path}" == where
    assert {name: body[name] for name in said} == said
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(request.body)) == request.body


def test_a_cancel_has_no_body_and_what_settlement_decides_has_a_key() -> None:
    """Orders, ranges and blocks are known by their client order id, declarations by their Idempotency-Key."""
    cancel = request_for(Cancel("0-1-0-0"), "demo-1-a", 77)
    names = {type(wish).__name__: request_for(wish, "demo-1-a", 77) for wish, _, _ in SENT}

    assert (cancel.method, cancel.path, cancel.body, cancel.answer) == (
        "DELETE", "/v1/orders/0-1-0-0", None, http.CancelAnswer,
    )  # fmt: skip
    assert {name for name, each in names.items() if each.idempotency_key} == {"Declare"}
    assert {name for name, each in names.items() if getattr(each.body, "client_order_id", "")} == {
        "Place", "Range", "Block",
    }  # fmt: skip
