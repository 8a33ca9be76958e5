"""Which fault when, from the seed; and the calm after each wave: all is left, members wait, and lag must return to zero."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import httpx

from services.runtime.infra import ServerFailed
from services.runtime.kafka import Cluster
from services.runtime.log import LogError
from services.runtime.walls import ADMINISTRATOR
from tests.chaos.exchange import (
    AGENTS,
    GATEWAYS,
    MATCHING,
    OTHERS,
    ROOMS,
    SERVERS,
    SERVICES,
    SETTLEMENTS,
    SHARDS,
    Exchange,
    machines_alive,
)
from tests.chaos.faults import LASTING, MACHINES, Kind, Misbehaved, NotHit
from tests.chaos.load import Load
from tests.chaos.moments import MOMENTS
from tests.chaos.records import RECORDS

KINDS: Final = (*LASTING, *MOMENTS, *MACHINES, *RECORDS)
AT_ONCE_MAX: Final = 3
CALM_S_MAX: Final = 90.0
"""Within so long after the last fault all lag is gone. Slowest: a start of Kafka after a crash, pauses that have doubled."""
_TELL_S: Final = 15.0
_FRESH_S: Final = 3.0
"""Whoever has not read within so long what a log had is behind. Processes tell where they are once a second."""
_NOBODY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, LogError, httpx.HTTPError, IndexError)
"""A server does not answer just now: not a fault's own fault."""

Say = Callable[[str], None]


class Active(NamedTuple):
    """A fault that lasts."""

    kind: Kind
    target: str
    until_s: float
    leave: contextlib.ExitStack


