"""A collar follows its reference: of a class, or of one of its hours."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Ground
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, Market, lines, rows

# --- Whose collar ------------------------------------------------------------------------------------------------


def test_a_class_s_reference_moves_the_collar_of_every_hour_that_has_none_of_its_own() -> None:
    """Half to double: 1.25 to 5.00. Also of hours that are listed later."""
    market = Market.given(hours=3).when("the reference of the hour is 3.00").wait(minutes=1)
    assert market.when("the reference of the class is 2.50").said() == [
        "the reference of the class is 2.50: 1.25 to 5.00"
    ]

    market.when("""
        ana buys 1 at 1.24 in hour +1
        ana buys 1 at 5.00 in hour +1
        ana buys 1 at 5.01 in hour +1
        ana buys 1 at 1.49
        ana buys 1 at 6.00
    """).when(
        "ana buys 1 at 1.24 in hour +1\nana buys 1 at 5.00 in hour +1\nana buys 1 at 1.49\nana buys 1 at 6.00\nana buys 1 at 6.01"
    )

    assert market.said() == lines("""
        ana is refused: outside_collar (needs 1.25)
        ana bids 1 at 5.00
        ana is refused: outside_collar (needs 1.50)
        ana bids 1 at 6.00
        ana is refused: outside_collar (needs 6.00)
    """)
    market.wait(to="22:00").when("ana buys 1 at 1.24 in hour +3\nana buys 1 at 5.00 in hour +3")
    assert market.said() == ["ana is refused: outside_collar (needs 1.25)", "ana bids 1 at 5.00"]


def test_an_hour_s_own_reference_is_its_own_from_then_on() -> None:
    """Also when it is the same as the class's; the others stay where they are."""
    market = Market.given(hours=2).when("the reference of the hour is 2.00\nthe reference of the class is 4.00")
    assert market.said()[0] == "the reference of the hour is 2.00: 1.00 to 4.00"

    market.when("ana buys 1 at 1.00\nana buys 1 at 1.00 in hour +1")

    assert market.said() == ["ana bids 1 at 1.00", "ana is refused: outside_collar (needs 2.00)"]


def test_bounds_are_rounded_inwards() -> None:
    """A reference of 2.000001 from 8,333 to 12,345 basis points: ⌈1.6666008⌉, ⌊2.4690012⌋ µUSD."""
    market = Market.given(collar_low_bp=8_333, collar_high_bp=12_345, tick="0.000001").when(
        "the reference of the class is 2.000001"
    )

    assert market.said() == ["the reference of the class is 2.000001: 1.666601 to 2.469001"]


def test_orders_that_rest_stay_and_trade_where_they_are() -> None:
    """A bid of 1.10 is far below the new collar: it waits, and a seller who asks as little as he may does not meet it."""
    market = Market.given("bid | price | ask\n | 2.10 | 2 carl\n1 ana | 1.10 |").when(
        "the reference of the class is 4.00"
    )

    market.when("bert buys 1 at 2.10\nbert sells 1 at 2.00")

    assert market.said() == ["bert bids 1 at 2.10", "bert buys 1 from carl at 2.10", "bert offers 1 at 2.00"]
    assert market.book() == rows("""
        bid   | price | ask
              |  2.10 | 1 carl
              |  2.00 | 1 bert
        1 ana |  1.10 |
    """)


def test_it_is_told_with_its_source() -> None:
    market = Market.given()

    assert market.tell(cmd.MoveReference(CLASS, market.hour, 2_100_000, "index of noon")) == [
        ev.ReferenceMoved(0, CLASS, market.hour, 2_100_000, "index of noon", 1_050_000, 4_200_000)
    ]


# --- Promises ----------------------------------------------------------------------------------------------------


def test_a_higher_cap_cuts_promises_whose_collateral_it_leaves_behind_to_what_is_owed_on_them() -> None:
    """Five promised against 4.00 each, two sold: three end, with the asks that they stood behind; the worst ones first."""
    market = Market.given(promises={"mike": 5}).when("""
        mike sells 2 at 2.00
        ana buys 2 at 2.00
        mike sells 1 at 2.20
        mike sells 2 at 2.10
    """)

    market.when("the reference of the class is 2.10")

    assert market.said() == lines("""
        the reference of the class is 2.10: 1.05 to 4.20
        mike has 3 promised less
        mike loses 1 of an order: backing_lowered
        mike loses 2 of an order: backing_lowered
    """)
    assert market.balances("mike")[1] == ("mike", "1000.00", "0.00", "8.00", "992.00")
    market.when("mike promises 3 at 4.19\nmike promises 3 at 4.20\nmike sells 1 at 2.20")
    assert market.said() == lines("""
        mike is refused: wrong_collateral (needs 4.20)
        mike promises 3
        mike offers 1 at 2.20
    """)


