"""What supply has published, as it stands: topic `offers`, followed from its first record and kept by key."""

from __future__ import annotations

import msgspec

from schemas import http
from schemas.codec import UNREADABLE
from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import format_usd
from services.gateway.times import iso
from services.runtime.log import Log

_decoder: msgspec.msgpack.Decoder[OfferRecord] = msgspec.msgpack.Decoder(OfferRecord)


class Offers:
    """Newest record of each offer, reference and source."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = -1
        self._offers: dict[tuple[str, str, str, str], OfferSeen] = {}
        self._references: dict[str, ClassReference] = {}
        self._polls: dict[str, PollDone] = {}
        self.undecodable = 0
        """Records that are not offers: counted and skipped, as prices shown are not money."""

    async def follow(self) -> None:
        """For ever. Raises LogError."""
        if self._next < 0:
            self._next, _ = await self._log.bounds()
        while True:
            for record in await self._log.read(self._next, wait_ms=1_000):
                self._next = record.offset + 1
                try:
                    self._take(_decoder.decode(record.value))
                except UNREADABLE:
                    self.undecodable += 1

    def _take(self, entry: OfferRecord) -> None:
        match entry:
            case OfferSeen():
                self._offers[entry.cloud, entry.region, entry.instance_type, entry.kind] = entry
            case OfferGone():
                self._offers.pop((entry.cloud, entry.region, entry.instance_type, entry.kind), None)
            case ClassReference():
                self._references[entry.class_id] = entry
            case PollDone():
                self._polls[entry.source] = entry

    def answer(self, class_id: str) -> http.SupplyAnswer:
        """Cheapest first; `class_id` empty: all classes."""
        offers = sorted(
            (offer for offer in self._offers.values() if class_id in ("", offer.class_id)),
            key=lambda o: (o.class_id, o.price),
        )
        return http.SupplyAnswer(
            references=tuple(
                http.ReferenceAnswer(
                    class_id=r.class_id,
                    cheapest=format_usd(r.cheapest),
                    median=format_usd(r.median),
                    clouds=r.clouds,
                    offers=r.offers,
                )
                for _, r in sorted(self._references.items())
                if class_id in ("", r.class_id)
            ),
            offers=tuple(
                http.OfferAnswer(
                    class_id=o.class_id,
                    cloud=o.cloud,
                    region=o.region,
                    instance_type=o.instance_type,
                    kind=o.kind,
                    gpus=o.gpus,
                    price=format_usd(o.price),
                    source=o.source,
                    as_of=iso(o.as_of_ms),
                    seen_at=iso(o.seen_ms),
                )
                for o in offers
            ),
            polls=tuple(
                http.PollAnswer(
                    source=p.source,
                    rows=p.rows,
                    mapped=p.mapped,
                    refused=p.refused,
                    reasons=p.reasons,
                    seen_at=iso(p.seen_ms),
                )
                for _, p in sorted(self._polls.items())
            ),
        )
