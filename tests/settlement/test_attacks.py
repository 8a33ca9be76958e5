"""The attacks on escrow that the rules of titles close: who has what after delivery, failure and half an hour.

Everybody begins with 1,000 USD of trading balance. Sellers pay 50 bp. What a title pays arrives in wallets.
"""

import pytest

from tests.settlement.people import Market, table

HALF = 30
WHOLE = 60


def test_a_failed_hour_gives_the_buyer_all_of_his_price() -> None:
    """Attack 1: the fee waits in escrow. Were it taken at the fill, 1.99 would have to refund 2.00."""
    market = Market("ana bert")
    market.trade("ana sells 1 to bert at 2.00")
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains | fees | cost | losses
        1     | ana     | bert   | 1   | 2.00   | 1.99     |       | 0.01 | 2.00 |
    """)
    market.end_hour()
    market.deliver("all", WHOLE)
    assert market.money() == table("""
        who  | wallet | trading
        ana  | 0.00   | 1000.00
        bert | 2.00   | 998.00
    """)


@pytest.mark.parametrize(
    ("undelivered", "ana", "tom", "hal", "treasury"),
    [
        (0, "1.99", "0.00", "0.00", "0.020025"),
        (WHOLE, "0.00", "0.005025", "2.005", ""),
        (HALF, "0.995", "0.002512", "1.002501", "0.010012"),
    ],
)
def test_a_resale_at_almost_the_same_price_pays_both_fees(
    undelivered: int, ana: str, tom: str, hal: str, treasury: str
) -> None:
    """Attack 1, resale: 2.00, then 2.005, which nets 1.994975: the reseller loses 0.005025, unless the hour fails."""
    market = Market("ana tom hal")
    market.trade("ana sells 1 to tom at 2.00")
    market.trade("tom sells 1 to hal at 2.005")
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow   | proceeds | gains | fees     | cost  | losses
        1     | ana     | hal    | 1   | 2.010025 | 1.99     |       | 0.020025 | 2.005 | tom 0.005025
    """)
    market.end_hour()
    market.deliver("all", undelivered)
    assert market.money()[1:4] == [["ana", ana, "1000.00"], ["tom", tom, "999.994975"], ["hal", hal, "997.995"]]
    assert market.money()[4:] == ([["treasury", treasury, ""]] if treasury else [])


@pytest.mark.parametrize(
    ("undelivered", "outcome"),
    [
        (
            0,
            """
        who | wallet | trading
        ana | 3.98   | 1000.00
        tom | 0.00   | 996.995
        hal | 0.00   | 999.00
        treasury | 0.025 |
    """,
        ),
        (
            WHOLE,
            """
        who | wallet | trading
        ana | 0.00   | 1000.00
        tom | 3.005  | 996.995
        hal | 1.00   | 999.00
    """,
        ),
        (
            HALF,
            """
        who | wallet | trading
        ana | 1.99   | 1000.00
        tom | 1.5025 | 996.995
        hal | 0.50   | 999.00
        treasury | 0.0125 |
    """,
        ),
    ],
)
def test_the_surplus_of_a_resale_below_cost_belongs_to_the_reseller(undelivered: int, outcome: str) -> None:
    """Attack 2: A→T at 4, T→H at 1. If the hour fails the 3.005 are T's: A and H cannot take them by failing."""
    market = Market("ana tom hal")
    market.trade("ana sells 1 to tom at 4.00")
    market.trade("tom sells 1 to hal at 1.00")
    market.end_hour()
    market.deliver("all", undelivered)
    assert market.money() == table(outcome)


def test_a_friend_who_fails_does_not_empty_anybody_elses_escrow() -> None:
    """Attack 3: one pool per contract would owe 8 and hold 5. Each title pays its own."""
    market = Market("ana carl bea hal")
    market.trade("ana sells 1 to carl at 4.00")
    market.trade("bea sells 1 to hal at 1.00")
    market.end_hour()
    market.deliver(2, WHOLE)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 0.00   | 1000.00
        carl     | 0.00   | 996.00
        bea      | 0.00   | 1000.00
        hal      | 1.00   | 999.00
        clearing | 4.00   |
    """)
    market.deliver(1, 0)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 3.98   | 1000.00
        carl     | 0.00   | 996.00
        bea      | 0.00   | 1000.00
        hal      | 1.00   | 999.00
        treasury | 0.02   |
    """)


