"""Text that people draw: tables, lists of sentences, times of the day, amounts."""

from __future__ import annotations

from typing import Final

from schemas.units import MS_PER_HOUR, MS_PER_MINUTE

HOUR_NOW: Final = 498_741
"""21:00 of some day; the stories begin at ten past."""
T0_MS: Final = HOUR_NOW * MS_PER_HOUR + 10 * MS_PER_MINUTE

Table = list[tuple[str, ...]]


def rows(drawn: str) -> Table:
    """A drawn table → its rows of cells, the head included."""
    return [tuple(cell.strip() for cell in line.split("|")) for line in drawn.strip().splitlines()]


def lines(drawn: str) -> list[str]:
    """A drawn list of sentences → the sentences."""
    return [line.strip() for line in drawn.strip().splitlines()]


def clock(time: str) -> int:
    """ "23:50" of the stories' day, "00:10" of the next → market time."""
    hour, minute = map(int, time.split(":"))
    today = HOUR_NOW // 24 * 24
    at_ms = (today + hour) * MS_PER_HOUR + minute * MS_PER_MINUTE
    return at_ms if at_ms >= HOUR_NOW * MS_PER_HOUR else at_ms + 24 * MS_PER_HOUR


def of_the_clock(at_ms: int) -> str:
    """The other way round; what is not a whole minute is said in ms beside it."""
    minutes, rest = divmod(at_ms, MS_PER_MINUTE)
    return f"{minutes // 60 % 24:02}:{minutes % 60:02}" + (f" and {rest} ms" if rest else "")
