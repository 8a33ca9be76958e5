"""What engine version 1 answers, and the switch to version 2 in a running shard: docs/engine.md, "Version 1"."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Command, Flag, Ground, Side, Tif
from schemas.events import Code
from services.matching.snapshot import dump, load
from tests.matching.faults import code_of
from tests.matching.market import CLASS, HOUR_NOW, OPERATOR, Market, lines, rows

VALID = 2**62
BOOK = "bid | price | ask\n | 2.10 | 4 carl\n2 emil | 1.90 |"
LATER: dict[str, tuple[Command, int, str]] = {
    # body, whose it is in the answer, client id in the answer
    "a range": (cmd.PlaceRange(101, CLASS, (5, 6), 1, 1, 1, Tif.GTC, 0, "range-1", VALID), 101, "range-1"),
    "a block": (cmd.PlaceBlock(101, CLASS, 5, 4, 1, 1, 1, 1, Tif.FOK, 0, "block-1", VALID), 101, "block-1"),
    "an amendment": (cmd.AmendOrder(101, 77, "amend-1", 1, 1, VALID), 101, "amend-1"),
    "quotes": (cmd.PutQuotes(101, CLASS, 1, (cmd.QuoteHour(5, 1, 1, 2, 1),), VALID), 101, ""),
    "a mass cancellation": (cmd.MassCancel(101, CLASS, 0, 0, VALID), 101, ""),
    "a dead man's switch": (cmd.CancelAllAfter(101, 1_000, VALID), 101, ""),
    "a correction": (cmd.CorrectCash(OPERATOR, 901, 101, 102, 5, 1, "typed wrong", "a1", VALID), OPERATOR, ""),
    "a reference": (cmd.MoveReference(CLASS, 0, 5, "index"), 0, ""),
}


def given(book: str = "", **how: Any) -> Market:
    """A market of version 1."""
    return Market.given(book, version=1, **how)


# --- What it does not offer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "account", "client_id"), LATER.values(), ids=LATER)
def test_a_command_of_later_is_refused_as_not_offered_yet(body: Command, account: int, client_id: str) -> None:
    """Whatever its values are; nothing changes."""
    market = given("bid | price | ask\n1 ana | 2.00 |")

    assert market.tell(body) == [ev.Rejected(0, account, Code.NOT_OFFERED_YET, client_id)]

    assert market.book()[1:] == [("1 ana", "2.00", "")]


def test_its_neighbours_in_the_frame_are_done() -> None:
    market = given()
    order = market.order("ana", Side.BUY, 1, "2.00")

    market.send().tell(order, *(body for body, _, _ in LATER.values()), order)

    assert market.said()[0] == market.said()[-1] == "ana bids 1 at 2.00"
    assert [event.index for event in market.events if isinstance(event, ev.Rejected)] == list(range(1, 9))


def test_a_repeat_of_what_is_not_offered_is_refused_again() -> None:
    """It used up no client id."""
    market = given()
    market.account("ana")
    body = cmd.PlaceRange(101, CLASS, (5,), 1, 1, 1, 1, 0, "same", VALID)

    market.send(body, body, market.order("ana", Side.BUY, 1, "2.00", client="same"))

    assert market.said() == lines("""
        ana is refused: not_offered_yet
        ana is refused: not_offered_yet
        ana bids 1 at 2.00
    """)


KINDS: dict[str, tuple[dict[str, Any], Code | None]] = {
    "a date": ({"tif": Tif.GTD, "expires_ms": VALID}, Code.NOT_OFFERED_YET),
    "a date that is over": ({"tif": Tif.GTD, "expires_ms": 1}, Code.NOT_OFFERED_YET),
    "running": ({"flags": Flag.RUNNING, "side": Side.SELL}, Code.NOT_OFFERED_YET),
    "running, with a flag that nobody knows": ({"flags": Flag.RUNNING | 64}, Code.NOT_OFFERED_YET),
    "running, and a date without its kind": ({"flags": Flag.RUNNING, "expires_ms": 1}, Code.NOT_OFFERED_YET),
    "no side, and a date": ({"side": 3, "tif": Tif.GTD}, Code.WRONG_SIDE),
    "negative flags, which have every bit": ({"flags": -1}, Code.WRONG_FLAGS),
    "negative flags, and a date without its kind": ({"flags": -1, "expires_ms": 1}, Code.WRONG_TIF),
    "a date without its kind": ({"expires_ms": 1}, Code.WRONG_TIF),
    "none of these": ({}, None),
}


@pytest.mark.parametrize(("changes", "code"), KINDS.values(), ids=KINDS)
def test_dates_and_running_orders_are_refused_right_after_side_and_kind(
    changes: dict[str, Any], code: Code | None
) -> None:
    market = given(BOOK)
    body = market.order("ana", Side.BUY, 1, "2.00")

    assert code_of(market.tell(replace(body, **changes))) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ground": Ground.READY}, Code.NOT_OFFERED_YET),
        ({"ground": Ground.READY, "hours": (HOUR_NOW + 99,)}, Code.NOT_OFFERED_YET),
        ({"ground": Ground.READY, "hours": ()}, Code.WRONG_HOURS),
        ({"ground": 4}, Code.WRONG_GROUND),
        ({"ground": 0}, Code.WRONG_GROUND),
        ({"ground": Ground.DECLARED}, Code.WRONG_ROLE),
        ({}, None),
    ],
)
def test_nothing_is_ready_and_a_market_maker_has_no_machines(changes: dict[str, Any], code: Code | None) -> None:
    market = given(promises={"mike": 1})

    assert code_of(market.tell(replace(market.promise("mike", 2), **changes))) == code


@pytest.mark.parametrize(("gate_ms", "first"), [(50 * 60_000 - 1, -1), (50 * 60_000, 0), (0, -1)])
def test_a_class_begins_with_the_next_hour_whose_gate_is_open(gate_ms: int, first: int) -> None:
    """At ten past; the hour that runs is not listed, whatever is left of it."""
    market = given(first_hour=0, gate_ms=gate_ms)

    assert min(market.engine.contracts) == market.contract(first)


# --- What time does ----------------------------------------------------------------------------------------------


def test_an_hour_is_listed_open_and_nothing_can_be_traded_after_its_gate() -> None:
    """No opening, no cover deadline, no running phase."""
    market = given(BOOK, promises={"mike": 3}).when("mike sells 2 at 2.00\nana buys 1 at 2.00")

    assert market.wait(to="22:00").said() == ["hour -1: gate closed", "hour +3: listed", "a tick"]
    assert market.when("ana buys 1 at 2.00 ioc in hour +3").said()[0] == "ana bids 1 at 2.00"
    assert market.wait(to="22:54").said() == ["hour -1: running closed", "a tick"]
    assert market.book() == rows("""
        bid    | price | ask
               |  2.10 | 4 carl
               |  2.00 | 1 mike
        2 emil |  1.90 |
    """)
    assert market.wait(minutes=1).said() == lines("""
        emil loses 2 of an order: gate_closed
        mike loses 1 of an order: gate_closed
        carl loses 4 of an order: gate_closed
        hour +0: gate closed
        a tick
    """)
    assert market.when("ana buys 1 at 2.00 ioc").said() == ["ana is refused: wrong_phase"]


def test_what_was_halted_is_open_at_once() -> None:
    market = given(BOOK)

    market.when("the hour is halted\nthe hour is open\nana buys 1 at 2.10")

    assert market.said() == lines("""
        the hour is halted
        the hour is open
        ana bids 1 at 2.10
        ana buys 1 from carl at 2.10
    """)


@pytest.mark.parametrize("tif", [Tif.IOC, Tif.FOK])
def test_in_post_only_an_order_that_does_not_wait_has_the_wrong_kind(tif: Tif) -> None:
    market = given(BOOK).when("the hour is post-only")

    assert code_of(market.tell(market.order("ana", Side.BUY, 1, "1.00", tif=tif))) == Code.WRONG_TIF


# --- The switch --------------------------------------------------------------------------------------------------


def test_the_new_rules_apply_from_the_next_record_on_and_not_within_the_same() -> None:
    market = given()
    market.account("ana")
    switch = cmd.CancelAllAfter(101, 5_000, VALID)
    late = replace(switch, valid_until_ms=market.engine.time_ms)

    events = market.tell(cmd.SetEngineVersion(OPERATOR, 2), late)
    events += market.tell(late)

    assert events == [
        ev.EngineVersionSet(0, OPERATOR, 2),
        ev.Rejected(1, 101, Code.NOT_OFFERED_YET),
        ev.CancelAllAfterSet(0, 101, market.engine.time_ms + 5_000),
    ]


def test_a_record_in_quarantine_does_not_bring_the_new_rules() -> None:
    market = given().when("the engine becomes version 2")

    market.engine.skip(market._offset)
    market._offset += 1

    assert market.engine.version == 1
    market.wait(ms=0)
    assert market.engine.version == 2


def test_there_is_no_way_back() -> None:
    """Neither after the switch nor in the record that asks for it."""
    market = given()

    events = market.tell(cmd.SetEngineVersion(OPERATOR, 2), cmd.SetEngineVersion(OPERATOR, 1))
    events += market.tell(cmd.SetEngineVersion(OPERATOR, 1), cmd.SetEngineVersion(OPERATOR, 2))

    assert events == [
        ev.EngineVersionSet(0, OPERATOR, 2),
        ev.Rejected(1, OPERATOR, Code.WRONG_VERSION),
        ev.Rejected(0, OPERATOR, Code.WRONG_VERSION),
        ev.EngineVersionSet(1, OPERATOR, 2),
    ]


def test_after_the_switch_hours_that_are_listed_get_their_cover_deadlines() -> None:
    """Those to come at their moments; one that lies in the past at once, before anything else that is due by then.

    21:45: of the hour before the story's, 22:00, the deadline was 21:30, and its gate is still open.
    """
    market = given(promises={"mike": 0}).wait(to="21:45")
    market.send(market.promise("mike", 3, hours=(-1, 0)))
    market.when("the engine becomes version 2")
    market.engine = load(dump(market.engine))
    assert market.said() == ["the engine becomes version 2"]

    assert market.wait(ms=0).said() == ["mike has 3 promised less", "a tick"]
    assert market.balances("mike") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 12.00      | 988.00
    """)
    market.send(market.promise("mike", 3, hours=(-1,)))
    assert market.said() == [f"mike is refused: wrong_phase (needs {market.hour - 1})"]
    market.wait(to="22:30", ms=-1)
    assert "mike has 3 promised less" not in market.said()
    assert market.wait(ms=1).said() == ["mike has 3 promised less", "a tick"]


