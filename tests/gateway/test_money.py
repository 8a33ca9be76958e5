"""Money on its way: from outside into the wallet, to where it trades and back, and out again."""

from __future__ import annotations

import time
import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.gateway.exchange import CLASSES, Exchange, Member

pytestmark = pytest.mark.postgres
H100, L40S = CLASSES


def moved(member: Member) -> list[tuple[str, str, str]]:
    """The account's ledger, oldest entry first: (what, kind, amount)."""
    entries = dict[str, list[tuple[str, str, str]]]()
    for line in member.get("/v1/ledger"):
        entries.setdefault(line["entry"], []).append((line["what"], line["kind"], line["amount"]))
    return [line for entry in reversed(entries.values()) for line in entry]


def in_all(member: Member) -> Decimal:
    """Wallet and trading balances together."""
    return sum((Decimal(amount) for amount in member.money()), Decimal(0))


# --- A bid that lacks trading balance ------------------------------------------------------------------------


def test_a_bid_fetches_exactly_what_it_lacks(exchange: Exchange) -> None:
    """4 USD are there, 2 GPUs at 3.00 hold 6.000002: the rest comes from the wallet, to the µUSD."""
    ana = exchange.member(usd="100")
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "4", "class": H100})
    before = len(moved(ana))

    ana.placed(exchange.fresh_hour(), "buy", 2, "3.00")

    assert ana.money() == ("93.999998", "6.000002", "0.00")
    assert moved(ana)[before:] == [
        ("to_trading", "wallet", "-2.000002"),
        ("to_trading", "transit", "2.000002"),
        ("credited", "transit", "-2.000002"),
        ("credited", "trading", "2.000002"),
    ]
    assert ana.get("/v1/balance")["trading"][0] == {
        "shard": 0, "balance": "6.000002", "holds": "6.000002", "collateral": "0.00", "available": "0.00", "quoted": False,
    }  # fmt: skip


def test_a_funded_bid_moves_nothing(exchange: Exchange, ana: Member) -> None:
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "50", "class": H100})
    before = len(moved(ana))
    ana.placed(exchange.fresh_hour(), "buy", 2, "3.00")
    assert moved(ana)[before:] == []


def test_each_shard_has_a_balance_of_its_own(exchange: Exchange, ana: Member) -> None:
    """Money that waits in one shard does not help a bid in the other: the wallet does."""
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "990", "class": H100})
    ana.placed(exchange.fresh_hour(L40S), "buy", 1, "0.90")
    assert ana.money() == ("9.099999", "990.00", "0.900001")


def test_what_the_wallet_cannot_give_is_not_asked_for(exchange: Exchange) -> None:
    """6.00 there and 3.00 in the wallet: 12.000004 is refused with both sums, and neither has moved."""
    ana = exchange.member(usd="9")
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "6", "class": H100})
    before = ana.state()
    problem = ana.order(exchange.fresh_hour(), "buy", 4, "3.00").json()
    assert (problem["code"], problem["need"], problem["have"]) == ("insufficient_funds", "12.000004", "9.00")
    assert "6.00 is free for trading and 3.00 in the wallet" in problem["detail"]
    assert ana.state() == before


def test_an_order_that_takes_what_it_can_fetches_for_all_of_it(exchange: Exchange) -> None:
    """Immediate-or-cancel for 4, and 1 is sold: the other three GPUs' money is free again."""
    ana, hour = exchange.member(usd="100"), exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 1, "2.50")
    order = ana.placed(hour, "buy", 4, "3.00", tif="ioc")
    assert [order[name] for name in ("state", "reason", "filled", "cancelled", "leaves")] == [
        "cancelled",
        "ioc",
        1,
        3,
        0,
    ]
    assert [fill["price"] for fill in order["fills"]] == ["2.50"]
    assert ana.money() == ("87.999996", "9.500004", "0.00")
    assert ana.get("/v1/balance")["trading"][0]["available"] == "9.500004"


