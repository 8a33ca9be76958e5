"""What a demo member wants next, from what it sees. Pure: the same draws before the same market give the same wish.

A member is one of three kinds: a provider declares machines and asks at a few prices, buyers buy, traders buy and sell
again. Prices stay near the book that is seen, so they stay within collars; what is asked for is bounded by machines,
hours held, and the purse.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.units import BP, Gpus, Hour, Micros, Price
from services.simulated.chance import Dice

Kind = Literal["provider", "buyer", "trader"]
Tif = Literal["gtc", "ioc", "fok"]

OPEN_MAX: Final = 60
"""Open orders of one member in one class: beyond it only takes away."""
DECLARED_LOTS: Final = (8, 24)
BLOCK_HOURS: Final = (4, 24)
RANGE_HOURS: Final = (3, 10)
WAITING_HOURS: Final = (4, 6)
SOON_HOURS: Final = 12
"""Within which a block that waits lies: it is over soon."""

WEIGHTS: Final[Mapping[Kind, Mapping[str, int]]] = {
    "provider": {"declare": 4, "ask": 50, "amend": 28, "cancel": 18},
    "buyer": {"take": 30, "bid": 22, "range": 6, "block": 5, "now": 6, "amend": 12, "cancel": 13, "resell": 6},
    "trader": {"take": 14, "bid": 18, "hit": 14, "resell": 24, "range": 4, "amend": 12, "cancel": 14},
}


# --- What it sees -------------------------------------------------------------------------------------------


class Terms(Struct, frozen=True):
    """A class's lot, tick and collar."""

    class_id: str
    lot: Gpus
    tick: Price
    low: Price
    high: Price


class Row(Struct, frozen=True, kw_only=True):
    """One hour of the class. A price of 0: nobody is there."""

    symbol: str
    hour: Hour
    forward: bool
    running: bool
    takes: bool
    """It trades: neither opening nor halted."""
    bid: Price = 0
    bid_qty: Gpus = 0
    ask: Price = 0
    ask_qty: Gpus = 0
    reference: Price = 0


class OwnOrder(Struct, frozen=True):
    """An own open order."""

    order_id: str
    symbol: str
    sells: bool
    price: Price
    leaves: Gpus


class Seen(Struct, frozen=True, kw_only=True):
    """One class as a member sees it now."""

    terms: Terms
    rows: Sequence[Row]
    """Rising by hour."""
    orders: Sequence[OwnOrder] = ()
    held: Mapping[str, Gpus] = {}
    owed: Mapping[str, Gpus] = {}
    declared: Mapping[str, Gpus] = {}
    purse: Micros = 0
    """What may be spent at once."""

    def asked(self, symbol: str) -> Gpus:
        """In own open asks."""
        return sum(order.leaves for order in self.orders if order.sells and order.symbol == symbol)

    def free(self, symbol: str) -> Gpus:
        """What may be asked for on top: held, or declared and not owed."""
        machines = max(0, self.declared.get(symbol, 0) - self.owed.get(symbol, 0))
        return max(0, self.held.get(symbol, 0) + machines - self.asked(symbol))


# --- What it wants ------------------------------------------------------------------------------------------


class Place(Struct, frozen=True):
    """An order in one hour."""

    symbol: str
    sells: bool
    qty: Gpus
    price: Price
    tif: Tif
    note: str = ""
    """What it is, in a word."""


class Range(Struct, frozen=True):
    """The same bid in many hours."""

    class_id: str
    first_hour: Hour
    hours: int
    qty: Gpus
    price: Price


class Block(Struct, frozen=True):
    """All hours or none."""

    class_id: str
    first_hour: Hour
    hours: int
    qty: Gpus
    price: Price
    waits: bool = False
    """In the block book, until its first hour closes; else at once or not at all."""


class Amend(Struct, frozen=True):
    """Another price or less of it."""

    order_id: str
    qty: Gpus
    price: Price


class Cancel(Struct, frozen=True):
    """No more of it."""

    order_id: str


class Declare(Struct, frozen=True):
    """Machines in every hour from the first on."""

    class_id: str
    first_hour: Hour
    hours: int
    qty: Gpus


Wish = Place | Range | Block | Amend | Cancel | Declare


def cost(wish: Wish, seen: Seen) -> Micros:
    """What it may spend at most, beyond what is bid already."""
    match wish:
        case Place(sells=False):
            return wish.price * wish.qty
        case Range() | Block():
            return wish.price * wish.qty * wish.hours
        case Amend():
            order = next(each for each in seen.orders if each.order_id == wish.order_id)
            return 0 if order.sells else max(0, wish.price * wish.qty - order.price * order.leaves)
        case _:
            return 0


