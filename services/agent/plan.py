"""Which leases are let in, kept and ended: from what the exchange has told, what is on the machine, and its time. Pure.

    told ──Prepare──► ready ──Begin (from `from_ms` on)──► open ──┐
      └──── failed: cannot be opened, `detail` says why ────────┬─┴──Close (over)──► closed

`hear` takes an answer, `plan` says what to do now, the others take what came of it. Everything can be repeated: an action whose
outcome was not noted before the agent died is planned again, and doing it again does no harm.

**When a lease is over.** An answer decides: one that does not name it, or that names an end that had passed when it was given.
Without an answer (the exchange is away) access stays until `until_ms` + grace, but not past the beginning of another lease of one
of its seats. So a lease that is extended at the last moment goes on without a gap, and the next tenant never waits for grace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from schemas.agents import GPUS_MAX, HeartbeatAnswer, Lease, LeaseReport, LeaseState
from schemas.units import MS_PER_MINUTE, Millis
from services.agent.clock import Now

Stage = Literal["told", "ready", "open", "failed", "closed"]
Script = Literal["", "running", "done", "failed", "cut_off"]
REPORTS_MAX: Final = 4 * GPUS_MAX
"""In one heartbeat."""
DETAIL_MAX: Final = 200
"""Characters."""
OPENED_ANEW: Final = "opened anew: its disk had been wiped when it was over before"


class Held(Struct, frozen=True, kw_only=True):
    """A lease, and how it is on this machine."""

    lease: Lease
    """As the exchange has told it last."""
    named: bool = True
    """By the last answer."""
    stage: Stage = "told"
    port: int = 0
    user: str = ""
    host_key: str = ""
    detail: str = ""
    remark: str = ""
    """What is wrong with it and does not keep it closed: keys that are none."""
    script: Script = ""


class Machine(Struct, frozen=True, kw_only=True):
    """All that must survive the agent's death, but for the anchor of time. Changed by the functions below only."""

    held: dict[str, Held] = {}
    heard_ms: Millis = 0
    """The exchange's time of the last answer."""
    grace_ms: Millis = 0


class Prepare(Struct, frozen=True):
    """Make everything ready, so that a login works at once when the lease begins."""

    lease: Lease


class Begin(Struct, frozen=True):
    """The tenant may come in."""

    lease: Lease


class Close(Struct, frozen=True):
    """End sessions, kill processes, wipe."""

    lease: Lease


Action = Prepare | Begin | Close


class Orders(Struct, frozen=True, kw_only=True):
    """What a lease's door must do, whole: whatever it did before."""

    open: bool
    """To the tenant. The probe gets in as soon as there is a door."""
    probe_key: str
    ssh_keys: tuple[str, ...]
    ends_ms: Millis
    """The exchange's time at which the door closes by itself, whether an agent is there or not."""
    warning: str
    """To be shown once; empty: none is due."""
    start_script: str


# --- What the exchange tells ----------------------------------------------------------------------------------


def hear(machine: Machine, answer: HeartbeatAnswer, reported: frozenset[str]) -> Machine:
    """The answer to a heartbeat; `reported`: the leases that this heartbeat called closed.

    The answer is absolute. What the exchange has been told is closed, and names no more, is forgotten.
    """
    named = {lease.lease: lease for lease in answer.leases}
    held: dict[str, Held] = {}
    for name, known in machine.held.items():
        if name in named:
            held[name] = _told_again(known, named[name], answer.now_ms)
        elif known.stage != "closed" or name not in reported:
            held[name] = replace(known, named=False)
    for name, lease in named.items():
        held.setdefault(name, Held(lease=lease))
    return Machine(held=held, heard_ms=answer.now_ms, grace_ms=answer.grace_ms)


def _told_again(known: Held, lease: Lease, now_ms: Millis) -> Held:
    if known.stage == "closed" and lease.until_ms > now_ms:
        return Held(lease=lease, detail=OPENED_ANEW)
    if known.stage in {"ready", "failed"} and _launch(lease) != _launch(known.lease):
        return Held(lease=lease)
    return replace(known, lease=lease, named=True)


def _launch(lease: Lease) -> tuple[str, tuple[int, ...]]:
    """What a lease is made ready for; keys and script come later."""
    return lease.image, lease.ports


# --- What is to be done ---------------------------------------------------------------------------------------


def ends_ms(machine: Machine, held: Held) -> Millis:
    """The exchange's time at which a lease is over unless another answer comes; 0: it has been withdrawn."""
    lease = held.lease
    if not held.named:
        return 0
    if lease.until_ms <= machine.heard_ms:
        return lease.until_ms
    following = [
        other.lease.from_ms
        for other in machine.held.values()
        if other.named and other.lease.from_ms >= lease.until_ms and _share_a_seat(other.lease, lease)
    ]
    return min([lease.until_ms + machine.grace_ms, *following])


def plan(machine: Machine, now: Now, busy: Mapping[str, Action]) -> list[Action]:
    """What to do, what ends first. `busy`: what is being done already; a Close cuts off whatever else its lease is busy with."""
    over = {name for name, held in machine.held.items() if ends_ms(machine, held) <= now.ms}
    actions: list[Action] = [
        Close(held.lease)
        for name, held in machine.held.items()
        if name in over and held.stage != "closed" and not isinstance(busy.get(name), Close)
    ]
    for name, held in machine.held.items():
        if name in over or name in busy:
            continue
        if held.stage == "told":
            actions.append(Prepare(held.lease))
        elif held.stage == "ready" and now.certain and held.lease.from_ms <= now.ms and not _occupied(machine, held):
            actions.append(Begin(held.lease))
    return actions


