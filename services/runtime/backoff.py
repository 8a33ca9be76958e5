"""Waiting for something that is away: a database, a broker, room on a disk.

    await wait_for("kafka", cluster.ping, errors=(Unreachable,), clock=clock, status=status)

A wait has no end, since a service without its database has nothing better to do; but each pause has a bound, and
`/status` says all the while what is waited for and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from services.runtime.log import Clock
from services.runtime.status import Status

T = TypeVar("T")

FIRST_MS: Final = 100
PAUSE_MS_MAX: Final = 5_000


async def wait_for(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    *,
    errors: tuple[type[Exception], ...],
    clock: Clock,
    status: Status,
) -> T:
    """`attempt()`, again after each of `errors`, with pauses that double up to PAUSE_MS_MAX."""
    pause_ms = FIRST_MS
    while True:
        try:
            result = await attempt()
        except errors as error:
            status.wait(what, f"{type(error).__name__}: {error}")
            await clock.sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
        else:
            status.go_on(what)
            return result
