"""A week of the market in one process: the sandbox's own population on the simulated exchange, and the desk among it.

Production code plays most parts: the desk (`services.market_maker`), demo members and the cloud that procures and delivers
(`services.simulated`), market data with its references, all through their own HTTP clients. Around them: catalogues that move,
fall silent and talk nonsense; market makers who quote; a trader and a dealer who draw every other kind of order; faults.

The desk lives by market time: its process's clock, and its loop's, run as fast as the market.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any, Final

import msgspec

from schemas import requests as rq
from schemas.commands import Fees, Ground, Role
from schemas.supply import ClassReference, OfferGone, OfferSeen, PollDone
from schemas.units import MS_PER_HOUR
from services.gateway.auth import Caller
from services.market_data import __main__ as market_data_main
from services.market_maker.client import GatewayClient
from services.market_maker.client import Key as DeskKey
from services.market_maker.desk import Desk
from services.market_maker.limits import Limits, packaged_limits
from services.runtime.log import Outgoing
from services.runtime.status import Status
from services.simulated.client import Client, Key
from services.simulated.cloud import Cloud
from services.simulated.members import Member, Members
from tests.market_maker.market import Page
from tests.simulation.bank import FAUCET, MAKERS
from tests.simulation.dealers import Dealer
from tests.simulation.exchange import Exchange
from tests.simulation.members import ACCOUNTS, OPERATOR, OWNERS, Line, Trader, role_of
from tests.simulation.officers import Officer
from tests.simulation.simhttp import GatewayTransport
from tests.simulation.world import START_MS, Process, SimClock, Wait, World

RATE: Final = 600
"""An hour of the market in six seconds."""
DESK, TRADER = 9, 10
"""Accounts beside those of `members`."""
CLOUDS: Final = ("alpha", "beta", "gamma")
SECONDS: Final = 1_000
LIMITS: Final = msgspec.structs.replace(
    packaged_limits(),
    capital_micros=400_000_000_000,
    gpus_max=12,
    gpu_hours_max=400,
    loss_per_day_micros=50_000_000_000,
    stale_after_ms=2_700_000,
    settle_ms=1_200_000,
    window_hours=16,
    cover_lead_ms=1_800_000,
    running_gpus=4,
    dead_man_ms=7_200_000,
    order_valid_ms=5_000,
    refresh_ms=1_200_000,
)
"""Times in the market's milliseconds."""


