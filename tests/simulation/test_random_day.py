"""Crashes, repeats and delays may slow the market down but never make it wrong.

make sim                            60 seeds from a new base, in two processes; `make test` takes 20
HOURBOOK_SEED=77 make sim           this one seed
HOURBOOK_SEEDS=2000 make sim        so many
HOURBOOK_STEPS=50000 make sim       longer days

A day that goes wrong says which invariant, the last lines of its trace, and the command that repeats it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from schemas.events import Code, Reason
from tests.simulation.day import STEPS, Day, random_day, random_days
from tests.simulation.faults import WEIGHTS
from tests.simulation.reach import coverage, missing

HANDFUL = range(203, 219)
BULK = 60
"""From so many days on, everything below must have happened."""
DONE = (
    *WEIGHTS,
    *(f"{what} {kind}" for what in ("killed", "stopped") for kind in ("matching", "settlement", "gateway")),
    *("refused", "lost", "twice", "late", "parted", "vanished", "unknown, was there", "unknown, came later"),
    *("commit unknown, lost", "commit unknown, done", "commit unknown, done late", "conflict", "answer lost"),
    *("snapshot damaged", "snapshot passed over", "disk was full", "events lost its tail"),
    *("quarantined", "archived", "snapshot through the archive"),
    *("matching ended: Halt", "matching ended: Superseded", "settlement ended: Superseded"),
)
TOLD = (
    *("acknowledged", "acknowledged again", "order in doubt", "read after write", "cancelled", "cancel in doubt"),
    *("order overloaded", "order duplicate_client_id", "order not_ready", "request done", "request refused"),
    *(
        "request in doubt",
        "request pending",
        "delivery acknowledged",
        "delivery in doubt",
        "state set",
        "state not set",
    ),
)
HAPPENED = (
    *("OrderAccepted", "OrderRepeated", "Filled", "OutboxSkipped", "OutboxRejected", "Swept", "StateSet", "Ticked"),
    *("GateClosed", "RunningClosed", "HourEnded", "TitleEnded", "CollateralMoved", "output in several parts"),
    *("sold short", "resold", "bought back", "bought back his own", "owed as declared", "owed as promised"),
    *("backed as declared", "backed as promised", "payout paid", "payout returned", "money fetched for a bid"),
    *(f"delivery settled, {how}" for how in ("in full", "in part", "not at all")),
    *(
        f"cancelled: {reason.name.lower()}"
        for reason in (
            Reason.ASKED,
            Reason.IOC,
            Reason.SELF_TRADE_NEWEST,
            Reason.SELF_TRADE_OLDEST,
            Reason.GATE_CLOSED,
            Reason.BACKING_LOWERED,
        )
    ),
    *(
        f"rejected: {code.name.lower()}"
        for code in (
            Code.HALTED,
            Code.WRONG_PHASE,
            Code.TOO_LATE,
            Code.INSUFFICIENT_FUNDS,
            Code.INSUFFICIENT_BACKING,
            Code.WOULD_TRADE,
            Code.CANNOT_FILL,
            Code.UNKNOWN_ORDER,
        )
    ),
)
LOOKED_AT = (
    *("M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "C1", "C2", "C3", "C4", "C5", "C6", "B1", "B2", "B3", "B4", "B6"),
    *("B7", "O1", "O2", "O3", "D1", "D2", "D4", "S1", "S2", "L1", "L2", "L3"),
)


def seeds() -> list[int]:
    """One by name, or many from a base that is printed."""
    if (one := os.environ.get("HOURBOOK_SEED")) is not None:
        return [int(one)]
    base = random.SystemRandom().randrange(1 << 40)
    return [base + number for number in range(int(os.environ.get("HOURBOOK_SEEDS", "20")))]


@pytest.mark.timeout(900 + 10 * int(os.environ.get("HOURBOOK_SEEDS", "0")))
def test_random_days_keep_every_promise() -> None:
    """Safety under faults, liveness after them, on every seed; and the days were worth something."""
    chosen, steps = seeds(), int(os.environ.get("HOURBOOK_STEPS", str(STEPS)))
    print(f"HOURBOOK_SEED={chosen[0]} .. {chosen[-1]} HOURBOOK_STEPS={steps}", file=sys.stderr, flush=True)
    days = random_days(chosen, steps)
    wrong = [day for day in days if day.failure]
    assert not wrong, f"{len(wrong)} of {len(days)} days went wrong\n\n" + "\n\n".join(day.failure for day in wrong[:3])
    counted = _together(days)
    reached = coverage(counted["happened"])
    print(_table(counted), reached, f"{len(days)} days, 0 wrong", sep="\n", file=sys.stderr)
    if len(days) >= BULK:
        wanted = {"done to the exchange": DONE, "told to members": TOLD, "happened": HAPPENED, "looked at": LOOKED_AT}
        never = {table: [name for name in names if not counted[table][name]] for table, names in wanted.items()}
        assert never == {table: [] for table in wanted}


def test_a_handful_of_days_reaches_every_command_event_reason_and_code() -> None:
    """Fixed seeds: which ones, is a matter of trying; that they are few, says that members draw everything often."""
    days = random_days(HANDFUL)
    assert [day.failure for day in days if day.failure] == []
    counted = _together(days)
    print(coverage(counted["happened"]), file=sys.stderr)
    assert missing(counted["happened"]) == []


def _together(days: list[Day]) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {}
    for day in days:
        for table, counts in day.counted.items():
            counted.setdefault(table, Counter()).update(counts)
    return counted


def _table(counted: dict[str, Counter[str]]) -> str:
    lines = []
    for table, counts in counted.items():
        lines += [f"--- {table}"]
        shown = [f"{count:>9} {name}" for name, count in sorted(counts.items()) if count]
        lines += [
            "".join(f"{cell:<50}" for cell in shown[place : place + 3]).rstrip() for place in range(0, len(shown), 3)
        ]
    return "\n".join(lines)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """Every record of every log and every row of every table, in another process with another hash seed, too."""
    here = random_day(4711, 6_000)
    assert not here.failure, here.failure
    code = "from tests.simulation.day import random_day; print(random_day(4711, 6_000).digest)"
    there = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]
    assert there == [here.digest] * 2
    assert random_day(4712, 6_000).digest != here.digest


def test_a_day_that_goes_wrong_says_why_and_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The invariant, what happened last, and the command."""
    monkeypatch.setattr(
        "tests.simulation.judge.check_receipts", lambda *_: (_ for _ in ()).throw(AssertionError("S2: gone"))
    )
    day = random_day(4711, 4_000)
    assert "AssertionError: S2: gone" in day.failure
    assert " ms  --- " in day.failure, "faults"
    assert "takes over" in day.failure, "what services said"
    assert day.failure.endswith("again: HOURBOOK_SEED=4711 HOURBOOK_STEPS=4000 make sim")
