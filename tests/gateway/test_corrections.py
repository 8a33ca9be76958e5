"""Operators: corrections in cash by two of them, machines procured for a market maker."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from schemas.specifications import published
from services.gateway.approvals import LIFE_MS, Correction, approve, check
from services.gateway.errors import ApiError
from tests.gateway.exchange import CLASSES, Exchange, Member, begin

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


@pytest.fixture(scope="module")
def operators(exchange: Exchange) -> tuple[Member, Member]:
    """Two of different owners, each with an account and a key for operators."""
    first, second = exchange.member(usd="0"), exchange.member(usd="0")
    return first.holding(exchange.key(first.account, "operator")), second.holding(
        exchange.key(second.account, "operator")
    )


def traded(exchange: Exchange) -> tuple[Member, Member, dict[str, Any]]:
    """Ana bought from Bert at 6.00 what everybody sells at 3.00, and both have money: (ana, bert, correction)."""
    hour, ana = exchange.fresh_hour(), exchange.member()
    bert = exchange.member(role="provider", usd="100")
    bert.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "50", "class": H100})
    bert.back(hour, 1)
    bert.placed(hour, "sell", 1, "6.00")
    (fill,) = ana.placed(hour, "buy", 1, "6.00")["fills"]
    reason = f"a slip of the pen in {fill['trade']}"
    body = {"trade": fill["trade"], "payer": bert.account, "payee": ana.account, "amount": "3.00", "reason": reason}
    return ana, bert, body


def test_two_operators_put_a_clear_error_right_and_everybody_sees_it(
    exchange: Exchange, operators: tuple[Member, Member]
) -> None:
    """Approved by one, sent by the other, made once however often it is sent."""
    first, second = operators
    ana, bert, body = traded(exchange)
    before = ana.money()[1], bert.money()[1]
    approval = first.ask("POST", "/v1/admin/corrections/approval", body).json()
    assert approval["operator"] == first.account
    assert (ana.money()[1], bert.money()[1]) == before, "nothing has happened yet"

    done = second.ask("POST", "/v1/admin/corrections", {**body, "approval": approval["approval"]})
    again = second.ask("POST", "/v1/admin/corrections", {**body, "approval": approval["approval"]})

    assert (done.status_code, again.status_code) == (200, 200), (done.text, again.text)
    assert done.json() == again.json()
    assert (before, ana.money()[1], bert.money()[1]) == (("0.000001", "50.00"), "3.000001", "47.00")
    shown = [each for each in ana.get("/v1/corrections") if each["trade"] == body["trade"]]
    assert shown == [done.json()]
    assert shown[0]["reason"].startswith(f"{body['reason']} (approval ")
    assert sorted(shown[0]) == ["amount", "at", "reason", "trade"], "nobody's account is named"
    assert [line["what"] for line in ana.get("/v1/ledger")].count("cash_corrected") == 1


def test_an_approval_sent_at_two_gateways_at_once_is_made_once(
    exchange: Exchange, operators: tuple[Member, Member], second: str
) -> None:
    """Six times in all: each is answered, with the same correction, and 3.00 have moved."""
    ana, bert, body = traded(exchange)
    approved = {**body, **_approval(operators[0].ask("POST", "/v1/admin/corrections/approval", body))}
    doors = [operators[1], operators[1].at(second)] * 3
    asks = [lambda at=door: at.ask("POST", "/v1/admin/corrections", approved) for door in doors]

    answers = exchange.at_once(*asks)

    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]
    assert len({answer.text for answer in answers}) == 1
    assert (ana.money()[1], bert.money()[1]) == ("3.000001", "47.00")
    assert [line["what"] for line in ana.get("/v1/ledger")].count("cash_corrected") == 1


@pytest.mark.parametrize(
    ("who", "changes", "code"),
    [
        ("the one who approved", {}, "wrong_owner"),
        ("second", {"amount": "3.01"}, "wrong_approval"),
        ("second", {"reason": "another reason"}, "wrong_approval"),
        ("second", {"approval": "made up"}, "wrong_approval"),
        ("second", {"approval": "A" * 120}, "wrong_approval"),
        ("an operator without an account", {}, "unknown_account"),
    ],
)
def test_a_correction_that_is_not_approved_is_not_made(
    exchange: Exchange, operators: tuple[Member, Member], approved: dict[str, Any], who: str, changes: object, code: str
) -> None:
    assert isinstance(changes, dict)
    asks = {"the one who approved": operators[0], "second": operators[1]}.get(who, exchange.operator)
    answer = asks.ask("POST", "/v1/admin/corrections", {**approved, **changes})
    assert answer.json()["code"] == code, answer.text
    assert [each for each in asks.get("/v1/corrections") if each["trade"] == approved["trade"]] == []


@pytest.fixture(scope="module")
def approved(exchange: Exchange, operators: tuple[Member, Member]) -> dict[str, Any]:
    """A correction that could be made, with its approval."""
    _, _, body = traded(exchange)
    return {**body, **_approval(operators[0].ask("POST", "/v1/admin/corrections/approval", body))}


def _approval(answer: httpx.Response) -> dict[str, str]:
    return {"approval": answer.json()["approval"]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"trade": "0-999999"}, "unknown_trade"),
        ({"trade": "77-1"}, "unknown_trade"),
        ({"trade": "first"}, "unknown_trade"),
        ({"payee": 999_999}, "unknown_account"),
        ({"amount": "0"}, "wrong_amount"),
        ({"amount": "1000"}, "insufficient_funds"),
        ({"amount": "much"}, "wrong_decimal"),
        ({"reason": ""}, "malformed"),
        ({"payee": "payer"}, "wrong_owner"),
    ],
)
def test_a_correction_with_a_mistake_is_refused(
    operators: tuple[Member, Member], approved: dict[str, Any], changes: dict[str, Any], code: str
) -> None:
    """By the door, or, approved as it is, by the engine."""
    body = {name: approved[name] for name in ("trade", "payer", "payee", "amount", "reason")} | changes
    if body["payee"] == "payer":
        body["payee"] = body["payer"]
    answer = operators[0].ask("POST", "/v1/admin/corrections/approval", body)
    if answer.is_success:
        answer = operators[1].ask("POST", "/v1/admin/corrections", {**body, **_approval(answer)})
    assert answer.json()["code"] == code, answer.text


@pytest.mark.parametrize("changes", [{"payer": 0}, {"payee": -1}], ids=str)
def test_nothing_is_approved_for_an_account_that_there_cannot_be(
    operators: tuple[Member, Member], approved: dict[str, Any], changes: dict[str, Any]
) -> None:
    body = {name: approved[name] for name in ("trade", "payer", "payee", "amount", "reason")} | changes
    answer = operators[0].ask("POST", "/v1/admin/corrections/approval", body)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_account")


# --- Approvals, pure -----------------------------------------------------------------------------------------

CORRECTION = Correction(0, 17, 3, 4, 3_000_000, "a slip")
KEY, NONCE = b"k" * 32, b"12345678"


def test_an_approval_says_who_approved_what_and_until_when() -> None:
    text = approve(KEY, CORRECTION, 7, 70, LIFE_MS, NONCE)
    found = check(KEY, text, CORRECTION, LIFE_MS - 1)
    assert (found.operator, found.owner, found.expires_ms, found.name) == (7, 70, LIFE_MS, NONCE.hex())


@pytest.mark.parametrize(
    ("key", "spoil", "correction", "now_ms", "said"),
    [
        (b"x" * 32, "", CORRECTION, 0, "not an approval of ours"),
        (KEY, "A", CORRECTION, 0, "not an approval of ours"),
        (KEY, "!", CORRECTION, 0, "not an approval"),
        (KEY, "", Correction(0, 17, 4, 3, 3_000_000, "a slip"), 0, "for another correction"),
        (KEY, "", CORRECTION, LIFE_MS, "ten minutes are over"),
    ],
)
def test_an_approval_that_does_not_fit_is_none(
    key: bytes, spoil: str, correction: Correction, now_ms: int, said: str
) -> None:
    """Of another exchange, changed, of another correction, too late."""
    text = spoil + approve(KEY, CORRECTION, 7, 70, LIFE_MS, NONCE)[len(spoil) :]
    with pytest.raises(ApiError, match=said) as refused:
        check(key, text, correction, now_ms)
    assert refused.value.code == "wrong_approval"


def test_no_single_changed_letter_is_believed() -> None:
    text = approve(KEY, CORRECTION, 7, 70, LIFE_MS, NONCE)
    for place in range(len(text) - 1):  # the last letter has bits that no byte needs
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(ApiError):
            check(KEY, changed, CORRECTION, 0)


# --- Procurement ---------------------------------------------------------------------------------------------


def test_procured_machines_cover_what_a_market_maker_has_promised(exchange: Exchange) -> None:
    """It promised two and sold one; a machine is bought for it from its wallet, and its collateral is free again."""
    hour, maker = exchange.fresh_hour(), exchange.member(role="market_maker", usd="100")
    maker.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "20", "class": H100})
    maker.back(hour, 2, ground="promised", price="6.60")
    maker.placed(hour, "sell", 1, "3.00")
    exchange.member().placed(hour, "buy", 1, "3.00")
    body = {"account": maker.account, "class": H100, "from": begin(hour), "hours": 1, "qty": 1, "cost": "2.50"}

    outcome = exchange.operator.done("POST", "/v1/admin/procure", body)

    assert (outcome["cost"], outcome["declared"]) == ("2.50", 1)
    assert maker.money()[0] == "77.50"
    backing = {each["ground"]: (each["qty"], each["owed"]) for each in maker.get("/v1/capacity")}
    assert backing == {"declared": (1, 1), "promised": (2, 0)}
    assert ("simulated procurement", "wallet", "-2.50") in [
        (line["what"], line["kind"], line["amount"]) for line in maker.get("/v1/ledger")
    ]


@pytest.mark.parametrize(
    ("role", "changes", "code"),
    [
        ("member", {}, "wrong_role"),
        ("market_maker", {"cost": "1000.01"}, "insufficient_funds"),
        ("market_maker", {"qty": 0}, "wrong_qty"),
        ("market_maker", {"hours": 0}, "wrong_hours"),
        ("market_maker", {"provider": "a-real-cloud"}, "not_offered_yet"),
        ("market_maker", {"account": 999_999}, "unknown_account"),
    ],
)
def test_a_procurement_with_a_mistake_is_refused(
    exchange: Exchange, role: str, changes: dict[str, Any], code: str
) -> None:
    maker, hour = exchange.member(role=role), exchange.first_hour()
    body = {"account": maker.account, "class": H100, "from": begin(hour), "hours": 1, "qty": 1, "cost": "2.50"}
    answer = exchange.operator.ask("POST", "/v1/admin/procure", {**body, **changes})
    assert answer.json()["code"] == code, answer.text
    assert maker.money()[0] == "1000.00"


@pytest.mark.parametrize(
    ("changes", "code", "need"),
    [
        ({"collateral_price": "6.595"}, "wrong_collateral", "6.60"),
        ({"qty": 100}, "insufficient_funds", "660.00"),
        ({"ground": "ready", "collateral_price": "0"}, "wrong_collateral", "6.60"),
        ({"qty": -1}, "wrong_qty", 1),
    ],
)
def test_a_promise_is_worth_its_collateral(
    exchange: Exchange, changes: dict[str, Any], code: str, need: object
) -> None:
    """At least the collar's cap for each GPU, in the trading balance; machines promised as ready likewise."""
    maker, hour = exchange.member(role="market_maker"), exchange.fresh_hour()
    body = {"class": H100, "from": begin(hour), "hours": 1, "ground": "promised", "qty": 1, "version": 1}
    problem = maker.ask("PUT", "/v1/capacity", {**body, "collateral_price": "6.60", **changes}).json()
    assert [problem[name] for name in ("code", "need")] == [code, need], problem
    assert maker.get("/v1/capacity") == []


def test_a_specification_that_contradicts_itself_is_not_listed(exchange: Exchange) -> None:
    text = published()[H100].decode()
    for spoilt in ("", text.replace("lot = 1", "lot = 3"), text + "\nsurprise = 1"):
        answer = exchange.operator.ask("POST", "/v1/admin/classes", {"shard": 0, "specification": spoilt})
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong_class")


def test_a_market_maker_does_not_declare_machines_of_its_own(exchange: Exchange) -> None:
    """The sentence says who can: an operator, by procuring them."""
    maker = exchange.member(role="market_maker")
    body = {
        "class": H100,
        "from": begin(exchange.first_hour()),
        "hours": 1,
        "ground": "declared",
        "qty": 1,
        "version": 1,
    }
    answer = maker.ask("PUT", "/v1/capacity", body)
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_role")
    assert "an operator procures machines" in answer.json()["detail"]
