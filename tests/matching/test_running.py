"""The running phase: the rest of an hour that has begun, sold by those whose machines are there at once.

23:00 to 24:00, gate at 22:55, running until 23:50. At 23:20 forty minutes are left: a GPU at 3.00 costs 2.00.
"""

from __future__ import annotations

import pytest

from schemas import events as ev
from schemas.commands import Fees, Ground
from schemas.events import Code
from schemas.units import MS_PER_HOUR
from tests.matching.faults import code_of
from tests.matching.market import Market, lines, rows


def told(market: Market, who: str) -> list[str]:
    """What was said of somebody."""
    return [said for said in market.said() if who in said]


# --- From one phase into the other --------------------------------------------------------------------------------


def test_at_the_gate_bids_go_and_of_the_asks_those_without_running_and_those_that_nothing_ready_stands_behind() -> None:
    """Bids, then asks, then blocks by id, then running asks from the worst rank: Carl has 5 ready and asked for 9.

    His newest ask at the worst price goes first, then the older one there, then the one that would just fit 5.
    """
    market = Market.given(hours=2).when("""
        carl readies 5
        carl sells 2 at 2.10 running
        carl sells 3 at 2.20 running
        carl sells 1 at 2.20 running
        carl sells 3 at 2.20 running
        dana sells 1 at 2.15
        dana offers a block of 2 for 2 hours from +0 at 2.50
        emil buys 2 at 1.90
        emil bids a block of 1 for 1 hours from +0 at 1.50
        ana buys 1 at 2.00
        bert sells 4 at 2.05 running
    """)

    market.wait(to="22:55")

    assert [said for said in market.said() if "hour +3" not in said and "hour -1" not in said] == lines("""
        ana loses 1 of an order: gate_closed
        emil loses 2 of an order: gate_closed
        dana loses 1 of an order: gate_closed
        dana loses 2 of an order: gate_closed
        emil loses 1 of an order: gate_closed
        carl loses 3 of an order: backing_lowered
        carl loses 1 of an order: backing_lowered
        bert loses 4 of an order: backing_lowered
        hour +0: gate closed
        a tick
    """)
    assert market.book() == rows("""
        bid | price | ask
            |  2.20 | 3 carl
            |  2.10 | 2 carl
    """)
    assert (market.free_to_offer("carl"), market.blocks()[1:]) == (0, [])


def test_what_waits_through_the_gate_keeps_its_place_and_may_be_cut_and_cancelled() -> None:
    market = Market.given().when("""
        carl readies 5
        bert readies 5
        carl sells 2 at 2.10 running as mine
        bert sells 3 at 2.10 running
    """)
    market.wait(to="22:55").when("carl amends mine to 1 at 2.10\nana buys 2 at 2.10 ioc\nbert cancels all")

    assert market.said() == lines("""
        carl amends to 1 at 2.10 in its place
        ana bids 2 at 2.10
        ana buys 1 from carl at 2.10
        ana buys 1 from bert at 2.10
        bert cancels all 1
        bert loses 2 of an order: mass
    """)


def test_forward_backing_has_ended_and_ready_backing_has_stood_beside_it() -> None:
    """Ready machines are no forward capacity, and forward machines none of the running phase."""
    market = Market.given(backs={"carl": 2, "dana": 0}).when("""
        carl readies 3
        carl sells 3 at 2.00
        carl sells 2 at 2.00
        dana readies 1
        dana sells 1 at 2.00
    """)
    assert market.said() == lines("""
        carl readies 3
        carl is refused: insufficient_backing (needs 3, has 2)
        carl offers 2 at 2.00
        dana readies 1
        dana is refused: insufficient_backing (needs 1, has 0)
    """)

    market.wait(to="22:55").when(
        "carl sells 4 at 2.00\ncarl sells 3 at 2.00\ndana sells 1 at 2.00\nbert sells 1 at 2.00"
    )
    assert market.said() == lines("""
        carl is refused: insufficient_backing (needs 4, has 3)
        carl offers 3 at 2.00
        dana offers 1 at 2.00
        bert is refused: insufficient_backing (needs 1, has 0)
    """)


