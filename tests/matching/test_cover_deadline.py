"""The cover deadline: half an hour before its hour a promise must have a machine, or is bought in.

The story's hour begins at 23:00, its deadline is 22:30. Mike and Nora promise; the collar's cap is 4.00, as is their collateral.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees
from tests.matching.market import Market, lines, rows


def told(market: Market) -> list[str]:
    """What was said at the deadline, without what other hours say."""
    return [said for said in market.said() if not said.startswith("hour ") and said != "a tick"]


def owing(qty: int = 2, **how: object) -> Market:
    """Mike has promised five and sold some of them to Ana at 2.00."""
    market = Market.given(**{"promises": {"mike": 5}, "backs": {"ana": 0}, **how})  # type: ignore[arg-type]  # as `given` says
    return market.when(f"mike sells {qty} at 2.00\nana buys {qty} at 2.00")


# --- Unsold promises ------------------------------------------------------------------------------------------------


def test_what_is_not_sold_by_then_ends_with_its_asks_and_its_collateral() -> None:
    market = Market.given(promises={"mike": 5}).when("mike sells 2 at 2.10\nmike sells 3 at 2.20")

    assert told(market.wait(to="22:30", ms=-1)) == []
    market.wait(ms=1)

    assert told(market) == lines("""
        mike has 5 promised less
        mike loses 3 of an order: backing_lowered
        mike loses 2 of an order: backing_lowered
    """)
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "0.00", "1000.00")


def test_what_he_holds_or_has_declared_may_still_be_offered() -> None:
    """Of seven asked for, four stand on machines and on a title: the worst ask goes, the others stay."""
    market = Market.given(promises={"mike": 5}).when("""
        mike declares 3
        carl sells 1 at 1.80
        mike buys 1 at 1.80
        mike sells 4 at 2.10
        mike sells 3 at 2.20
    """)

    market.wait(to="22:30")

    assert told(market) == ["mike has 5 promised less", "mike loses 3 of an order: backing_lowered"]
    assert market.book()[1:] == [("", "2.10", "4 mike")]


def test_nothing_can_be_promised_any_more_and_machines_can_be_declared() -> None:
    market = owing().wait(to="22:30")

    market.when("mike promises 5\nmike promises 0\nmike declares 1\nmike readies 1")

    assert market.said() == [
        *[f"mike is refused: wrong_phase (needs {market.hour})"] * 2,
        "mike declares 1",
        "title 2 of 1 is covered as a piece of title 1",
        "mike readies 1",
    ]


def test_who_promised_nothing_hears_nothing() -> None:
    """Machines and what is ready have no deadline."""
    market = Market.given(promises={"mike": 0}).when(
        "mike declares 2\nmike readies 2\ncarl sells 1 at 2.00\nana buys 1 at 2.00"
    )

    assert told(market.wait(to="22:30")) == []


# --- The buy-in -----------------------------------------------------------------------------------------------------


def test_what_is_owed_as_promised_is_bought_in_at_the_best_asks_and_the_seller_owes_it() -> None:
    """First his unsold promises end. Carl and Dana take Mike's place towards Ana; what he would have had, 3.98, is his again."""
    market = owing().when("carl sells 1 at 2.10\ndana sells 5 at 2.30")

    market.wait(to="22:30")

    assert told(market) == lines("""
        mike has 3 promised less
        bought in for mike: 2 at 4.00
        mike buys 1 from carl at 2.10
        mike buys 1 from dana at 2.30
    """)
    fills = [fill for fill in market.events if isinstance(fill, ev.Filled)]
    assert [(fill.taker_order, fill.taker_side, fill.taker_leaves) for fill in fills] == [(0, 1, 1), (0, 1, 0)]
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | dana    | ana    | declared | 1    | 2.2885   | 2.00 | 2.31
        3     | carl    | ana    | declared | 1    | 2.0895   | 2.00 | 2.11
    """)
    assert market.balances("mike")[1] == ("mike", "999.58", "0.00", "0.00", "999.58")
    assert market.positions()[1:] == [("ana", "2", "0"), ("carl", "0", "1"), ("dana", "0", "1")]


@pytest.mark.parametrize("rate", [0, 1, 9, 1_000])
def test_its_collateral_pays_for_the_dearest_buy_in_to_the_micro(rate: int) -> None:
    """Mike has nothing but his collateral, 4.00 and the buyer's fee on it for each; two are bought at 4.00, one by one.

    Nothing is left but what his sale would have brought.
    """
    fee = 4 * rate * 100
    collateral = 2 * (4_000_000 + fee)
    market = owing(fees=Fees(0, rate, 0, 0), money={"mike": f"{collateral / 1_000_000:.6f}"}, promises={"mike": 2})
    assert market.balances("mike")[1][4] == "0.00"
    market.when("carl sells 1 at 4.00\ndana sells 1 at 4.00")

    market.wait(to="22:30")

    assert len(market.trades()[1:]) == 2
    assert market.engine.accounts[market.account("mike")].cash == 4_000_000
    assert market.balances("mike")[1][2:4] == ("0.00", "0.00")


def test_a_fee_that_is_rounded_up_for_each_machine_is_paid_by_the_collateral_too() -> None:
    """One basis point of 4.000001, rounded up, stands behind each; three fills are rounded up three times."""
    market = owing(
        3,
        fees=Fees(0, 1, 0, 0),
        tick="0.000001",
        list_price="2.000001",
        promises={"mike": 3},
        money={"mike": "12.001209"},
    )
    assert market.balances("mike")[1][3:] == ("12.001209", "0.00")
    market.when("carl sells 1 at 4.000002\ndana sells 1 at 4.000002\nbert sells 1 at 4.000002")

    market.wait(to="22:30")

    fills = [fill for fill in market.events if isinstance(fill, ev.Filled)]
    assert [(fill.notional, fill.buyer_fee) for fill in fills] == [(4_000_002, 401)] * 3
    assert market.balances("mike")[1] == ("mike", "6.00", "0.00", "0.00", "6.00")


def test_the_limit_is_the_cap_of_now_or_the_collateral_price_whichever_is_lower() -> None:
    """4.00 are there for each; the cap rose to 5.00, or fell to 3.00. An ask one tick above the limit stays."""
    rose = owing(1).when("the reference of the class is 2.50\ncarl sells 1 at 4.00\ndana sells 1 at 4.01")
    fell = owing(1).when("carl sells 1 at 3.00\ndana sells 1 at 3.01\nthe reference of the class is 1.50")

    for market, limit, beyond in ((rose, "4.00", "4.01"), (fell, "3.00", "3.01")):
        market.wait(to="22:30")
        assert f"bought in for mike: 1 at {limit}" in told(market)
        assert market.trades()[1:] == [("carl", "mike", "1", limit)]
        assert market.book()[1:] == [("", beyond, "1 dana")]


# --- What cannot be bought -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("", ["bought in for mike: 2 at 4.00", "mike still owes 2"]),
        ("the hour is halted", ["mike still owes 2"]),
        ("the class is cancel-only", ["mike still owes 2"]),
        ("the hour is post-only", ["mike still owes 2"]),
        (
            "carl sells 1 at 3.00",
            ["bought in for mike: 2 at 4.00", "mike buys 1 from carl at 3.00", "mike still owes 1"],
        ),
        ("carl sells 9 at 3.00\nthe hour is halted", ["mike still owes 2"]),
    ],
    ids=["nobody offers", "halted", "cancel-only", "post-only", "too few", "halted though offered"],
)
def test_what_cannot_be_bought_is_a_delivery_failure_to_come(story: str, said: list[str]) -> None:
    """He goes on owing it as promised, with its collateral."""
    market = owing(promises={"mike": 2})
    if story:
        market.when(story)

    market.wait(to="22:30")

    left = int(said[-1][-1])
    assert told(market) == said
    assert market.balances("mike")[1][3] == f"{4 * left}.00"
    assert [row[3:5] for row in market.titles()[1:] if row[1] == "mike"] == [("promised", str(left))]


def test_what_failed_is_still_covered_by_a_machine_or_an_order_of_his_own() -> None:
    """Until its gate; his own collateral is then free."""
    market = (
        owing(promises={"mike": 2}).wait(to="22:30").when("mike declares 1\ncarl sells 1 at 2.50\nmike buys 1 at 2.50")
    )

    assert market.said() == lines("""
        mike declares 1
        title 2 of 1 is covered as a piece of title 1
        carl offers 1 at 2.50
        mike bids 1 at 2.50
        mike buys 1 from carl at 2.50
    """)
    assert market.balances("mike")[1][3] == "0.00"
    assert [row[1:5] for row in market.titles()[1:]] == [
        ("carl", "ana", "declared", "1"),
        ("mike", "ana", "declared", "1"),
    ]


def test_an_ask_above_his_collateral_is_not_bought_and_keeps_its_place() -> None:
    market = owing(1).when("the reference of the hour is 2.50\ncarl sells 1 at 4.50\nana buys 1 at 4.50")
    assert market.trades()[1:] == [("carl", "ana", "1", "4.50")]
    market.when("carl sells 1 at 4.50\ndana sells 1 at 4.50")

    market.wait(to="22:30")

    assert told(market) == ["bought in for mike: 1 at 4.00", "mike still owes 1"]
    assert market.book()[1:] == [("", "4.50", "1 carl, 1 dana")]


# --- Who pays, who sells ----------------------------------------------------------------------------------------------


def test_of_two_promisers_the_one_with_the_lower_account_buys_first() -> None:
    """All unsold promises end before anybody is bought in: Nora's own ask is no machine for Mike."""
    market = Market.given(promises={"mike": 3, "nora": 3}, backs={"ana": 0}).when("""
        mike sells 1 at 2.00
        ana buys 1 at 2.00
        nora sells 2 at 2.00
        ana buys 2 at 2.00
        nora sells 1 at 2.10
        carl sells 2 at 3.00
    """)

    market.wait(to="22:30")

    assert told(market) == lines("""
        mike has 2 promised less
        nora has 1 promised less
        nora loses 1 of an order: backing_lowered
        bought in for mike: 1 at 4.00
        mike buys 1 from carl at 3.00
        bought in for nora: 2 at 4.00
        nora buys 1 from carl at 3.00
        nora still owes 1
    """)