def decide(kind: Kind, dice: Dice, seen: Seen, without: frozenset[str] = frozenset()) -> Wish | None:
    """None: what it felt like is not possible now. `without`: what this exchange does not offer."""
    if len(seen.orders) > OPEN_MAX:
        return _cancel(dice, seen)
    if kind == "provider" and not any(seen.declared.values()):
        return _declare(dice, seen)
    weights = {name: weight for name, weight in WEIGHTS[kind].items() if name not in without}
    wish = _WISHES[dice.weighed(weights)](dice, seen)
    return wish if wish is None or cost(wish, seen) <= seen.purse else None


# --- Each of them -------------------------------------------------------------------------------------------


def _take(dice: Dice, seen: Seen) -> Wish | None:
    """Buys at the best ask."""
    row = _some(dice, seen, lambda row: row.forward and row.takes and row.ask > 0)
    if row is None:
        return None
    qty = min(seen.terms.lot * dice.between(1, 4), row.ask_qty)
    return Place(row.symbol, sells=False, qty=qty, price=row.ask, tif="ioc", note="take")


def _now(dice: Dice, seen: Seen) -> Wish | None:
    """Buys the rest of the hour that runs."""
    row = _some(dice, seen, lambda row: row.running and row.takes and row.ask > 0)
    if row is None:
        return None
    return Place(row.symbol, sells=False, qty=seen.terms.lot, price=row.ask, tif="ioc", note="now")


def _bid(dice: Dice, seen: Seen) -> Wish | None:
    """Waits between the best bid and the best ask, or a little below the bid."""
    row = _some(dice, seen, lambda row: row.forward and row.takes and _middle(row) > 0)
    if row is None:
        return None
    base = row.bid or _middle(row) * 95 // 100
    price = _bounded(seen.terms, base + seen.terms.tick * dice.between(-4, 3), above=0, below=row.ask)
    qty = seen.terms.lot * dice.between(1, 5)
    return Place(row.symbol, sells=False, qty=qty, price=price, tif="gtc", note="bid") if price else None


def _ask(dice: Dice, seen: Seen) -> Wish | None:
    """A provider's: at the best ask, a little below or above it."""
    row = _some(dice, seen, lambda row: row.forward and row.takes and seen.free(row.symbol) >= seen.terms.lot)
    return _offer(dice, seen, row, dice.between(-3, 6)) if row is not None else None


def _resell(dice: Dice, seen: Seen) -> Wish | None:
    """Hours held, for a little less than others ask."""
    row = _some(dice, seen, lambda row: row.forward and row.takes and _spare(seen, row) >= seen.terms.lot)
    return _offer(dice, seen, row, dice.between(-4, 2)) if row is not None else None


def _hit(dice: Dice, seen: Seen) -> Wish | None:
    """Hours held, to the best bid."""
    row = _some(dice, seen, lambda row: row.forward and row.takes and row.bid > 0 and _spare(seen, row) > 0)
    if row is None:
        return None
    qty = min(seen.terms.lot * dice.between(1, 3), _spare(seen, row), row.bid_qty) // seen.terms.lot * seen.terms.lot
    return Place(row.symbol, sells=True, qty=qty, price=row.bid, tif="ioc", note="hit") if qty else None


def _offer(dice: Dice, seen: Seen, row: Row, ticks: int) -> Wish | None:
    """An ask so many ticks from the best one."""
    terms = seen.terms
    base = row.ask or (row.bid + 4 * terms.tick if row.bid else row.reference)
    price = _bounded(terms, base + terms.tick * ticks, above=row.bid, below=0)
    qty = min(terms.lot * dice.between(1, 4), seen.free(row.symbol)) // terms.lot * terms.lot
    return Place(row.symbol, sells=True, qty=qty, price=price, tif="gtc", note="ask") if price and qty else None


def _range(dice: Dice, seen: Seen) -> Wish | None:
    """The same bid in hours that follow each other, below all of their asks."""
    run = _run(dice, seen, *RANGE_HOURS, lambda row: row.forward and row.takes and row.ask > 0)
    if run is None:
        return None
    lowest = min(row.ask for row in run)
    price = _bounded(seen.terms, lowest - seen.terms.tick * dice.between(1, 8), above=0, below=lowest)
    if not price:
        return None
    return Range(seen.terms.class_id, run[0].hour, len(run), seen.terms.lot * dice.between(1, 2), price)


