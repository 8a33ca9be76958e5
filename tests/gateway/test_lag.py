"""Settlement behind the engine: reads never show the past, new orders wait outside, cancels and repeats pass."""

from __future__ import annotations

import os
import signal
import threading
import time

import httpx
import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member

pytestmark = pytest.mark.postgres
PRIVATE_READS = ("/v1/orders", "/v1/fills", "/v1/positions", "/v1/balance", "/v1/ledger", "/v1/capacity", "/v1/income")


def retryable(answer: httpx.Response, status: int) -> str:
    """The code of a refusal that says: nothing happened, try again."""
    problem = answer.json()
    assert (answer.status_code, problem["retryable"], problem["outcome"]) == (status, True, "rejected"), answer.text
    assert answer.headers["retry-after"] == "1"
    code: str = problem["code"]
    return code


def test_a_trade_is_seen_everywhere_as_soon_as_it_is_acknowledged(exchange: Exchange, ana: Member) -> None:
    """Ten times: order, fill, position, balance and ledger of the buyer, and the seller's fill, are there at the next look."""
    hour = exchange.fresh_hour()
    bert = exchange.seller(hour)
    bert.placed(hour, "sell", 10, "3.00")
    for bought in range(1, 11):
        order = ana.placed(hour, "buy", 1, "3.00")
        assert ana.get(f"/v1/orders/{order['order_id']}")["state"] == "filled"
        assert len(ana.get("/v1/fills")) == bought
        assert [(p["held"], p["owed"]) for p in ana.get("/v1/positions")] == [(bought, 0)]
        assert ana.get("/v1/balance")["wallet"] == f"{1000 - 3 * bought - 0.000001:.6f}"
        assert len(bert.get("/v1/fills")) == bought
        assert [(p["held"], p["owed"]) for p in bert.get("/v1/positions")] == [(0, bought)]


def test_a_busy_account_reads_while_it_writes(exchange: Exchange, ana: Member) -> None:
    """A read waits for what was there when it came, and not for what comes meanwhile."""
    hour, stop = exchange.fresh_hour(), threading.Event()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "500", "class": CLASSES[0]})

    def trade() -> None:
        while not stop.is_set():
            order = ana.placed(hour, "buy", 1, "2.00")
            ana.ask("DELETE", f"/v1/orders/{order['order_id']}")

    traders = [threading.Thread(target=trade) for _ in range(3)]
    for trader in traders:
        trader.start()
    try:
        answers = [ana.ask("GET", "/v1/balance") for _ in range(40)]
    finally:
        stop.set()
        for trader in traders:
            trader.join()
    assert {answer.status_code for answer in answers} == {200}


def test_while_settlement_stands_still_nobody_is_told_the_past(exchange: Exchange, ana: Member) -> None:
    """Reads of whom it concerns are refused within about a second; after two seconds new orders are. Cancels and repeats pass."""
    hour, carl = exchange.fresh_hour(), exchange.member()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "100", "class": CLASSES[0]})
    known = {name: ana.placed(hour, "buy", 1, "2.00", client_order_id=name) for name in ("known", "other", "third")}
    exchange.settled()
    late: list[httpx.Response] = []

    with exchange.stopped("settlement"):
        body = {"amount": "1", "destination": "simulated:ana"}
        key = {"Idempotency-Key": "asked while it stands still"}
        asking = threading.Thread(target=lambda: late.append(ana.ask("POST", "/v1/withdrawals", body, headers=key)))
        asking.start()
        began = time.monotonic()
        unseen = ana.placed(hour, "buy", 1, "2.05", client_order_id="unseen")
        assert unseen["state"] == "open"
        repeat, *reads = exchange.at_once(
            lambda: ana.order(hour, "buy", 1, "2.05", client_order_id="unseen"),
            *[lambda path=path: ana.ask("GET", path) for path in PRIVATE_READS],
        )
        assert {retryable(read, 503) for read in reads} == {"not_settled_yet"}
        assert 0.9 < time.monotonic() - began < 2.5, "it waits, and not for long"
        # The engine knows it, and it cannot be shown yet: whoever is told `rejected` would take it for no order.
        assert [repeat.status_code, repeat.json()["code"], repeat.json()["outcome"]] == [
            504,
            "outcome_unknown",
            "unknown",
        ]
        # Whom nothing of it concerns reads on.
        assert carl.get("/v1/orders") == []
        assert carl.get("/v1/balance")["wallet"] == "1000.00"

        exchange.until(lambda: min(shard["settlement_lag_ms"] for shard in exchange.status()) > 2_000, "it lags", 10)
        assert exchange.operator.get("/v1/status")["accepting_orders"] is False
        for member in (ana, carl):
            assert retryable(member.order(hour, "buy", 1, "2.10", client_order_id="new"), 503) == "overloaded"
        assert retryable(ana.order(hour, "buy", 1, "2.10"), 503) == "overloaded"
        # A repeat of what is known passes, and another body under a known id is still refused.
        again = ana.placed(hour, "buy", 1, "2.00", client_order_id="known")
        assert (again["order_id"], again["repeated"]) == (known["known"]["order_id"], True)
        assert ana.order(hour, "buy", 2, "2.00", client_order_id="known").json()["code"] == "duplicate_client_id"
        # Of one that is accepted and not settled nobody can tell yet: it is not called new, and not placed twice.
        assert retryable(ana.order(hour, "buy", 1, "2.05", client_order_id="unseen"), 503) == "overloaded"
        # Cancels pass, by either id, of either kind of order.
        for path, order in (
            (f"/v1/orders/{known['known']['order_id']}", known["known"]),
            ("/v1/orders/client/other", known["other"]),
            ("/v1/orders/client/unseen", unseen),
        ):
            cancelled = ana.ask("DELETE", path)
            assert (cancelled.status_code, cancelled.json()["order_id"]) == (200, order["order_id"]), cancelled.text
        asking.join()
    assert [(answer.status_code, answer.json()["state"]) for answer in late] == [(202, "pending")]

    exchange.until(lambda: exchange.operator.get("/v1/status")["accepting_orders"], "it has caught up", 10)
    states = {order["client_order_id"]: order["state"] for order in ana.get("/v1/orders")}
    assert states == {"known": "cancelled", "other": "cancelled", "third": "open", "unseen": "cancelled"}
    pending = late[0].json()["request_id"]
    exchange.until(lambda: ana.ask("GET", f"/v1/requests/{pending}").json().get("state") == "done", "the withdrawal")
    assert len(ana.get("/v1/withdrawals")) == 1
    assert ana.placed(hour, "buy", 1, "2.05", client_order_id="unseen")["repeated"] is True
    assert ana.placed(hour, "buy", 1, "2.10", client_order_id="new")["repeated"] is False