# --- What a fill conveys ------------------------------------------------------------------------------------------


def test_a_fill_is_the_rest_of_the_hour_at_its_minutes_price_and_a_title_of_its_own() -> None:
    """3.00 × 2 for 40 minutes: 4.00, the seller's fee 0.02 on it."""
    market = Market.given().when("carl readies 5").wait(to="23:20")

    market.when("carl sells 2 at 3.00\nana buys 2 at 3.20 fok")

    assert market.fills() == rows("""
        hour | maker | taker | lots | price | minutes | cash
        +0   | carl  | ana   | 2    | 3.00  | 40      | 4.00
    """)
    assert market.moves() == rows("""
        from  | title | gpus | net  | cost | to seller | closes | closed | to buyer
        ready | 1     | 2    | 3.98 | 4.00 | 0.00      |        |        |
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground | gpus | proceeds | cost | escrow
        1     | carl    | ana    | ready  | 2    | 3.98     | 4.00 | 4.00
    """)
    assert market.balances("ana", "carl") == rows("""
        who  | cash    | held | collateral | free
        ana  | 996.00  | 0.00 | 0.00       | 996.00
        carl | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


@pytest.mark.parametrize(
    ("at", "ms", "minutes", "cash"),
    [
        ("22:55", 0, "60", "3.01"),
        ("23:00", 0, "60", "3.01"),
        ("23:00", 1, "59", "2.959834"),  # 177.59 / 60 = 2.9598333...
        ("23:01", 0, "59", "2.959834"),
        ("23:49", 0, "11", "0.551834"),
        ("23:50", -1, "10", "0.501667"),
    ],
)
def test_minutes_are_whole_ones_that_are_left_and_cash_is_rounded_up(at: str, ms: int, minutes: str, cash: str) -> None:
    """From the gate to the hour's beginning all sixty."""
    market = Market.given().when("carl readies 5").wait(to=at, ms=ms)

    market.when("carl sells 1 at 3.01\nana buys 1 at 3.01 ioc")

    assert market.fills()[1:] == [("+0", "carl", "ana", "1", "3.01", minutes, cash)]


def test_what_was_bought_there_is_not_sold_again_and_closes_nothing_that_is_owed() -> None:
    """Bert owes one forward and buys one running: he has both. Ana's running title is no capacity."""
    market = Market.given(backs={"ana": 0, "bert": 1}).when("""
        bert sells 1 at 2.00
        ana buys 1 at 2.00
        carl readies 5
    """)
    market.wait(to="23:30").when(
        "carl sells 3 at 3.00\nbert buys 1 at 3.00 ioc\nana buys 1 at 3.00 ioc\nana sells 1 at 2.00"
    )

    assert market.said()[-1] == "ana is refused: insufficient_backing (needs 1, has 0)"
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | bert    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
        2     | carl    | bert   | ready    | 1    | 1.4925   | 1.50 | 1.50
        3     | carl    | ana    | ready    | 1    | 1.4925   | 1.50 | 1.50
    """)
    assert market.positions() == rows("""
        who  | holds | owes
        ana  | 2     | 0
        bert | 1     | 1
        carl | 0     | 2
    """)


def test_sold_and_sold_again_to_others_only_as_far_as_machines_are_ready() -> None:
    """Two are ready and sold; a third is not there. A title bought from somebody else changes nothing about that."""
    market = Market.given().when("carl readies 2\ndana readies 1").wait(to="23:20")
    market.when("carl sells 2 at 3.00\nana buys 2 at 3.00 ioc\ndana sells 1 at 3.00\ncarl buys 1 at 3.00 ioc")

    market.when("carl sells 1 at 3.00\ncarl readies 3\ncarl sells 2 at 3.00\ncarl sells 1 at 3.00")

    assert market.said() == lines("""
        carl is refused: insufficient_backing (needs 1, has 0)
        carl readies 3
        carl is refused: insufficient_backing (needs 2, has 1)
        carl offers 1 at 3.00
    """)


# --- Bids ---------------------------------------------------------------------------------------------------------


def test_a_bid_takes_what_is_there_and_never_waits() -> None:
    market = Market.given().when("carl readies 2").wait(to="23:00").when("carl sells 2 at 3.00")

    market.when("""
        ana buys 3 at 3.00
        ana buys 3 at 3.00 until 23:40
        ana buys 3 at 3.00 fok
        ana buys 3 at 3.00 ioc
    """)

    assert market.said() == lines("""
        ana is refused: wrong_tif
        ana is refused: wrong_tif
        ana is refused: cannot_fill (needs 3, has 2)
        ana bids 3 at 3.00
        ana buys 2 from carl at 3.00
        ana loses 1 of an order: ioc
    """)
    assert market.book()[1:] == []


def test_an_ask_waits_or_not_as_in_the_forward_phase_and_finds_nobody() -> None:
    market = Market.given().when("carl readies 9").wait(to="23:00")

    market.when("""
        carl sells 1 at 3.00 ioc
        carl sells 1 at 3.00 fok
        carl sells 2 at 3.00 until 23:40
        carl sells 3 at 3.00 post-only
        carl sells 3 at 3.10 running
    """)

    assert market.said() == lines("""
        carl offers 1 at 3.00
        carl loses 1 of an order: ioc
        carl is refused: cannot_fill (needs 1, has 0)
        carl offers 2 at 3.00 until 23:40
        carl offers 3 at 3.00
        carl offers 3 at 3.10
    """)
    assert told(market.wait(to="23:40"), "carl") == ["carl loses 2 of an order: expired"]


def test_a_bid_must_find_what_it_may_cost_at_the_most_to_the_micro() -> None:
    """Three lots of two at 3.01 for 59 minutes, a buyer's fee of 9 bp: ⌈17.7590⌉ + 3 µUSD, 9 bp of it, and 3 µUSD.

    17,759,000 + 3 = 17,759,003; floor of 0.0009 × that = 15,983; 17,774,989 in all.
    """
    fees = Fees(0, 9, 0, 0)
    for usd, answer in (("17.774988", Code.INSUFFICIENT_FUNDS), ("17.774989", None)):
        market = Market.given(fees=fees, lot=2, money={"ana": usd}).when("carl readies 6").wait(to="23:01")
        market.when("carl sells 6 at 3.01\nana buys 6 at 3.01 ioc")

        assert code_of(market.events[1:2]) == answer
        if answer:
            assert market.said()[1] == f"ana is refused: insufficient_funds (needs 17.774989, has {usd})"
        else:
            assert market.balances("ana") == rows("""
                who | cash     | held | collateral | free
                ana | 0.000005 | 0.00 | 0.00       | 0.000005
            """)


def test_lots_that_are_filled_one_by_one_cost_no_more_than_was_asked_for() -> None:
    """Each fill rounds cash and fee up: three of them, of 0.000001 for one minute, cost 0.000006."""
    fees = Fees(0, 1_000, 0, 0)
    market = Market.given(
        fees=fees, tick="0.000001", list_price="0.000001", money={"ana": "0.000007"}, running_close_ms=0
    ).when("bert readies 1\ncarl readies 1\ndana readies 1")
    market.wait(to="23:59").when("bert sells 1 at 0.000001\ncarl sells 1 at 0.000001\ndana sells 1 at 0.000001")

    market.when("ana buys 3 at 0.000001 fok")

    assert [(fill.notional, fill.buyer_fee) for fill in market.events if isinstance(fill, ev.Filled)] == [(1, 1)] * 3
    assert market.balances("ana") == rows("""
        who | cash     | held | collateral | free
        ana | 0.000001 | 0.00 | 0.00       | 0.000001
    """)


def test_a_bid_does_not_buy_from_its_own_owner() -> None:
    market = Market.given(owners="ana=anton").when("anton readies 1\ncarl readies 1").wait(to="23:00")

    market.when(
        "anton sells 1 at 3.00\ncarl sells 1 at 3.10\nana buys 1 at 3.10 ioc\nana buys 1 at 3.10 ioc cancel-oldest"
    )

    assert market.said()[2:] == lines("""
        ana bids 1 at 3.10
        ana loses 1 of an order: self_trade_newest
        ana bids 1 at 3.10
        anton loses 1 of an order: self_trade_oldest
        ana buys 1 from carl at 3.10
    """)


# --- Backing ------------------------------------------------------------------------------------------------------


def test_a_lowering_in_the_running_phase_cancels_from_the_worst_rank_and_leaves_what_is_owed() -> None:
    market = (
        Market.given()
        .when("carl readies 6")
        .wait(to="23:00")
        .when("""
        carl sells 2 at 3.00
        carl sells 2 at 3.20
        carl sells 2 at 3.10
        ana buys 1 at 3.00 ioc
    """)
    )

    market.when("carl readies 3\ncarl readies 0")

    assert market.said() == lines("""
        carl readies 3
        carl loses 2 of an order: backing_lowered
        carl loses 2 of an order: backing_lowered
        carl readies 0 and is short of 1
        carl loses 1 of an order: backing_lowered
    """)


def test_a_market_maker_readies_against_collateral_a_provider_for_nothing() -> None:
    """4.00 per GPU, for as long as it is unsold or owed; at the end of the running phase the unsold part is free."""
    market = Market.given(promises={"mike": 0}).when("mike readies 3\ncarl readies 3").wait(to="23:20")
    assert market.balances("mike", "carl") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 12.00      | 988.00
        carl | 1000.00 | 0.00 | 0.00       | 1000.00
    """)
    market.when("mike sells 2 at 3.00\nana buys 1 at 3.00 ioc")

    market.wait(to="23:50", ms=-1)
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "12.00", "988.00")
    assert market.wait(ms=1).said()[-3:] == [
        "mike loses 1 of an order: running_closed",
        "hour +0: running closed",
        "a tick",
    ]
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "4.00", "996.00")

    market.wait(to="00:00")
    assert told(market, "mike") == ["title 1 ends: mike owes 1 to ana", "mike leaves 4.00 of collateral"]
    assert market.balances("mike")[1] == ("mike", "996.00", "0.00", "0.00", "996.00")


