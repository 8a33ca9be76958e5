"""Standing instructions and what was done for them: bodies of the topic `rentals` (one partition, kept for ever).

Written by: the router that holds its lease. Read by: the same room, whole, at its start; market data, which tells owners. What
it has written is all that it goes by, together with `events`; a record of an epoch lower than one before it is by a room that was
late, and is passed over.

Instants are market time, in ms since the epoch. Prices are µUSD per GPU-hour.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros, Millis, Price


class _Record(Struct, array_like=True, frozen=True, gc=False):
    epoch: int
    """Of the writer's lease."""
    time_ms: Millis


class Terms(Struct, array_like=True, frozen=True, gc=False):
    """What its owner wants: `schemas.rental.RentalRequest`, in the units of the exchange."""

    classes: tuple[str, ...]
    gpus: Gpus
    max_price: Price
    max_spend: Micros
    """For the hours of one day of delivery (UTC); 0: no such limit."""
    from_hour: Hour
    hours: int
    """0: until it is stopped."""
    look_ahead: int
    on_stop: str
    """`sell` or `keep`."""
    launch: str
    webhook: str


class RouterBegan(_Record, frozen=True, tag=1):
    """A room has the lease of this epoch. What an earlier one writes after this is passed over."""


class RentalMade(_Record, frozen=True, tag=2):
    """From here on it is kept bought."""

    rental: int
    """One more than the last."""
    account: int
    key: str
    """The member's own word for this request: the same again makes no second rental."""
    terms: Terms


class RentalChanged(_Record, frozen=True, tag=3):
    """What its owner wants from here on; what is bought stays bought."""

    rental: int
    terms: Terms
    """Whole, changes included."""


class RentalStopped(_Record, frozen=True, tag=4):
    """Nothing more is bought for it."""

    rental: int
    on_stop: str
    """`sell`: its later hours are offered. `keep`: they run out."""


class RentalOver(_Record, frozen=True, tag=5):
    """Its last hour is over, and no order is under way."""

    rental: int


class OrderSent(_Record, frozen=True, tag=6):
    """Written before the order is sent: a crash in between repeats this very order.

    An order of the same number may follow once this one was refused: a purchase of an hour has one client order id for ever, and
    so the exchange itself buys no hour twice.
    """

    rental: int
    number: int
    """Of the client order id `r<rental>-<number>`, dense per rental."""
    contract: int
    side: int
    """`schemas.commands.Side`."""
    qty: Gpus
    price: Price


class OrderRefused(_Record, frozen=True, tag=7):
    """The order under this number had no effect, and no copy of it can have one any more. What was accepted, `events` says."""

    rental: int
    number: int
    code: str
    """Of the public API; `no_effect`: it was never answered, and is too old by now to be accepted."""
    detail: str = ""


class RentalNoticed(_Record, frozen=True, tag=8):
    """What the owner must know, once per hour and reason."""

    rental: int
    hour: Hour
    code: str
    detail: str


class NoticeClosed(_Record, frozen=True, tag=9):
    """The rental's webhook is told a notice no more. While there is no such record it is, until the hour is over."""

    rental: int
    hour: Hour
    code: str
    is_taken: bool
    """False: it was given up."""


_CLIENT_ID: Final = re.compile(r"r([1-9][0-9]{0,17})-(0|[1-9][0-9]{0,8})", re.ASCII)


def client_id(rental: int, number: int) -> str:
    """Under which the exchange knows an order of a rental."""
    return f"r{rental}-{number}"


def read_client_id(text: str) -> tuple[int, int] | None:
    """Rental and number; None: it is no rental's. Members may call their own orders the same."""
    match = _CLIENT_ID.fullmatch(text)
    return (int(match[1]), int(match[2])) if match is not None else None


def notice_id(rental: int, hour: Hour, code: str) -> str:
    """A notice's name, the same wherever and however often its owner is told."""
    return f"{rental}-{hour}-{code}"


RentalRecord = (
    RouterBegan
    | RentalMade
    | RentalChanged
    | RentalStopped
    | RentalOver
    | OrderSent
    | OrderRefused
    | RentalNoticed
    | NoticeClosed
)
