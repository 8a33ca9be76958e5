"""Time, chance and crashes: runs coroutines of the shells one step at a time, in an order drawn from a seed.

The shells await nothing but the interfaces of `services.runtime.log` and their stores. The simulated ones suspend
with `Wait`; the world decides who goes on, when, and who dies between any two awaits. One stream of chance per
purpose, so that drawing one fault more does not change the orders.
"""

from __future__ import annotations

import contextlib
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from typing import Any

START_MS = 1_790_000_000_000


class Wait:
    """Suspends a coroutine until `ready` says yes or `until_ms` has come."""

    def __init__(self, until_ms: int, ready: Callable[[], bool] | None = None) -> None:
        self.until_ms = until_ms
        self.ready = ready

    def __await__(self) -> Generator[Wait, None, None]:
        yield self


class Process:
    """A coroutine that may be killed; what it held in memory dies with it."""

    def __init__(self, name: str, run: Coroutine[Any, Any, None], until_ms: int) -> None:
        self.name = name
        self.run = run
        self.wait = Wait(until_ms)
        self.ended: BaseException | str | None = None
        """None: alive; "done"; "killed"; or the exception that ended it."""

    @property
    def alive(self) -> bool:
        return self.ended is None

    def can_go(self, now_ms: int) -> bool:
        return self.alive and (now_ms >= self.wait.until_ms or (self.wait.ready is not None and self.wait.ready()))


class World:
    """The seed's world. `steps` counts resumptions; `trace` keeps the last of them for a failing run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ms = START_MS
        self.steps = 0
        self.processes: list[Process] = []
        self.trace: list[str] = []
        self._chance: dict[str, random.Random] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._event_count = 0

    def chance(self, purpose: str) -> random.Random:
        """The stream of chance for one purpose."""
        if purpose not in self._chance:
            self._chance[purpose] = random.Random(f"{self.seed}/{purpose}")
        return self._chance[purpose]

    def spawn(self, name: str, run: Coroutine[Any, Any, None]) -> Process:
        """Start a process; it takes its first step when the world draws it."""
        process = Process(name, run, self.now_ms)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """kill -9: no `finally` of the process may reach the world any more."""
        process.ended = "killed"
        self._note(f"kill {process.name}")
        _drop(process.run)
        self.processes.remove(process)

    def later(self, after_ms: int, what: Callable[[], None]) -> None:
        """Something of the outside (a write in flight) that happens by itself."""
        self._event_count += 1
        heapq.heappush(self._events, (self.now_ms + after_ms, self._event_count, what))

    def step(self) -> bool:
        """Let one process, or one thing of the outside, go on. False: nothing ever will."""
        while True:
            if self._events and self._events[0][0] <= self.now_ms:
                heapq.heappop(self._events)[2]()
                return True
            ready = [process for process in self.processes if process.can_go(self.now_ms)]
            if ready:
                self._resume(self.chance("schedule").choice(ready))
                return True
            if not self._advance():
                return False

    def _advance(self) -> bool:
        moments = [process.wait.until_ms for process in self.processes if process.alive]
        moments += [self._events[0][0]] if self._events else []
        if not moments:
            return False
        self.now_ms = max(self.now_ms, min(moments))
        return True

    def _resume(self, process: Process) -> None:
        self.steps += 1
        try:
            wait = process.run.send(None)
        except StopIteration:
            process.ended = "done"
        except Exception as error:  # noqa: BLE001 # the process ends with it; its supervisor (the test) decides what follows
            process.ended = error
        else:
            assert isinstance(wait, Wait), (
                f"{process.name} awaits {wait!r}: only the simulated interfaces may be awaited"
            )
            process.wait = wait
            return
        self._note(f"{process.name} ended: {process.ended!r}")
        self.processes.remove(process)

    def _note(self, line: str) -> None:
        self.trace.append(f"{self.now_ms - START_MS:>9} ms  {line}")
        del self.trace[:-200]


def _drop(run: Coroutine[Any, Any, None]) -> None:
    """Close a coroutine; an interface awaited while it closes raises at once (`Wait` is never resumed)."""
    # RuntimeError: it awaited something in a `finally`; a killed process would not have got that far either.
    with contextlib.suppress(RuntimeError):
        run.close()


class SimClock:
    """`services.runtime.log.Clock`, with a process's own error of the clock."""

    def __init__(self, world: World, skew_ms: int = 0) -> None:
        self.world = world
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        return self.world.now_ms + self.skew_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        await Wait(self.world.now_ms + max(1, duration_ms))
