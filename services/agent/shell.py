"""The agent's two loops. One does what `plan` says, the other asks the exchange; they meet in `machine`, and what changes there is on disk first.

Neither waits for the other: an image that takes minutes to fetch holds up no heartbeat, and an exchange that is away no tenant.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from pathlib import Path
from typing import Final

from msgspec import Struct

from schemas.agents import Driver as DriverName
from schemas.agents import Enrolled, Enrolment, Heartbeat, HeartbeatAnswer, Lease
from schemas.units import Millis
from services.agent import plan, store
from services.agent.clock import Anchor, Moment, Now, elapsed_at, exchange_now
from services.agent.doorway import DoorOrders
from services.agent.drivers.base import Driver, Failed, Stuck
from services.agent.exchange import Away, EnrolAgain, Exchange, Running
from services.agent.inventory import Inventory
from services.agent.keys import sort_out
from services.agent.plan import Action, Begin, Close, Prepare

TURN_MS: Final = 250
"""Between two looks at the doors."""
LOOK_MS: Final = 50
"""Between two looks at a door that is to let somebody in now."""
LET_IN_MS: Final = 10_000
"""A door that has not followed its orders by then is looked after anew."""
PAUSE_MS: Final = 1_000
PAUSE_MS_MAX: Final = 30_000
"""While the exchange is away, pauses double up to this."""
SOON_MS: Final = 500
"""What has changed on the machine is told no sooner than this after the last heartbeat."""
RUNNING_MS: Final = 5_000
"""Between two tries while another agent of this machine is alive."""
STUCK_MS: Final = 5_000
"""Between two tries to wipe."""
_log: Final = logging.getLogger("hourbook.agent")


class Identity(Struct, frozen=True, kw_only=True):
    """Of this agent, for as long as it lives."""

    machine: str
    class_id: str
    host: str
    version: str
    driver: DriverName
    boot_id: str


class Agent:
    """One machine's."""

    def __init__(
        self,
        home: Path,
        identity: Identity,
        exchange: Exchange,
        driver: Driver,
        inventory: Inventory,
        saved: store.Saved,
    ) -> None:
        self.home = home
        self.identity = identity
        self.exchange = exchange
        self.driver = driver
        self.inventory = inventory
        self.instance = uuid.uuid4().hex
        self.machine = saved.machine
        self.anchor = saved.anchor
        self._busy: dict[str, Action] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._said = ""

    def moment(self) -> Moment:
        """Of the machine."""
        return Moment(self.identity.boot_id, elapsed_ms())

    def now(self) -> Now:
        """At the exchange."""
        return exchange_now(self.anchor, self.moment())

    async def run(self) -> None:
        """Until it is cancelled. Raises AgentEnd. Doors stay open in any case: they end by themselves when their leases do."""
        for name in self.machine.held:
            # How the doors are is not known: those that live are found again, the others opened on the same port.
            self._put(plan.lost(self.machine, name))
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._wipe_what_is_over()
                self._group.create_task(self._keep())
                self._group.create_task(self._report())
        except BaseExceptionGroup as group:
            # One task ends the others: the first exception is the reason.
            raise group.exceptions[0] from None

    def _put(self, machine: plan.Machine, anchor: Anchor | None = None) -> None:
        if machine is not self.machine or anchor is not None:
            try:
                store.save(self.home, store.Saved(machine=machine, anchor=anchor or self.anchor))
            except OSError as error:
                # A full disk must not end access: what was not saved is only missed by an agent that starts now.
                _log.error("what leases there are cannot be saved: %s", error)  # noqa: TRY400 # a sentence says it all
            self.machine, self.anchor = machine, anchor or self.anchor
            self._changed.set()

    # --- What is on the machine -----------------------------------------------------------------------------

    async def _wipe_what_is_over(self) -> None:
        """What has ended while no agent was here, before anybody is let in. What does not go is tried again later."""
        for action in plan.plan(self.machine, self.now(), self._busy):
            if isinstance(action, Close):
                self._begin(action)
        await asyncio.gather(*self._jobs.values())

    async def _keep(self) -> None:
        while True:
            self._changed.clear()
            for action in plan.plan(self.machine, self.now(), self._busy):
                await self._cut_off(action.lease.lease)
                self._begin(action)
            self._tend()
            await self._pause(TURN_MS)

    async def _pause(self, most_ms: Millis) -> None:
        """Until something changes, is due, or so long."""
        now_ms = self.now().ms
        next_ms = plan.next_ms(self.machine, now_ms)
        wait_ms = most_ms if next_ms is None else min(most_ms, next_ms - now_ms)
        try:
            await asyncio.wait_for(self._changed.wait(), wait_ms / 1000)
        except TimeoutError:
            return

    async def _cut_off(self, name: str) -> None:
        """Whatever the lease is busy with: it is over."""
        if (job := self._jobs.pop(name, None)) is not None:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
        self._busy.pop(name, None)

    def _begin(self, action: Action) -> None:
        name = action.lease.lease
        _log.info("lease %s: %s", name, type(action).__name__.lower())
        self._busy[name] = action
        self._jobs[name] = self._group.create_task(self._do(action))

    async def _do(self, action: Action) -> None:
        try:
            await self._work(action)
        finally:
            name = action.lease.lease
            if self._busy.get(name) is action:
                self._busy.pop(name)
                self._jobs.pop(name, None)
            self._changed.set()

    async def _work(self, action: Action) -> None:
        lease = action.lease
        try:
            match action:
                case Prepare():
                    done = await self.driver.prepare(lease)
                    self._put(
                        plan.prepared(
                            self.machine,
                            lease,
                            port=done.port,
                            user=done.user,
                            host_key=done.host_key,
                            detail=done.detail,
                        )
                    )
                case Begin():
                    await self._let_in(lease, await self.driver.begin(lease))
                case Close():
                    await self.driver.close(lease)
                    self._put(plan.closed(self.machine, lease.lease))
                    _log.info("lease %s: closed and wiped", lease.lease)
        except Failed as error:
            _log.warning("lease %s cannot be opened: %s", lease.lease, error)
            self._put(plan.failed(self.machine, lease, str(error)))
        except Stuck as error:
            _log.error("lease %s is not wiped yet: %s", lease.lease, error)  # noqa: TRY400 # a sentence says it all
            await asyncio.sleep(STUCK_MS / 1000)

    async def _let_in(self, lease: Lease, detail: str) -> None:
        """Called open once its door says that it is: whoever reads that logs in at once. Raises Failed."""
        deadline_ms = elapsed_ms() + LET_IN_MS
        while True:
            opened = plan.begun(self.machine, lease, detail)
            held = opened.held[lease.lease]
            if held.stage != "open":
                return
            seen = self.driver.look(lease)
            if seen.lives and seen.open:
                self._put(opened)
                _log.info("lease %s: open until %s", lease.lease, _utc(held.lease.until_ms))
                return
            if not seen.lives or elapsed_ms() > deadline_ms:
                self._put(plan.lost(self.machine, lease.lease))
                return
            self._order(opened, held)
            await asyncio.sleep(LOOK_MS / 1000)

    def _tend(self) -> None:
        """Tells the doors what holds now, and hears how they are."""
        for name in self.machine.held:
            held = self.machine.held[name]
            if held.stage not in {"ready", "open"} or name in self._busy:
                continue
            seen = self.driver.look(held.lease)
            if not seen.lives:
                _log.warning("lease %s: its SSH server has died, and is started again", name)
                self._put(plan.lost(self.machine, name))
                continue
            remark = self._order(self.machine, held)
            self._put(plan.noted(self.machine, name, script=seen.script, remark=remark))

    def _order(self, machine: plan.Machine, held: plan.Held) -> str:
        """What the lease's door must do as it is held; a remark on keys that are none."""
        keys, remark = sort_out(held.lease.ssh_keys)
        probe_keys, probe_remark = sort_out([held.lease.probe_key])
        told = plan.orders(machine, held, self.now())
        orders = DoorOrders(
            open=told.open,
            keys=keys,
            probe_keys=probe_keys,
            ends_elapsed_ms=self._elapsed_at(told.ends_ms),
            warning=told.warning,
            start_script=told.start_script,
        )
        try:
            self.driver.order(held.lease, orders)
        except OSError as error:
            # The next turn tries again; what was ordered before holds until then.
            _log.error("lease %s: its door cannot be told anything: %s", held.lease.lease, error)  # noqa: TRY400 # same
        return "; ".join(filter(None, (remark, probe_remark and "the exchange's own key is none")))

    def _elapsed_at(self, exchange_ms: Millis) -> Millis:
        """By an anchor of this start of the machine, or by what is known at least."""
        assert self.anchor is not None, "a lease is only known from an answer"
        if self.anchor.moment.boot_id == self.identity.boot_id:
            return elapsed_at(self.anchor, exchange_ms)
        return exchange_ms - self.anchor.now_ms

    # --- What the exchange is told --------------------------------------------------------------------------

    async def _report(self) -> None:
        pause_ms = PAUSE_MS
        while True:
            try:
                enrolled = await self._enrol()
                self._say(f"enrolled as {enrolled.machine}, class {self.identity.class_id}")
                pause_ms = PAUSE_MS
                await self._beat(enrolled)
            except EnrolAgain as error:
                self._say(f"enrols again: {error}")
                await asyncio.sleep(PAUSE_MS / 1000)
            except Running as error:
                self._say(f"waits until another agent of this machine is gone: {error}")
                await asyncio.sleep(RUNNING_MS / 1000)
            except Away as error:
                self._say(f"the exchange is away, tenants keep access: {error}")
                await asyncio.sleep(_jittered_s(max(pause_ms, error.wait_ms)))
                pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)

    async def _enrol(self) -> Enrolled:
        return await self.exchange.enrol(
            Enrolment(
                machine=self.identity.machine,
                class_id=self.identity.class_id,
                instance=self.instance,
                boot_id=self.identity.boot_id,
                agent_version=self.identity.version,
                source=self.inventory.source,
                driver=self.driver.name,
                host=self.identity.host,
                inventory=await asyncio.to_thread(self.inventory.read),
            )
        )

    async def _beat(self, enrolled: Enrolled) -> None:
        """One heartbeat after the other, never two at once. Raises EnrolAgain, Running, AgentEnd."""
        nonce, seq = enrolled.nonce, 0
        while True:
            seq += 1
            answer = await self._answered(await self._heartbeat(seq, nonce))
            nonce = answer.nonce
            await self._until_next(answer.every_ms)

    async def _heartbeat(self, seq: int, nonce: str) -> Heartbeat:
        return Heartbeat(
            instance=self.instance,
            seq=seq,
            nonce=nonce,
            boot_id=self.identity.boot_id,
            sent_at_ms=time.time_ns() // 1_000_000,
            inventory=await asyncio.to_thread(self.inventory.read),
            leases=plan.reports(self.machine),
        )

    async def _answered(self, heartbeat: Heartbeat) -> HeartbeatAnswer:
        """The very same again while no answer comes: the exchange may have taken it, and told what was lost on the way."""
        pause_ms = PAUSE_MS
        while True:
            try:
                answer = await self.exchange.beat(self.identity.machine, heartbeat)
            except Away as error:
                self._say(f"the exchange is away, tenants keep access: {error}")
                await asyncio.sleep(_jittered_s(max(pause_ms, error.wait_ms)))
                pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
            else:
                self._say("in contact with the exchange")
                reported = frozenset(report.lease for report in heartbeat.leases if report.state == "closed")
                self._put(plan.hear(self.machine, answer, reported), Anchor(answer.now_ms, self.moment()))
                return answer

    async def _until_next(self, every_ms: Millis) -> None:
        """Sooner where a lease comes to its end: the answer ends it or moves the end out. Sooner as well where something has changed."""
        began, began_ms = plan.reports(self.machine), elapsed_ms()
        deadline_ms = began_ms + every_ms
        end_ms = plan.ask_ms(self.machine, self.now().ms)
        if end_ms is not None:
            deadline_ms = min(deadline_ms, self._elapsed_at(end_ms))
        while (left_ms := deadline_ms - elapsed_ms()) > 0:
            if elapsed_ms() - began_ms >= SOON_MS and plan.reports(self.machine) != began:
                return
            await asyncio.sleep(min(left_ms, TURN_MS) / 1000)

    def _say(self, what: str) -> None:
        """Once, until something else is to be said."""
        if what != self._said:
            self._said = what
            _log.info("%s", what)


def elapsed_ms() -> Millis:
    """Since the machine's start, its sleep included; nobody sets it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _jittered_s(pause_ms: Millis) -> float:
    """Many agents that an exchange has left at once do not come back at once."""
    return pause_ms * random.uniform(0.75, 1.25) / 1000


def _utc(ms: Millis) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(ms / 1000))
