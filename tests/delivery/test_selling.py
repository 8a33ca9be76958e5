"""Hours are sold as ready while the room is recording what it has decided of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from schemas.commands import Ground
from schemas.events import Filled, TitleMove
from schemas.ids import contract_of
from schemas.leases import LeaseRecord, MachineEnrolled
from schemas.market_clock import MarketClock
from schemas.units import MS_PER_MINUTE
from services.delivery.shell import Delivery
from services.runtime.log import Outgoing
from services.runtime.status import Status
from tests.delivery.room import ANA, CARL, CLASS, HOUR, moment

CONTRACT = contract_of(CLASS, HOUR)
NOW_MS = moment(0, 10)


class Memory:
    """A log. `meanwhile` is called once, while the first record is being written."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.meanwhile: Callable[[], None] | None = None

    async def bounds(self) -> tuple[int, int]:
        return 0, len(self.values)

    async def append(self, records: Sequence[Outgoing]) -> None:
        self.values += [record.value for record in records]
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()

    async def read(self, offset: int, *, count: int, **_: int) -> list[Any]:
        return [
            SimpleNamespace(offset=offset + nth, value=value)
            for nth, value in enumerate(self.values[offset : offset + count])
        ]


def sold(number: int) -> Filled:
    """A GPU of the running hour."""
    move = TitleMove(0, number, Ground.READY, 1, 100, 100, 0)
    return Filled(number, CONTRACT, 100, 1, 50, 1, 1, 2, 0, 0, ANA, CARL, 100, 0, 0, (move,))


async def test_what_is_sold_while_another_is_placed_is_placed_next() -> None:
    log: Any = Memory()
    clock: Any = SimpleNamespace(now_ms=lambda: NOW_MS, elapsed_ms=lambda: 0)
    nothing: Any = None
    room = Delivery(1, log, [], nothing, nothing, nothing, MarketClock(0, 1, sandbox=True), clock, Status("delivery"))

    def hear(event: Filled) -> None:
        record: Any = SimpleNamespace(events=(event,))
        room.market.take(record, room.state)

    uuids = ("one", "two")
    record: LeaseRecord = MachineEnrolled(
        1, NOW_MS - MS_PER_MINUTE, CARL, "a", CLASS, "declared", "open", "127.0.0.1", uuids
    )
    room.state.take(record)
    room.market.lots[CLASS] = 1
    hear(sold(1))
    log.meanwhile = lambda: hear(sold(2))
    await room.decide()
    assert set(room.state.of_title) == {(CONTRACT, 1)}
    await room.decide()
    assert set(room.state.of_title) == {(CONTRACT, 1), (CONTRACT, 2)}
    assert not room.market.final, "nothing is left to be looked at"
