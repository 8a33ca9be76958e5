"""What is declared for later is an ordinary, replayable rejection today, and stands in nobody's way."""

from __future__ import annotations

import typing

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Command, Tif
from schemas.events import Code
from tests.matching.market import CLASS, OPERATOR, Market, lines

VALID = 2**62
LATER: dict[str, tuple[Command, int, str]] = {
    # body, whose it is in the answer, client id in the answer
    "a range": (cmd.PlaceRange(101, CLASS, (5, 6), 1, 1, 1, Tif.GTC, 0, "range-1", VALID), 101, "range-1"),
    "a block": (cmd.PlaceBlock(101, CLASS, 5, 4, 1, 1, 1, 1, Tif.FOK, 0, "block-1", VALID), 101, "block-1"),
    "an amendment": (cmd.AmendOrder(101, 77, "amend-1", 1, 1, VALID), 101, "amend-1"),
    "quotes": (cmd.PutQuotes(101, CLASS, 1, (cmd.QuoteHour(5, 1, 1, 2, 1),), VALID), 101, ""),
    "a mass cancellation": (cmd.MassCancel(101, CLASS, 0, 0, VALID), 101, ""),
    "a dead man's switch": (cmd.CancelAllAfter(101, 1_000, VALID), 101, ""),
    "a correction": (cmd.CorrectCash(OPERATOR, 901, 101, 102, 5, 1, "typed wrong"), OPERATOR, ""),
    "a reference": (cmd.MoveReference(CLASS, 0, 5, "index"), 0, ""),
}


@pytest.mark.parametrize(("body", "account", "client_id"), LATER.values(), ids=LATER)
def test_a_command_of_later_is_refused_as_not_offered_yet(body: Command, account: int, client_id: str) -> None:
    """Whatever its values are; nothing changes."""
    market = Market.given("bid | price | ask\n1 ana | 2.00 |")

    assert market.tell(body) == [ev.Rejected(0, account, Code.NOT_OFFERED_YET, client_id)]

    assert market.book()[1:] == [("1 ana", "2.00", "")]


def test_its_neighbours_in_the_frame_are_done() -> None:
    market = Market.given()
    order = market.order("ana", cmd.Side.BUY, 1, "2.00")

    market.send().tell(order, *(body for body, _, _ in LATER.values()), order)

    assert market.said()[0] == market.said()[-1] == "ana bids 1 at 2.00"
    assert [event.index for event in market.events if isinstance(event, ev.Rejected)] == list(range(1, 9))


def test_every_command_that_the_engine_knows_has_its_test_here_or_elsewhere() -> None:
    """A command that is declared and neither offered nor refused would be a bug of the engine."""
    offered = {
        cmd.PlaceOrder,
        cmd.CancelOrder,
        cmd.SetState,
        cmd.SetEngineVersion,
        cmd.SetAccount,
        cmd.Credit,
        cmd.Sweep,
        cmd.SetBacking,
        cmd.SetClass,
        cmd.StartShard,
        cmd.Tick,
    }

    assert offered | {type(body) for body, _, _ in LATER.values()} == set(typing.get_args(Command))


def test_a_repeat_of_what_is_not_offered_is_refused_again() -> None:
    """It used up no client id."""
    market = Market.given()
    market.account("ana")
    body = cmd.PlaceRange(101, CLASS, (5,), 1, 1, 1, 1, 0, "same", VALID)

    market.send(body, body, market.order("ana", cmd.Side.BUY, 1, "2.00", client="same"))

    assert market.said() == lines("""
        ana is refused: not_offered_yet
        ana is refused: not_offered_yet
        ana bids 1 at 2.00
    """)
