"""The log as it answers those who were told something: what was accepted, traded and cancelled, by the command that did it."""

from __future__ import annotations

from collections import Counter, defaultdict

from msgspec import Struct

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Ground
from schemas.ids import SHARDS_MAX, contract_of
from schemas.units import Millis

Place = tuple[int, int]
"""(offset, index) of a command in its shard; index -1: what time did before the first."""
assert SHARDS_MAX <= 256


class Accepted(Struct, frozen=True):
    """An order, a leg of a range, or a block."""

    order: int
    account: int
    client_id: str
    contract: int
    """Of a block its first hour."""
    hours: int
    side: int
    qty: int
    qty_min: int
    price: int
    tif: int
    flags: int
    expires_ms: Millis
    place: Place
    time_ms: Millis


class Heard:
    """Feed it every record of both shards once, in each shard's order."""

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        """Kinds of events, codes, reasons and title moves, over all shards."""
        self.accepted: dict[int, Accepted] = {}
        self.ranges: dict[int, ev.RangeAccepted] = {}
        """First accepted leg's order → the whole."""
        self.fills: defaultdict[tuple[int, Place], list[ev.Filled]] = defaultdict(list)
        """(taker's order, by what command) → its fills."""
        self.traded: defaultdict[tuple[int, Place], list[ev.BlockFilled]] = defaultdict(list)
        """The same of blocks."""
        self.asked: dict[int, ev.OrderCancelled] = {}
        self.amended: defaultdict[int, list[tuple[ev.OrderAmended, Place]]] = defaultdict(list)
        self.quotes: defaultdict[int, list[ev.QuotesPut]] = defaultdict(list)
        """Account → its quotes."""
        self.switches: defaultdict[int, set[Millis]] = defaultdict(set)
        self.mass_cancelled: Counter[int] = Counter()
        """Account → how many orders."""
        self.corrected: defaultdict[str, list[tuple[ev.CashCorrected, Millis]]] = defaultdict(list)
        """Public reason → corrections."""
        self._place: Place = (-1, -1)
        self._record: EventsRecord | None = None

    def hear(self, record: EventsRecord) -> None:
        """The next record of a shard."""
        self._record = record
        if record.part == 0:
            self._place = (record.offset, -1)
        for event in record.events:
            self.happened[type(event).__name__] += 1
            if (index := getattr(event, "index", None)) is not None:
                self._place = (record.offset, index)
            self._take(event)

    def _take(self, event: ev.Event) -> None:
        happened, place = self.happened, self._place
        match event:
            case ev.OrderAccepted():
                self._accept(event, event.order, event.contract)
                happened["running ask accepted"] += event.flags & 2 > 0
                happened["dated order accepted"] += event.expires_ms > 0
            case ev.RangeAccepted():
                legs = [leg for leg in event.legs if not leg.code]
                for leg in legs:
                    self._accept(event, leg.order, contract_of(event.class_no, event.hours[leg.leg]))
                if legs:
                    self.ranges[legs[0].order] = event
                happened.update(f"leg: {ev.Code(leg.code).name.lower()}" for leg in event.legs if leg.code)
            case ev.BlockAccepted():
                first = contract_of(event.class_no, event.first_hour)
                self._accept(event, event.order, first, event.hours, event.qty_min)
            case ev.Filled():
                self.fills[event.taker_order, place].append(event)
                self._note_fill(event)
            case ev.BlockFilled():
                self.traded[event.order, place].append(event)
                own = self.accepted[event.order].place
                happened["block traded at once" if own == place else "block traded while it waited"] += 1
            case ev.OrderCancelled():
                happened[f"cancelled: {ev.Reason(event.reason).name.lower()}"] += 1
                if event.reason == ev.Reason.ASKED:
                    self.asked[event.order] = event
            case ev.OrderAmended():
                self.amended[event.order].append((event, place))
                happened["amended in its place" if event.kept_place else "amended anew"] += 1
            case ev.QuotesPut():
                self.quotes[event.account].append(event)
                happened.update(f"quote: {ev.Code(one.code).name.lower()}" for one in event.outcomes if one.code)
            case ev.Rejected() | ev.OutboxRejected():
                kind = "rejected" if isinstance(event, ev.Rejected) else "settlement rejected"
                happened[f"{kind}: {ev.Code(event.code).name.lower()}"] += 1
            case ev.BackingSet(qty=qty, ground=ground) if qty:
                happened[f"backed as {Ground(ground).name.lower()}"] += 1
            case _:
                self._take_of_time(event)

    def _take_of_time(self, event: ev.Event) -> None:
        match event:
            case ev.CancelAllAfterSet(account=account, at_ms=at_ms):
                self.switches[account].add(at_ms)
            case ev.MassCancelAccepted(account=account, count=count):
                self.mass_cancelled[account] += count
            case ev.CashCorrected(reason=reason):
                assert self._record is not None
                self.corrected[reason].append((event, self._record.time_ms))
            case ev.StateReached(hour=hour):
                self.happened["opened" if hour else "reopened"] += 1
            case ev.BackingCut(ground=ground):
                self.happened[f"cut of {Ground(ground).name.lower()}"] += 1
            case ev.ShardStarted(engine_version=version) | ev.EngineVersionSet(version=version):
                self.happened[f"{type(event).__name__} {version}"] += 1
            case _:
                pass

    def _accept(
        self,
        event: ev.OrderAccepted | ev.RangeAccepted | ev.BlockAccepted,
        order: int,
        contract: int,
        hours: int = 1,
        qty_min: int = 0,
    ) -> None:
        assert self._record is not None
        self.accepted[order] = Accepted(
            order,
            event.account,
            event.client_id,
            contract,
            hours,
            event.side,
            event.qty,
            qty_min,
            event.price,
            event.tif,
            event.flags,
            event.expires_ms,
            self._place,
            self._record.time_ms,
        )

    def _note_fill(self, fill: ev.Filled) -> None:
        happened = self.happened
        happened["bought in"] += fill.taker_order == 0
        happened["traded with a quote"] += fill.maker_order not in self.accepted
        for move in fill.moves:
            happened["sold short" if not move.source else "resold"] += 1
            happened["bought back"] += bool(move.closes)
            happened["bought back his own"] += move.closes == move.title
            if move.ground:
                happened[f"owed as {Ground(move.ground).name.lower()}"] += 1
