"""How every service starts and ends.

    async def serve(service: Service) -> None:
        async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
            await service.wait_for("kafka", cluster.ping)
            ...

    if __name__ == "__main__":
        sys.exit(run("settlement", serve, needs=("kafka", "postgres")))

`run` refuses -O, reads the settings, opens the event loop (uvloop), writes the run file, answers /status and /metrics, and
calls `serve`. SIGTERM and SIGINT cancel `serve`. Exit codes: 0 stopped, 1 fault (start again), 65 halted (an operator must
look), 75 superseded (start again), 78 settings; see `errors`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg
import uvloop

from services.runtime import backoff, postgres
from services.runtime import logging as lines
from services.runtime import status as statuses
from services.runtime.config import Settings
from services.runtime.errors import BadSettings, ServiceEnd, cause_of
from services.runtime.log import Log, Outgoing, Record, Unreachable
from services.runtime.status import Status

T = TypeVar("T")

AWAY = (Unreachable, *postgres.AWAY, asyncpg.InterfaceError)
"""Errors of a broker or database that does not answer."""


class WallClock:
    """`log.Clock` over the machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """Milliseconds since some moment before the process began."""
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        """Let others run for so long."""
        await asyncio.sleep(duration_ms / 1000)


class Service:
    """What `serve` is given."""

    def __init__(self, settings: Settings, status: Status) -> None:
        self.settings = settings
        self.status = status
        self.clock = WallClock()
        self.log = logging.getLogger(f"hourbook.{status.name}")

    def patient(self, log: Log) -> PatientLog:
        """A log whose reads wait while the broker is away; `/status` says so meanwhile."""
        return PatientLog(self, log)

    async def wait_for(
        self, what: str, attempt: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...] = AWAY
    ) -> T:
        """`attempt()`, again and again while `what` is away; `/status` says so meanwhile."""
        return await backoff.wait_for(what, attempt, errors=errors, clock=self.clock, status=self.status)


class PatientLog:
    """`log.Log`: reading waits for the broker, writing does not, since what is to be written may be too late by then."""

    def __init__(self, service: Service, log: Log) -> None:
        self._service = service
        self._log = log
        self.topic = log.topic
        self.partition = log.partition

    async def bounds(self) -> tuple[int, int]:
        """See `log.Log`."""
        return await self._service.wait_for("kafka", self._log.bounds, errors=(Unreachable,))

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:
        """See `log.Log`. Raises OutOfRange."""
        attempt = partial(self._log.read, offset, count=count, wait_ms=wait_ms)
        return await self._service.wait_for("kafka", attempt, errors=(Unreachable,))

    async def append(self, records: Sequence[Outgoing]) -> None:
        """See `log.Log`. Raises WriteRefused, WriteUnknown."""
        await self._log.append(records)


def run(name: str, serve: Callable[[Service], Awaitable[None]], *, needs: Iterable[str] = ()) -> int:
    """Run a service to its end; the exit code."""
    if not __debug__:
        sys.stderr.write("refusing to run with -O: it removes the assertions\n")
        return os.EX_CONFIG
    try:
        settings = Settings.from_environment(os.environ, needs)
    except BadSettings as error:
        sys.stderr.write(f"settings: {error}\n")
        return error.exit_code
    status = Status(settings.name or name)
    lines.configure(status.name, secrets=_secrets(settings))
    service = Service(settings, status)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(service, serve))
    except Exception as error:  # noqa: BLE001 # the process ends with it: whoever started it acts on the exit code
        return _say_end(service, cause_of(error))
    service.log.info("stopped")
    return 0


def _say_end(service: Service, end: BaseException) -> int:
    """The exit code; an ending with a sentence is said without a traceback, which would only hide it."""
    if isinstance(end, ServiceEnd):
        service.log.error("stopped: %s", end, extra={"fields": {"end": type(end).__name__}})
        return end.exit_code
    # Started again, replay brings the state back.
    service.log.error("fault", exc_info=end)
    return 1


async def _serve(service: Service, serve: Callable[[Service], Awaitable[None]]) -> None:
    settings, status = service.settings, service.status
    task = asyncio.ensure_future(_awaited(serve(service)))
    signals: list[str] = []

    def stop(number: signal.Signals) -> None:
        signals.append(number.name)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    async with contextlib.AsyncExitStack() as stack:
        address = await stack.enter_async_context(statuses.serve(status, settings.status_port, settings.listen))
        if settings.run is not None:
            stack.enter_context(statuses.run_file(settings.run, status, address))
        service.log.info("started", extra={"fields": {"status": address, "pid": os.getpid()}})
        try:
            await task
        except asyncio.CancelledError:
            if not signals:
                raise RuntimeError("cancelled by nobody's signal") from None


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


def _secrets(settings: Settings) -> list[str]:
    """Texts that must never be in a line: passwords of database and brokers and the keys in their usual spellings."""
    every = (settings.master_key, settings.feed_key, settings.delivery_key, settings.router_key)
    keys = [key for key in every if key]
    spelt = [text for key in keys for text in (key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1])]
    written = urlsplit(settings.postgres)
    # In an address a password is encoded, and may stand in its query; where it does not parse, all of it is secret.
    passwords = [written.password or "", *(text for name, text in parse_qsl(written.query) if name == "password")]
    passwords += [unquote(password) for password in passwords]
    return [settings.postgres, *passwords, settings.kafka_password, *spelt]
