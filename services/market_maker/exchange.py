"""The exchange as the desk sees it through the public API: what it reads, what it asks, and the answers there are.

`client` speaks HTTP; nothing else implements this but a stand-in in tests.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros, Millis, Price
from services.market_maker.quoting import Terms


class GatewayAway(Exception):
    """A read was not answered, or answered that it cannot be now. Nothing has changed; ask again later."""


class ListedClass(Struct, frozen=True):
    """A class that the exchange lists."""

    terms: Terms
    takes_orders: bool


class Contract(Struct, frozen=True):
    """One hour of a class."""

    symbol: str
    hour: Hour
    forward: bool
    takes_orders: bool


class OpenOrder(Struct, frozen=True):
    """An open order of the desk's account."""

    symbol: str
    order: str
    client_id: str
    is_ask: bool
    price: Price
    leaves: Gpus


class Backing(Struct, frozen=True):
    """The desk's promise in one contract."""

    symbol: str
    qty: Gpus
    owed: Gpus
    collateral_price: Price
    version: int


class Accepted(Struct, frozen=True):
    """It is in the log. `leaves`: of an order, what rests."""

    order: str = ""
    leaves: Gpus = 0


class Refused(Struct, frozen=True):
    """It had no effect. `retryable`: the same again may do."""

    code: str
    retryable: bool = False
    need: int = 0
    have: int = 0
    why: str = ""


class Unknown(Struct, frozen=True):
    """It may or may not have had an effect."""

    why: str


Outcome = Accepted | Refused | Unknown


class Exchange(Protocol):
    """Reads raise GatewayAway. What changes something answers with an `Outcome` and never raises for the other side's sake."""

    async def classes(self) -> list[ListedClass]:
        """Every listed class."""

    async def contracts(self, class_id: str) -> list[Contract]:
        """Its listed hours, in order."""

    async def open_orders(self) -> list[OpenOrder]:
        """The account's, oldest first."""

    async def backing(self) -> list[Backing]:
        """The account's promises."""

    async def place(self, symbol: str, qty: Gpus, price: Price, client_id: str, valid_ms: Millis) -> Outcome:
        """A GTC ask."""

    async def find(self, client_id: str) -> Accepted | None:
        """The order of this client id; None: there is none so far."""

    async def cancel(self, order: str) -> Outcome:
        """By its id."""

    async def back(
        self, class_id: str, first_hour: Hour, hours: int, qty: Gpus, collateral_price: Price, version: int
    ) -> Outcome:
        """Promise so many GPUs in each of these hours: an absolute target."""

    async def fund(self, class_id: str, amount: Micros) -> Outcome:
        """Move money from the wallet to where the class trades."""
