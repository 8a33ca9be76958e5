"""The room's own coroutines in a simulated world: killed anywhere, superseded; agents that crash, come late and say things twice.

A market sells hours of two providers. Each of their machines has an agent, which lets in whom it was told to, remembers that over
a crash, and says what it has said before. The exchange's login is asked of the machine itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.agents import Enrolment, Gpu, Heartbeat, Lease, LeaseReport
from schemas.codec import CHAIN_START, WRITER_OPERATOR, Frame, epoch_header, seal
from schemas.commands import Fees, Ground
from schemas.delivery import Delivered
from schemas.edge import iso_hour
from schemas.events import ClassSet, Event, Filled, GateClosed, HourEnded, OrderAccepted, TitleEnded, TitleMove
from schemas.ids import contract_of, hour_of
from schemas.leases import LeaseRecord, LeaseServes, TitleCounted
from schemas.market_clock import MarketClock
from schemas.rental import LaunchNaming, LaunchRequest, MaintenanceRequest, MaintenanceWindow
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.audit.leases import Leases
from services.audit.report import Findings
from services.delivery.maintenance import is_out
from services.delivery.refusals import Refused
from services.delivery.shell import Delivery, Setup
from services.delivery.state import State
from services.runtime.errors import Superseded, cause_of
from services.runtime.lease import get_lease, keep_lease
from services.runtime.log import LogError, Outgoing
from services.runtime.status import Status
from tests.simulation.simlog import Topic
from tests.simulation.stores import SimLease
from tests.simulation.world import START_MS, Process, SimClock, Wait, World

CLASS = 1
FIRST = START_MS // MS_PER_HOUR + 1
HOURS = 4
RATE = 60
"""A market's hour is a minute of the world."""
PROVIDERS = (11, 12)
HOLDERS = (21, 22, 23)
LAUNCHES = ("train", "serve")
SEATS = 2
SETUP_MINUTES = 5
SEEDS = int(os.environ.get("HOURBOOK_SEEDS") or 8)


