"""The exchange as the desk sees it through the public API: what it reads, what it asks, and the answers there are.

`client` speaks HTTP; nothing else implements this but a stand-in in tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros, Millis, Price
from services.market_maker.quoting import HourQuote, Terms

Ground = Literal["promised", "ready"]


FILLS_MAX: Final = 500


class GatewayAway(Exception):
    """A read was not answered, or answered that it cannot be now. Nothing has changed; ask again later."""


class ListedClass(Struct, frozen=True):
    """A class that the exchange lists."""

    terms: Terms
    shard: int
    takes_orders: bool


class BookHour(Struct, frozen=True, kw_only=True):
    """One hour of a class in its grid."""

    hour: Hour
    symbol: str
    phase: str
    """`forward`, `running`, `closed`."""
    takes_orders: bool
    bid: Price
    """Best of all, ours included; 0: none."""
    bid_qty: Gpus
    bid_next: Price
    """The price behind it; 0: none."""
    ask: Price
    ask_qty: Gpus
    ask_next: Price
    high: Price
    """The collar's cap."""


class Position(Struct, frozen=True):
    """What the account holds and owes in one contract."""

    symbol: str
    held: Gpus
    owed: Gpus
    proceeds: Micros


class Backing(Struct, frozen=True):
    """The account's backing of one contract on one ground."""

    symbol: str
    ground: Ground
    qty: Gpus
    owed: Gpus
    collateral_price: Price
    version: int


class OpenOrder(Struct, frozen=True):
    """An open order that is no quote."""

    symbol: str
    order: str
    price: Price
    leaves: Gpus


class Fill(Struct, frozen=True):
    """A trade of the account's."""

    trade: str
    symbol: str


class Accepted(Struct, frozen=True):
    """It is in the log."""

    refused: tuple[tuple[Hour, str], ...] = ()
    """Of quotes: the hours that were not taken, and why."""
    number: int = 0
    """Of quotes: the last that is used up."""


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

    async def grid(self, terms: Terms) -> list[BookHour]:
        """Its hours that have not ended, rising."""

    async def positions(self) -> list[Position]:
        """The account's, until they are settled."""

    async def backing(self) -> list[Backing]:
        """The account's promises, for later and for at once."""

    async def orders(self) -> list[OpenOrder]:
        """The account's open orders that are no quotes, oldest first."""

    async def fills(self) -> list[Fill]:
        """The account's trades, newest first, at most `FILLS_MAX`."""

    async def money(self) -> Micros:
        """All that is the account's, wherever it waits; what titles owe it is not money yet."""

    async def quote(self, class_id: str, number: int, quotes: Sequence[tuple[Hour, HourQuote]]) -> Outcome:
        """Both sides of many hours, in place of the former ones."""

    async def back(
        self,
        class_id: str,
        first_hour: Hour,
        hours: int,
        ground: Ground,
        qty: Gpus,
        collateral_price: Price,
        version: int,
    ) -> Outcome:
        """Promise so many GPUs in each of these hours: an absolute target."""

    async def fund(self, class_id: str, amount: Micros) -> Outcome:
        """Move money from the wallet to where the class trades."""

    async def place(self, symbol: str, qty: Gpus, price: Price, client_id: str) -> Outcome:
        """A GTC ask."""

    async def cancel(self, order: str) -> Outcome:
        """By its id."""

    async def pull(self, class_id: str) -> Outcome:
        """Cancel everything of the account in the class; empty: in all."""

    async def live_for(self, class_id: str, after_ms: Millis) -> Outcome:
        """Set the dead man's switch anew, in the shard that trades the class."""