class Storm:
    """Waves of faults over one exchange and its load."""

    def __init__(self, exchange: Exchange, load: Load, seed: str, say: Say, *, pace: float = 1.0) -> None:
        """`pace`: lasting faults last so much of their usual time."""
        self.exchange = exchange
        self.load = load
        self.injected: Counter[str] = Counter()
        self.healed: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        """Moments that were waited for in vain."""
        self.misbehaved: list[str] = []
        self.calm_s: list[float] = []
        """How long each return to zero lag took."""
        self._chance = random.Random(f"{seed}/faults")
        self._say = say
        self._pace = pace
        self._active: list[Active] = []
        self._unhealed: Counter[str] = Counter()
        self._bag: deque[Kind] = deque()
        self._told_s = 0.0

    @property
    def possible(self) -> list[Kind]:
        """Those that this machine lets us do."""
        return [kind for kind in KINDS if not kind.needs_disk or kind.needs_disk in self.exchange.disks]

    def wave(self, seconds: float) -> None:
        """Faults for so long, several at once. Every kind comes before one comes again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            due = next((kind for kind in self._bag if kind.is_due(self.exchange)), None)
            if due is None:
                others = [kind for kind in self.possible if kind not in self._bag]
                self._bag.extend(self._chance.sample(others, len(others)))
                continue
            self._bag.remove(due)
            self.hurt(due)
            self.live(self._chance.uniform(0.3, 2.5))

    def live_until_delivered(self, seconds: float) -> None:
        """An hour of a machine is over, counted and paid; or so long."""
        query = "SELECT count(*) FROM settlement.deliveries WHERE source = 'login checks' AND state = 'settled'"
        deadline = time.monotonic() + seconds
        delivered = 0
        while not delivered and time.monotonic() < deadline:
            with contextlib.suppress(*_NOBODY):
                ((delivered,),) = self.exchange.rows(query)
            self.live(0.5)

    def hurt(self, kind: Kind) -> None:
        """One fault of a kind, at a target that nothing else hurts."""
        while len(self._active) >= (1 if kind.alone else AT_ONCE_MAX):
            self.live(0.1, leave_all=kind.alone)
        if kind.alone:
            self._steady()
        busy = {target for active in self._active for target in active.target.split(" → ")}
        targets = [target for target in kind.targets if not busy & set(target.split(" → "))]
        if not targets:
            return
        target = self._chance.choice(targets)
        leave = contextlib.ExitStack()
        try:
            sentence = leave.enter_context(kind.begin(self.exchange, target, self._chance))
        except NotHit as error:
            self.missed[kind.name] += 1
            self._say(f"missed: {kind.name}: {error}")
            return
        except Misbehaved as error:
            self.misbehaved.append(f"{kind.name}: {error}")
            sentence = f"MISBEHAVED: {error}"
        except _NOBODY as error:
            self.missed[kind.name] += 1
            self._say(f"missed: {kind.name}: {error!r}")
            return
        self.injected[kind.name] += 1
        self._unhealed[kind.name] += 1
        self._say(sentence)
        lasts_s = self._chance.uniform(*kind.lasts_s) * self._pace
        self._active.append(Active(kind, target, time.monotonic() + lasts_s, leave))

    def live(self, seconds: float, *, leave_all: bool = False) -> None:
        """The keeper works, and faults whose time is over are left."""
        deadline = time.monotonic() + seconds
        while True:
            now_s = time.monotonic()
            for active in [each for each in self._active if leave_all or each.until_s <= now_s]:
                active.leave.close()
                self._active.remove(active)
            self.poll()
            if now_s >= deadline:
                return
            time.sleep(0.03)

    def poll(self) -> None:
        """Whatever has ended is started again, as `make up` does."""
        try:
            self.exchange.poll()
        except (ServerFailed, OSError) as error:
            self._say(f"a server does not start: {error}")

    # --- Calm ---------------------------------------------------------------------------------------------------

    def _steady(self) -> None:
        """Leave everything, and wait until every process is at its work again; members go on. Raises Misbehaved.

        Who trades by the public API, as the desk does, may be told meanwhile to ask later, as members are.
        """
        self.live(0, leave_all=True)
        began_s = time.monotonic()
        while reasons := self._out_of_order(self.exchange.statuses(), may_wait=OTHERS):
            self._check_patience(began_s, reasons)
            self.live(0.1)

    def calm(self) -> None:
        """Leave everything, let members wait, until all is well and every reader at its log's end. Raises Misbehaved."""
        self.live(0, leave_all=True)
        self.load.hold()
        began_s = time.monotonic()
        mark: Mark | None = None
        while reasons := self._reasons(mark):
            if mark is None or time.monotonic() - mark.taken_s > _FRESH_S:
                mark = self._mark()
            self._check_patience(began_s, reasons)
            self.live(0.2)
        took_s = time.monotonic() - began_s
        self.healed.update(self._unhealed)
        self._unhealed.clear()
        self.calm_s.append(took_s)
        self._say(f"calm: all is well, and every reader at its log's end, after {took_s:.1f} s")

    def _check_patience(self, began_s: float, reasons: list[str]) -> None:
        told_s, self._told_s = self._told_s, time.monotonic() - began_s
        if told_s // _TELL_S < self._told_s // _TELL_S:
            self._say(f"not well after {self._told_s:.0f} s: {'; '.join(reasons)}")
        if time.monotonic() - began_s > CALM_S_MAX:
            raise Misbehaved(f"not well {CALM_S_MAX:.0f} s after the last fault: {'; '.join(reasons)}")

    def go_on(self) -> None:
        """Members ask again."""
        self.load.go_on()

    def _mark(self) -> Mark | None:
        """Where the logs end now; None: nobody tells."""
        try:
            return self.exchange.background.do(_ends(self.exchange), 30)
        except _NOBODY:
            return None

    def _reasons(self, mark: Mark | None) -> list[str]:
        """Why not all is well."""
        told = self.exchange.statuses()
        reasons = self._out_of_order(told)
        if self.load.under_way:
            reasons.append(f"{self.load.under_way} members are not answered")
        if reasons or mark is None:
            return reasons or ["the logs' ends are not known yet"]
        return self._behind(mark, told)

    def _out_of_order(self, told: dict[str, dict[str, Any]], may_wait: Collection[str] = ()) -> list[str]:
        """Who does not do what it should; empty: each process is at its work."""
        down = [name for name in (*SERVERS, *SERVICES, *AGENTS) if not self.exchange.pid(name)]
        if down:
            return [f"down: {', '.join(down)}"]
        if silent := [name for name in SERVICES if name not in told]:
            return [f"no answer: {', '.join(silent)}"]
        reasons = [
            f"{name} waits for {said['waiting_for']} ({said.get('last_error')})"
            for name, said in told.items()
            if name not in may_wait and _waits(said)
        ]
        for shard in range(SHARDS):
            roles = sorted(str(told[name].get("role")) for name in MATCHING if name.startswith(f"matching-{shard}"))
            if roles != ["active", "follower"]:
                reasons.append(f"shard {shard}: {roles}")
        if sum(told[name].get("role") == "active" for name in SETTLEMENTS) != 1:
            reasons.append("not exactly one settlement settles")
        reasons += [f"{room} is {told[room].get('role')}" for room in ROOMS if told[room].get("role") != "active"]
        return reasons

    def _behind(self, mark: Mark, told: dict[str, dict[str, Any]]) -> list[str]:
        """Who has not read what the logs had a moment ago."""
        try:
            cursors = self.exchange.rows("SELECT topic, partition, next_offset, seq FROM settlement.cursors")
            ((unconfirmed,),) = self.exchange.rows("SELECT count(*) FROM settlement.outbox WHERE NOT confirmed")
            doors = [self._door(name) for name in GATEWAYS]
            silent = [machine for machine, alive in machines_alive(self.exchange).items() if not alive]
        except _NOBODY as error:
            return [repr(error)]
        read = {(row["topic"], row["partition"]): row["next_offset"] for row in cursors}
        behind = [f"settlement at {where}" for where, end in mark.settled.items() if read.get(where, 0) < end]
        for shard in range(SHARDS):
            seq = mark.seqs[shard]
            behind += [
                name
                for name in MATCHING
                if name.startswith(f"matching-{shard}")
                and (told[name].get("offset", 0) < mark.commands[shard] or told[name].get("seq", 0) < seq)
            ]
            readers = ("market_data", *ROOMS)
            behind += [name for name in readers if told[name].get(f"seq_{shard}", 0) < seq]
            for name, door in zip(GATEWAYS, doors, strict=True):
                of_shard = door["shards"][shard]
                if not door["accepting_orders"] or min(of_shard["seq"], of_shard["settled_seq"]) < seq:
                    behind.append(name)
        behind += [f"{machine}, whose agent is not heard" for machine in silent]
        if uncounted := told["delivery"].get("hours_uncounted"):
            behind.append(f"delivery with {uncounted} hours")
        if unconfirmed > 100:
            behind.append(f"{unconfirmed} messages to shards are not confirmed")
        return [f"behind: {', '.join(behind)}"] if behind else []

    def _door(self, name: str) -> dict[str, Any]:
        port = self.exchange.doors[name].port
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/status", timeout=3, trust_env=False)
        said: dict[str, Any] = answer.raise_for_status().json()
        return said


