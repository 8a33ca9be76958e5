"""Machines of the simulated cloud at the exchange: agents' side of the protocol, all in one process, and nobody behind it.

Each account whose key the cloud has gets, by the API and under that key, as many seats as it owes with a machine behind it
(`fleet`). They say `simulated` in their inventory, their driver and every report, and let nobody in.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schemas import agents, http, rental
from schemas.ids import format_symbol
from schemas.units import MS_PER_HOUR, Gpus
from services.runtime.log import Clock
from services.simulated import fleet
from services.simulated.client import Away, Client, Refused
from services.simulated.covering import report

AGAIN_MS: Final = 1_000
VERSION: Final = "simulated"

Reports = Callable[[], tuple[agents.LeaseReport, ...]]


class Agent:
    """One machine. `grow` while it lives."""

    def __init__(
        self, client: Client, clock: Clock, account: int, class_id: str, machine: str, reports: Reports
    ) -> None:
        self.leases: tuple[agents.Lease, ...] = ()
        self._client = client
        self._clock = clock
        self._account = account
        self._class_id = class_id
        self._machine = machine
        self._reports = reports
        self._gpus: Gpus = 0
        self._grown = asyncio.Event()
        self._instance = secrets.token_hex(8)

    def grow(self, gpus: Gpus) -> None:
        """It has so many from now on."""
        if gpus != self._gpus:
            self._gpus = gpus
            self._grown.set()

    async def live(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(Away):
                await self._enrolled()
            await self._clock.sleep_ms(AGAIN_MS)

    async def _enrolled(self) -> None:
        """Until the exchange does not know it any more. Raises Away."""
        while (nonce := await self._enrol()) is not None:
            beating = asyncio.create_task(self._beat(nonce))
            growing = asyncio.create_task(self._grown.wait())
            try:
                await asyncio.wait((beating, growing), return_when=asyncio.FIRST_COMPLETED)
            finally:
                growing.cancel()
                if not beating.done():
                    beating.cancel()
            if beating.done() and not beating.cancelled():
                beating.result()
                return

    async def _enrol(self) -> str | None:
        """The nonce of its first heartbeat; None: refused. Raises Away."""
        self._grown.clear()
        asked = agents.Enrolment(
            machine=self._machine, class_id=self._class_id, instance=self._instance, boot_id=self._instance,
            agent_version=VERSION, source="simulated", driver="simulated", host=fleet.SIMULATED, inventory=self._inventory(),
        )  # fmt: skip
        done = await self._client.ask("POST", "/v1/machines", asked, agents.Enrolled)
        return None if isinstance(done, Refused) else done.nonce

    async def _beat(self, nonce: str) -> None:
        """Until one is refused. Raises Away."""
        number = 0
        while True:
            number += 1
            said = agents.Heartbeat(
                instance=self._instance, seq=number, nonce=nonce, boot_id=self._instance, sent_at_ms=self._clock.now_ms(),
                inventory=self._inventory(), leases=self._reports(),
            )  # fmt: skip
            path = f"/v1/machines/{self._machine}/heartbeats"
            answer = await self._client.ask("POST", path, said, agents.HeartbeatAnswer)
            if isinstance(answer, Refused):
                return
            nonce, self.leases = answer.nonce, answer.leases
            await self._clock.sleep_ms(answer.every_ms)

    def _inventory(self) -> tuple[agents.Gpu, ...]:
        return fleet.inventory(self._account, self._class_id, self._machine, self._gpus)


class Fleet:
    """Machines of one account."""

    def __init__(self, client: Client, account: int, clock: Clock, seed: str, tasks: asyncio.TaskGroup) -> None:
        """`tasks`: in which its machines live."""
        self.agents: dict[str, dict[str, Agent]] = {}
        """By class, by name."""
        self._client = client
        self._account = account
        self._clock = clock
        self._seed = seed
        self._tasks = tasks
        self._seats: dict[str, Gpus] | None = None
        """By class; None: what an earlier life has enrolled is not known yet."""
        self._behind: fleet.Behind = {}
        self._market = fleet.Market(0, 0, 1)

    @property
    def gpus(self) -> Gpus:
        """Of all machines."""
        return sum((self._seats or {}).values())

    async def look(
        self,
        lots: Mapping[str, Gpus],
        market: fleet.Market,
        promises: Sequence[http.PromisedAnswer],
        uncovered: Sequence[http.UncoveredAnswer],
    ) -> None:
        """What the account owes now. Raises Away."""
        if self._seats is None:
            self._seats = await self._enrolled_before()
        self._market = market
        positions = await self._client.read("/v1/positions", list[http.PositionAnswer])
        self._behind = fleet.behind(self._account, positions, promises, uncovered)
        self._seats = fleet.seats(self._behind, self._seats)
        for class_id, gpus in self._seats.items():
            for machine, each in fleet.machines(class_id, gpus, lots[class_id]):
                self._agent(class_id, machine).grow(each)

    async def _enrolled_before(self) -> dict[str, Gpus]:
        found: dict[str, Gpus] = {}
        for each in await self._client.read("/v1/machines", list[rental.MachineAnswer]):
            if each.driver == "simulated" and not each.retired:
                found[each.class_id] = found.get(each.class_id, 0) + len(each.seats)
        return found

    def _agent(self, class_id: str, machine: str) -> Agent:
        of_class = self.agents.setdefault(class_id, {})
        if machine not in of_class:
            of_class[machine] = agent = Agent(
                self._client, self._clock, self._account, class_id, machine, lambda: self._reports(class_id, machine)
            )
            self._tasks.create_task(agent.live())
        return of_class[machine]

    def _reports(self, class_id: str, machine: str) -> tuple[agents.LeaseReport, ...]:
        of_class, wall_ms = self.agents[class_id], self._clock.now_ms()
        leases = [lease for agent in of_class.values() for lease in agent.leases]
        hour = self._market.at(wall_ms) // MS_PER_HOUR
        contracts = [format_symbol(class_id, each) for each in (hour, hour + 1)]
        outages = {contract: report(contract, self._seed).undelivered_minutes for contract in contracts}
        said = fleet.reports(leases, class_id, self._behind, outages, self._market, wall_ms)
        return tuple(said[lease.lease] for lease in of_class[machine].leases)
