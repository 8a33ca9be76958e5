"""What every connector makes of a catalogue: its rows, in order, with those that are broken.

Pure. Numbers are exact decimals: catalogues write 8, 8.0 or nothing, and prices with the noise of binary floats. Names
reach terminals, logs and keys of records: what cannot be printed is refused here, for all formats alike.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from msgspec import Struct

from schemas.specifications import Tier

NAME_MAX: Final = 200
NUMBER_MAX: Final = Decimal(10) ** 9
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_NUMBER_CHARACTERS: Final = 40
_NOISE: Final = Decimal("1e-9")
"""Prices are rounded to this: far below one µUSD, far above the noise of a double."""


class BadCatalogue(ValueError):
    """The catalogue as a whole cannot be read: nothing of it is used. The sentence says what to do about it."""


class Row(Struct, frozen=True, kw_only=True):
    """One line of a catalogue, numbers parsed, nothing interpreted."""

    line: int
    instance_type: str
    upstream_id: str = ""
    """The type's name at the seller's own API, where an aggregator tells it."""
    gpu_name: str
    """Empty: no GPU."""
    gpus: int
    """In the instance."""
    gpu_info: str = ""
    """SkyPilot's nested text about the GPUs, see `gpu_info`."""
    gpu_memory_mib: int | None = None
    """Per GPU, where the format says it plainly."""
    vcpus: Decimal | None
    """Per instance; None: not stated."""
    memory_gib: Decimal | None
    """Host RAM per instance; None: not stated."""
    price: Decimal | None
    """USD per instance and hour; None: not offered on demand."""
    spot_price: Decimal | None
    region: str
    zone: str = ""
    tier: Tier | None = None
    """Where the format tells it of each machine; None: what mapping.toml says of the cloud."""
    available: bool = True
    """False: the source itself says that it cannot be had now."""
    flags: tuple[str, ...] = ()
    """Words by which the format sets a row apart."""
    cloud: str = ""
    """Whose catalogue the row is from, where one file holds several."""
    date: str = ""
    """Recorded catalogues only, as is `source`."""
    source: str = ""


class BrokenRow(Struct, frozen=True):
    """A line that cannot be read, and why."""

    line: int
    why: str


def name(text: str, column: str) -> str:
    """Text that may be shown and may be a key. Raises ValueError."""
    if len(text) > NAME_MAX:
        raise ValueError(f"{column} has {len(text)} characters, allowed are {NAME_MAX}")
    if not text.isprintable():
        # Control characters, escape sequences, bidirectional marks, bytes that are not UTF-8.
        raise ValueError(f"{column} {text[:40]!r} cannot be printed")
    return text


def present(text: str, column: str) -> str:
    """A name that may not be missing. Raises ValueError."""
    if not text:
        raise ValueError(f"{column} is empty")
    return name(text, column)


def number(text: str, column: str) -> Decimal | None:
    """None where nothing is written. Raises ValueError."""
    if not text:
        return None
    if len(text) > _NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
        raise ValueError(f"{column} {text[:40]!r} is not a number")
    return within(Decimal(text), column)


def within(value: Decimal, column: str) -> Decimal:
    """A number that may be a price or a size. Raises ValueError."""
    if not value.is_finite() or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{column} {str(value)[:40]!r} is out of range")
    # What is next to nothing is nothing: nobody divides by it.
    return value if value >= _NOISE else Decimal(0)


def price(value: Decimal | None) -> Decimal | None:
    """Without the noise. 0.00 is how some catalogues write that there is no such offer."""
    return value.quantize(_NOISE) if value else None


def count(value: Decimal | None, column: str, *, needed: bool) -> int:
    """GPUs of an instance. Raises ValueError."""
    found = value or Decimal(0)
    if found != int(found):
        raise ValueError(f"{column} {found} is not whole")
    if needed and not found:
        raise ValueError(f"{column} is 0 or empty in a row that names a GPU")
    return int(found)