def test_a_gateway_that_was_killed_does_not_tell_the_past_either(exchange: Exchange, ana: Member) -> None:
    """It has forgotten what it acknowledged: whatever was written before it began must be settled first."""
    hour = exchange.fresh_hour()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "100", "class": CLASSES[0]})
    exchange.settled()
    with exchange.stopped("settlement"):
        placed = ana.placed(hour, "buy", 1, "2.00", client_order_id="before-the-crash")
        pid = exchange.supervisor.pid("gateway")
        os.kill(pid, signal.SIGKILL)
        exchange.until(lambda: exchange.supervisor.pid("gateway") != pid, "it is started again")
        exchange.until(lambda: exchange.answers(exchange.operator, "/v1/keys"), "it opens")
        assert retryable(ana.ask("GET", "/v1/orders"), 503) == "not_settled_yet"
    exchange.settled()
    assert [order["order_id"] for order in ana.get("/v1/orders")] == [placed["order_id"]]
    assert ana.placed(hour, "buy", 1, "2.00", client_order_id="before-the-crash")["repeated"] is True


def test_without_its_database_the_door_says_so_and_lets_cancels_pass(exchange: Exchange, ana: Member) -> None:
    """Postgres is killed: what needs it is refused as retryable, and when it is back nothing was lost or doubled."""
    hour = exchange.fresh_hour()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "100", "class": CLASSES[0]})
    order = ana.placed(hour, "buy", 1, "2.00", client_order_id="mine")
    by_name = ana.placed(hour, "buy", 1, "2.05", client_order_id="by-name")
    exchange.settled()
    exchange.postgres.kill9()
    try:
        for answer in (
            ana.ask("GET", "/v1/balance"),
            ana.ask("GET", f"/v1/trades?contract={hour}"),
            ana.order(hour, "buy", 1, "2.00", client_order_id="unborn"),
            ana.ask("POST", "/v1/withdrawals", {"amount": "1", "destination": "simulated:ana"}),
        ):
            assert retryable(answer, 503) in {"not_ready", "not_settled_yet"}
        for path, placed in ((f"/v1/orders/{order['order_id']}", order), ("/v1/orders/client/by-name", by_name)):
            gone = {"order_id": placed["order_id"], "contract": hour, "cancelled": 1, "orders": 1}
            assert ana.ask("DELETE", path).json() == gone
    finally:
        exchange.postgres.start()
    exchange.until(lambda: exchange.answers(ana, "/v1/orders"), "settlement is back")
    exchange.until(lambda: exchange.operator.get("/v1/status")["accepting_orders"], "and has caught up")
    states = {each["client_order_id"]: each["state"] for each in ana.get("/v1/orders")}
    assert states == {"mine": "cancelled", "by-name": "cancelled"}
    assert ana.get("/v1/withdrawals") == []
