"""Feats of orders before and beside trading: rare things that random flows must have done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.commands import CancelOrder, PlaceBlock, PlaceRange
from schemas.events import (
    BlockAccepted,
    BlockFilled,
    CancelAccepted,
    Code,
    Event,
    Filled,
    LegOutcome,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    OrderRepeated,
    QuoteOutcome,
    QuotesPut,
    RangeAccepted,
    Reason,
    Rejected,
)
from tests.reference.script import Record

FEATS = {
    "a client id used again", "a client id refused a millisecond before it is free", "a name for another kind of order",
    "a range with good and bad legs", "a range of bad legs only", "a range cancelled by its name", "a range repeated",
    "a block repeated", "an order expired", "a leg expired", "a block expired", "a block at its gate", "a block lost its backing",
    "a dead man's block", "a dead man's order", "a mass cancel of a block", "a quote kept", "a quote cut", "a quote on one side",
    "a quote with good and bad hours", "a quote of many hours", "a quote filled", "a quote amended", "a leg amended",
    "less kept its place", "an amended order lost its place", "more of an order", "an amended order was filled",
    "a leg cancelled by its id", "a block cancelled by its name",
}  # fmt: skip
_CANCELLED = {
    (Reason.EXPIRED, "order"): "an order expired",
    (Reason.EXPIRED, "leg"): "a leg expired",
    (Reason.EXPIRED, "block"): "a block expired",
    (Reason.GATE_CLOSED, "block"): "a block at its gate",
    (Reason.BACKING_LOWERED, "block"): "a block lost its backing",
    (Reason.DEAD_MAN, "block"): "a dead man's block",
    (Reason.DEAD_MAN, "order"): "a dead man's order",
    (Reason.MASS, "block"): "a mass cancel of a block",
}


class Listener:
    """One flow."""

    def __init__(self) -> None:
        self._named: dict[tuple[int, str], tuple[str, int, int]] = {}
        """(account, client id) → kind, first order, when."""
        self._kinds: dict[int, str] = {}
        """Order → what it is: an order, a leg, a block, a quote."""
        self._open: dict[int, int] = {}
        self._amended_at_once: int = 0
        """The order of the command at hand, when that amends one without its place."""

    def hear(self, record: Record, events: Sequence[Event]) -> Iterable[str]:
        """Feats of a record."""
        for event in events:
            if hasattr(event, "index"):
                self._amended_at_once = 0
            match event:
                case OrderAccepted():
                    yield from self._accepted(record, event, event.order, "order")
                case BlockAccepted():
                    yield from self._accepted(record, event, event.order, "block")
                case RangeAccepted():
                    yield from self._range(record, event)
                case OrderRepeated() | Rejected():
                    yield from self._again(record, event)
                case CancelAccepted():
                    yield from self._cancel(record, event)
                case QuotesPut():
                    yield from self._quotes(event)
                case OrderAmended():
                    yield from self._amended(event)
                case Filled() | BlockFilled() | OrderCancelled():
                    yield from self._less(event)
                case _:
                    pass

    def _accepted(
        self, record: Record, event: OrderAccepted | BlockAccepted | RangeAccepted, order: int, kind: str
    ) -> Iterable[str]:
        self._kinds[order] = kind
        self._open[order] = event.qty
        if event.client_id:
            key = (event.account, event.client_id)
            if key in self._named:
                yield "a client id used again"
            self._named[key] = (kind, order, record.stamp_ms)

    def _range(self, record: Record, event: RangeAccepted) -> Iterable[str]:
        good = [leg.order for leg in event.legs if leg.order]
        if good and len(good) < len(event.legs):
            yield "a range with good and bad legs"
        if not good:
            yield "a range of bad legs only"
        first: LegOutcome = event.legs[0]
        yield from self._accepted(record, event, first.order, "leg")
        for order in good:
            self._kinds[order] = "leg"
            self._open[order] = event.qty

    def _again(self, record: Record, event: OrderRepeated | Rejected) -> Iterable[str]:
        if isinstance(event, Rejected) and event.code != Code.DUPLICATE_CLIENT_ID:
            return
        kind, _, since_ms = self._named[event.account, event.client_id]
        if isinstance(event, OrderRepeated):
            if kind != "order":
                yield "a range repeated" if kind == "leg" else "a block repeated"
            return
        if record.stamp_ms - since_ms == 899_999:
            yield "a client id refused a millisecond before it is free"
        now = {PlaceRange: "leg", PlaceBlock: "block"}.get(type(record.commands[event.index]), "order")
        if now != kind:
            yield "a name for another kind of order"

    def _cancel(self, record: Record, event: CancelAccepted) -> Iterable[str]:
        asked = record.commands[event.index]
        assert isinstance(asked, CancelOrder)
        kind = self._kinds.get(event.order, "leg")
        if kind == "leg":
            yield "a leg cancelled by its id" if asked.order else "a range cancelled by its name"
        elif kind == "block" and not asked.order:
            yield "a block cancelled by its name"

    def _quotes(self, event: QuotesPut) -> Iterable[str]:
        codes = [hour.code for hour in event.outcomes]
        if any(codes) and not all(codes):
            yield "a quote with good and bad hours"
        if codes.count(0) > 2:
            yield "a quote of many hours"
        for hour in event.outcomes:
            yield from self._quote(hour)

    def _quote(self, hour: QuoteOutcome) -> Iterable[str]:
        if bool(hour.bid_qty) != bool(hour.ask_qty):
            yield "a quote on one side"
        for order, qty in ((hour.bid_order, hour.bid_qty), (hour.ask_order, hour.ask_qty)):
            if order in self._kinds:
                yield "a quote kept"
                if qty < self._open[order]:
                    yield "a quote cut"
            if order:
                self._kinds[order] = "quote"
                self._open[order] = qty

    def _amended(self, event: OrderAmended) -> Iterable[str]:
        yield "less kept its place" if event.kept_place else "an amended order lost its place"
        if event.qty > self._open[event.order]:
            yield "more of an order"
        if (kind := self._kinds[event.order]) != "order":
            yield f"a {kind} amended"
        self._open[event.order] = event.qty
        self._amended_at_once = event.order

    def _less(self, event: Filled | BlockFilled | OrderCancelled) -> Iterable[str]:
        if isinstance(event, OrderCancelled):
            feat = _CANCELLED.get((Reason(event.reason), self._kinds[event.order]))
            if feat is not None:
                yield feat
        elif isinstance(event, BlockFilled):
            self._open[event.order] = event.leaves
        else:
            if event.taker_order == self._amended_at_once != 0:
                yield "an amended order was filled"
            for order, leaves in ((event.maker_order, event.maker_leaves), (event.taker_order, event.taker_leaves)):
                if self._kinds.get(order) == "quote":
                    yield "a quote filled"
                if order in self._open and self._kinds[order] != "block":
                    self._open[order] = leaves
