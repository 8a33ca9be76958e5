"""Contract specifications: what exactly one unit of a class is, and the rules of its books.

Each class is one published, versioned file `schemas/classes/<class id>.toml`. A specification never changes under a
listed hour: a change is a new version and a new class. The file's own bytes travel in `requests.ListClass`, so what was
listed can be read back for ever.

Nobody parses a class id; everything is a field here. Money is in µUSD, capacity is per GPU.
Read by: supply (which offers are of this class), the command line and gateways (listing, display). The desk and other
members see what the gateway publishes of it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.commands import Fees
from schemas.ids import is_class_id
from schemas.requests import ListClass
from schemas.units import BP, MINUTES_PER_HOUR, MS_PER_MINUTE, BasisPoints, Gpus, Price

TICK_MIN: Final = 100
"""µUSD."""
TICK_BP: Final = 20
"""The tick is the 1-2-5 step nearest to this share of the list price."""

Tier = Literal["DC", "COMM", "UNV"]
"""Verified data centre, community, unverified."""
Firmness = Literal["FIRM", "SPOT"]
"""SPOT: the provider may end an hour at 5 minutes' notice and repays the rest."""
Access = Literal["container", "vm", "bare_metal"]
"""What the buyer is let into, at least: each includes the ones before it."""

_Minutes = Annotated[int, Meta(ge=0)]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]


class BadSpecification(ValueError):
    """The text is not a specification, or contradicts itself; the message names every fault."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. A misspelt key is an error, not a default."""


class Hardware(_Part, frozen=True):
    """The machine."""

    gpu: Annotated[str, Meta(pattern=r"^[A-Z0-9]+$")]
    """Model as in `services/supply/mapping.toml`: `H100`."""
    form: Literal["SXM", "PCIE", "NVL", "NONE"]
    """`NONE`: of a class without GPUs, whose lots are shares of a machine."""
    memory_gb: Annotated[int, Meta(ge=1)]
    """Of one GPU, as it is marketed."""
    gpus_per_node: Annotated[int, Meta(ge=1, le=64)]
    """GPUs of one lot are in one machine."""
    links: _Text
    """Between the GPUs of one lot, and to the outside."""
    region: _Text
    """Name of the region."""
    countries: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Z]{2}$")], ...], Meta(min_length=1)]
    """ISO 3166 codes of where the machine may stand."""


class Minima(_Part, frozen=True):
    """What each GPU comes with at least; included in the price."""

    vcpus: Annotated[int, Meta(ge=1)]
    ram_gib: Annotated[int, Meta(ge=1)]
    scratch_gib: Annotated[int, Meta(ge=0)]
    bandwidth_mbps: Annotated[int, Meta(ge=0)]
    egress_gib: Annotated[int, Meta(ge=0)]
    """Outgoing traffic per GPU-hour."""


class Service(_Part, frozen=True):
    """How it is handed over and how firm it is."""

    access: Access
    tier: Tier
    firmness: Firmness
    setup_minutes: _Minutes
    """Setup allowance: minutes at the beginning that do not count as undelivered."""


class Trading(_Part, frozen=True):
    """The rules of the class's books."""

    lot: Annotated[Gpus, Meta(ge=1, le=1_000)]
    tick_micros: Annotated[Price, Meta(ge=TICK_MIN)]
    list_price_micros: Annotated[Price, Meta(ge=TICK_MIN, le=10**9)]
    """µUSD per GPU-hour; reference of the collar until references move it."""
    collar_low_bp: Annotated[BasisPoints, Meta(ge=1, le=BP)]
    collar_high_bp: Annotated[BasisPoints, Meta(ge=BP, le=10 * BP)]
    gate_minutes: Annotated[_Minutes, Meta(le=MINUTES_PER_HOUR)]
    """Gate closure, before the hour begins."""
    cover_minutes: Annotated[_Minutes, Meta(le=24 * MINUTES_PER_HOUR)]
    """Cover deadline of promises, before the hour begins."""
    running_close_minutes: Annotated[_Minutes, Meta(lt=MINUTES_PER_HOUR)]
    """Running close, before the hour ends."""
    horizon_hours: Annotated[int, Meta(ge=1, le=1_000)]


