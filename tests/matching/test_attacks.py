"""Nine attacks on titles and escrow, with running titles and buy-ins: what would go wrong otherwise, and what happens instead.

In each story somebody would fail on purpose, or let himself be bought in. The engine keeps for every title its escrow, what its
obligor has when it is delivered (proceeds) and what its holder has when it is not (cost); neither may ever exceed the escrow,
and no title's escrow stands for another's. Whose the rest is settlement knows: tests/settlement/test_attacks.py.
"""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Fees, Ground
from tests.matching.market import Market, lines, rows


def test_1_a_fee_waits_in_the_escrow_of_a_running_hour_too() -> None:
    """Had the fee left at the fill, 0.995 would be there when Ana is to have her 1.00 back."""
    market = Market.given().when("carl readies 1").wait(to="23:30").when("carl sells 1 at 2.00\nana buys 1 at 2.00 ioc")

    assert market.titles() == rows("""
        title | obligor | holder | ground | gpus | proceeds | cost | escrow
        1     | carl    | ana    | ready  | 1    | 0.995    | 1.00 | 1.00
    """)


def test_1_nor_does_a_resale_at_almost_the_same_price_that_is_bought_in_pay_a_fee_out_of_another_s_money() -> None:
    """2.00 → 2.005 → bought in at 2.005: a gain of 0.005 would not pay a fee of 0.010025."""
    market = Market.given(promises={"mike": 1}, tick="0.005", backs={"ana": 0})
    market.when(
        "mike sells 1 at 2.00\nana buys 1 at 2.00\nana sells 1 at 2.005\nhana buys 1 at 2.005\ncarl sells 1 at 2.005"
    )

    market.wait(to="22:30")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost  | escrow
        1     | carl    | hana   | declared | 1    | 1.994975 | 2.005 | 2.025025
    """)
    assert market.balances("mike", "ana")[1:] == [
        ("mike", "999.985", "0.00", "0.00", "999.985"),
        ("ana", "999.994975", "0.00", "0.00", "999.994975"),
    ]


def test_2_a_surplus_stays_in_the_title_of_whom_it_cost() -> None:
    """Mike sells to Ana at 4.00, she to Hana at 1.00; Mike is bought in at 3.00. Ana's 3.005 of loss wait for a failure.

    Were they Hana's, she and Carl would take them from Ana by failing.
    """
    market = Market.given(promises={"mike": 1}, backs={"ana": 0})
    market.when(
        "mike sells 1 at 4.00\nana buys 1 at 4.00\nhana buys 1 at 1.00\nana sells 1 at 1.00\ncarl sells 1 at 3.00"
    )

    market.wait(to="22:30")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | hana   | declared | 1    | 2.985    | 1.00 | 4.005
    """)
    assert market.balances("ana", "mike")[1:] == [
        ("ana", "996.995", "0.00", "0.00", "996.995"),
        ("mike", "1000.00", "0.00", "0.00", "1000.00"),
    ]


def test_3_a_fake_hour_sold_to_a_friend_at_the_floor_takes_nothing_of_another_buyer_s_escrow() -> None:
    """Bob has no machine and says that he has. His friend's cost is 0.50 for half an hour; Ana's 4.00 stay Ana's."""
    market = Market.given().when("carl sells 1 at 4.00\nana buys 1 at 4.00\nbob readies 1").wait(to="23:30")

    market.when("bob sells 1 at 1.00\nfriend buys 1 at 1.00 ioc")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 1    | 3.98     | 4.00 | 4.00
        2     | bob     | friend | ready    | 1    | 0.4975   | 0.50 | 0.50
    """)


def test_4_gains_are_each_title_s_own() -> None:
    """Fake Alf → Tom at 1.00 → Cleo at 3.00 beside honest Al2 → Tim at 2.50 → Cleo at 3.00.

    Tom has his 1.00 back and no gain before Alf delivers. In one pool Tim would pay for it.
    """
    market = Market.given(backs={"tom": 0, "tim": 0}).when("""
        alf sells 1 at 1.00
        tom buys 1 at 1.00
        al2 sells 1 at 2.50
        tim buys 1 at 2.50
        tom sells 1 at 3.00
        tim sells 1 at 3.00
        cleo buys 2 at 3.00
    """)

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | alf     | cleo   | declared | 1    | 0.995    | 3.00 | 3.00
        2     | al2     | cleo   | declared | 1    | 2.4875   | 3.00 | 3.00
    """)
    assert market.balances("tom", "tim")[1:] == [
        ("tom", "1000.00", "0.00", "0.00", "1000.00"),
        ("tim", "1000.00", "0.00", "0.00", "1000.00"),
    ]


