"""Long days in both engines, some of them the same for ever, some another time; together they must reach every rule.

HOURBOOK_SEED=7 pytest -s tests/reference/test_random_days.py     the same days again
"""

import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from schemas.commands import Ground
from schemas.events import (
    BackingSet,
    ClassSet,
    Code,
    ContractListed,
    Event,
    Filled,
    GateClosed,
    HourEnded,
    OrderAccepted,
    OrderCancelled,
    OutboxRejected,
    OutboxSkipped,
    Reason,
    Rejected,
    StateSet,
    TitleCovered,
)
from schemas.ids import class_no_of
from tests.reference.duel import disagreement, smallest_disagreement
from tests.reference.flow import random_day
from tests.reference.script import Record

DAYS_FIXED, DAYS_OF_CHANCE = 150, 50
FRAMES = 48

REFUSED = {
    Rejected: {
        Code.NOT_OFFERED_YET, Code.UNKNOWN_ACCOUNT, Code.UNKNOWN_CLASS, Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.HALTED,
        Code.WRONG_SIDE, Code.WRONG_TIF, Code.WRONG_FLAGS, Code.WRONG_QTY, Code.WRONG_PRICE, Code.OUTSIDE_COLLAR,
        Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING, Code.DUPLICATE_CLIENT_ID, Code.WRONG_CLIENT_ID, Code.TOO_LATE,
        Code.WRONG_VALIDITY, Code.WOULD_TRADE, Code.CANNOT_FILL, Code.UNKNOWN_ORDER, Code.WRONG_STATE, Code.WRONG_VERSION,
        Code.MALFORMED,
    },
    OutboxRejected: {
        Code.NOT_OFFERED_YET, Code.UNKNOWN_ACCOUNT, Code.UNKNOWN_CLASS, Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.WRONG_QTY,
        Code.INSUFFICIENT_FUNDS, Code.STALE_VERSION, Code.WRONG_ROLE, Code.WRONG_GROUND, Code.WRONG_COLLATERAL, Code.WRONG_CLASS,
        Code.WRONG_AMOUNT, Code.WRONG_OWNER, Code.WRONG_HOURS,
    },
}  # fmt: skip
"""What docs/engine.md gives as an answer. `TOO_MANY_ORDERS` needs 100,000 open orders: tests/reference/test_bounds.py."""
SINCE_VERSION_2 = {
    Code.WRONG_EXPIRY, Code.WRONG_REFERENCE, Code.TOO_SOON, Code.STALE_NUMBER, Code.UNKNOWN_TRADE,
}  # fmt: skip
"""Answers that version 1 does not know."""
CANCELLED = [
    Reason.ASKED,
    Reason.IOC,
    Reason.SELF_TRADE_NEWEST,
    Reason.SELF_TRADE_OLDEST,
    Reason.GATE_CLOSED,
    Reason.BACKING_LOWERED,
]
SAID = [
    "Rejected", "OrderAccepted", "OrderRepeated", "CancelAccepted", "StateSet", "EngineVersionSet", "ShardStarted", "Ticked",
    "OutboxSkipped", "OutboxRejected", "AccountSet", "Credited", "Swept", "BackingSet", "ClassSet", "Filled", "OrderCancelled",
    "ContractListed", "GateClosed", "RunningClosed", "TitleEnded", "CollateralMoved", "HourEnded", "TitleCovered",
]  # fmt: skip
"""Events of engine version 1."""
FEATS = [
    "time went back", "several hours ended at once", "an hour listed, closed and ended at once", "a record in quarantine",
    "a frame of several commands", "an outbox number again", "an outbox number left out", "a class listed later",
    "a contract's own state", "a client id used again", "a client id refused a millisecond before it is free",
    "a new title on DECLARED", "a new title on PROMISED", "resold whole", "resold in part", "bought back whole",
    "bought back in part", "bought back one's own", "a seller crossed zero", "a buyer crossed zero", "a fill in a lot of eight",
    "fees of both sides", "a side without a fee", "backing changed nothing", "less backed than owed on DECLARED",
    "less backed than owed on PROMISED", "covered whole", "covered in part", "escrow of closed titles only",
]  # fmt: skip


