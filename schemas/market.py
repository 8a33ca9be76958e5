"""References for collars: bodies of the topic `references` (one partition).

Written by: market_data. Read by: the active matching shell of each shard, which turns a record into `MoveReference`.
Delivery: at least once, and several market_data processes may each write: a record is a wish about one target, the engine
judges it (`too_soon`, `wrong_reference`), and the same wish twice moves nothing twice.
Order: as written. The newest record of a target (class_no, hour) counts; one that is older than the reference in force is late.
Record: key = `class_no|hour`, value = one MessagePack array.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.units import Hour, Millis, Price


class Reference(Struct, array_like=True, frozen=True, gc=False, tag=1):
    """What the reference of a collar should be."""

    class_id: str
    class_no: int
    hour: Hour
    """`ALL_HOURS`: of the class, and so of every hour that has none of its own."""
    price: Price
    """µUSD per GPU-hour, within what `MoveReference` accepts of the reference in force."""
    source: str
    """Where it is from, for people: `vwap of 12 trades in the last hour`, `median of 5 clouds`."""
    as_of_ms: Millis
    """Market time of the newest record of `events` that it is from."""


def reference_key(reference: Reference) -> bytes:
    """Key of a record on the topic."""
    return f"{reference.class_no}|{reference.hour}".encode()
