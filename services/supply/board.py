"""What stands on the topic `offers`, and what a poll changes there.

Pure. The board is a function of the records on the topic: a supply process that starts reads them back (`restore`) and
goes on from there, so that what has vanished meanwhile is said to be gone and what has not changed is not said again.

An offer is named by (cloud, region, instance type, kind). Where several sources list one, the source that stands first in
sources.toml counts, and the others' rows are duplicates; when it drops the offer the next one's takes its place. A source that
is stale has not dropped anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from schemas.specifications import Specification
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Millis, Price, format_usd
from services.supply.catalogue import Catalogue, offer_key
from services.supply.mapping import Reason
from services.supply.rows import BadCatalogue

COLLAPSE_ABOVE: Final = 10
"""A source that listed more offers than this, and of which not one row is left, is broken: markets do not end in one poll."""
PART: Final = "/"
"""Between the name of a source and that of one of its catalogues, where it has several."""


class Changes(Struct, frozen=True):
    """What a poll has changed among the offers that count."""

    seen: list[OfferSeen]
    """New ones, and those that another source lists now."""
    changed: list[tuple[OfferSeen, OfferSeen]]
    """(before, after) of the same source."""
    gone: list[OfferSeen]

    def records(self, seen_ms: Millis) -> list[OfferRecord]:
        """As they are published: offers, then those that are gone."""
        changed = [after for _, after in self.changed]
        return [*self.seen, *changed, *(_gone(offer, seen_ms) for offer in self.gone)]

    def prices(self) -> list[str]:
        """Old and new price where it moved, for the operator."""
        return [
            f"{offer_key(after)}: {format_usd(before.price)} → {format_usd(after.price)}"
            for before, after in self.changed
            if before.price != after.price
        ]


class Polled(Struct, frozen=True):
    """What has to be published after a poll, the poll itself last, and what of it has changed."""

    records: list[OfferRecord]
    changes: Changes


class Board:
    """Offers by key, references by class."""

    def __init__(self, classes: Iterable[Specification], order: Sequence[str] = ()) -> None:
        """`order`: names of the sources, the authoritative one first."""
        self._firm = [spec.class_id for spec in classes if spec.service.firmness == "FIRM"]
        self._order = {name: place for place, name in enumerate(order)}
        self._listed: dict[str, dict[str, OfferSeen]] = {}
        """Source → what it lists, whether it counts or not. After a start: what counted."""
        self._catalogues: dict[str, Catalogue] = {}
        self.offers: dict[str, OfferSeen] = {}
        """Those that count."""
        self.references: dict[str, ClassReference] = {}
        self.polls: dict[str, PollDone] = {}
        """Last poll per source."""

    def restore(self, record: OfferRecord) -> None:
        """Take in a record of the topic, oldest first."""
        match record:
            case OfferSeen():
                self._forget(offer_key(record))
                self.offers[offer_key(record)] = record
                self._listed.setdefault(record.poll, {})[offer_key(record)] = record
            case OfferGone():
                self._forget(offer_key(record))
            case ClassReference():
                self.references[record.class_id] = record
            case PollDone():
                self.polls[record.source] = record

    def sources(self) -> set[str]:
        """Those that list something."""
        return {source for source, offers in self._listed.items() if offers}

    def retire(self, sources: Collection[str], seen_ms: Millis) -> list[OfferRecord]:
        """Sources that are polled no more, or have vanished, list nothing any more."""
        keys: dict[str, None] = {}
        for source in sources:
            keys |= dict.fromkeys(self._listed.pop(source, {}))
            self._catalogues.pop(source, None)
            self.polls.pop(source, None)
        return [*self._settle(keys).records(seen_ms), *self._changed_references(seen_ms)]

    def poll(self, catalogue: Catalogue, seen_ms: Millis) -> Polled:
        """Raises BadCatalogue, and nothing has happened, when a source that listed much maps no row at all."""
        source = catalogue.source.name
        before = self._listed.get(source, {})
        if len(before) > COLLAPSE_ABOVE and not catalogue.mapped:
            raise BadCatalogue(
                f"all {catalogue.rows} rows are refused, where {len(before)} offers stood: taken for a broken source, nothing is "
                "withdrawn; if it is right, take the source off the list"
            )
        found = {offer_key(offer): offer for row in catalogue.mapped for offer in row.offers}
        listed = {key: before[key] if _same(before.get(key), offer) else offer for key, offer in found.items()}
        self._listed[source] = listed
        self._catalogues[source] = catalogue
        changes = self._settle([*listed, *(key for key in before if key not in listed)])
        done = self._done(source, looked_ms=seen_ms, seen_ms=seen_ms)
        records = [*changes.records(seen_ms), *self._changed_references(seen_ms), done]
        return Polled(records, changes)

    def still(self, source: str, seen_ms: Millis, *, looked: bool) -> PollDone:
        """The source's last poll still holds; `looked`: it was asked again, and has not changed."""
        return self._done(source, seen_ms=seen_ms, looked_ms=seen_ms if looked else self.polls[source].looked_ms)

    def clamped(self) -> int:
        """Offers whose source says a time that had not come when it was read."""
        return sum(catalogue.clamped for catalogue in self._catalogues.values())

    def _settle(self, keys: Iterable[str]) -> Changes:
        """Let the first source that lists an offer count."""
        changes = Changes([], [], [])
        ranked = sorted(self._listed, key=self._rank)
        for key in keys:
            known = self.offers.get(key)
            offer = next((self._listed[source][key] for source in ranked if key in self._listed[source]), None)
            if offer is None:
                if known is not None:
                    changes.gone.append(self.offers.pop(key))
            elif known is None or known.poll != offer.poll:
                changes.seen.append(offer)
                self.offers[key] = offer
            elif known is not offer and known != offer:
                changes.changed.append((known, offer))
                self.offers[key] = offer
        return changes

    def _rank(self, source: str) -> tuple[int, str]:
        return self._order.get(source.partition(PART)[0], len(self._order)), source

    def _done(self, source: str, *, seen_ms: Millis, looked_ms: Millis) -> PollDone:
        """Counted anew each time, since what another source lists decides what is a duplicate."""
        catalogue = self._catalogues[source]
        mapped = sum(
            any(self.offers[offer_key(offer)].poll == source for offer in row.offers) for row in catalogue.mapped
        )
        reasons = dict(catalogue.reasons)
        if mapped < len(catalogue.mapped):
            duplicate = Reason.DUPLICATE.value
            reasons[duplicate] = reasons.get(duplicate, 0) + len(catalogue.mapped) - mapped
        done = PollDone(source, catalogue.rows, mapped, catalogue.rows - mapped, reasons, seen_ms, looked_ms)
        assert done.refused == sum(reasons.values())
        self.polls[source] = done
        return done

    def _forget(self, key: str) -> None:
        """A later record of the topic says something else of this offer."""
        known = self.offers.pop(key, None)
        if known is not None:
            del self._listed[known.poll][key]

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


def _gone(offer: OfferSeen, seen_ms: Millis) -> OfferGone:
    return OfferGone(offer.cloud, offer.region, offer.instance_type, offer.kind, seen_ms)


def _same(known: OfferSeen | None, offer: OfferSeen) -> bool:
    """Equal but for when it was read, and for the time stamp under which the source repeats it."""
    return known is not None and msgspec.structs.replace(known, seen_ms=offer.seen_ms, as_of_ms=offer.as_of_ms) == offer
