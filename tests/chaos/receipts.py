"""Every word that members were told: a receipt for each thing that they have asked for, whatever became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Fate(StrEnum):
    """What a member knows of a request."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass
class Receipt:
    """One thing asked for, under one id, however often it had to be sent."""

    account: int
    what: str
    """order, range, block, cancel, amend, quotes; a request to settlement: deposit, transfer, withdrawal, backing; of the
    router: rental, its change and stop; of delivery: launch."""
    name: str
    """Client order id, Idempotency-Key, order id of a cancel or an amend, number of a quote, a rental, a launch specification."""
    body: dict[str, Any]
    sent: int = 0
    doubts: int = 0
    """How often it was sent without an answer that says what became of it."""
    answers: list[dict[str, Any]] = field(default_factory=list)
    """Acknowledgements, the first one's and those of repeats."""
    refusal: str = ""
    """Code of the answer that ended it."""

    @property
    def fate(self) -> Fate:
        if self.answers:
            return Fate.ACKNOWLEDGED
        return Fate.REFUSED if self.refusal else Fate.UNKNOWN


class Receipts:
    """Of all members. Written by the load's thread alone."""

    def __init__(self) -> None:
        self.all: list[Receipt] = []

    def of(self, *whats: str) -> list[Receipt]:
        return [receipt for receipt in self.all if receipt.what in whats]

    def count(self) -> Counter[tuple[str, Fate]]:
        return Counter((receipt.what, receipt.fate) for receipt in list(self.all))

    @property
    def acknowledged(self) -> int:
        return sum(1 for receipt in list(self.all) if receipt.answers)
