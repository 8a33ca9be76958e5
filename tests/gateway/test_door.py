"""Which events of a record answer which command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from schemas.codec import RECORD_FORMAT, EventsRecord
from schemas.events import Event, Filled, GateClosed, OrderAccepted, OrderCancelled, Rejected, Ticked, TitleMove
from services.gateway.door import Answer, answers_of


def record(*events: Event, seq: int = 7) -> EventsRecord:
    return EventsRecord(RECORD_FORMAT, 0, seq, 3, 0, True, 1_000, 1 << 40, 5, list(events))


def accepted(index: int, order: int) -> OrderAccepted:
    return OrderAccepted(index, order, 1, 1 << 24, 1, 5, 3_000_000, 1, 0, "", 0, 0)


def cancelled(order: int, qty: int) -> OrderCancelled:
    return OrderCancelled(order, 1, 1 << 24, qty, 2)


def answers(*events: Event) -> dict[int, tuple[Event, Sequence[Event]]]:
    return {index: (answer.outcome, answer.effects) for index, answer in answers_of(record(*events)).items()}


def test_each_outcome_has_the_effects_up_to_the_next_one() -> None:
    first, second, third = accepted(0, 10), Rejected(1, 1, 4), accepted(2, 12)
    assert answers(first, cancelled(10, 2), cancelled(9, 1), second, third, cancelled(12, 5)) == {
        0: (first, (cancelled(10, 2), cancelled(9, 1))),
        1: (second, ()),
        2: (third, (cancelled(12, 5),)),
    }


def test_what_time_alone_caused_answers_nobody() -> None:
    """It comes before the first outcome of its record."""
    gate, order = GateClosed(1 << 24), accepted(0, 10)
    assert answers(cancelled(3, 1), gate, order) == {0: (order, ())}
    assert answers(gate) == {}


def test_an_answer_says_where_and_when_it_happened() -> None:
    tick = Ticked(0, 1_000)
    assert answers_of(record(tick, seq=9)) == {0: Answer(9, 1_000, tick, ())}


@pytest.mark.parametrize("indexes", [(5,), (4, 5, 6)])
def test_a_part_of_a_large_output_answers_its_own_commands(indexes: tuple[int, ...]) -> None:
    """Indexes count in the frame, not in the record."""
    assert list(answers(*[accepted(index, 100 + index) for index in indexes])) == list(indexes)


def test_a_fill_belongs_to_the_order_that_took() -> None:
    move = TitleMove(0, 1, 1, 2, 5_970_000, 6_000_000, 0)
    fill = Filled(1, 1 << 24, 3_000_000, 2, 60, 1, 9, 10, 0, 3, 1, 2, 6_000_000, 0, 30_000, (move,))
    order = accepted(0, 10)
    assert answers(order, fill) == {0: (order, (fill,))}
