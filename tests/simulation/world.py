"""Time, chance and crashes: simulated processes, of which the world runs one step at a time, in an order drawn from a seed.

A process is an event loop of its own, so that the shells' coroutines, their task groups, time-outs, events and locks are the
production ones. What they await in the end is a simulated interface, which suspends with `Wait`; the world decides who goes
on, when, and who dies between any two steps. One stream of chance per purpose, so that drawing one fault more does not change
the orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, cast

from services.runtime.errors import cause_of

START_MS = 1_790_000_000_000
TRACE_KEPT = 400


class Signal:
    """Something that a `Wait` may wait for; wakes all who wait when it is fired."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def fire(self) -> None:
        """Whoever waits now goes on."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            _resolve(future)

    def add(self, future: asyncio.Future[None]) -> None:
        """Fire this one, too."""
        if len(self._waiting) > 20:
            self._waiting = [one for one in self._waiting if not one.done()]
        self._waiting.append(future)


class Wait:
    """Suspends the running process's task until `until_ms` has come, or one of `signals` is fired."""

    def __init__(self, until_ms: int, *signals: Signal) -> None:
        self.until_ms = until_ms
        self.signals = signals

    def __await__(self) -> Generator[Any, None, None]:
        process = cast("Process", asyncio.get_running_loop())
        future = process.create_future()
        process.world.wake(future, self.until_ms, process)
        for signal in self.signals:
            signal.add(future)
        return future.__await__()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Process(asyncio.AbstractEventLoop):
    """A simulated process: what it holds in memory dies with it."""

    def __init__(self, world: World, name: str, run: Coroutine[Any, Any, None]) -> None:
        self.world = world
        self.name = name
        self.ended: BaseException | str | None = None
        """None: alive; "done"; "killed"; or the exception that ended it."""
        self.stopped = False
        """As by SIGSTOP: it goes on where it was, once it is allowed to."""
        self.gone = Signal()
        """Fired at its end, whatever that is; `on_end` is called then."""
        self.on_end: Callable[[Process], None] | None = None
        self.listed = False
        """Whether it is among the world's `runnable`."""
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._main = self.create_task(run)

    @property
    def alive(self) -> bool:
        return self.ended is None

    @property
    def can_go(self) -> bool:
        return bool(self._ready) and not self.stopped

    def run_next(self) -> None:
        """One callback: a task from one await to the next, or what a future or timer calls."""
        handle = self._ready.popleft()
        events._set_running_loop(self)  # the tasks must find their own loop
        try:
            if not handle.cancelled():
                handle._run()
        finally:
            events._set_running_loop(None)
        if self._main.done():
            fault = asyncio.CancelledError() if self._main.cancelled() else self._main.exception()
            self.drop("done" if fault is None else cause_of(fault))

    def drop(self, ended: BaseException | str) -> None:
        """Nothing of it reaches the world any more: coroutines are closed where they stand, callbacks forgotten."""
        self.ended = ended
        self._ready.clear()
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was killed on purpose
            # RuntimeError: it awaits something in a `finally`; a killed process would not have got that far either.
            while not task.done():
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()  # type: ignore[union-attr]  # tasks of ours are made of coroutines
                    break
        self._tasks.clear()
        self.gone.fire()

    # --- What asyncio asks of a loop -----------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready(handle)
        return handle

    def ready(self, handle: asyncio.Handle) -> None:
        """To be run when it is this process's turn."""
        if self.ended is None:
            self._ready.append(handle)
            if not self.listed and not self.stopped:
                self.listed = True
                self.world.runnable.append(self)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self.world.wake(timer, START_MS + round(when * 1000), self)
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def time(self) -> float:
        return (self.world.now_ms - START_MS) / 1000

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str = "task", context: Context | None = None
    ) -> asyncio.Task[Any]:
        # A name of asyncio's own making would count up from day to day.
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        if len(self._tasks) > 50:
            self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return not self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback failed, or nobody took a task's exception: a process must not go on as if nothing had happened."""
        if self.alive:
            self.world.unseen.append(f"{self.name}: {context.get('message')}: {context.get('exception')!r}")


