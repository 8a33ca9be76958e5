"""How the log's numbers are written at the edge, in the public API and in feeds: names of enumerations, moments, hours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

from schemas.commands import Ground, Role, Side, State, Tif
from schemas.units import Hour, Millis

SideName = Literal["buy", "sell"]
TifName = Literal["gtc", "gtd", "ioc", "fok"]
MarketState = Literal["open", "post_only", "cancel_only", "halted"]
AccountRole = Literal["member", "provider", "market_maker"]
GroundName = Literal["declared", "promised", "ready"]

SIDES: Final[Mapping[int, SideName]] = {Side.BUY: "buy", Side.SELL: "sell"}
TIFS: Final[Mapping[int, TifName]] = {Tif.GTC: "gtc", Tif.GTD: "gtd", Tif.IOC: "ioc", Tif.FOK: "fok"}
STATES: Final[Mapping[int, MarketState]] = {
    State.OPEN: "open",
    State.POST_ONLY: "post_only",
    State.CANCEL_ONLY: "cancel_only",
    State.HALTED: "halted",
}
ROLES: Final[Mapping[int, AccountRole]] = {
    Role.MEMBER: "member",
    Role.PROVIDER: "provider",
    Role.MARKET_MAKER: "market_maker",
}
GROUNDS: Final[Mapping[int, GroundName]] = {
    Ground.DECLARED: "declared",
    Ground.PROMISED: "promised",
    Ground.READY: "ready",
}


@lru_cache(maxsize=1024)  # all that one record did has one moment
def iso(time_ms: Millis) -> str:
    """1_790_000_000_000 → `2026-09-21T14:13:20.000Z`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(time_ms: Millis) -> str:
    """The same; 0: empty."""
    return iso(time_ms) if time_ms else ""


def iso_hour(hour: Hour) -> str:
    """Begin of an hour: `2026-11-24T14:00Z`."""
    return datetime.fromtimestamp(hour * 3600, UTC).isoformat(timespec="minutes").replace("+00:00", "Z")
