"""One poll of one catalogue: every row is mapped or refused and counted, rows = mapped + refused.

Pure: bytes in, `Catalogue` out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from schemas.specifications import Specification
from schemas.supply import OfferGone, OfferSeen
from schemas.units import Millis
from services.supply.connectors import CONNECTORS, ConnectorName
from services.supply.mapping import Offer, Reason, Refused, map_row
from services.supply.rows import BrokenRow, Row
from services.supply.rules import Rules

_DETAILS_PER_REASON = 5


class Source(Struct, frozen=True, kw_only=True):
    """Where a catalogue is from."""

    name: str
    """Unique; `PollDone.source`."""
    catalogue: str
    """Name in mapping.toml; rows of a recorded catalogue name their own."""
    label: str
    """Said in `OfferSeen.source` for rows that name no source of their own."""
    as_of_ms: Millis
    """When the content last changed, as far as the source lets one know."""
    connector: ConnectorName = "skypilot"
    recorded: bool = False
    """Every row must name cloud, date and source."""


class MappedRow(Struct, frozen=True):
    """A row that is in a class, once per kind."""

    line: int
    offers: tuple[OfferSeen, ...]


class Catalogue(Struct, frozen=True, kw_only=True):
    """What one poll found."""

    source: Source
    rows: int
    mapped: tuple[MappedRow, ...]
    reasons: dict[str, int]
    details: dict[str, list[str]]
    """The first few refusals of each reason, for the operator."""
    clamped: int
    """Offers whose source says a time that has not come yet: now is said instead."""


def read_catalogue(
    data: bytes, source: Source, rules: Rules, classes: Sequence[Specification], seen_ms: Millis
) -> Catalogue:
    """Raises rows.BadCatalogue when the file as a whole cannot be read."""
    rows = 0
    mapped: list[MappedRow] = []
    reasons: dict[str, int] = {}
    details: dict[str, list[str]] = {}
    keys: set[str] = set()
    for row in CONNECTORS[source.connector].read_rows(data):
        rows += 1
        outcome = _outcome(row, source, rules, classes, seen_ms)
        if not isinstance(outcome, Refused):
            fresh = tuple(offer for offer in outcome if offer_key(offer) not in keys)
            keys.update(map(offer_key, fresh))
            if fresh:
                mapped.append(MappedRow(row.line, fresh))
                continue
            outcome = Refused(Reason.DUPLICATE, "listed before in this file")
        reason = outcome.reason.value
        reasons[reason] = reasons.get(reason, 0) + 1
        examples = details.setdefault(reason, [])
        if len(examples) < _DETAILS_PER_REASON:
            examples.append(f"line {row.line}: {outcome.detail}")
    assert rows == len(mapped) + sum(reasons.values())
    clamped = sum(offer.as_of_ms > seen_ms for row in mapped for offer in row.offers)
    if clamped:
        mapped = [MappedRow(row.line, tuple(_not_later(offer, seen_ms) for offer in row.offers)) for row in mapped]
    return Catalogue(
        source=source, rows=rows, mapped=tuple(mapped), reasons=reasons, details=details, clamped=clamped
    )  # fmt: skip


def _outcome(
    row: Row | BrokenRow, source: Source, rules: Rules, classes: Sequence[Specification], seen_ms: Millis
) -> list[OfferSeen] | Refused:
    as_of_ms, label = source.as_of_ms, source.label
    if source.recorded and isinstance(row, Row):
        if not (row.cloud and row.date and row.source):
            return Refused(Reason.BROKEN_ROW, "a recorded price without cloud, date or source")
        try:
            day = dt.datetime.strptime(row.date, "%Y-%m-%d").replace(tzinfo=dt.UTC)
        except ValueError:
            return Refused(Reason.BROKEN_ROW, f"date {row.date!r} is not YYYY-MM-DD")
        as_of_ms, label = int(day.timestamp()) * 1000, f"{row.source} {row.date}"
    outcome = map_row(row, source.catalogue, rules, classes)
    if isinstance(outcome, Refused):
        return outcome
    return [_seen(offer, source.name, label, as_of_ms, seen_ms) for offer in outcome]


def _not_later(offer: OfferSeen, seen_ms: Millis) -> OfferSeen:
    return msgspec.structs.replace(offer, as_of_ms=min(offer.as_of_ms, seen_ms))


def _seen(offer: Offer, poll: str, label: str, as_of_ms: Millis, seen_ms: Millis) -> OfferSeen:
    return OfferSeen(
        cloud=offer.cloud, region=offer.region, instance_type=offer.instance_type, kind=offer.kind,
        class_id=offer.class_id, gpus=offer.gpus, price=offer.price, vcpus=offer.vcpus, memory_mib=offer.memory_mib,
        source=label, as_of_ms=as_of_ms, seen_ms=seen_ms, poll=poll,
    )  # fmt: skip


def offer_key(offer: OfferSeen | OfferGone) -> str:
    """The four parts that name an offer, as the record's key: cloud|region|instance type|kind."""
    return "|".join(part.replace("|", "/") for part in (offer.cloud, offer.region, offer.instance_type, offer.kind))
