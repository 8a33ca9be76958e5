"""R1 to R4: what was ordered for rentals; from `rentals`, held against `events`. Pure.

Written from docs/rules.md without the router. A rental's order has the client order id `r<rental>-<number>`, is of the account
that rents, and stands in `rentals`. Members may call orders of theirs the same, and that is no fault: an order under a name that
was not recorded by then is the member's own, and so is one unlike the record where what was recorded came to nothing, or is
another order. Two things cannot be told from a fault: a member who forges, to the µUSD, what his rental is about to record, and
one who takes a name between record and sending.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.commands import Side
from schemas.events import ClassSet, Event, Filled, OrderAccepted, ShardStarted
from schemas.ids import class_no_of, format_order, hour_of
from schemas.rentals_log import (
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalOver,
    RentalRecord,
    RentalStopped,
    Terms,
)
from schemas.units import HOURS_PER_DAY, Gpus, Hour, Micros, Millis, Price
from services.audit.report import Findings

CLOCKS_MS: Final = 10_000
"""Of everybody's time: so far the clocks of two brokers may be apart, which stamp the logs that are compared."""

_NAME: Final = re.compile(r"r([1-9][0-9]*)-(0|[1-9][0-9]*)", re.ASCII)
_record: msgspec.msgpack.Decoder[RentalRecord] = msgspec.msgpack.Decoder(RentalRecord)

Name = tuple[int, int, int]
"""(account, rental, number)."""


class Rental(Struct, gc=False):
    """As its records have it."""

    account: int
    terms: Terms
    """In force."""
    stopped: str = ""
    """What becomes of its hours; empty: it goes on."""


class Recorded(Struct, gc=False):
    """An order as it stands in `rentals`."""

    sent: OrderSent
    offset: int
    stamp_ms: Millis
    """The broker's."""
    terms: Terms
    """In force then."""
    is_refused: bool = False


class Taken(Struct, gc=False):
    """An order that the exchange has accepted under such a name, and its fills."""

    order: int
    contract: int
    side: int
    qty: Gpus
    price: Price
    at_ms: Millis
    """Of the market."""
    fills: list[tuple[Millis, Gpus, Micros]] = msgspec.field(default_factory=list)
    """(when, GPUs, cost with the buyer's fee)."""

    def is_within(self, sent: OrderSent) -> bool:
        """It is what was recorded, or less."""
        no_worse = self.price <= sent.price if self.side == Side.BUY else self.price >= sent.price
        return (self.contract, self.side) == (sent.contract, sent.side) and self.qty <= sent.qty and no_worse

    def is_exactly(self, sent: OrderSent) -> bool:
        """To the last µUSD."""
        return self.is_within(sent) and (self.qty, self.price) == (sent.qty, sent.price)


