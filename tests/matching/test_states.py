"""What a class, or one of its hours, lets its members do."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import ALL_HOURS
from schemas.events import Code
from schemas.ids import HOUR_MASK, contract_of
from schemas.units import MS_PER_HOUR
from tests.matching.market import CLASS, HOUR_NOW, OPERATOR, Market, lines, rows

BOOK = """
    bid    | price | ask
           |  2.10 | 4 carl
    2 emil |  1.90 |
"""
TRIES = """
    ana buys 1 at 2.00
    ana buys 1 at 2.10
    ana buys 1 at 2.00 post-only
    ana buys 1 at 2.10 ioc
    ana buys 1 at 2.10 fok
"""


def answers(market: Market) -> list[str]:
    """What each of TRIES is told."""
    market.when(TRIES)
    return [sentence for sentence in market.said() if sentence.startswith(("ana bids", "ana is refused"))]


@pytest.mark.parametrize("what", ["hour", "class"])
def test_in_post_only_orders_wait_and_nothing_trades(what: str) -> None:
    """As after the opening of an hour: GTC where nobody meets it; what asks to be filled at once has no place."""
    market = Market.given(BOOK).when(f"the {what} is post-only")

    assert answers(market) == lines("""
        ana bids 1 at 2.00
        ana is refused: would_trade
        ana bids 1 at 2.00
        ana is refused: wrong_tif
        ana is refused: wrong_tif
    """)
    assert market.book() == rows("""
        bid          | price | ask
                     |  2.10 | 4 carl
        1 ana, 1 ana |  2.00 |
        2 emil       |  1.90 |
    """)


@pytest.mark.parametrize("state", ["cancel-only", "halted"])
@pytest.mark.parametrize("what", ["hour", "class"])
def test_in_cancel_only_and_halted_no_order_is_taken(what: str, state: str) -> None:
    market = Market.given(BOOK).when(f"the {what} is {state}")

    assert answers(market) == ["ana is refused: halted"] * 5
    assert market.book() == rows(BOOK)


@pytest.mark.parametrize("what", ["hour", "class"])
def test_what_is_opened_again_trades_as_before(what: str) -> None:
    """Orders kept their places meanwhile. What was halted opens by way of a reopening: test_opening_and_reopening."""
    market = Market.given(BOOK).when(f"the {what} is cancel-only\nthe {what} is open")

    assert answers(market) == lines("""
        ana bids 1 at 2.00
        ana bids 1 at 2.10
        ana bids 1 at 2.00
        ana bids 1 at 2.10
        ana bids 1 at 2.10
    """)


@pytest.mark.parametrize(
    ("the_class", "the_hour", "answer"),
    [
        ("open", "halted", "ana is refused: halted"),
        ("halted", "open", "ana is refused: halted"),
        ("post-only", "cancel-only", "ana is refused: halted"),
        ("post-only", "open", "ana is refused: would_trade"),
        ("open", "post-only", "ana is refused: would_trade"),
        ("open", "open", "ana bids 1 at 2.10"),
    ],
)
def test_the_stricter_of_the_class_s_and_the_hour_s_state_holds(the_class: str, the_hour: str, answer: str) -> None:
    """They are kept apart: opening the class does not open an hour that was halted by itself."""
    market = Market.given(BOOK).when(f"the class is {the_class}\nthe hour is {the_hour}")

    market.when("ana buys 1 at 2.10")

    assert market.said()[0] == answer


def test_a_halted_hour_leaves_the_others_alone() -> None:
    market = Market.given(BOOK).when("the hour is halted")
    later = market.order("ana", cmd.Side.BUY, 1, "2.00", later=1)

    market.send(later)

    assert market.said() == ["ana bids 1 at 2.00"]


def test_a_class_that_is_halted_lists_its_next_hour_halted_too() -> None:
    market = Market.given(BOOK).when("the class is halted")

    market.wait(to_ms=(HOUR_NOW + 1) * MS_PER_HOUR)
    new = market.order("ana", cmd.Side.BUY, 1, "2.00", later=3)
    assert market.said()[-3:] == ["hour +3: listed", "hour +3: post_only", "a tick"]
    market.send(new)

    assert market.said() == ["ana is refused: halted"]


def test_a_halt_stops_trading_and_nothing_else() -> None:
    """Money moves, backing moves, the gate closes, the hour ends."""
    market = Market.given(BOOK).when("fay buys 1 at 2.10").when("the class is halted")

    market.when("ana is given 5.00\nana gives back 1.00\ncarl declares 1")
    assert market.said() == lines("""
        ana is given 5.00
        ana gives back 1.00
        carl declares 1
        carl loses 3 of an order: backing_lowered
    """)

    market.wait(to_ms=(market.hour + 1) * MS_PER_HOUR)
    assert [sentence for sentence in market.said() if "hour +0" in sentence or "title" in sentence] == lines("""
        hour +0: gate closed
        hour +0: running closed
        title 1 ends: carl owes 1 to fay
        hour +0: ended
    """)


# --- Setting it -----------------------------------------------------------------------------------------------


def test_setting_a_state_is_told_with_its_operator_and_reason() -> None:
    market = Market.given()

    events = market.tell(cmd.SetState(OPERATOR, CLASS, market.hour, cmd.State.HALTED, "a wrong price feed"))
    events += market.tell(cmd.SetState(OPERATOR, CLASS, ALL_HOURS, cmd.State.HALTED, ""))
    events += market.tell(cmd.SetState(OPERATOR, CLASS, ALL_HOURS, cmd.State.HALTED, "again"))

    assert events == [
        ev.StateSet(0, OPERATOR, CLASS, market.hour, 4, "a wrong price feed"),
        ev.StateSet(0, OPERATOR, CLASS, 0, 4, ""),
        ev.StateSet(0, OPERATOR, CLASS, 0, 4, "again"),
    ]


H = HOUR_NOW + 2


@pytest.mark.parametrize(
    ("class_no", "hour", "state", "code"),
    [
        (CLASS, H, 0, Code.WRONG_STATE),
        (CLASS, H, 5, Code.WRONG_STATE),
        (CLASS, H, -1, Code.WRONG_STATE),
        (77, H, 9, Code.WRONG_STATE),
        (77, H, 1, Code.UNKNOWN_CLASS),
        (77, 0, 1, Code.UNKNOWN_CLASS),
        (-1, 0, 1, Code.UNKNOWN_CLASS),
        (CLASS, HOUR_NOW, 1, Code.UNKNOWN_CONTRACT),
        (CLASS, HOUR_NOW + 5, 1, Code.UNKNOWN_CONTRACT),
        (CLASS, -1, 1, Code.UNKNOWN_CONTRACT),
        (CLASS, HOUR_MASK + 1, 1, Code.UNKNOWN_CONTRACT),
        (CLASS, 2**64 - 1, 1, Code.UNKNOWN_CONTRACT),
    ],
)
def test_what_is_not_there_has_no_state(class_no: int, hour: int, state: int, code: Code) -> None:
    """In the answer the account is the operator."""
    market = Market.given()

    assert market.tell(cmd.SetState(OPERATOR, class_no, hour, state, "")) == [ev.Rejected(0, OPERATOR, code)]


def test_an_hour_s_number_that_reaches_into_another_class_is_nobody_s() -> None:
    """Hour 2**24 + h of class 2 has the number of hour h of class 3."""
    market = Market.given()
    assert contract_of(0, (CLASS << 24) | H) == contract_of(CLASS, H)
    second = cmd.SetClass(market.outbox(), 2, "A", 1, 1, 1, cmd.Fees(), first_hour=H)
    third = cmd.SetClass(market.outbox() + 1, 3, "B", 1, 1, 1, cmd.Fees(), first_hour=H)
    market.tell(second, third)

    events = market.tell(cmd.SetState(OPERATOR, 2, (1 << 24) + H, cmd.State.HALTED, ""))

    assert events == [ev.Rejected(0, OPERATOR, Code.UNKNOWN_CONTRACT)]


def test_an_hour_that_has_ended_has_no_state() -> None:
    market = Market.given()
    market.wait(to_ms=(H + 1) * MS_PER_HOUR)

    assert market.tell(cmd.SetState(OPERATOR, CLASS, H, 1, "")) == [ev.Rejected(0, OPERATOR, Code.UNKNOWN_CONTRACT)]


def test_an_hour_whose_gate_is_closed_still_has_one() -> None:
    """Operators may say what they like of it; nothing trades there any more."""
    market = Market.given()
    market.wait(to_ms=H * MS_PER_HOUR)

    (said,) = market.tell(cmd.SetState(OPERATOR, CLASS, H, 2, ""))

    assert isinstance(said, ev.StateSet)
