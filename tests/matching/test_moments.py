"""What time alone does: hours are listed, gates close, running phases close, hours end."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side
from schemas.events import Code
from schemas.units import MS_PER_HOUR
from tests.matching.market import HOUR_NOW, Market, lines, rows

GATE_MS = (HOUR_NOW + 2) * MS_PER_HOUR - 300_000
BEGIN_MS = (HOUR_NOW + 2) * MS_PER_HOUR
END_MS = (HOUR_NOW + 3) * MS_PER_HOUR
BOOK = """
    bid            | price | ask
                   |  2.20 | 1 gina
                   |  2.10 | 4 carl, 1 dana
    2 emil, 3 bert |  1.90 |
    1 emil         |  1.80 |
"""


def at_the_hour(market: Market) -> list[str]:
    """What was said of the story's own hour, and of no other."""
    return [sentence for sentence in market.said() if not sentence.startswith("hour") or sentence.startswith("hour +0")]


# --- Listing -------------------------------------------------------------------------------------------------


def test_a_class_lists_at_once_the_hours_that_run_or_will_up_to_its_horizon() -> None:
    """It is ten past: the hour that has begun is behind its gate at once, and 50 minutes are left to be sold."""
    market = Market.given()

    events = market.tell(cmd.SetClass(market.outbox(), 2, "B", 1, 1, 10, cmd.Fees(), horizon_hours=3))

    assert market.said() == lines("""
        ClassSet
        hour -2: listed
        hour -2: gate closed
        hour -1: listed
        hour +0: listed
        hour +1: listed
    """)
    assert [event.contract >> 24 for event in events if isinstance(event, ev.ContractListed)] == [2] * 4
    assert market.wait(to="21:50").said() == ["hour -2: running closed", "a tick"]


def test_each_later_hour_is_listed_when_its_horizon_is_reached() -> None:
    market = Market.given()

    assert market.wait(to="22:00", ms=-1).said()[-2:] == ["hour -1: gate closed", "a tick"]
    assert market.wait(ms=1).said() == ["hour +3: listed", "hour +3: post_only", "a tick"]


@pytest.mark.parametrize(
    ("rules", "first"),
    [
        ({"running_close_ms": 50 * 60_000 - 1}, 0),
        ({"running_close_ms": 50 * 60_000}, 1),
        ({"running_close_ms": MS_PER_HOUR - 1}, 1),
        ({"running_close_ms": 0, "gate_ms": MS_PER_HOUR}, 0),
        ({"first_hour": HOUR_NOW + 3}, 3),
        ({"first_hour": HOUR_NOW - 1}, 0),
    ],
)
def test_an_hour_whose_running_phase_is_over_or_that_comes_before_the_first_is_not_listed(
    rules: dict[str, Any], first: int
) -> None:
    """One whose running phase ends at this very moment is over."""
    market = Market.given()

    events = market.tell(cmd.SetClass(market.outbox(), 2, "B", 1, 1, 10, cmd.Fees(), horizon_hours=4, **rules))

    hours = [(event.contract & 0xFFFFFF) - HOUR_NOW for event in events if isinstance(event, ev.ContractListed)]
    assert hours == list(range(first, 5))


def test_a_first_hour_beyond_the_horizon_is_listed_when_its_time_has_come() -> None:
    market = Market.given()

    events = market.tell(
        cmd.SetClass(market.outbox(), 2, "B", 1, 1, 10, cmd.Fees(), horizon_hours=4, first_hour=HOUR_NOW + 6)
    )
    assert [type(event).__name__ for event in events] == ["ClassSet"]

    market.wait(to_ms=(HOUR_NOW + 2) * MS_PER_HOUR - 1)
    assert (2 << 24) + HOUR_NOW + 6 not in market.engine.contracts
    market.wait(ms=1)
    assert (2 << 24) + HOUR_NOW + 6 in market.engine.contracts


def test_the_same_class_again_lists_nothing_twice() -> None:
    market = Market.given()
    rules = cmd.SetClass(market.outbox(), 2, "B", 1, 1, 10, cmd.Fees(), horizon_hours=4, first_hour=HOUR_NOW + 1)
    market.tell(rules)

    again = market.tell(replace(rules, outbox=market.outbox()))
    market.wait(to_ms=(HOUR_NOW + 1) * MS_PER_HOUR)

    assert [type(event).__name__ for event in again] == ["ClassSet"]
    assert [e.contract for e in market.events if isinstance(e, ev.ContractListed) and e.contract >> 24 == 2] == [
        (2 << 24) + HOUR_NOW + 5
    ]


