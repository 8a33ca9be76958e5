"""A simulated log: what a broker may do to a writer and a reader, and nothing that it may not.

A write may be refused (nothing is written), be lost with an unknown outcome, land with an unknown outcome, land late, after
its writer has died, land in part (a writer sends several batches), land twice (a broker without idempotent producers), or
vanish on its way when the broker's leader changes; a new leader's clock may be behind. What was acknowledged or could be
read stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

from msgspec import Struct

from services.runtime.log import Outgoing, OutOfRange, Record, Unreachable, WriteRefused, WriteUnknown
from tests.simulation.world import Signal, Wait, World


class Faults(Struct):
    """Chances per batch written, in permille."""

    refused: int = 0
    lost: int = 0
    unknown: int = 0
    twice: int = 0
    parted: int = 0
    """Chance that what is appended at once goes out in several batches."""
    late_ms_max: int = 20
    offline: bool = False
    """The broker is away: reads and writes fail; what is in flight still lands."""


class Flight:
    """One batch on its way to the broker."""

    def __init__(self, records: Sequence[Outgoing]) -> None:
        self.records = records
        self.landed: bool | None = None
        """None: on its way."""
        self.over = Signal()


class Topic:
    """The records themselves; outlives every process."""

    def __init__(self, world: World, name: str, partition: int, *, may_repeat: bool) -> None:
        self.world = world
        self.name = name
        self.partition = partition
        self.records: list[Record] = []
        """What the log holds now."""
        self.cut_off: list[Record] = []
        """What it held before `first`."""
        self.first = 0
        self.clock_ms = 0
        """The leader's clock minus the world's."""
        self.empty_ms = 0
        """How long the answer that there is nothing may take, for whoever does not wait: it saves the world empty turns."""
        self.faults = Faults()
        self.may_repeat = may_repeat
        """Whether a write may land twice: only where readers know repeats."""
        self.landed = Signal()
        self.landed_at: list[int] = []
        """Of every record that was ever written and not lost: when, among all that landed anywhere."""
        self.did: Counter[str] = Counter()
        """How often each fault has come true."""
        self._flying: dict[int, Flight] = {}
        self._flights = 0

    def land(self, outgoing: Sequence[Outgoing]) -> None:
        """The broker writes."""
        stamp_ms = self.world.now_ms + self.clock_ms
        for record in outgoing:
            offset = self.first + len(self.records)
            self.records.append(Record(offset, stamp_ms, record.value, tuple(record.headers), record.key))
            self.world.landings += 1
            self.landed_at.append(self.world.landings)
        self.landed.fire()

    def end(self) -> int:
        return self.first + len(self.records)

    def all(self) -> list[Record]:
        """Everything that was ever written and not lost."""
        return self.cut_off + self.records

    def cut(self, before: int) -> None:
        """DeleteRecords: the archive has them."""
        count = max(0, before - self.first)
        self.cut_off += self.records[:count]
        del self.records[:count]
        self.first += count

    def lose_tail(self, end: int) -> None:
        """Out of a broker's contract: records that could be read are gone."""
        del self.records[max(0, end - self.first) :]
        del self.landed_at[len(self.cut_off) + len(self.records) :]

    def send(self, records: Sequence[Outgoing], after_ms: int, *, twice: bool) -> Flight:
        """A batch is on its way from here on: it lands even when its writer dies meanwhile."""
        self._flights += 1
        number, flight = self._flights, Flight(records)
        self._flying[number] = flight

        def land() -> None:
            if self._flying.pop(number, None) is None:
                return
            self.land(records)
            if twice:
                self.did["twice"] += 1
                self.land(records)
            flight.landed = True
            flight.over.fire()

        self.world.later(after_ms, land)
        return flight

    def elect(self, clock_ms: int) -> None:
        """Another leader: what was on its way and not acknowledged is nowhere; stamps are by another clock."""
        flying, self._flying = self._flying, {}
        for flight in flying.values():
            self.did["vanished"] += 1
            flight.landed = False
            flight.over.fire()
        self.clock_ms = clock_ms

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
        if offset == topic.end() and (wait_ms or topic.empty_ms):
            wait_ms = wait_ms or int(world.chance("latency").random() * topic.empty_ms)
            await Wait(world.now_ms + wait_ms, topic.landed)
            self._reach()
        start = offset - topic.first
        if start < 0 or start >= len(topic.records):
            return []
        some = 1 + int(world.chance("reads").random() * count)
        return topic.records[start : start + some]

    async def append(self, records: Sequence[Outgoing]) -> None:
        topic, world = self._topic, self._topic.world
        if self._dead:
            raise WriteRefused(f"{topic.name}: an earlier write of this connection failed")
        self._dead = True
        batches = self._batches(records)
        for number, batch in enumerate(batches):
            try:
                await self._write(batch)
            except WriteRefused as error:
                # Of the whole, some is there.
                raise (WriteUnknown(str(error)) if number else error) from error
        await Wait(world.now_ms)
        self._dead = False

    async def close(self) -> None:
        self._dead = True

    def _batches(self, records: Sequence[Outgoing]) -> list[Sequence[Outgoing]]:
        chance, parted = self._topic.world.chance("batches"), self._topic.faults.parted
        if len(records) < 2 or not parted or chance.randrange(1000) >= parted:
            return [records]
        self._topic.did["parted"] += 1
        place = chance.randrange(1, len(records))
        return [records[:place], records[place:]]

    async def _write(self, batch: Sequence[Outgoing]) -> None:
        topic, world, faults = self._topic, self._topic.world, self._topic.faults
        chance = world.chance("writes")
        draw, late_ms = chance.randrange(1000), chance.randint(0, faults.late_ms_max)
        twice = topic.may_repeat and chance.randrange(1000) < faults.twice
        if faults.offline:
            await Wait(world.now_ms + 10 * late_ms)
            raise WriteUnknown(f"{topic.name}: simulated: the broker is away")
        if draw < faults.refused:
            await self._pause()
            topic.did["refused"] += 1
            raise WriteRefused(f"{topic.name}: simulated")
        draw -= faults.refused
        if draw < faults.lost:
            await Wait(world.now_ms + late_ms)
            topic.did["lost"] += 1
            raise WriteUnknown(f"{topic.name}: simulated: lost")
        flight = topic.send(batch, late_ms, twice=twice)
        if draw - faults.lost < faults.unknown:
            await Wait(world.now_ms + chance.randint(0, 2 * late_ms + 1))
            topic.did["unknown, came later" if flight.landed is None else "unknown, was there"] += 1
            raise WriteUnknown(f"{topic.name}: simulated: outcome unknown")
        if late_ms > 1_000:
            topic.did["late"] += 1
        if flight.landed is None:
            await Wait(world.now_ms + late_ms + 60_000, flight.over)
        if not flight.landed:
            raise WriteUnknown(f"{topic.name}: simulated: the leader has changed")

    def _reach(self) -> None:
        if self._topic.faults.offline:
            raise Unreachable(f"{self.topic}: simulated: the broker is away")

    async def _pause(self) -> None:
        world = self._topic.world
        await Wait(world.now_ms + int(world.chance("latency").random() * 3))


class SimCluster:
    """`services.runtime.kafka.Cluster`: the topics of one broker."""

    def __init__(self, topics: Mapping[tuple[str, int], Topic]) -> None:
        self._topics = topics

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    def log(self, topic: str, partition: int = 0) -> SimLog:
        return self._topics[topic, partition].log()

    async def has(self, topic: str) -> bool:
        return (topic, 0) in self._topics

    async def ping(self) -> int:
        """How many brokers there are; one that is away does not say."""
        first = next(iter(self._topics.values()))
        await Wait(first.world.now_ms + 1)
        first.log()._reach()
        return 3

    async def cut(self, topic: str, partition: int, before_offset: int) -> int:
        there = self._topics[topic, partition]
        await Wait(there.world.now_ms + 1)
        there.cut(before_offset)
        return there.first
