"""Values at the edge: decimals, order ids, trades, moments, and what a new order may ask for. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, Literal

from schemas.commands import Flag, Side, Tif
from schemas.ids import LEGS_MAX, SHARDS_MAX, is_client_id, parse_order
from schemas.units import Gpus, Hour, Micros, Millis, parse_usd
from services.gateway.errors import ApiError
from services.gateway.times import parse_hour

MOMENT_MAX: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: of a later one, which a time zone or rounding can make, no answer could tell."""
VALID_MS_MAX: Final = 600_000
QTY_MAX: Final = 2**31
HOURS_MAX: Final = LEGS_MAX
"""Of a range, and of backing."""
_TRADE: Final = re.compile(r"(\d{1,3})-(\d{1,18})", re.ASCII)


def decimal(text: str) -> Micros:
    """µUSD. Raises ApiError wrong_decimal."""
    try:
        return parse_usd(text)
    except ValueError as error:
        raise ApiError("wrong_decimal", str(error)) from None


def order_number(text: str) -> int:
    """`0-1842-3-0` → order id. Raises ApiError wrong_order_id."""
    try:
        return parse_order(text)
    except ValueError as error:
        raise ApiError("wrong_order_id", str(error)) from None


def trade_number(text: str) -> tuple[int, int]:
    """`0-317` → (shard, trade). Raises ApiError unknown_trade."""
    match = _TRADE.fullmatch(text)
    if match is None or int(match[1]) >= SHARDS_MAX:
        raise ApiError("unknown_trade", f"{text!r} is no trade: they look like 0-317, shard and number")
    return int(match[1]), int(match[2])


def moment(text: str) -> Millis:
    """`2026-11-22T14:30:00Z` → market time; empty: 0. Raises ApiError wrong_time."""
    if not text:
        return 0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or found.timestamp() < 0:
        raise ApiError("wrong_time", f"{text!r} is not a moment with a time zone: write it like 2026-11-22T14:30:00Z")
    moment_ms = round(found.timestamp() * 1000)
    if moment_ms > MOMENT_MAX:
        raise ApiError("wrong_time", f"{text!r} is in a year that nobody can write")
    return moment_ms


def side_of(name: Literal["buy", "sell"]) -> Side:
    """Name → side."""
    return Side.BUY if name == "buy" else Side.SELL


def tif_of(name: Literal["gtc", "gtd", "ioc", "fok"], expires: str) -> tuple[Tif, Millis]:
    """(time in force, expiry). Raises ApiError: an expiry goes with gtd, and gtd with an expiry."""
    tif = Tif[name.upper()]
    if (tif == Tif.GTD) != bool(expires):
        raise ApiError("wrong_tif", "tif gtd and expires go together: give both, or neither")
    return tif, moment(expires)


def flags_of(*, post_only: bool, running: bool, self_trade: Literal["cancel_newest", "cancel_oldest"]) -> int:
    """Bits of `Flag`."""
    return (
        (Flag.POST_ONLY if post_only else 0)
        | (Flag.RUNNING if running else 0)
        | (Flag.CANCEL_OLDEST if self_trade == "cancel_oldest" else 0)
    )


def check_terms(client_id: str, valid_for_ms: int, qty: Gpus, lot: Gpus) -> None:
    """What no command can hold, or what must be known before one is made. Raises ApiError."""
    if client_id and not is_client_id(client_id):
        raise ApiError("wrong_client_id")
    if not 0 < valid_for_ms <= VALID_MS_MAX:
        raise ApiError("wrong_validity")
    if not 0 < qty < QTY_MAX:
        raise ApiError("wrong_qty", need=lot)


def check_launch(launch: str, client_id: str, side: Literal["buy", "sell"]) -> None:
    """Whether an order may name a launch specification. Raises ApiError wrong_launch."""
    if launch and side == "sell":
        raise ApiError("wrong_launch", "who sells gets no machine: leave launch out")
    if launch and not client_id:
        raise ApiError("wrong_launch", "an order that names a launch specification needs a client_order_id of your own")


def hours_from(first: str, count: int) -> tuple[Hour, ...]:
    """So many hours from the first on. Raises ApiError."""
    if not 1 <= count <= HOURS_MAX:
        raise ApiError("wrong_hours")
    begin = parse_hour(first)
    return tuple(range(begin, begin + count))
