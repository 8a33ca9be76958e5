"""Good till a date: an order that leaves by itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side, Tif
from schemas.events import Code
from tests.matching.faults import code_of
from tests.matching.market import Market, clock, lines, rows


def test_an_order_is_gone_at_its_date_and_not_a_millisecond_before() -> None:
    """Whoever comes with the record of that moment does not meet it any more."""
    market = Market.given("bid | price | ask\n | 2.10 | 1 carl").when("ana buys 5 at 2.10 until 21:20")
    assert market.said() == lines("""
        ana bids 5 at 2.10 until 21:20
        ana buys 1 from carl at 2.10
    """)

    market.wait(to="21:20", ms=-1).when("bert sells 1 at 2.10")
    assert market.trades()[1:] == [("ana", "bert", "1", "2.10")]
    market.stamp_ms = clock("21:20")
    market.when("bert sells 1 at 2.10")

    assert market.said() == lines("""
        ana loses 3 of an order: expired
        bert offers 1 at 2.10
    """)
    assert market.balances("ana") == rows("""
        who | cash   | held | collateral | free
        ana | 995.80 | 0.00 | 0.00       | 995.80
    """)


def test_orders_and_blocks_of_one_date_leave_by_their_ids() -> None:
    """Whatever their prices and hours are; an earlier date goes first."""
    market = Market.given(hours=2).when("""
        ana buys 1 at 1.90 until 21:30
        bert sells 2 at 2.10 until 21:20 in hour +1
        carl bids a block of 3 for 2 hours from +0 at 1.50 until 21:30
        dana buys 4 at 2.00 until 21:30 in hour +1
    """)

    market.wait(to="21:40")

    assert market.said() == lines("""
        bert loses 2 of an order: expired
        ana loses 1 of an order: expired
        carl loses 3 of an order: expired
        dana loses 4 of an order: expired
        a tick
    """)
    assert (market.books()[1:], market.blocks()[1:]) == ([], [])


def test_a_date_beyond_the_phase_s_end_is_no_promise_to_stay() -> None:
    """At its gate the bid goes as any other; when its date comes nothing is left to be said."""
    market = Market.given().when("ana buys 1 at 2.00 until 23:30")

    assert "ana loses 1 of an order: gate_closed" in market.wait(to="22:55").said()
    assert [said for said in market.wait(to="23:40").said() if "ana" in said] == []


def test_what_was_filled_or_cancelled_before_its_date_is_not_told_again() -> None:
    market = Market.given().when("""
        ana buys 1 at 2.00 until 21:20
        bert buys 1 at 1.90 until 21:20 as mine
        carl sells 1 at 2.00
        bert cancels mine
    """)

    assert market.wait(to="21:20").said() == ["a tick"]


def test_what_cannot_rest_has_no_use_for_a_date_but_may_trade() -> None:
    """Filled at once and whole: its date means nothing."""
    market = Market.given("bid | price | ask\n | 2.10 | 1 carl").when("ana buys 1 at 2.10 until 21:20")

    assert market.trades()[1:] == [("carl", "ana", "1", "2.10")]
    assert market.engine.due_dead == 0
    assert market.wait(to="21:20").said() == ["a tick"]


def test_a_dated_order_keeps_its_place_and_its_client_id() -> None:
    """It is older than Bert's; the same body again, date included, is a repeat; another date is another order."""
    market = Market.given().when("""
        ana buys 1 at 2.00 until 21:40 as mine
        bert buys 1 at 2.00
        ana buys 1 at 2.00 until 21:40 as mine
    """)
    (first, _, repeated) = market.events
    assert isinstance(first, ev.OrderAccepted)
    assert repeated == ev.OrderRepeated(0, market.account("ana"), first.order, "mine")

    market.when("ana buys 1 at 2.00 until 21:41 as mine\nana buys 1 at 2.00 as mine\ncarl sells 1 at 2.00")

    assert [code_of([event]) for event in market.events[:2]] == [Code.DUPLICATE_CLIENT_ID] * 2
    assert market.trades()[1:] == [("ana", "carl", "1", "2.00")]


def test_in_an_opening_a_dated_order_may_wait() -> None:
    market = Market.given().wait(to="22:00").when("ana buys 1 at 2.00 until 22:30 in hour +3")

    assert market.said() == ["ana bids 1 at 2.00 until 22:30"]


@pytest.mark.parametrize(
    ("tif", "ms_from_now", "answer"),
    [
        (Tif.GTD, 1, None),
        (Tif.GTD, 0, Code.WRONG_EXPIRY),
        (Tif.GTD, -1, Code.WRONG_EXPIRY),
        (Tif.GTD, -(10**13), Code.WRONG_EXPIRY),
        (Tif.GTC, 1, Code.WRONG_TIF),
        (Tif.IOC, 1, Code.WRONG_TIF),
        (Tif.FOK, -(10**13), Code.WRONG_TIF),
    ],
)
def test_a_date_is_to_come_and_only_what_is_dated_has_one(tif: Tif, ms_from_now: int, answer: Code | None) -> None:
    """The refusal says what time it is."""
    market = Market.given()
    now = market.engine.time_ms
    body = market.order("ana", Side.BUY, 1, "2.00", tif=tif, expires_ms=now + ms_from_now)

    (said,) = market.tell(body)

    assert code_of([said]) == answer
    if isinstance(said, ev.Rejected) and answer == Code.WRONG_EXPIRY:
        assert (said.need, said.have) == (now, 0)


def test_the_latest_date_there_is() -> None:
    """It is never reached; the gate comes first."""
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "2.00", tif=Tif.GTD, expires_ms=2**63 - 1)

    assert isinstance(market.tell(body)[0], ev.OrderAccepted)
    assert isinstance(market.tell(replace(body, expires_ms=2**64 - 1))[0], ev.OrderAccepted)
    assert market.wait(to="22:55").said().count("ana loses 1 of an order: gate_closed") == 2


def test_dates_of_orders_that_are_gone_do_not_pile_up() -> None:
    """Whoever places and cancels dated orders all day leaves nothing behind but what is still to come."""
    market = Market.given()
    for _ in range(5):
        market.tell(*(market.order("ana", Side.BUY, 1, "2.00", tif=Tif.GTD, expires_ms=2**62) for _ in range(500)))
        market.tell(cmd.MassCancel(market.account("ana"), 0, 0, 0, market.engine.time_ms))

    assert len(market.engine.due) < 2_000
    market.when("ana buys 1 at 2.00 until 21:20\nana buys 1 at 2.00 until 21:20\nana cancels all")
    assert market.wait(to="21:20").said() == ["a tick"]


def test_an_amended_order_keeps_one_date_however_often_it_is_amended() -> None:
    """Whoever amends all day makes no moment more: the shard's memory is not his."""
    market = Market.given().when("ana buys 1 at 2.00 until 21:40 as mine")
    moments = len(market.engine.due)

    for price in ("2.01", "2.02", "2.03", "2.02"):
        market.when(f"ana amends mine to 1 at {price}")

    assert len(market.engine.due) == moments
    assert market.engine.due_dead == 0
    assert market.wait(to="21:40").said() == ["ana loses 1 of an order: expired", "a tick"]
    assert market.engine.due_dead == 0
