"""What waits for an operator: promises that must be covered, and ended hours of which no delivery record speaks.

A file late in the alphabet: by the time it is run the first hour of the exchange has usually ended.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.conftest import Early
from tests.gateway.exchange import Exchange, Member, begin


def rows_of(exchange: Exchange, path: str, contract: str) -> list[dict[str, Any]]:
    exchange.settled()
    return [row for row in exchange.operator.get(path) if row["contract"] == contract]


def test_a_promise_waits_from_its_sale_until_machines_are_procured(exchange: Exchange, ana: Member) -> None:
    """Sold short it is owed as promised; procured it is not; sold on it says what machines there are already."""
    maker, contract = exchange.member(role="market_maker"), exchange.fresh_hour()
    maker.done(
        "POST", "/v1/transfers", {"direction": "to_trading", "amount": "40", "class": contract.rsplit(".", 1)[0]}
    )
    maker.back(contract, 5, ground="promised", price="6.60")
    owed = {"account": maker.account, "contract": contract, "hour": begin(contract), "collateral_price": "6.60"}
    assert rows_of(exchange, "/v1/admin/promises", contract) == []

    maker.placed(contract, "sell", 5, "3.40")
    ana.placed(contract, "buy", 3, "3.40")
    assert rows_of(exchange, "/v1/admin/promises", contract) == [owed | {"owed": 3, "declared": 0}]

    bought = {"account": maker.account, "class": contract.rsplit(".", 1)[0], "from": begin(contract), "hours": 1}
    exchange.operator.done("POST", "/v1/admin/procure", bought | {"qty": 3, "cost": "9.87"})
    assert rows_of(exchange, "/v1/admin/promises", contract) == []

    ana.placed(contract, "buy", 2, "3.40")
    assert rows_of(exchange, "/v1/admin/promises", contract) == [owed | {"owed": 2, "declared": 3}]


def test_what_a_market_maker_sold_as_ready_waits_for_a_machine(exchange: Exchange, ana: Member) -> None:
    """A provider's idle machine is there; one that was promised has to be procured, for the minutes that were sold, once."""
    maker, contract = exchange.member(role="market_maker"), exchange.running_hour()
    class_id = contract.rsplit(".", 1)[0]
    maker.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "40", "class": class_id})
    maker.back(contract, 2, ground="ready", price="6.60")
    provider = exchange.member(role="provider", usd="0")
    provider.back(contract, 1, ground="ready")
    provider.placed(contract, "sell", 1, "1.70", running=True)
    maker.placed(contract, "sell", 2, "1.71", running=True)
    fills = ana.placed(contract, "buy", 3, "1.71", tif="ioc")["fills"]
    assert [(fill["qty"], fill["price"]) for fill in fills] == [(1, "1.70"), (2, "1.71")]

    waiting = [row for row in rows_of(exchange, "/v1/admin/uncovered", contract) if row["account"] == maker.account]
    minutes = next(fill["minutes"] for fill in ana.get("/v1/fills") if fill["price"] == "1.71")
    (title,) = [row.pop("title") for row in waiting]
    assert waiting == [
        {
            "account": maker.account, "contract": contract, "hour": begin(contract), "ground": "ready", "qty": 2,
            "minutes": minutes, "ended": False,
        }
    ]  # fmt: skip

    body = {"account": maker.account, "class": class_id, "from": begin(contract), "hours": 1, "qty": 2, "cost": "1.50"}
    wrong = exchange.operator.ask("POST", "/v1/admin/procure", body | {"title": title, "qty": 1}).json()
    assert (wrong["code"], wrong["status"]) == ("unknown_title", 404)
    wallet = maker.money()[0]
    assert exchange.operator.done("POST", "/v1/admin/procure", body | {"title": title})["title"] == title
    again = exchange.operator.ask("POST", "/v1/admin/procure", body | {"title": title}).json()

    assert (again["code"], again["status"]) == ("procured_before", 409)
    assert float(wallet) - float(maker.money()[0]) == pytest.approx(1.5)
    assert maker.get("/v1/ledger")[0]["what"] == "simulated procurement"
    assert [row for row in rows_of(exchange, "/v1/admin/uncovered", contract) if row["account"] == maker.account] == []


def test_an_ended_hour_waits_until_somebody_says_what_was_delivered(exchange: Exchange, early: Early) -> None:
    def waiting() -> list[dict[str, Any]]:
        return rows_of(exchange, "/v1/admin/undelivered", early.sold)

    exchange.until(lambda: bool(waiting()), "the hour ends", 150)
    assert [(row["hour"], row["titles"] >= 1) for row in waiting()] == [(begin(early.sold), True)]

    record = {"contract": early.sold, "simulated": True, "undelivered_minutes": 0}
    assert exchange.operator.ask("POST", "/v1/admin/deliveries", record).status_code == 202
    exchange.until(lambda: not waiting(), "settlement has read the record")

    (brought,) = [row for row in early.provider.get("/v1/income") if row["contract"] == early.sold]
    assert (brought["state"], brought["gpus"], brought["undelivered"]) == ("paid", 1, 0)
    assert (brought["starts_at"], brought["paid"]) == (begin(early.sold), brought["expected"])
    booked = [
        line for line in early.provider.get("/v1/ledger") if line["kind"] == "wallet" and "delivered" in line["what"]
    ]
    assert [line["amount"] for line in booked] == [brought["paid"]]
    earlier = early.provider.get(f"/v1/income?before={begin(early.sold)}")
    assert earlier == []


def test_of_an_hour_that_was_never_listed_nothing_is_delivered(exchange: Exchange, early: Early) -> None:
    class_id = early.sold.rpartition(".")[0]
    record = {"contract": f"{class_id}.20200101T00-USD", "simulated": True, "undelivered_minutes": 60}
    answer = exchange.operator.ask("POST", "/v1/admin/deliveries", record)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_contract")
    assert "never listed" in answer.json()["detail"]


def test_only_operators_see_what_waits(ana: Member) -> None:
    for path in ("/v1/admin/promises", "/v1/admin/uncovered", "/v1/admin/undelivered"):
        answer = ana.ask("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
