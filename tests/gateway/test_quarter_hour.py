"""What takes a quarter of an hour: the engine forgets client order ids, and money that lies around goes home.

Named so that it comes late: what the session began with has become old by then.
"""

from __future__ import annotations

import pytest

from tests.gateway.conftest import Early
from tests.gateway.exchange import Exchange
from tests.gateway.test_idempotency import count, identity
from tests.gateway.test_money import moved

pytestmark = pytest.mark.postgres
WINDOW_MS = 900_000
"""How long the engine itself remembers client order ids, in market time."""


def wait_until_forgotten(exchange: Exchange, early: Early) -> None:
    orders = exchange.rows("SELECT max(accepted_ms) AS ms FROM settlement.orders WHERE account = $1", early.ana.account)
    over_ms = orders[0]["ms"] + WINDOW_MS
    exchange.until(lambda: exchange.market_ms() > over_ms, "a quarter of an hour passes")


def test_an_id_of_a_quarter_of_an_hour_ago_still_stands_for_its_order(exchange: Exchange, early: Early) -> None:
    """The engine knows it no more; the door looks it up: the same body is a repeat, another is refused."""
    wait_until_forgotten(exchange, early)
    again = early.ana.placed(early.hour, "buy", 1, "2.00", client_order_id="cancelled")
    assert identity(again) == identity(early.orders["cancelled"])
    assert (again["repeated"], again["state"]) == (True, "cancelled")
    other = early.ana.order(early.hour, "buy", 2, "2.00", client_order_id="cancelled")
    assert other.json()["code"] == "duplicate_client_id"
    assert count(exchange, early.ana, "cancelled") == 1


def test_an_old_order_that_fills_as_it_is_sent_again_is_not_placed_twice(exchange: Exchange, early: Early) -> None:
    """It fills while settlement stands still: to the door it looks open, and in the engine its id is free again."""
    wait_until_forgotten(exchange, early)
    bert = exchange.seller(early.hour)
    exchange.settled()
    with exchange.stopped("settlement"):
        assert bert.placed(early.hour, "sell", 1, "2.00")["filled"] == 1
        again = early.ana.placed(early.hour, "buy", 1, "2.00", client_order_id="resting")
        assert again["order_id"] == early.orders["resting"]["order_id"]
    assert count(exchange, early.ana, "resting") == 1
    assert early.ana.get("/v1/orders/client/resting")["state"] == "filled"


def test_idle_trading_balance_goes_back_to_the_wallet(exchange: Exchange, early: Early) -> None:
    """Nothing open, nothing promised, nothing moved for a quarter of an hour: it is where it can be withdrawn."""
    exchange.until(lambda: early.idle.money() == ("1000.00", "0.00", "0.00"), "the idle balance is swept back", 30)
    assert moved(early.idle)[-2:] == [("swept", "trading", "-40.00"), ("swept", "wallet", "40.00")]
    sweeps = exchange.rows(
        "SELECT state, outcome FROM settlement.requests WHERE account = $1 AND request_id LIKE '%:idle-%'",
        early.idle.account,
    )
    assert [row["state"] for row in sweeps] == ["done"], "two gateways look, and ask once"
    # Those with something open are as old, and were looked at as often.
    for holder in (early.bidder, early.maker, early.blocker, early.quoter):
        assert holder.money() == ("960.00", "40.00", "0.00")
        assert [what for what, _, _ in moved(holder)].count("swept") == 0
        asked = exchange.rows(
            "SELECT state FROM settlement.requests WHERE request_id LIKE $1", f"{holder.account}:idle-%"
        )
        assert asked == [], "nobody even asks"
