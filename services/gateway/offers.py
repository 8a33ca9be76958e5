"""What supply has published, as it stands: topic `offers`, followed from its first record and kept by key."""

from __future__ import annotations

import msgspec

from schemas import http
from schemas.codec import UNREADABLE
from schemas.edge import iso
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Price, format_usd
from services.runtime.log import Log

_decoder: msgspec.msgpack.Decoder[OfferRecord] = msgspec.msgpack.Decoder(OfferRecord)


class Offers:
    """Newest record of each offer, reference and source, as it is answered."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = -1
        self._offers: dict[tuple[str, str, str, str], tuple[Price, http.OfferAnswer]] = {}
        self._references: dict[str, http.ReferenceAnswer] = {}
        self._polls: dict[str, http.PollAnswer] = {}
        self.undecodable = 0
        """Records that are not offers, or of a time that no calendar has: counted and skipped, as prices shown are not money."""

    async def follow(self) -> None:
        """For ever. Raises LogError."""
        if self._next < 0:
            self._next, _ = await self._log.bounds()
        while True:
            for record in await self._log.read(self._next, wait_ms=1_000):
                self._next = record.offset + 1
                try:
                    self._take(_decoder.decode(record.value))
                except (*UNREADABLE, ValueError, OverflowError, OSError):
                    self.undecodable += 1

    def _take(self, entry: OfferRecord) -> None:
        match entry:
            case OfferSeen():
                key = entry.cloud, entry.region, entry.instance_type, entry.kind
                self._offers[key] = entry.price, _offer(entry)
            case OfferGone():
                self._offers.pop((entry.cloud, entry.region, entry.instance_type, entry.kind), None)
            case ClassReference():
                self._references[entry.class_id] = _reference(entry)
            case PollDone():
                self._polls[entry.source] = _poll(entry)

    def cheapest(self, class_id: str) -> http.OfferAnswer | None:
        """Of the class's firm offers; listed is not available."""
        firm = [each for each in self._offers.values() if (each[1].class_id, each[1].kind) == (class_id, "on_demand")]
        return min(firm, key=lambda each: each[0])[1] if firm else None

    def answer(self, class_id: str) -> http.SupplyAnswer:
        """Cheapest first; `class_id` empty: all classes."""
        offers = sorted(
            (each for each in self._offers.values() if class_id in ("", each[1].class_id)),
            key=lambda each: (each[1].class_id, each[0]),
        )
        return http.SupplyAnswer(
            references=tuple(each for of, each in sorted(self._references.items()) if class_id in ("", of)),
            offers=tuple(offer for _, offer in offers),
            polls=tuple(poll for _, poll in sorted(self._polls.items())),
        )


def _offer(offer: OfferSeen) -> http.OfferAnswer:
    return http.OfferAnswer(
        class_id=offer.class_id,
        cloud=offer.cloud,
        region=offer.region,
        instance_type=offer.instance_type,
        kind=offer.kind,
        gpus=offer.gpus,
        price=format_usd(offer.price),
        source=offer.source,
        as_of=iso(offer.as_of_ms),
        seen_at=iso(offer.seen_ms),
    )


def _reference(reference: ClassReference) -> http.ReferenceAnswer:
    return http.ReferenceAnswer(
        class_id=reference.class_id,
        cheapest=format_usd(reference.cheapest),
        median=format_usd(reference.median),
        clouds=reference.clouds,
        offers=reference.offers,
    )


def _poll(poll: PollDone) -> http.PollAnswer:
    return http.PollAnswer(
        source=poll.source,
        rows=poll.rows,
        mapped=poll.mapped,
        refused=poll.refused,
        reasons=poll.reasons,
        seen_at=iso(poll.seen_ms),
    )
