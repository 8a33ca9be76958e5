"""Delivery records: before and after the hour's end, for one title or all, repeated, contradicting, wrong."""

from __future__ import annotations

import pytest

from schemas.ids import contract_of
from schemas.requests import Fees
from tests.settlement.people import CONTRACT, HOUR, Market

UNKNOWN_CLASS = contract_of(77, HOUR)


def wallets(market: Market) -> dict[str, str]:
    return {name: wallet for name, wallet, _ in market.money()[1:] if wallet != "0.00"}


def noted(market: Market) -> list[str]:
    return [row[3] for row in market.store.rows["refusals"].values()]


@pytest.fixture
def market() -> Market:
    """ana owes bob title 1 at 2.00, cid title 2 at 3.00."""
    market = Market("ana bob cid")
    market.trade("ana sells 1 to bob at 2.00")
    market.trade("ana sells 1 to cid at 3.00")
    return market


def test_a_record_waits_for_the_end_of_its_hour(market: Market) -> None:
    assert market.deliver(1, 60) == ""
    market.restart()
    assert wallets(market) == {"escrow": "5.00"}
    market.end_hour()
    assert wallets(market) == {"bob": "2.00", "clearing": "3.00"}
    market.restart()
    assert market.deliver("all", 0) == ""
    assert wallets(market) == {"ana": "2.985", "bob": "2.00", "treasury": "0.015"}


def test_each_title_is_noted_with_its_own_minutes(market: Market) -> None:
    market.end_hour()
    market.deliver(2, 15)
    market.deliver("all", 60)
    settled = {key[1]: (row[3], row[6]) for key, row in market.store.rows["deliveries"].items()}
    assert settled == {2: (15, "settled"), 1: (60, "settled"), 0: (60, "settled")}


def test_a_repeat_changes_nothing_and_a_contradiction_is_refused(market: Market) -> None:
    """Before the end, after it, and when everything has been paid out and forgotten."""
    for moment in ("before", "after", "paid out"):
        assert market.deliver(1, 60) == "", moment
        assert market.deliver(1, 59) == "delivery_known", moment
        if moment == "before":
            market.end_hour()
        if moment == "after":
            market.deliver(2, 0)
            assert CONTRACT not in market.state.contracts
        market.restart()
        assert wallets(market)["bob"] == "2.00"
    assert noted(market) == ["delivery_known"] * 3


def test_the_first_record_of_a_title_counts_also_when_it_is_about_all(market: Market) -> None:
    assert market.deliver("all", 0) == ""
    assert market.deliver(1, 0) == "", "a repeat"
    assert market.deliver(1, 60) == "delivery_known"
    assert market.deliver("all", 60) == "delivery_known"
    market.end_hour()
    assert market.deliver(2, 60) == "delivery_known"
    assert wallets(market) == {"ana": "4.975", "treasury": "0.025"}


@pytest.mark.parametrize(
    ("title", "undelivered", "contract", "source", "code"),
    [
        (1, 61, CONTRACT, "simulated", "wrong_minutes"),
        (1, -1, CONTRACT, "simulated", "wrong_minutes"),
        (-1, 0, CONTRACT, "simulated", "unknown_title"),
        (2**63, 0, CONTRACT, "simulated", "unknown_title"),
        (1, 0, UNKNOWN_CLASS, "simulated", "unknown_class"),
        (1, 0, 2**64 - 1, "simulated", "unknown_class"),
        (1, 0, -5, "simulated", "unknown_class"),
        (1, 0, CONTRACT, "", "wrong_text"),
        (1, 0, CONTRACT, "a\x00", "wrong_text"),
        (3, 0, CONTRACT, "simulated", "unknown_title"),
    ],
)
def test_a_wrong_record_is_refused_and_noted(
    market: Market, title: int, undelivered: int, contract: int, source: str, code: str
) -> None:
    market.end_hour()
    assert market.deliver(title, undelivered, contract, source) == code
    assert noted(market) == [code]
    assert wallets(market) == {"clearing": "5.00"}


def test_a_record_that_waited_for_a_title_that_never_came_is_refused_at_the_end(market: Market) -> None:
    assert market.deliver(9, 0) == ""
    market.end_hour()
    assert noted(market) == ["unknown_title"]
    assert market.deliver("all", 0) == ""
    assert wallets(market) == {"ana": "4.975", "treasury": "0.025"}


