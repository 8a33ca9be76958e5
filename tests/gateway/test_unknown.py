"""What a client does not learn in time: the answer says so, and the same request again tells what became of it."""

from __future__ import annotations

import os
import signal
import threading
import time

import httpx
import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES
MATCHING = ("matching-0a", "matching-0b")
"""Both processes of the shard in which H100 trades."""


def orders_of(exchange: Exchange, member: Member) -> list[tuple[str, str]]:
    """(client order id, order id) of every order that there is of a member, oldest first."""
    exchange.settled()
    return [(order["client_order_id"], order["order_id"]) for order in reversed(member.get("/v1/orders"))]


def test_an_order_without_an_answer_is_unknown_and_sent_again_it_is_one_order(exchange: Exchange, ana: Member) -> None:
    """Matching of one shard stands still. Ana waits until the door gives up; Carl's gateway is killed while he waits."""
    hour, carl, dora = exchange.fresh_hour(), exchange.member(), exchange.member()
    for member in (ana, carl):
        member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "50", "class": H100})
    lost: list[httpx.Response | str] = []

    def ask_until_it_breaks() -> None:
        try:
            lost.append(carl.order(hour, "buy", 1, "2.00", client_order_id="carls"))
        except httpx.HTTPError as error:
            lost.append(type(error).__name__)

    with exchange.stopped(*MATCHING):
        began = time.monotonic()
        answer = ana.order(hour, "buy", 1, "2.00", client_order_id="anas")
        waited_s = time.monotonic() - began
        problem = answer.json()
        assert [answer.status_code, problem["code"], problem["outcome"], problem["retryable"]] == [
            504, "outcome_unknown", "unknown", True,
        ]  # fmt: skip
        assert 4.5 < waited_s < 7
        # The other shard trades on.
        assert dora.placed(exchange.fresh_hour(L40S), "buy", 1, "0.90")["state"] == "open"

        asking = threading.Thread(target=ask_until_it_breaks)
        asking.start()
        time.sleep(0.3)
        pid = exchange.supervisor.pid("gateway")
        os.kill(pid, signal.SIGKILL)
        asking.join()
        assert lost in (["RemoteProtocolError"], ["ReadError"]), "he was told nothing"
        exchange.until(lambda: exchange.supervisor.pid("gateway") != pid, "the gateway is started again")

    exchange.until(lambda: exchange.answers(exchange.operator, "/v1/keys"), "it opens")
    found = {}
    for member, name in ((ana, "anas"), (carl, "carls")):
        body = {"contract": hour, "side": "buy", "qty": 1, "price": "2.00", "client_order_id": name}
        exchange.until(lambda: member.ask("POST", "/v1/orders", body).status_code == 201, "matching goes on", 30)  # noqa: B023 # called at once
        found[name] = member.placed(hour, "buy", 1, "2.00", client_order_id=name)
        assert found[name]["repeated"] is True
        assert orders_of(exchange, member) == [(name, found[name]["order_id"])]


def test_a_gateway_that_starts_late_misses_no_answer_of_its_own(exchange: Exchange, ana: Member) -> None:
    """While others trade, a new one opens: its first order is acknowledged, as it knew the end of the log before it asked."""
    hour, stop = exchange.fresh_hour(), threading.Event()
    for member in (ana, busy := exchange.member()):
        member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "50", "class": H100})

    def trade() -> None:
        while not stop.is_set():
            order = busy.placed(hour, "buy", 1, "2.00")
            busy.ask("DELETE", f"/v1/orders/{order['order_id']}")

    trader = threading.Thread(target=trade)
    trader.start()
    try:
        late = ana.at(exchange.gateway("gateway-c"))
        answers = list[httpx.Response]()

        def asks() -> bool:
            try:
                answers.append(late.order(hour, "buy", 1, "2.05", client_order_id="the-first"))
            except httpx.ConnectError:
                return False
            return True

        exchange.until(asks, "the late gateway opens")
    finally:
        stop.set()
        trader.join()
    assert [(answer.status_code, answer.json()["repeated"]) for answer in answers] == [(201, False)]
    assert orders_of(exchange, ana) == [("the-first", answers[0].json()["order_id"])]
