"""What a bid holds of its account's money, from its acceptance to its last fill."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import events as ev
from schemas.commands import Fees
from schemas.units import bid_hold, fee
from tests.matching.market import Market, lines, rows

FEES = Fees(5, 10, 40, 50)


def test_a_bid_holds_its_notional_the_highest_fee_on_it_and_a_micro_per_lot() -> None:
    """3 at 2.00: 6.00 + 10 bp + 3 µUSD."""
    market = Market.given(fees=FEES)

    market.when("ana buys 3 at 2.00")

    assert market.balances("ana") == rows("""
        who | cash    | held     | collateral | free
        ana | 1000.00 | 6.006003 | 0.00       | 993.993997
    """)


def test_a_hold_is_computed_anew_for_what_is_left_after_each_fill() -> None:
    """Ana waits, so she pays the maker's 5 bp: 2.001 for the first. What was held for it beyond that is free."""
    market = Market.given(fees=FEES).when("ana buys 3 at 2.00")

    market.when("bert sells 1 at 2.00")
    assert market.balances("ana") == rows("""
        who | cash    | held     | collateral | free
        ana | 997.999 | 4.004002 | 0.00       | 993.994998
    """)

    market.when("bert sells 2 at 2.00")
    assert market.balances("ana") == rows("""
        who | cash    | held | collateral | free
        ana | 993.997 | 0.00 | 0.00       | 993.997
    """)


def test_what_is_left_of_a_bid_that_traded_better_is_held_at_its_limit() -> None:
    market = Market.given("bid | price | ask\n | 1.50 | 1 bert", fees=FEES)

    market.when("ana buys 3 at 2.00")

    assert market.balances("ana") == rows("""
        who | cash    | held     | collateral | free
        ana | 998.4985 | 4.004002 | 0.00       | 994.494498
    """)


def test_lots_of_eight_hold_a_micro_per_lot() -> None:
    market = Market.given(fees=FEES, lot=8, backs={"ana": 0})

    market.when("ana buys 24 at 2.00")

    assert market.balances("ana") == rows("""
        who | cash    | held      | collateral | free
        ana | 1000.00 | 48.048003 | 0.00       | 951.951997
    """)


@pytest.mark.parametrize(
    ("money", "answer"),
    [
        ("6.006003", "ana bids 3 at 2.00"),
        ("6.006002", "ana is refused: insufficient_funds (needs 6.006003, has 6.006002)"),
        ("0", "ana is refused: insufficient_funds (needs 6.006003, has 0.00)"),
    ],
)
def test_exactly_what_is_held_is_enough(money: str, answer: str) -> None:
    market = Market.given(fees=FEES, money={"ana": money})

    market.when("ana buys 3 at 2.00")

    assert market.said() == [answer]


def test_a_bid_is_judged_by_its_whole_worst_case_also_where_it_would_pay_less() -> None:
    """Immediate, and the book would sell at half the limit: the limit is what was promised."""
    market = Market.given("bid | price | ask\n | 1.00 | 3 bert", money={"ana": "5.00"})

    market.when("ana buys 3 at 2.00 ioc\nana buys 3 at 1.60 ioc")

    assert market.said() == lines("""
        ana is refused: insufficient_funds (needs 6.000003, has 5.00)
        ana bids 3 at 1.60
        ana buys 3 from bert at 1.00
    """)


def test_money_that_one_bid_holds_is_not_there_for_another() -> None:
    market = Market.given(money={"ana": "4.000002"})

    market.when("""
        ana buys 1 at 2.00 as first
        ana buys 1 at 2.01
        ana buys 1 at 2.00
        ana buys 1 at 1.00
        ana cancels first
        ana buys 1 at 1.00
    """)

    assert market.said() == lines("""
        ana bids 1 at 2.00
        ana is refused: insufficient_funds (needs 2.010001, has 2.000001)
        ana bids 1 at 2.00
        ana is refused: insufficient_funds (needs 1.000001, has 0.00)
        ana cancels
        ana loses 1 of an order: asked
        ana bids 1 at 1.00
    """)


def test_a_sweep_takes_only_what_no_bid_holds() -> None:
    market = Market.given(money={"ana": "10.00"}).when("ana buys 3 at 2.00")

    market.when("ana gives back 10.00\nana gives back 1.00")

    assert market.said() == lines("""
        ana gives back 3.999997
        ana gives back 0.00
    """)


def test_an_ask_holds_no_money() -> None:
    market = Market.given(fees=FEES).when("ana sells 3 at 2.00")

    assert market.balances("ana") == rows("""
        who | cash    | held | collateral | free
        ana | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


RATES = st.integers(0, 1_000)
CUTS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@settings(max_examples=60)
@given(st.integers(1, 60), RATES, RATES, CUTS, st.booleans())
def test_a_bid_that_has_exactly_its_hold_pays_every_fill_however_it_is_cut(
    price: int, maker_bp: int, taker_bp: int, cuts: list[int], waits: bool
) -> None:
    """Prices of a few µUSD and fees of up to ten percent: each fill's fee is rounded up, as maker and as taker."""
    rate, qty = max(maker_bp, taker_bp), sum(cuts)
    hold = bid_hold(price, qty, 1, rate)
    usd = f"0.{price:06}"
    market = Market.given(
        fees=Fees(maker_bp, taker_bp, 0, 0),
        tick="0.000001",
        list_price="0.000030",
        collar_low_bp=1,
        money={"ana": f"0.{hold:06}"},
    )
    sells = "\n".join(f"bert sells {cut} at {usd}" for cut in cuts)

    market.when(f"ana buys {qty} at {usd}\n{sells}" if waits else f"{sells}\nana buys {qty} at {usd}")

    fills = [event for event in market.events if isinstance(event, ev.Filled)]
    assert [fill.qty for fill in fills] == cuts
    assert [fill.buyer_fee for fill in fills] == [fee(price * cut, maker_bp if waits else taker_bp) for cut in cuts]
    account = market.engine.accounts[market.account("ana")]
    assert account.cash == hold - price * qty - sum(fill.buyer_fee for fill in fills) >= 0
    assert account.holds == 0