def _occupied(machine: Machine, held: Held) -> bool:
    """A seat of it is still another's."""
    return any(
        other.stage == "open" and _share_a_seat(other.lease, held.lease)
        for other in machine.held.values()
        if other is not held
    )


def _share_a_seat(one: Lease, other: Lease) -> bool:
    return not set(one.seats).isdisjoint(other.seats)


def orders(machine: Machine, held: Held, now: Now) -> Orders:
    """For the door of a lease that is ready or open."""
    assert held.stage in {"ready", "open"}, held
    return Orders(
        open=held.stage == "open" and now.certain,
        probe_key=held.lease.probe_key,
        ssh_keys=held.lease.ssh_keys,
        ends_ms=ends_ms(machine, held),
        warning=warning(held.lease, now.ms) if held.stage == "open" and now.certain else "",
        start_script=held.lease.start_script,
    )


def warning(lease: Lease, now_ms: Millis) -> str:
    """The last one that is due; the same words however late it is asked for. Empty: none."""
    due = [instant for instant in lease.warn_ms if instant <= now_ms < lease.until_ms]
    if not due:
        return ""
    minutes = -(-(lease.until_ms - max(due)) // MS_PER_MINUTE)
    return (
        f"{_clock(max(due))} UTC: your time on this machine ends at {_clock(lease.until_ms)} UTC, "
        f"in {minutes} minute{'' if minutes == 1 else 's'}. Then sessions end and the disk is wiped."
    )


def _clock(ms: Millis) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%H:%M")


def next_ms(machine: Machine, now_ms: Millis) -> Millis | None:
    """The next of the exchange's instants at which something is due; None: nothing is."""
    return min((instant for instant in _instants(machine) if instant > now_ms), default=None)


def _instants(machine: Machine) -> Iterator[Millis]:
    for held in machine.held.values():
        if held.stage != "closed":
            yield from (held.lease.from_ms, *held.lease.warn_ms, held.lease.until_ms, ends_ms(machine, held))


def ask_ms(machine: Machine, now_ms: Millis) -> Millis | None:
    """The next end of a lease: an answer is wanted then, which ends it or moves it out. None: there is none."""
    ends = (held.lease.until_ms for held in machine.held.values() if held.named and held.stage != "closed")
    return min((end for end in ends if end > now_ms), default=None)


# --- What came of it ------------------------------------------------------------------------------------------


def prepared(machine: Machine, lease: Lease, *, port: int, user: str, host_key: str, detail: str) -> Machine:
    """A Prepare of `lease` is done."""
    held = machine.held[lease.lease]
    if held.stage != "told" or _launch(held.lease) != _launch(lease):
        return machine
    return _put(
        machine, replace(held, stage="ready", port=port, user=user, host_key=host_key, detail=detail or held.detail)
    )


def begun(machine: Machine, lease: Lease, detail: str) -> Machine:
    """A Begin of `lease` is done."""
    held = machine.held[lease.lease]
    if held.stage != "ready" or _launch(held.lease) != _launch(lease):
        return machine
    return _put(machine, replace(held, stage="open", detail=detail or held.detail))


def failed(machine: Machine, lease: Lease, detail: str) -> Machine:
    """A Prepare or Begin of `lease` cannot be done."""
    held = machine.held[lease.lease]
    if held.stage not in {"told", "ready"} or _launch(held.lease) != _launch(lease):
        return machine
    return _put(machine, replace(held, stage="failed", port=0, detail=detail))


def closed(machine: Machine, name: str) -> Machine:
    """Access is gone and the disk is wiped."""
    held = machine.held[name]
    script: Script = "cut_off" if held.script == "running" else held.script
    return _put(machine, replace(held, stage="closed", port=0, script=script))


def lost(machine: Machine, name: str) -> Machine:
    """Nobody knows how its door is (it died, or the agent did): it is made ready again, on the same port with the same keys."""
    held = machine.held[name]
    return _put(machine, replace(held, stage="told")) if held.stage in {"ready", "open"} else machine


def noted(machine: Machine, name: str, *, script: Script, remark: str) -> Machine:
    """What is seen of it while it is ready or open."""
    held = machine.held[name]
    if (script, remark) == (held.script, held.remark):
        return machine
    return _put(machine, replace(held, script=script, remark=remark))


def reports(machine: Machine) -> tuple[LeaseReport, ...]:
    """For the next heartbeat; what is not closed comes first."""
    ordered = sorted(machine.held.values(), key=lambda held: held.stage == "closed")
    return tuple(
        LeaseReport(
            lease=held.lease.lease,
            state=_STATES[held.stage],
            port=held.port,
            user=held.user,
            host_key=held.host_key,
            detail="; ".join(filter(None, (held.detail, held.remark)))[:DETAIL_MAX],
            script=held.script,
        )
        for held in ordered[:REPORTS_MAX]
    )


_STATES: Final[dict[Stage, LeaseState]] = {
    "told": "preparing",
    "ready": "preparing",
    "open": "open",
    "failed": "failed",
    "closed": "closed",
}


def _put(machine: Machine, held: Held) -> Machine:
    return replace(machine, held={**machine.held, held.lease.lease: held})
