"""Attacks on escrow with promises that are bought in and with hours that are sold while they run, through the real engine.

Everybody begins with 1,000 USD of trading balance. Sellers pay 50 bp, buyers nothing. What a title pays arrives in wallets.
"""

from __future__ import annotations

import pytest

from schemas import requests as rq
from schemas.commands import Ground, Role, Side, Tif
from schemas.events import BuyIn, BuyInFailed, Filled, Rejected
from schemas.units import MS_PER_HOUR
from tests.settlement.people import CONTRACT, HOUR, Market, table

WHOLE = 60
DEADLINE = HOUR * MS_PER_HOUR - 1_800_000
CAP = 20_000_000
"""Of the collar, 20 USD: ten times the list price."""


@pytest.fixture
def market() -> Market:
    """mia promises 2 against collateral and sells one to bob at 1.00, far below what it will cost to buy it back."""
    market = Market("ana bob hal", version=2)
    market.open("mia", role=Role.MARKET_MAKER)
    market.back("mia", Ground.PROMISED, 2, CAP)
    market.trade("mia sells 1 to bob at 1.00")
    return market


def said(market: Market, *kinds: type) -> list[str]:
    return [type(event).__name__ for event in market.said if isinstance(event, kinds)]


@pytest.mark.parametrize(
    ("undelivered", "outcome"),
    [
        (
            0,
            """
        who      | wallet | trading
        ana      | 19.90  | 1000.00
        bob      | 0.00   | 999.00
        hal      | 0.00   | 1000.00
        mia      | 0.00   | 980.995
        treasury | 0.105  |
    """,
        ),
        (
            WHOLE,
            """
        who | wallet  | trading
        ana | 0.00    | 1000.00
        bob | 1.00    | 999.00
        hal | 0.00    | 1000.00
        mia | 19.005  | 980.995
    """,
        ),
    ],
)
def test_a_promise_is_bought_in_at_the_cap_and_its_collateral_pays(
    market: Market, undelivered: int, outcome: str
) -> None:
    """Attack 7: collateral of cap minus price would be short by 1.00 and by the fees.

    ana takes mia's place. If she fails, bob has his dollar back, and mia what she lost; ana, who might be a friend, has nothing.
    """
    market.order("ana", Side.SELL, 1, CAP)
    market.tick(DEADLINE)
    assert said(market, BuyIn, Filled, BuyInFailed) == ["BuyIn", "Filled"]
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow  | proceeds | gains | fees  | cost | losses
        1     | ana     | bob    | 1   | 20.005  | 19.90    |       | 0.105 | 1.00 | mia 19.005
    """)
    market.restart()
    market.end_hour()
    market.deliver("all", undelivered)
    assert market.money() == table(outcome)


def test_what_is_not_bought_fails_and_keeps_its_collateral_until_it_is_settled(market: Market) -> None:
    """Nobody sells. The unsold promise is over; 20 USD wait for the one that is owed, and come back with bob's dollar."""
    market.tick(DEADLINE)
    assert said(market, BuyIn, Filled, BuyInFailed) == ["BuyIn", "BuyInFailed"]
    market.end_hour()
    assert market.money()[-2:] == [["clearing", "1.00", ""], ["collateral", "20.00", ""]]
    market.restart()
    market.deliver("all", WHOLE)
    assert market.money()[1:] == [
        ["ana", "0.00", "1000.00"],
        ["bob", "1.00", "999.00"],
        ["hal", "0.00", "1000.00"],
        ["mia", "20.00", "980.00"],
    ]


def test_an_owners_own_ask_does_not_sell_to_his_buy_in(market: Market) -> None:
    """mia's second account offers dear what her first one must buy: it is cancelled, and hal's ask is taken behind it."""
    owner = market.numbers["mia"]
    market.ask(rq.OpenAccount("open-max", owner, "max", Role.PROVIDER))
    market.numbers["max"] = market.state.last("account")
    market.back("max", Ground.DECLARED, 5)
    market.order("max", Side.SELL, 1, 1_500_000)
    market.order("hal", Side.SELL, 1, 2_000_000)
    market.tick(DEADLINE)
    (filled,) = [event for event in market.said if isinstance(event, Filled)]
    assert (filled.price, filled.seller) == (2_000_000, market.numbers["hal"])
    assert not market.engines[0].orders


