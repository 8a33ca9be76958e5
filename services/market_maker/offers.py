"""What the desk sees of the clouds' catalogues: the cheapest firm offer of each class, or why there is none to rest on.

Pure. Fed with the records of the topic `offers` from its beginning. An offer counts while its source is polled: a supply
process that has stopped, or a file that cannot be read any more, makes offers stale, however good they look.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Millis


class NoOffer(Struct, frozen=True):
    """There is nothing to rest an ask on."""

    why: str


class Offers:
    """Offers by (cloud, region, instance type, kind), and when each source was last polled."""

    def __init__(self, stale_after_ms: Millis) -> None:
        self.stale_after_ms = stale_after_ms
        self._offers: dict[tuple[str, str, str, str], OfferSeen] = {}
        self._polled_ms: dict[str, Millis] = {}

    def __len__(self) -> int:
        return len(self._offers)

    def apply(self, record: OfferRecord) -> None:
        """Take in a record of the topic, oldest first."""
        match record:
            case OfferSeen():
                self._offers[record.cloud, record.region, record.instance_type, record.kind] = record
            case OfferGone():
                self._offers.pop((record.cloud, record.region, record.instance_type, record.kind), None)
            case PollDone():
                self._polled_ms[record.source] = record.seen_ms
            case ClassReference():
                # A figure for people: an ask rests on an offer that somebody can take.
                pass

    def cheapest(self, class_id: str, now_ms: Millis) -> OfferSeen | NoOffer:
        """The cheapest firm offer of the class whose source is alive."""
        of_class = [o for o in self._offers.values() if o.class_id == class_id and o.kind == "on_demand"]
        alive = [offer for offer in of_class if self._age_ms(offer, now_ms) < self.stale_after_ms]
        if alive:
            # By name where prices are equal, so that equal catalogues give equal asks.
            return min(alive, key=lambda offer: (offer.price, offer.cloud, offer.region, offer.instance_type))
        if not of_class:
            return NoOffer("no firm offer")
        last = {offer.poll: now_ms - self._age_ms(offer, now_ms) for offer in of_class}
        # When and not for how long: the sentence stays the same, and is logged once.
        polls = ", ".join(f"{source or 'unnamed'} at {_clock(polled_ms)}" for source, polled_ms in sorted(last.items()))
        return NoOffer(f"stale: last polled {polls}")

    def stale_at_ms(self) -> Millis | None:
        """When the next source becomes stale unless it is polled; None: no source is known."""
        return min((polled_ms + self.stale_after_ms for polled_ms in self._polled_ms.values()), default=None)

    def _age_ms(self, offer: OfferSeen, now_ms: Millis) -> Millis:
        return now_ms - self._polled_ms.get(offer.poll, offer.seen_ms)


def _clock(time_ms: Millis) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1_000, UTC):%H:%M:%S} UTC"