class FeeRates(_Part, frozen=True):
    """Basis points of the notional, by side and role."""

    buyer_maker_bp: Annotated[BasisPoints, Meta(ge=0, le=1_000)]
    buyer_taker_bp: Annotated[BasisPoints, Meta(ge=0, le=1_000)]
    seller_maker_bp: Annotated[BasisPoints, Meta(ge=0, le=1_000)]
    seller_taker_bp: Annotated[BasisPoints, Meta(ge=0, le=1_000)]


class Specification(_Part, frozen=True):
    """One class of interchangeable GPU capacity."""

    class_id: str
    version: Annotated[int, Meta(ge=1)]
    published: dt.date
    title: _Text
    hardware: Hardware
    minima: Minima
    service: Service
    trading: Trading
    fees: FeeRates


def parse(text: bytes) -> Specification:
    """The bytes of a specification file → specification. Raises BadSpecification."""
    try:
        specification = msgspec.toml.decode(text, type=Specification)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSpecification(str(error)) from error
    faults = _faults(specification)
    if faults:
        raise BadSpecification(f"{specification.class_id}: " + "; ".join(faults))
    return specification


def _faults(specification: Specification) -> list[str]:
    trading = specification.trading
    faults: list[str] = []
    if not is_class_id(specification.class_id):
        faults.append("class_id is not dotted uppercase of at most 40 characters")
    if trading.lot != specification.hardware.gpus_per_node:
        faults.append(f"a lot of {trading.lot} is not one node of {specification.hardware.gpus_per_node}")
    tick = tick_for(trading.list_price_micros)
    if trading.tick_micros != tick:
        faults.append(f"tick_micros is {trading.tick_micros}, the list price asks for {tick}")
    if trading.list_price_micros % trading.tick_micros:
        faults.append("list_price_micros is not a multiple of the tick")
    return faults


def tick_for(list_price: Price) -> Price:
    """The 1-2-5 step nearest, by ratio, to 20 bp of the list price, at least 100 µUSD."""
    assert list_price > 0
    steps: list[Price] = [mantissa * 10**exponent for exponent in range(2, 10) for mantissa in (1, 2, 5)]
    # 20 bp of the price lies between two steps a < b; their geometric mean divides them: nearer to a when
    # (price × 20 / 10,000)² ≤ a × b. In integers, so that no rounding decides.
    for step, following in itertools.pairwise(steps):
        if (list_price * TICK_BP) ** 2 <= step * following * BP**2:
            return step
    raise AssertionError(f"list price {list_price} is out of range")


def published() -> Mapping[str, bytes]:
    """Class id → text of every specification published with this build, ordered by id."""
    folder = resources.files("schemas") / "classes"
    files = {file.name.removesuffix(".toml"): file for file in folder.iterdir() if file.name.endswith(".toml")}
    return {class_id: files[class_id].read_bytes() for class_id in sorted(files)}


def specifications() -> tuple[Specification, ...]:
    """Every published specification, parsed, ordered by id. Raises BadSpecification."""
    return tuple(parse(text) for text in published().values())


def list_class(request_id: str, shard: int, text: bytes, first_hour: int = 0) -> ListClass:
    """The request that lists a specification into a shard. Raises BadSpecification."""
    specification = parse(text)
    trading, fees = specification.trading, specification.fees
    return ListClass(
        request_id=request_id,
        shard=shard,
        class_id=specification.class_id,
        specification=text,
        lot=trading.lot,
        tick=trading.tick_micros,
        list_price=trading.list_price_micros,
        fees=Fees(fees.buyer_maker_bp, fees.buyer_taker_bp, fees.seller_maker_bp, fees.seller_taker_bp),
        horizon_hours=trading.horizon_hours,
        gate_ms=trading.gate_minutes * MS_PER_MINUTE,
        cover_ms=trading.cover_minutes * MS_PER_MINUTE,
        running_close_ms=trading.running_close_minutes * MS_PER_MINUTE,
        collar_low_bp=trading.collar_low_bp,
        collar_high_bp=trading.collar_high_bp,
        first_hour=first_hour,
    )
