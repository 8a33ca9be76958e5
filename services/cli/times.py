"""Hours as people say them, and as they are shown: local first, UTC beside."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.units import Hour
from services.cli.errors import Unusable

EXAMPLES: Final = "'now', '14:00', 'tomorrow 14:00', 'sat 9am', 'in 3 hours', '2026-11-24T14'"
_WEEK: Final = timedelta(days=7)
_WEEKDAY: Final = re.compile(r"\b(mon|tue|wed|thu|fri|sat|sun)", re.IGNORECASE)
_CLOCK: Final = re.compile(r":|\d\s*[ap]\.?m\b|noon|midnight", re.IGNORECASE)
_FROM_NOW: Final = re.compile(r"in\b.*|\+?\d+\s*(h|hr|hour|m|min|minute)s?|.*\b(from now|ago)", re.IGNORECASE)


def parse_hour(text: str, now: datetime) -> Hour:
    """The hour to come that is meant. Without a zone local time is meant.

    'now', 'next' and 'in 3 hours' are the first hour that begins then or later. Raises Unusable.
    """
    if text.strip().lower() in ("now", "next"):
        return int(now.timestamp()) // 3600 + 1
    hour = _parse_any(text, now, "future")
    if hour * 3600 <= now.timestamp():
        raise Unusable(f"{text!r} is {shown(hour)}, which is over or has begun")
    return hour


def parse_any_hour(text: str, now: datetime) -> Hour:
    """Likewise, and it may be over; 'now' is the running hour, and a bare clock time is today's. Raises Unusable."""
    if text.strip().lower() == "now":
        return int(now.timestamp()) // 3600
    return _parse_any(text, now, "current_period")


def moment(text: str, now: datetime) -> str:
    """A moment to come, to the second, in UTC: `2026-11-24T14:03:20Z`. Without a zone local time is meant. Raises Unusable."""
    words = text.strip()
    if _FROM_NOW.fullmatch(words) and not _CLOCK.search(words):
        found = _parse(words, now.astimezone(UTC), "future").replace(tzinfo=UTC)
    else:
        found = _iso(words) or _said(words, now, "future")
    if found <= now:
        raise Unusable(f"{text!r} is {found.astimezone():%a %d %b %H:%M}, which is over")
    return f"{found.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _parse_any(text: str, now: datetime, prefer: str) -> Hour:
    words = text.strip()
    if _FROM_NOW.fullmatch(words) and not _CLOCK.search(words):
        # In UTC, where every hour has sixty minutes.
        stamp = _parse(words, now.astimezone(UTC), prefer).replace(tzinfo=UTC).timestamp()
        stamp += -stamp % 3600
    else:
        stamp = (_iso(words) or _said(words, now, prefer)).timestamp()
    if stamp % 3600:
        before = int(stamp) // 3600
        raise Unusable(f"{text!r} is within an hour: hours begin {shown(before)} and {shown(before + 1)}")
    return int(stamp) // 3600


def _iso(text: str) -> datetime | None:
    """`2026-11-24T14`, `2026-11-24 14:00`, `2026-11-24T14:00Z`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if "T" not in text and " " not in text:
        raise Unusable(f"{text!r} is a whole day: say which hour of it, {text}T14")
    return _zoned(moment, text)


def _said(text: str, now: datetime, prefer: str) -> datetime:
    """`tomorrow 14:00`, `sat 9am`."""
    moment = _parse(text, now, prefer)
    if moment.tzinfo is not None:
        # "14:00 UTC" is today's or tomorrow's by UTC's clock, not by ours.
        moment = _parse(text, now.astimezone(moment.tzinfo), prefer)
    weekday = prefer == "future" and _WEEKDAY.search(text) is not None and "next" not in text.lower()
    if weekday and _zoned(moment - _WEEK, text) > now:
        # Said on a Saturday morning, "sat 9pm" is tonight.
        moment -= _WEEK
    return _zoned(moment, text)


def _parse(text: str, now: datetime, prefer: str) -> datetime:
    """With a zone where the text names one. Raises Unusable."""
    # A third of a second that every other command does without.
    from dateparser.date import DateDataParser

    settings = {
        "PREFER_DATES_FROM": prefer,
        "RETURN_TIME_AS_PERIOD": True,
        "RELATIVE_BASE": now.replace(tzinfo=None),
    }
    found = DateDataParser(languages=["en"], settings=settings).get_date_data(text)
    if found.date_obj is None:
        raise Unusable(f"{text!r} is not a time; say {EXAMPLES}")
    if found.period != "time":
        raise Unusable(f"{text!r} names no hour of the day; say it like 'tomorrow 14:00' or 'sat 9am'")
    return found.date_obj


def _zoned(moment: datetime, text: str) -> datetime:
    """In the local zone unless it says another. Raises Unusable where the clocks are changed."""
    if moment.tzinfo is not None:
        return moment
    first, second = (moment.replace(fold=fold).astimezone() for fold in (0, 1))
    if first == second:
        return first
    if first.replace(tzinfo=None) != moment:
        raise Unusable(f"{text!r} does not exist: the clocks are put forward then; say it in UTC")
    ways = " or ".join(f"'{each.astimezone(UTC):%Y-%m-%dT%H:%MZ}'" for each in (first, second))
    raise Unusable(f"{text!r} is twice: the clocks are put back then; say {ways}")


def shown(hour: Hour) -> str:
    """`Tue 24 Nov 15:00 (14:00 UTC)`."""
    utc = datetime.fromtimestamp(hour * 3600, UTC)
    local = utc.astimezone()
    beside = f"{utc:%H:%M}" if local.date() == utc.date() else f"{utc:%a %H:%M}"
    return f"{local:%a %d %b %H:%M} ({beside} UTC)"


def shown_iso(text: str) -> str:
    """The same from the API's `2026-11-24T14:00Z`."""
    return shown(int(datetime.fromisoformat(text).timestamp()) // 3600)


def shown_moment(text: str) -> str:
    """`2026-11-24T14:03:20.512Z` → local first, UTC beside, to the second."""
    utc = datetime.fromisoformat(text)
    local = utc.astimezone()
    beside = f"{utc:%H:%M}" if local.date() == utc.date() else f"{utc:%a %H:%M}"
    return f"{local:%a %d %b %H:%M:%S} ({beside} UTC)"