class Mark(NamedTuple):
    """Where the logs ended at a moment."""

    taken_s: float
    commands: Sequence[int]
    seqs: Sequence[int]
    settled: dict[tuple[str, int], int]


async def _ends(exchange: Exchange) -> Mark:
    async with Cluster(exchange.stack.bootstrap, login=exchange.stack.login(ADMINISTRATOR)) as cluster:
        ends = {
            (topic, partition): (await cluster.log(topic, partition).bounds())[1]
            for topic, partitions in (("commands", SHARDS), ("events", SHARDS), ("requests", 1), ("delivery", 1))
            for partition in range(partitions)
        }
    taken_s = time.monotonic()
    connection = await asyncpg.connect(exchange.stack.dsn, timeout=5)
    try:
        query = "SELECT partition, seq FROM settlement.cursors WHERE topic = 'events' ORDER BY partition"
        seqs = [row["seq"] for row in await connection.fetch(query)]
    finally:
        await connection.close(timeout=1)
    settled = {where: end for where, end in ends.items() if where[0] != "commands"}
    return Mark(taken_s, [ends["commands", shard] for shard in range(SHARDS)], seqs, settled)


def _waits(said: dict[str, Any]) -> bool:
    """A second settlement waits for its lease, and should."""
    return bool(said["waiting_for"]) and not (said["name"] in SETTLEMENTS and said["waiting_for"] == "lease")
