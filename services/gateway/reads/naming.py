"""Small words of answers. Pure."""

from __future__ import annotations

from schemas.events import Reason
from schemas.units import Micros, format_usd


def average(cash: Micros, gpu_hours: int) -> str:
    """USD per GPU-hour, rounded to the nearest µUSD; nothing traded: empty."""
    return format_usd((2 * cash + gpu_hours) // (2 * gpu_hours)) if gpu_hours else ""


def reason_name(reason: int) -> str:
    """`Reason` → its name at the edge; 0: none."""
    return Reason(reason).name.lower() if reason else ""
