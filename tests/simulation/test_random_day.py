"""Crashes, repeats and delays may slow the market down but never make it wrong.

make sim                            200 seeds from a new base
HOURBOOK_SEED=77 make sim           this one seed
HOURBOOK_SEEDS=2000 make sim        so many
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter

import pytest

from schemas.events import Filled, HourEnded
from services.audit.report import Findings
from tests.simulation.bank import Bank
from tests.simulation.exchange import CLASSES, RATE, SHARDS, Exchange, random_day
from tests.simulation.world import START_MS

SEEN_ALWAYS = (
    "C1",
    "C2",
    "C3",
    "C4",
    "C5",
    "C6",
    "B1",
    "B2",
    "B3",
    "B4",
    "B6",
    "B7",
    "O1",
    "O2",
    "O3",
    "D1",
    "D4",
    "M3",
    "M6",
)
"""What a bulk of days must have looked at: an invariant that nothing tried proves nothing."""


def seeds() -> list[int]:
    """One by name, or many from a base that is printed."""
    if (one := os.environ.get("HOURBOOK_SEED")) is not None:
        return [int(one)]
    base = random.SystemRandom().randrange(1 << 40)
    return [base + number for number in range(int(os.environ.get("HOURBOOK_SEEDS", "200")))]


@pytest.mark.timeout(900)
def test_random_days_keep_every_promise() -> None:
    """Safety under faults, liveness after them, on every seed; and the days were worth something."""
    steps = int(os.environ.get("HOURBOOK_STEPS", "5000"))
    looked: Counter[str] = Counter()
    faults = acknowledged = fills = hours = 0
    chosen = seeds()
    for seed in chosen:
        exchange = random_day(seed, steps)
        looked.update(_looked(exchange.check()))
        faults += exchange.faults
        acknowledged += sum(len(gateway.acknowledged) for gateway in exchange.gateways)
        fills += _count(exchange, Filled)
        hours += _count(exchange, HourEnded)
    print(
        f"{len(chosen)} days, {faults} faults, {acknowledged} commands acknowledged, {fills} fills, "
        f"{hours} hours ended, 0 wrong",
        file=sys.stderr,
    )
    assert acknowledged > 0
    if len(chosen) >= 50:
        assert fills > 100
        assert hours > 100
        assert [name for name in SEEN_ALWAYS if not looked[name]] == []


def test_every_member_is_let_in() -> None:
    """A market that half of its members cannot enter tries half of its rules."""
    exchange = Exchange(seed=1)
    exchange.run(3_000, fault_every=1_000_000)
    states = {str(row[0]): row[3] for row in exchange.database.tables["requests"].values()}
    opening = [request.request_id for request in Bank(random.Random(1), CLASSES, RATE, START_MS).opening()]
    assert {
        name: state for name, state in states.items() if name.startswith(("open-", "list-", "first-", "trade-"))
    } == {name: "done" for name in opening if not name.startswith("b-")}


def _looked(found: Findings) -> dict[str, int]:
    return {finding.name: finding.looked_at for finding in found}


def _count(exchange: Exchange, kind: type) -> int:
    return sum(isinstance(event, kind) for shard in range(SHARDS) for event in exchange.unique_events(shard))