# --- Gate closure ----------------------------------------------------------------------------------------------


def test_at_its_gate_every_order_of_the_hour_is_cancelled_bids_before_asks_best_first() -> None:
    market = Market.given(BOOK)

    market.wait(to_ms=GATE_MS)

    assert at_the_hour(market) == lines("""
        emil loses 2 of an order: gate_closed
        bert loses 3 of an order: gate_closed
        emil loses 1 of an order: gate_closed
        carl loses 4 of an order: gate_closed
        dana loses 1 of an order: gate_closed
        gina loses 1 of an order: gate_closed
        hour +0: gate closed
        a tick
    """)
    assert market.balances("emil") == rows("""
        who  | cash    | held | collateral | free
        emil | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_an_order_a_millisecond_before_the_gate_trades_and_one_at_the_gate_does_not() -> None:
    """What is due at a record's time happens before its commands."""
    market = Market.given(BOOK).wait(to_ms=GATE_MS - 1)

    market.when("ana buys 1 at 2.10")
    assert market.said()[-1] == "ana buys 1 from carl at 2.10"

    market.stamp_ms = GATE_MS
    market.when("ana buys 1 at 2.10")
    assert at_the_hour(market)[-2:] == ["hour +0: gate closed", "ana is refused: wrong_tif"]


def test_unsold_backing_ends_at_the_gate() -> None:
    """The promise's collateral for what was not sold is free; for what is owed it stays."""
    market = Market.given(promises={"mike": 5}).when("mike sells 3 at 2.00\nana buys 2 at 2.00")
    assert market.balances("mike") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 20.00      | 980.00
    """)

    market.wait(to_ms=GATE_MS)

    assert market.balances("mike") == rows("""
        who  | cash    | held | collateral | free
        mike | 1000.00 | 0.00 | 8.00       | 992.00
    """)
    market.send(market.promise("mike", 5))
    assert market.said() == [f"mike is refused: wrong_phase (needs {market.hour})"]


# --- The hour's end ----------------------------------------------------------------------------------------------


def test_at_its_end_titles_and_collateral_leave_the_shard_and_the_hour_is_gone() -> None:
    """Titles by number, collateral by account, then the hour with its sums."""
    market = Market.given(promises={"mike": 5, "nora": 1}).when("""
        carl sells 1 at 2.00
        nora sells 1 at 2.00
        mike sells 2 at 2.00
        ana buys 4 at 2.00
        bert buys 1 at 1.50
    """)
    at = market.contract()

    market.wait(to_ms=END_MS - 1)
    assert market.engine.escrows()[at] == 8_000_000
    market.wait(ms=1)

    ended = [event for event in market.events if getattr(event, "contract", 0) == at]
    carl, nora, mike, ana = map(market.account, ("carl", "nora", "mike", "ana"))
    assert ended == [
        ev.TitleEnded(at, 1, carl, ana, 1, 1, 60, 1_990_000, 2_000_000, 2_000_000),
        ev.TitleEnded(at, 2, nora, ana, 2, 1, 60, 1_990_000, 2_000_000, 2_000_000),
        ev.TitleEnded(at, 3, mike, ana, 2, 2, 60, 3_980_000, 4_000_000, 4_000_000),
        ev.CollateralMoved(at, mike, 8_000_000),
        ev.CollateralMoved(at, nora, 4_000_000),
        ev.HourEnded(at, 3, 8_000_000, 12_000_000),
    ]
    assert at not in market.engine.escrows()
    assert market.balances("mike", "nora", "carl", "ana", "bert") == rows("""
        who  | cash    | held | collateral | free
        mike | 992.00  | 0.00 | 0.00       | 992.00
        nora | 996.00  | 0.00 | 0.00       | 996.00
        carl | 1000.00 | 0.00 | 0.00       | 1000.00
        ana  | 992.00  | 0.00 | 0.00       | 992.00
        bert | 1000.00 | 0.00 | 0.00       | 1000.00
    """)
    market.when("ana buys 1 at 2.00")
    assert market.said() == ["ana is refused: unknown_contract"]


def test_titles_of_an_ended_hour_hold_on_to_nothing() -> None:
    """Titles that refer to each other in a circle would stay for ever: in production nobody looks for circles."""
    market = Market.given(promises={"mike": 5}).when("""
        carl sells 2 at 2.00
        mike sells 3 at 2.00
        ana buys 5 at 2.00
        ana sells 3 at 2.10
        mike buys 1 at 2.10
        bert buys 2 at 2.10
    """)
    register = market.engine.contracts[market.contract()].register
    titles, positions = register.titles(), list(register.positions.values())
    queues = [queue for p in positions for queue in (p.held, p.declared, p.promised)]
    assert sum(1 for title in titles if title.next_held or title.previous_owed or title.next_owed) >= 3
    assert sum(1 for queue in queues if queue.first or queue.last) >= 4

    market.wait(to_ms=END_MS)

    assert [title for title in titles if title.next_held or title.previous_owed or title.next_owed] == []
    assert [queue for queue in queues if queue.first or queue.last] == []


def test_an_hour_in_which_nothing_happened_ends_with_nothing() -> None:
    market = Market.given()
    at = market.contract()

    market.wait(to_ms=END_MS)

    assert [event for event in market.events if getattr(event, "contract", 0) == at] == [
        ev.GateClosed(at),
        ev.RunningClosed(at),
        ev.HourEnded(at, 0, 0, 0),
    ]


# --- Several moments in one record -------------------------------------------------------------------------------


def test_what_is_due_at_one_moment_happens_in_a_fixed_order() -> None:
    """Hours end, running phases close, gates close, hours are listed; then by class. The rest: test_order_of_moments."""
    market = Market.given()
    events = market.tell(
        cmd.SetClass(market.outbox(), 2, "B", 1, 1, 10, cmd.Fees(), horizon_hours=2, gate_ms=0, running_close_ms=0),
        cmd.SetClass(market.outbox() + 1, 3, "C", 1, 1, 10, cmd.Fees(), horizon_hours=3, gate_ms=0, running_close_ms=0),
    )
    assert len(events) == 2 + 3 + 4 + 2, "two classes, their hours, and the gates of those that run"
    market.wait(to_ms=END_MS - 1)

    market.wait(ms=1)

    due = [
        (type(e).__name__, e.contract >> 24, (e.contract & 0xFFFFFF) - market.hour)
        for e in market.events
        if isinstance(e, (ev.HourEnded, ev.RunningClosed, ev.GateClosed, ev.ContractListed))
    ]
    assert due == [
        ("HourEnded", 1, 0),
        ("HourEnded", 2, 0),
        ("HourEnded", 3, 0),
        ("RunningClosed", 2, 0),
        ("RunningClosed", 3, 0),
        ("GateClosed", 2, 1),
        ("GateClosed", 3, 1),
        ("ContractListed", 1, 5),
        ("ContractListed", 2, 3),
        ("ContractListed", 3, 4),
    ]


def test_after_a_long_silence_hours_are_listed_closed_and_ended_in_one_record() -> None:
    """In the order of their moments, each hour whole; and the market stands as if time had passed in small steps."""
    silent, ticking = Market.given(), Market.given()

    silent.wait(hours=12)
    for _ in range(12 * 12):
        ticking.wait(minutes=5)

    said = [sentence for sentence in silent.said() if "hour" in sentence]
    for later in range(-1, 10):
        story = [s.split(": ")[1] for s in said if s.startswith(f"hour {later:+}:")]
        assert story == ["listed", "post_only"] * (later > 2) + ["gate closed", "running closed", "ended"]
    assert sorted(silent.engine.contracts) == sorted(ticking.engine.contracts)
    assert [contract & 0xFFFFFF for contract in silent.engine.contracts] == [
        HOUR_NOW + later for later in range(12, 17)
    ]


def test_what_is_due_happens_at_the_record_s_time_not_at_its_own() -> None:
    """Two hours that end in one record end in order, and the record carries one time."""
    market = Market.given()

    market.wait(to_ms=END_MS + MS_PER_HOUR + 17)

    assert market.engine.time_ms == END_MS + MS_PER_HOUR + 17
    ended = [s for s in market.said() if "ended" in s]
    assert ended == ["hour -1: ended", "hour +0: ended", "hour +1: ended"]


def test_orders_of_a_record_come_after_everything_that_was_due() -> None:
    """Also when the record moved time itself: the buyer of the gate's moment finds nobody."""
    market = Market.given(BOOK, money={"ana": "5.00"}).wait(to_ms=GATE_MS - 59_999)
    market.stamp_ms = GATE_MS
    late = market.order("ana", Side.BUY, 1, "2.10")  # as a bid of the running phase it may not wait

    events = market.tell(cmd.PlaceOrder(*(getattr(late, f) for f in late.__struct_fields__[:8]), GATE_MS))

    assert isinstance(events[-1], ev.Rejected)
    assert events[-1].code == Code.WRONG_TIF
    assert [type(event).__name__ for event in events[-2:]] == ["GateClosed", "Rejected"]
