"""A running exchange goes from one engine version to the next: its books, money and hours stay, and the new rules hold."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from services.runtime import topics
from tests.integration.hall import CLASSES, Hall, open_hall

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """As it would have been created by the build before."""
    monkeypatch.setattr(topics, "ENGINE_VERSION", 1)
    with open_hall(rate=1) as opened:
        yield opened


def test_a_shard_goes_on_by_the_rules_of_the_next_version(hall: Hall) -> None:
    """One shard, then the other; processes that begin anew between read the log of both versions."""
    hours = hall.hours(CLASSES[0])
    ask = {"contract": hours[3]["contract"], "side": "sell", "qty": 4, "price": "2.50"}
    waits = order(hall, "provider", {**ask, "client_order_id": "before"})
    bought = order(hall, "buyer", {**ask, "side": "buy", "qty": 1, "client_order_id": "bought-before"})
    assert bought["state"] == "filled"
    block = {"class": CLASSES[0], "from": hours[3]["hour"], "hours": 2, "side": "buy", "qty": 1, "price": "2.60"}
    assert blocked(hall, block)["code"] == "not_offered_yet"

    assert upgraded(hall, 0) == {"shard": 0, "version": 2}

    hall.until(lambda: engine_versions(hall) == [1, 1, 2, 2], "writer and standby of shard 0 go on by it")
    for name in ("matching-0a", "matching-0b"):
        os.kill(hall.supervisor.pid(name), signal.SIGKILL)
        hall.let_pass(2)
    order(hall, "provider", {**ask, "contract": hours[4]["contract"], "client_order_id": "after"})
    hall.until(lambda: blocked(hall, {**block, "client_order_id": "a-block"}).get("filled") == 1, "blocks are there")
    after = hall.ask("GET", f"/v1/orders/{waits['order_id']}", hall.bearers["provider"]).json()
    assert (after["state"], after["leaves"]) == ("open", 2), "what waited before was sold to the one and to the block"
    assert upgraded(hall, 0, version=1)["code"] == "wrong_version"
    assert upgraded(hall, 1) == {"shard": 1, "version": 2}
    hall.until(lambda: engine_versions(hall) == [2, 2, 2, 2], "and those of shard 1")
    hall.until_settled()
    assert broken(hall) == {}


def upgraded(hall: Hall, shard: int, version: int = 2) -> dict[str, Any]:
    body = {"shard": shard, "version": version}
    answer: dict[str, Any] = hall.ask("POST", "/v1/admin/engine-version", hall.operator, body).json()
    return answer


def order(hall: Hall, who: str, body: dict[str, Any]) -> dict[str, Any]:
    """Acknowledged, sent again under the same id while its outcome is unknown."""
    answers: list[dict[str, Any]] = []

    def is_there() -> bool:
        answer = hall.ask("POST", "/v1/orders", hall.bearers[who], body)
        assert answer.status_code in (201, 503, 504, 599), answer.text
        if answer.status_code == 201:
            answers.append(answer.json())
        return bool(answers)

    hall.until(is_there, "the order is acknowledged")
    return answers[0]


def blocked(hall: Hall, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = hall.ask("POST", "/v1/blocks", hall.bearers["buyer"], body).json()
    return answer


def engine_versions(hall: Hall) -> list[int]:
    """Of the matching processes that answer."""
    said = hall.statuses().items()
    return sorted(int(told.get("engine_version", 0)) for name, told in said if name.startswith("matching"))


def broken(hall: Hall) -> dict[str, Any]:
    return {finding.name: finding.breaches for finding in hall.audited() if finding.broken}