class Tally:
    """What has happened in all the days."""

    def __init__(self) -> None:
        self.commands = 0
        self.said: Counter[str] = Counter()
        self.refused: Counter[tuple[type, int]] = Counter()
        self.cancelled: Counter[int] = Counter()
        self.feats: Counter[str] = Counter()
        self._stamp_ms = 0
        self._client_ids: dict[tuple[int, str], int] = {}

    def begin(self) -> None:
        """Another day."""
        self._stamp_ms = 0
        self._client_ids = {}

    def hear(self, record: Record, events: list[Event]) -> None:
        """What both engines said about a record."""
        self.commands += len(record.commands)
        self.said.update(type(event).__name__ for event in events)
        self.refused.update((type(e), e.code) for e in events if isinstance(e, (Rejected, OutboxRejected)))
        self.cancelled.update(event.reason for event in events if isinstance(event, OrderCancelled))
        self.feats.update(self._of_record(record, events))
        for event in events:
            self.feats.update(self._of_event(record, event))
        self._stamp_ms = record.stamp_ms

    def _of_record(self, record: Record, events: list[Event]) -> Iterable[str]:
        if record.stamp_ms < self._stamp_ms:
            yield "time went back"
        if record.quarantined:
            yield "a record in quarantine"
        if len(record.commands) > 1:
            yield "a frame of several commands"
        ended = {event.contract for event in events if isinstance(event, HourEnded)}
        if len(ended) > 1:
            yield "several hours ended at once"
        listed = {event.contract for event in events if isinstance(event, ContractListed)}
        closed = {event.contract for event in events if isinstance(event, GateClosed)}
        if ended & listed & closed:
            yield "an hour listed, closed and ended at once"

    def _of_event(self, record: Record, event: Event) -> Iterable[str]:
        match event:
            case Filled():
                yield from _of_fill(event)
            case OutboxSkipped():
                yield "an outbox number again" if event.outbox < event.expected else "an outbox number left out"
            case ClassSet() if record.offset > 1 and event.class_no > 3:
                yield "a class listed later"
            case StateSet() if event.hour:
                yield "a contract's own state"
            case BackingSet() if not event.changed:
                yield "backing changed nothing"
            case BackingSet() if event.short:
                yield f"less backed than owed on {Ground(event.ground).name}"
            case TitleCovered():
                yield "covered whole" if event.title == event.source else "covered in part"
            case HourEnded() if event.escrow and not event.titles:
                yield "escrow of closed titles only"
            case OrderAccepted() if event.client_id:
                key = (event.account, event.client_id)
                if key in self._client_ids:
                    yield "a client id used again"
                self._client_ids[key] = record.stamp_ms
            case Rejected(code=Code.DUPLICATE_CLIENT_ID):
                since_ms = record.stamp_ms - self._client_ids[event.account, event.client_id]
                if since_ms == 899_999:
                    yield "a client id refused a millisecond before it is free"
            case _:
                pass


def _of_fill(fill: Filled) -> Iterable[str]:
    if class_no_of(fill.contract) == 2:
        yield "a fill in a lot of eight"
    yield "fees of both sides" if fill.buyer_fee and fill.seller_fee else "a side without a fee"
    if len({move.source > 0 for move in fill.moves}) > 1:
        yield "a seller crossed zero"
    if len({move.closes > 0 for move in fill.moves}) > 1:
        yield "a buyer crossed zero"
    for move in fill.moves:
        if move.source == 0:
            yield f"a new title on {Ground(move.ground).name}"
        else:
            yield "resold whole" if move.title == move.source else "resold in part"
        if move.closes == move.title:
            yield "bought back one's own"
        elif move.closes:
            yield "bought back whole" if move.closed == move.closes else "bought back in part"


@pytest.mark.timeout(400)  # ten seconds, unless others want the machine as well
def test_random_days_are_the_same_in_both_engines_and_reach_every_rule(seed: int) -> None:
    """An answer, a reason or a feat that no day has seen is a hole in this test, and so a failure."""
    tally = Tally()
    days = [f"fixed {number}" for number in range(DAYS_FIXED)] + [
        f"{seed} {number}" for number in range(DAYS_OF_CHANCE)
    ]
    for number, day in enumerate(days):
        flow, rate = list(random_day(day, FRAMES)), 60 if number % 8 == 7 else 1
        tally.begin()
        if disagreement(flow, number, rate, tally.hear) is not None:
            print(f"on the day {day!r}", file=sys.stderr)
            raise smallest_disagreement(flow, number, rate)

    print(f"{len(days)} days, {tally.commands} commands, {tally.said.total()} events", file=sys.stderr)
    assert tally.commands > 30_000
    assert tally.said.keys() == set(SAID)
    assert min(tally.said.values()) >= 20, tally.said
    assert tally.refused.keys() == {(kind, code) for kind, codes in REFUSED.items() for code in codes}
    assert set(Code) == {code for _, code in tally.refused} | {Code.TOO_MANY_ORDERS} | SINCE_VERSION_2
    assert tally.cancelled.keys() == set(CANCELLED)
    assert min(tally.cancelled.values()) >= 20, tally.cancelled
    assert tally.feats.keys() == set(FEATS)
