"""What is done to a simulated exchange: one fault at a time, each for a while, until everything is calm.

Every fault is one that a broker, a database, a disk, an operating system or a network may do by its contract; the one that is
not (readable records lost together with both processes of a shard) is what `recovery` promises to survive all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from services.runtime.log import Outgoing
from tests.simulation.exchange import RUBBISH, SHARDS, Exchange
from tests.simulation.simlog import Faults, Topic
from tests.simulation.stores import SimSnapshots
from tests.simulation.world import Process

WEIGHTS: Final = {
    "kill": 6,
    "stop": 3,
    "pause": 1,
    "clock": 3,
    "database away": 2,
    "commits": 2,
    "broker away": 1,
    "writes": 4,
    "election": 3,
    "answers": 1,
    "disk damaged": 2,
    "disk full": 1,
    "rubbish": 1,
    "archive": 2,
    "power": 1,
    "calm": 3,
}


class Trouble:
    """Draws faults and carries them out."""

    def __init__(self, exchange: Exchange, weights: Mapping[str, int] = WEIGHTS) -> None:
        self._exchange = exchange
        self._world = exchange.world
        self._chance = exchange.world.chance("faults")
        self._kinds = [kind for kind, weight in weights.items() for _ in range(weight)]
        self._stopped: list[Process] = []

    def make(self) -> None:
        """One fault, drawn."""
        kind = self._chance.choice(self._kinds)
        self._exchange.did[kind] += 1
        self._world.note(f"--- {kind}")
        getattr(self, f"_{kind.replace(' ', '_')}")()

    def calm(self) -> None:
        """No more faults from here on; what has ended is started again by its supervisor."""
        exchange = self._exchange
        exchange.lease.away = exchange.database.away = False
        exchange.database.unknown_permille = 0
        exchange.lost_answers_permille = 0
        for topic in exchange.topics:
            topic.faults = Faults()
        for disk in exchange.disks.values():
            disk.full = False
        while self._stopped:
            self._world.resume(self._stopped.pop())

    _calm = calm

    # --- Processes -----------------------------------------------------------------------------------------

    def _alive(self, *kinds: str) -> list[Process]:
        return [
            process
            for name, process in self._exchange.running.items()
            if process.alive and name.split("-")[0] in (kinds or self._exchange.killable)
        ]

    def _kill(self) -> None:
        if alive := self._alive():
            process = self._chance.choice(alive)
            self._exchange.did[f"killed {process.name.split('-')[0]}"] += 1
            self._world.kill(process)

    def _stop(self) -> None:
        """SIGSTOP for longer than a lease, perhaps: it wakes up and does not know that another has taken over."""
        alive = [process for process in self._alive() if not process.stopped]
        if alive:
            process = self._chance.choice(alive)
            self._exchange.did[f"stopped {process.name.split('-')[0]}"] += 1
            self._world.stop(process)
            self._stopped.append(process)
            self._for_ms(500, 15_000, lambda: self._world.resume(process))

    def _pause(self) -> None:
        """Nobody gets the processor for a while: leases run out, hours of the market pass."""
        self._world.now_ms += self._chance.randint(1_000, 60_000)

    def _clock(self) -> None:
        """Somebody sets a machine's clock wrong, and after a while right again."""
        alive = [process for process in self._alive("matching", "settlement") if process.name in self._exchange.clocks]
        if alive:  # and has looked at its clock
            clock = self._exchange.clocks[self._chance.choice(alive).name]
            wrong_ms = self._chance.choice((-1, 1)) * self._chance.randint(60_000, 900_000)
            clock.skew_ms += wrong_ms
            self._for_ms(200, 5_000, lambda: setattr(clock, "skew_ms", clock.skew_ms - wrong_ms))

    # --- Database and disks --------------------------------------------------------------------------------

    def _database_away(self) -> None:
        exchange = self._exchange
        exchange.lease.away = exchange.database.away = True

        def back() -> None:
            exchange.lease.away = exchange.database.away = False

        self._for_ms(200, 10_000, back)

    def _commits(self) -> None:
        database = self._exchange.database
        database.unknown_permille = self._chance.randint(20, 300)
        self._for_ms(1_000, 20_000, lambda: setattr(database, "unknown_permille", 0))

    def _disk_damaged(self) -> None:
        disk = self._some_disk()
        if disk is not None and disk.damage("disk"):
            self._exchange.did["snapshot damaged"] += 1

    def _disk_full(self) -> None:
        disk = self._some_disk()
        if disk is not None:
            disk.full = True
            self._for_ms(5_000, 60_000, lambda: setattr(disk, "full", False))

    def _some_disk(self) -> SimSnapshots | None:
        disks = self._exchange.disks
        return disks[self._chance.choice(sorted(disks))] if disks else None

    # --- Broker and network --------------------------------------------------------------------------------

    def _broker_away(self) -> None:
        """One topic, or all of them."""
        topics = self._exchange.topics
        away = topics if self._chance.random() < 0.1 else [self._chance.choice(topics)]
        for topic in away:
            topic.faults.offline = True

        def back() -> None:
            for topic in away:
                topic.faults.offline = False

        self._for_ms(200, 8_000, back)

    def _writes(self) -> None:
        chance = self._chance
        for topic in self._exchange.topics:
            topic.faults = Faults(
                refused=chance.randint(0, 30),
                lost=chance.randint(0, 30),
                unknown=chance.randint(0, 60),
                twice=chance.randint(0, 100),
                parted=chance.randint(0, 500),
                late_ms_max=chance.choice([2, 20, 2_000]),
                offline=topic.faults.offline,
            )
        self._for_ms(2_000, 15_000, self._write_well)

    def _write_well(self) -> None:
        for topic in self._exchange.topics:
            topic.faults = Faults(offline=topic.faults.offline)

    def _election(self) -> None:
        """What was on its way and not acknowledged is gone, and stamps go back or ahead a little."""
        topic = self._chance.choice(self._exchange.topics)
        topic.elect(self._chance.choice([0, 0, -1_000, -50, 50]))

    def _answers(self) -> None:
        exchange = self._exchange
        exchange.lost_answers_permille = self._chance.randint(10, 300)
        self._for_ms(1_000, 10_000, lambda: setattr(exchange, "lost_answers_permille", 0))

    def _rubbish(self) -> None:
        """A broken tool writes into `commands`."""
        topic = self._chance.choice(self._exchange.commands)
        topic.land([Outgoing(RUBBISH + bytes([self._chance.randrange(256)]))])

    def _power(self) -> None:
        """A shard, settlement and the broker lose power: the end of `events` that nobody has settled yet is gone."""
        shard = self._chance.randrange(SHARDS)
        topic: Topic = self._exchange.events[shard]
        for process in self._alive("matching", "settlement"):
            if process.name.startswith((f"matching-{shard}", "settlement")):
                self._world.kill(process)
        topic.elect(0)
        end = max(topic.end() - self._chance.randint(1, 12), self._needed(shard))
        if end < topic.end():
            self._exchange.did["events lost its tail"] += 1
            topic.lose_tail(end)

    def _needed(self, shard: int) -> int:
        """What settlement has read, or is about to have; where `commands` was cut, a snapshot that `events` bears out."""
        settled = self._exchange.database.begun.get(("events", shard), 1)
        if self._exchange.commands[shard].first == 0:
            return settled
        needed = [
            stored.events_next
            for name, disk in self._exchange.disks.items()
            if name.startswith(f"matching-{shard}")
            for stored in disk.whole()
            if stored.commands_next > self._exchange.commands[shard].first
        ]
        return max(settled, min(needed, default=self._exchange.events[shard].end()))

    # --- An operator's work --------------------------------------------------------------------------------

    def _archive(self) -> None:
        shard = self._chance.randrange(SHARDS)
        self._world.spawn(f"archive of shard {shard}", self._exchange.archive(shard))

    def _for_ms(self, low: int, high: int, then: Callable[[], None]) -> None:
        self._world.later(self._chance.randint(low, high), then)
