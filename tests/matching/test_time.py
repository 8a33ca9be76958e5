"""The market's time: that of the record, at most a minute at a step, never back; ticks alone go further."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command, Side
from schemas.events import Code
from services.matching.engine import Engine
from tests.matching.market import T0_MS, VALID_MS, Market

STATE = cmd.SetState(900, 77, 0, 1, "")
"""A command that does nothing: its class is unknown."""


def started(rate: int = 1, stamp_ms: int = T0_MS, t0_ms: int = T0_MS) -> Engine:
    engine = Engine()
    engine.apply(0, stamp_ms, [cmd.StartShard(0, 1, t0_ms, rate, rate > 1)])
    return engine


def times(engine: Engine, *records: tuple[int, list[Command | Malformed]]) -> list[int]:
    """Market time after each record, relative to T0."""
    said = []
    for stamp_ms, commands in records:
        engine.apply(engine.offset + 1, T0_MS + stamp_ms, commands)
        said.append(engine.time_ms - T0_MS)
    return said


def test_time_is_that_of_the_record() -> None:
    assert times(started(), (0, [STATE]), (5, [STATE]), (59_999, [STATE])) == [0, 5, 59_999]


def test_a_record_with_an_earlier_stamp_moves_nothing_back() -> None:
    """Brokers' clocks are set now and then."""
    assert times(started(), (1_000, [STATE]), (400, [STATE]), (-(10**9), [STATE]), (1_001, [STATE])) == [
        1_000,
        1_000,
        1_000,
        1_001,
    ]


def test_a_record_that_is_far_ahead_moves_time_by_a_minute() -> None:
    """One wrong stamp must not close every gate: the next record takes the next step."""
    day = 86_400_000
    assert times(started(), (60_001, [STATE]), (day, [STATE]), (day, [STATE]), (120_000, [STATE])) == [
        60_000,
        120_000,
        180_000,
        180_000,
    ]


def test_a_tick_alone_in_its_frame_moves_time_as_far_as_it_says() -> None:
    """Whatever its own stamp is."""
    day = 86_400_000
    assert times(started(), (0, [cmd.Tick(T0_MS + day)]), (0, [cmd.Tick(T0_MS + 1)]), (day + 5, [STATE])) == [
        day,
        day,
        day + 5,
    ]


def test_a_tick_s_stamp_alone_moves_nothing() -> None:
    """It says until when time has passed; the broker may have written it later."""
    assert times(started(), (50_000, [cmd.Tick(T0_MS + 7)])) == [7]


@pytest.mark.parametrize(
    "commands", [[cmd.Tick(T0_MS + 10**9), STATE], [STATE, cmd.Tick(T0_MS + 10**9)], [cmd.Tick(T0_MS + 10**9)] * 2]
)
def test_a_tick_among_other_commands_lets_no_further_time_pass(commands: list[Command | Malformed]) -> None:
    assert times(started(), (1_000, commands)) == [1_000]


def test_a_malformed_body_alone_moves_time_by_a_minute_at_most() -> None:
    """It may have been meant as a tick: nobody knows."""
    assert times(started(), (10**9, [Malformed()])) == [60_000]


def test_every_tick_is_answered_with_the_time_it_has_become() -> None:
    engine = started()

    events = engine.apply(1, T0_MS, [cmd.Tick(T0_MS + 500)]) + engine.apply(
        2, T0_MS, [cmd.Tick(T0_MS), cmd.Tick(T0_MS)]
    )

    assert events == [ev.Ticked(0, T0_MS + 500), ev.Ticked(0, T0_MS + 500), ev.Ticked(1, T0_MS + 500)]


def test_a_sandbox_s_time_runs_faster() -> None:
    """Rate 60: a second of stamps is a minute of the market, and a step is at most an hour of it."""
    assert times(started(60), (1_000, [STATE]), (61_001, [STATE]), (61_001, [cmd.Tick(T0_MS + 100_000)])) == [
        60_000,
        3_660_000,
        6_000_000,
    ]


def test_the_first_record_sets_the_clock() -> None:
    """t0 is where market time and stamps are the same; before it a faster market is slower than the clock."""
    assert started(stamp_ms=T0_MS + 7).time_ms == T0_MS + 7
    assert started(60, stamp_ms=T0_MS + 7).time_ms == T0_MS + 420
    assert started(60, stamp_ms=T0_MS - 7).time_ms == T0_MS - 420
    assert started(60, stamp_ms=10, t0_ms=1_000).time_ms == 0, "never below zero"


def test_a_record_out_of_turn_is_not_applied() -> None:
    engine = started()
    engine.apply(5, T0_MS, [STATE])

    for offset in (5, 4, 0):
        with pytest.raises(AssertionError, match=f"offset {offset} after 5"):
            engine.apply(offset, T0_MS, [STATE])
    with pytest.raises(AssertionError, match="offset 5 after 5"):
        engine.skip(5)


def test_a_record_in_quarantine_lets_no_time_pass() -> None:
    engine = started()

    engine.skip(3)

    assert (engine.offset, engine.time_ms) == (3, T0_MS)


# --- How long an order is valid ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead_ms", "answer"),
    [
        (-1, "ana is refused: too_late"),
        (0, "ana bids 1 at 2.00"),
        (600_000, "ana bids 1 at 2.00"),
        (600_001, "ana is refused: wrong_validity"),
        (2**63, "ana is refused: wrong_validity"),
    ],
)
def test_an_order_is_valid_for_at_most_ten_minutes(ahead_ms: int, answer: str) -> None:
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "2.00")

    market.send(
        cmd.PlaceOrder(*(getattr(body, f) for f in body.__struct_fields__[:8]), market.engine.time_ms + ahead_ms)
    )

    assert market.said() == [answer]


def test_an_order_is_judged_by_the_time_of_its_record() -> None:
    """One that waited in a queue for longer than it was valid is refused."""
    market = Market.given()
    body = market.order("ana", Side.BUY, 1, "2.00")
    market.stamp_ms += VALID_MS + 1

    (said,) = market.tell(body)

    assert isinstance(said, ev.Rejected)
    assert said.code == Code.TOO_LATE
