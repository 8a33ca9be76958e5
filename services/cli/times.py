"""Hours as people say them, and as they are shown: local first, UTC beside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import dateparser

from schemas.units import Hour
from services.cli.errors import Unusable

_SETTINGS: Final = {"RETURN_AS_TIMEZONE_AWARE": True, "PREFER_DATES_FROM": "future"}
EXAMPLES: Final = "'now', '14:00', 'tomorrow 14:00', 'fri 9pm', '2026-11-24T14'"


def parse_hour(text: str, now: datetime) -> Hour:
    """The hour that is meant; 'now' and 'next' are the next whole hour. Raises Unusable."""
    if text.strip().lower() in ("now", "next"):
        return int(now.timestamp()) // 3600 + 1
    moment = _iso(text) or dateparser.parse(text, settings={**_SETTINGS, "RELATIVE_BASE": now.replace(tzinfo=None)})
    if moment is None:
        raise Unusable(f"{text!r} is not a time; say {EXAMPLES}")
    if moment.tzinfo is None:
        moment = moment.astimezone()
    if moment.minute or moment.second:
        raise Unusable(f"{text!r} is {moment:%H:%M}: hours begin on the hour, say {moment:%H}:00")
    if moment.timestamp() <= now.timestamp():
        raise Unusable(f"{text!r} is {shown(int(moment.timestamp()) // 3600)}, which is over or has begun")
    return int(moment.timestamp()) // 3600


def _iso(text: str) -> datetime | None:
    """`2026-11-24T14`, `2026-11-24T14:00Z`: without a zone local time is meant."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.astimezone() if "T" in text or " " in text.strip() else None


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
    """`2026-11-24T14:03:20.512Z` → local, to the second."""
    return f"{datetime.fromisoformat(text).astimezone():%a %d %b %H:%M:%S}"
