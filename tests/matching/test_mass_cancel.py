"""Everything of an account that matches, gone with one command."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Side
from schemas.events import Code
from tests.matching.faults import Fault, code_of, pairs
from tests.matching.market import CLASS, Market, lines, rows


def full_house() -> Market:
    """Ana waits on both sides, in three hours and in blocks; so does Bert."""
    return Market.given(hours=3).when("""
        ana buys 1 at 1.90
        bert buys 9 at 1.90
        ana sells 2 at 2.20
        ana buys 3 at 1.80 in hour +1
        ana bids a block of 4 for 2 hours from +0 at 1.50
        ana offers a block of 5 for 2 hours from +1 at 2.50
        bert offers a block of 9 for 2 hours from +1 at 2.50
        ana sells 6 at 2.30 in hour +2
    """)


WHAT: dict[str, list[int]] = {
    "ana cancels all": [1, 2, 3, 4, 5, 6],
    "ana cancels all bids": [1, 3, 4],
    "ana cancels all asks": [2, 5, 6],
    "ana cancels all in hour +0": [1, 2, 4],
    "ana cancels all in hour +1": [3, 4, 5],
    "ana cancels all in hour +2": [5, 6],
    "ana cancels all asks in hour +2": [5, 6],
    "ana cancels all bids in hour +2": [],
    "ana cancels all in hour -1": [],
    "ana cancels all of class 1": [1, 2, 3, 4, 5, 6],
    "ana cancels all bids in hour +1 of class 1": [3, 4],
    "ana cancels all of class 2": [],
    "ana cancels all in hour +0 of class 9": [],
}


@pytest.mark.parametrize(("sentence", "sizes"), WHAT.items(), ids=WHAT)
def test_orders_and_blocks_that_match_go_by_their_ids(sentence: str, sizes: list[int]) -> None:
    """A block is in each of its hours. The count comes first, also when it is nothing."""
    market = full_house().when(sentence)

    assert market.said() == [
        f"ana cancels all {len(sizes)}",
        *(f"ana loses {size} of an order: mass" for size in sizes),
    ]


def test_others_orders_and_other_accounts_of_the_owner_stay() -> None:
    market = Market.given(owners="ana=anton").when(
        "ana buys 1 at 1.90\nanton buys 2 at 1.90\nbert buys 3 at 1.90\nana cancels all"
    )

    assert market.book()[1:] == [("2 anton, 3 bert", "1.90", "")]


def test_what_was_held_and_offered_is_free_again() -> None:
    market = full_house().when("ana cancels all")

    assert market.balances("ana")[1] == ("ana", "1000.00", "0.00", "0.00", "1000.00")
    assert market.free_to_offer("ana") == 100
    assert market.books() == rows("""
        hour | bid    | price | ask
        +0   | 9 bert | 1.90  |
    """)
    assert market.blocks()[1:] == [("+1", "2", "", "2.50", "9 bert")]
    assert market.when("ana cancels all").said() == ["ana cancels all 0"]


@pytest.mark.parametrize("state", ["cancel-only", "halted"])
def test_it_passes_whatever_the_state_is(state: str) -> None:
    assert len(full_house().when(f"the class is {state}\nana cancels all").said()) == 8


def test_an_hour_of_any_class_and_every_hour_of_one() -> None:
    """The same hour of two classes."""
    market = Market.given().when("ana buys 1 at 1.90")
    ana, now = market.account("ana"), market.engine.time_ms
    market.tell(cmd.SetClass(market.outbox(), 2, "B", 1, 10_000, 2_000_000, Fees(), horizon_hours=4))
    order = market.order("ana", Side.BUY, 2, "1.90")
    market.tell(
        replace(order, contract=(2 << 24) + market.hour), replace(order, contract=(2 << 24) + market.hour + 1, qty=3)
    )

    by_class = cmd.MassCancel(ana, 2, 0, 0, now)
    assert [e.qty for e in market.tell(cmd.MassCancel(ana, 0, market.hour, 0, now))[1:]] == [1, 2]  # type: ignore[union-attr]  # cancelled
    assert [e.qty for e in market.tell(by_class)[1:]] == [3]  # type: ignore[union-attr]  # cancelled


def test_in_the_running_phase_it_takes_running_asks_away() -> None:
    market = (
        Market.given()
        .when("carl readies 5\ncarl sells 2 at 2.10 running")
        .wait(to="23:10")
        .when("carl cancels all asks in hour +0")
    )

    assert market.said() == ["carl cancels all 1", "carl loses 2 of an order: mass"]


FAULTS: dict[str, Fault] = {
    "too late": (Code.TOO_LATE, {"valid_until_ms": 0}),
    "valid for too long": (Code.WRONG_VALIDITY, {"valid_until_ms": 2**62}),
    "no account": (Code.UNKNOWN_ACCOUNT, {"account": 77}),
    "no side": (Code.WRONG_SIDE, {"side": 3}),
}


def body_of(market: Market) -> cmd.MassCancel:
    """Everything of Ana's."""
    return cmd.MassCancel(market.account("ana"), CLASS, 0, 0, market.engine.time_ms)


@pytest.mark.parametrize("fault", FAULTS)
def test_one_with_one_fault_is_refused_for_it(fault: str) -> None:
    market = full_house()
    code, changes = FAULTS[fault]
    wrong = replace(body_of(market), **changes)

    assert market.tell(wrong) == [ev.Rejected(0, wrong.account, code)]
    assert len(market.tell(body_of(market))) == 7


@pytest.mark.parametrize(("first", "second"), pairs(FAULTS))
def test_one_with_two_faults_is_refused_for_the_earlier_one(first: str, second: str) -> None:
    market = full_house()

    assert code_of(market.tell(replace(body_of(market), **FAULTS[first][1], **FAULTS[second][1]))) == FAULTS[first][0]


@pytest.mark.parametrize(("first", "second"), pairs({**FAULTS, "no side": (Code.WRONG_EXPIRY, {"after_ms": 1})}))
def test_a_dead_man_s_switch_with_two_faults_is_refused_for_the_earlier_one(first: str, second: str) -> None:
    market = Market.given(money={"ana": "9"})
    faults = {**FAULTS, "no side": (Code.WRONG_EXPIRY, {"after_ms": 1})}
    body = cmd.CancelAllAfter(market.account("ana"), 5_000, market.engine.time_ms)

    assert code_of(market.tell(replace(body, **faults[first][1], **faults[second][1]))) == faults[first][0]
    assert code_of(market.tell(body)) is None


@pytest.mark.parametrize("side", [-1, 3, 2**64 - 1])
def test_a_side_is_one_of_two_or_both(side: int) -> None:
    market = full_house()

    assert code_of(market.tell(replace(body_of(market), side=side))) == Code.WRONG_SIDE


@pytest.mark.parametrize("hour", [-1, 2**24, 2**64 - 1])
def test_an_hour_that_cannot_be_matches_nothing(hour: int) -> None:
    """Not even one whose number reaches into another class."""
    market = full_house()

    assert market.tell(replace(body_of(market), class_no=0, hour=hour)) == [
        ev.MassCancelAccepted(0, market.account("ana"), 0)
    ]


def test_lines_of_the_whole_story() -> None:
    """What is cancelled in the same frame as it was placed is told in the order of the commands."""
    market = Market.given()
    market.account("ana")

    market.together("ana buys 1 at 1.90\nana cancels all\nana buys 2 at 1.90")

    assert market.said() == lines("""
        ana bids 1 at 1.90
        ana cancels all 1
        ana loses 1 of an order: mass
        ana bids 2 at 1.90
    """)