@pytest.mark.parametrize(
    ("more", "code"), [({"tif": "fok", "qty": 5}, "cannot_fill"), ({"post_only": True, "qty": 1}, "would_trade")]
)
def test_money_fetched_for_a_bid_that_is_then_refused_goes_back(
    exchange: Exchange, more: dict[str, Any], code: str
) -> None:
    """The engine looks at money first: only after the transfer does it see that the order cannot be, and nothing may change."""
    ana, hour = exchange.member(usd="100"), exchange.fresh_hour()
    exchange.seller(hour).placed(hour, "sell", 3, "3.00")
    answer = ana.order(hour, "buy", price="3.00", **more)
    assert (answer.json()["code"], answer.json()["outcome"]) == (code, "rejected")
    assert ana.money() == ("100.00", "0.00", "0.00")
    assert [what for what, kind, _ in moved(ana) if kind == "trading"] == ["credited", "swept"]


@pytest.mark.parametrize("gateways", [1, 2])
def test_bids_at_once_do_not_count_on_the_same_money(exchange: Exchange, second: str, gateways: int) -> None:
    """Four bids of 9.000003 each, 8 USD there and 40 in the wallet: all four find theirs, and nothing is fetched twice."""
    ana, hour = exchange.member(usd="48"), exchange.fresh_hour()
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "8", "class": H100})
    doors = [ana, ana.at(second)][:gateways]
    answers = exchange.at_once(*[lambda at=doors[n % gateways]: at.order(hour, "buy", 3, "3.00") for n in range(4)])
    assert [answer.status_code for answer in answers] == [201] * 4, [answer.text for answer in answers]
    assert ana.money() == ("11.999988", "36.000012", "0.00")


def test_of_too_many_bids_at_once_as_many_are_placed_as_there_is_money_for(exchange: Exchange) -> None:
    """Four of 9.000003 with 30 USD: three, and the fourth is told what there is."""
    ana, hour = exchange.member(usd="30"), exchange.fresh_hour()
    answers = exchange.at_once(*[lambda: ana.order(hour, "buy", 3, "3.00")] * 4)
    assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 422]
    (refused,) = [answer.json() for answer in answers if answer.status_code == 422]
    assert (refused["code"], refused["need"], refused["have"]) == ("insufficient_funds", "9.000003", "2.999991")
    assert ana.money() == ("2.999991", "27.000009", "0.00")


# --- Back again ----------------------------------------------------------------------------------------------


def test_a_member_moves_money_both_ways(ana: Member) -> None:
    """Outcomes in decimals; more than is free moves what is free."""
    there = {"direction": "to_trading", "amount": "25.5", "shard": 1}
    assert ana.done("POST", "/v1/transfers", there) == {"amount": "25.50", "balance": "25.50"}
    assert ana.money() == ("974.50", "0.00", "25.50")
    back = {"direction": "to_wallet", "amount": "10.000001", "class": L40S}
    assert ana.done("POST", "/v1/transfers", back) == {"amount": "10.000001", "balance": "15.499999"}
    assert ana.done("POST", "/v1/transfers", back | {"amount": "999"}) == {"amount": "15.499999", "balance": "0.00"}
    assert ana.money() == ("1000.00", "0.00", "0.00")


def test_what_an_open_bid_holds_stays(exchange: Exchange, ana: Member) -> None:
    """20 are there, 6.000002 are held: the rest can leave."""
    ana.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "20", "class": H100})
    ana.placed(exchange.fresh_hour(), "buy", 2, "3.00")
    back = {"direction": "to_wallet", "amount": "20", "class": H100}
    assert ana.done("POST", "/v1/transfers", back) == {"amount": "13.999998", "balance": "6.000002"}


# --- In and out ----------------------------------------------------------------------------------------------


