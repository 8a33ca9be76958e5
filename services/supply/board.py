"""What stands on the topic `offers`, and what a poll changes there.

Pure. The board is a function of the records on the topic: a supply process that starts reads them back (`restore`) and
goes on from there, so that what has vanished meanwhile is said to be gone and what has not changed is not said again.

An offer belongs to the source that listed it first; another source with the same offer is a duplicate until the first
one drops it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from schemas.specifications import Specification
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Millis, Price
from services.supply.catalogue import Catalogue, offer_key
from services.supply.mapping import Reason


class Board:
    """Offers by key, references by class."""

    def __init__(self, classes: Iterable[Specification]) -> None:
        self._firm = [spec.class_id for spec in classes if spec.service.firmness == "FIRM"]
        self.offers: dict[str, OfferSeen] = {}
        self.references: dict[str, ClassReference] = {}
        self.polls: dict[str, PollDone] = {}
        """Last poll per source."""

    def restore(self, record: OfferRecord) -> None:
        """Take in a record of the topic, oldest first."""
        match record:
            case OfferSeen():
                self.offers[offer_key(record)] = record
            case OfferGone():
                self.offers.pop(offer_key(record), None)
            case ClassReference():
                self.references[record.class_id] = record
            case PollDone():
                self.polls[record.source] = record

    def retire(self, sources: Collection[str], seen_ms: Millis) -> list[OfferRecord]:
        """Drop the offers of sources that are no longer polled."""
        keys = [key for key, offer in self.offers.items() if offer.poll not in sources]
        return [*self._drop(keys, seen_ms), *self._changed_references(seen_ms)]

    def poll(self, catalogue: Catalogue, seen_ms: Millis) -> list[OfferRecord]:
        """What has to be published after a poll: changed offers, gone ones, references, and the poll itself, last."""
        source = catalogue.source.name
        records: list[OfferRecord] = []
        listed: set[str] = set()
        mapped = 0
        for row in catalogue.mapped:
            own = [offer for offer in row.offers if self._belongs(offer, source)]
            mapped += bool(own)
            for offer in own:
                key = offer_key(offer)
                listed.add(key)
                if not _same(self.offers.get(key), offer):
                    self.offers[key] = offer
                    records.append(offer)
        vanished = [key for key, offer in self.offers.items() if offer.poll == source and key not in listed]
        records += self._drop(vanished, seen_ms)
        records += self._changed_references(seen_ms)
        reasons = dict(catalogue.reasons)
        if mapped < len(catalogue.mapped):
            duplicate = Reason.DUPLICATE.value
            reasons[duplicate] = reasons.get(duplicate, 0) + len(catalogue.mapped) - mapped
        done = PollDone(source, catalogue.rows, mapped, catalogue.rows - mapped, reasons, seen_ms)
        assert done.refused == sum(reasons.values())
        self.polls[source] = done
        return [*records, done]

    def still(self, source: str, seen_ms: Millis) -> list[OfferRecord]:
        """The source was looked at and has not changed."""
        done = msgspec.structs.replace(self.polls[source], seen_ms=seen_ms)
        self.polls[source] = done
        return [done]

    def _belongs(self, offer: OfferSeen, source: str) -> bool:
        known = self.offers.get(offer_key(offer))
        return known is None or known.poll == source

    def _drop(self, keys: Iterable[str], seen_ms: Millis) -> list[OfferRecord]:
        dropped = [self.offers.pop(key) for key in keys]
        return [OfferGone(o.cloud, o.region, o.instance_type, o.kind, seen_ms) for o in dropped]

    def _changed_references(self, seen_ms: Millis) -> list[OfferRecord]:
        changed: list[OfferRecord] = []
        for class_id in self._firm:
            reference = reference_of(class_id, self.offers.values(), seen_ms)
            known = self.references.get(class_id) or ClassReference(class_id, 0, 0, 0, 0, 0)
            if msgspec.structs.replace(known, as_of_ms=seen_ms) != reference:
                self.references[class_id] = reference
                changed.append(reference)
        return changed


def reference_of(class_id: str, offers: Iterable[OfferSeen], as_of_ms: Millis) -> ClassReference:
    """Median and cheapest across clouds, each cloud by its cheapest offer; prices are 0 where nobody offers.

    A cloud that lists one machine in 17 regions, or that is resold by others, is one cloud.
    """
    cheapest: dict[str, Price] = {}
    count = 0
    for offer in offers:
        if offer.class_id == class_id and offer.kind == "on_demand":
            count += 1
            cheapest[offer.cloud] = min(offer.price, cheapest.get(offer.cloud, offer.price))
    prices = sorted(cheapest.values())
    if not prices:
        return ClassReference(class_id, 0, 0, 0, 0, as_of_ms)
    low, high = prices[(len(prices) - 1) // 2], prices[len(prices) // 2]
    return ClassReference(class_id, -(-(low + high) // 2), prices[0], len(prices), count, as_of_ms)


def record_key(record: OfferRecord) -> bytes:
    """Key of a record on the topic: a record replaces the one before with the same key."""
    if isinstance(record, ClassReference):
        return f"reference|{record.class_id}".encode()
    if isinstance(record, PollDone):
        return f"poll|{record.source}".encode()
    return offer_key(record).encode()


def _same(known: OfferSeen | None, offer: OfferSeen) -> bool:
    """Equal but for when it was read."""
    return known is not None and msgspec.structs.replace(known, seen_ms=offer.seen_ms) == offer
