"""What the desk is worth and what it has open, against its limits. Pure.

Equity marks what is held at a bid's distance below replacement, and what is owed and not covered at replacement. What a
resale earned waits in escrow for delivery and is not counted: the figure errs on the side of less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.units import BP, Gpus, Micros, Millis, Price, format_usd
from services.market_maker.limits import Limits

DAY_MS = 86_400_000


class Exposure(Struct, frozen=True):
    """One contract's position."""

    class_id: str
    held: Gpus
    exposed: Gpus
    """Owed on promises: still to be bought."""
    proceeds: Micros
    """Of what is owed, on any ground: comes with delivery."""


class Day(Struct, frozen=True):
    """What the desk was worth when the day began. Kept in a file, so that a restart does not begin a new day."""

    day: int
    """Since the epoch, UTC."""
    equity: Micros


def equity(cash: Micros, exposures: Iterable[Exposure], marks: Mapping[str, Price], limits: Limits) -> Micros:
    """Money anywhere, and positions at what they would bring or cost. `marks`: class → last price of replacement."""
    total = cash
    for each in exposures:
        mark = marks.get(each.class_id, 0)
        total += each.proceeds - each.exposed * mark + each.held * mark * (BP - limits.spread_of(each.class_id)) // BP
    return total


def open_promises(exposures: Iterable[Exposure]) -> int:
    """GPU-hours sold and not covered."""
    return sum(each.exposed for each in exposures)


def day_of(now_ms: Millis) -> int:
    """Since the epoch, UTC."""
    return now_ms // DAY_MS


def loss_reached(begin: Day, worth: Micros, limits: Limits) -> str:
    """Why nothing is quoted; empty: the day's loss is within its limit."""
    lost = begin.equity - worth
    if lost < limits.loss_per_day_micros:
        return ""
    return (
        f"loss of the day: {format_usd(lost)} USD, allowed are {format_usd(limits.loss_per_day_micros)}; "
        "quotes come back with the next day (UTC)"
    )


def promises_reached(open_gpu_hours: int, limits: Limits) -> str:
    """Why nothing more is sold that is not held; empty: within the limit."""
    if open_gpu_hours < limits.gpu_hours_max:
        return ""
    return f"open promises: {open_gpu_hours} GPU-hours, allowed are {limits.gpu_hours_max}"


def dump_day(day: Day) -> bytes:
    """For the file."""
    return msgspec.json.encode(day)


def load_day(text: bytes) -> Day | None:
    """None: the file is not one of ours, so the day begins now."""
    try:
        return msgspec.json.decode(text, type=Day)
    except UNREADABLE:
        return None
