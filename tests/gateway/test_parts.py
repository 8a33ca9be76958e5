"""The output of one frame may come in several records: a command is answered when all of it is there, and from all of it."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from schemas.codec import CHAIN_START, WRITER_GATEWAY_MIN, Frame, Sealed, decode_frame, epoch_header, seal
from schemas.commands import PlaceOrder, Side, Tif
from schemas.events import Event, Filled, OrderAccepted, OrderCancelled, Reason, TitleMove
from services.gateway.database import Database
from services.gateway.door import Answer, Door
from services.gateway.progress import Progress
from services.runtime.log import Outgoing
from tests.simulation.simlog import Topic
from tests.simulation.simpool import SimPool
from tests.simulation.simstore import SimDatabase
from tests.simulation.simtables import SimTables
from tests.simulation.world import World

CONTRACT = 1 << 24
ORDER = PlaceOrder(1, CONTRACT, Side.BUY, 9, 2_000_000, Tif.IOC, 0, "sweep", 10_000)


def fill(trade: int) -> Filled:
    move = TitleMove(0, trade, 1, 2, 3_980_000, 4_000_000, 0)
    return Filled(
        trade, CONTRACT, 2_000_000, 2, 60, 1, 70 + trade, 10, 0, 9 - 2 * trade, 1, 2, 4_000_000, 0, 20_000, (move,)
    )


OUTPUT: list[Event] = [
    OrderAccepted(0, 10, 1, CONTRACT, Side.BUY, 9, 2_000_000, Tif.IOC, 0, "sweep", 0, 0),
    *(fill(trade) for trade in range(1, 5)),
    OrderCancelled(10, 1, CONTRACT, 1, Reason.IOC),
]


class Hall:
    """A door in a simulated process, one order on its way, and a shard that is us."""

    def __init__(self, closing: contextlib.ExitStack) -> None:
        self.closing = closing
        self.world = World(1)
        self.commands, self.events = (Topic(self.world, name, 0, may_repeat=False) for name in ("commands", "events"))
        self.answers: list[Answer] = []
        self.world.spawn("gateway", self.serve())
        self.world.run(lambda: bool(self.commands.records))

    def tables(self, database: SimDatabase) -> SimTables:
        return self.closing.enter_context(contextlib.closing(SimTables(database)))

    async def serve(self) -> None:
        database = SimDatabase(self.world)
        progress = Progress(Database(SimPool(database, self.tables(database))), 1)
        door = Door(0, WRITER_GATEWAY_MIN, self.commands.log, self.events.log(), progress)
        await door.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(door.write())
            group.create_task(door.read())
            self.answers.append(await door.submit(ORDER))

    def said(self) -> list[Sealed]:
        frame = decode_frame(self.commands.records[0].value)
        return seal(0, 0, CHAIN_START, 1, 5_000, Frame(frame.writer, frame.frame_no, ()), OUTPUT)

    def land(self, one: Sealed) -> None:
        self.events.land([Outgoing(one.body, [*one.headers, epoch_header(1)])])


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("size", [60, 200, 524_288])
def test_an_order_is_answered_with_all_its_fills_however_its_output_is_cut(
    size: int, closing: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not before the last of them is there."""
    monkeypatch.setattr("schemas.codec.RECORD_BYTES_MAX", size)
    hall = Hall(closing)
    *earlier, last = hall.said()
    for one in earlier:
        hall.land(one)
        hall.world.run_ms(50)
    assert hall.answers == []
    hall.land(last)
    hall.world.run(lambda: bool(hall.answers))
    assert hall.answers == [Answer(last.seq, 5_000, OUTPUT[0], tuple(OUTPUT[1:]))]


def test_a_stale_writer_s_repeats_change_no_answer(
    closing: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same records again, in the middle of the output."""
    monkeypatch.setattr("schemas.codec.RECORD_BYTES_MAX", 60)
    hall = Hall(closing)
    said = hall.said()
    assert len(said) == len(OUTPUT)
    for one in [*said[:4], *said[:3], *said[2:]]:
        hall.land(one)
    hall.world.run(lambda: bool(hall.answers))
    assert hall.answers[0].effects == tuple(OUTPUT[1:])
