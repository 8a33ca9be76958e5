"""Garbage collection at moments of our choosing, and never in the middle of a batch.

A process that makes tens of thousands of rows a second is else interrupted all the time, to look for cycles that are not there:
settlement's own work came to 28.6 µs a fill with automatic collection, and to 23.1 µs without. What makes cycles is errors.

    collector = Collector()      # before anything large is loaded
    ...                          # load
    collector.freeze()
    collector.turn(busy)         # again and again, between two batches
"""

from __future__ import annotations

import gc
import time
from typing import Final

YOUNG_S: Final = 1.0
"""Between two looks at young objects while there is nothing else to do."""
ALL_S: Final = 60.0
"""Between two looks at everything while there is nothing else to do; at young objects while there always is."""
NEW_MAX: Final = 50_000
"""Objects that may have come since the last look where the state settles: 4 to 25 ms to look at."""


class Collector:
    """One in a process: from its making on nothing is collected by itself."""

    def __init__(self, *, settles: bool = False) -> None:
        """`settles`: what has survived a look at everything is never looked at again, and a look comes before there is much new.

        For processes whose state is large and has no cycles: a look at a million orders takes a second, and whoever asks in that
        moment waits. Not where strangers come and go: a connection that ends after such a look would never be freed.
        """
        self._settles = settles
        self._passed = 0
        """Objects that looks at young ones have passed over since the last look at everything."""
        self._young_s = self._all_s = time.monotonic()
        gc.disable()
        gc.collect()

    def freeze(self) -> None:
        """What is there now stays: it is never looked at, not even once, and loading it is that much sooner done."""
        gc.freeze()
        self._passed = 0
        self._young_s = self._all_s = time.monotonic()

    def turn(self, busy: bool) -> None:
        """Between two batches. `busy`: others wait."""
        now_s = time.monotonic()
        new = self._passed + gc.get_count()[0]
        much = self._settles and new >= NEW_MAX
        if much or (not busy and now_s - self._all_s >= ALL_S):
            gc.collect()
            if self._settles:
                gc.freeze()
            self._passed = 0
            self._young_s = self._all_s = now_s
        elif now_s - self._young_s >= (ALL_S if busy else YOUNG_S):
            gc.collect(1)
            self._passed = new
            self._young_s = now_s
