"""A day on a screen: a line for each thing that happens, and tables at the end."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from tests.chaos.day import Outcome
from tests.chaos.receipts import Fate
from tests.chaos.storm import Storm


class Show:
    """A line for each thing that happens, with the time, what members have done, and how far the day is."""

    def __init__(self, console: Console, minutes: float) -> None:
        self._console = console
        self._seconds = minutes * 60
        self._began_s = time.monotonic()
        self._storm_began_s = 0.0
        self.storm: Storm | None = None

    def __call__(self, what: str) -> None:
        passed_s = time.monotonic() - self._began_s
        done = self.storm.load.receipts.acknowledged if self.storm else 0
        if self.storm and not self._storm_began_s:
            self._storm_began_s = passed_s
        share = min(100, round(100 * (passed_s - self._storm_began_s) / self._seconds)) if self.storm else 0
        self._console.print(
            f"{passed_s:7.1f} s {share:3} %  {done:7,} done  {what}", highlight=False, soft_wrap=True, markup=False
        )


def report(console: Console, outcome: Outcome) -> None:
    """Tables."""
    faults = Table("fault", "injected", "healed", "moment missed", box=None, pad_edge=False)
    for kind, injected, healed, missed in outcome.faults:
        faults.add_row(kind, str(injected), str(healed), str(missed))
    for kind in outcome.not_possible:
        faults.add_row(kind, "not possible here", "", "")
    console.print(faults)
    told = Table("asked for", *Fate, box=None, pad_edge=False)
    for what in sorted({what for what, _ in outcome.receipts}):
        told.add_row(what, *(f"{outcome.receipts.get((what, fate), 0):,}" for fate in Fate))
    console.print(told)
    verdict = outcome.verdict
    sums = Table("", "", box=None, pad_edge=False, show_header=False)
    for name, value in (
        ("HTTP requests", f"{outcome.requests:,}"),
        ("answers that left it open", f"{outcome.doubts:,}"),
        ("lost", f"{len(verdict.lost)}"),
        ("doubled", f"{len(verdict.doubled)}"),
        ("µUSD unaccounted for", f"{verdict.unaccounted_micros:,}"),
        ("longest outage for members", f"{outcome.outage_s:.1f} s"),
        ("returns to zero lag", f"{len(outcome.calm_s)}, the longest in {max(outcome.calm_s, default=0):.1f} s"),
        ("looked at", ", ".join(f"{count:,} {what}" for what, count in sorted(verdict.looked_at.items()))),
        ("nothing to look at for", ", ".join(verdict.unseen) or "nothing"),
    ):
        sums.add_row(name, value)
    console.print(sums)


def row(outcome: Outcome, minutes: float, damaged: int) -> str:
    """The line of docs/reliability.md."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "no commit"
    fates = {fate: sum(count for (_, of), count in outcome.receipts.items() if of is fate) for fate in Fate}
    verdict = outcome.verdict
    cells = (
        f"{datetime.now(UTC):%Y-%m-%d}, {commit}",
        f"{outcome.seed}, {minutes:g}",
        f"{sum(injected for _, injected, _, _ in outcome.faults)}, {sum(healed for _, _, healed, _ in outcome.faults)}",
        f"{fates[Fate.ACKNOWLEDGED]:,}",
        f"{fates[Fate.REFUSED]:,}",
        f"{outcome.doubts:,}",
        f"{len(verdict.lost)}",
        f"{len(verdict.doubled)}",
        f"{verdict.unaccounted_micros:,}",
        f"{outcome.outage_s:.1f} s",
        f"{max(outcome.calm_s, default=0):.1f} s",
        f"{damaged}",
    )
    return f"| {' | '.join(cells)} |"