def test_the_switch_after_a_long_silence_covers_opens_and_closes_in_one_record() -> None:
    """The next record comes at 22:56: the deadlines of 21:30 and 22:30, gates, and an opening, each in its place."""
    market = given(promises={"mike": 0})
    market.send(market.promise("mike", 1, hours=(0,)))
    market.when("carl sells 1 at 2.00\nthe engine becomes version 2")

    market.wait(to="22:56")

    assert market.said() == lines("""
        hour -1: gate closed
        hour +3: listed
        hour +3: post_only
        mike has 1 promised less
        hour -1: running closed
        carl loses 1 of an order: gate_closed
        hour +0: gate closed
        a tick
    """)


def test_an_hour_whose_gate_was_closed_under_version_1_runs_after_the_switch() -> None:
    """Its titles and what was owed stay as they were; machines that are ready may be sold from now on."""
    market = given(BOOK).when("ana buys 1 at 2.10").wait(to="23:00")
    market.when("the engine becomes version 2\ncarl readies 2\ncarl sells 2 at 3.00\nana buys 1 at 3.00 ioc")

    assert market.said() == lines("""
        the engine becomes version 2
        carl readies 2
        carl offers 2 at 3.00
        ana bids 1 at 3.00
        ana buys 1 from carl at 3.00
    """)
    assert market.titles() == rows("""
        title | obligor | holder | ground   | gpus | proceeds | cost | escrow
        1     | carl    | ana    | declared | 1    | 2.0895   | 2.10 | 2.10
        2     | carl    | ana    | ready    | 1    | 2.985    | 3.00 | 3.00
    """)


