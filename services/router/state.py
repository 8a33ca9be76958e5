"""Rentals, their orders and what their owners were told, from the records of `rentals` alone. Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from schemas.ids import hour_of
from schemas.rentals_log import (
    NoticeClosed,
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalNoticed,
    RentalOver,
    RentalRecord,
    RentalStopped,
    RouterBegan,
    Terms,
)
from schemas.units import HOURS_PER_DAY, MS_PER_HOUR, Gpus, Hour, Micros, Millis, Price

OVER_KEPT: Final = 100
"""Rentals of an account that are over and still shown; of older ones nothing is known here any more."""
PAST_KEPT: Final = 24
"""Hours of a rental that are over and still shown."""
CLASH: Final = "duplicate_client_id"
"""What an order is refused with whose id stands for something else: it was never ours, and the purchase needs another id."""


class BadRecord(Exception):
    """A record contradicts those before it: this log is not ours, or was changed."""


class Order(Struct, gc=False):
    """What was last sent under a number."""

    number: int
    contract: int
    side: int
    qty: Gpus
    price: Price
    sent_ms: Millis
    refused_code: str = ""
    """Empty: it was not refused, or is not known to be."""
    refused_detail: str = ""
    refused_ms: Millis = 0
    refusals: int = 0
    """So many times, under this number."""
    is_outdated: bool = False
    """Its rental has had other limits since."""


class PastHour(Struct, frozen=True, gc=False):
    """An hour that is over."""

    contract: int
    gpus: Gpus
    """Held to its end."""
    minutes: int
    bought: Gpus
    cost: Micros
    returned: Micros
    price: Price = 0
    """Paid per GPU-hour on average."""


class Rental(Struct, gc=False):
    """A standing instruction."""

    rental: int
    account: int
    key: str
    made: Terms
    """As it was asked for first."""
    terms: Terms
    made_ms: Millis
    stopped_ms: Millis = 0
    on_stop: str = ""
    over_ms: Millis = 0
    orders: dict[int, Order] = msgspec.field(default_factory=dict)
    """By number; of hours that are not over."""
    numbers: int = 0
    """Used so far."""
    noticed: set[tuple[Hour, str]] = msgspec.field(default_factory=set)
    """Of hours that are not over."""
    untold: dict[tuple[Hour, str], RentalNoticed] = msgspec.field(default_factory=dict)
    """Of these, those that its webhook is to be told still."""
    notice: str = ""
    """The last one."""
    noticed_ms: Millis = 0
    past: list[PastHour] = msgspec.field(default_factory=list)
    """The last hours that are over."""
    spent: dict[int, Micros] = msgspec.field(default_factory=dict)
    """Day of delivery → what its hours that are over have cost, of the last days."""
    past_cost: Micros = 0
    """Of all that are over, less what was returned."""


class State:
    """What has been recorded."""

    def __init__(self) -> None:
        self.epoch = 0
        self.rentals: dict[int, Rental] = {}
        self.rental_last = 0
        self.live: dict[int, Rental] = {}
        """Those that are not over."""
        self.of_account: dict[int, list[int]] = {}
        """By age."""
        self.by_key: dict[tuple[int, str], int] = {}
        """(account, the member's word) → rental."""
        self.of_contract: dict[int, set[int]] = {}
        """Contract → rentals that have sent an order for it, until its hour is folded."""

    def take(self, record: RentalRecord) -> bool:
        """Apply a record; False: it is of a writer that was late, and is passed over. Raises BadRecord."""
        if record.epoch < self.epoch:
            return False
        self.epoch = record.epoch
        match record:
            case RouterBegan():
                pass
            case RentalMade():
                self._make(record)
            case RentalChanged():
                self._change(record)
            case RentalStopped():
                rental = self._live(record.rental)
                rental.stopped_ms, rental.on_stop = record.time_ms, record.on_stop
            case RentalOver():
                self._end(record)
            case OrderSent():
                self._send(record)
            case OrderRefused():
                self._refuse(record)
            case RentalNoticed():
                self._notice(record)
            case NoticeClosed():
                of = self.rentals.get(record.rental)
                if of is not None:
                    of.untold.pop((record.hour, record.code), None)
        return True

    def has_sent(self, account: int, rental: int, number: int, contract: int, side: int, qty: Gpus) -> bool:
        """Whether an order under this name is the rental's: it was recorded before. Of another class it may be an earlier try."""
        of = self.rentals.get(rental)
        order = of.orders.get(number) if of is not None and of.account == account else None
        if order is None or order.refused_code == CLASH:
            return False
        return (hour_of(order.contract), order.side, order.qty) == (hour_of(contract), side, qty)

    def live_of(self, account: int) -> int:
        """How many of an account's rentals are not over."""
        return sum(rental in self.live for rental in self.of_account.get(account, ()))

    def fold(self, rental: Rental, past: PastHour, hour: Hour) -> None:
        """An hour is over: its orders become one line."""
        gone = [order.number for order in rental.orders.values() if order.contract == past.contract]
        for number in gone:
            del rental.orders[number]
        _forget_notices(rental, hour + 1)
        if past.bought:
            rental.past = [*rental.past, past][-PAST_KEPT:]
            rental.past_cost += past.cost - past.returned
            day = hour // HOURS_PER_DAY
            rental.spent = {each: spent for each, spent in rental.spent.items() if each >= day - 1}
            rental.spent[day] = rental.spent.get(day, 0) + past.cost

    def _make(self, record: RentalMade) -> None:
        if record.rental != self.rental_last + 1:
            raise BadRecord(f"rental {record.rental} after {self.rental_last}")
        self.rental_last = record.rental
        rental = Rental(record.rental, record.account, record.key, record.terms, record.terms, record.time_ms)
        self.rentals[record.rental] = self.live[record.rental] = rental
        self.of_account.setdefault(record.account, []).append(record.rental)
        self.by_key[record.account, record.key] = record.rental

    def _change(self, record: RentalChanged) -> None:
        rental = self._live(record.rental)
        before, rental.terms = rental.terms, record.terms
        if (before.max_price, before.max_spend) != (record.terms.max_price, record.terms.max_spend):
            for order in rental.orders.values():
                order.is_outdated = True

    def _notice(self, record: RentalNoticed) -> None:
        rental = self._live(record.rental)
        _forget_notices(rental, record.time_ms // MS_PER_HOUR)
        rental.noticed.add((record.hour, record.code))
        if rental.terms.webhook:
            rental.untold[record.hour, record.code] = record
        rental.notice, rental.noticed_ms = record.detail, record.time_ms

    def _live(self, number: int) -> Rental:
        if number not in self.live:
            raise BadRecord(f"rental {number} does not run")
        return self.live[number]

    def _send(self, record: OrderSent) -> None:
        rental = self._live(record.rental)
        known = rental.orders.get(record.number)
        if known is None and record.number != rental.numbers:
            raise BadRecord(f"rental {record.rental} sends order {record.number} after {rental.numbers - 1}")
        if known is not None and not known.refused_code:
            raise BadRecord(f"rental {record.rental} sends order {record.number} twice")
        rental.numbers = max(rental.numbers, record.number + 1)
        rental.orders[record.number] = Order(
            record.number, record.contract, record.side, record.qty, record.price, record.time_ms,
            refusals=known.refusals if known is not None else 0,
        )  # fmt: skip
        self.of_contract.setdefault(record.contract, set()).add(record.rental)

    def _refuse(self, record: OrderRefused) -> None:
        rental = self.rentals.get(record.rental)
        order = rental.orders.get(record.number) if rental is not None else None
        if order is None:
            return  # its hour is over meanwhile
        order.refused_code, order.refused_detail, order.refused_ms = record.code, record.detail, record.time_ms
        order.refusals += 1

    def _end(self, record: RentalOver) -> None:
        rental = self._live(record.rental)
        rental.over_ms = record.time_ms
        del self.live[record.rental]
        of_account = self.of_account[rental.account]
        over = [number for number in of_account if number not in self.live]
        for number in over[:-OVER_KEPT]:
            gone = self.rentals.pop(number)
            of_account.remove(number)
            del self.by_key[gone.account, gone.key]


def _forget_notices(rental: Rental, first: Hour) -> None:
    """Of hours before `first`."""
    rental.noticed = {each for each in rental.noticed if each[0] >= first}
    rental.untold = {each: record for each, record in rental.untold.items() if each[0] >= first}
