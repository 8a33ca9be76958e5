"""Hours in which a provider takes a machine away, announced before they begin. Pure.

An hour that runs stays as it is: whether the machine is there in it was settled when it began.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from schemas import rental
from schemas.edge import iso_hour
from schemas.ids import HOUR_MASK
from schemas.units import Hour
from services.delivery.refusals import Refused

Windows = tuple[tuple[Hour, Hour], ...]
"""[from, until), rising, apart from each other."""
LONGEST: Final = 31 * 24
"""Hours of a window: who is away for longer retires his machine."""


def parse(windows: Iterable[rental.MaintenanceWindow]) -> Windows:
    """As a provider has written them, in any order. Raises Refused."""
    return tuple((_hour(window.from_hour), _hour(window.until)) for window in windows)


def _hour(text: str) -> Hour:
    try:
        moment = datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Refused("wrong_window", f"{text!r} is not an hour: write it like 2026-11-22T14:00Z") from None
    if moment % 3600 or not 0 <= moment // 3600 <= HOUR_MASK:
        raise Refused("wrong_window", f"{text!r} is not a whole hour: write it like 2026-11-22T14:00Z")
    return int(moment) // 3600


def renewed(planned: Windows, asked: Windows, now: Hour) -> Windows:
    """What holds once `asked` takes the place of `planned`, in the hour `now`. Raises Refused."""
    found: list[tuple[Hour, Hour]] = []
    for begin, end in sorted(asked):
        if not 0 < end - begin <= LONGEST:
            raise Refused("wrong_window", f"a window lasts 1 to {LONGEST} hours: {_shown(begin, end)} does not")
        if found and begin < found[-1][1]:
            raise Refused("wrong_window", f"{_shown(*found[-1])} and {_shown(begin, end)} overlap: make one of them")
        found.append((begin, end))
    ahead = [window for window in found if window[1] > now]
    begun, runs = _running(planned, now), _running(ahead, now)
    if runs is not None and (begun is None or begun[0] != runs[0]):
        raise Refused(
            "wrong_window",
            f"{_shown(*runs)} would have begun: the first hour that can be taken is {iso_hour(now + 1)}"
            + (f", and what runs began {iso_hour(begun[0])}" if begun else ""),
        )
    if begun is not None and runs is None:
        raise Refused(
            "wrong_window",
            f"{_shown(*begun)} has begun: say it again with its beginning, and with {iso_hour(now + 1)} as its end where the "
            "machine is back",
        )
    return tuple(ahead)


def _running(windows: Iterable[tuple[Hour, Hour]], now: Hour) -> tuple[Hour, Hour] | None:
    return next((window for window in windows if window[0] <= now < window[1]), None)


def _shown(begin: Hour, end: Hour) -> str:
    return f"{iso_hour(begin)} until {iso_hour(end)}"


def is_out(windows: Windows, hour: Hour) -> bool:
    """Whether the machine is away in the hour."""
    return any(begin <= hour < end for begin, end in windows)
