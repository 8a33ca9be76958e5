"""Fees: per side and role, in basis points of the notional, rounded up per fill to a micro-dollar."""

from __future__ import annotations

import pytest

from schemas import events as ev
from schemas.commands import Fees
from schemas.units import AMOUNT_MAX
from tests.matching.market import Market, rows

FEES = Fees(buyer_maker=5, buyer_taker=10, seller_maker=40, seller_taker=50)


def fees_of(market: Market) -> list[tuple[int, int]]:
    """(buyer's, seller's) of each fill."""
    return [(fill.buyer_fee, fill.seller_fee) for fill in market.events if isinstance(fill, ev.Filled)]


def test_the_seller_who_waits_pays_the_maker_s_rate_and_the_buyer_who_comes_the_taker_s() -> None:
    market = Market.given("bid | price | ask\n | 2.00 | 5 bert", fees=FEES)

    market.when("ana buys 3 at 2.00")

    assert fees_of(market) == [(6_000, 24_000)]


def test_the_buyer_who_waits_pays_the_maker_s_rate_and_the_seller_who_comes_the_taker_s() -> None:
    market = Market.given("bid | price | ask\n5 ana | 2.00 |", fees=FEES)

    market.when("bert sells 3 at 2.00")

    assert fees_of(market) == [(3_000, 30_000)]


def test_one_order_is_taker_first_and_maker_for_what_waited() -> None:
    market = Market.given("bid | price | ask\n | 2.00 | 1 bert", fees=FEES)

    market.when("ana buys 2 at 2.00\ncarl sells 1 at 2.00")

    assert fees_of(market) == [(2_000, 8_000), (1_000, 10_000)]


@pytest.mark.parametrize(
    ("price", "cuts", "fees"),
    [
        (2, [1, 1, 1], [(1, 1), (1, 1), (1, 1)]),
        (2, [3], [(1, 1)]),
        (9_999, [1], [(5, 50)]),
        (10_000, [1], [(5, 50)]),
        (10_001, [1], [(6, 51)]),
    ],
)
def test_each_fill_s_fee_is_rounded_up_by_itself(price: int, cuts: list[int], fees: list[tuple[int, int]]) -> None:
    """Three fills of one pay three roundings, one fill of three pays one."""
    usd = f"0.{price:06}"
    market = Market.given(fees=FEES, tick="0.000001", list_price=usd)
    market.when(f"ana buys {sum(cuts)} at {usd}")

    market.when("\n".join(f"bert sells {cut} at {usd}" for cut in cuts))

    assert fees_of(market) == fees


def test_a_rate_of_nothing_costs_nothing() -> None:
    market = Market.given("bid | price | ask\n | 2.00 | 1 bert", fees=Fees(0, 0, 0, 0))

    market.when("ana buys 1 at 2.00")

    assert fees_of(market) == [(0, 0)]
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 2.00     | 2.00 | 2.00
    """)


def test_the_seller_s_fee_is_taken_from_what_he_gets_and_the_buyer_s_is_paid_on_top() -> None:
    """Both wait in the title's escrow until the hour is delivered: nobody has them yet."""
    market = Market.given("bid | price | ask\n | 2.00 | 1 bert", fees=FEES)

    market.when("ana buys 1 at 2.00")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost  | escrow
        1     | bert    | ana    | declared | 1    | 1.992    | 2.002 | 2.002
    """)
    assert market.balances("ana", "bert") == rows("""
        who  | cash    | held | collateral | free
        ana  | 997.998 | 0.00 | 0.00       | 997.998
        bert | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_the_rates_that_hold_for_an_order_are_told_when_it_is_accepted() -> None:
    market = Market.given(fees=FEES)

    market.when("ana buys 1 at 2.00\nbert sells 1 at 2.10")

    said = [(event.maker_bp, event.taker_bp) for event in market.events if isinstance(event, ev.OrderAccepted)]
    assert said == [(5, 10), (40, 50)]


def test_the_largest_trade_there_can_be_fits() -> None:
    """A million GPUs at 10,000 USD, ten percent of fees on either side: all sums stay below 2**63."""
    market = Market.given(
        fees=Fees(1_000, 1_000, 1_000, 1_000),
        list_price="1000",
        collar_high_bp=100_000,
        money={"ana": "10000000000"},
        backs={"bert": 1_000_000},
    )
    market.when("ana is given 10000000000")

    market.when("bert sells 1000000 at 10000\nana buys 1000000 at 10000")

    (fill,) = (event for event in market.events if isinstance(event, ev.Filled))
    assert (fill.notional, fill.buyer_fee, fill.seller_fee) == (AMOUNT_MAX, AMOUNT_MAX // 10, AMOUNT_MAX // 10)
    assert market.engine.escrows()[market.contract()] == AMOUNT_MAX * 11 // 10
