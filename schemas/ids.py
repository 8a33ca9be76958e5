"""Identifiers: contracts, orders, accounts. Integers inside, strings at the edge.

contract  class_no × 2**24 + hour. `class_no` is given when a class is first listed and never re-used;
          the class id (`H100.SXM.80.US`) is opaque and never parsed for meaning.
order     63 bits: shard (8) | offset in `commands` (36) | index in the frame (9) | leg (10).
          At the edge `shard-offset-index-leg`, e.g. `0-1842-3-0`.
account   positive integer, given by settlement in order of opening.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from schemas.units import Hour

HOUR_BITS: Final = 24
HOUR_MASK: Final = (1 << HOUR_BITS) - 1

LEG_BITS: Final = 10
INDEX_BITS: Final = 9
OFFSET_BITS: Final = 36
SHARD_BITS: Final = 8
FRAME_COMMANDS_MAX: Final = 1 << INDEX_BITS
LEGS_MAX: Final = 1 << LEG_BITS
SHARDS_MAX: Final = 1 << SHARD_BITS
CLASS_ID_MAX: Final = 40
SYMBOLS_KEPT: Final = 4_096
"""Symbols that need not be read or written again: the hours of a dozen classes, twice."""

_CLASS_ID = re.compile(r"[A-Z0-9]+(\.[A-Z0-9]+)*", re.ASCII)
_SYMBOL = re.compile(r"([A-Z0-9.]+)\.(\d{8})T(\d{2})-USD", re.ASCII)
_ORDER = re.compile(r"(\d{1,3})-(\d{1,11})-(\d{1,3})-(\d{1,4})", re.ASCII)


def contract_of(class_no: int, hour: Hour) -> int:
    """Class number and hour → contract."""
    return class_no << HOUR_BITS | hour


def class_no_of(contract: int) -> int:
    """Contract → class number."""
    return contract >> HOUR_BITS


def hour_of(contract: int) -> Hour:
    """Contract → hours since the epoch."""
    return contract & HOUR_MASK


def order_id(shard: int, offset: int, index: int, leg: int = 0) -> int:
    """Where the order stands in `commands` → its id; unique for ever, known before it is applied."""
    return ((shard << OFFSET_BITS | offset) << INDEX_BITS | index) << LEG_BITS | leg


def format_order(order: int) -> str:
    """Order id → `shard-offset-index-leg`."""
    rest, leg = divmod(order, 1 << LEG_BITS)
    rest, index = divmod(rest, 1 << INDEX_BITS)
    shard, offset = divmod(rest, 1 << OFFSET_BITS)
    return f"{shard}-{offset}-{index}-{leg}"


def parse_order(text: str) -> int:
    """`shard-offset-index-leg` → order id. Raises ValueError with a sentence for the caller."""
    match = _ORDER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an order id; they look like 0-1842-3-0")
    shard, offset, index, leg = map(int, match.groups())
    if shard >= SHARDS_MAX or offset >> OFFSET_BITS or index >= FRAME_COMMANDS_MAX or leg >= LEGS_MAX:
        raise ValueError(f"{text!r} is not an order id: a part is out of range")
    return order_id(shard, offset, index, leg)


def shard_of_order(order: int) -> int:
    """Order id → the shard whose engine owns it."""
    return order >> (OFFSET_BITS + INDEX_BITS + LEG_BITS)


@lru_cache(SYMBOLS_KEPT)
def format_symbol(class_id: str, hour: Hour) -> str:
    """`H100.SXM.80.US`, hour → `H100.SXM.80.US.20261122T14-USD` (UTC; exactly one `-`)."""
    return f"{class_id}.{datetime.fromtimestamp(hour * 3600, UTC):%Y%m%dT%H}-USD"


@lru_cache(SYMBOLS_KEPT)
def parse_symbol(text: str) -> tuple[str, Hour]:
    """Symbol → (class id, hour). Raises ValueError with a sentence for the caller."""
    match = _SYMBOL.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        class_id, day, hour = match.groups()
        if len(class_id) > CLASS_ID_MAX:
            raise ValueError
        start = int(datetime.strptime(f"{day}{hour}", "%Y%m%d%H").replace(tzinfo=UTC).timestamp()) // 3600
        if not 0 <= start <= HOUR_MASK:
            raise ValueError  # an hour of more bits would be read as another class's
    except ValueError:
        raise ValueError(f"{text!r} is not a contract; they look like H100.SXM.80.US.20261122T14-USD") from None
    return class_id, start


def is_class_id(text: str) -> bool:
    """Dotted uppercase, at most 40 characters."""
    return len(text) <= CLASS_ID_MAX and _CLASS_ID.fullmatch(text) is not None


def is_client_id(text: str) -> bool:
    """1 to 36 printable ASCII characters, no space."""
    if not 0 < len(text) <= 36:
        return False
    # Character by character: asked for every order, and a compiled build has no faster way.
    for place in range(len(text)):  # noqa: SIM110 # a generator takes longer
        if not 33 <= ord(text[place]) <= 126:
            return False
    return True
