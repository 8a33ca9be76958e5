"""A shard as the public sees it: its classes and hours, their books, blocks and trades, from `events` alone. Pure.

Feed it every record in order; `apply` answers what is different once the last part of an output is there. Nothing in here leads
from a trade or an order to whose it is, but for owners, which tell whether two trades were between the same two.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import ALL_HOURS, Side, State
from schemas.events import CancelAccepted, Event, Filled, OrderAccepted, OrderCancelled, Rejected
from schemas.ids import class_no_of, contract_of, format_symbol, hour_of
from schemas.units import Gpus, Hour, Micros, Millis, Price
from services.market_data.blocks import BlockBook, Level, Range
from services.market_data.books import Book, Contradiction, Depth
from services.market_data.tape import Kind, Tape, Trade

Phase = Literal["forward", "running", "closed"]


class Row(NamedTuple):
    """One hour of the grid; prices are 0 where there is none."""

    phase: Phase
    state: int
    bid: Price
    bid_qty: Gpus
    ask: Price
    ask_qty: Gpus
    last: Price
    reference: Price
    """The one in force: the hour's own, else its class's."""
    bid_next: Price
    """Behind the best."""
    ask_next: Price


class Anchor(NamedTuple):
    """A reference in force."""

    price: Price
    source: str
    moved_ms: Millis
    """0: it was never moved."""


class Contract:
    """One hour of a class."""

    __slots__ = ("book", "contract", "gone", "listed", "own", "phase", "state", "symbol", "tape", "told")

    def __init__(self, contract: int, listed: Listed, book: Book) -> None:
        self.contract = contract
        self.listed = listed
        self.symbol = format_symbol(listed.class_id, hour_of(contract))
        self.book = book
        self.phase: Phase = "forward"
        self.state: int = State.OPEN
        self.own: Anchor | None = None
        """Its own reference."""
        self.tape = Tape()
        self.told: Row | None = None
        """As `Turn.rows` has said it."""
        self.gone = False
        """The hour has ended."""

    @property
    def hour(self) -> Hour:
        """When it is delivered."""
        return hour_of(self.contract)

    @property
    def anchor(self) -> Anchor:
        """The reference in force."""
        return self.own or self.listed.anchor

    def row(self) -> Row:
        """As it stands."""
        bids, asks = self.book.bids, self.book.asks
        bid, bid_qty = bids.best()
        ask, ask_qty = asks.best()
        state = max(self.state, self.listed.state)
        return Row(
            self.phase, state, bid, bid_qty, ask, ask_qty, self.tape.last, self.anchor.price, bids.second(), asks.second()
        )  # fmt: skip


class Listed:
    """A class, and its hours that have not ended."""

    __slots__ = ("anchor", "contracts", "spec", "state")

    def __init__(self, spec: ev.ClassSet) -> None:
        self.spec = spec
        self.state: int = State.OPEN
        self.anchor = Anchor(spec.list_price, "list price", 0)
        self.contracts: dict[Hour, Contract] = {}
        """Rising: hours are listed in their order."""

    @property
    def class_id(self) -> str:
        """Opaque."""
        return self.spec.class_id


class Correction(NamedTuple):
    """A clear error, corrected in cash by two operators: it is published, without accounts."""

    trade: int
    amount: Micros
    reason: str


class Turn(NamedTuple):
    """What one output of the engine has changed for the public. Contracts as they are now."""

    shard: int
    seq: int
    time_ms: Millis
    books: list[Contract]
    """Whose depth may have changed: `book.bids.changes()` says how."""
    blocks: list[tuple[Range, Level]]
    trades: list[Trade]
    """In order."""
    rows: list[Contract]
    """Whose row of the grid has changed, or is gone."""
    corrections: list[Correction]


class Market:
    """One shard."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.seq = 0
        self.time_ms: Millis = 0
        self.whole = True
        """The last output was told to its end: what stands here stood in the engine as well."""
        self.classes: dict[int, Listed] = {}
        self.contracts: dict[int, Contract] = {}
        self.depth = Depth()
        self.blocks = BlockBook()
        self._owners: dict[int, int] = {}
        # Of the output that is being told.
        self._trades: list[Trade] = []
        self._rows: dict[int, Contract] = {}
        self._corrections: list[Correction] = []

    def apply(self, record: EventsRecord) -> Turn | None:
        """The next record of the shard. None: more of its output is to come. Raises Contradiction."""
        self.seq, self.time_ms, self.whole = record.seq, record.time_ms, record.last
        for event in record.events:
            # Nearly all events are of these three types, and a look at the type costs a tenth of a `case`.
            kind = type(event)
            if kind is OrderAccepted:
                self.depth.accepted(event.order, event.contract, event.side, event.qty, event.price)  # type: ignore[union-attr]  # as `kind` says
            elif kind is Filled:
                self._filled(event)  # type: ignore[arg-type]  # as `kind` says
            elif kind is OrderCancelled:
                self._cancelled(event)  # type: ignore[arg-type]  # as `kind` says
            elif kind is not Rejected and kind is not CancelAccepted:  # they change nothing, and are every fourth event
                self._other(event)
        return self._turn() if record.last else None

    def _turn(self) -> Turn:
        contracts = self.contracts
        books = [contracts[book.contract] for book in self.depth.turn()]
        rows = self._rows
        for contract in books:
            rows[contract.contract] = contract
        changed = []
        for contract in rows.values():
            row = None if contract.gone else contract.row()
            if row != contract.told or contract.gone:
                contract.told = row
                changed.append(contract)
        turn = Turn(
            self.shard, self.seq, self.time_ms, books, self.blocks.turn(), self._trades, changed, self._corrections
        )
        self._trades, self._rows, self._corrections = [], {}, []
        return turn

    def _other(self, event: Event) -> None:
        match event:
            case OrderAccepted():
                self.depth.accepted(event.order, event.contract, event.side, event.qty, event.price)
            case Filled():
                self._filled(event)
            case OrderCancelled():
                self._cancelled(event)
            case ev.RangeAccepted():
                for leg in event.legs:
                    if not leg.code:
                        contract = contract_of(event.class_no, event.hours[leg.leg])
                        self.depth.accepted(leg.order, contract, event.side, event.qty, event.price)
            case ev.BlockAccepted():
                where = Range(event.class_no, event.first_hour, event.hours, event.side, event.price)
                self.blocks.accepted(event.order, where, event.qty, event.qty_min)
            case ev.BlockFilled():
                self.blocks.filled(event.order, event.qty, event.leaves)
            case ev.QuotesPut():
                self._quoted(event)
            case ev.OrderAmended():
                self.depth.amended(event.order, event.qty, event.price)
            case ev.ClassSet():
                # An outbox message may list the very same class again.
                if event.class_no not in self.classes:
                    self.classes[event.class_no] = Listed(event)
            case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed() | ev.HourEnded():
                self._moment(event)
            case ev.StateSet() | ev.StateReached():
                self._state(event.class_no, event.hour, event.state)
            case ev.ReferenceMoved():
                self._reference(event)
            case ev.AccountSet():
                self._owners[event.account] = event.owner
            case ev.CashCorrected():
                self._corrections.append(Correction(event.trade, event.amount, event.reason))
            case (
                Rejected()
                | ev.OrderRepeated()
                | CancelAccepted()
                | ev.EngineVersionSet()
                | ev.ShardStarted()
                | ev.Ticked()
                | ev.OutboxSkipped()
                | ev.OutboxRejected()
                | ev.Credited()
                | ev.Swept()
                | ev.BackingSet()
                | ev.MassCancelAccepted()
                | ev.CancelAllAfterSet()
                | ev.TitleEnded()
                | ev.CollateralMoved()
                | ev.BackingCut()
                | ev.DeadManFired()
                | ev.BuyInFailed()
                | ev.TitleCovered()
                | ev.BuyIn()
            ):
                pass  # private, or told by the fills and cancellations that it causes
            case _:
                assert_never(event)

    # --- Orders ------------------------------------------------------------------------------------------------

    def _filled(self, event: Filled) -> None:
        kind: Kind = "order"
        # A block's leaves are told by `BlockFilled`, once all its hours have traded.
        if event.maker_order in self.blocks:
            kind = "block"
        else:
            self.depth.filled(event.maker_order, event.qty, event.maker_leaves)
        if event.taker_order in self.blocks:
            kind = "block"
        elif event.taker_order:
            self.depth.filled(event.taker_order, event.qty, event.taker_leaves)
        else:
            kind = "buy_in"
        contract = self.contracts.get(event.contract)
        buyer, seller = self._owners.get(event.buyer), self._owners.get(event.seller)
        if contract is None or buyer is None or seller is None:
            raise Contradiction(f"{event}: the contract is not listed, or an account is not set")
        trade = Trade(
            event.trade,
            event.contract,
            event.price,
            event.qty,
            event.minutes,
            Side.SELL if event.taker_side == Side.BUY else Side.BUY,
            kind,
            self.time_ms,
        )
        contract.tape.add(trade, (buyer, seller) if buyer < seller else (seller, buyer))
        self._trades.append(trade)
        self._rows[event.contract] = contract

    def _cancelled(self, event: OrderCancelled) -> None:
        if event.order in self.blocks:
            self.blocks.cancelled(event.order)
        else:
            self.depth.cancelled(event.order)

    def _quoted(self, event: ev.QuotesPut) -> None:
        """What is replaced or refused follows as cancellations; what is kept may have been cut."""
        for outcome in event.outcomes:
            if outcome.code:
                continue
            contract = contract_of(event.class_no, outcome.hour)
            for order, side, price, qty in (
                (outcome.bid_order, Side.BUY, outcome.bid, outcome.bid_qty),
                (outcome.ask_order, Side.SELL, outcome.ask, outcome.ask_qty),
            ):
                if not order:
                    continue
                if order in self.depth:
                    self.depth.amended(order, qty, price)
                else:
                    self.depth.accepted(order, contract, side, qty, price)

    # --- Hours and classes -------------------------------------------------------------------------------------

    def _moment(self, event: ev.ContractListed | ev.GateClosed | ev.RunningClosed | ev.HourEnded) -> None:
        number = event.contract
        if isinstance(event, ev.ContractListed):
            listed = self._listed(class_no_of(number))
            self.depth.listed(number)
            contract = Contract(number, listed, self.depth.books[number])
            self.contracts[number] = listed.contracts[contract.hour] = contract
            self._rows[number] = contract
            return
        known = self.contracts.get(number)
        if known is None:
            if isinstance(event, ev.RunningClosed):
                return  # of an hour that has ended at the same moment
            raise Contradiction(f"{event}: this contract is not listed")
        self._rows[number] = known
        if isinstance(event, ev.HourEnded):
            self.depth.ended(number)
            known.gone = True
            del self.contracts[number], known.listed.contracts[known.hour]
        else:
            known.phase = "running" if isinstance(event, ev.GateClosed) else "closed"

    def _listed(self, class_no: int) -> Listed:
        listed = self.classes.get(class_no)
        if listed is None:
            raise Contradiction(f"class {class_no} is not listed in shard {self.shard}")
        return listed

    def _state(self, class_no: int, hour: Hour, state: int) -> None:
        if hour == ALL_HOURS:
            listed = self._listed(class_no)
            listed.state = state
            self._rows |= {contract.contract: contract for contract in listed.contracts.values()}
            return
        contract = self._listed(class_no).contracts.get(hour)
        if contract is not None:  # else the hour has ended with this opening still to come
            contract.state = state
            self._rows[contract.contract] = contract

    def _reference(self, event: ev.ReferenceMoved) -> None:
        listed = self._listed(event.class_no)
        anchor = Anchor(event.price, event.source, self.time_ms)
        if event.hour == ALL_HOURS:
            listed.anchor = anchor
            self._rows |= {contract.contract: contract for contract in listed.contracts.values()}
            return
        contract = listed.contracts.get(event.hour)
        if contract is None:
            raise Contradiction(f"{event}: this hour is not listed")
        contract.own = anchor
        self._rows[contract.contract] = contract
