"""`make chaos`: a hostile day in minutes, or in hours. Exit code 1 when anything was lost, doubled, unaccounted or not healed.

MINUTES (5), HOURBOOK_SEED, WAVE_S (30): so long faults fall before everything must heal once, and DAMAGE=0: without the copies
whose logs are damaged.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from rich.console import Console

from services.runtime.infra import ApacheKafka
from tests.chaos.damage import DAMAGES, damage_all
from tests.chaos.day import spend
from tests.chaos.lanes import Background
from tests.chaos.show import Show, report, row
from tests.chaos.storm import Storm

MINUTES = float(os.environ.get("MINUTES") or 5)
WAVE_S = float(os.environ.get("WAVE_S") or 30)
TO_DAMAGE = () if os.environ.get("DAMAGE") == "0" else DAMAGES


def main() -> int:
    """Exit code."""
    console = Console()
    if missing := ApacheKafka.missing():
        console.print(f"no hostile day without Apache Kafka: {missing}")
        return os.EX_UNAVAILABLE
    seed = os.environ.get("HOURBOOK_SEED") or str(random.SystemRandom().getrandbits(32))
    console.print(f"HOURBOOK_SEED={seed} MINUTES={MINUTES:g} make chaos", highlight=False)
    show = Show(console, MINUTES)
    # Disks that were mounted are to be unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))

    def plan(storm: Storm) -> None:
        show.storm = storm
        deadline = time.monotonic() + MINUTES * 60
        while (left_s := deadline - time.monotonic()) > 0:
            storm.wave(min(WAVE_S, left_s))
            storm.calm()
            storm.go_on()

    outcome = spend(seed, plan, show)
    report(console, outcome)
    with Background() as background:
        outcome.verdict.wrong += damage_all(outcome.home, background, show, TO_DAMAGE)
    for sentence in outcome.sentences:
        console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    if outcome.sentences:
        console.print(f"logs and data are kept in {outcome.home}", highlight=False)
    else:
        halted = f"; {len(TO_DAMAGE)} logs damaged, at each all halted" if TO_DAMAGE else ""
        console.print(f"nothing lost, nothing doubled, nothing unaccounted for; all healed{halted}")
    console.print(row(outcome, MINUTES, len(TO_DAMAGE)), highlight=False, soft_wrap=True)
    outcome.tidy()
    return 1 if outcome.sentences else 0


if __name__ == "__main__":
    sys.exit(main())
