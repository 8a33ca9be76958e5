"""Hours as clients write them. Pure. How they are written: `schemas.edge`."""

from __future__ import annotations

from datetime import datetime

from schemas.ids import HOUR_MASK
from schemas.units import Hour
from services.gateway.errors import ApiError


def parse_hour(text: str) -> Hour:
    """`2026-11-22T14:00Z` → hours since the epoch. Raises ApiError wrong_time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ApiError("wrong_time", f"{text!r} is not an hour: write it like 2026-11-22T14:00Z") from None
    if moment.tzinfo is None or moment.timestamp() % 3600 or moment.timestamp() < 0:
        raise ApiError("wrong_time", f"{text!r} is not a whole hour with a time zone: write it like 2026-11-22T14:00Z")
    hour = int(moment.timestamp()) // 3600
    if hour > HOUR_MASK:
        raise ApiError("wrong_time", f"{text!r} is after the last hour of all")
    return hour
