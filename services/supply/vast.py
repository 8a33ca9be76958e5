"""What Vast.ai's search answers: JSON, `{"offers": [...]}`, one machine (or part of one) that can be rented an item.

Pure. Read from its public documentation and its client; nobody of us has asked the service itself.
- `dph_total` and `min_bid` are of all GPUs of the offer together; `min_bid` buys what may be taken away: spot.
- `cpu_ram` is the whole machine's. An offer gets the share that it gets of the cores (`cpu_cores_effective` of `cpu_cores`);
  where neither that nor `gpu_frac` is told, the number is taken at its word.
- Tier: not verified is UNV, whatever else it says; verified is COMM, in a data centre DC.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.specifications import Tier
from services.supply.rows import BadCatalogue, BrokenRow, Row, count, name, present, price, within
from services.supply.tables import ROWS_MAX

BYTES_MAX: Final = 16 * 1024 * 1024
"""Objects take many times the space of their text."""
_MIB_PER_GIB: Final = 1_024


class _Document(Struct):
    offers: list[Raw]


class _Offer(Struct):
    id: Annotated[int, Meta(ge=0)]
    gpu_name: str
    num_gpus: Decimal
    gpu_ram: Decimal
    """MB per GPU, as the driver tells it."""
    geolocation: str | None = None
    dph_total: Decimal | None = None
    min_bid: Decimal | None = None
    is_bid: bool = False
    """The search was for interruptible machines: its price is a bid."""
    rentable: bool = True
    rented: bool = False
    verification: str | None = None
    verified: bool | None = None
    """What older answers have in its place."""
    hosting_type: int | None = None
    """1: in a data centre."""
    datacenter: bool | None = None
    cpu_cores: Decimal | None = None
    cpu_cores_effective: Decimal | None = None
    cpu_ram: Decimal | None = None
    gpu_frac: Decimal | None = None


_documents = msgspec.json.Decoder(_Document)
_offers = msgspec.json.Decoder(_Offer)


def read_rows(data: bytes) -> Iterator[Row | BrokenRow]:
    """Bytes of an answer → its rows, numbered from 1. Raises BadCatalogue."""
    if len(data) > BYTES_MAX:
        raise BadCatalogue(f"{len(data)} bytes, allowed are {BYTES_MAX}; ask for fewer offers")
    try:
        offers = _documents.decode(data.removeprefix(b"\xef\xbb\xbf")).offers
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadCatalogue(f"not JSON with a list `offers`: {ascii(str(error)[:120])[1:-1]}") from error
    if not offers:
        raise BadCatalogue("an empty list of offers: nothing matched the search? nothing of it is used")
    if len(offers) > ROWS_MAX:
        raise BadCatalogue(f"more than {ROWS_MAX} offers; ask for fewer")
    for line, raw in enumerate(offers, 1):
        try:
            yield _row(line, _offers.decode(raw))
        except (ValueError, RecursionError) as error:
            yield BrokenRow(line, ascii(str(error)[:120])[1:-1])


def _row(line: int, offer: _Offer) -> Row:
    """Raises ValueError."""
    gpus = count(within(offer.num_gpus, "num_gpus"), "num_gpus", needed=True)
    gpu_name = present(offer.gpu_name.strip(), "gpu_name")
    share = _share(offer)
    asked, bid = (price(_within(offer, column)) for column in ("dph_total", "min_bid"))
    if offer.is_bid:
        asked, bid = None, bid or asked
    memory = _within(offer, "cpu_ram")
    return Row(
        line=line,
        # The offer is what is rented: two machines of one kind in one place are two offers.
        instance_type=name(f"{gpus}x-{gpu_name.replace(' ', '_')}/{offer.id}", "gpu_name"),
        gpu_name=gpu_name.replace(" ", "-"),
        gpus=gpus,
        gpu_memory_mib=int(within(offer.gpu_ram, "gpu_ram")),
        vcpus=_within(offer, "cpu_cores_effective"),
        memory_gib=None if memory is None else memory * share / _MIB_PER_GIB,
        price=asked,
        spot_price=bid,
        region=name((offer.geolocation or "").strip(), "geolocation") or "not told",
        tier=_tier(offer),
        available=offer.rentable and not offer.rented,
    )


def _tier(offer: _Offer) -> Tier:
    """Raises ValueError where the offer says two things."""
    for said, other in ((offer.verified, offer.verification), (offer.datacenter, offer.hosting_type)):
        if said is not None and other is not None and said != (other in {"verified", 1}):
            raise ValueError(f"it says two things: {said} and {other!r}")
    if not (offer.verified or offer.verification == "verified"):
        return "UNV"
    return "DC" if offer.datacenter or offer.hosting_type == 1 else "COMM"


def _share(offer: _Offer) -> Decimal:
    """Of the machine's RAM. Raises ValueError."""
    cores, effective = _within(offer, "cpu_cores"), _within(offer, "cpu_cores_effective")
    if cores and effective is not None:
        return min(effective / cores, Decimal(1))
    return min(_within(offer, "gpu_frac") or Decimal(1), Decimal(1))


def _within(
    offer: _Offer, column: Literal["dph_total", "min_bid", "cpu_cores", "cpu_cores_effective", "cpu_ram", "gpu_frac"]
) -> Decimal | None:
    value: Decimal | None = getattr(offer, column)
    return None if value is None else within(value, column)
