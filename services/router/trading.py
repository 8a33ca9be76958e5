"""The exchange and its market data as the router sees them: what it asks, and the answers there are.

`gateway` and `reading` speak HTTP; nothing else implements these but stand-ins in tests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from msgspec import Struct

from schemas.units import Gpus, Hour, Millis, Price
from services.router.books import Book

VALID_MS: Final = 10_000
"""What has not reached its shard by then never will: of everybody's time."""


class Sent(Struct, frozen=True, kw_only=True):
    """An order as it is asked for."""

    account: int
    client_id: str
    symbol: str
    side: int
    qty: Gpus
    price: Price
    launch: str
    """Of a purchase: the specification that its machines begin with."""


class Accepted(Struct, frozen=True):
    """The exchange has it; `events` says what became of it."""


class Refused(Struct, frozen=True):
    """It had no effect."""

    code: str
    detail: str = ""


class Away(Struct, frozen=True):
    """It was not looked at: nobody was there, or nobody who could. The same again will do."""

    why: str
    is_everything: bool = False
    """Nobody was there at all: other requests would fare no better."""


class Unknown(Struct, frozen=True):
    """It may or may not have had an effect."""

    why: str


class Notice(Struct, frozen=True, kw_only=True):
    """What a webhook is told."""

    rental: int
    account: int
    webhook: str
    hour: Hour
    code: str
    detail: str
    at_ms: Millis


Outcome = Accepted | Refused | Away | Unknown


class Exchange(Protocol):
    """The public API, on behalf of an account. Answers with an `Outcome` and never raises for the other side's sake."""

    async def place(self, order: Sent) -> Outcome:
        """Fill-or-kill to buy, good till cancelled to sell."""

    async def cancel(self, account: int, order: int) -> Outcome:
        """By the exchange's id."""


class Hooks(Protocol):
    """Who tells owners of rentals."""

    def tell(self, notice: Notice) -> None:
        """Soon, and without waiting for it."""

    def ended(self) -> list[tuple[Notice, bool]]:
        """Notices that are told no more since this was last asked; whether each was taken, or given up."""

    def key(self, rental: int) -> str:
        """With which a rental's notices are signed."""


class Reading(Protocol):
    """Market data."""

    async def books(self, symbols: Collection[str]) -> Mapping[str, Book]:
        """Of every symbol that is asked for; one that could not be read is `AWAY`."""
