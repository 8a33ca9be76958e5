"""A catalogue file in SkyPilot's format → its rows, in order, with those that are broken.

Pure. Columns are found by name: their order and set differ from file to file. Numbers are exact decimals: catalogues
write 8, 8.0 or nothing, and prices with the noise of binary floats. A recorded catalogue has three more columns:
`cloud`, `date`, `source`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

from msgspec import Struct

_NEEDED: Final = frozenset(
    {"InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "Price", "Region"}
)
_FIELD_MAX: Final = 10_000
_NUMBER_MAX: Final = Decimal(10) ** 9
_NOISE: Final = Decimal("1e-9")
"""Prices are rounded to this: far below one µUSD, far above the noise of a double."""


class BadCatalogue(ValueError):
    """The file as a whole cannot be read: nothing of it is used."""


class Row(Struct, frozen=True, kw_only=True):
    """One line of a catalogue, numbers parsed, nothing interpreted."""

    line: int
    instance_type: str
    upstream_id: str
    """The type's name at the seller's own API, where an aggregator tells it."""
    gpu_name: str
    """Empty: no GPU."""
    gpus: int
    """In the instance."""
    vcpus: Decimal | None
    """Per instance; None: not stated."""
    memory_gib: Decimal | None
    """Host RAM per instance; None: not stated."""
    price: Decimal | None
    """USD per instance and hour; None: not offered on demand."""
    spot_price: Decimal | None
    region: str
    zone: str
    gpu_info: str
    cloud: str
    """Recorded catalogues only: whose catalogue the row is from."""
    date: str
    source: str


class BrokenRow(Struct, frozen=True):
    """A line that cannot be read, and why."""

    line: int
    why: str


def read_rows(data: bytes) -> Iterator[Row | BrokenRow]:
    """Bytes of a CSV file → its rows. Raises BadCatalogue before the first row, or where the CSV itself breaks off."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadCatalogue(f"not UTF-8: {error}") from error
    # newline="": a quoted field may hold a line end, and the csv module reads CRLF and LF alike.
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None, strict=True)
    try:
        missing = _NEEDED - set(reader.fieldnames or ())
        if missing:
            raise BadCatalogue(f"columns are missing: {', '.join(sorted(missing))}")
        for fields in reader:
            yield _row(reader.line_num, fields)
    except csv.Error as error:
        raise BadCatalogue(f"line {reader.line_num}: {error}") from error


def _row(line: int, fields: dict[str, str | None]) -> Row | BrokenRow:
    if "" in fields:
        return BrokenRow(line, "more fields than columns")
    texts = {name: (value or "").strip() for name, value in fields.items()}
    if None in fields.values():
        return BrokenRow(line, "fewer fields than columns")
    if any(len(value) > _FIELD_MAX for value in texts.values()):
        return BrokenRow(line, f"a field of more than {_FIELD_MAX} characters")
    try:
        return Row(
            line=line,
            instance_type=_present(texts["InstanceType"], "InstanceType"),
            upstream_id=texts.get("UpstreamCloudId", ""),
            gpu_name=texts["AcceleratorName"],
            gpus=_count(texts["AcceleratorCount"], needed=bool(texts["AcceleratorName"])),
            vcpus=_number(texts["vCPUs"], "vCPUs"),
            memory_gib=_number(texts["MemoryGiB"], "MemoryGiB"),
            price=_price(texts["Price"], "Price"),
            spot_price=_price(texts.get("SpotPrice", ""), "SpotPrice"),
            region=_present(texts["Region"], "Region"),
            zone=texts.get("AvailabilityZone", ""),
            gpu_info=texts.get("GpuInfo", ""),
            cloud=texts.get("cloud", ""),
            date=texts.get("date", ""),
            source=texts.get("source", ""),
        )
    except ValueError as error:
        return BrokenRow(line, str(error))


def _present(text: str, column: str) -> str:
    if not text:
        raise ValueError(f"{column} is empty")
    return text


def _number(text: str, column: str) -> Decimal | None:
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{column} {text[:40]!r} is not a number") from None
    if not number.is_finite() or not 0 <= number <= _NUMBER_MAX:
        raise ValueError(f"{column} {text[:40]!r} is out of range")
    return number


def _price(text: str, column: str) -> Decimal | None:
    """0.00 is how some catalogues write that there is no such offer."""
    number = _number(text, column)
    return number.quantize(_NOISE) if number else None


def _count(text: str, *, needed: bool) -> int:
    number = _number(text, "AcceleratorCount") or Decimal(0)
    if number != int(number):
        raise ValueError(f"AcceleratorCount {text!r} is not whole")
    if needed and not number:
        raise ValueError(f"AcceleratorCount {text!r} of a row that names a GPU")
    return int(number)
