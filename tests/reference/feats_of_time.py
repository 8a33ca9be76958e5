"""Feats of time, of settlement's messages and of operators: rare things that random flows must have done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from schemas.commands import Ground, State
from schemas.events import (
    BackingSet,
    CancelAllAfterSet,
    CashCorrected,
    ClassSet,
    CollateralMoved,
    ContractListed,
    DeadManFired,
    EngineVersionSet,
    Event,
    GateClosed,
    HourEnded,
    MassCancelAccepted,
    OrderCancelled,
    OutboxSkipped,
    Reason,
    ReferenceMoved,
    StateReached,
    StateSet,
    TitleCovered,
    TitleEnded,
)
from tests.reference.script import Record

FEATS = {
    "time went back", "several hours ended at once", "an hour listed, closed and ended at once", "a record in quarantine",
    "a frame of several commands",
    "an outbox number again", "an outbox number left out", "a class listed later",
    "a contract's own state", "backing changed nothing", "less backed than owed on DECLARED",
    "less backed than owed on PROMISED",
    "less backed than owed on READY", "covered whole", "covered in part", "escrow of closed titles only",
    "version 2 in mid-flow", "a title of a running hour ended", "collateral of a running promise moved",
    "asks of a running hour ended with it",
    "asks at the gate that nothing ready stands behind",
    "mass cancel of many", "mass cancel of nothing", "a switch set again",
    "a switch turned off", "a switch that cancelled nothing",
    "a reference of a class", "a reference of a contract", "a collar went down", "cash corrected", "an opening",
    "a reopening of a class", "a reopening of a contract", "a reopening cut short", "an opening cut short",
}  # fmt: skip


class Listener:
    """One flow."""

    def __init__(self) -> None:
        self._stamp_ms = 0
        self._switches: set[int] = set()
        self._caps: dict[tuple[int, int], int] = {}
        self._opening: dict[tuple[int, int], str] = {}
        """(class, hour) → what time will go on with."""

    def hear(self, record: Record, events: Sequence[Event]) -> Iterable[str]:
        """Feats of a record."""
        if record.stamp_ms < self._stamp_ms:
            yield "time went back"
        self._stamp_ms = record.stamp_ms
        if record.quarantined:
            yield "a record in quarantine"
        if len(record.commands) > 1:
            yield "a frame of several commands"
        yield from _of_hours(events)
        for event in events:
            yield from self._of_event(record, event)
            yield from self._of_state(record, event)

    def _of_event(self, record: Record, event: Event) -> Iterable[str]:
        match event:
            case OutboxSkipped():
                yield "an outbox number again" if event.outbox < event.expected else "an outbox number left out"
            case ClassSet() if record.offset > 1 and event.class_no > 3:
                yield "a class listed later"
            case BackingSet() if not event.changed:
                yield "backing changed nothing"
            case BackingSet() if event.short:
                yield f"less backed than owed on {Ground(event.ground).name}"
            case TitleCovered():
                yield "covered whole" if event.title == event.source else "covered in part"
            case EngineVersionSet() if event.version == 2 and record.offset > 1:
                yield "version 2 in mid-flow"
            case MassCancelAccepted():
                yield "mass cancel of many" if event.count else "mass cancel of nothing"
            case ReferenceMoved():
                yield "a reference of a contract" if event.hour else "a reference of a class"
                if event.high < self._caps.get((event.class_no, event.hour), 0):
                    yield "a collar went down"
                self._caps[event.class_no, event.hour] = event.high
            case CashCorrected():
                yield "cash corrected"
            case CancelAllAfterSet():
                if event.account in self._switches:
                    yield "a switch set again" if event.at_ms else "a switch turned off"
                self._switches = self._switches | {event.account} if event.at_ms else self._switches - {event.account}
            case DeadManFired():
                self._switches = self._switches - {event.account}
            case _:
                pass

    def _of_state(self, record: Record, event: Event) -> Iterable[str]:
        match event:
            case StateSet():
                key = (event.class_no, event.hour)
                if event.hour:
                    yield "a contract's own state"
                if (before := self._opening.pop(key, "")) != "":
                    yield f"{before} cut short"
                if event.state != record.commands[event.index].state:
                    self._opening[key] = "a reopening"
            case StateReached(state=State.POST_ONLY):
                self._opening[event.class_no, event.hour] = self._opening.get(
                    (event.class_no, event.hour), "an opening"
                )
            case StateReached(state=State.OPEN):
                before = self._opening.pop((event.class_no, event.hour))
                yield before if before == "an opening" else f"{before} of a {'contract' if event.hour else 'class'}"
            case _:
                pass


def _of_hours(events: Sequence[Event]) -> Iterable[str]:
    ended = {event.contract for event in events if isinstance(event, HourEnded)}
    if len(ended) > 1:
        yield "several hours ended at once"
    listed = {event.contract for event in events if isinstance(event, ContractListed)}
    closed = {event.contract for event in events if isinstance(event, GateClosed)}
    if ended & listed & closed:
        yield "an hour listed, closed and ended at once"
    running = {event.contract for event in events if isinstance(event, TitleEnded) and event.ground == Ground.READY}
    for event, after in zip_longest(events, events[1:]):
        match event:
            case HourEnded() if event.escrow and not event.titles:
                yield "escrow of closed titles only"
            case TitleEnded(ground=Ground.READY):
                yield "a title of a running hour ended"
            case CollateralMoved() if event.contract in running:
                yield "collateral of a running promise moved"
            case OrderCancelled(reason=Reason.RUNNING_CLOSED):
                yield "asks of a running hour ended with it"
            case OrderCancelled(reason=Reason.BACKING_LOWERED) if isinstance(after, GateClosed):
                yield "asks at the gate that nothing ready stands behind"
            case DeadManFired() if not isinstance(after, OrderCancelled):
                yield "a switch that cancelled nothing"
            case _:
                pass