def _block(dice: Dice, seen: Seen) -> Wish | None:
    """One machine for hours on end, at what the asks cost on average; or soon, a little below, and it waits for a seller."""
    lot, tick = seen.terms.lot, seen.terms.tick
    waits = dice.below(2) == 0
    # One that waits is over when its first hour closes.
    near = msgspec.structs.replace(seen, rows=seen.rows[:SOON_HOURS]) if waits else seen
    length = WAITING_HOURS if waits else BLOCK_HOURS
    run = _run(dice, near, *length, lambda row: row.forward and row.takes and row.ask_qty >= lot)
    if run is None:
        return None
    average = -(-sum(row.ask for row in run) // len(run))
    price = _bounded(seen.terms, average - tick * dice.between(2, 8) if waits else average + tick, above=0, below=0)
    return Block(seen.terms.class_id, run[0].hour, len(run), lot, price, waits) if price else None


def _amend(dice: Dice, seen: Seen) -> Wish | None:
    """Moves an own order by a few ticks, on its own side of the book, or makes it smaller."""
    if not seen.orders:
        return None
    order = dice.pick(seen.orders)
    row = next((row for row in seen.rows if row.symbol == order.symbol and row.forward and row.takes), None)
    if row is None:
        return None
    terms = seen.terms
    if order.leaves > terms.lot and dice.below(3) == 0:
        return Amend(order.order_id, order.leaves - terms.lot, order.price)
    above, below = (row.bid, 0) if order.sells else (0, row.ask)
    price = _bounded(terms, order.price + terms.tick * dice.pick((-3, -2, -1, 1, 2, 3)), above=above, below=below)
    return Amend(order.order_id, order.leaves, price) if price and price != order.price else None


def _cancel(dice: Dice, seen: Seen) -> Wish | None:
    """Any of the own orders."""
    return Cancel(dice.pick(seen.orders).order_id) if seen.orders else None


def _declare(dice: Dice, seen: Seen) -> Wish | None:
    """So many machines in all hours that can still be sold, never fewer than are owed in one of them."""
    hours = [row for row in seen.rows if row.forward]
    if not hours:
        return None
    owed = max((seen.owed.get(row.symbol, 0) for row in hours), default=0)
    qty = max(seen.terms.lot * dice.between(*DECLARED_LOTS), owed)
    return Declare(seen.terms.class_id, hours[0].hour, hours[-1].hour - hours[0].hour + 1, qty)


_WISHES: Final[Mapping[str, Callable[[Dice, Seen], Wish | None]]] = {
    "take": _take, "now": _now, "bid": _bid, "ask": _ask, "resell": _resell, "hit": _hit, "range": _range, "block": _block,
    "amend": _amend, "cancel": _cancel, "declare": _declare,
}  # fmt: skip


# --- Helpers ------------------------------------------------------------------------------------------------


def _some(dice: Dice, seen: Seen, fits: Callable[[Row], bool]) -> Row | None:
    """One of the hours that fit, the next ones likelier."""
    rows = [row for row in seen.rows if fits(row)]
    return rows[dice.near(len(rows))] if rows else None


def _run(dice: Dice, seen: Seen, low: int, high: int, fits: Callable[[Row], bool]) -> Sequence[Row] | None:
    """Hours in a row that all fit, or None where the chosen place has too few."""
    length = dice.between(low, high)
    if len(seen.rows) < length:
        return None
    start = dice.near(len(seen.rows) - length + 1)
    run = seen.rows[start : start + length]
    follows = all(after.hour == before.hour + 1 for before, after in itertools.pairwise(run))
    return run if follows and all(fits(row) for row in run) else None


def _spare(seen: Seen, row: Row) -> Gpus:
    """Held and not asked for yet."""
    return max(0, seen.held.get(row.symbol, 0) - seen.asked(row.symbol))


def _middle(row: Row) -> Price:
    return (row.bid + row.ask) // 2 if row.bid and row.ask else row.ask or row.bid or row.reference


def _bounded(terms: Terms, price: Price, *, above: Price, below: Price) -> Price:
    """On the tick, a little inside the collar, above `above` and below `below` (0: no such bound); 0: there is none."""
    low = max(-(-terms.low * (BP + BP // 20) // BP // terms.tick) * terms.tick, above + terms.tick if above else 0)
    high = terms.high * (BP - BP // 20) // BP // terms.tick * terms.tick
    if below:
        high = min(high, below - terms.tick)
    return min(max(price // terms.tick * terms.tick, low), high) if low <= high else 0
