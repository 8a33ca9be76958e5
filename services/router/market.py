"""What the router knows of the market, from `events` alone: classes, collars, and what became of rentals' orders. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.codec import EventsRecord
from schemas.commands import ALL_HOURS, Side
from schemas.events import ClassSet, Filled, HourEnded, OrderAccepted, OrderCancelled, ReferenceMoved
from schemas.ids import class_no_of, hour_of
from schemas.rentals_log import read_client_id
from schemas.units import (
    MINUTES_PER_HOUR,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    BasisPoints,
    Gpus,
    Hour,
    Micros,
    Millis,
    Price,
    collar,
    fee,
    notional,
)
from services.router.state import State

Phase = Literal["forward", "running", "closed"]
OrderKey = tuple[int, int, int]
"""(account, rental, number)."""


class Listed(Struct, frozen=True, gc=False):
    """A class as it is listed."""

    class_no: int
    class_id: str
    shard: int
    lot: Gpus
    tick: Price
    buyer_bp: BasisPoints
    """The highest that a buyer may pay."""
    seller_bp: BasisPoints
    gate_ms: Millis
    running_close_ms: Millis
    collar_low_bp: BasisPoints
    collar_high_bp: BasisPoints

    def phase(self, hour: Hour, now_ms: Millis) -> Phase:
        """Of one of its hours, by the market's clock."""
        begins_ms = hour * MS_PER_HOUR
        if now_ms < begins_ms - self.gate_ms:
            return "forward"
        return "running" if now_ms < begins_ms + MS_PER_HOUR - self.running_close_ms else "closed"

    def most(self, price: Price, qty: Gpus, minutes: int) -> Micros:
        """The worst case of a purchase, µUSD: fees, and both roundings of as many fills as there are lots."""
        cash = notional(price, qty, minutes)
        return cash + fee(cash, self.buyer_bp) + 2 * (qty // self.lot)


def minutes_left(hour: Hour, now_ms: Millis) -> int:
    """Of which a purchase made now is: 60 before it begins."""
    return min(MINUTES_PER_HOUR, max(0, ((hour + 1) * MS_PER_HOUR - now_ms) // MS_PER_MINUTE))


class Fate(Struct, gc=False):
    """What became of an order that was accepted."""

    key: OrderKey
    order: int
    contract: int
    side: int
    qty: Gpus
    price: Price
    filled: Gpus = 0
    notional: Micros = 0
    fees: Micros = 0
    weighted: Micros = 0
    """Sum of price × GPUs, whatever the minutes."""
    minutes: int = 0
    """Of the last fill."""
    is_over: bool = False
    """Nothing of it is open."""


class Market:
    """Of all shards."""

    def __init__(self) -> None:
        self.classes: dict[str, Listed] = {}
        self.by_number: dict[int, Listed] = {}
        self.fates: dict[OrderKey, list[Fate]] = {}
        """One each: more only where one id was accepted by two shards, or after a quarter of an hour again."""
        self.ended: set[int] = set()
        """Contracts whose hours are over, and which nobody has folded yet."""
        self.changed: set[OrderKey] = set()
        """Orders of which something is new; whoever looks takes them out."""
        self.time_ms: dict[int, Millis] = {}
        """Shard → the engine's time after the last whole output that was read."""
        self._collars: dict[tuple[int, Hour], tuple[Price, Price]] = {}
        self._by_order: dict[int, Fate] = {}
        self._of_contract: dict[int, list[int]] = {}

    def take(self, record: EventsRecord, state: State) -> None:
        """Apply an output. `state`: which orders are rentals' own; of others nothing is kept."""
        for event in record.events:
            match event:
                case ClassSet():
                    self._list(event, record.shard)
                case ReferenceMoved():
                    self._move(self.by_number[event.class_no], event.hour, event.price)
                case OrderAccepted():
                    self._accept(event, state)
                case Filled():
                    self._fill(event)
                case OrderCancelled():
                    self._end(event.order)
                case HourEnded():
                    self.ended.add(event.contract)
                case _:
                    pass
        if record.last:
            self.time_ms[record.shard] = record.time_ms

    def collar(self, listed: Listed, hour: Hour) -> tuple[Price, Price]:
        """Lowest and highest price that the book takes, both on the tick."""
        low, high = self._collars.get((listed.class_no, hour)) or self._collars[listed.class_no, ALL_HOURS]
        return -(-low // listed.tick) * listed.tick, high // listed.tick * listed.tick

    def listed(self, contract: int) -> Listed:
        """The class of a contract that was traded."""
        return self.by_number[class_no_of(contract)]

    def owner_of(self, order: int) -> int:
        """Account of an order that is open yet; 0: it is not."""
        fate = self._by_order.get(order)
        return 0 if fate is None or fate.is_over else fate.key[0]

    def drop(self, contract: int) -> None:
        """The hour is folded."""
        self.ended.discard(contract)
        self._collars.pop((class_no_of(contract), hour_of(contract)), None)
        for order in self._of_contract.pop(contract, ()):
            fate = self._by_order.pop(order)
            left = [each for each in self.fates[fate.key] if each is not fate]
            if left:
                self.fates[fate.key] = left
            else:
                del self.fates[fate.key]

    def _list(self, event: ClassSet, shard: int) -> None:
        listed = Listed(
            class_no=event.class_no,
            class_id=event.class_id,
            shard=shard,
            lot=event.lot,
            tick=event.tick,
            buyer_bp=max(event.fees.buyer_maker, event.fees.buyer_taker),
            seller_bp=max(event.fees.seller_maker, event.fees.seller_taker),
            gate_ms=event.gate_ms,
            running_close_ms=event.running_close_ms,
            collar_low_bp=event.collar_low_bp,
            collar_high_bp=event.collar_high_bp,
        )
        self.classes[event.class_id] = self.by_number[event.class_no] = listed
        self._move(listed, ALL_HOURS, event.list_price)

    def _move(self, listed: Listed, hour: Hour, reference: Price) -> None:
        self._collars[listed.class_no, hour] = collar(reference, listed.collar_low_bp, listed.collar_high_bp)

    def _accept(self, event: OrderAccepted, state: State) -> None:
        own = read_client_id(event.client_id)
        if own is None or not state.has_sent(event.account, *own, event.contract, event.side, event.qty):
            return  # members may call their own orders as they like
        fate = Fate((event.account, *own), event.order, event.contract, event.side, event.qty, event.price)
        self.fates.setdefault(fate.key, []).append(fate)
        self._by_order[event.order] = fate
        self._of_contract.setdefault(event.contract, []).append(event.order)
        self.changed.add(fate.key)

    def _fill(self, event: Filled) -> None:
        for order, leaves in ((event.maker_order, event.maker_leaves), (event.taker_order, event.taker_leaves)):
            fate = self._by_order.get(order)
            if fate is None:
                continue
            fate.filled += event.qty
            fate.notional += event.notional
            fate.fees += event.buyer_fee if fate.side == Side.BUY else event.seller_fee
            fate.weighted += event.price * event.qty
            fate.minutes = event.minutes
            fate.is_over = fate.is_over or leaves == 0
            self.changed.add(fate.key)

    def _end(self, order: int) -> None:
        fate = self._by_order.get(order)
        if fate is not None:
            fate.is_over = True
            self.changed.add(fate.key)