def test_what_is_ready_may_be_said_from_listing_to_the_end_of_the_running_phase() -> None:
    market = Market.given()
    hours = [market.hour + later for later in (0, 3)]

    market.when("carl readies 1\ncarl readies 1 in hours +3").wait(to="23:49").when("carl readies 2")
    assert market.said() == ["carl readies 2"]
    market.wait(to="23:50").when("carl readies 3").when("carl readies 3 in hours +3")
    assert market.said() == ["carl readies 3"]
    market.when("carl readies 3 in hours +0 +3")
    assert market.said() == [f"carl is refused: wrong_phase (needs {hours[0]})"]


def test_a_provider_s_ready_machines_have_no_collateral_and_a_market_maker_s_at_least_the_cap() -> None:
    market = Market.given(promises={"mike": 0}).when("""
        carl readies 1 at 4.00
        mike readies 1 at 3.99
        mike readies 1 at 4.50
        mike readies 0 at 0
        mike is a provider
        mike readies 1
    """)

    assert [said for said in market.said() if "mike is" not in said and said != "AccountSet"] == lines("""
        carl is refused: wrong_collateral
        mike readies 1
        mike readies 0
        mike readies 1
    """)
    assert "mike is refused: wrong_collateral (needs 4.00)" in market.said()


# --- Its end ------------------------------------------------------------------------------------------------------


