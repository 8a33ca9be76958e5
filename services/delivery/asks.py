"""Whose asks stand in the books, from `events` alone. Pure.

Books are anonymous to everybody else; this room must say whose machines a purchase would bring. Blocks are in no hour's book, and
not kept. Nor is everything: of too many asks those of the fullest hour are given up, and nothing is said of it any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from schemas.commands import Side
from schemas.events import (
    Event,
    Filled,
    HourEnded,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    QuotesPut,
    RangeAccepted,
)
from schemas.ids import contract_of
from schemas.units import Gpus, Price

ASKS_MAX: Final = 200_000
"""Kept at once, of all classes; some 50 MB."""


class Ask(Struct, gc=False):
    """One that rests, or trades within the record that is being read."""

    account: int
    contract: int
    price: Price
    left: Gpus
    turn: int
    """Of two at one price the lower one trades first."""


class Asks:
    """Of all shards."""

    def __init__(self, asks_max: int = ASKS_MAX) -> None:
        self._max = asks_max
        self._asks: dict[int, Ask] = {}
        """By order."""
        self._of: dict[int, dict[int, Ask]] = {}
        """By contract, by order."""
        self._given_up: set[int] = set()
        """Contracts."""
        self._turn = 0

    def take(self, event: Event) -> None:
        """Apply an event; most change nothing here."""
        match event:
            case Filled():
                self._filled(event.maker_order, event.maker_leaves)
                self._filled(event.taker_order, event.taker_leaves)
            case OrderCancelled():
                self._drop(event.order)
            case OrderAccepted():
                if event.side == Side.SELL:
                    self._add(event.order, event.account, event.contract, event.price, event.qty)
            case RangeAccepted():
                for leg in event.legs if event.side == Side.SELL else ():
                    if not leg.code:
                        contract = contract_of(event.class_no, event.hours[leg.leg])
                        self._add(leg.order, event.account, contract, event.price, event.qty)
            case QuotesPut():
                self._quoted(event)
            case OrderAmended():
                self._amended(event)
            case HourEnded():
                for order in self._of.pop(event.contract, {}):
                    del self._asks[order]
                self._given_up.discard(event.contract)
            case _:
                pass

    def best_first(self, contract: int) -> Iterator[Ask] | None:
        """In the order in which they would trade; None: nobody knows."""
        if contract in self._given_up:
            return None
        return iter(sorted(self._of.get(contract, {}).values(), key=lambda ask: (ask.price, ask.turn)))

    def __len__(self) -> int:
        return len(self._asks)

    def _add(self, order: int, account: int, contract: int, price: Price, qty: Gpus) -> None:
        if contract in self._given_up:
            return
        self._turn += 1
        ask = self._asks[order] = Ask(account, contract, price, qty, self._turn)
        self._of.setdefault(contract, {})[order] = ask
        if len(self._asks) > self._max:
            fullest = max(self._of, key=lambda one: (len(self._of[one]), one))
            for each in self._of.pop(fullest):
                del self._asks[each]
            self._given_up.add(fullest)

    def _filled(self, order: int, left: Gpus) -> None:
        if (ask := self._asks.get(order)) is not None:
            ask.left = left
            if not left:
                self._drop(order)

    def _quoted(self, event: QuotesPut) -> None:
        """What is replaced or refused follows as cancellations; what is kept may have been cut."""
        for outcome in event.outcomes:
            if outcome.code or not outcome.ask_order:
                continue
            if (kept := self._asks.get(outcome.ask_order)) is not None:
                kept.left = outcome.ask_qty
            else:
                contract = contract_of(event.class_no, outcome.hour)
                self._add(outcome.ask_order, event.account, contract, outcome.ask, outcome.ask_qty)

    def _amended(self, event: OrderAmended) -> None:
        if (ask := self._asks.get(event.order)) is not None:
            ask.price, ask.left = event.price, event.qty
            if not event.kept_place:
                self._turn += 1
                ask.turn = self._turn

    def _drop(self, order: int) -> None:
        ask = self._asks.pop(order, None)
        if ask is not None:
            del self._of[ask.contract][order]
            if not self._of[ask.contract]:
                del self._of[ask.contract]
