"""Who owes and who holds which hour, from `events` alone. Pure. The moves are explained at `schemas.events.TitleMove`."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from schemas.events import Filled, TitleCovered
from schemas.units import Gpus, Micros


class Contradiction(Exception):
    """An event speaks of a title that does not exist, or has other numbers."""


class Title(Struct, gc=False):
    """One hour of some GPUs, owed by one account and held by one."""

    contract: int
    title: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    """60, or what was left of a running hour."""
    cost: Micros
    """What the holder paid for it."""
    launch: str = ""
    """The specification that the order named by which he bought it; empty: none."""
    rental: int = 0
    """The holder's rental that bought it, by the name of that order; 0: none."""


class Titles:
    """Of all contracts whose titles somebody holds."""

    def __init__(self) -> None:
        self.of: dict[int, dict[int, Title]] = {}
        """By contract, by number."""
        self._ties: dict[int, frozenset[tuple[int, int, int]]] = {}
        """By contract, until a fill changes them."""

    def fill(self, event: Filled, launch: str = "", rental: int = 0) -> None:
        """Apply every move. `launch`: what the buyer's order named; `rental`: whose it is. Raises Contradiction."""
        titles = self.of.setdefault(event.contract, {})
        self._ties.pop(event.contract, None)
        for move in event.moves:
            if move.source == 0:
                bought = Title(
                    event.contract, move.title, event.seller, event.buyer, move.ground, move.qty, event.minutes, move.cost,
                    launch, rental,
                )  # fmt: skip
                titles[move.title] = bought
            else:
                bought = _cut(titles, move.source, move.title, move.qty)
                bought.holder, bought.cost, bought.launch, bought.rental = event.buyer, move.cost, launch, rental
            if move.closes == move.title:  # the buyer's own promise came back to him: nobody owes and nobody holds it
                del titles[move.title]
            elif move.closes:
                owed = _cut(titles, move.closes, move.closed, move.qty)
                owed.obligor, owed.ground = bought.obligor, bought.ground
                del titles[move.title]

    def cover(self, event: TitleCovered) -> None:
        """Another ground. Raises Contradiction."""
        _cut(self.of.get(event.contract, {}), event.source, event.title, event.qty).ground = event.ground

    def drop(self, contract: int) -> None:
        """Its hour is over, and all is said of it."""
        self.of.pop(contract, None)
        self._ties.pop(contract, None)

    def ties(self, contract: int) -> frozenset[tuple[int, int, int]]:
        """(holder, obligor, the holder's rental) of all its titles: every heartbeat asks, few fills change it."""
        found = self._ties.get(contract)
        if found is None:
            titles = self.of.get(contract, {}).values()
            found = self._ties[contract] = frozenset((each.holder, each.obligor, each.rental) for each in titles)
        return found


def _cut(titles: dict[int, Title], number: int, piece: int, qty: Gpus) -> Title:
    """The title itself where `piece` is its number, else a piece of `qty` split off under that number."""
    title = titles.get(number)
    if title is None:
        raise Contradiction(f"title {number} is moved and was never made")
    if piece == number:
        if title.qty != qty:
            raise Contradiction(f"title {number} has {title.qty} GPUs, the whole of it would be {qty}")
        return title
    if not 0 < qty < title.qty:
        raise Contradiction(f"title {number} has {title.qty} GPUs, a piece of {qty} was split off")
    cost = title.cost * qty // title.qty
    new = msgspec.structs.replace(title, title=piece, qty=qty, cost=cost)
    title.qty -= qty
    title.cost -= cost
    titles[piece] = new
    return new
