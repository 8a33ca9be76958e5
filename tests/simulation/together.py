"""Several coroutines as one process: they go on in an order drawn from the seed, and end together."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from tests.simulation.world import Wait, World


class Together:
    """`await Together(world, a(), b())`: what a TaskGroup is to the real process. Ends with the first that ends."""

    def __init__(self, world: World, *runs: Coroutine[Any, Any, None]) -> None:
        self._world = world
        self._waits = [(run, Wait(world.now_ms)) for run in runs]

    def __await__(self) -> Generator[Wait, None, None]:
        world = self._world
        try:
            while True:
                ready = [place for place, (_, wait) in enumerate(self._waits) if _can_go(wait, world.now_ms)]
                if not ready:
                    yield Wait(
                        min(wait.until_ms for _, wait in self._waits),
                        lambda: any(_can_go(wait, world.now_ms) for _, wait in self._waits),
                    )
                    continue
                place = world.chance("schedule").choice(ready)
                run = self._waits[place][0]
                try:
                    self._waits[place] = (run, run.send(None))
                except StopIteration:
                    return
        finally:
            for run, _ in self._waits:
                run.close()


def _can_go(wait: Wait, now_ms: int) -> bool:
    return now_ms >= wait.until_ms or (wait.ready is not None and wait.ready())