class World:
    """The seed's world. `steps` counts callbacks run; `trace` keeps the last lines for a failing run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ms = START_MS
        self.steps = 0
        self.processes: list[Process] = []
        self.runnable: list[Process] = []
        """Who has something to do now."""
        self.trace: deque[str] = deque(maxlen=TRACE_KEPT)
        self.landings = 0
        """Records that have landed in any log."""
        self.outside: object = None
        """Whatever the world's processes find outside of themselves: see `surroundings`."""
        self.unseen: list[str] = []
        """Exceptions that no code of the process took."""
        self._chance: dict[str, random.Random] = {}
        self._sleeping: list[tuple[int, int, asyncio.Future[None] | asyncio.TimerHandle, Process]] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._order = self.chance("schedule").random

    def chance(self, purpose: str) -> random.Random:
        """The stream of chance for one purpose."""
        if purpose not in self._chance:
            self._chance[purpose] = random.Random(f"{self.seed}/{purpose}")
        return self._chance[purpose]

    def spawn(self, name: str, run: Coroutine[Any, Any, None]) -> Process:
        """Start a process; it takes its first step when the world draws it."""
        process = Process(self, name, run)
        self.processes.append(process)
        return process

    def kill(self, process: Process) -> None:
        """kill -9: no `finally` of the process may reach the world any more."""
        self.note(f"kill {process.name}")
        self._end(process, "killed")

    def stop(self, process: Process) -> None:
        """SIGSTOP: what it has in flight still lands."""
        self.note(f"stop {process.name}")
        process.stopped = True
        self._unlist(process)

    def resume(self, process: Process) -> None:
        """SIGCONT; harmless when it has ended."""
        if process.alive and process.stopped:
            self.note(f"go on {process.name}")
            process.stopped = False
            if process.can_go:
                process.listed = True
                self.runnable.append(process)

    def wake(self, sleeper: asyncio.Future[None] | asyncio.TimerHandle, at_ms: int, process: Process) -> None:
        """Resolve a future or run a timer at that time; a time that has passed is now."""
        self._count += 1
        heapq.heappush(self._sleeping, (at_ms, self._count, sleeper, process))

    def later(self, after_ms: int, what: Callable[[], None]) -> None:
        """Something of the outside (a write in flight) that happens by itself."""
        self._count += 1
        heapq.heappush(self._events, (self.now_ms + after_ms, self._count, what))

    def step(self) -> bool:
        """Let one process, or one thing of the outside, go on. False: nothing ever will."""
        while True:
            if self._events and self._events[0][0] <= self.now_ms:
                heapq.heappop(self._events)[2]()
                return True
            while self._sleeping and self._sleeping[0][0] <= self.now_ms:
                self._wake_first()
            if self.runnable:
                self._run(int(self._order() * len(self.runnable)))
                return True
            if not self._advance():
                return False

    def run(self, until: Callable[[], bool]) -> None:
        """Step until `until()`."""
        while not until():
            assert self.step(), "everything waits for ever"

    def passed(self, duration_ms: int) -> Callable[[], bool]:
        """Whether so much time has passed since now. Something happens then, so that time comes there though all wait."""
        rung: list[bool] = []
        self.later(duration_ms, lambda: rung.append(True))
        return lambda: bool(rung)

    def run_ms(self, duration_ms: int) -> None:
        """Let so much time pass."""
        self.run(self.passed(duration_ms))

    def _wake_first(self) -> None:
        _, _, sleeper, process = heapq.heappop(self._sleeping)
        if isinstance(sleeper, asyncio.TimerHandle):
            process.ready(sleeper)
        elif not sleeper.done():
            sleeper.set_result(None)

    def note(self, line: str) -> None:
        """One line of the trace."""
        self.trace.append(f"{self.now_ms - START_MS:>9} ms  {line}")

    def _advance(self) -> bool:
        """On to the next moment at which anything happens; whose waiting is over already is passed over."""
        while (
            self._sleeping and self._sleeping[0][2].__class__ is not asyncio.TimerHandle and self._sleeping[0][2].done()
        ):
            heapq.heappop(self._sleeping)
        moments = [heap[0][0] for heap in (self._sleeping, self._events) if heap]
        if not moments:
            return False
        self.now_ms = max(self.now_ms, min(moments))
        return True

    def _run(self, place: int) -> None:
        process = self.runnable[place]
        self.steps += 1
        process.run_next()
        if self.unseen:
            raise AssertionError("; ".join(self.unseen))
        if process.ended is not None:
            self.note(f"{process.name} ended: {process.ended!r}")
            self._forget(process)
        elif not process.can_go:
            self._unlist(process)

    def _unlist(self, process: Process) -> None:
        if process.listed:
            process.listed = False
            self.runnable.remove(process)

    def _end(self, process: Process, ended: str) -> None:
        process.drop(ended)
        self._forget(process)

    def _forget(self, process: Process) -> None:
        self.processes.remove(process)
        self._unlist(process)
        if process.on_end is not None:
            process.on_end(process)


class SimClock:
    """`services.runtime.log.Clock`, with a process's own error of the clock; who sleeps may sleep a little longer."""

    def __init__(self, world: World, skew_ms: int = 0, oversleep_ms: int = 0) -> None:
        self.world = world
        self.skew_ms = skew_ms
        self.oversleep_ms = oversleep_ms

    def now_ms(self) -> int:
        return self.world.now_ms + self.skew_ms

    def elapsed_ms(self) -> int:
        return self.world.now_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        late_ms = int(self.world.chance("sleep").random() * self.oversleep_ms) if self.oversleep_ms else 0
        await Wait(self.world.now_ms + max(1, duration_ms) + late_ms)
