"""A reference that moves reprices 12 classes of 168 hours: processor time in the desk. Target: at most 250 ms.

Every class has quotes standing in all its hours, half of them with a position, a quarter with a two-sided book of others. Then
the cheapest offer of each class moves, and the desk does what it does before anything leaves the process: takes in the offers'
records from their bytes, looks at each class, sizes, plans promises and quotes of all 2,016 hours, and encodes the twelve
requests that it would send. The clock is processor time.

Afterwards: every hour has another price on both sides, bids stand below asks inside the collar, and nothing is idle.
"""

from __future__ import annotations

import gc
import time

import msgspec

from bench.measure import done, options, report, rounds, run_side
from schemas import http
from schemas.supply import OfferRecord, OfferSeen, PollDone
from schemas.units import format_usd
from services.market_maker.limits import packaged_limits
from services.market_maker.offers import Offers, View
from services.market_maker.planning import Anchors, Plan, Rules, plan
from services.market_maker.quoting import HourQuote, Standing, Terms, sizes

CLASSES = 12
HOURS = 168
FIRST_HOUR = 497_300
NOW_MS = FIRST_HOUR * 3_600_000 - 1_800_000
CLOUDS = 6
MOVES = 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OfferRecord).decode
_json = msgspec.json.Encoder().encode
LIMITS = packaged_limits()


def terms(number: int) -> Terms:
    price = 2_000_000 + 500_000 * number
    return Terms(
        class_id=f"BENCH{number}.80.US", lot=1, tick=5_000, reference=price, low=price // 2, high=price * 2, gate_ms=300_000,
        cover_ms=1_800_000, buyer_maker_bp=0, buyer_taker_bp=0, seller_bp=50,
    )  # fmt: skip


def catalogue(move: int) -> list[bytes]:
    """The offers of all classes after so many moves, as they stand on the topic."""
    records: list[OfferRecord] = []
    for number in range(CLASSES):
        of_class = terms(number)
        for cloud in range(CLOUDS):
            price = of_class.reference + 25_000 * cloud + 10_000 * (move % 2)
            name = f"cloud-{cloud}"
            records.append(
                OfferSeen(
                    name, "us-1", f"type-{number}", "on_demand", of_class.class_id, 1, price, 16, 131_072, "file", NOW_MS, NOW_MS,
                    "poll",
                )
            )  # fmt: skip
    records.append(PollDone("poll", len(records), len(records), 0, {}, NOW_MS))
    return [_encode(record) for record in records]


def standing(of_class: Terms) -> list[Standing]:
    """What the desk has read of a class's hours."""
    found = []
    for place in range(HOURS):
        own = place % 4
        found.append(
            Standing(
                hour=FIRST_HOUR + place, high=of_class.high, bid=of_class.reference - 60_000 if own == 3 else 0,
                ask=of_class.reference + 60_000 if own == 3 else 0, held=3 if own == 1 else 0, owed=5 if own == 2 else 0,
                exposed=5 if own == 2 else 0, promised=LIMITS.gpus_max,
                collateral_price=LIMITS.collateral_price(of_class.high),
            )
        )  # fmt: skip
    return found


class Desk:
    """The desk's own decisions without its loop: what `services.market_maker.desk` calls, in its order."""

    def __init__(self) -> None:
        self.offers = Offers(LIMITS.stale_after_ms)
        self.anchors = Anchors(LIMITS.jump_bp, LIMITS.settle_ms)
        self.terms = [terms(number) for number in range(CLASSES)]
        self.hours = {each.class_id: standing(each) for each in self.terms}
        self.stands: dict[str, dict[int, HourQuote]] = {each.class_id: {} for each in self.terms}

    def reprice(self, records: list[bytes]) -> list[bytes]:
        """From the topic's bytes to those of the requests."""
        for record in records:
            self.offers.apply(_decode(record))
        return [self._request(each) for each in self.terms]

    def _request(self, of_class: Terms) -> bytes:
        name = of_class.class_id
        view = self.anchors.believe(name, self.offers.view(name, of_class.lot, NOW_MS), NOW_MS)
        assert isinstance(view, View), view
        size = sizes(of_class, view, LIMITS, CLASSES)
        rules = Rules(terms=of_class, limits=LIMITS, size=size, promises=True)
        wanted: Plan = plan(rules, view, self.hours[name], self.stands[name], NOW_MS)
        self.stands[name].update(wanted.quotes)
        lines = tuple(
            http.QuoteRequest(
                str(hour), format_usd(q.bid) if q.bid else "", q.bid_qty, format_usd(q.ask) if q.ask else "", q.ask_qty
            )
            for hour, q in wanted.quotes
        )  # fmt: skip
        return _json(http.QuotesRequest(lines, NOW_MS))


def ours() -> None:
    desk = Desk()
    desk.reprice(catalogue(0))
    gc.collect()
    taken = []
    for move in range(1, MOVES + 1):
        records, before = catalogue(move), {name: dict(stands) for name, stands in desk.stands.items()}
        started = time.process_time()
        requests = desk.reprice(records)
        taken.append(time.process_time() - started)
        look(before, desk.stands, requests)
    done(sorted(taken)[MOVES // 2] * 1_000, worst=max(taken) * 1_000)


def look(
    before: dict[str, dict[int, HourQuote]], after: dict[str, dict[int, HourQuote]], requests: list[bytes]
) -> None:
    """Raises where an hour was not repriced, or could not be put."""
    said = sum(len(msgspec.json.decode(request, type=http.QuotesRequest).quotes) for request in requests)
    assert said == CLASSES * HOURS, f"{said} hours repriced"
    for name, stands in after.items():
        for hour, quote in stands.items():
            assert quote.bid != before[name][hour].bid, f"{name} {hour}: the same bid"
            assert quote.ask != before[name][hour].ask, f"{name} {hour}: the same ask"
            assert 0 < quote.bid < quote.ask


def main() -> None:
    given = options(__doc__, rounds=3)
    if given.side:
        ours()
        return
    mine, _ = rounds("reprice", given.rounds, lambda side: run_side("reprice", side), peer=False)
    worst = max(run["worst"] for run in mine)
    report(
        "reprice", "ms of processor time", mine, [], more_is_better=False, classes=CLASSES, hours=HOURS, worst_ms=round(worst, 1)
    )  # fmt: skip


if __name__ == "__main__":
    main()
