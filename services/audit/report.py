"""What an audit found: one line per invariant of the design, with the number of objects looked at. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct, field

BREACHES_KEPT: Final = 20
"""Breaches quoted per invariant; all are counted."""

NAMES: Final = {
    "M1": "every entry sums to zero per asset",
    "M2": "all accounts sum to zero, and each is the sum of its postings",
    "M3": "nothing available is negative",
    "M4": "holds equal the worst case of open orders",
    "M5": "postings are what the logs call for, line by line",
    "M6": "fees are exact, reach treasury only by delivery, and leave it only as credit of a hand-over that they pay for",
    "M7": "engine, log and ledger have the same money at the same seq; transit is the unconfirmed outbox",
    "M8": "clearing is flat after every entry",
    "C1": "positions of a contract sum to zero, and are bought minus sold",
    "C2": "open asks <= held + unsold backing, per ground",
    "C3": "nothing trades outside its phase and state, and what time does happens in time",
    "C4": "the same declaration or class read twice changes nothing",
    "C5": "every promised GPU-hour is collateralised to its collateral price, and bought in when it is not covered",
    "C6": "escrow of a title = claims if delivered = claims if not; an ended contract has none",
    "B1": "the book is never crossed at rest",
    "B2": "no trade through a better price (blocks: on average)",
    "B3": "at the maker's price",
    "B4": "first in, first out",
    "B5": "level totals of engine and projection equal the orders of the log",
    "B6": "an order is indexed once, in log, engine and projection",
    "B7": "no trade within one owner, no correction by one alone, and none twice under one approval",
    "B8": "a block fills in all its hours or none",
    "B9": "no two resting blocks of one range cross that could trade, unless their retry is pending",
    "O1": "fills + leaves + cancelled = quantity",
    "O2": "within its window one client id is one order",
    "O3": "every command has exactly one outcome, and its own",
    "D1": "the same log gives the same bytes",
    "D2": "snapshot and tail equal a full replay",
    "D4": "no gap in seq, nor in the numbers of trades and titles",
    "S1": "each event, request and delivery record settles exactly once",
    "H1": "no seat of a machine serves two holders at one time, and a title is on machines of its obligor's or of equal cost",
    "H2": "minutes sold = delivered + allowance + undelivered, and settlement was told those",
    "H3": "who is paid back went without, and who is credited for a hand-over had to move",
    "R1": "what is ordered for a rental was recorded before, and is neither more nor dearer",
    "R2": "no rental holds more GPUs of an hour than it asks for",
    "R3": "no purchase of a rental is above max_price, outside of its hours and classes, or beyond max_spend of its day",
    "R4": "nothing is bought for a rental after its stop, and nothing sold but after it",
}
"""What is audited: computed anew from logs and postings."""


PARTS: Final[dict[str, tuple[str, ...]]] = {
    "M5": ("events", "requests", "deliveries"),
    "M6": ("trades", "deliveries"),
    "C5": ("promises", "hours that ended"),
    "C6": ("titles", "hours that ended", "titles paid out"),
    "S1": ("events", "requests", "deliveries"),
}
"""What an invariant speaks of, where it speaks of several things: each must have been there to be looked at."""

WHERE_THERE_ARE: Final[dict[str, tuple[str, ...]]] = {
    "B7": ("corrections",),
    "B8": ("block trades",),
    "B9": ("blocks",),
    "C5": ("buy-ins",),
    "C6": ("running trades",),
    "H1": ("leases",),
    "H2": ("counted minutes",),
    "H3": ("counted minutes",),
    "M5": ("hand-overs credited",),
    "M6": ("running trades",),
    "O1": ("ranges", "amends", "quotes", "blocks"),
    "R1": ("accepted orders of rentals",),
    "R2": ("fills of rentals",),
    "R3": ("purchases of rentals",),
    "R4": ("orders of rentals",),
}
"""What an exchange may do without. An invariant must have looked at it where a log has some."""

ONLY_THERE: Final = frozenset({"B8", "B9", "H1", "H2", "H3", "R1", "R2", "R3", "R4"})
"""Of these an exchange may do without everything: nothing to look at is no failure."""


class Elsewhere(Struct, frozen=True):
    """An invariant of the design that no audit of log and ledger can see."""

    rule: str
    why: str
    shown_by: tuple[str, ...] = ()
    """Tests, as paths in the repository; none: what it speaks of is not there yet."""


NOT_AUDITED: Final = {
    "D3": Elsewhere(
        "the public feed rebuilds the book",
        "what was told leaves no trace in log and ledger",
        ("tests/market_data/test_d3.py", "tests/market_data/test_process.py"),
    ),
    "S2": Elsewhere(
        "acknowledged implies durable",
        "an acknowledgement leaves no trace but with the one who got it",
        ("tests/integration/test_survives.py", "tests/simulation/judge.py"),
    ),
    "L1": Elsewhere(
        "lag returns to zero after healing",
        "a log does not tell what nobody answered in time",
        ("tests/simulation/day.py",),
    ),
    "L2": Elsewhere(
        "every queue is bounded",
        "queues are in the memory of processes",
        ("tests/matching_shell/test_takeover.py", "tests/settlement/test_bounds.py", "tests/simulation/judge.py"),
    ),
    "L3": Elsewhere(
        "what cannot go on stops loudly",
        "it is about processes that have stopped",
        (
            "tests/matching_shell/test_quarantine.py",
            "tests/settlement/test_contradictions.py",
            "tests/simulation/judge.py",
        ),
    ),
}
"""The rest of the design's invariants, so that none is left out in silence."""