def test_own_asks_in_the_way_are_cancelled_also_those_of_his_other_accounts() -> None:
    """A machine of his own he should have declared; the exchange does not let him sell it to himself."""
    market = owing(1, owners="mike=milo").when("milo sells 2 at 2.10\ncarl sells 1 at 2.20\nmilo sells 3 at 2.30")

    market.wait(to="22:30")

    assert told(market) == lines("""
        mike has 4 promised less
        bought in for mike: 1 at 4.00
        milo loses 2 of an order: self_trade_oldest
        mike buys 1 from carl at 2.20
    """)
    assert market.book()[1:] == [("", "2.30", "3 milo")]


def test_a_promise_that_was_covered_before_needs_no_buy_in() -> None:
    """Two machines that he procured for the two that he owes; what is left of the promise ends quietly."""
    market = owing().when("mike declares 2\ncarl sells 5 at 2.10")
    assert market.said()[1] == "title 1 of 2 is covered"

    market.wait(to="22:30")

    assert told(market) == ["mike has 5 promised less"]
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "0.00", "1000.00")


def test_one_that_was_covered_in_part_is_bought_in_for_the_rest() -> None:
    market = owing().when("mike declares 1\ncarl sells 5 at 2.10")

    market.wait(to="22:30")

    assert told(market) == lines("""
        mike has 4 promised less
        bought in for mike: 1 at 4.00
        mike buys 1 from carl at 2.10
    """)
    assert [row[1:5] for row in market.titles()[1:]] == [
        ("carl", "ana", "declared", "1"),
        ("mike", "ana", "declared", "1"),
    ]


