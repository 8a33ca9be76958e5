"""Orders that name a launch specification, at an exchange without delivery: what cannot be is said before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres


def bodies(hour: str, **more: object) -> dict[str, dict[str, Any]]:
    """The same purchase as an order, as a range and as a block, by path."""
    terms = {"side": "buy", "qty": 1, "price": "2.00"}
    many = {"class": CLASSES[0], "from": begin(hour), **terms}
    found = {
        "/v1/orders": {"contract": hour, **terms},
        "/v1/ranges": {**many, "count": 1},
        "/v1/blocks": {**many, "hours": 1},
    }
    return {path: body | more for path, body in found.items()}


@pytest.mark.parametrize(
    ("more", "word"),
    [({"launch": "train"}, "client_order_id"), ({"launch": "train", "client_order_id": "a", "side": "sell"}, "sells")],
)
def test_it_goes_with_a_purchase_that_has_an_id_and_with_nothing_else(
    exchange: Exchange, ana: Member, more: dict[str, str], word: str
) -> None:
    """The previews say so, too."""
    for path, body in bodies(exchange.fresh_hour(), **more).items():
        for asked in (path, f"{path}/preview"):
            refused = ana.ask("POST", asked, body)
            assert (refused.status_code, refused.json()["code"]) == (422, "wrong_launch"), asked
            assert word in refused.json()["detail"]


def test_where_nobody_can_keep_the_name_no_order_is_sent(exchange: Exchange, ana: Member) -> None:
    hour = exchange.fresh_hour()
    for path, body in bodies(hour, launch="train", client_order_id="a").items():
        refused = ana.ask("POST", path, body)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready"), path
        assert refused.json()["outcome"] == "rejected"
    batch = {"orders": [bodies(hour, launch="train", client_order_id="a")["/v1/orders"]]}
    (outcome,) = ana.ask("POST", "/v1/orders/batch", batch).json()["outcomes"]
    assert outcome["problem"]["code"] == "not_ready"
    assert ana.get(f"/v1/orders?contract={hour}") == []


def test_the_default_needs_nobody_to_keep_it(exchange: Exchange, ana: Member) -> None:
    for path, body in bodies(exchange.fresh_hour(), launch="default", client_order_id="").items():
        placed = ana.ask("POST", path, body | {"client_order_id": path[-6:]})
        assert placed.status_code == 201, placed.text
