"""The OpenAPI document: made from handlers, structs and codes, it says what the door takes and all that it answers."""

from __future__ import annotations

import json
import re
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import http, ids
from schemas.edge import iso, iso_hour
from schemas.units import format_usd, parse_usd
from services.gateway.app import build
from services.gateway.errors import CODES, ApiError
from services.gateway.limits import Limits
from services.gateway.openapi import document
from services.gateway.values import trade_number
from services.gateway.wiring import Gateway


class Bare:
    """As much of a gateway as an application needs before anybody asks."""

    limits = Limits()

    async def admit(self, _: object) -> None:
        """Nobody asks."""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(document(build(cast("Gateway", Bare())))))
    return whole


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        return [v for k, v in node.items() if k == "$ref"] + [r for v in node.values() for r in _references(v)]
    return [r for each in node for r in _references(each)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere(said: dict[str, Any]) -> None:
    references = set(_references(said))
    assert len(references) > 50
    for reference in references:
        node: Any = said
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_operations_have_names_of_their_own_and_say_what_they_do(said: dict[str, Any]) -> None:
    operations = [each for methods in said["paths"].values() for each in methods.values()]
    assert len(operations) == len({each["operationId"] for each in operations}) > 60
    assert [each["operationId"] for each in operations if not each["summary"].endswith(".")] == []


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/v1/time", [200, 400, 404, 500, 503]),
        ("get", "/v1/account", [200, 400, 401, 403, 404, 408, 413, 429, 500, 503]),
        ("get", "/v1/orders/client/{client_id}", [200, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503]),
        ("post", "/v1/orders", [201, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504]),
        ("delete", "/v1/orders/{order_id}", [200, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 504]),
        ("post", "/v1/transfers", [200, 202, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504]),
        ("post", "/v1/admin/deliveries", [202, 400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503, 504]),
    ],
)
def test_a_route_says_how_it_may_answer(said: dict[str, Any], method: str, path: str, statuses: list[int]) -> None:
    assert sorted(map(int, said["paths"][path][method]["responses"])) == statuses


def test_private_routes_say_how_to_show_a_key_and_public_ones_ask_for_none(said: dict[str, Any]) -> None:
    keys = [{"bearer": []}, {"key": [], "timestamp": [], "signature": []}]
    assert said["paths"]["/v1/orders"]["post"]["security"] == keys
    assert "security" not in said["paths"]["/v1/time"]["get"]
    for methods in said["paths"].values():
        for operation in methods.values():
            assert ("security" in operation) == ("401" in operation["responses"])


def test_every_code_stands_with_its_status_and_nothing_else(said: dict[str, Any]) -> None:
    told = {}
    for answer in said["components"]["responses"].values():
        (problem,) = answer["content"].values()
        ours = problem["schema"]["allOf"][1]["properties"]
        told |= dict.fromkeys(ours["code"]["enum"], ours["status"]["const"])
    assert told == {code: row.status for code, row in CODES.items()}


def test_what_is_asked_takes_no_field_that_is_not_known(said: dict[str, Any]) -> None:
    asked = {name: schema for name, schema in said["components"]["schemas"].items() if name.endswith("Request")}
    assert len(asked) > 20
    assert [name for name, schema in asked.items() if schema.get("additionalProperties") is not False] == []


def test_numbers_are_told_as_they_are_meant_and_exactly(said: dict[str, Any]) -> None:
    """As floats, 2**63 - 1 would be a number that no field takes."""
    order = said["components"]["schemas"]["OrderRequest"]["properties"]
    assert (order["qty"]["minimum"], order["qty"]["maximum"]) == (1, 1_000_000)
    assert said["components"]["schemas"]["DepositRequest"]["properties"]["account"]["maximum"] == 2**63 - 1
    (payout,) = [
        each
        for each in said["paths"]["/v1/admin/payouts/{payout}"]["post"]["parameters"]
        if each["name"] == "payout"
    ]  # fmt: skip
    assert payout["schema"] == {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    assert http.TOLD_RANGE not in json.dumps(said)


PATTERNS = {
    http.ORDER_ID: ids.parse_order,
    http.SYMBOL: ids.parse_symbol,
    http.TRADE: trade_number,
    http.USD: parse_usd,
}


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: PATTERNS[pattern].__name__)
def test_what_does_not_fit_a_pattern_is_not_taken(pattern: str) -> None:
    """So whoever keeps to the document loses nothing."""

    @given(st.from_regex(pattern, fullmatch=True).map(lambda text: text[:-1]) | st.text(max_size=20))
    def check(text: str) -> None:
        if re.fullmatch(pattern, text) is None:
            with pytest.raises((ValueError, ApiError)):
                PATTERNS[pattern](text)

    check()


@given(st.integers(0, 2**63 - 1), st.integers(0, ids.HOUR_MASK), st.integers(0, 2**62))
def test_what_we_write_fits_its_pattern(order: int, hour: int, money: int) -> None:
    usd = get_args(http.UsdAnswer)[1].extra_json_schema["pattern"]
    for text, pattern in [
        (ids.format_order(order), http.ORDER_ID),
        (ids.format_symbol("H100.SXM.80.US", hour), http.SYMBOL),
        (iso_hour(hour), http.HOUR),
        (iso(hour * 3_600_000 + 1), get_args(http.MomentAnswer)[1].extra_json_schema["pattern"]),
        (format_usd(money), usd),
        (format_usd(-money), usd),
    ]:
        assert re.fullmatch(pattern, text), (text, pattern)