class Rentals:
    """Feed it the events of all shards, then `rentals` whole; then `finish`.

    In this order, as the exchange may run on meanwhile: what was accepted was recorded before.
    """

    def __init__(self, found: Findings) -> None:
        self._found = found
        self._epoch = 0
        self._t0_ms = 0
        self._rate = 1
        self._classes: dict[int, str] = {}
        self._orders: dict[int, Taken] = {}
        self._taken: defaultdict[Name, list[Taken]] = defaultdict(list)
        self._rentals: dict[int, Rental] = {}
        self._recorded: defaultdict[Name, list[Recorded]] = defaultdict(list)

    # --- events --------------------------------------------------------------------------------------------

    def hear(self, time_ms: Millis, events: Iterable[Event]) -> None:
        """Of any shard; `time_ms`: its time then."""
        for event in events:
            match event:
                case Filled():
                    self._fill(time_ms, event)
                case OrderAccepted() if name := _NAME.fullmatch(event.client_id):
                    taken = Taken(event.order, event.contract, event.side, event.qty, event.price, time_ms)
                    self._orders[event.order] = taken
                    self._taken[event.account, int(name[1]), int(name[2])].append(taken)
                case ClassSet():
                    self._classes[event.class_no] = event.class_id
                case ShardStarted():
                    self._t0_ms, self._rate = event.t0_ms, event.rate
                case _:
                    pass

    def _fill(self, time_ms: Millis, event: Filled) -> None:
        for order in (event.maker_order, event.taker_order):
            if taken := self._orders.get(order):
                taken.fills.append((time_ms, event.qty, event.notional + event.buyer_fee))

    # --- rentals -------------------------------------------------------------------------------------------

    def take(self, offset: int, stamp_ms: Millis, value: bytes) -> None:
        """A record of `rentals`, and when the broker had it. One of an earlier epoch than one before it counts for nobody."""
        try:
            said = _record.decode(value)
        except UNREADABLE as error:
            self._found.expect("R1", False, f"rentals offset {offset} cannot be read: {error}")
            return
        if said.epoch < self._epoch:
            return
        self._epoch = said.epoch
        match said:
            case RentalMade():
                self._found.expect("R1", said.rental not in self._rentals, f"rental {said.rental} is made twice")
                self._rentals[said.rental] = Rental(said.account, said.terms)
            case RentalChanged() | RentalStopped() | RentalOver() | OrderSent() | OrderRefused():
                rental = self._rentals.get(said.rental)
                if rental is None:
                    breach = f"rentals offset {offset} speaks of rental {said.rental}, which was never made"
                    self._found.expect("R1", False, breach)
                else:
                    self._go_on(rental, said, offset, stamp_ms)
            case _:
                pass

    def _go_on(
        self,
        rental: Rental,
        said: RentalChanged | RentalStopped | RentalOver | OrderSent | OrderRefused,
        offset: int,
        stamp_ms: Millis,
    ) -> None:
        match said:
            case RentalChanged():
                rental.terms = said.terms
            case RentalStopped():
                rental.stopped = said.on_stop
            case RentalOver():
                rental.stopped = rental.stopped or "over"
            case OrderSent():
                self._check(rental, said)
                known = self._recorded[rental.account, said.rental, said.number]
                known.append(Recorded(said, offset, stamp_ms, rental.terms))
            case OrderRefused():
                for each in self._recorded[rental.account, said.rental, said.number][-1:]:
                    each.is_refused = True

    def _check(self, rental: Rental, sent: OrderSent) -> None:
        """R3, R4: what the records say by themselves."""
        found, terms = self._found, rental.terms
        found.there_are("orders of rentals")
        found.saw("R4", "orders of rentals")
        if sent.side == Side.SELL:
            found.expect("R4", rental.stopped == "sell", f"{sent} sells, and the rental's stop is {rental.stopped!r}")
            return
        found.expect("R4", not rental.stopped, f"{sent} buys after the rental's stop ({rental.stopped})")
        found.there_are("purchases of rentals")
        found.saw("R3", "purchases of rentals")
        hour, class_id = hour_of(sent.contract), self._classes.get(class_no_of(sent.contract))
        is_due = terms.from_hour <= hour and (not terms.hours or hour < terms.from_hour + terms.hours)
        found.expect("R3", sent.price <= terms.max_price, f"{sent} is above max_price {terms.max_price}")
        found.expect("R3", is_due, f"{sent} is of hour {hour}, wanted are {terms.hours} from {terms.from_hour} on")
        found.expect("R3", class_id is None or class_id in terms.classes, f"{sent} is of class {class_id}")
        found.expect("R2", sent.qty <= terms.gpus, f"{sent} is for more than {terms.gpus} GPUs")

    # --- both ----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """R1, then R2 and R3 by the fills of what is the rentals' own."""
        own = [
            (recorded, taken)
            for name, known in self._recorded.items()
            for taken in self._taken.get(name, ())
            if (recorded := self._recorded_as(taken, known, self._taken[name])) is not None
        ]
        self._check_held(own)
        self._check_spent(own)

    def _recorded_as(self, taken: Taken, known: list[Recorded], others: list[Taken]) -> Recorded | None:
        """R1: the record by which an order is a rental's; None: it is the member's own, or a fault."""
        before = [each for each in known if self._market_ms(each.stamp_ms - CLOCKS_MS) <= taken.at_ms]
        in_time = [each for each in before if taken.is_within(each.sent)]
        too_late = [each for each in known if each not in before and taken.is_exactly(each.sent)]
        if in_time:
            self._judge(taken, "")
            return in_time[-1]
        if too_late:
            self._judge(taken, f"was accepted before it was recorded: {too_late[0].sent}")
            return too_late[0]
        if not before or before[-1].is_refused or any(each.is_within(before[-1].sent) for each in others):
            return None
        if not self._found.stopped:  # else the order that was recorded may be where nothing was looked at
            self._judge(taken, f"is not what was recorded: {before[-1].sent}")
        return None

    def _judge(self, taken: Taken, fault: str) -> None:
        self._found.there_are("accepted orders of rentals")
        self._found.saw("R1", "accepted orders of rentals")
        self._found.expect("R1", not fault, f"{format_order(taken.order)} ({taken}) {fault}")

    def _market_ms(self, stamp_ms: Millis) -> Millis:
        return self._t0_ms + self._rate * (stamp_ms - self._t0_ms)

    def _check_held(self, own: list[tuple[Recorded, Taken]]) -> None:
        """R2: fill by fill, whatever shard it is of."""
        held: defaultdict[tuple[int, Hour], Gpus] = defaultdict(int)
        fills = [(at_ms, qty, recorded) for recorded, taken in own for at_ms, qty, _ in taken.fills]
        for at_ms, qty, recorded in sorted(fills, key=lambda fill: fill[0]):
            sent, most = recorded.sent, recorded.terms.gpus
            key = (sent.rental, hour_of(sent.contract))
            held[key] += qty if sent.side == Side.BUY else -qty
            self._found.there_are("fills of rentals")
            self._found.saw("R2", "fills of rentals")
            breach = f"rental {sent.rental} holds {held[key]} of {most} GPUs of hour {key[1]} at {at_ms}"
            self._found.expect("R2", held[key] <= most, breach)

    def _check_spent(self, own: list[tuple[Recorded, Taken]]) -> None:
        """R3: each day of delivery, in the order of the records."""
        spent: defaultdict[tuple[int, int], Micros] = defaultdict(int)
        bought = [(recorded, taken) for recorded, taken in own if taken.side == Side.BUY and taken.fills]
        for recorded, taken in sorted(bought, key=lambda pair: pair[0].offset):
            most = recorded.terms.max_spend
            key = (recorded.sent.rental, hour_of(taken.contract) // HOURS_PER_DAY)
            spent[key] += sum(cost for _, _, cost in taken.fills)
            breach = f"rental {key[0]} has spent {spent[key]} of {most} on day {key[1]} with {recorded.sent}"
            self._found.expect("R3", not most or spent[key] <= most, breach)
