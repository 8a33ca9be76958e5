"""What an audit found: one line per invariant, with the number of objects looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, field

BREACHES_KEPT: Final = 20
"""Breaches quoted per invariant; all are counted."""


class Finding(Struct):
    """One invariant in one audit."""

    name: str
    looked_at: int = 0
    broken: int = 0
    breaches: list[str] = field(default_factory=list)
    """The first `BREACHES_KEPT`, a sentence each."""

    @property
    def clean(self) -> bool:
        """Looked at something, and nothing was broken."""
        return self.broken == 0 and self.looked_at > 0


NAMES: Final = {
    "M1": "every entry sums to zero per asset",
    "M2": "all accounts sum to zero",
    "M3": "nothing available is negative",
    "M4": "holds equal the worst case of open orders",
    "M5": "postings are what the log says, to the µUSD",
    "M6": "fees are exact, and reach treasury only by delivery",
    "M7": "engine accounts equal the ledger's shard accounts at the same seq; transit equals the unconfirmed outbox",
    "M8": "clearing is flat after every entry",
    "C1": "positions of a contract sum to zero",
    "C2": "open asks <= held + unsold backing, per ground",
    "C3": "nothing trades outside its phase",
    "C4": "the same declaration read twice changes nothing",
    "C5": "every promised GPU-hour is collateralised",
    "C6": "escrow of a title = claims if delivered = claims if not; an ended contract has none",
    "B1": "the book is never crossed at rest",
    "B2": "no trade through a better price",
    "B3": "at the maker's price",
    "B4": "first in, first out",
    "B5": "projected levels equal the orders of the log",
    "B6": "an order id is accepted once",
    "B7": "no trade within one owner",
    "O1": "fills + leaves + cancelled = quantity",
    "O2": "within its window one client id is one order",
    "O3": "every command has exactly one outcome",
    "D1": "the same log gives the same bytes",
    "D2": "snapshot and tail equal a full replay",
    "D4": "no gap in seq",
    "S1": "each event settles exactly once",
}
"""What is audited. Blocks (B8, B9) and the public feed (D3) are not offered yet; S2, L1 to L3 are shown under fault by tests."""


class Findings:
    """Collects findings by name; a name that is not in NAMES is a bug of the auditor."""

    def __init__(self) -> None:
        self._by_name = {name: Finding(name) for name in NAMES}

    def looked(self, name: str, count: int = 1) -> None:
        """`count` more objects were looked at for `name`."""
        self._by_name[name].looked_at += count

    def expect(self, name: str, holds: bool, breach: str) -> None:
        """One object was looked at; `breach` says what is wrong where it does not hold."""
        finding = self._by_name[name]
        finding.looked_at += 1
        if not holds:
            finding.broken += 1
            if len(finding.breaches) < BREACHES_KEPT:
                finding.breaches.append(breach)

    def __getitem__(self, name: str) -> Finding:
        return self._by_name[name]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._by_name.values())

    def clean(self, names: Iterable[str] = tuple(NAMES)) -> bool:
        """Every one of `names` looked at something and found nothing broken."""
        return all(self._by_name[name].clean for name in names)