class Machine:
    """A machine and its agent. What it lets in is on its disk; the agent's own memory is lost when it crashes."""

    def __init__(self, world: Exchange, provider: int, name: str) -> None:
        self.outside = world
        self.provider = provider
        self.name = name
        self.there: tuple[int, ...] = tuple(range(SEATS))
        """Its GPUs, by number: one may be missing after a crash, and be there again after another."""
        self.let: dict[str, Lease] = {}
        """On its disk."""
        self.down_until = 0
        self.served: list[tuple[int, int, str, str]] = []
        """(from, until, seat, lease) in wall time."""
        self._open: dict[tuple[str, str], int] = {}
        self.old: list[Heartbeat] = []

    @property
    def host(self) -> str:
        return f"{self.provider}-{self.name}"

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Those that are there now."""
        return tuple(Gpu(uuid=f"{self.provider}-{self.name}-{seat}", name="CPU") for seat in self.there)

    def look(self) -> None:
        """Doors open and close by the clock, whether or not anybody is there to say so."""
        now = self.outside.world.now_ms
        wanted = {
            (seat, lease.lease)
            for lease in self.let.values()
            if lease.from_ms <= now < lease.until_ms and now >= self.down_until
            for seat in lease.seats
        }
        for door in sorted(set(self._open) - wanted):
            self.served.append((self._open.pop(door), now, *door))
        for door in sorted(wanted - set(self._open)):
            self._open[door] = now

    def is_open(self, lease: int) -> bool:
        self.look()
        return any(door[1] == str(lease) for door in self._open)

    async def agent(self) -> None:
        """One life: until it is killed."""
        chance = self.outside.world.chance(f"agent {self.provider} {self.name}")
        clock = SimClock(self.outside.world)
        seq, nonce, instance = 0, "", f"{chance.random()}"
        while True:
            await clock.sleep_ms(50 + chance.randrange(200))
            self.look()
            if self.outside.room is None or self.outside.world.now_ms < self.down_until:
                continue
            try:
                if not nonce:
                    asked = Enrolment(
                        machine=self.name, class_id="TEST", instance=instance, boot_id="b", agent_version="1",
                        source="declared", driver="open", host=self.host, inventory=self.gpus,
                    )  # fmt: skip
                    nonce, seq = (await self.outside.ask("enrol", self.provider, asked)).nonce, 0
                    continue
                if self.old and chance.random() < 0.1:
                    await self._say_again(chance.choice(self.old))
                seq += 1
                said = Heartbeat(
                    instance=instance, seq=seq, nonce=nonce, boot_id="b", sent_at_ms=0, inventory=self.gpus,
                    leases=tuple(self._report(name) for name in sorted(self.let)),
                )  # fmt: skip
                self.old.append(said)
                answer = await self.outside.ask("beat", self.provider, self.name, said)
                if chance.random() < 0.05:
                    continue  # the answer was lost, and the next heartbeat has an old nonce
                nonce = answer.nonce
                self.let = {lease.lease: lease for lease in answer.leases}
                self.look()
            except Refused as error:
                if error.code not in {"unknown_machine", "stale_heartbeat", "agent_running", "not_ready"}:
                    raise
                nonce = ""
            except TimeoutError:
                nonce = ""  # this life of the room is over: nobody answers

    async def _say_again(self, heartbeat: Heartbeat) -> None:
        """Somebody has recorded it; or it was long under way."""
        with contextlib.suppress(Refused, TimeoutError):
            await self.outside.ask("beat", self.provider, self.name, heartbeat)

    def _report(self, name: str) -> LeaseReport:
        state = "open" if self.is_open(int(name)) else "preparing"
        return LeaseReport(lease=name, state=state, port=int(name), user="u", host_key="k")


class Exchange:
    """What outlives a room: topics, the lease, machines."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.events = Topic(self.world, "events", 0, may_repeat=True)
        self.leases = Topic(self.world, "leases", 0, may_repeat=False)
        self.delivery = Topic(self.world, "delivery", 0, may_repeat=False)
        self.leases.faults.unknown = self.leases.faults.refused = 20
        self.leases.faults.parted = 300
        self.leases.faults.late_ms_max = 400
        self.delivery.faults.unknown = 20
        self.lease = SimLease(self.world)
        self.clock = MarketClock(START_MS, RATE, sandbox=True)
        self.room: Delivery | None = None
        self.inbox: list[Any] = []
        """Requests to the room that lives now."""
        self.lives = 0
        self.alive: list[Process] = []
        self.sold: dict[tuple[int, int], TitleEnded] = {}
        """(contract, title) → as the engine would say it at the hour's end."""
        self.launches: dict[tuple[int, int], str] = {}
        """What each title's order named."""
        self.market_over = False
        self.machines = [Machine(self, provider, f"m{n}") for provider in PROVIDERS for n in range(2)]
        self.agents: dict[int, Process] = {}
        self._seq, self._chain, self._titles = 0, CHAIN_START, 0
        self.world.spawn("market", self._market())
        self.world.spawn("plans", self._plans())

    # --- The market ------------------------------------------------------------------------------------------

    def say(self, *events: Event) -> None:
        """A record of `events`."""
        sealed = seal(0, self._seq, self._chain, self._seq, self.world.now_ms, Frame(WRITER_OPERATOR, 1, ()), events)
        self._seq, self._chain = sealed[-1].seq, sealed[-1].chain
        self.events.land([Outgoing(one.body, [*one.headers, epoch_header(1)]) for one in sealed])

    async def sell(self, hour: int, *, running: bool = False) -> None:
        """Somebody sells something; sometimes more than there is. The buyer's order may name a specification."""
        chance = self.world.chance("market")
        obligor, holder, qty = chance.choice(PROVIDERS), chance.choice(HOLDERS), chance.randrange(1, 4)
        self._titles += 1
        order, launch = self._titles, chance.choice(("", *LAUNCHES))
        if launch and not await self._name(holder, f"order-{order}", launch, hour):
            return
        left = ((hour + 1) * MS_PER_HOUR - self.clock.market_ms(self.world.now_ms)) // MS_PER_MINUTE
        minutes = left if running else 60
        if minutes <= 1:
            return
        ground = Ground.DECLARED if minutes == 60 else Ground.READY
        contract = contract_of(CLASS, hour)
        # Prices are often alike, so that machines are exchanged.
        cost = qty * chance.choice((100, 100, 101))
        move = TitleMove(0, order, ground, qty, cost, cost, 0)
        self.say(
            OrderAccepted(0, order, holder, contract, 1, qty, 100, 1, 0, f"order-{order}", 0, 0),
            Filled(order, contract, 100, qty, minutes, 1, 0, order, 0, 0, holder, obligor, 100, 0, 0, (move,)),
        )
        self.sold[contract, order] = TitleEnded(
            contract, order, obligor, holder, ground, qty, minutes, cost, cost, cost
        )
        self.launches[contract, order] = launch or "default"

    async def _name(self, holder: int, client_id: str, launch: str, hour: int) -> bool:
        """As a gateway does, until a room has answered. False: meanwhile the hour is over."""
        asked = LaunchNaming(client_order_id=client_id, launch=launch, hour=hour)
        while True:
            await Wait(self.world.now_ms + 20)
            if self.room is None:
                continue
            try:
                await self.ask("put_launch", holder, launch, LaunchRequest(ssh_keys=()))
                await self.ask("name_launch", holder, asked)
            except TimeoutError:
                continue
            except Refused as error:
                if error.code == "unknown_contract":
                    return False
                if error.code != "not_ready":
                    raise
            else:
                return True

    async def _market(self) -> None:
        chance = self.world.chance("market")
        self.say(ClassSet(0, 1, CLASS, "TEST", 1, 1, 100, Fees(), 48, 300_000, 1_800_000, 60_000, 5_000, 20_000, 0))
        await self._at(FIRST * MS_PER_HOUR - 20 * MS_PER_MINUTE)
        for hour in range(FIRST, FIRST + HOURS):
            for _ in range(chance.randrange(1, 5)):
                await self.sell(hour)
            await self._at(hour * MS_PER_HOUR - 5 * MS_PER_MINUTE)
            self.say(GateClosed(contract_of(CLASS, hour)))
            if hour > FIRST:
                # In the last minutes of an hour somebody wants a machine at once.
                await self.sell(hour - 1, running=True)
                await self._at(hour * MS_PER_HOUR)
                self.say(HourEnded(contract_of(CLASS, hour - 1), 0, 0, 0))
            await self._at(hour * MS_PER_HOUR + 40 * MS_PER_MINUTE)
        await self._at((FIRST + HOURS) * MS_PER_HOUR)
        self.say(HourEnded(contract_of(CLASS, FIRST + HOURS - 1), 0, 0, 0))
        self.market_over = True

    async def _at(self, market_ms: int) -> None:
        await Wait(self.clock.wall_ms(market_ms))

    async def _plans(self) -> None:
        """Providers take machines away for an hour or two to come, and change their minds."""
        chance = self.world.chance("plans")
        while not self.market_over:
            await Wait(self.world.now_ms + chance.randrange(2_000, 20_000))
            machine = chance.choice(self.machines)
            begin = self.clock.market_ms(self.world.now_ms) // MS_PER_HOUR + chance.randrange(1, 3)
            window = MaintenanceWindow(from_hour=iso_hour(begin), until=iso_hour(begin + chance.randrange(1, 3)))
            asked = MaintenanceRequest(windows=(window,) if chance.random() < 0.7 else ())
            with contextlib.suppress(TimeoutError):
                try:
                    await self.ask("maintain", machine.provider, machine.name, asked)
                except Refused as error:
                    if error.code not in {"unknown_machine", "wrong_window", "not_ready"}:
                        raise

    # --- The room --------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Start a room."""
        self.lives += 1
        clock, status, holder = SimClock(self.world), Status(f"delivery-{self.lives}"), f"life {self.lives}"

        async def setup(_: int) -> int:
            return SETUP_MINUTES

        async def life() -> None:
            epoch = await get_lease(self.lease, holder, clock, status, "delivery")
            room = Delivery(
                epoch, self.leases.log(), [self.events.log()], self.delivery.log(), Setup(setup), self, self.clock,
                clock, status,
            )  # fmt: skip
            inbox: list[tuple[str, tuple[Any, ...], list[Any]]] = []
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_lease(self.lease, holder, epoch, clock, "delivery"))
                await room.load()
                self.room, self.inbox = room, inbox
                tasks.create_task(room.follow(0))
                tasks.create_task(self._looks(room, clock))
                while True:
                    await clock.sleep_ms(5)
                    while inbox:
                        tasks.create_task(_answer(room, *inbox.pop(0)))

        self.alive = [self.world.spawn("life", life())]

    async def ask(self, what: str, *words: Any) -> Any:
        """A request and its answer. Raises Refused, TimeoutError: the room that was asked is no more."""
        answer: list[Any] = []
        inbox = self.inbox
        inbox.append((what, words, answer))
        until = self.world.now_ms + 10_000
        while not answer:
            if self.world.now_ms > until or inbox is not self.inbox:
                raise TimeoutError
            await Wait(self.world.now_ms + 10)
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    async def _looks(self, room: Delivery, clock: SimClock) -> None:
        """`Delivery.look_around`, its checks one after the other."""
        while True:
            await clock.sleep_ms(200)
            await room.decide()
            for lease in room._to_check():
                await room._check(lease)

    public_key = "ssh-ed25519 probe"

    async def fault(self, host: str, port: int, user: str, host_key: str) -> str:
        """In place of `checking.Probe`: each machine is a host, each lease a port."""
        assert (user, host_key) == ("u", "k")
        await Wait(self.world.now_ms + 5)
        machine = next(each for each in self.machines if each.host == host)
        return "" if machine.is_open(port) else "nobody is at the door"

    def kill(self) -> None:
        for process in self.alive:
            if process.alive:
                self.world.kill(process)
        self.alive, self.room = [], None

    def fault_of(self) -> BaseException | None:
        ended = next((p.ended for p in self.alive if isinstance(p.ended, BaseException)), None)
        return None if ended is None else cause_of(ended)

    # --- A day -----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until every hour is told; rooms and agents are killed on the way."""
        chance = self.world.chance("faults")
        for number, machine in enumerate(self.machines):
            self.agents[number] = self.world.spawn("agent", machine.agent())
        self.live()
        until = self.world.now_ms + 900_000
        due = self.world.now_ms + 3_000
        while not (self.market_over and self._all_told()):
            assert self.world.now_ms < until, (
                f"nothing comes any more: {self.fault_of()!r} {list(self.world.trace)[-5:]}"
            )
            self.world.step()
            ended = self.fault_of()
            if ended is not None:
                assert isinstance(ended, LogError | Superseded), repr(ended)
                self.kill()
                self.live()
            if self.world.now_ms >= due and not self.market_over:
                due = self.world.now_ms + chance.randrange(1_000, 12_000)
                self._hurt(chance.randrange(3))
        for machine in self.machines:
            machine.let = {}
            machine.look()
        for process in list(self.world.processes):
            self.world.kill(process)

    def _hurt(self, what: int) -> None:
        chance = self.world.chance("faults")
        if what == 0:
            self.kill()
            self.live()
            return
        number = chance.randrange(len(self.machines))
        machine = self.machines[number]
        self.world.kill(self.agents[number])
        if chance.random() < 0.3:
            machine.there = chance.choice(((0,), (1,), (0, 1), (0, 1)))
        if what == 1:  # the machine is away for a while, and its tenants with it
            machine.down_until = self.world.now_ms + chance.randrange(500, 15_000)
        self.agents[number] = self.world.spawn("agent", machine.agent())

    def _all_told(self) -> bool:
        told = {each.contract for each in self.delivered()}
        return {contract for contract, _ in self.sold} <= told and self.room is not None and not self.room.market.ended

    def delivered(self) -> list[Delivered]:
        return [msgspec.msgpack.decode(record.value, type=Delivered) for record in self.delivery.all()]

    def audited(self) -> dict[str, list[str]]:
        """What the auditor finds in the room's log and in what it told, by invariant."""
        found = Findings()
        leases = Leases(found)
        for record in self.leases.all():
            leases.take(record.offset, record.value)
        leases.hear(self.sold.values())
        leases.finish([(record.offset, record.value) for record in self.delivery.all()])
        assert found["H1"].looked_at
        assert found["H3"].looked_at
        return {finding.name: finding.breaches for finding in found if finding.broken}

    def recorded(self) -> Iterator[LeaseRecord]:
        for record in self.leases.all():
            yield msgspec.msgpack.decode(record.value, type=LeaseRecord)


