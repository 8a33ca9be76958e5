"""Feats of trading: fills, blocks, promises. Rare things that random flows must have done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from schemas.commands import Flag, Ground, MoveReference, Side, Tif
from schemas.events import (
    BackingCut,
    BlockAccepted,
    BlockFilled,
    BuyIn,
    BuyInFailed,
    EngineVersionSet,
    Event,
    Filled,
    GateClosed,
    OrderAccepted,
    RangeAccepted,
    StateReached,
    StateSet,
)
from schemas.ids import class_no_of
from tests.reference.script import Record

FEATS = {
    "a new title on DECLARED", "a new title on PROMISED", "a new title on READY", "resold whole", "resold in part",
    "bought back whole", "bought back in part", "bought back one's own", "a seller crossed zero", "a buyer crossed zero",
    "a fill in a lot of eight", "fees of both sides", "a side without a fee", "a fill of a whole hour that will run at once",
    "a fill of the rest of an hour", "a fill of the last minutes",
    "an ask that outlived its gate was filled", "a range that traded",
    "a block against hours only", "a block against blocks only", "a block against both", "a block against several blocks",
    "a block filled in part", "a block filled whole", "a block that rested was hit", "a block tried again after an order",
    "a block tried again after an opening", "a block tried again after an operator's opening",
    "a block tried again in the next record", "several blocks tried again",
    "a block of one hour", "a block of three hours or more",
    "a block of all or nothing", "a block at an average between two prices", "a sell block took",
    "bought in whole", "bought in in part", "nothing there to buy in", "not bought in while not open",
    "a promise cut at its deadline", "a promise cut by a collar", "a running promise cut by a collar",
    "deadlines that were over when version 2 came",
}  # fmt: skip


class Listener:
    """One flow."""

    def __init__(self) -> None:
        self._forward_asks: set[int] = set()
        """Asks with RUNNING, accepted before the gate."""
        self._closed: set[int] = set()
        """Contracts whose gate is closed."""
        self._blocks: dict[int, BlockAccepted] = {}
        self._turned = False
        """The record before set version 2."""

    def hear(self, record: Record, events: Sequence[Event]) -> Iterable[str]:
        """Feats of a record."""
        for event in events:
            match event:
                case Filled():
                    yield from self._of_fill(event)
                case OrderAccepted() if event.flags & Flag.RUNNING and event.contract not in self._closed:
                    self._forward_asks.add(event.order)
                case GateClosed():
                    self._closed.add(event.contract)
                case BlockAccepted():
                    self._blocks[event.order] = event
                case BackingCut() | BuyInFailed() if self._turned:
                    yield "deadlines that were over when version 2 came"
                case _:
                    pass
        for step, first in _steps(events):
            yield from self._of_step(record, step, first)
        self._turned = any(isinstance(event, EngineVersionSet) and event.version == 2 for event in events)

    def _of_fill(self, fill: Filled) -> Iterable[str]:
        if class_no_of(fill.contract) == 2:
            yield "a fill in a lot of eight"
        yield "fees of both sides" if fill.buyer_fee and fill.seller_fee else "a side without a fee"
        if len({move.source > 0 for move in fill.moves}) > 1:
            yield "a seller crossed zero"
        if len({move.closes > 0 for move in fill.moves}) > 1:
            yield "a buyer crossed zero"
        if fill.maker_order in self._forward_asks and fill.contract in self._closed:
            yield "an ask that outlived its gate was filled"
        if fill.minutes < 60:
            yield "a fill of the rest of an hour" if fill.minutes > 11 else "a fill of the last minutes"
        for move in fill.moves:
            if move.source == 0:
                yield f"a new title on {Ground(move.ground).name}"
            else:
                yield "resold whole" if move.title == move.source else "resold in part"
            if move.ground == Ground.READY and fill.minutes == 60:
                yield "a fill of a whole hour that will run at once"
            if move.closes == move.title:
                yield "bought back one's own"
            elif move.closes:
                yield "bought back whole" if move.closed == move.closes else "bought back in part"

    # --- One command, or what time caused ------------------------------------------------------------------------

    def _of_step(self, record: Record, step: Sequence[Event], first: bool) -> Iterable[str]:
        head = step[0]
        if isinstance(head, RangeAccepted) and any(isinstance(event, Filled) for event in step):
            yield "a range that traded"
        takers = [
            event.taker_order for event in step if isinstance(event, Filled) and event.taker_order in self._blocks
        ]
        takers = list(dict.fromkeys(takers))
        for number in takers:
            yield from self._of_block(step, self._blocks[number])
        placed = head.order if isinstance(head, BlockAccepted) else 0
        again = [number for number in takers if number != placed]
        if len(again) > 1:
            yield "several blocks tried again"
        if again and first:
            opened = any(isinstance(event, StateReached) for event in step)
            yield "a block tried again after an opening" if opened else "a block tried again in the next record"
        elif again and isinstance(head, StateSet):
            yield "a block tried again after an operator's opening"
        elif again and isinstance(head, OrderAccepted):
            yield "a block tried again after an order"
        yield from _of_promises(step, by_collar=not first and isinstance(record.commands[head.index], MoveReference))

    def _of_block(self, step: Sequence[Event], block: BlockAccepted) -> Iterable[str]:
        fills = [event for event in step if isinstance(event, Filled) and event.taker_order == block.order]
        makers = {fill.maker_order for fill in fills if fill.maker_order in self._blocks}
        with_hours = any(fill.maker_order not in self._blocks for fill in fills)
        if makers:
            yield "a block that rested was hit"
            yield "a block against both" if with_hours else "a block against blocks only"
        else:
            yield "a block against hours only"
        if len(makers) > 1:
            yield "a block against several blocks"
        filled = [event for event in step if isinstance(event, BlockFilled) and event.order == block.order]
        yield "a block filled in part" if filled[-1].leaves else "a block filled whole"
        if any(event.average_price_num % (event.qty * event.hours) for event in filled):
            yield "a block at an average between two prices"
        if block.hours != 2:
            yield "a block of one hour" if block.hours == 1 else "a block of three hours or more"
        if block.tif == Tif.FOK:
            yield "a block of all or nothing"
        if block.side == Side.SELL:
            yield "a sell block took"


def _steps(events: Sequence[Event]) -> Iterable[tuple[Sequence[Event], bool]]:
    """What time caused (True), then each outcome with its effects."""
    starts = [place for place, event in enumerate(events) if hasattr(event, "index")]
    cuts = [0, *starts, len(events)]
    for number, (start, end) in enumerate(pairwise(cuts)):
        if start < end:
            yield events[start:end], number == 0


def _of_promises(step: Sequence[Event], *, by_collar: bool) -> Iterable[str]:
    asked: dict[int, BuyIn] = {}
    for place, event in enumerate(step):
        match event:
            case BuyIn():
                bought = _bought(step[place + 1 :])
                asked[event.account] = event
                if bought == event.qty:
                    yield "bought in whole"
                else:
                    yield "bought in in part" if bought else "nothing there to buy in"
            case BuyInFailed() if event.account not in asked:
                yield "not bought in while not open"
            case BackingCut(ground=Ground.READY):
                yield "a running promise cut by a collar"
            case BackingCut():
                yield "a promise cut by a collar" if by_collar else "a promise cut at its deadline"
            case _:
                pass


def _bought(after: Sequence[Event]) -> int:
    """By the exchange, before it buys for the next one."""
    qty = 0
    for event in after:
        if isinstance(event, (BuyIn, BuyInFailed)):
            break
        if isinstance(event, Filled) and event.taker_order == 0:
            qty += event.qty
    return qty