def test_at_its_end_asks_go_best_price_first_and_nothing_trades_any_more() -> None:
    market = (
        Market.given()
        .when("carl readies 9\nbert readies 9")
        .wait(to="23:10")
        .when("""
        carl sells 1 at 3.20
        bert sells 2 at 3.10
        carl sells 3 at 3.10 running
    """)
    )

    market.wait(to="23:50", ms=-1).wait(ms=1)

    assert market.said() == lines("""
        bert loses 2 of an order: running_closed
        carl loses 3 of an order: running_closed
        carl loses 1 of an order: running_closed
        hour +0: running closed
        a tick
    """)
    market.when("ana buys 1 at 3.10 ioc\ncarl sells 1 at 3.10\ncarl amends mine to 1 at 3.00")
    assert market.said() == lines("""
        ana is refused: wrong_phase
        carl is refused: wrong_phase
        carl is refused: unknown_order
    """)


def test_in_the_last_minute_of_an_hour_that_runs_to_its_end_nothing_is_left_to_sell() -> None:
    """Less than a whole minute: the phase goes on and takes no orders; what waits goes with the hour, told before its titles."""
    market = (
        Market.given(running_close_ms=0)
        .when("carl readies 5")
        .wait(to="23:59")
        .when("""
        carl sells 2 at 3.00
        ana buys 1 at 3.00 ioc
    """)
    )
    assert market.fills()[1:] == [("+0", "carl", "ana", "1", "3.00", "1", "0.05")]

    market.wait(ms=1).when("ana buys 1 at 3.00 ioc\ncarl sells 1 at 3.00\ncarl cancels all asks\ncarl readies 6")
    assert market.said() == lines(f"""
        ana is refused: wrong_phase
        carl is refused: wrong_phase
        carl cancels all 1
        carl loses 1 of an order: mass
        carl is refused: wrong_phase (needs {market.hour})
    """)