async def _answer(room: Delivery, what: str, words: tuple[Any, ...], answer: list[Any]) -> None:
    try:
        answer.append(await getattr(room, what)(*words))
    except Refused as error:
        answer.append(error)


def overlaps(served: list[tuple[int, int, str, str]]) -> list[Any]:
    """Two leases on one seat at one time."""
    by_seat: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for begin, end, seat, lease in served:
        if begin < end:
            by_seat[seat].append((begin, end, lease))
    return [
        (seat, one, other)
        for seat, spans in by_seat.items()
        for one in spans
        for other in spans
        if one[2] < other[2] and max(one[0], other[0]) < min(one[1], other[1])
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_machine_serves_two_buyers_at_one_time_and_minutes_add_up(seed: int) -> None:
    exchange = Exchange(seed)
    exchange.run()

    # Machines themselves: nobody asks the room.
    assert [clash for machine in exchange.machines for clash in overlaps(machine.served)] == []
    assert sum(len(machine.served) for machine in exchange.machines) > 0
    # Every title is told, and never two different things of one.
    told: dict[tuple[int, int], set[tuple[Any, ...]]] = defaultdict(set)
    for each in exchange.delivered():
        told[each.contract, each.title].add((each.undelivered, each.moved, each.refunds))
    assert set(told) == set(exchange.sold)
    assert [key for key, words in told.items() if len(words) != 1] == []
    # What the log has is what whoever reads it later goes by.
    state, counted = State(), {}
    begun: dict[int, str] = {}
    for record in exchange.recorded():
        if not state.take(record):
            continue
        if isinstance(record, LeaseServes) and record.lease not in begun:
            begun[record.lease] = record.launch
            named = {exchange.launches[record.contract, served.title] for served in record.titles}
            assert named == {record.launch}
        if isinstance(record, TitleCounted):
            assert (record.contract, record.title) not in counted, "counted twice"
            counted[record.contract, record.title] = record
        for lease in state.leases.values():
            away = state.maintenance.get(lease.machine, ())
            hours = {hour_of(part.contract) for part in lease.parts if part.from_ms > record.time_ms}
            assert not any(is_out(away, hour) for hour in hours), "given away in a window"
    assert begun
    for key, record in counted.items():
        minutes = exchange.sold[key].minutes
        assert record.delivered + record.allowance + record.undelivered == minutes
        assert told[key] == {(record.undelivered, record.moved, record.refunds)}
    assert set(counted) == set(exchange.sold)
    assert exchange.audited() == {}
    assert exchange.lives > 1
