"""The router's own coroutines in a simulated world: a place to trade at, a gateway that loses and delays, lives that end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from schemas.codec import CHAIN_START, WRITER_OPERATOR, Frame, epoch_header, seal
from schemas.events import Event
from schemas.market_clock import MarketClock
from schemas.rental import RentalRequest
from schemas.rentals_log import RentalRecord
from schemas.units import MS_PER_HOUR
from services.router.books import AWAY, Book
from services.router.refusals import Refused
from services.router.shell import Router
from services.router.trading import VALID_MS, Away, Notice, Outcome, Sent, Unknown
from services.router.trading import Refused as NotTaken
from services.runtime.errors import cause_of
from services.runtime.lease import get_lease, keep_lease
from services.runtime.log import Outgoing
from services.runtime.status import Status
from tests.router.place import Place
from tests.simulation.simlog import Topic
from tests.simulation.stores import SimLease
from tests.simulation.world import START_MS, Process, SimClock, Wait, World

RATE = 60
"""A market's hour is a minute of the world."""
FIRST = START_MS // MS_PER_HOUR + 1
SHARDS = 2


class Gateway:
    """`trading.Exchange`, and what may become of a request on its way. Chances in thousandths."""

    def __init__(self, exchange: Exchange) -> None:
        self._outside = exchange
        self.away = self.lost = self.unheard = self.late = self.refused = 0
        """Not there; lost on its way in; done, and the answer lost; done after a while, when nobody waits any more; refused
        because somebody else was faster."""
        self.is_down = False
        self.open = self.open_most = 0
        self.open_of: dict[int, int] = {}
        self.asked = 0

    async def place(self, order: Sent) -> Outcome:
        self.open_of[order.account] = self.open_of.get(order.account, 0) + 1
        try:
            return await self._ask(lambda: self._outside.place.place(order))
        finally:
            self.open_of[order.account] -= 1

    async def cancel(self, account: int, order: int) -> Outcome:
        return await self._ask(lambda: self._outside.place.cancel(account, order))

    async def _ask(self, do: Any) -> Outcome:
        world = self._outside.world
        chance = world.chance("gateway")
        self.asked += 1
        if self.is_down:
            await Wait(world.now_ms + 2)
            return Away("nobody there", is_everything=True)
        self.open += 1
        self.open_most = max(self.open_most, self.open)
        try:
            await Wait(world.now_ms + chance.randrange(1, 40))
            return await self._outcome(do, chance.randrange(1000))
        finally:
            self.open -= 1

    async def _outcome(self, do: Any, draw: int) -> Outcome:
        world = self._outside.world
        if draw < self.away:
            return Away("not_ready")
        draw -= self.away
        if draw < self.refused:
            return NotTaken("cannot_fill")
        draw -= self.refused
        if draw < self.lost:
            await Wait(world.now_ms + 500)
            return Unknown("lost")
        draw -= self.lost
        if draw < self.late:
            world.later(world.chance("gateway").randrange(600, VALID_MS), do)
            await Wait(world.now_ms + 500)
            return Unknown("late")
        outcome: Outcome = do()
        await Wait(world.now_ms + world.chance("gateway").randrange(1, 20))
        return Unknown("unheard") if draw - self.late < self.unheard else outcome


