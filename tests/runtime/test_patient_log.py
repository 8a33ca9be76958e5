"""A log whose reads wait for the broker: nobody who only reads need end because it is away for a while."""

from __future__ import annotations

import pytest

from services.runtime.config import Settings
from services.runtime.log import LogError, Outgoing, OutOfRange, WriteUnknown
from services.runtime.status import Status
from services.runtime.supervise import Service
from tests.simulation.simlog import Topic
from tests.simulation.world import Process, SimClock, World


class Room:
    """A topic, and a service that has a patient log of it."""

    def __init__(self) -> None:
        self.world = World(1)
        self.topic = Topic(self.world, "events", 0, may_repeat=False)
        self.topic.land([Outgoing(b"first")])
        self.service = Service(Settings(), Status("test"))
        self.service.clock = SimClock(self.world)
        self.log = self.service.patient(self.topic.log())
        self.told: list[object] = []

    def ask(self, question) -> Process:
        async def run() -> None:
            self.told.append(await question)

        return self.world.spawn("reader", run())


def test_a_read_waits_says_so_and_goes_on() -> None:
    room = Room()
    room.topic.faults.offline = True
    bounds, records = room.ask(room.log.bounds()), room.ask(room.log.read(0))
    room.world.run_ms(30_000)
    assert bounds.alive
    assert records.alive
    assert room.service.status.values["waiting_for"] == "kafka"
    assert "the broker is away" in str(room.service.status.values["last_error"])
    room.topic.faults.offline = False
    room.world.run_ms(6_000)
    assert sorted(map(repr, room.told)) == sorted(map(repr, [(0, 1), room.topic.records]))
    assert room.service.status.values["waiting_for"] == ""


@pytest.mark.parametrize(
    ("question", "error"),
    [(lambda log: log.read(9), OutOfRange), (lambda log: log.append([Outgoing(b"x")]), WriteUnknown)],
)
def test_what_waiting_does_not_mend_is_raised_at_once(question, error: type[LogError]) -> None:
    """An offset that is not there; a write, which may be too late by then."""
    room = Room()
    room.topic.faults.offline = error is WriteUnknown
    process = room.ask(question(room.log))
    room.world.run_ms(2_000)
    assert isinstance(process.ended, error)