def test_5_whoever_is_bought_in_cheaper_than_he_sold_has_his_gain_when_it_is_delivered_and_not_before() -> None:
    """Sold at 4.00, bought in at 1.00: all proceeds at once would leave 1.00 for Ana's 4.00."""
    market = Market.given(promises={"mike": 1}, backs={"ana": 0})
    market.when("mike sells 1 at 4.00\nana buys 1 at 4.00\ncarl sells 1 at 1.00")

    market.wait(to="22:30")

    assert market.moves()[1][-3:] == ("1", "1", "1.00")
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 1    | 0.995    | 4.00 | 4.00
    """)
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "0.00", "1000.00")


def test_6_a_friend_who_fails_one_running_hour_undoes_no_round_trip_that_is_closed() -> None:
    """Mike bought back his very own promise: its escrow is out of reach, and ends with the hour under no title's name."""
    market = Market.given(promises={"mike": 1}, backs={"ana": 0})
    market.when("mike sells 1 at 2.00\nana buys 1 at 2.00\nana sells 1 at 3.00").wait(to="22:30")
    assert market.titles()[1:] == []
    market.when("friend readies 1").wait(to="23:00").when("friend sells 1 at 1.00\nmike buys 1 at 1.00 ioc")

    market.wait(to="00:00")

    at, friend, mike = market.contract(), market.account("friend"), market.account("mike")
    assert [
        event for event in market.events if isinstance(event, (ev.TitleEnded, ev.HourEnded)) and event.contract == at
    ] == [
        ev.TitleEnded(at, 2, friend, mike, Ground.READY, 1, 60, 995_000, 1_000_000, 1_000_000),
        ev.HourEnded(at, 1, 1_000_000 + 1_010_000, 0),
    ]


