"""The room at work: reads `leases` and `events`, decides, records, and tells settlement what was delivered.

1. `load`: a record says that this room has begun, `leases` is read up to it, then `events` of every shard. Until then nobody is
   answered.
2. `follow`: what the market says from then on; each output may give somebody a machine, or end his hour.
3. `look_around`: what only time does, and the login checks.
4. Agents and members ask through `app`.

Every decision is made and recorded under one lock: nobody decides on what is about to change. A record that may or may
not have been written ends this life; the next one reads what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import asyncssh
import msgspec

from schemas import agents, rental
from schemas.delivery import Delivered
from schemas.http import HandoversPreview
from schemas.ids import class_no_of
from schemas.leases import (
    HourTold,
    LaunchPut,
    LeaseChecked,
    LeaseEnded,
    LeaseRecord,
    LeaseServes,
    MachineMaintained,
    MachineRetired,
    RoomBegan,
    TitleCounted,
)
from schemas.market_clock import MarketClock
from schemas.units import MS_PER_HOUR, Millis
from services.delivery import answers, counting, deciding, maintenance, purchases
from services.delivery.checking import Probe
from services.delivery.launching import launch_named
from services.delivery.market import Market
from services.delivery.orders import leases_of
from services.delivery.refusals import Refused
from services.delivery.sessions import ALIVE_MS, Session, Sessions, enrolled
from services.delivery.state import BadRecord, Lease, MachineId, State
from services.delivery.titles import Contradiction
from services.runtime.archive import end_of_whole
from services.runtime.decided import Decided
from services.runtime.log import Clock, Log, Outgoing
from services.runtime.reading import EventsReader
from services.runtime.status import Status

EVERY_MS: Final = 1_000
"""Between an answer and an agent's next heartbeat."""
HOLD_MS: Final = 4_000
"""A heartbeat is answered after so long where nothing new is to be told."""
GRACE_MS: Final = 2 * MS_PER_HOUR
"""While the exchange is away a tenant keeps access for so long after the last end that his agent knows."""
SOON_MS: Final = 200
"""Of both, while a lease is opened or ended."""
LOOK_MS: Final = 200
CHECK_MS: Final = 20_000
"""Between two logins to a machine that works, in market time, so that a fast market's minutes are looked at as often;"""
CHECK_MS_LEAST: Final = 1_000
"""but of our own time no less."""
AGAIN_MS: Final = 250
"""Between two to one that does not (yet)."""
SURE_MS: Final = 500
"""Before a tenant's minutes are lost, a login that failed is tried once more after so long."""
CHECKS_AT_ONCE: Final = 16
FORESIGHT_SHARE: Final = 5
"""Of this room's time previews take at most one part in so many: minutes are counted and leases given meanwhile."""
FORESIGHTS_MAX: Final = 16
"""That wait for their turn; more are answered that nobody knows."""


class Setup:
    """Setup allowance by class, in minutes, from the specification that the class was listed with."""

    def __init__(self, read: Callable[[int], Awaitable[int]]) -> None:
        self._read = read
        self._known: dict[int, int] = {}

    async def minutes(self, class_no: int) -> int:
        """A specification never changes under a class."""
        if class_no not in self._known:
            self._known[class_no] = await self._read(class_no)
        return self._known[class_no]