def test_an_hour_that_nobody_traded_has_nothing_to_pay(market: Market) -> None:
    quiet = contract_of(1, HOUR - 1)
    assert market.deliver("all", 0, quiet) == ""
    market.end_hour()
    assert market.deliver("all", 0, contract_of(1, HOUR + 1)) == "", "it waits"
    assert market.deliver("all", 0, quiet) == "", "a repeat"
    assert wallets(market) == {"clearing": "5.00"}


def test_a_record_that_does_not_decode_is_noted_and_passed(market: Market) -> None:
    from services.settlement import deliveries

    assert deliveries.decode(b"\xc1") is None
    assert deliveries.decode(b"\x96\x01\x07\x00\x00\xa1\xff\xa1d") is None, "text that is not UTF-8"
    assert deliveries.take(market.state, 7, 0, None, {}) == "malformed"


# --- Hand-overs and exchanged machines -----------------------------------------------------------------------


def test_who_had_to_move_is_credited_out_of_the_fees_of_that_hour(market: Market) -> None:
    """The fees of title 1 are 0.01, a quarter of it had cost 0.50; title 2 has brought 0.015."""
    market.end_hour()
    market.deliver(1, 0, moved=1)
    market.deliver(2, 0)

    assert wallets(market) == {"ana": "4.975", "bob": "0.01", "treasury": "0.015"}
    assert market.store.rows["deliveries"][CONTRACT, 1][9:] == (1, {}, 10_000)


def test_a_credit_is_a_quarter_of_what_the_hour_cost_at_most() -> None:
    """At a tenth for each of two sales the fees are 0.80, and the hour had cost 2.20."""
    market = Market("ana bob cid", fees=Fees(1_000, 1_000, 1_000, 1_000))
    market.trade("ana sells 1 to bob at 2.00")
    market.trade("bob sells 1 to cid at 2.00")
    market.end_hour()
    market.deliver(1, 0, moved=1)

    assert wallets(market) == {"ana": "1.80", "cid": "0.55", "treasury": "0.25"}


def test_nothing_is_credited_for_an_hour_that_was_not_delivered_nor_for_more_than_it_has(market: Market) -> None:
    market.end_hour()
    market.deliver(1, 60, moved=1)
    market.deliver(2, 0, moved=99)

    assert wallets(market) == {"ana": "2.985", "bob": "2.00", "cid": "0.015"}


def test_what_comes_back_goes_to_whoever_went_without(market: Market) -> None:
    """Cid sat on the machine that title 1 was delivered by, for half of its hour; bob had another."""
    market.deliver(1, 30, refunds={"cid": 30})
    market.restart()
    market.end_hour()
    market.deliver(2, 0)

    assert wallets(market) == {"ana": "3.98", "cid": "1.00", "treasury": "0.02"}
    assert market.deliver(1, 30, refunds={"cid": 30}) == "", "a repeat"
    assert market.deliver(1, 30) == "delivery_known"
    assert market.deliver(1, 30, refunds={"cid": 30}, moved=1) == "delivery_known"


def test_those_who_went_without_share_by_their_minutes(market: Market) -> None:
    market.end_hour()
    market.deliver(1, 60, refunds={"bob": 20, "cid": 40})

    assert wallets(market) == {"bob": "0.666666", "cid": "1.333334", "clearing": "3.00"}


@pytest.mark.parametrize(
    ("title", "moved", "refunds", "code"),
    [
        (1, -1, {}, "wrong_handover"),
        ("all", 1, {}, "wrong_handover"),
        ("all", 0, {"bob": 30}, "wrong_handover"),
        (1, 0, {"99": 30}, "wrong_refunds"),
        (1, 0, {"bob": 0}, "wrong_refunds"),
        (1, 0, {"cid": 30, "bob": 30}, "wrong_refunds"),
        (1, 0, {"bob": 2**63}, "wrong_refunds"),
    ],
)
def test_a_hand_over_that_cannot_be_is_refused(
    market: Market, title: int | str, moved: int, refunds: dict[str, int], code: str
) -> None:
    market.end_hour()

    assert market.deliver(title, 30, moved=moved, refunds=refunds) == code
    assert wallets(market) == {"clearing": "5.00"}
