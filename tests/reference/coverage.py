"""What random flows have reached, and what they must reach: answers to each command, events, reasons, feats.

An answer, a reason or a feat that no flow has seen is a hole in the test, and so a failure (test_random_days.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from schemas.events import (
    Code,
    Event,
    OrderCancelled,
    OutboxRejected,
    QuotesPut,
    RangeAccepted,
    Reason,
    Rejected,
)
from tests.reference import feats_of_orders, feats_of_time, feats_of_trades
from tests.reference.script import Record

_WHEN_AND_WHO = {Code.TOO_LATE, Code.WRONG_VALIDITY, Code.UNKNOWN_ACCOUNT}
_NAMED = {Code.WRONG_CLIENT_ID, Code.DUPLICATE_CLIENT_ID, Code.UNKNOWN_CLASS, Code.WRONG_SIDE, Code.WRONG_TIF}
_LEG = {
    Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.HALTED, Code.WRONG_TIF, Code.WRONG_EXPIRY, Code.WRONG_FLAGS, Code.WRONG_QTY,
    Code.WRONG_PRICE, Code.OUTSIDE_COLLAR, Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING, Code.CANNOT_FILL,
}  # fmt: skip
_QUOTE = {
    Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.HALTED, Code.WRONG_QTY, Code.WRONG_PRICE, Code.OUTSIDE_COLLAR,
    Code.WOULD_TRADE, Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING,
}  # fmt: skip
_NEW = {Code.NOT_OFFERED_YET}
ANSWERS: dict[str, set[Code]] = {
    "PlaceOrder": _NEW | _WHEN_AND_WHO | _NAMED | _LEG | {Code.WOULD_TRADE},
    "PlaceRange": _NEW | _WHEN_AND_WHO | _NAMED | {Code.WRONG_HOURS},
    "a leg": _LEG | {Code.WOULD_TRADE},
    "PlaceBlock": _NEW | _WHEN_AND_WHO | _NAMED | _LEG | {Code.WRONG_HOURS},
    "CancelOrder": _WHEN_AND_WHO | {Code.UNKNOWN_ORDER},
    "AmendOrder": _NEW | _WHEN_AND_WHO | {
        Code.UNKNOWN_ORDER, Code.WRONG_QTY, Code.WRONG_PRICE, Code.HALTED, Code.OUTSIDE_COLLAR, Code.WOULD_TRADE,
        Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING,
    },
    "PutQuotes": _NEW | _WHEN_AND_WHO | {Code.WRONG_ROLE, Code.UNKNOWN_CLASS, Code.STALE_NUMBER, Code.WRONG_HOURS},
    "an hour's quote": _QUOTE,
    "MassCancel": _NEW | _WHEN_AND_WHO | {Code.WRONG_SIDE},
    "CancelAllAfter": _NEW | _WHEN_AND_WHO | {Code.WRONG_EXPIRY},
    "SetState": {Code.WRONG_STATE, Code.UNKNOWN_CLASS, Code.UNKNOWN_CONTRACT},
    "SetEngineVersion": {Code.WRONG_VERSION},
    "CorrectCash": _NEW | {
        Code.TOO_LATE, Code.WRONG_VALIDITY, Code.UNKNOWN_ACCOUNT, Code.WRONG_APPROVAL, Code.WRONG_OWNER, Code.WRONG_AMOUNT,
        Code.UNKNOWN_TRADE, Code.INSUFFICIENT_FUNDS,
    },
    "MoveReference": _NEW | {Code.UNKNOWN_CLASS, Code.UNKNOWN_CONTRACT, Code.TOO_SOON, Code.WRONG_REFERENCE},
    "StartShard": {Code.WRONG_STATE},
    "Malformed": {Code.MALFORMED},
    "SetAccount": {Code.UNKNOWN_ACCOUNT, Code.WRONG_OWNER, Code.WRONG_ROLE, Code.NOT_OFFERED_YET},
    "Credit": {Code.UNKNOWN_ACCOUNT, Code.WRONG_AMOUNT},
    "Sweep": {Code.UNKNOWN_ACCOUNT, Code.WRONG_AMOUNT},
    "SetBacking": {
        Code.NOT_OFFERED_YET, Code.UNKNOWN_ACCOUNT, Code.UNKNOWN_CLASS, Code.WRONG_HOURS, Code.WRONG_GROUND, Code.WRONG_ROLE,
        Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.WRONG_QTY, Code.WRONG_COLLATERAL, Code.STALE_VERSION,
        Code.INSUFFICIENT_FUNDS,
    },
    "SetClass": {Code.WRONG_CLASS},
}  # fmt: skip
"""Command → what docs/engine.md gives as an answer. `TOO_MANY_ORDERS` needs more than a day: test_bounds.py."""
SAID = {kind.__name__ for kind in get_args(Event)}
REASONS = set(Reason)
FEATS = feats_of_time.FEATS | feats_of_orders.FEATS | feats_of_trades.FEATS


class Tally:
    """What has happened in all the flows."""

    def __init__(self) -> None:
        self.flows = 0
        self.records = 0
        self.commands = 0
        self.said: Counter[str] = Counter()
        self.answers: Counter[tuple[str, Code]] = Counter()
        self.reasons: Counter[Reason] = Counter()
        self.feats: Counter[str] = Counter()
        self._listeners: list = []

    def begin(self) -> None:
        """Another flow."""
        self.flows += 1
        self._listeners = [feats_of_time.Listener(), feats_of_orders.Listener(), feats_of_trades.Listener()]

    def hear(self, record: Record, events: Sequence[Event]) -> None:
        """What both engines said about a record."""
        self.records += 1
        self.commands += len(record.commands)
        self.said.update(type(event).__name__ for event in events)
        self.reasons.update(Reason(event.reason) for event in events if isinstance(event, OrderCancelled))
        for event in events:
            self.answers.update(_answers(record, event))
        for listener in self._listeners:
            self.feats.update(listener.hear(record, events))

    def missing(self) -> list[str]:
        """What no flow has reached."""
        answers = {(command, code) for command, codes in ANSWERS.items() for code in codes}
        return sorted(
            [_told(*answer) for answer in answers - self.answers.keys()]
            + [*(SAID - self.said.keys()), *(FEATS - self.feats.keys())]
            + [reason.name for reason in REASONS - self.reasons.keys()]
        )

    def surprises(self) -> list[str]:
        """Answers that the rules do not give, and feats that nobody waits for."""
        answers = {(command, code) for command, codes in ANSWERS.items() for code in codes}
        return sorted([_told(*its) for its in self.answers.keys() - answers] + [*(self.feats.keys() - FEATS)])


def _told(command: str, code: Code) -> str:
    return f"{command}: {code.name}"


def _answers(record: Record, event: Event) -> Iterable[tuple[str, Code]]:
    match event:
        case Rejected() | OutboxRejected():
            yield type(record.commands[event.index]).__name__, Code(event.code)
        case RangeAccepted():
            yield from (("a leg", Code(leg.code)) for leg in event.legs if leg.code)
        case QuotesPut():
            yield from (("an hour's quote", Code(hour.code)) for hour in event.outcomes if hour.code)
        case _:
            pass
