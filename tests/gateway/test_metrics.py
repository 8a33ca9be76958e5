"""What the gateway tells of requests to whoever scrapes it: routes and outcomes, and nothing of who asked for what."""

from __future__ import annotations

import json

from tests.gateway.exchange import Exchange, Member
from tests.integration.alarms import Sample, scraped


def told(exchange: Exchange) -> list[Sample]:
    run = json.loads((exchange.stack.home / "run" / "gateway.json").read_text())
    return scraped({"gateway": run["status"]})


def counts(samples: list[Sample]) -> dict[tuple[str, str, str], float]:
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in samples
        if sample.name == "hourbook_requests_total"
    }


def test_requests_are_counted_by_route_and_outcome_and_show_nobody(exchange: Exchange, ana: Member) -> None:
    before = counts(told(exchange))
    order = ana.placed(exchange.fresh_hour(), "buy", 1, "2.00", client_order_id="ana-s-own-words")
    ana.get(f"/v1/orders/{order['order_id']}")
    assert ana.ask("GET", "/v1/orders/client/never-used").status_code == 404
    assert ana.ask("PUT", "/v1/nowhere/ana-s-own-words").status_code == 404
    assert ana.ask("BREW", "/v1/orders").status_code == 405

    samples = told(exchange)

    after = counts(samples)
    assert {
        key: after[key] - before.get(key, 0)
        for key in (
            ("POST", "/v1/orders", "201"),
            ("GET", "/v1/orders/{order_id}", "200"),
            ("GET", "/v1/orders/client/{client_id}", "404"),
            ("none", "none", "404"),
            ("none", "none", "405"),
        )
    } == {
        ("POST", "/v1/orders", "201"): 1,
        ("GET", "/v1/orders/{order_id}", "200"): 1,
        ("GET", "/v1/orders/client/{client_id}", "404"): 1,
        ("none", "none", "404"): 1,
        ("none", "none", "405"): 1,
    }
    timed = [s.value for s in samples if s.name == "hourbook_request_seconds_sum" and s.labels["route"] == "/v1/orders"]
    assert timed[0] > 0
    shown = " ".join(f"{sample.name} {sample.labels}" for sample in samples)
    for secret in ("ana-s-own-words", order["order_id"], ana.key.key_id, "BREW", "nowhere"):
        assert secret not in shown
