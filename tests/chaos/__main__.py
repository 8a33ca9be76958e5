"""`make chaos`: a hostile day in minutes, or in hours. Exit code 1 when anything was lost, doubled, unaccounted or not healed.

MINUTES (5), HOURBOOK_SEED, WAVE_S (30): so long faults fall before everything must heal once, and DAMAGE=0: without the copies
whose logs are damaged. ONCE=1: a short day instead, in which nearly every kind of fault falls once, in a fixed order.
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
from tests.chaos.day import Outcome, spend
from tests.chaos.lanes import Background
from tests.chaos.receipts import Fate
from tests.chaos.show import Show, report, row
from tests.chaos.storm import Storm

MINUTES = float(os.environ.get("MINUTES") or 5)
WAVE_S = float(os.environ.get("WAVE_S") or 30)
ONCE = os.environ.get("ONCE") == "1"
LEFT_OUT = {
    *("kill during a take-over", "kill between two parts of an output"),
    *("kill between record and order", "kill between count and word"),
}
"""Of a short day: they take long, and `test_takeover.py` and `test_crashes.py` of their rooms kill between any two awaits."""
MISSED_MAX = 1
"""A moment that is waited for does not always come: a snapshot was whole, a message was sent, before the signal came."""
HOUR_ENDS_S = 70.0
"""After the market of a short day has begun: members trade a quarter of a minute later, and what they rent is over by its end."""
DELIVERED_S_MAX = 150.0
"""Longer than an hour of the market: where nothing was rented yet when the first one ended, the next one counts."""
SEEN = {
    *("order", "range", "block", "cancel", "amend", "quotes", "backing", "deposit", "transfer"),
    *("rental", "stop", "launch"),
}
AUDITED = {"H1", "H2", "H3", "R1", "R2", "R3", "R4"}
"""A short day is to give the auditor something to look at for these."""
TO_DAMAGE = () if os.environ.get("DAMAGE") == "0" else DAMAGES


def main() -> int:
    """Exit code."""
    console = Console()
    if missing := ApacheKafka.missing():
        console.print(f"no hostile day without Apache Kafka: {missing}")
        return os.EX_UNAVAILABLE
    seed = os.environ.get("HOURBOOK_SEED") or str(random.SystemRandom().getrandbits(32))
    minutes = 1.0 if ONCE else MINUTES
    how = "ONCE=1" if ONCE else f"MINUTES={MINUTES:g}"
    console.print(f"HOURBOOK_SEED={seed} {how} make chaos", highlight=False)
    show = Show(console, minutes)
    # Disks that were mounted are to be unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(os.EX_TEMPFAIL))

    def begin(storm: Storm) -> None:
        show.storm = storm
        (each_once if ONCE else waves)(storm)

    outcome = spend(seed, begin, show, pace=0.4, hour_ends_in_s=HOUR_ENDS_S) if ONCE else spend(seed, begin, show)
    if ONCE:
        outcome.verdict.wrong += not_seen(outcome)
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
    console.print(row(outcome, minutes, len(TO_DAMAGE)), highlight=False, soft_wrap=True)
    outcome.tidy()
    return 1 if outcome.sentences else 0


def waves(storm: Storm) -> None:
    """Faults at random, and a calm after each half minute of them."""
    deadline = time.monotonic() + MINUTES * 60
    while (left_s := deadline - time.monotonic()) > 0:
        storm.wave(min(WAVE_S, left_s))
        storm.calm()
        storm.go_on()


def each_once(storm: Storm) -> None:
    """Which process is hit, and by how much, follows from the seed; which fault when does not."""
    storm.live(3)
    for kind in storm.possible:
        if kind.name not in LEFT_OUT:
            storm.hurt(kind)
            storm.live(0.5)
    storm.live_until_delivered(DELIVERED_S_MAX)


def not_seen(outcome: Outcome) -> list[str]:
    """What a short day must have seen to say anything, and has not."""
    sentences = [
        f"{kind}: injected {injected}, healed {healed}"
        for kind, injected, healed, _ in outcome.faults
        if injected != healed
    ]
    not_tried = [kind for kind, injected, _, _ in outcome.faults if not injected and kind not in LEFT_OUT]
    if len(not_tried) > MISSED_MAX:
        sentences.append(f"not tried: {', '.join(not_tried)}")
    acknowledged = {what for (what, fate), count in outcome.receipts.items() if fate is Fate.ACKNOWLEDGED and count}
    if missing := SEEN - acknowledged:
        sentences.append(f"never acknowledged: {', '.join(sorted(missing))}")
    if not outcome.verdict.looked_at["titles counted"]:
        sentences.append("no hour that was rented has ended")
    if unseen := AUDITED & set(outcome.verdict.unseen):
        sentences.append(f"the auditor had nothing to look at for {', '.join(sorted(unseen))}")
    if not outcome.doubts:
        sentences.append("every answer came at once: nothing was tried")
    return sentences


if __name__ == "__main__":
    sys.exit(main())
