"""One hostile day, from an empty folder to a verdict."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.exchange import RATE, opened
from tests.chaos.faults import Misbehaved
from tests.chaos.judge import judge
from tests.chaos.lanes import Background
from tests.chaos.load import Load
from tests.chaos.receipts import Fate
from tests.chaos.storm import KINDS, Say, Storm
from tests.chaos.verdict import Verdict

Plan = Callable[[Storm], None]
"""What is done: waves and single faults. The day heals and judges by itself."""


@dataclass
class Outcome:
    """What came of a day."""

    seed: str
    home: Path
    """Folder with logs and data."""
    faults: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Kind, injected, of which healed, missed."""
    receipts: dict[tuple[str, Fate], int] = field(default_factory=dict)
    doubts: int = 0
    """Answers that said nothing."""
    requests: int = 0
    outage_s: float = 0.0
    calm_s: list[float] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    not_possible: list[str] = field(default_factory=list)
    """Kinds that this machine does not let us do."""

    @property
    def sentences(self) -> list[str]:
        """What is wrong; empty: it was a good day."""
        return self.verdict.sentences

    def tidy(self) -> None:
        """A good day's folder goes; another one's stays, for whoever looks for reasons."""
        if not self.sentences:
            shutil.rmtree(self.home)


def spend(
    seed: str, plan: Plan, say: Say, *, pace: float = 1.0, rate: int = RATE, hour_ends_in_s: float | None = None
) -> Outcome:
    """Open, load, hurt, heal, judge. The folder stays: `tidy` it, or look for reasons in it.

    `pace`: lasting faults last so much of their usual time; `rate`: market seconds in one of ours; `hour_ends_in_s`: after so
    long of our time an hour of the market ends.
    """
    home = Path(tempfile.mkdtemp(prefix="hourbook-chaos-"))
    home.chmod(0o711)
    outcome = Outcome(seed, home)
    with Background() as background, opened(home, background, rate, hour_ends_in_s) as exchange:
        load = Load(exchange, seed)
        storm = Storm(exchange, load, seed, say, pace=pace)
        load.begin()
        say("members trade")
        misbehaved: list[str] = []
        try:
            plan(storm)
            storm.calm()
        except Misbehaved as error:
            misbehaved.append(str(error))
        outcome.verdict = judge(exchange, load.receipts)
        outcome.verdict.wrong += storm.misbehaved + misbehaved
        outcome.faults = [
            (kind.name, storm.injected[kind.name], storm.healed[kind.name], storm.missed[kind.name])
            for kind in storm.possible
        ]
        outcome.not_possible = sorted({kind.name for kind in KINDS} - {kind.name for kind in storm.possible})
        outcome.receipts = dict(load.receipts.count())
        outcome.doubts = sum(receipt.doubts for receipt in load.receipts.all)
        outcome.requests, outcome.outage_s, outcome.calm_s = load.requests, load.outage_s, storm.calm_s
    return outcome