class Webhooks:
    """`trading.Hooks`, of one life."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ended: list[tuple[Notice, bool]] = []

    def tell(self, notice: Notice) -> None:
        self._exchange.told.append(notice)
        if self._exchange.webhooks != "silent":
            self._ended.append((notice, self._exchange.webhooks == "take"))

    def ended(self) -> list[tuple[Notice, bool]]:
        ended, self._ended = self._ended, []
        return ended

    def key(self, rental: int) -> str:
        return f"key of {rental}"


class Exchange:
    """What outlives a router: topics, the lease, the place."""

    def __init__(self, seed: int, *, rate: int = RATE) -> None:
        self.world = World(seed)
        self.rentals = Topic(self.world, "rentals", 0, may_repeat=False)
        self.events = [Topic(self.world, "events", shard, may_repeat=True) for shard in range(SHARDS)]
        self.lease = SimLease(self.world)
        self.clock = MarketClock(START_MS, rate, sandbox=True)
        self.place = Place(lambda: self.market_ms, self._say)
        self.gateway = Gateway(self)
        self.market_away = False
        self.books_read = 0
        self.webhooks: Literal["take", "refuse", "silent"] = "take"
        """What addresses do that are told something; of those that are silent nothing is known before the life ends."""
        self.told: list[Notice] = []
        self.router: Router | None = None
        self.inbox: list[Any] = []
        self.lives = 0
        self.alive: list[Process] = []
        self._seqs, self._chains = [0] * SHARDS, [CHAIN_START] * SHARDS
        self.place.begin()
        self.world.spawn("time", self._time())

    @property
    def market_ms(self) -> int:
        return self.clock.market_ms(self.world.now_ms)

    def _say(self, shard: int, events: tuple[Event, ...]) -> None:
        sealed = seal(
            shard, self._seqs[shard], self._chains[shard], self._seqs[shard], self.market_ms,
            Frame(WRITER_OPERATOR, 1, ()), events,
        )  # fmt: skip
        self._seqs[shard], self._chains[shard] = sealed[-1].seq, sealed[-1].chain
        self.events[shard].land([Outgoing(one.body, [*one.headers, epoch_header(1)]) for one in sealed])

    async def _time(self) -> None:
        while True:
            await Wait(self.world.now_ms + 200)
            self.place.pass_time()

    # --- What the router asks ----------------------------------------------------------------------------------

    async def books(self, symbols: Collection[str]) -> Mapping[str, Book]:
        """`trading.Reading`."""
        await Wait(self.world.now_ms + 5)
        self.books_read += len(set(symbols))
        return dict.fromkeys(symbols, AWAY) if self.market_away else self.place.books(symbols)

    # --- Routers -----------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Start one more; it waits for the lease."""
        self.lives += 1
        clock, status, holder = SimClock(self.world), Status(f"router-{self.lives}"), f"life {self.lives}"

        async def life() -> None:
            epoch = await get_lease(self.lease, holder, clock, status, "router")
            router = Router(
                epoch, self.rentals.log(), [topic.log() for topic in self.events], self.gateway, self, Webhooks(self),
                self.clock, clock, status,
            )  # fmt: skip
            inbox: list[tuple[str, tuple[Any, ...], list[Any]]] = []
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self.lease, holder, epoch, clock, "router"))
                await router.load()
                self.router, self.inbox = router, inbox
                for shard in range(SHARDS):
                    tasks.create_task(router.follow(shard))
                tasks.create_task(router.work(tasks))
                while True:
                    await clock.sleep_ms(5)
                    if self.router is None:  # who took over is gone, or never came
                        self.router, self.inbox = router, inbox
                    while inbox:
                        tasks.create_task(_answer(router, *inbox.pop(0)))

        self.alive.append(self.world.spawn("life", life()))

    def kill(self) -> None:
        for process in self.alive:
            if process.alive:
                self.world.kill(process)
        self.alive, self.router = [], None

    def fault_of(self) -> BaseException | None:
        """Of a life that has ended by itself; it is told of once."""
        ended = next((p for p in self.alive if isinstance(p.ended, BaseException)), None)
        if ended is None:
            return None
        self.alive.remove(ended)
        self.router = None
        return cause_of(ended.ended)  # type: ignore[arg-type]  # asked above

    def ask(self, what: str, *words: Any) -> list[Any]:
        """A request: its answer will be in the list that comes back."""
        answer: list[Any] = []
        self.inbox.append((what, words, answer))
        return answer

    def rent(self, account: int, key: str, **terms: Any) -> list[Any]:
        given = {"classes": ("ONE.X",), "gpus": 2, "max_price": "3"} | terms
        return self.ask("make", account, key, RentalRequest(**given))

    def recorded(self) -> list[RentalRecord]:
        return [msgspec.msgpack.decode(record.value, type=RentalRecord) for record in self.rentals.all()]

    def run_ms(self, duration_ms: int) -> None:
        self.world.run_ms(duration_ms)
        fault = self.fault_of()
        if fault is not None:
            raise fault

    def begin(self) -> Router:
        """The first life, ready."""
        self.live()
        self.world.run(lambda: self.router is not None)
        assert self.router is not None
        return self.router

    def close(self) -> None:
        for process in list(self.world.processes):
            self.world.kill(process)


async def _answer(router: Router, what: str, words: tuple[Any, ...], answer: list[Any]) -> None:
    try:
        said = getattr(router, what)(*words)
        answer.append(await said if asyncio.iscoroutine(said) else said)
    except Refused as error:
        answer.append(error)
