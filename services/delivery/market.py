"""What the room knows of the market, from `events` alone: classes, asks, titles, gates, hours that are over. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.codec import EventsRecord
from schemas.commands import Ground, Side
from schemas.events import (
    BlockAccepted,
    ClassSet,
    Filled,
    GateClosed,
    HourEnded,
    OrderAccepted,
    RangeAccepted,
    TitleCovered,
)
from schemas.ids import hour_of
from schemas.leases import LaunchNamed
from schemas.rentals_log import read_client_id
from schemas.units import Hour
from services.delivery.asks import Asks
from services.delivery.state import State
from services.delivery.titles import Titles


class Market:
    """Of all shards."""

    def __init__(self) -> None:
        self.titles = Titles()
        self.asks = Asks()
        self.classes: dict[str, int] = {}
        """Class id → number."""
        self.class_ids: dict[int, str] = {}
        self.lots: dict[int, int] = {}
        self.final: dict[int, set[int] | None] = {}
        """Contract → titles that can change no more and are to be looked at; None: all. Whoever looks takes the contract out."""
        self.launches: dict[int, LaunchNamed] = {}
        """By order: what purchases of hours that are not over begin with, where their order named it."""
        self.rentals: dict[int, tuple[int, Hour]] = {}
        """By order: which of its account's rentals it buys for, by its name, until its hour is over."""
        self.ended: set[int] = set()
        """Contracts whose titles are to be counted."""

    def take(self, record: EventsRecord, state: State) -> None:
        """Apply an output. Raises titles.Contradiction."""
        for event in record.events:
            self.asks.take(event)
            match event:
                case ClassSet():
                    self.classes[event.class_id] = event.class_no
                    self.class_ids[event.class_no] = event.class_id
                    self.lots[event.class_no] = event.lot
                case OrderAccepted() | BlockAccepted():
                    self._accept(event, [event.order], state)
                case RangeAccepted():
                    self._accept(event, [leg.order for leg in event.legs if not leg.code], state)
                case Filled():
                    self.titles.fill(event, self._launch(event), self._rental(event))
                    self._sold_as_ready(event)
                case TitleCovered():
                    self.titles.cover(event)
                case GateClosed():
                    self.final[event.contract] = None
                case HourEnded():
                    self._end(event.contract, state)
                case _:
                    pass

    def _accept(
        self, event: OrderAccepted | BlockAccepted | RangeAccepted, orders: Iterable[int], state: State
    ) -> None:
        """The name was recorded before the order was sent. A rental buys by orders for one hour."""
        rental = read_client_id(event.client_id)
        if rental is not None and isinstance(event, OrderAccepted) and event.side == Side.BUY:
            self.rentals[event.order] = rental[0], hour_of(event.contract)
        named = state.named.get(event.account, {}).get(event.client_id)
        if named is not None and event.side == Side.BUY:
            self.launches.update(dict.fromkeys(orders, named))

    def _launch(self, event: Filled) -> str:
        named = self.launches.get(_bid(event))
        return named.launch if named is not None else ""

    def _rental(self, event: Filled) -> int:
        return self.rentals.get(_bid(event), (0, 0))[0]

    def _sold_as_ready(self, event: Filled) -> None:
        if event.moves and event.moves[0].ground == Ground.READY:
            titles = self.final.setdefault(event.contract, set())
            if titles is not None:
                titles.update(move.title for move in event.moves)

    def look_again(self, contracts: set[int]) -> None:
        """A machine has come that their titles may have waited for."""
        self.final.update(dict.fromkeys(contracts))

    def _end(self, contract: int, state: State) -> None:
        self.final.pop(contract, None)
        over = hour_of(contract)
        self.launches = {order: named for order, named in self.launches.items() if named.hour > over}
        self.rentals = {order: bought for order, bought in self.rentals.items() if bought[1] > over}
        if contract in state.told or contract not in self.titles.of or not state.serves(contract):
            self.titles.drop(contract)
        else:
            self.ended.add(contract)


def _bid(event: Filled) -> int:
    return event.taker_order if event.taker_side == Side.BUY else event.maker_order
