"""What the desk sees of the clouds' catalogues: what an hour of a class costs to replace, or why nobody knows.

Pure. Fed with the records of the topic `offers` from its beginning. An offer counts while its source is polled: a supply
process that has stopped, or a file that cannot be read any more, makes offers stale, however good they look.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from schemas.supply import ClassReference, OfferGone, OfferRecord, OfferSeen, PollDone
from schemas.units import Gpus, Millis, Price, format_usd


class View(Struct, frozen=True, kw_only=True):
    """The firm offers of a class whose sources are alive."""

    cheapest: Price
    median: Price
    """Of the clouds, each by its cheapest offer; of an even number the lower middle one."""
    clouds: int
    age_ms: Millis
    """Since the source of the cheapest was last polled."""
    where: str
    """The cheapest offer, for people."""


class NoView(Struct, frozen=True):
    """There is nothing to rest a quote on."""

    why: str
    limit: str = ""
    """The limit that forbids it, as limits.toml names it; empty: none does."""


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
                # A figure for people and collars: a quote rests on offers that somebody can take.
                pass

    def view(self, class_id: str, lot: Gpus, now_ms: Millis) -> View | NoView:
        """What an hour of a lot costs, per GPU."""
        firm = [o for o in self._offers.values() if o.class_id == class_id and o.kind == "on_demand" and o.gpus == lot]
        alive = [offer for offer in firm if self._age_ms(offer, now_ms) < self.stale_after_ms and offer.price > 0]
        if not alive:
            return NoView(self._stale(firm, now_ms), "stale_after_ms") if firm else NoView("no firm offer")
        # By name where prices are equal, so that equal catalogues give equal quotes.
        best = min(alive, key=lambda offer: (offer.price, offer.cloud, offer.region, offer.instance_type))
        of_clouds: dict[str, Price] = {}
        for offer in alive:
            of_clouds[offer.cloud] = min(offer.price, of_clouds.get(offer.cloud, offer.price))
        prices = sorted(of_clouds.values())
        where = f"{best.cloud} {best.instance_type} in {best.region} at {format_usd(best.price)} ({best.source})"
        return View(
            cheapest=best.price, median=prices[(len(prices) - 1) // 2], clouds=len(prices),
            age_ms=max(0, self._age_ms(best, now_ms)), where=where,
        )  # fmt: skip

    def stale_at_ms(self, now_ms: Millis) -> Millis | None:
        """When the next source that is alive becomes stale unless it is polled; None: none is alive."""
        ends = (polled_ms + self.stale_after_ms for polled_ms in self._polled_ms.values())
        return min((end for end in ends if end > now_ms), default=None)

    def oldest_ms(self, now_ms: Millis) -> Millis:
        """How long ago that source was polled which was polled longest ago, of those that have offers."""
        return max((self._age_ms(offer, now_ms) for offer in self._offers.values()), default=0)

    def _stale(self, offers: list[OfferSeen], now_ms: Millis) -> str:
        last = {offer.poll: now_ms - self._age_ms(offer, now_ms) for offer in offers}
        # When and not for how long: the sentence stays the same, and is logged once.
        polls = ", ".join(f"{source or 'unnamed'} at {_clock(polled_ms)}" for source, polled_ms in sorted(last.items()))
        return f"stale: last polled {polls}"

    def _age_ms(self, offer: OfferSeen, now_ms: Millis) -> Millis:
        return now_ms - self._polled_ms.get(offer.poll, offer.seen_ms)


def _clock(time_ms: Millis) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1_000, UTC):%H:%M:%S} UTC"