def test_machines_that_cover_a_promise_free_its_collateral_before_it_is_bought_in(market: Market) -> None:
    """An operator buys a machine for mia at 3.00: at the deadline she owes nothing as promised, and nothing is bought."""
    market.ask(rq.Deposit("d-mia", market.numbers["mia"], 5_000_000, "simulated-faucet", "mia-2"))
    row = market.ask(rq.Procure("p", market.numbers["mia"], 1, (HOUR,), 1, 3_000_000, "simulated-cloud"))
    assert (row.state, row.outcome["declared"]) == ("done", 1)
    market.tick(DEADLINE)
    assert said(market, BuyIn, Filled, BuyInFailed) == []
    market.end_hour()
    market.deliver("all", 0)
    assert market.money()[4:] == [["mia", "2.995", "1000.00"], ["treasury", "0.005", ""]]


# --- While the hour runs -------------------------------------------------------------------------------------


def test_failing_on_purpose_and_selling_the_machine_again_pays_in_escrow_alone() -> None:
    """Attack 9, which escrow cannot stop: ana sold at 1.00, does not deliver, and sells the machine at once at 6.00 an hour.

    bob loses nothing, and ana wins what the rule book says she must be fined for: penalties come with delivery.
    """
    market = Market("ana bob hal", version=2)
    market.trade("ana sells 1 to bob at 1.00")
    market.back("ana", Ground.READY, 1)
    market.at_minute(10)
    market.order("ana", Side.SELL, 1, 6_000_000)
    market.order("hal", Side.BUY, 1, 6_000_000, tif=Tif.IOC)
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains | fees  | cost | losses
        1     | ana     | bob    | 1   | 1.00   | 0.995    |       | 0.005 | 1.00 |
        2     | ana     | hal    | 1   | 5.00   | 4.975    |       | 0.025 | 5.00 |
    """)
    market.end_hour()
    market.deliver(1, WHOLE)
    market.deliver(2, 0)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 4.975  | 1000.00
        bob      | 1.00   | 999.00
        hal      | 0.00   | 995.00
        treasury | 0.025  |
    """)


def test_a_failed_running_hour_gives_back_all_of_its_price_and_touches_no_other() -> None:
    """Attack 3 while the hour runs: fay is hal's friend and fails; what bob bought of ana is paid by ana's title alone."""
    market = Market("ana fay bob hal", version=2)
    market.back("ana", Ground.READY, 1)
    market.back("fay", Ground.READY, 1)
    market.at_minute(30)
    for seller, buyer, price in (("fay", "hal", 8_000_000), ("ana", "bob", 2_000_000)):
        market.order(seller, Side.SELL, 1, price)
        market.order(buyer, Side.BUY, 1, price, tif=Tif.IOC)
    market.end_hour()
    market.deliver(1, WHOLE)
    market.deliver(2, 0)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 0.995  | 1000.00
        fay      | 0.00   | 1000.00
        bob      | 0.00   | 999.00
        hal      | 4.00   | 996.00
        treasury | 0.005  |
    """)


def test_nobody_buys_his_way_out_of_a_promise_while_the_hour_runs(market: Market) -> None:
    """What mia owes bob stays owed, whatever she buys that is ready; and what she bought cannot be sold on."""
    market.tick(DEADLINE)
    market.back("ana", Ground.READY, 1)
    market.at_minute(30)
    market.order("ana", Side.SELL, 1, 2_000_000)
    market.order("mia", Side.BUY, 1, 2_000_000, tif=Tif.IOC)
    refused = [event for event in market.order("mia", Side.SELL, 1, 2_000_000) if isinstance(event, Rejected)]
    assert len(refused) == 1
    market.restart()
    market.end_hour()
    market.deliver(1, WHOLE)
    market.deliver(2, 0)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 0.995  | 1000.00
        bob      | 1.00   | 999.00
        hal      | 0.00   | 1000.00
        mia      | 20.00  | 979.00
        treasury | 0.005  |
    """)


def test_collateral_of_what_was_ready_waits_like_a_promises() -> None:
    """mia sells on collateral while the hour runs, and fails: hal has his money back, and she hers when it is settled."""
    market = Market("hal", version=2)
    market.open("mia", role=Role.MARKET_MAKER)
    market.back("mia", Ground.READY, 2, CAP)
    market.at_minute(45)
    market.order("mia", Side.SELL, 1, 4_000_000)
    market.order("hal", Side.BUY, 1, 4_000_000, tif=Tif.IOC)
    market.end_hour()
    assert market.money() == table("""
        who        | wallet | trading
        hal        | 0.00   | 999.00
        mia        | 0.00   | 980.00
        clearing   | 1.00   |
        collateral | 20.00  |
    """)
    market.deliver("all", 15)
    assert market.money() == table("""
        who | wallet | trading
        hal | 1.00   | 999.00
        mia | 20.00  | 980.00
    """)
    assert CONTRACT not in market.state.contracts