def test_when_nobody_spoke_between_the_phase_and_the_hour_s_end_it_is_told_in_the_order_of_the_moments() -> None:
    """With no time between the two, the hour ends first; the end of a phase of an hour that is gone is told alone."""
    for close_ms, story in (
        (
            60_000,
            ["carl loses 1 of an order: running_closed", "hour +0: running closed", "title 1 ends: carl owes 1 to ana"],
        ),
        (0, ["carl loses 1 of an order: running_closed", "title 1 ends: carl owes 1 to ana"]),
    ):
        market = Market.given(running_close_ms=close_ms).when("carl readies 5").wait(to="23:30")
        market.when("carl sells 2 at 3.00\nana buys 1 at 3.00 ioc")

        market.wait(to="00:00")

        ends = [said for said in market.said() if "hour +0" in said or "carl" in said]
        assert ends == [*story, "hour +0: ended", *(["hour +0: running closed"] if not close_ms else [])]


def test_an_hour_s_end_tells_running_titles_with_their_minutes() -> None:
    market = Market.given().when("carl readies 5\nbert sells 1 at 2.00\nana buys 1 at 2.00").wait(to="23:30")
    market.when("carl sells 2 at 3.00\nana buys 2 at 3.00 ioc")

    market.wait(to_ms=(market.hour + 1) * MS_PER_HOUR)

    at, ana, bert, carl = market.contract(), *map(market.account, ("ana", "bert", "carl"))
    assert [e for e in market.events if isinstance(e, ev.TitleEnded)] == [
        ev.TitleEnded(at, 1, bert, ana, Ground.DECLARED, 1, 60, 1_990_000, 2_000_000, 2_000_000),
        ev.TitleEnded(at, 2, carl, ana, Ground.READY, 2, 30, 2_985_000, 3_000_000, 3_000_000),
    ]
    assert ev.HourEnded(at, 2, 5_000_000, 0) in market.events


def test_a_halt_stops_the_running_phase_too_and_time_goes_on() -> None:
    market = Market.given().when("carl readies 5").wait(to="23:10").when("carl sells 2 at 3.00\nthe hour is halted")

    market.when(
        "ana buys 1 at 3.00 ioc\ncarl sells 1 at 3.00\nthe hour is post-only\nana buys 1 at 3.00 ioc\ncarl sells 1 at 2.90"
    )
    assert market.said() == lines("""
        ana is refused: halted
        carl is refused: halted
        the hour is post_only
        ana is refused: wrong_tif
        carl offers 1 at 2.90
    """)
    assert "hour +0: running closed" in market.wait(to="23:50").said()