class Delivery:
    """One life. Raises Halt, Superseded, LogError."""

    def __init__(
        self,
        epoch: int,
        leases: Log,
        events: Sequence[Log],
        records: Log,
        setup: Setup,
        probe: Probe,
        market_clock: MarketClock,
        clock: Clock,
        status: Status,
    ) -> None:
        """`records`: topic `delivery`."""
        self.state = State()
        self.market = Market()
        self.sessions = Sessions()
        self.ready = False
        self._epoch = epoch
        self._leases = Decided[LeaseRecord](leases, LeaseRecord, epoch, self._take, BadRecord)
        self._events = [EventsReader(log) for log in events]
        self._records = records
        self._setup = setup
        self._probe = probe
        self._market_clock = market_clock
        self._clock = clock
        self._status = status
        self._deciding = asyncio.Lock()
        self._news: dict[MachineId, asyncio.Event] = {}
        self._began_ms = clock.elapsed_ms()
        self._checked_ms: dict[int, Millis] = {}
        self._checking: set[int] = set()
        self._foreseeing = asyncio.Lock()
        self._foresights = 0
        """Under way and waiting."""
        self._foresee_from_ms: Millis = 0
        """Elapsed time."""

    @property
    def now_ms(self) -> Millis:
        """Market time."""
        return self._market_clock.market_ms(self._clock.now_ms())

    # --- Step 1 ------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Raises Halt, Superseded."""
        self._status.set(role="recovering")
        await self._leases.begin(RoomBegan(self._epoch, self.now_ms))
        for shard, reader in enumerate(self._events):
            end = await end_of_whole(reader.log)
            while reader.next_offset < end:
                await self._read_events(shard)
        self.ready = True
        self._status.set(role="active")

    def _take(self, record: LeaseRecord) -> None:
        machines = self._machines_of(record)
        if self.state.take(record):
            if isinstance(record, LeaseEnded):
                self._checked_ms.pop(record.lease, None)
            for machine in machines:
                self._news_of(machine).set()

    # --- Step 2 ------------------------------------------------------------------------------------------------

    async def follow(self, shard: int) -> None:
        """For ever."""
        while True:
            if await self._read_events(shard):
                await self.decide()

    async def _read_events(self, shard: int) -> bool:
        reader = self._events[shard]
        records = await reader.read()
        for record in records:
            output = reader.output(record)
            if output is not None:
                try:
                    self.market.take(output, self.state)
                except Contradiction as error:
                    raise reader.halt(record, error) from error
        self._status.set_of(shard, seq=reader.seq)
        return bool(records)

    # --- Deciding ----------------------------------------------------------------------------------------------

    async def decide(self) -> None:
        """Record whatever is due now."""
        async with self._deciding:
            await self._place_titles()
            await self._record(deciding.endings(self.state, self.now_ms))
            for contract in sorted(self.market.ended):
                await self._count(contract)

    async def _place_titles(self) -> None:
        # Taken before anything is waited for: what is sold as ready meanwhile is named anew, and stays for the next time.
        final = self.market.final
        due = [(contract, final.pop(contract)) for contract in sorted(final) if self.state.serves(contract)]
        for contract, numbers in due:
            lot = self.market.lots[class_no_of(contract)]
            await self._record(
                deciding.placements(self.state, self.market.titles, contract, lot, self.now_ms, numbers, self._silent())
            )

    def _silent(self) -> set[MachineId]:
        """Machines whose agents have not been heard of lately. Whoever has just begun has heard of none, and knows nothing."""
        elapsed_ms = self._clock.elapsed_ms()
        if elapsed_ms - self._began_ms < ALIVE_MS:
            return set()
        return self.state.machines.keys() - self.sessions.heard(elapsed_ms)

    async def _count(self, contract: int) -> None:
        """The hour is over: count it, tell settlement, and forget it. Repeated after a crash, it tells the same again."""
        if self.state.serves(contract):
            setup = await self._setup.minutes(class_no_of(contract))
            await self._record(counting.counts(self.state, self.market.titles, contract, setup, self.now_ms))
            counted = self.state.counted.get(contract, {})
            if counted:
                await self._records.append([self._told(each) for _, each in sorted(counted.items())])
            await self._record([HourTold(self._epoch, self.now_ms, contract)])
            self._status.set(hours_told=len(self.state.told))
        self.market.ended.discard(contract)
        self.market.titles.drop(contract)

    def _told(self, counted: TitleCounted) -> Outgoing:
        source = "simulated machine" if self._is_simulated(counted) else "login checks"
        record_id = f"delivery-{counted.contract}-{counted.title}"
        told = Delivered(
            counted.contract, counted.title, counted.undelivered, source, record_id, counted.allowance, counted.moved,
            counted.refunds,
        )  # fmt: skip
        return Outgoing(msgspec.msgpack.encode(told))

    def _is_simulated(self, counted: TitleCounted) -> bool:
        leases = self.state.counting.get((counted.contract, counted.title), ())
        return any(self.state.machines[self.state.leases[lease].machine].driver == "simulated" for lease in leases)

    async def _record(self, records: Sequence[LeaseRecord]) -> None:
        """Under our epoch. Raises Halt, Superseded."""
        await self._leases.record([msgspec.structs.replace(record, epoch=self._epoch) for record in records])

    def _machines_of(self, record: LeaseRecord) -> list[MachineId]:
        """Whose agents are to be told."""
        match record:
            case LeaseServes():
                return [(record.provider, record.machine)]
            case MachineMaintained():
                return [(record.account, record.machine)]
            case LaunchPut():
                return [each.machine for each in self.state.leases.values() if each.holder == record.account]
            case _:
                lease = self.state.leases.get(getattr(record, "lease", 0))
                return [lease.machine] if lease is not None else []

    def _news_of(self, machine: MachineId) -> asyncio.Event:
        return self._news.setdefault(machine, asyncio.Event())

    # --- Agents ------------------------------------------------------------------------------------------------

    async def enrol(self, account: int, asked: agents.Enrolment) -> agents.Enrolled:
        """A machine is here. Raises Refused."""
        self._check_ready()
        class_no = self.market.classes.get(asked.class_id)
        if class_no is None:
            raise Refused("unknown_class", f"{asked.class_id!r} is not listed; GET /v1/classes lists the classes")
        simulated = "simulated" in {asked.source, asked.driver}
        if simulated and not self._market_clock.sandbox:
            raise Refused("wrong_source", "a simulated machine has no place outside a sandbox")
        machine = (account, asked.machine)
        nonce = secrets.token_hex(8)
        async with self._deciding:
            record = enrolled(self.state, account, class_no, asked, self.now_ms)
            self.sessions.enrol(machine, asked, nonce, self._clock.elapsed_ms())
            if record is not None:
                await self._record([record])
                self.market.look_again({contract for contract, _ in self.state.unplaced})
        await self.decide()
        return agents.Enrolled(
            machine=asked.machine,
            every_ms=EVERY_MS,
            grace_ms=self._grace_ms(),
            nonce=nonce,
            now_ms=self._clock.now_ms(),
        )

    async def beat(self, account: int, machine: str, heartbeat: agents.Heartbeat) -> agents.HeartbeatAnswer:
        """What the machine is to do: at once where that is new, else after a while. Raises Refused."""
        self._check_ready()
        at = (account, machine)
        session = self.sessions.beat(
            at, heartbeat, secrets.token_hex(8), self._clock.elapsed_ms(), self._clock.now_ms()
        )
        orders = self._orders(at)
        if orders == session.told:
            news = self._news_of(at)
            news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((HOLD_MS if self._is_settled(session, orders) else SOON_MS) / 1000):
                    await news.wait()
            orders = self._orders(at)
        session.told = orders
        return agents.HeartbeatAnswer(
            nonce=session.nonce,
            now_ms=self._clock.now_ms(),
            every_ms=EVERY_MS if self._is_settled(session, orders) else SOON_MS,
            grace_ms=self._grace_ms(),
            leases=orders,
        )

    def _is_settled(self, session: Session, orders: Sequence[agents.Lease]) -> bool:
        """The agent has nothing under way that it will soon have more to tell of."""
        now_ms = self._clock.now_ms()
        wanted = {int(lease.lease) for lease in orders if lease.from_ms <= now_ms}
        there = {lease for lease, report in session.reports.items() if report.state in {"open", "failed"}}
        return wanted == there

    def _orders(self, machine: MachineId) -> tuple[agents.Lease, ...]:
        return leases_of(self.state, self.market.titles, machine, self._market_clock, self._probe.public_key)

    def _grace_ms(self) -> Millis:
        return GRACE_MS // self._market_clock.rate

    async def retire(self, account: int, machine: str) -> None:
        """Nothing more is given to it. Raises Refused."""
        self._check_ready()
        async with self._deciding:
            if (account, machine) not in self.state.machines:
                raise Refused("unknown_machine", f"you have no machine {machine!r}")
            if (account, machine) not in self.state.retired:
                await self._record([MachineRetired(self._epoch, self.now_ms, account, machine)])

    async def maintain(self, account: int, machine: str, asked: rental.MaintenanceRequest) -> None:
        """Hours in which it is given to nobody, in place of those planned before. Raises Refused."""
        self._check_ready()
        windows = maintenance.parse(asked.windows)
        at = (account, machine)
        async with self._deciding:
            if at not in self.state.machines:
                raise Refused("unknown_machine", f"you have no machine {machine!r}")
            now_ms, planned = self.now_ms, self.state.maintenance.get(at, ())
            windows = maintenance.renewed(planned, windows, now_ms // MS_PER_HOUR)
            if windows != planned:
                await self._record([MachineMaintained(self._epoch, now_ms, account, machine, windows)])
                # Whoever lost it, and whoever waits for a machine that is back.
                self.market.look_again({contract for contract, _ in self.state.unplaced})
        await self.decide()

    def machines(self, account: int) -> list[rental.MachineAnswer]:
        """A provider's."""
        return answers.machines(self.state, self.market, self.sessions, account, self.now_ms, self._clock.elapsed_ms())

    def served(self) -> list[str]:
        """Ids of the classes whose hours are delivered by machines alone."""
        return sorted(self.market.class_ids[class_no] for class_no in self.state.served_ms)

    # --- Members -----------------------------------------------------------------------------------------------

    async def put_launch(self, account: int, name: str, asked: rental.LaunchRequest) -> None:
        """What an account wants to find on its machines. Raises Refused."""
        self._check_ready()
        keys = tuple(public_key(text) for text in asked.ssh_keys)
        record = LaunchPut(self._epoch, self.now_ms, account, name, keys, asked.image, asked.start_script, asked.ports)
        async with self._deciding:
            await self._record([record])

    async def name_launch(self, account: int, asked: rental.LaunchNaming) -> None:
        """What an order that is not sent yet buys is to begin with. Raises Refused."""
        self._check_ready()
        async with self._deciding:
            named = launch_named(self.state, account, asked, self.now_ms)
            if named is not None:
                await self._record([named])

    async def handovers(self, account: int, asked: rental.Foresight) -> HandoversPreview | None:
        """To be expected of a purchase; None: nobody knows, or too many ask. Raises Refused."""
        class_no = self.market.classes.get(asked.class_id)
        if class_no is None:
            raise Refused("unknown_class", f"{asked.class_id!r} is not listed; GET /v1/classes lists the classes")
        if self._foresights >= FORESIGHTS_MAX:
            return None
        self._foresights += 1
        try:
            async with self._foreseeing:
                await self._clock.sleep_ms(max(0, self._foresee_from_ms - self._clock.elapsed_ms()))
                began_ms = self._clock.elapsed_ms()
                found = purchases.handovers(self.state, self.market, account, class_no, dict(asked.hours))
                self._foresee_from_ms = began_ms + FORESIGHT_SHARE * (self._clock.elapsed_ms() - began_ms)
                return found
        finally:
            self._foresights -= 1

    def leases(self, account: int) -> list[rental.LeaseAnswer]:
        """A tenant's."""
        return answers.leases(self.state, self.market, self.sessions, account, self.now_ms)

    def _check_ready(self) -> None:
        if not self.ready:
            raise Refused("not_ready", "delivery is catching up: it reads the log from its beginning")

    # --- Step 3 ------------------------------------------------------------------------------------------------

    async def look_around(self) -> None:
        """For ever: what only time does."""
        async with asyncio.TaskGroup() as checks:
            while True:
                await self._clock.sleep_ms(LOOK_MS)
                await self.decide()
                for lease in self._to_check():
                    checks.create_task(self._check(lease))
                self._tell()

    def _tell(self) -> None:
        """In numbers, for `/status` and `/metrics`."""
        state, elapsed_ms, now_ms = self.state, self._clock.elapsed_ms(), self.now_ms
        heard = self.sessions.heard(elapsed_ms)
        running = [
            lease for lease in state.leases.values() if not lease.ended_ms and lease.from_ms <= now_ms < lease.until_ms
        ]
        self._status.set(
            machines=len(state.machines) - len(state.retired),
            agents_silent=sum(at not in heard and at not in state.retired for at in state.machines),
            leases=len(running),
            leases_unreachable=sum(not lease.works for lease in running),
            titles_unplaced=len(state.unplaced),
            hours_uncounted=len(self.market.ended),
        )

    def _to_check(self) -> list[Lease]:
        """Those that run and whose last look is long enough ago."""
        now_ms, elapsed_ms = self.now_ms, self._clock.elapsed_ms()
        due = [
            lease
            for lease in self.state.leases.values()
            if not lease.ended_ms
            and lease.from_ms <= now_ms < lease.until_ms
            and lease.lease not in self._checking
            and elapsed_ms >= self._checked_ms.get(lease.lease, -CHECK_MS) + self._pause_ms(lease)
        ]
        return due[: CHECKS_AT_ONCE - len(self._checking)]

    def _pause_ms(self, lease: Lease) -> Millis:
        return max(CHECK_MS_LEAST, CHECK_MS // self._market_clock.rate) if lease.works else AGAIN_MS

    async def _check(self, lease: Lease) -> None:
        async with self._busy_with(lease):
            session = self.sessions.of.get(lease.machine)
            report = session.reports.get(lease.lease) if session is not None else None
            if report is None:
                return  # nobody has said where it is: what was, still is
            fault = await self._fault(lease, report)
            if fault and lease.works:
                await self._clock.sleep_ms(SURE_MS)
                fault = await self._fault(lease, report)
            async with self._deciding:
                is_new = not lease.checks or (lease.works, lease.detail) != (not fault, fault)
                # A lease that was to begin may have lost its machine meanwhile, and is none any more.
                if is_new and not lease.ended_ms and lease.lease in self.state.leases:
                    await self._record([LeaseChecked(self._epoch, self.now_ms, lease.lease, not fault, fault)])

    @contextlib.asynccontextmanager
    async def _busy_with(self, lease: Lease) -> AsyncIterator[None]:
        self._checking.add(lease.lease)
        try:
            yield
        finally:
            self._checking.discard(lease.lease)
            if not lease.ended_ms:
                self._checked_ms[lease.lease] = self._clock.elapsed_ms()

    async def _fault(self, lease: Lease, report: agents.LeaseReport) -> str:
        """Why the lease cannot be used; empty: it can."""
        if report.state != "open":
            return report.detail or f"the agent says: {report.state}"
        machine = self.state.machines[lease.machine]
        if machine.driver == "simulated":
            return ""
        return await self._probe.fault(machine.host, report.port, report.user, report.host_key)


def public_key(text: str) -> str:
    """As it is kept: one line. Raises Refused."""
    if not text.strip().isprintable():
        raise Refused("wrong_ssh_key", f"{text[:40]!r}: give each key by itself, in one line")
    try:
        asyncssh.import_public_key(text)
    except ValueError as error:
        raise Refused("wrong_ssh_key", f"{text[:40]!r} is not a public SSH key: {error}") from None
    return text.strip()