def test_7_a_promiser_who_lets_himself_be_bought_in_pays_the_dearest_ask_that_his_collateral_covers() -> None:
    """His friend asks 4.00 where others ask 2.10: the best asks are taken first, and the friend's only when they are gone.

    What the friend gains waits in the title's escrow until it is delivered; it comes out of Mike's own cash.
    """
    market = Market.given(promises={"mike": 2}, backs={"ana": 0}).when(
        "mike sells 2 at 2.00\nana buys 2 at 2.00\nfred sells 2 at 4.00\ncarl sells 1 at 2.10"
    )

    market.wait(to="22:30")

    assert market.trades()[1:] == [("carl", "mike", "1", "2.10"), ("fred", "mike", "1", "4.00")]
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | fred    | ana    | declared | 1    | 3.98     | 2.00 | 4.01
        3     | carl    | ana    | declared | 1    | 2.0895   | 2.00 | 2.11
    """)
    assert market.balances("mike", "fred") == rows("""
        who  | cash    | held | collateral | free
        mike | 997.88  | 0.00 | 0.00       | 997.88
        fred | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_7_selling_at_the_floor_and_being_bought_in_at_the_cap_is_paid_by_who_promised() -> None:
    """Collateral is the whole price and not the distance to it; both fees are in it.

    Ana has her hour for 1.00 from somebody who has a machine; her cost when that one fails is the 1.00 that she paid.
    """
    market = Market.given(
        promises={"mike": 1}, fees=Fees(0, 50, 50, 50), money={"mike": "4.02", "ana": "1.005001"}, backs={"ana": 0}
    )
    market.when("mike sells 1 at 1.00\nana buys 1 at 1.00\ncarl sells 1 at 4.00")

    market.wait(to="22:30")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost  | escrow
        1     | carl    | ana    | declared | 1    | 3.98     | 1.005 | 4.03
    """)
    assert market.balances("mike", "ana") == rows("""
        who  | cash     | held | collateral | free
        mike | 0.995    | 0.00 | 0.00       | 0.995
        ana  | 0.000001 | 0.00 | 0.00       | 0.000001
    """)


def test_8_a_machine_that_is_owed_forward_is_not_ready_a_second_time_by_what_the_engine_counts() -> None:
    """What is owed forward takes nothing of what is ready, nor gives any of it back.

    Carl has two machines, one sold forward; his supply says that one is ready. He sells that one, and no other.
    """
    market = (
        Market.given(backs={"carl": 2})
        .when("carl sells 1 at 2.00\nana buys 1 at 2.00\ncarl readies 1")
        .wait(to="23:00")
    )

    market.when("carl sells 1 at 3.00\nbert buys 1 at 3.00 ioc\ncarl sells 1 at 3.00\ncarl readies 0\ncarl readies 1")

    assert market.said() == lines("""
        carl offers 1 at 3.00
        bert bids 1 at 3.00
        bert buys 1 from carl at 3.00
        carl is refused: insufficient_backing (needs 1, has 0)
        carl readies 0 and is short of 1
        carl readies 1
    """)
    assert market.free_to_offer("carl") == 0


def test_9_failing_a_title_and_selling_its_machine_again_leaves_both_escrows_apart() -> None:
    """Escrow cannot stop Carl from selling his machine dearer while it runs; each buyer's cost waits for himself.

    What Carl would get of the second title does not pay for the first, whose buyer has all of his 2.00 back when it fails.
    """
    market = (
        Market.given(backs={"carl": 1})
        .when("carl sells 1 at 2.00\nana buys 1 at 2.00\ncarl readies 1")
        .wait(to="23:00")
    )

    market.when("carl sells 1 at 4.00\nbert buys 1 at 4.00 ioc")

    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 1    | 1.99     | 2.00 | 2.00
        2     | carl    | bert   | ready    | 1    | 3.98     | 4.00 | 4.00
    """)
    assert market.balances("carl")[1] == ("carl", "1000.00", "0.00", "0.00", "1000.00")


def test_whoever_owes_against_collateral_does_not_get_it_back_by_becoming_a_provider() -> None:
    """Mike sold what he had no machine for, against 4.00. A provider's machines ask for nothing, but what is owed was not one.

    His friend Ana would fail with him: her 3.00 come back, and nothing would pay for what she had to do without.
    """
    market = Market.given(promises={"mike": 0}).when("mike readies 3").wait(to="23:00")
    market.when("mike sells 1 at 3.00\nana buys 1 at 3.00 ioc\nmike is a provider")

    market.when("mike readies 0\nmike readies 5\nmike readies 0 at 3.99\nmike readies 0 at 4.00\nmike readies 0")

    assert market.said() == lines("""
        mike is refused: wrong_collateral (needs 4.00)
        mike is refused: wrong_collateral (needs 4.00)
        mike is refused: wrong_collateral (needs 4.00)
        mike readies 0 and is short of 1
        mike is refused: wrong_collateral (needs 4.00)
    """)
    assert market.balances("mike") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 4.00       | 996.00
    """)


def test_what_was_not_sold_yet_is_a_provider_s_machine_from_then_on() -> None:
    """Nobody holds a title that stands on that promise; and what is sold as a provider's machine needs no collateral later."""
    market = Market.given(promises={"mike": 0}).when("mike readies 3").wait(to="23:00")

    market.when("mike is a provider\nmike readies 2\nmike sells 1 at 3.00\nana buys 1 at 3.00 ioc\nmike readies 1")

    assert market.said()[-1] == "mike readies 1"
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "0.00", "1000.00")