def test_his_very_own_promise_may_be_what_is_bought_back() -> None:
    """Ana offers the title that he owes her: nobody owes and nobody holds it any more."""
    market = owing(1, promises={"mike": 1}).when("ana sells 1 at 3.00")

    market.wait(to="22:30")

    assert told(market) == ["bought in for mike: 1 at 4.00", "mike buys 1 from ana at 3.00"]
    assert (market.titles()[1:], market.positions()[1:]) == ([], [])
    assert market.balances("mike", "ana") == rows("""
        who  | cash    | held | collateral | free
        mike | 998.99  | 0.00 | 0.00       | 998.99
        ana  | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_bids_that_wait_are_not_asked_and_blocks_neither() -> None:
    """A sell block over the hour is not split: what is bought in is bought in the hour's book."""
    market = owing(1, hours=2, promises={"mike": 1}).when(
        "carl offers a block of 5 for 2 hours from +0 at 2.00\nbert buys 1 at 2.50"
    )

    market.wait(to="22:30")

    assert told(market) == ["bought in for mike: 1 at 4.00", "mike still owes 1"]


# --- When -----------------------------------------------------------------------------------------------------------


def test_a_deadline_after_the_gate_finds_nothing_to_buy() -> None:
    """Unsold promises ended at the gate, 22:00; what is owed is told as failed at 22:30, and cannot be bought back any more."""
    market = Market.given(promises={"mike": 5}, gate_ms=3_600_000).when("mike sells 2 at 2.00\nana buys 2 at 2.00")
    market.wait(to="22:00")
    assert market.balances("mike")[1][3] == "8.00"

    assert told(market.wait(to="22:30")) == ["mike still owes 2"]


def test_at_the_same_moment_the_gate_closes_first() -> None:
    """Nothing is forward any more when the deadline comes: unsold promises ended with the gate, and no buy-in is tried."""
    market = owing(1, cover_ms=300_000).when("carl sells 1 at 2.10")

    market.wait(to="22:55")

    here = [said for said in market.said() if "mike" in said or "carl" in said or "hour +0" in said]
    assert here == ["carl loses 1 of an order: gate_closed", "hour +0: gate closed", "mike still owes 1"]


def test_an_hour_that_is_listed_at_or_after_its_deadline_takes_no_promises() -> None:
    """22:00 is listed by a class that is set at 21:30, the moment of its deadline, or a millisecond before."""
    for ms, answer in ((-1, "mike promises 1"), (0, "mike is refused: wrong_phase")):
        market = Market.given(promises={"mike": 1}).wait(to="21:30", ms=ms)
        market.tell(cmd.SetClass(market.outbox(), 2, "B", 1, 10_000, 2_000_000, Fees(), horizon_hours=4))

        market.send(replace(market.promise("mike", 1, hours=(-1,)), class_no=2))

        assert market.said()[-1].split(" (")[0] == answer


def test_after_a_silence_the_deadline_comes_in_its_turn_before_the_gate() -> None:
    """One record for both: the buy-in finds the asks that the gate cancels afterwards."""
    market = owing().when("carl sells 9 at 2.10")

    market.wait(to="23:30")

    here = [said for said in market.said() if any(word in said for word in ("mike", "carl", "hour +0"))]
    assert here == lines("""
        mike has 3 promised less
        bought in for mike: 2 at 4.00
        mike buys 2 from carl at 2.10
        carl loses 7 of an order: gate_closed
        hour +0: gate closed
    """)
