"""Accounts, money and classes as settlement sends them, and each reason for which one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Role
from schemas.events import Code
from schemas.ids import HOUR_MASK
from schemas.units import AMOUNT_MAX, MS_PER_HOUR
from tests.matching.market import HOUR_NOW, Market, rows

# --- Accounts ------------------------------------------------------------------------------------------------


def test_an_account_is_opened_and_its_role_may_change() -> None:
    market = Market.given()
    first = market.outbox()

    said = market.tell(cmd.SetAccount(first, 5, 7, Role.MEMBER, 0))
    said += market.tell(cmd.SetAccount(first + 1, 5, 7, Role.PROVIDER, 0))
    said += market.tell(cmd.SetAccount(first + 2, 5, 7, Role.PROVIDER, 0))

    assert said == [
        ev.AccountSet(0, first, 5, 7, 0, 0),
        ev.AccountSet(0, first + 1, 5, 7, 1, 0),
        ev.AccountSet(0, first + 2, 5, 7, 1, 0),
    ]
    assert (market.engine.accounts[5].owner, market.engine.accounts[5].role) == (7, Role.PROVIDER)


def test_an_account_that_is_set_again_keeps_its_money_and_orders() -> None:
    market = Market.given("bid | price | ask\n2 ana | 2.00 |")

    market.when("ana is a member")

    assert market.book()[1:] == [("2 ana", "2.00", "")]
    assert market.balances("ana") == rows("""
        who | cash    | held     | collateral | free
        ana | 1000.00 | 4.000002 | 0.00       | 995.999998
    """)


@pytest.mark.parametrize(
    ("account", "owner", "role", "fee_plan", "code"),
    [
        (0, 7, 0, 0, Code.UNKNOWN_ACCOUNT),
        (-1, 7, 0, 0, Code.UNKNOWN_ACCOUNT),
        (6, 0, 0, 0, Code.UNKNOWN_ACCOUNT),
        (6, -7, 9, 9, Code.UNKNOWN_ACCOUNT),
        (5, 8, 9, 9, Code.WRONG_OWNER),
        (5, 7, 3, 9, Code.WRONG_ROLE),
        (6, 8, -1, 9, Code.WRONG_ROLE),
        (5, 7, 0, 1, Code.NOT_OFFERED_YET),
        (6, 8, 2, -1, Code.NOT_OFFERED_YET),
    ],
)
def test_an_account_is_refused_for_the_first_of_its_faults(
    account: int, owner: int, role: int, fee_plan: int, code: Code
) -> None:
    market = Market.given()
    market.tell(cmd.SetAccount(market.outbox(), 5, 7, 0, 0))
    number = market.outbox()

    said = market.tell(cmd.SetAccount(number, account, owner, role, fee_plan))

    assert said == [ev.OutboxRejected(0, number, account, code)]
    assert 6 not in market.engine.accounts


# --- Money ---------------------------------------------------------------------------------------------------


def test_money_comes_in_and_goes_out_and_each_time_the_balance_is_told() -> None:
    market = Market.given(money={"ana": "1.00"})
    ana = market.account("ana")

    said = market.tell(cmd.Credit(market.outbox(), ana, 500_000))
    said += market.tell(cmd.Sweep(market.outbox(), ana, 1_200_000))
    said += market.tell(cmd.Sweep(market.outbox(), ana, 1_200_000))

    assert [(event.amount, event.balance) for event in said if isinstance(event, (ev.Credited, ev.Swept))] == [
        (500_000, 1_500_000),
        (1_200_000, 300_000),
        (300_000, 0),
    ]


@pytest.mark.parametrize("kind", [cmd.Credit, cmd.Sweep])
@pytest.mark.parametrize("amount", [0, -1, -(2**63), AMOUNT_MAX + 1, 2**64 - 1])
def test_an_amount_is_positive_and_at_most_10_billion_dollars(kind: type[cmd.Credit | cmd.Sweep], amount: int) -> None:
    market = Market.given()
    ana, number = market.account("ana"), market.outbox()

    assert market.tell(kind(number, ana, amount)) == [ev.OutboxRejected(0, number, ana, Code.WRONG_AMOUNT)]


@pytest.mark.parametrize("kind", [cmd.Credit, cmd.Sweep])
def test_money_of_an_account_that_was_never_opened_is_refused_first(kind: type[cmd.Credit | cmd.Sweep]) -> None:
    market = Market.given()
    number = market.outbox()

    assert market.tell(kind(number, 77, -1)) == [ev.OutboxRejected(0, number, 77, Code.UNKNOWN_ACCOUNT)]


def test_the_largest_amount_is_taken() -> None:
    market = Market.given(money={"ana": "0"})
    ana = market.account("ana")

    (said,) = market.tell(cmd.Credit(market.outbox(), ana, AMOUNT_MAX))

    assert isinstance(said, ev.Credited)
    assert said.balance == AMOUNT_MAX


# --- Classes -------------------------------------------------------------------------------------------------

GOOD = cmd.SetClass(0, 7, "A100.SXM.80.US", 1, 10, 1_000, Fees(), first_hour=HOUR_NOW + 1)
EDGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # What is just right, and what is just wrong.
    "class_no lowest": ({"class_no": 2}, {"class_no": 0}),
    "class_no highest": ({"class_no": 1 << 20}, {"class_no": (1 << 20) + 1}),
    "class_id longest": ({"class_id": "A" * 40}, {"class_id": "A" * 41}),
    "class_id shortest": ({"class_id": "A"}, {"class_id": ""}),
    "class_id letters": ({"class_id": "A.0"}, {"class_id": "a.0"}),
    "class_id another's": ({"class_id": "H100.SXM.80.EU"}, {"class_id": "H100.SXM.80.US"}),
    "lot lowest": ({"lot": 1}, {"lot": 0}),
    "lot highest": ({"lot": 1_000}, {"lot": 1_001}),
    "tick": ({"tick": 1}, {"tick": 0}),
    "list price lowest": ({"list_price": 10}, {"list_price": 0}),
    "list price below zero": ({"list_price": 10}, {"list_price": -10}),
    "list price highest": ({"list_price": 10**9}, {"list_price": 10**9 + 10}),
    "list price on a tick": ({"list_price": 990}, {"list_price": 995}),
    "fees lowest": ({"fees": Fees(0, 0, 0, 0)}, {"fees": Fees(0, 0, 0, -1)}),
    "buyer's maker": ({"fees": Fees(1_000, 0, 0, 0)}, {"fees": Fees(1_001, 0, 0, 0)}),
    "buyer's taker": ({"fees": Fees(0, 1_000, 0, 0)}, {"fees": Fees(0, 1_001, 0, 0)}),
    "seller's maker": ({"fees": Fees(0, 0, 1_000, 0)}, {"fees": Fees(0, 0, 1_001, 0)}),
    "seller's taker": ({"fees": Fees(0, 0, 0, 1_000)}, {"fees": Fees(0, 0, 0, 1_001)}),
    "horizon lowest": ({"horizon_hours": 1}, {"horizon_hours": 0}),
    "horizon highest": ({"horizon_hours": 1_000}, {"horizon_hours": 1_001}),
    "gate lowest": ({"gate_ms": 0}, {"gate_ms": -1}),
    "gate highest": ({"gate_ms": MS_PER_HOUR}, {"gate_ms": MS_PER_HOUR + 1}),
    "cover lowest": ({"cover_ms": 0}, {"cover_ms": -1}),
    "cover highest": ({"cover_ms": 24 * MS_PER_HOUR}, {"cover_ms": 24 * MS_PER_HOUR + 1}),
    "running close lowest": ({"running_close_ms": 0}, {"running_close_ms": -1}),
    "running close highest": ({"running_close_ms": MS_PER_HOUR - 1}, {"running_close_ms": MS_PER_HOUR}),
    "collar low lowest": ({"collar_low_bp": 1}, {"collar_low_bp": 0}),
    "collar low highest": ({"collar_low_bp": 10_000}, {"collar_low_bp": 10_001}),
    "collar high lowest": ({"collar_high_bp": 10_000}, {"collar_high_bp": 9_999}),
    "collar high highest": ({"collar_high_bp": 100_000}, {"collar_high_bp": 100_001}),
    "first hour lowest": ({"first_hour": 0}, {"first_hour": -1}),
    "first hour highest": ({"first_hour": HOUR_MASK}, {"first_hour": HOUR_MASK + 1}),
}


@pytest.mark.parametrize(("right", "wrong"), EDGES.values(), ids=EDGES)
def test_a_class_has_values_within_bounds(right: dict[str, Any], wrong: dict[str, Any]) -> None:
    market = Market.given()
    number = market.outbox()

    refused = market.tell(replace(GOOD, outbox=number, **wrong))
    taken = market.tell(replace(GOOD, outbox=number + 1, **right))

    assert refused == [ev.OutboxRejected(0, number, 0, Code.WRONG_CLASS)]
    assert isinstance(taken[0], ev.ClassSet)


@pytest.mark.parametrize("field", GOOD.__struct_fields__[1:])
def test_a_listed_class_never_changes(field: str) -> None:
    """A change is a new class. The very same values again are fine."""
    market = Market.given()
    market.tell(replace(GOOD, outbox=market.outbox()))
    now = getattr(GOOD, field)
    other = {"class_no": 8, "class_id": "OTHER", "fees": Fees(1, 2, 3, 4)}.get(
        field, now * 2 if isinstance(now, int) and now else 1
    )
    number = market.outbox()

    assert market.tell(replace(GOOD, outbox=number, **{field: other})) == [
        ev.OutboxRejected(0, number, 0, Code.WRONG_CLASS)
    ]
    assert isinstance(market.tell(replace(GOOD, outbox=number + 1))[0], ev.ClassSet)