class Finding(Struct):
    """One invariant in one audit."""

    name: str
    looked_at: int = 0
    broken: int = 0
    breaches: list[str] = field(default_factory=list)
    """The first `BREACHES_KEPT`, a sentence each."""
    seen: set[str] = field(default_factory=set)
    """Of its PARTS."""
    there: set[str] = field(default_factory=set)
    """Kinds of things that the logs have; shared by all findings."""

    @property
    def unseen(self) -> list[str]:
        """What there was nothing of to look at, and should have been."""
        kinds = WHERE_THERE_ARE.get(self.name, ())
        parts = [*PARTS.get(self.name, ()), *(kind for kind in kinds if kind in self.there)]
        missing = [part for part in parts if part not in self.seen]
        return missing or ([] if self.looked_at or self.name in ONLY_THERE else ["anything"])

    @property
    def clean(self) -> bool:
        """Looked at something of each part, and nothing was broken."""
        return self.broken == 0 and not self.unseen


class Findings:
    """Collects findings by name; a name that is not in NAMES is a bug of the auditor."""

    def __init__(self) -> None:
        self._there: set[str] = set()
        self._by_name = {name: Finding(name, there=self._there) for name in NAMES}
        self.stopped: list[str] = []
        """Where the auditor could not go on, a sentence each; what comes after was not looked at."""

    def looked(self, name: str, count: int = 1) -> None:
        """`count` more objects were looked at for `name`."""
        self._by_name[name].looked_at += count

    def there_are(self, kind: str) -> None:
        """A log has some of a kind."""
        self._there.add(kind)

    def saw(self, name: str, part: str) -> None:
        """There was something of a part, and it was looked at."""
        parts = PARTS.get(name, ()) + WHERE_THERE_ARE.get(name, ())
        assert part in parts, f"{name} has no part {part!r}"
        self._by_name[name].seen.add(part)

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

    def broken(self) -> set[str]:
        """Names of invariants that do not hold."""
        return {finding.name for finding in self if finding.broken}

    def unseen(self) -> dict[str, list[str]]:
        """Name -> parts of which there was nothing to look at."""
        return {finding.name: finding.unseen for finding in self if finding.unseen}

    def clean(self, names: Iterable[str] = tuple(NAMES)) -> bool:
        """Every one of `names` looked at something and found nothing broken."""
        return all(self._by_name[name].clean for name in names)

    def document(self) -> dict[str, Any]:
        """All of it, as `--json` prints it."""
        return {
            "clean": self.clean(),
            "stopped": self.stopped,
            "invariants": [
                {
                    "name": finding.name,
                    "rule": NAMES[finding.name],
                    "looked_at": finding.looked_at,
                    "broken": finding.broken,
                    "breaches": finding.breaches,
                    "unseen": finding.unseen,
                }
                for finding in self
            ],
            "not_audited": [
                {"name": name, "rule": one.rule, "why": one.why, "shown_by": one.shown_by}
                for name, one in NOT_AUDITED.items()
            ],
        }