def test_what_was_listed_or_halted_before_the_switch_opens_as_the_new_version_opens_it() -> None:
    """The hours that there are stay open, the next one has an opening; a halt ends in a reopening."""
    market = given(BOOK).when("the class is halted\nthe engine becomes version 2\nthe class is open")
    assert market.said()[-1] == "the class is cancel_only"

    assert market.wait(minutes=1).said() == ["the class: post_only", "a tick"]
    market.when("ana buys 1 at 2.10\nana buys 1 at 2.00")
    assert market.said() == ["ana is refused: would_trade", "ana bids 1 at 2.00"]
    assert market.wait(ms=30_000).said() == ["the class: open", "a tick"]
    assert market.when("ana buys 1 at 2.10").said()[-1] == "ana buys 1 from carl at 2.10"
    assert market.wait(to="22:00").said()[-3:] == ["hour +3: listed", "hour +3: post_only", "a tick"]


def test_a_class_set_before_the_switch_and_one_set_after_it_live_side_by_side() -> None:
    """Also their hours' deadlines: both classes' at the same moment, by class."""
    market = given(promises={"mike": 0})
    market.when("the engine becomes version 2")
    other = cmd.SetClass(market.outbox(), 2, "B", 1, 10_000, 2_000_000, cmd.Fees(), horizon_hours=4)
    market.tell(other)
    for class_no in (1, 2):
        market.tell(replace(market.promise("mike", class_no), class_no=class_no))

    market.wait(to="22:30")

    assert [e for e in market.events if isinstance(e, ev.BackingCut)] == [
        ev.BackingCut((class_no << 24) + market.hour, market.account("mike"), Ground.PROMISED, class_no)
        for class_no in (1, 2)
    ]
