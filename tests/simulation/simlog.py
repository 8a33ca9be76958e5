"""A simulated log: what a broker may do to a writer and a reader, and nothing that it may not.

A write may be refused (nothing is written), be lost with an unknown outcome, land with an unknown outcome, land late, after
its writer has died, or land twice (a broker without idempotent producers). What was acknowledged stays. Records of one
`append` land together and in order.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from services.runtime.log import Outgoing, OutOfRange, Record, Unreachable, WriteRefused, WriteUnknown
from tests.simulation.world import Wait, World


class Faults(Struct):
    """Chances per write, in permille."""

    refused: int = 0
    lost: int = 0
    unknown: int = 0
    twice: int = 0
    late_ms_max: int = 20
    offline: bool = False
    """The broker is away: reads and writes fail; what is in flight still lands."""


class Topic:
    """The records themselves; outlives every process."""

    def __init__(self, world: World, name: str, partition: int, *, may_repeat: bool) -> None:
        self.world = world
        self.name = name
        self.partition = partition
        self.records: list[Record] = []
        self.first = 0
        self.faults = Faults()
        self.may_repeat = may_repeat
        """Whether a write may land twice: only where readers know repeats."""

    def land(self, outgoing: Sequence[Outgoing]) -> None:
        """The broker writes."""
        for record in outgoing:
            offset = self.first + len(self.records)
            self.records.append(Record(offset, self.world.now_ms, record.value, tuple(record.headers), record.key))

    def end(self) -> int:
        return self.first + len(self.records)

    def log(self) -> SimLog:
        """A process's own connection."""
        return SimLog(self)


class SimLog:
    """`services.runtime.log.Log` over a `Topic`."""

    def __init__(self, topic: Topic) -> None:
        self._topic = topic
        self.topic = topic.name
        self.partition = topic.partition
        self._dead = False
        """After a refused or unknown write the connection writes no more, as an idempotent producer would."""

    async def bounds(self) -> tuple[int, int]:
        await self._pause()
        self._reach()
        return self._topic.first, self._topic.end()

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        topic, world = self._topic, self._topic.world
        await self._pause()
        self._reach()
        if not topic.first <= offset <= topic.end():
            raise OutOfRange(f"{topic.name}/{topic.partition}: {offset} is not in {topic.first}..{topic.end()}")
        if wait_ms and offset == topic.end():
            await Wait(world.now_ms + wait_ms, lambda: offset < topic.end())
        self._reach()
        some = world.chance("reads").randint(1, count)
        return topic.records[offset - topic.first : offset - topic.first + some]

    async def append(self, records: Sequence[Outgoing]) -> None:
        topic, world, faults = self._topic, self._topic.world, self._topic.faults
        if self._dead:
            raise WriteRefused(f"{topic.name}: an earlier write of this connection failed")
        chance = world.chance("writes")
        draw = chance.randrange(1000)
        late_ms = chance.randint(0, faults.late_ms_max)
        if faults.offline or draw < faults.refused:
            await self._pause()
            self._dead = True
            raise WriteUnknown("broker away") if faults.offline else WriteRefused("simulated")
        draw -= faults.refused
        if draw < faults.lost:
            await Wait(world.now_ms + late_ms)
            self._dead = True
            raise WriteUnknown("simulated: lost")
        draw -= faults.lost
        landed: list[bool] = []

        def land() -> None:
            topic.land(records)
            if topic.may_repeat and chance.randrange(1000) < faults.twice:
                topic.land(records)
            landed.append(True)

        # In flight from here on: it lands even when the writer dies meanwhile.
        world.later(late_ms, land)
        if draw < faults.unknown:
            await Wait(world.now_ms + chance.randint(0, 2 * late_ms + 1))
            self._dead = True
            raise WriteUnknown("simulated: outcome unknown")
        await Wait(world.now_ms + late_ms + 60_000, lambda: bool(landed))
        await self._pause()

    def _reach(self) -> None:
        if self._topic.faults.offline:
            raise Unreachable(f"{self.topic}: simulated: the broker is away")

    async def _pause(self) -> None:
        world = self._topic.world
        await Wait(world.now_ms + world.chance("latency").randint(0, 2))
