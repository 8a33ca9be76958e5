"""What should stand in the books, against what does → what to do. Pure.

One class at a time. The backing of each hour in the window is brought to the quote's size, and the asks of each hour to the
quote's price and to what the backing leaves open. An ask at the right price keeps its place in the queue: what is missing is
added by another order, and only what is too much is cancelled.

The desk never touches an hour outside the window, nor backing above what it needs: what it owes stays owed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from msgspec import Struct

from schemas.units import Gpus, Hour, Price
from services.market_maker.quoting import NoQuote, Quote, Terms


class Ask(Struct, frozen=True):
    """An open ask of the desk's own."""

    order: str
    price: Price
    leaves: Gpus


class HourState(Struct, frozen=True, kw_only=True):
    """One contract as the gateway shows it, and what of the desk stands there."""

    hour: Hour
    symbol: str
    forward: bool
    """Between listing and gate closure."""
    takes_orders: bool
    """Not halted, and not cancel-only."""
    asks: tuple[Ask, ...] = ()
    """Oldest first."""
    backing: Gpus = 0
    owed: Gpus = 0
    collateral_price: Price = 0


class SetBacking(Struct, frozen=True):
    """Bring the backing of contiguous hours to this."""

    class_id: str
    first_hour: Hour
    hours: int
    qty: Gpus
    collateral_price: Price


class Requote(Struct, frozen=True):
    """In one contract: cancel these, and when all are gone place this."""

    symbol: str
    hour: Hour
    cancels: tuple[str, ...] = ()
    price: Price = 0
    qty: Gpus = 0
    """0: place nothing."""


class Plan(Struct, frozen=True):
    """What to do now; backing first, since orders need it."""

    backing: tuple[SetBacking, ...]
    requotes: tuple[Requote, ...]
    waiting: int
    """Hours whose asks wait for backing."""

    @property
    def idle(self) -> bool:
        """Everything stands where it should."""
        return not (self.backing or self.requotes)


def plan(terms: Terms, quote: Quote | NoQuote, hours: Sequence[HourState], window_hours: int) -> Plan:
    """`hours`: every contract of the class, in order. Those in the window are the first `window_hours` forward ones."""
    assert all(a.hour < b.hour for a, b in itertools.pairwise(hours))
    window = [state for state in hours if state.forward][:window_hours]
    inside = {state.hour for state in window}
    requotes = [_requote(state, quote if state.hour in inside else None) for state in hours if state.forward]
    return Plan(
        backing=tuple(_backing(terms, quote, window)) if isinstance(quote, Quote) else (),
        requotes=tuple(requote for requote in requotes if requote.cancels or requote.qty),
        waiting=sum(isinstance(quote, Quote) and _room(state) < quote.qty - state.owed for state in window),
    )


def _requote(state: HourState, quote: Quote | NoQuote | None) -> Requote:
    if not isinstance(quote, Quote):
        return Requote(state.symbol, state.hour, tuple(ask.order for ask in state.asks))
    wanted = max(0, min(quote.qty - state.owed, _room(state)))
    right = [ask for ask in state.asks if ask.price == quote.price]
    cancels = [ask.order for ask in state.asks if ask.price != quote.price]
    # Too much: the youngest go first, as they lose least.
    while sum(ask.leaves for ask in right) > wanted:
        cancels.append(right.pop().order)
    missing = wanted - sum(ask.leaves for ask in right)
    if not state.takes_orders:
        missing = 0
    return Requote(state.symbol, state.hour, tuple(cancels), quote.price if missing else 0, missing)


def _room(state: HourState) -> Gpus:
    """What the backing in force lets the desk offer."""
    return max(0, state.backing - state.owed)


def _backing(terms: Terms, quote: Quote, window: Sequence[HourState]) -> Iterator[SetBacking]:
    """Runs of contiguous hours that need the same change."""
    run: list[HourState] = []
    for state in window:
        qty = max(quote.qty, state.owed)
        right = state.backing == qty and state.collateral_price >= terms.high
        if run and (right or state.hour != run[-1].hour + 1 or qty != max(quote.qty, run[-1].owed)):
            yield _run(terms, quote, run)
            run = []
        if not right:
            run.append(state)
    if run:
        yield _run(terms, quote, run)


def _run(terms: Terms, quote: Quote, run: Sequence[HourState]) -> SetBacking:
    return SetBacking(terms.class_id, run[0].hour, len(run), max(quote.qty, run[0].owed), terms.high)
