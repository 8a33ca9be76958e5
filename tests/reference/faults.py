"""What can be wrong with a command: each fault says what it changes in a good one. Some stand exactly at a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from schemas.commands import (
    AmendOrder,
    Fees,
    Flag,
    PlaceBlock,
    PlaceOrder,
    PlaceRange,
    PutQuotes,
    SetBacking,
    SetClass,
    Tif,
)
from schemas.units import BP, MS_PER_HOUR, Millis
from tests.reference.world import cap_of


def _floor(rules: SetClass) -> int:
    """The lowest multiple of the tick within the collar."""
    low = -(-rules.list_price * rules.collar_low_bp // BP)
    return -(-low // rules.tick) * rules.tick


def _cap(rules: SetClass) -> int:
    """The highest multiple of the tick within the collar."""
    return cap_of(rules) // rules.tick * rules.tick


PLACE_FAULTS: dict[str, Callable[[PlaceOrder, Millis, SetClass], dict[str, Any]]] = {
    "side 0": lambda *_: {"side": 0},
    "side 3": lambda *_: {"side": 3},
    "tif 0": lambda *_: {"tif": 0},
    "tif 5": lambda *_: {"tif": 5},
    "gtd": lambda _, time_ms, __: {"tif": Tif.GTD, "expires_ms": time_ms + 1_000},
    "gtd now": lambda _, time_ms, __: {"tif": Tif.GTD, "expires_ms": time_ms},
    "gtd without a moment": lambda *_: {"tif": Tif.GTD},
    "gtd for ever": lambda *_: {"tif": Tif.GTD, "expires_ms": 2**63 - 1},
    "expires": lambda _, time_ms, __: {"expires_ms": time_ms + 1_000},
    "running": lambda body, *_: {"flags": body.flags | Flag.RUNNING},
    "running at once": lambda body, *_: {"flags": body.flags | Flag.RUNNING, "tif": Tif.IOC},
    "post-only gtd": lambda _, time_ms, __: {"flags": Flag.POST_ONLY, "tif": Tif.GTD, "expires_ms": time_ms + 60_000},
    "negative flags": lambda *_: {"flags": -1},
    "flag 8": lambda body, *_: {"flags": body.flags | 8},
    "flags odd": lambda *_: {"flags": Flag.RUNNING | 8},
    "fleeting post-only": lambda *_: {"flags": Flag.POST_ONLY, "tif": Tif.IOC},
    "qty 0": lambda *_: {"qty": 0},
    "qty -1": lambda body, *_: {"qty": -body.qty},
    "qty odd": lambda body, *_: {"qty": body.qty + 1},
    "qty huge": lambda *_: {"qty": 1_000_008},
    "qty most": lambda *_: {"qty": 1_000_000},
    "price 0": lambda *_: {"price": 0},
    "price -1": lambda body, *_: {"price": -body.price},
    "price odd": lambda body, *_: {"price": body.price + 1},
    "price low": lambda body, *_: {"price": body.price // 4 // 50 * 50 or 1},
    "price high": lambda body, *_: {"price": body.price * 4},
    "at the floor": lambda _, __, rules: {"price": _floor(rules)},
    "below the floor": lambda _, __, rules: {"price": _floor(rules) - rules.tick},
    "at the cap": lambda _, __, rules: {"price": _cap(rules)},
    "above the cap": lambda _, __, rules: {"price": _cap(rules) + rules.tick},
    "late": lambda _, time_ms, __: {"valid_until_ms": time_ms - 1},
    "early": lambda _, time_ms, __: {"valid_until_ms": time_ms + 600_001},
    "space in client id": lambda *_: {"client_id": "a b"},
    "long client id": lambda *_: {"client_id": "x" * 37},
    "longest client id": lambda *_: {"client_id": "~" * 36},
    "umlaut in client id": lambda *_: {"client_id": "ü"},
    "contract -1": lambda *_: {"contract": -1},
    "contract huge": lambda *_: {"contract": 2**63},
}
_WHO_AND_WHEN: dict[str, Callable[[Any, Millis, SetClass], dict[str, Any]]] = {
    "late": lambda _, time_ms, __: {"valid_until_ms": time_ms - 1},
    "early": lambda _, time_ms, __: {"valid_until_ms": time_ms + 600_001},
    "stranger": lambda *_: {"account": 99},
}
_TERMS: dict[str, Callable[[Any, Millis, SetClass], dict[str, Any]]] = {
    "side 0": lambda *_: {"side": 0},
    "side 3": lambda *_: {"side": 3},
    "tif 5": lambda *_: {"tif": 5},
    "gtd": lambda _, time_ms, __: {"tif": Tif.GTD, "expires_ms": time_ms + 1_000},
    "expired": lambda _, time_ms, __: {"tif": Tif.GTD, "expires_ms": time_ms},
    "expires": lambda _, time_ms, __: {"tif": Tif.GTC, "expires_ms": time_ms + 1_000},
    "flag 8": lambda *_: {"flags": 8},
    "qty 0": lambda *_: {"qty": 0},
    "qty odd": lambda body, *_: {"qty": body.qty + 1},
    "qty huge": lambda *_: {"qty": 1_000_008},
    "price 0": lambda *_: {"price": 0},
    "price odd": lambda body, *_: {"price": body.price + 1},
    "at the floor": lambda _, __, rules: {"price": _floor(rules)},
    "below the floor": lambda _, __, rules: {"price": _floor(rules) - rules.tick},
    "at the cap": lambda _, __, rules: {"price": _cap(rules)},
    "above the cap": lambda _, __, rules: {"price": _cap(rules) + rules.tick},
    "space in client id": lambda *_: {"client_id": "a b"},
}
RANGE_FAULTS: dict[str, Callable[[PlaceRange, Millis, SetClass], dict[str, Any]]] = {
    **_WHO_AND_WHEN,
    **_TERMS,
    "no hours": lambda *_: {"hours": ()},
    "hour twice": lambda body, *_: {"hours": (body.hours[0], body.hours[0])},
    "hours falling": lambda body, *_: {"hours": (body.hours[0] + 1, body.hours[0])},
    "1025 hours": lambda body, *_: {"hours": tuple(range(body.hours[0], body.hours[0] + 1025))},
    "hour 0": lambda body, *_: {"hours": (0, *body.hours)},
    "hour -1": lambda body, *_: {"hours": (-1, *body.hours)},
    "hour huge": lambda body, *_: {"hours": (*body.hours, 2**24)},
    "last hour ever": lambda body, *_: {"hours": (*body.hours, 2**24 - 1)},
    "fleeting post-only": lambda *_: {"flags": Flag.POST_ONLY, "tif": Tif.IOC},
    "running bid": lambda *_: {"flags": Flag.RUNNING, "side": 1},
}
BLOCK_FAULTS: dict[str, Callable[[PlaceBlock, Millis, SetClass], dict[str, Any]]] = {
    **_WHO_AND_WHEN,
    **_TERMS,
    "no hours": lambda *_: {"hours": 0},
    "hours -1": lambda *_: {"hours": -1},
    "168 hours": lambda *_: {"hours": 168},
    "169 hours": lambda *_: {"hours": 169},
    "hour 0": lambda *_: {"first_hour": 0},
    "beyond the last hour": lambda *_: {"first_hour": 2**24 - 1, "hours": 2},
    "last hour ever": lambda *_: {"first_hour": 2**24 - 1, "hours": 1},
    "post-only": lambda *_: {"flags": Flag.POST_ONLY},
    "min 0": lambda *_: {"qty_min": 0},
    "min -1": lambda body, *_: {"qty_min": -body.qty},
    "min odd": lambda body, *_: {"qty": 16, "qty_min": body.qty_min + 1},
    "min above": lambda body, *_: {"qty_min": body.qty * 2},
    "part of all or nothing": lambda body, __, rules: {"tif": Tif.FOK, "qty": 2 * body.qty, "qty_min": rules.lot},
    "negative flags": lambda *_: {"flags": -1},
}
AMEND_FAULTS: dict[str, Callable[[AmendOrder, Millis, SetClass], dict[str, Any]]] = {
    **_WHO_AND_WHEN,
    "order -1": lambda *_: {"order": -1},
    "nothing": lambda *_: {"order": 0, "client_id": ""},
    **{name: _TERMS[name] for name in ("qty 0", "qty odd", "qty huge", "price 0", "price odd")},
    **{name: _TERMS[name] for name in ("at the floor", "below the floor", "at the cap", "above the cap")},
    "qty most": lambda *_: {"qty": 1_000_000},
}


def _each_quote(**values: Callable[[Any], Any]) -> Callable[[PutQuotes, Millis, SetClass], dict[str, Any]]:
    """The same change in every hour."""
    return lambda body, *_: {
        "quotes": tuple(replace(its, **{name: of(its) for name, of in values.items()}) for its in body.quotes)
    }


QUOTES_FAULTS: dict[str, Callable[[PutQuotes, Millis, SetClass], dict[str, Any]]] = {
    **_WHO_AND_WHEN,
    "no hours": lambda *_: {"quotes": ()},
    "hour twice": lambda body, *_: {"quotes": (body.quotes[0], body.quotes[0])},
    "513 hours": lambda body, *_: {"quotes": tuple(replace(body.quotes[0], hour=hour) for hour in range(7, 520))},
    "hour 0": _each_quote(hour=lambda _: 0),
    "hour huge": _each_quote(hour=lambda _: 2**24),
    "budget": lambda *_: {"budget_qty": 1},
    "budget of money": lambda *_: {"budget_notional": 1},
    "protected": lambda *_: {"protect_qty": 1},
    "window": lambda *_: {"protect_window_ms": 1},
    "bid -1": _each_quote(bid_qty=lambda _: -8),
    "bid odd": _each_quote(bid_qty=lambda its: its.bid_qty + 1),
    "ask huge": _each_quote(ask_qty=lambda _: 1_000_008),
    "ask most": _each_quote(ask_qty=lambda _: 1_000_000),
    "bid most": _each_quote(bid_qty=lambda _: 1_000_000),
    "price odd": _each_quote(ask=lambda its: its.ask + 1),
    "price 0": _each_quote(bid=lambda _: 0),
    "no price without a size": _each_quote(bid=lambda _: -7, bid_qty=lambda _: 0),
    "crossed": _each_quote(bid=lambda its: its.ask),
    "below the floor": _each_quote(bid=lambda its: its.bid // 4 // 50 * 50 or 1),
    "above the cap": _each_quote(ask=lambda its: its.ask * 4),
}
BACKING_FAULTS: dict[str, Callable[[SetBacking], dict[str, Any]]] = {
    "no hours": lambda _: {"hours": ()},
    "hours falling": lambda body: {"hours": (body.hours[0] + 1, body.hours[0])},
    "hour twice": lambda body: {"hours": (body.hours[0], body.hours[0])},
    "1024 hours": lambda body: {"hours": tuple(range(body.hours[0], body.hours[0] + 1024))},
    "1025 hours": lambda body: {"hours": tuple(range(body.hours[0], body.hours[0] + 1025))},
    "hour 0": lambda _: {"hours": (0,)},
    "hour -1": lambda body: {"hours": (-1, *body.hours)},
    "hour huge": lambda body: {"hours": (*body.hours, 2**24 + body.hours[0])},
    "qty -1": lambda _: {"qty": -1},
    "qty -8": lambda _: {"qty": -8},
    "qty odd": lambda body: {"qty": body.qty + 1},
    "qty huge": lambda _: {"qty": 1_000_008},
    "all back": lambda _: {"qty": 0, "collateral_price": 0},
    "most ever": lambda _: {"qty": 1_000_000, "version": 2**62},
}
OTHER_VALUES: list[dict[str, Any]] = [
    {"class_id": "RENAMED"},
    {"lot": 2},
    {"tick": 10},
    {"list_price": 3_000_000},
    {"fees": Fees(1, 2, 3, 4)},
    {"horizon_hours": 9},
    {"gate_ms": 7},
    {"cover_ms": 7},
    {"running_close_ms": 7},
    {"collar_low_bp": 5_001},
    {"collar_high_bp": 20_001},
    {"first_hour": 7},
]
"""Each contradicts a class that is listed already."""
UNSOUND_CLASSES: list[dict[str, Any]] = [
    {"class_no": 0},
    {"class_no": -1},
    {"class_no": 2**20 + 1},
    {"class_id": ""},
    {"class_id": "lower"},
    {"class_id": "X" * 41},
    {"lot": 0},
    {"lot": 1_001},
    {"tick": 0},
    {"tick": -7},
    {"tick": 2},
    {"list_price": 0},
    {"list_price": 10**9 + 1},
    *({"fees": Fees(**{name: rate})} for name in Fees.__struct_fields__ for rate in (-1, 1_001)),
    {"horizon_hours": 0},
    {"horizon_hours": 1_001},
    {"gate_ms": -1},
    {"gate_ms": MS_PER_HOUR + 1},
    {"cover_ms": -1},
    {"cover_ms": 24 * MS_PER_HOUR + 1},
    {"running_close_ms": -1},
    {"running_close_ms": MS_PER_HOUR},
    {"collar_low_bp": 0},
    {"collar_low_bp": BP + 1},
    {"collar_high_bp": BP - 1},
    {"collar_high_bp": 10 * BP + 1},
    {"first_hour": -1},
    {"first_hour": 2**24},
]
"""Each is out of range in one value."""
BOUNDS: dict[str, Any] = {
    "class_no": 2**20,
    "class_id": "X" * 40,
    "lot": 1_000,
    "tick": 10**9,
    "list_price": 10**9,
    "fees": Fees(1_000, 1_000, 1_000, 1_000),
    "gate_ms": MS_PER_HOUR,
    "cover_ms": 24 * MS_PER_HOUR,
    "running_close_ms": MS_PER_HOUR - 1,
    "collar_low_bp": BP,
    "collar_high_bp": 10 * BP,
    "first_hour": 2**24 - 1,
}
"""A class with every value at its bound; its only hour comes in the year 3883."""
BAD_BODIES: dict[str, Any] = {
    "unknown tag": [999],
    "a field short": [1, 1, 17_000_000, 1],
    "a word for a number": [31, 1, "ana", 5],
    "no array": {"type": "Credit"},
}
"""Bodies that do not decode, in a frame that does."""
