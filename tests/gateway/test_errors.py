"""Every refusal has one answer: its code, its status and its sentence, and docs/api.md lists it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from schemas.events import Code, Rejected
from schemas.http import Problem
from schemas.ids import parse_order
from services.delivery.refusals import STATUS
from services.gateway.errors import CODES, ApiError
from services.gateway.orders import refusal_of
from services.router.refusals import STATUS as ROUTER_STATUS

ROOT = Path(__file__).parents[2]


def test_every_code_of_the_engine_has_an_answer() -> None:
    missing = [code.name for code in Code if code.name.lower() not in CODES]
    assert len(Code) > 30
    assert missing == []


def test_every_refusal_of_settlement_has_an_answer() -> None:
    """Whatever `Refused(...)` or `_note(...)` says in settlement, read from its sources."""
    said = _refusals_of_settlement()
    assert {"insufficient_funds", "deposit_known", "unknown_payout", "request_reused", "wrong_request_id"} <= said
    assert sorted(said - set(CODES)) == []


def test_every_code_that_the_door_raises_is_in_the_table() -> None:
    """And none stands there that nobody says: of the door's own codes each is raised somewhere."""
    raised = set[str]()
    for file in sorted((ROOT / "services/gateway").rglob("*.py")):
        raised |= _literals(file, {"ApiError"})
    raised |= {"not_found", "method_not_allowed", "too_large"}  # by status, from the HTTP library
    assert sorted(raised - set(CODES)) == []
    others = {code.name.lower() for code in Code} | _refusals_of_settlement() | set(STATUS) | set(ROUTER_STATUS)
    assert sorted(set(CODES) - raised - others) == []


@pytest.mark.parametrize("said", [STATUS, ROUTER_STATUS], ids=["delivery", "router"])
def test_rooms_refuse_with_the_statuses_of_the_table(said: dict[str, int]) -> None:
    """Each says its own to gateways; what they tell is the same."""
    assert {code: CODES[code].status for code in said} == said


NOT_AT_THE_DOOR = {
    "wrong_side": "the body's form knows buy and sell only",
    "wrong_ground": "the body's form knows three grounds only",
    "wrong_reference": "references are moved by the shard's own shell",
    "too_soon": "references are moved by the shard's own shell",
}


