"""L2: settlement's queues and batches have bounds; with a bound of 2 or 1 the day ends as it does without."""

from __future__ import annotations

import msgspec
import pytest

from schemas import requests as rq
from schemas.codec import WRITER_SETTLEMENT, decode_frame
from schemas.commands import OutboxCommand
from services.runtime.log import Outgoing
from tests.settlement.test_crashes import Exchange, days, live_through


def sent(exchange: Exchange) -> list[list[int]]:
    """Numbers of the messages in each frame that settlement wrote."""
    frames = [decode_frame(record.value) for record in exchange.commands.records]
    return [
        [command.outbox for command in frame.commands if isinstance(command, OutboxCommand)]
        for frame in frames
        if frame.writer == WRITER_SETTLEMENT
    ]


@pytest.mark.parametrize("bound", ["READ_MAX", "EVENTS_MAX", "SLICE_MAX", "FRAME_MAX", "WINDOW_MAX"])
@pytest.mark.parametrize("value", [1, 2])
def test_a_small_bound_changes_nothing(monkeypatch: pytest.MonkeyPatch, bound: str, value: int) -> None:
    monkeypatch.setattr(f"services.settlement.shell.{bound}", value)
    (exchange,) = days(1)
    exchange.live()
    live_through(exchange)
    assert exchange.lives == 1
    if bound in ("FRAME_MAX", "WINDOW_MAX"):
        assert max(len(numbers) for numbers in sent(exchange)) == value, "the bound was reached, and not passed"


def test_to_a_shard_that_does_not_answer_no_more_is_sent_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine transfers wait, four are on their way; when the shard answers again, all of them arrive."""
    monkeypatch.setattr("services.settlement.shell.FRAME_MAX", 2)
    monkeypatch.setattr("services.settlement.shell.WINDOW_MAX", 4)
    (exchange,) = days(1)
    exchange.live()
    exchange.run(exchange.opened)
    before = max(number for numbers in sent(exchange) for number in numbers)
    (shard,) = [process for process in exchange.world.processes if process.name == "shard"]
    exchange.world.stop(shard)
    asked = [rq.ToTrading(f"more-{number}", 1, 0, 1) for number in range(9)]
    exchange.requests.land([Outgoing(msgspec.msgpack.encode(one)) for one in asked])
    exchange.run_steps(2_000)
    assert {number for numbers in sent(exchange) for number in numbers if number > before} == set(
        range(before + 1, before + 5)
    )
    exchange.world.resume(shard)
    exchange.run(lambda: all(_done(exchange, one.request_id) for one in asked))


def _done(exchange: Exchange, request_id: str) -> bool:
    row = exchange.kept.rows["requests"].get((request_id,))
    return row is not None and row[3] == "done"
