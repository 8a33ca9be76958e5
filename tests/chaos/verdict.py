"""What a judge has found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Verdict:
    """What was found, in sentences, and how much was looked at."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged, and not in the log as it was told."""
    doubled: list[str] = field(default_factory=list)
    """In the log more than once."""
    wrong: list[str] = field(default_factory=list)
    """Refused and in the log all the same; broken invariants; what nobody knows the end of."""
    unaccounted_micros: int = 0
    looked_at: Counter[str] = field(default_factory=Counter)
    unseen: list[str] = field(default_factory=list)
    """Invariants for which the auditor found nothing to look at."""

    @property
    def sentences(self) -> list[str]:
        money = [f"{self.unaccounted_micros} µUSD are unaccounted for"] if self.unaccounted_micros else []
        return [
            *(f"lost: {each}" for each in self.lost),
            *(f"doubled: {each}" for each in self.doubled),
            *self.wrong,
            *money,
        ]