def test_a_deposit_is_booked_once_per_reference_of_its_provider(exchange: Exchange) -> None:
    """Whatever key, account or amount it is sent with the second time; another provider has references of its own."""
    ana, carl = exchange.member(usd="0"), exchange.member(usd="0")
    ref = uuid.uuid4().hex
    deposit = {"account": ana.account, "amount": "7", "provider": "simulated-bank", "provider_ref": ref}
    operator = exchange.operator
    assert operator.done("POST", "/v1/admin/deposits", deposit) == {"amount": "7.00"}
    for again in ({}, {"amount": "8"}, {"account": carl.account}):
        refused = operator.ask("POST", "/v1/admin/deposits", deposit | again)
        assert (refused.status_code, refused.json()["code"]) == (409, "deposit_known")
    operator.done("POST", "/v1/admin/deposits", deposit | {"provider": "simulated-faucet"})
    assert (ana.money()[0], carl.money()[0]) == ("14.00", "0.00")
    assert moved(ana) == [("deposit_simulated", "wallet", "7.00"), ("deposit_simulated", "wallet", "7.00")]


@pytest.mark.parametrize(
    ("destination", "end", "wallet", "lines"),
    [
        ("simulated:ana", "paid", "70.00", [("payout_paid_simulated", "payout", "-30.00")]),
        (
            "simulated:fail",
            "returned",
            "100.00",
            [("payout_returned_simulated", "payout", "-30.00"), ("payout_returned_simulated", "wallet", "30.00")],
        ),
    ],
)
def test_a_withdrawal_goes_through_its_states(
    exchange: Exchange, destination: str, end: str, wallet: str, lines: list[tuple[str, str, str]]
) -> None:
    """Requested, sent, and paid or returned; a sandbox's says at every look that no money moves."""
    ana = exchange.member(usd="100")
    outcome = ana.done("POST", "/v1/withdrawals", {"amount": "30", "destination": destination})
    payout = outcome["payout"]
    assert outcome == {"payout": payout, "simulated": True}
    assert ana.money()[0] == "70.00"
    seen = list[str]()
    deadline = time.monotonic() + 20
    while end not in seen and time.monotonic() < deadline:
        (shown,) = ana.get("/v1/withdrawals")
        assert [shown[name] for name in ("payout", "amount", "destination", "simulated")] == [
            payout,
            "30.00",
            destination,
            True,
        ]
        seen += [shown["state"]] if shown["state"] not in seen else []
    order = ["requested", "sent", end]
    assert seen == [state for state in order if state in seen]
    assert seen[-1] == end
    assert ana.money()[0] == wallet
    assert moved(ana)[1:] == [("withdraw", "wallet", "-30.00"), ("withdraw", "payout", "30.00"), *lines]

    # What has ended stays so, whatever an adapter reports later.
    for state in ("sent", "paid", "returned"):
        late = exchange.operator.ask(
            "POST", f"/v1/admin/payouts/{payout}", {"state": state, "provider": "simulated-late"}
        )
        assert (late.status_code, late.json()["code"]) == (422, "wrong_state")
    unknown = exchange.operator.ask("POST", "/v1/admin/payouts/999999", {"state": "sent", "provider": "simulated-late"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_payout")
    assert ana.money()[0] == wallet


def test_nothing_is_made_or_lost_between_the_places(exchange: Exchange) -> None:
    """A busy life with transfers, fills and a refusal: what is in all places is what came in, less what was bought."""
    ana, hour = exchange.member(usd="200"), exchange.fresh_hour()
    bert = exchange.seller(hour)
    bert.placed(hour, "sell", 3, "2.50")
    ana.placed(hour, "buy", 3, "3.00")
    ana.order(hour, "buy", 9, "3.00", tif="fok")
    ana.placed(hour, "buy", 1, "2.00")
    ana.done("POST", "/v1/transfers", {"direction": "to_wallet", "amount": "1", "class": H100})
    assert in_all(ana) == Decimal(200) - Decimal("7.50")