class MarketProcess(Process):
    """A process whose loop counts the market's seconds."""

    def __init__(self, world: World, name: str, run: Coroutine[Any, Any, None], rate: int) -> None:
        self._rate = rate
        super().__init__(world, name, run)

    def time(self) -> float:
        return super().time() * self._rate

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.world.wake(timer, START_MS + -(-round(when * SECONDS) // self._rate), self)
        return timer


class MarketClock(SimClock):
    """`services.runtime.log.Clock` of whoever takes the market's time for the world's."""

    def __init__(self, world: World, rate: int) -> None:
        super().__init__(world)
        self._rate = rate

    def now_ms(self) -> int:
        return START_MS + self._rate * (self.world.now_ms - START_MS)

    def elapsed_ms(self) -> int:
        return self.now_ms()

    async def sleep_ms(self, duration_ms: int) -> None:
        await super().sleep_ms(-(-duration_ms // self._rate))


class WeekExchange(Exchange):
    """An exchange with that population."""

    classes = {1: (1, 10_000, 2_500_000), 2: (1, 5_000, 800_000), 3: (2, 20_000, 6_000_000)}  # noqa: RUF012 # as of its parent
    killable = ("matching", "settlement", "gateway", "desk", "market_data")

    def __init__(self, seed: int, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self.page = Page()
        self.desk_status = Status("market_maker")
        self.cloud_status = Status("cloud")
        self.members_status = Status("members")
        super().__init__(seed, rate=RATE, version=2)
        self.statuses["desk"] = self.desk_status
        self._keep("market_data", lambda: market_data_main.serve(self._begun("market_data")))
        self._keep("desk", self._desk)

    def opening(self) -> Iterator[rq.Request]:
        for account in (*ACCOUNTS, DESK, TRADER):
            owner = OWNERS.get(account, account)
            role = Role.MARKET_MAKER if account == DESK else role_of(account) if account in ACCOUNTS else Role.MEMBER
            name = "the desk" if account == DESK else f"account {account}"
            yield rq.OpenAccount(f"open-{account}", owner if owner < account else 0, name, role, desk=account == DESK)
        for class_no, (lot, tick, list_price) in self.classes.items():
            yield rq.ListClass(
                f"list-{class_no}", self.shard_of(class_no), f"SIM.{class_no}", b"", lot, tick, list_price, Fees(),
                horizon_hours=30,
            )  # fmt: skip
        for account in (*ACCOUNTS, DESK, TRADER):
            amount = 2_000_000_000_000 if account == DESK else 50_000_000_000
            yield rq.Deposit(f"first-{account}", account, amount, FAUCET, f"first-{account}")
        for account in MAKERS:
            for shard in range(self.shards):
                yield rq.ToTrading(f"trade-{account}-{shard}", account, shard, 15_000_000_000)

    def cast(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._catalogues(),
            self._cloud(),
            self._members(),
            *(self._backs(account) for account in MAKERS),
            Trader(self, "trader", pause_ms=1_500).run(),
            Dealer(self, "dealer", pause_ms=1_500).run(),
            Dealer(self, "quoter", pause_ms=1_500).run(),
            Officer(self, "officer", pause_ms=1_500).run(),
        ]

    def _launch(self, name: str, pause_ms: int) -> None:
        if name != "desk":
            super()._launch(name, pause_ms)
            return

        async def run() -> None:
            await Wait(self.world.now_ms + pause_ms)
            await self._starts[name]()

        process = self.running[name] = MarketProcess(self.world, name, run(), self.rate)
        self.world.processes.append(process)
        process.on_end = self._ended

    # --- Production code -------------------------------------------------------------------------------------------

    def _transport(self, who: Caller, name: str, **kwargs: Any) -> GatewayTransport:
        return GatewayTransport(self, Line(self, self.world.chance(name)), who, **kwargs)

    async def _desk(self) -> None:
        """`services.market_maker.__main__.serve`, with a key and a transport of ours."""
        await Wait(self.world.now_ms + 600_000, *([] if "open" in self.did else [self.opened]))
        clock, limits = MarketClock(self.world, self.rate), self.limits
        who = Caller("key-desk", DESK, DESK, ("read", "trade", "supply"))
        self.did["desk began"] += 1
        async with GatewayClient(
            "http://gateway",
            DeskKey("key-desk", bytes(32)),
            clock,
            limits.requests_per_second,
            limits.order_valid_ms,
            f"{clock.now_ms():x}",
            transport=self._transport(who, "desk line", amended=self._in_world_time),
        ) as client:
            desk = Desk(client, limits, clock, self.desk_status, self.page)  # type: ignore[arg-type]  # a page in memory
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(desk.follow(self.cluster.log("offers")))
                tasks.create_task(desk.trade())

    def _in_world_time(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The gateway takes seconds of the world and makes the market's of them; the desk says the market's."""
        if path == "/v1/cancel-all-after":
            body["after_seconds"] = -(-body["after_seconds"] // self.rate)
        return body

    async def _cloud(self) -> None:
        await Wait(self.world.now_ms + 600_000, self.opened)
        key = Key("operator", bytes(32), 0)
        async with Client("http://gateway", key, SimClock(self.world), self._transport(OPERATOR, "cloud")) as client:
            cloud = Cloud(client, SimClock(self.world), self.cloud_status, str(self.world.seed))
            await self._until_closed(cloud.run())

    async def _members(self) -> None:
        await Wait(self.world.now_ms + 600_000, self.opened)
        kinds = {1: "provider", 4: "provider", 7: "provider", 3: "buyer", 6: "buyer", TRADER: "trader"}
        clock, seed = SimClock(self.world), str(self.world.seed)
        members = []
        for account, kind in kinds.items():
            who = Caller(f"key-{account}", account, OWNERS.get(account, account), ("read", "trade", "supply"))
            transport = self._transport(who, f"member {account}")
            client = Client("http://gateway", Key(who.key_id, bytes(32), account), clock, transport)
            members.append(Member(f"demo-{kind}-{account}", kind, client, seed))  # type: ignore[arg-type]  # a kind
        run = Members(members, clock, self.members_status, seed=seed, per_minute=1_200, run="week")
        await self._until_closed(run.run())

    async def _until_closed(self, run: Coroutine[Any, Any, None]) -> None:
        """What runs for ever, until the market closes; what is under way then is left as it is, as by a kill."""
        task = asyncio.get_running_loop().create_task(run)
        while self.open and not task.done():
            await Wait(self.world.now_ms + 500)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # --- The world outside -----------------------------------------------------------------------------------------

    async def _catalogues(self) -> None:
        """Prices of three clouds walk; now and then one falls silent, lists nonsense, or drops out."""
        chance, log = self.world.chance("catalogues"), self.cluster.log("offers")
        factors = {
            (cloud, class_no): 100 + 4 * place for place, cloud in enumerate(CLOUDS) for class_no in self.classes
        }
        silent_until = dict.fromkeys(CLOUDS, 0)
        while self.open:
            now_ms = self.market_ms()
            records: list[msgspec.Struct] = []
            for cloud in CLOUDS:
                if silent_until[cloud] > now_ms:
                    continue
                if chance.random() < 0.004:
                    silent_until[cloud] = now_ms + chance.randint(1, 4) * MS_PER_HOUR
                    self.did["a catalogue fell silent"] += 1
                    continue
                for class_no, (lot, _, list_price) in self.classes.items():
                    factor = factors[cloud, class_no]
                    factors[cloud, class_no] = min(150, max(70, factor + chance.choice([-1, 0, 0, 0, 0, 1])))
                    price, kind, gpus = list_price * factor // 100, "on_demand", lot
                    draw = chance.random()
                    if draw < 0.004:
                        price = chance.choice([1, price // 1_000, price * 1_000])
                        self.did["a catalogue listed nonsense"] += 1
                    elif draw < 0.008:
                        records.append(OfferGone(cloud, "here", f"vm-{class_no}", kind, now_ms))
                        self.did["a catalogue dropped an offer"] += 1
                        continue
                    records.append(
                        OfferSeen(
                            cloud, "here", f"vm-{class_no}", kind, f"SIM.{class_no}", gpus, price, 8, 65_536,
                            "simulated catalogue", now_ms, now_ms, cloud,
                        )
                    )  # fmt: skip
                records.append(PollDone(cloud, len(self.classes), len(self.classes), 0, {}, now_ms, now_ms))
            for class_no, (_, _, list_price) in self.classes.items():
                prices = sorted(list_price * factors[cloud, class_no] // 100 for cloud in CLOUDS)
                records.append(ClassReference(f"SIM.{class_no}", prices[1], prices[0], 3, 3, now_ms))
            await log.append([Outgoing(msgspec.msgpack.encode(record)) for record in records])
            await Wait(self.world.now_ms + 2_000)

    async def _backs(self, account: int) -> None:
        """A market maker keeps its promises up: an hour more every hour, and something for the hour that runs."""
        await Wait(self.world.now_ms + 600_000, self.opened)
        line, drawn = Line(self, self.world.chance(f"backs {account}")), 0
        while self.open:
            hour = self.market_ms() // MS_PER_HOUR
            for class_no, (lot, _, list_price) in self.classes.items():
                for ground, hours, qty in (
                    (Ground.PROMISED, tuple(range(hour + 2, hour + 14)), 6 * lot),
                    (Ground.READY, (hour, hour + 1), 2 * lot),
                ):
                    drawn += 1
                    request = rq.Back(
                        f"{account}:backs-{drawn}",
                        account,
                        class_no,
                        hours,
                        ground,
                        qty,
                        4 * list_price,
                        self.market_ms(),
                    )
                    await line.ask(lambda gateway: gateway.requests.ask(request))  # noqa: B023 # asked at once
            await Wait(self.world.now_ms + 6_000)
