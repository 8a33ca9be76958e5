"""What clouds ask for a class, from topic `offers`: the median of its firm offers, while all who list one are alive. Pure.

A median of which a part may be old is none: collars stay where they are until the clouds are heard again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Millis, Price

STALE_MS: Final = 60_000
"""Without a `PollDone`, which a living source repeats at least every 5 s, what it lists is stale."""
CLOUDS_MIN: Final = 2
"""One cloud's price list is one party's opinion."""


class Median(NamedTuple):
    """Across clouds, each by its cheapest offer."""

    price: Price
    clouds: int


class Clouds:
    """The newest record of each offer, reference and source."""

    def __init__(self) -> None:
        self._sources: dict[str, dict[tuple[str, str, str, str], str]] = {}
        """Class → its firm offers → the source that lists each."""
        self._class_of: dict[tuple[str, str, str, str], str] = {}
        self._polled_ms: dict[str, Millis] = {}
        self._references: dict[str, ClassReference] = {}

    def take(self, record: OfferRecord) -> None:
        """The next record of the topic."""
        match record:
            case OfferSeen():
                key = record.cloud, record.region, record.instance_type, record.kind
                self._forget(key)
                if record.kind == "on_demand":
                    self._class_of[key] = record.class_id
                    self._sources.setdefault(record.class_id, {})[key] = record.poll
            case OfferGone():
                self._forget((record.cloud, record.region, record.instance_type, record.kind))
            case PollDone():
                self._polled_ms[record.source] = record.seen_ms
            case ClassReference():
                self._references[record.class_id] = record

    def _forget(self, key: tuple[str, str, str, str]) -> None:
        class_id = self._class_of.pop(key, None)
        if class_id is not None:
            del self._sources[class_id][key]

    def median(self, class_id: str, now_ms: Millis) -> Median | None:
        """`now_ms`: wall clock, as that of supply. None: too few clouds, or somebody has not been heard of lately."""
        reference = self._references.get(class_id)
        if reference is None or reference.clouds < CLOUDS_MIN or reference.median <= 0:
            return None
        sources = set(self._sources.get(class_id, {}).values())
        if not sources or any(now_ms - self._polled_ms.get(source, 0) >= STALE_MS for source in sources):
            return None
        return Median(reference.median, reference.clouds)