@pytest.mark.parametrize(
    ("fake", "honest", "fay", "tom", "tess"),
    [
        (WHOLE, 0, "0.00", "0.00", "1.985"),
        (0, WHOLE, "0.995", "1.985", "0.00"),
        (HALF, HALF, "0.4975", "0.9925", "0.9925"),
    ],
)
def test_the_gain_on_a_fake_title_is_paid_by_that_title_alone(
    fake: int, honest: int, fay: str, tom: str, tess: str
) -> None:
    """Attack 4: fay is tom's friend and sells what she will not deliver; tess trades honestly beside them."""
    market = Market("fay ada tom tess cid hal")
    market.trade("fay sells 1 to tom at 1.00")
    market.trade("tom sells 1 to cid at 3.00")
    market.trade("ada sells 1 to tess at 1.00")
    market.trade("tess sells 1 to hal at 3.00")
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains      | fees | cost | losses
        1     | fay     | cid    | 1   | 3.00   | 0.995    | tom 1.985  | 0.02 | 3.00 |
        2     | ada     | hal    | 1   | 3.00   | 0.995    | tess 1.985 | 0.02 | 3.00 |
    """)
    market.end_hour()
    market.deliver(1, fake)
    market.deliver(2, honest)
    wallets = {name: wallet for name, wallet, _ in market.money()}
    assert (wallets["fay"], wallets["tom"], wallets["tess"]) == (fay, tom, tess)


def test_what_is_released_is_first_in_first_out_and_no_average() -> None:
    """Attack 4, second half: bought at 1, then at 3; selling one at 3 releases 1.00, the cost of the older."""
    market = Market("ana tom hal")
    market.trade("ana sells 1 to tom at 1.00")
    market.trade("ana sells 1 to tom at 3.00")
    market.trade("tom sells 1 to hal at 3.00")
    assert market.money() == table("""
        who    | wallet | trading
        ana    | 0.00   | 1000.00
        tom    | 0.00   | 997.00
        hal    | 0.00   | 997.00
        escrow | 6.00   |
    """)


@pytest.mark.parametrize(
    ("undelivered", "outcome"),
    [
        (
            0,
            """
        who | wallet | trading
        ana | 2.98   | 1000.00
        bob | 0.995  | 1000.00
        hal | 0.00   | 996.00
        treasury | 0.025 |
    """,
        ),
        (
            WHOLE,
            """
        who | wallet | trading
        ana | 0.00   | 1000.00
        bob | 0.00   | 1000.00
        hal | 4.00   | 996.00
    """,
        ),
    ],
)
def test_buying_back_cheaper_does_not_release_all_proceeds(undelivered: int, outcome: str) -> None:
    """Attack 5: sold at 4, bought back at 1. Releasing 3.98 would leave 1 in escrow for a refund of 4."""
    market = Market("ana bob hal")
    market.trade("ana sells 1 to hal at 4.00")
    market.trade("bob sells 1 to ana at 1.00")
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains    | fees  | cost | losses
        1     | bob     | hal    | 1   | 4.00   | 0.995    | ana 2.98 | 0.025 | 4.00 |
    """)
    market.end_hour()
    market.deliver("all", undelivered)
    assert market.money() == table(outcome)


def test_a_closed_round_trip_is_not_undone_by_a_friends_failure() -> None:
    """Attack 6: ana sold at 2 and bought back her own promise at 3. It counts as delivered, whoever else fails."""
    market = Market("ana hal fay fred")
    market.trade("ana sells 1 to hal at 2.00")
    market.trade("hal sells 1 to ana at 3.00")
    market.trade("fay sells 1 to fred at 0.50")
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains     | fees  | cost | losses
        1     | -       | -      | 1   | 1.01   | 0.00     | hal 0.985 | 0.025 | 0.00 | ana 1.01
        2     | fay     | fred   | 1   | 0.50   | 0.4975   |           | 0.0025 | 0.50 |
    """)
    market.end_hour()
    market.deliver(2, WHOLE)
    assert market.money() == table("""
        who      | wallet | trading
        ana      | 0.00   | 998.99
        hal      | 0.985  | 1000.00
        fay      | 0.00   | 1000.00
        fred     | 0.50   | 999.50
        treasury | 0.025  |
    """)
