"""What collars should be based on: trades where there are enough of them, neighbouring hours, the clouds. Pure.

For an hour: the average of its own trades of the last hour, weighted by quantity, when they are at least three and between at
least two different pairs of owners; else that of the nearest hour within three that has one, the earlier of two; else its
class's. For a class: the median of the clouds. Buy-ins do not count: nobody chose their price.

A wish is written when it is at least one percent away from what is in force, once a minute for a target, and never further
away than `MoveReference` takes at once: a price that has doubled and doubled again gets there in two steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from schemas.commands import ALL_HOURS
from schemas.market import Reference
from schemas.units import MS_PER_MINUTE, Hour, Millis, Price
from services.market_data.clouds import Clouds
from services.market_data.market import Anchor, Contract, Listed, Market
from services.market_data.tape import merged

WINDOW_MINUTES: Final = 60
TRADES_MIN: Final = 3
PAIRS_MIN: Final = 2
NEIGHBOURS: Final = 3
AGAIN_MS: Final = MS_PER_MINUTE
PERCENT: Final = 1
FROM_LIST_PRICE: Final = 10
"""`MoveReference`: between a tenth of the list price and ten times it, and at most half or double of what is in force."""


class Wanted(NamedTuple):
    """What a reference should be, and why."""

    price: Price
    source: str


class References:
    """Of one shard's classes."""

    def __init__(self, market: Market, clouds: Clouds) -> None:
        self._market = market
        self._clouds = clouds
        self._written_ms: dict[tuple[int, Hour], Millis] = {}
        """Target → market time of the last wish."""

    def wanted(self, listed: Listed, now_ms: Millis) -> dict[Hour, Wanted]:
        """Target → what it should be, of a class and its hours; missing: nothing to go by. `now_ms`: wall clock."""
        found: dict[Hour, Wanted] = {}
        median = self._clouds.median(listed.class_id, now_ms)
        if median is not None:
            found[ALL_HOURS] = Wanted(median.price, f"median of {median.clouds} clouds")
        own = {hour: price for hour, contract in listed.contracts.items() if (price := self._own(contract))}
        for hour in listed.contracts:
            wanted = own.get(hour) or _neighbour(own, hour) or found.get(ALL_HOURS)
            if wanted is not None:
                found[hour] = wanted
        return found

    def _own(self, contract: Contract) -> Wanted | None:
        """Of the hour's own trades."""
        free = merged(contract.tape.since(WINDOW_MINUTES, self._market.time_ms)).free
        if free.trades < TRADES_MIN or len(free.pairs) < PAIRS_MIN:
            return None
        return Wanted(free.average(), f"average of {free.trades} trades in the last hour")

    def due(self, now_ms: Millis) -> list[Reference]:
        """Wishes to be written now; they count as written. `now_ms`: wall clock."""
        wishes = [wish for listed in self._market.classes.values() for wish in self._due(listed, now_ms)]
        live = {(no, hour) for no, listed in self._market.classes.items() for hour in (ALL_HOURS, *listed.contracts)}
        self._written_ms = {target: when for target, when in self._written_ms.items() if target in live}
        return wishes

    def _due(self, listed: Listed, now_ms: Millis) -> Iterator[Reference]:
        found = self.wanted(listed, now_ms)
        of_class = found.get(ALL_HOURS)
        for hour, wanted in found.items():
            if hour == ALL_HOURS:
                anchor = listed.anchor
            else:
                contract = listed.contracts[hour]
                if contract.phase == "closed":
                    continue
                if contract.own is None and (wanted is of_class or self._moves(listed)):
                    continue  # it has its class's, which moves by itself, and what it may have depends on where that has got to
                anchor = contract.anchor
            price = clipped(wanted.price, listed.spec.list_price, anchor.price)
            if abs(price - anchor.price) * 100 < anchor.price * PERCENT or not self._may(listed, hour, anchor):
                continue
            self._written_ms[listed.spec.class_no, hour] = self._market.time_ms
            yield Reference(listed.class_id, listed.spec.class_no, hour, price, wanted.source, self._market.time_ms)

    def _moves(self, listed: Listed) -> bool:
        """What was wished for the class is still on its way; after a minute it is lost, or was wished for again."""
        written_ms = self._written_ms.get((listed.spec.class_no, ALL_HOURS), 0)
        return listed.anchor.moved_ms < written_ms and self._market.time_ms - written_ms < AGAIN_MS

    def _may(self, listed: Listed, hour: Hour, anchor: Anchor) -> bool:
        """A minute has passed since the target was moved, and since it was last wished for."""
        own = anchor if hour == ALL_HOURS else listed.contracts[hour].own
        moved_ms = own.moved_ms if own is not None else 0
        last_ms = max(moved_ms, self._written_ms.get((listed.spec.class_no, hour), 0))
        return last_ms == 0 or self._market.time_ms - last_ms >= AGAIN_MS


def _neighbour(own: Mapping[Hour, Wanted], hour: Hour) -> Wanted | None:
    for distance in range(1, NEIGHBOURS + 1):
        for other in (hour - distance, hour + distance):
            if other in own:
                where = f"{abs(other - hour)} h {'before' if other < hour else 'after'}"
                return Wanted(own[other].price, f"of the hour {where}: {own[other].source}")
    return None


def clipped(price: Price, list_price: Price, in_force: Price) -> Price:
    """The nearest price that `MoveReference` takes."""
    low = max(-(-list_price // FROM_LIST_PRICE), -(-in_force // 2))
    high = min(list_price * FROM_LIST_PRICE, in_force * 2)
    return min(max(price, low), high)
