"""A bounded part of `make chaos`: nearly every kind of fault once, in a fixed order.

Which process is hit, and by how much, follows from the seed that is printed first; HOURBOOK_SEED=123 draws the same ones.
"""

from __future__ import annotations

import gc
import os
import random
import sys

import pytest
from rich.console import Console

from services.runtime.infra import ApacheKafka
from tests.chaos.day import spend
from tests.chaos.receipts import Fate
from tests.chaos.show import Show, report
from tests.chaos.storm import Storm
from tests.conftest import Skip

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
LEFT_OUT = {"kill during a take-over", "kill between two parts of an output"}
"""They take long, and tests/matching_shell/test_takeover.py kills between any two awaits; `make chaos` has them."""
MOMENTS_MISSED_MAX = 1
"""A moment that is waited for does not always come: a snapshot was whole, a message was sent, before the signal came."""


@pytest.mark.timeout(400)
# Members, lanes and their connections are cut in the middle of anything, the harness's own ends included.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_on_a_hostile_day() -> None:
    """Whatever was acknowledged is in the log once and as it was told, every µUSD is somewhere, and everything heals."""
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)
    seed = os.environ.get("HOURBOOK_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"HOURBOOK_SEED={seed} pytest -s {__file__}", file=sys.stderr, flush=True)

    console = Console()
    show = Show(console, minutes=1)

    def plan(storm: Storm) -> None:
        show.storm = storm
        storm.live(3)
        for kind in storm.possible:
            if kind.name not in LEFT_OUT:
                storm.hurt(kind)
                storm.live(0.5)

    # The desk quotes hours, and the faster they pass the more of the machine it takes.
    day = spend(seed, plan, show, pace=0.4, rate=5)
    gc.collect()  # what was cut is found here, and not in another test

    report(console, day)
    assert not day.sentences, f"kept in {day.home}:\n" + "\n".join(day.sentences)
    assert [kind for kind, injected, healed, _ in day.faults if injected != healed] == []
    not_tried = [kind for kind, injected, _, _ in day.faults if not injected and kind not in LEFT_OUT]
    assert len(not_tried) <= MOMENTS_MISSED_MAX, not_tried
    acknowledged = {what for (what, fate), count in day.receipts.items() if fate is Fate.ACKNOWLEDGED and count}
    assert acknowledged >= {"order", "range", "block", "cancel", "amend", "quotes", "backing", "deposit", "transfer"}
    assert day.doubts > 0, "every answer came at once: nothing was tried"
    day.tidy()