def test_every_refusal_of_the_engine_is_met_at_the_door_by_some_test() -> None:
    """Each code stands in a test that asks a whole exchange, but for those that no request can lead to."""
    met = set[str]()
    for file in sorted((ROOT / "tests/gateway").glob("test_*.py")):
        if file != Path(__file__):
            met |= {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    assert sorted({code.name.lower() for code in Code} - met) == sorted(NOT_AT_THE_DOOR)


def _refusals_of_settlement() -> set[str]:
    files = sorted((ROOT / "services/settlement").glob("*.py"))
    return set[str]().union(*(_literals(file, {"Refused", "_note"}) for file in files))


def _literals(file: Path, functions: set[str]) -> set[str]:
    """Codes in calls of these functions: strings of a code's form among their arguments."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            found |= {
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)*", str(argument.value))
            }
    return found


def test_the_documentation_lists_every_code_once_with_its_status() -> None:
    """The table under `## Errors` in docs/api.md, and nothing that the door does not say."""
    text = (ROOT / "docs/api.md").read_text().split("## Errors")[1]
    rows = re.findall(r"^\| ([0-9, ]+) \| (.+) \|$", text, re.MULTILINE)
    documented = list[tuple[str, int]]()
    for statuses, cell in rows:
        codes = re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", re.sub(r"\([^)]*\)|:[^|]*", "", cell))
        numbers = [int(status) for status in statuses.split(",")]
        assert len(numbers) in (1, len(codes)), f"{statuses}: {codes}"
        documented += zip(codes, numbers * len(codes) if len(numbers) == 1 else numbers, strict=False)

    assert [code for code, count in Counter(code for code, _ in documented).items() if count > 1] == []
    assert dict(documented) == {code: row.status for code, row in CODES.items()}


def test_every_answer_says_what_happened_and_what_to_do() -> None:
    """Statuses that clients know, no two with one title, and advice in each."""
    assert {row.status for row in CODES.values()} == {
        400,
        401,
        403,
        404,
        405,
        408,
        409,
        413,
        415,
        422,
        429,
        500,
        503,
        504,
    }
    titles = Counter(row.title for row in CODES.values())
    assert [title for title, count in titles.items() if count > 1] == []
    assert [code for code, row in CODES.items() if not row.title or not row.advice] == []


def test_only_what_may_have_happened_is_unknown_and_only_what_may_succeed_is_retryable() -> None:
    """A client that believes `rejected` sends the order elsewhere; one that believes `unknown` asks again."""
    unknown = [code for code in CODES if ApiError(code).outcome == "unknown"]
    retryable = [code for code, row in CODES.items() if row.retryable]
    assert sorted(unknown) == ["internal", "outcome_unknown"]
    assert sorted(retryable) == [
        "agent_running", "halted", "not_ready", "not_settled_yet", "outcome_unknown", "overloaded", "rate_limited", "too_late",
        "too_slow", "too_soon", "unknown_request",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "need", "have", "numbers", "detail"),
    [
        (Code.INSUFFICIENT_FUNDS, 12_600_000, 10_000_000, {"need": "12.60", "have": "10.00"},
         "needs 12.60 USD, 10.00 USD there: deposit, or ask for less"),
        (Code.INSUFFICIENT_FUNDS, 12_600_000, 0, {"need": "12.60", "have": "0.00"},
         "needs 12.60 USD, 0.00 USD there: deposit, or ask for less"),
        (Code.INSUFFICIENT_BACKING, 5, 0, {"need": 5, "have": 0}, "needs 5, 0 there: declare capacity, or sell what you hold"),
        (Code.WRONG_QTY, 8, 0, {"need": 8}, "the lot is 8: use a positive multiple of the lot, at most 1000000"),
        (Code.WRONG_PRICE, 5_000, 0, {"need": "0.005"}, "the tick is 0.005 USD: use a positive multiple of the tick"),
        (Code.OUTSIDE_COLLAR, 6_600_000, 0, {"need": "6.60"}, "its bound is 6.60 USD: stay within it"),
        (Code.CANNOT_FILL, 5, 3, {"need": 5, "have": 3}, "3 of 5 could be filled: ask for less, or use ioc"),
        (Code.STALE_VERSION, 0, 7, {"have": 7}, "version 7 is in force: use a higher version"),
        (Code.UNKNOWN_CONTRACT, 498_638, 0, {"need": "2026-11-19T14:00Z"},
         "the hour from 2026-11-19T14:00Z: GET /v1/contracts?class=... lists those that are"),
        (Code.TOO_MANY_ORDERS, 100_000, 0, {"need": 100_000},
         "100000 are allowed: cancel some, or wait until ids of a quarter of an hour ago are free"),
        (Code.WOULD_TRADE, 0, 0, {}, "lower the bid or raise the ask"),
    ],
)  # fmt: skip
def test_numbers_of_a_refusal_are_in_the_callers_units(
    code: Code, need: int, have: int, numbers: dict[str, object], detail: str
) -> None:
    """Money as decimals, GPUs as whole numbers, hours as times; numbers that the sentence has not are not shown."""
    problem = refusal_of(Rejected(0, 1, int(code), "", need, have)).problem("0123")
    document = msgspec.to_builtins(problem)
    assert document.pop("detail") == detail
    assert {name: document[name] for name in ("need", "have") if document[name] is not None} == numbers


def test_a_client_id_in_use_is_answered_with_the_order_that_it_stands_for() -> None:
    refusal = refusal_of(Rejected(0, 1, int(Code.DUPLICATE_CLIENT_ID), "x", 0, parse_order("1-1842-3-0")))
    assert str(refusal) == "it stands for order 1-1842-3-0: use a new id"
    assert refusal.numbers() == {}


@pytest.mark.parametrize("code", CODES)
def test_every_problem_has_every_member_of_rfc_9457(code: str) -> None:
    problem = ApiError(code).problem("0123456789abcdef")
    assert problem == Problem(
        type=f"/problems/{code}", title=CODES[code].title, status=CODES[code].status, detail=CODES[code].advice, code=code,
        request_id="0123456789abcdef", retryable=CODES[code].retryable, outcome=ApiError(code).outcome,
    )  # fmt: skip