def test_what_has_collateral_enough_stays() -> None:
    """At the cap, above it; provider's machines have none and are not promises."""
    market = Market.given(promises={"mike": 0}).when(
        "mike promises 5 at 4.20\nmike readies 2 at 4.20\nbert readies 3\nmike sells 5 at 2.00"
    )

    assert market.when("the reference of the class is 2.10").said() == [
        "the reference of the class is 2.10: 1.05 to 4.20"
    ]
    assert market.free_to_offer("mike") == 0


@pytest.mark.parametrize("price", ["2.00", "1.90", "1.00"])
def test_a_cap_that_does_not_rise_cuts_nothing(price: str) -> None:
    """Not even what was promised against less before: here 4.00 under a cap that was 6.00 and came down to where it is."""
    market = Market.given(promises={"mike": 5}).when(f"mike sells 5 at 2.00\nthe reference of the class is {price}")

    assert [said for said in market.said() if "mike" in said] == ["mike offers 5 at 2.00"]


def test_both_grounds_are_cut_by_hour_and_account_promised_before_ready() -> None:
    """What is ready stands behind nothing yet: its end cancels no ask of a forward hour."""
    market = Market.given(promises={"nora": 2, "mike": 3}, hours=2).when("""
        mike readies 4 in hours +0 +1
        mike sells 3 at 2.00
        nora sells 2 at 2.00 in hour +1
    """)

    market.when("the reference of the class is 2.50")

    nora, mike, here, later = market.account("nora"), market.account("mike"), market.contract(), market.contract(1)
    assert market.events[1:] == [
        ev.BackingCut(here, nora, Ground.PROMISED, 2),
        ev.BackingCut(here, mike, Ground.PROMISED, 3),
        *(event for event in market.events if isinstance(event, ev.OrderCancelled) and event.account == mike),
        ev.BackingCut(here, mike, Ground.READY, 4),
        ev.BackingCut(later, nora, Ground.PROMISED, 2),
        *(event for event in market.events if isinstance(event, ev.OrderCancelled) and event.account == nora),
        ev.BackingCut(later, mike, Ground.PROMISED, 3),
        ev.BackingCut(later, mike, Ground.READY, 4),
    ]
    assert market.said().count("mike loses 3 of an order: backing_lowered") == 1
    assert market.said().count("nora loses 2 of an order: backing_lowered") == 1
    assert market.balances("nora", "mike") == rows("""
        who  | cash    | held | collateral | free
        nora | 1000.00 | 0.00 | 0.00       | 1000.00
        mike | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_an_hour_s_own_reference_cuts_in_that_hour_only_and_the_class_s_does_not_cut_there() -> None:
    market = Market.given(promises={"mike": 3}, hours=3).when("the reference of the hour is 1.50").wait(minutes=1)

    market.when("the reference of the class is 2.50")

    assert market.said()[1:] == ["mike has 3 promised less"] * 2
    assert market.free_to_offer("mike") == 3
    market.when("the reference of the hour is 2.60")
    assert market.said()[1:] == ["mike has 3 promised less"]


def test_in_the_running_phase_what_is_ready_against_cash_is_cut_with_its_asks() -> None:
    """Mike owes one of three: two end. Carl's machines need no cash."""
    market = (
        Market.given(promises={"mike": 0})
        .when("mike readies 3\ncarl readies 3")
        .wait(to="23:10")
        .when("""
        mike sells 1 at 3.00
        ana buys 1 at 3.00 ioc
        mike sells 2 at 3.00
        carl sells 3 at 3.10
    """)
    )

    market.when("the reference of the class is 2.50")

    assert market.said()[1:] == ["mike has 2 ready less", "mike loses 2 of an order: backing_lowered"]
    assert market.balances("mike")[1][3] == "4.00"
    assert market.when("ana buys 9 at 5.00 ioc").trades()[1:] == [("carl", "ana", "3", "3.10")]


def test_a_cut_that_is_cut_again_has_nothing_to_say() -> None:
    market = Market.given(promises={"mike": 3}).when("the reference of the class is 2.10").wait(minutes=1)

    assert market.when("the reference of the class is 2.20").said() == [
        "the reference of the class is 2.20: 1.10 to 4.40"
    ]


# --- How often, and how far ----------------------------------------------------------------------------------------


def test_it_moves_once_a_minute_and_of_a_class_and_of_its_hours_each_by_itself() -> None:
    """The refusal says when it may; a refused move does not count."""
    market = Market.given().when(
        "the reference of the class is 2.10\nthe reference of the hour is 2.20\nthe reference of the class is 2.20"
    )
    assert market.said()[1:] == [
        "the reference of the hour is 2.20: 1.10 to 4.40",
        "0 is refused: too_soon (needs 21:11)",
    ]

    assert market.wait(ms=59_999).when("the reference of the class is 2.20").said() == [
        "0 is refused: too_soon (needs 21:11)"
    ]
    assert market.wait(ms=1).when("the reference of the class is 2.20").said() == [
        "the reference of the class is 2.20: 1.10 to 4.40"
    ]
    assert market.when("the reference of the class is 2.20").said() == ["0 is refused: too_soon (needs 21:12)"]


@pytest.mark.parametrize(
    ("price", "bound"),
    [
        (0, 200_000),
        (-2_000_000, 200_000),
        (-(2**63), 200_000),
        (2, 200_000),  # 2.00 written in USD and not in µUSD
        (199_999, 200_000),
        (200_000, 1_000_000),
        (999_999, 1_000_000),
        (4_000_001, 4_000_000),
        (20_000_000, 4_000_000),
        (20_000_001, 20_000_000),
        (200_000_000, 20_000_000),  # a hundredfold
        (2_000_000_000_000, 20_000_000),  # µUSD once more
        (2**64 - 1, 20_000_000),
    ],
)
def test_nonsense_is_refused_with_the_bound_that_it_passed(price: int, bound: int) -> None:
    """A tenth to ten times the list price first, then half to double of the reference in force."""
    market = Market.given()

    assert market.tell(cmd.MoveReference(CLASS, 0, price, "nonsense")) == [
        ev.Rejected(0, 0, Code.WRONG_REFERENCE, "", bound)
    ]
    assert market.engine.classes[CLASS].reference == 2_000_000


@pytest.mark.parametrize("price", [1_000_000, 4_000_000])
def test_half_and_double_are_no_nonsense(price: int) -> None:
    assert isinstance(Market.given().tell(cmd.MoveReference(CLASS, 0, price, ""))[0], ev.ReferenceMoved)


def test_bounds_of_an_odd_reference_are_rounded_inwards_too() -> None:
    """Half of 2.000003 is 1.0000015: a µUSD above it is the least. A tenth of 2.000003 likewise."""
    market = Market.given(list_price="2.000003", tick="0.000001")

    assert [market.tell(cmd.MoveReference(CLASS, 0, price, ""))[0] for price in (1_000_001, 200_000)] == [
        ev.Rejected(0, 0, Code.WRONG_REFERENCE, "", 1_000_002),
        ev.Rejected(0, 0, Code.WRONG_REFERENCE, "", 200_001),
    ]
    assert isinstance(market.tell(cmd.MoveReference(CLASS, 0, 1_000_002, ""))[0], ev.ReferenceMoved)


def test_step_by_step_it_comes_to_ten_times_the_list_price_and_no_further() -> None:
    market = Market.given()
    for price in ("4.00", "8.00", "16.00", "20.00"):
        market.when(f"the reference of the class is {price}").wait(minutes=1)

    market.when("the reference of the class is 20.01\nthe reference of the class is 10.00")
    assert market.said() == [
        "0 is refused: wrong_reference (needs 20.00)",
        "the reference of the class is 10.00: 5.00 to 20.00",
    ]


def test_an_hour_s_move_is_measured_from_its_own_reference_or_else_from_its_class_s() -> None:
    market = (
        Market.given().when("the reference of the class is 4.00\nthe reference of the hour is 8.00").wait(minutes=1)
    )
    assert market.said() == ["a tick"]

    market.when("the reference of the hour is 16.00\nthe reference of the class is 16.00")

    assert market.said() == [
        "the reference of the hour is 16.00: 8.00 to 32.00",
        "0 is refused: wrong_reference (needs 8.00)",
    ]


FAULTS: dict[str, Fault] = {
    "no class": (Code.UNKNOWN_CLASS, {"class_no": 9}),
    "not listed": (Code.UNKNOWN_CONTRACT, {"hour": 498_799}),
    "too soon": (Code.TOO_SOON, {"hour": 498_744}),
    "too low": (Code.WRONG_REFERENCE, {"price": 1}),
}


@pytest.mark.parametrize(("first", "second"), pairs(FAULTS))
def test_a_move_with_two_faults_is_refused_for_the_earlier_one(first: str, second: str) -> None:
    market = Market.given()
    body = cmd.MoveReference(CLASS, market.hour, 2_100_000, "index")
    market.tell(replace(body, hour=market.hour + 1))

    for name in (first, second):
        assert code_of(market.tell(replace(body, **FAULTS[name][1]))) == FAULTS[name][0]
    assert code_of(market.tell(replace(body, **FAULTS[first][1], **FAULTS[second][1]))) == FAULTS[first][0]
    assert code_of(market.tell(body)) is None, "without them, it is done"


@pytest.mark.parametrize("hour", [-1, 1 << 24, (1 << 24) + 498_743, 2**64 - 1])
def test_an_hour_that_cannot_be_has_no_reference(hour: int) -> None:
    assert code_of(Market.given().tell(cmd.MoveReference(CLASS, hour, 2_000_000, ""))) == Code.UNKNOWN_CONTRACT
