"""Agents that are alive. Pure: moments are ms of a clock that never jumps.

Nothing of it is kept: after a start of this room an agent's next heartbeat is of an unknown machine, and it enrols
again. One agent speaks for a machine: another is refused while the first is alive, and the first, should it come back
later, is told that it was superseded.

A heartbeat counts once: it has the next number of its agent and the nonce of the answer before. The last one again,
whose answer was lost on the way, is answered again and changes nothing; an older one, recorded and sent by somebody, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from schemas.agents import Enrolment, Heartbeat, Lease, LeaseReport
from schemas.leases import MachineEnrolled
from schemas.units import Millis
from services.delivery.refusals import Refused
from services.delivery.state import MachineId, State

ALIVE_MS: Final = 20_000
"""After its last word an agent counts as alive for so long."""


class Session(Struct, gc=False):
    """One agent."""

    instance: str
    nonce: str
    """Wanted in the next heartbeat."""
    seen_ms: Millis
    seq: int = 0
    last_nonce: str = ""
    """Of the last heartbeat that counted."""
    reports: dict[int, LeaseReport] = msgspec.field(default_factory=dict)
    """By lease."""
    told: tuple[Lease, ...] = ()
    """What it was told to do last."""
    clock_off_ms: Millis = 0
    """The machine's clock less ours."""


class Sessions:
    """By machine."""

    def __init__(self) -> None:
        self.of: dict[MachineId, Session] = {}

    def heard(self, now_ms: Millis) -> set[MachineId]:
        """Machines whose agents have been heard of lately."""
        return {machine for machine, session in self.of.items() if now_ms - session.seen_ms < ALIVE_MS}

    def enrol(self, machine: MachineId, asked: Enrolment, nonce: str, now_ms: Millis) -> None:
        """From now on this agent speaks for the machine. Raises Refused."""
        running = self.of.get(machine)
        if running is not None and running.instance != asked.instance and now_ms - running.seen_ms < ALIVE_MS:
            raise Refused(
                "agent_running",
                f"another agent of {asked.machine!r} was heard {(now_ms - running.seen_ms) // 1_000} s ago; stop it, or wait "
                f"until it has been silent for {ALIVE_MS // 1_000} s",
            )
        self.of[machine] = Session(asked.instance, nonce, now_ms)

    def beat(self, machine: MachineId, heartbeat: Heartbeat, nonce: str, now_ms: Millis, wall_ms: Millis) -> Session:
        """Take a heartbeat; the answer's nonce is the session's. Raises Refused."""
        session = self.of.get(machine)
        if session is None:
            raise Refused("unknown_machine", f"{machine[1]!r} is not enrolled since this room began: enrol again")
        if session.instance != heartbeat.instance:
            raise Refused("agent_superseded", f"another agent speaks for {machine[1]!r}: this one is to stop")
        if (heartbeat.seq, heartbeat.nonce) == (session.seq, session.last_nonce):
            session.seen_ms = now_ms
            return session
        if heartbeat.seq <= session.seq or heartbeat.nonce != session.nonce:
            raise Refused(
                "stale_heartbeat",
                f"heartbeat {heartbeat.seq} after {session.seq}, or not with the nonce of the last answer: enrol again",
            )
        session.seq, session.last_nonce, session.nonce = heartbeat.seq, heartbeat.nonce, nonce
        session.seen_ms, session.clock_off_ms = now_ms, heartbeat.sent_at_ms - wall_ms
        session.reports = {int(report.lease): report for report in heartbeat.leases if report.lease.isdigit()}
        return session


def enrolled(state: State, account: int, class_no: int, asked: Enrolment, now_ms: Millis) -> MachineEnrolled | None:
    """What is to be recorded of an enrolment, at a market time; None: all of it is known. Raises Refused."""
    machine = (account, asked.machine)
    uuids = [gpu.uuid for gpu in asked.inventory]
    if len(set(uuids)) < len(uuids):
        raise Refused("machine_known", "two GPUs of the inventory have one UUID")
    for uuid in uuids:
        owner = state.seat_of.get(uuid, machine)
        if owner != machine and (owner not in state.retired or state.on.get(owner)):
            whose = f"your machine {owner[1]!r}" if owner[0] == account else "another provider's machine"
            then = " until its leases have ended" if owner in state.retired else "; an operator can look into it"
            raise Refused("machine_known", f"GPU {uuid} is enrolled as part of {whose}{then}")
    known = state.machines.get(machine)
    if known is not None and known.class_no != class_no and state.on.get(machine):
        raise Refused("machine_known", f"{asked.machine!r} has leases of another class until they end")
    seats = _seats(known.uuids if known is not None and known.class_no == class_no else (), uuids)
    gone = tuple(number for number, uuid in enumerate(seats) if uuid not in uuids)
    record = MachineEnrolled(
        0, now_ms, account, asked.machine, class_no, asked.source, asked.driver, asked.host, seats, gone
    )
    if known is not None and machine not in state.retired:
        same = msgspec.structs.replace(record, epoch=known.epoch, time_ms=known.time_ms)
        if same == known:
            return None
    return record


def _seats(known: Sequence[str], uuids: Sequence[str]) -> tuple[str, ...]:
    """A seat keeps its number for ever: leases name it by that."""
    return (*known, *(uuid for uuid in uuids if uuid not in known))
