"""What every account of a shard has, from `events` alone: open orders, hours held and owed, money. Pure.

Balance, holds and collateral are worked out as docs/engine.md and docs/decisions/002-ledger.md say, and equal the engine's own
after every output. Who watches learns which orders, positions and fills of his an output has touched.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, assert_never

import msgspec
from msgspec import Struct

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Fees, Flag, Ground, Side, Tif
from schemas.events import CancelAccepted, Event, Filled, OrderAccepted, OrderCancelled, Rejected
from schemas.ids import class_no_of, contract_of, hour_of
from schemas.units import (
    MS_PER_HOUR,
    BasisPoints,
    Gpus,
    Micros,
    Millis,
    Price,
    bid_hold,
    promise_collateral,
)
from services.market_data.books import Contradiction

FILLS_KEPT: Final = 100
"""Of each account, for whoever was away for longer than messages are kept."""
_COLLATERALISED: Final = (Ground.PROMISED, Ground.READY)


class Order(Struct, gc=False, kw_only=True):
    """An order or block of an account."""

    order: int
    account: int
    contract: int
    """Of a block: its first hour."""
    side: int
    price: Price
    tif: int
    flags: int
    client_id: str
    leaves: Gpus
    filled: Gpus = 0
    cancelled: Gpus = 0
    reason: int = 0
    """`Reason`; 0: it was not cancelled."""
    hours: int = 0
    """Of a block; 0: it is none."""
    qty_min: Gpus = 0
    hold: Micros = 0


class Fill(Struct, frozen=True, gc=False):
    """A trade, from one account's side."""

    seq: int
    time_ms: Millis
    buying: bool
    event: Filled


class Backing(Struct, gc=False):
    """Of one account in one contract on one ground."""

    qty: Gpus = 0
    price: Price = 0
    """Collateral price."""


class Position(Struct, gc=False):
    """Of one account in one contract."""

    held: Gpus = 0
    owed: dict[int, Gpus] = msgspec.field(default_factory=dict)
    """By ground."""
    running_held: Gpus = 0
    backing: dict[int, Backing] = msgspec.field(default_factory=dict)
    """By ground."""
    collateral: Micros = 0

    def counts(self) -> tuple[Gpus, Gpus, Gpus, Gpus]:
        """Held, owed, and both of the running phase."""
        owed = self.owed.get(Ground.DECLARED, 0) + self.owed.get(Ground.PROMISED, 0)
        return self.held, owed, self.running_held, self.owed.get(Ground.READY, 0)


class Title(Struct, gc=False):
    """Whose hours they are."""

    obligor: int
    holder: int
    ground: int
    qty: Gpus


class Account(Struct, gc=False):
    """A member in this shard."""

    account: int
    balance: Micros = 0
    holds: Micros = 0
    collateral: Micros = 0
    orders: dict[int, Order] = msgspec.field(default_factory=dict)
    """Open ones, oldest first."""
    positions: dict[int, Position] = msgspec.field(default_factory=dict)
    fills: deque[Fill] = msgspec.field(default_factory=lambda: deque(maxlen=FILLS_KEPT))


class Touched(Struct, gc=False):
    """What an output did to an account. Dicts keep the order of first mention."""

    orders: dict[int, Order] = msgspec.field(default_factory=dict)
    positions: dict[int, None] = msgspec.field(default_factory=dict)
    fills: list[Fill] = msgspec.field(default_factory=list)
    money: bool = False


class Terms(Struct, gc=False, frozen=True):
    """What of a class's specification matters here."""

    lot: Gpus
    fees: Fees
    cover_ms: Millis
    bid_bp: BasisPoints
    """The buyer's higher rate: holds are taken at it."""


class Holdings:
    """One shard. Feed it every record in order."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.seq = 0
        self.time_ms: Millis = 0
        self.whole = True
        self.accounts: dict[int, Account] = {}
        self.watched: dict[int, int] = {}
        """Account → how many watch. Of others nothing is noted."""
        self._orders: dict[int, Order] = {}
        self._terms: dict[int, Terms] = {}
        self._titles: dict[int, dict[int, Title]] = {}
        """Contract → title number → title."""
        self._version = 0
        self._version_next = 0
        self._deadlines: list[tuple[Millis, int]] = []
        """Heap of (cover deadline, contract)."""
        self._reference_moves = False
        """What is cut now is cut by a reference that has moved, and not by a deadline."""
        self._touched: dict[int, Touched] = {}

    def apply(self, record: EventsRecord) -> dict[int, Touched] | None:
        """The next record of the shard: what it did to whoever is watched. None: more of its output is to come.

        Raises Contradiction.
        """
        if self.whole:
            self._version = self._version_next or self._version
            self._reference_moves = False
        self.seq, self.time_ms, self.whole = record.seq, record.time_ms, record.last
        try:
            for event in record.events:
                kind = type(event)
                if kind is OrderAccepted:
                    self._accepted(event)  # type: ignore[arg-type]  # as `kind` says
                elif kind is Filled:
                    self._filled(event)  # type: ignore[arg-type]  # as `kind` says
                elif kind is OrderCancelled:
                    self._cancelled(event)  # type: ignore[arg-type]  # as `kind` says
                elif kind is not Rejected and kind is not CancelAccepted:
                    # Those two change nothing, and are every fourth event.
                    self._other(event)
        except KeyError as error:
            raise Contradiction(f"seq {record.seq} speaks of {error}, which was never told of") from error
        if not record.last:
            return None
        self._pass_deadlines()
        touched, self._touched = self._touched, {}
        return touched

    def _touch(self, account: int) -> Touched | None:
        if account not in self.watched:
            return None
        touched = self._touched.get(account)
        if touched is None:
            touched = self._touched[account] = Touched()
        return touched

    def _other(self, event: Event) -> None:
        if hasattr(event, "index"):
            self._reference_moves = type(event) is ev.ReferenceMoved
        match event:
            case OrderAccepted():
                self._accepted(event)
            case Filled():
                self._filled(event)
            case OrderCancelled():
                self._cancelled(event)
            case ev.RangeAccepted() | ev.BlockAccepted() | ev.QuotesPut() | ev.OrderAmended() | ev.BlockFilled():
                self._ordered(event)
            case ev.ShardStarted():
                self._version = event.engine_version
            case ev.EngineVersionSet():
                self._set_version(event.version)
            case ev.AccountSet():
                self.accounts.setdefault(event.account, Account(event.account))
            case ev.Credited() | ev.Swept():
                self._pay(event.account, event.balance - self.accounts[event.account].balance)
            case ev.CashCorrected():
                self._pay(event.payer, -event.amount)
                self._pay(event.payee, event.amount)
            case ev.ClassSet():
                bid_bp = max(event.fees.buyer_maker, event.fees.buyer_taker)
                self._terms[event.class_no] = Terms(event.lot, event.fees, event.cover_ms, bid_bp)
            case ev.BackingSet() | ev.BackingCut() | ev.TitleCovered():
                self._backed(event)
            case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed() | ev.HourEnded():
                self._moment(event)
            case ev.TitleEnded():
                self._title_ended(event)
            case ev.CollateralMoved():
                self._pay(event.account, -event.amount)
            case (
                Rejected()
                | ev.OrderRepeated()
                | CancelAccepted()
                | ev.StateSet()
                | ev.StateReached()
                | ev.Ticked()
                | ev.ReferenceMoved()
                | ev.OutboxSkipped()
                | ev.OutboxRejected()
                | ev.MassCancelAccepted()
                | ev.CancelAllAfterSet()
                | ev.DeadManFired()
                | ev.BuyIn()
                | ev.BuyInFailed()
            ):
                pass  # nothing that an account has changes, or events of their own tell of it
            case _:
                assert_never(event)

    # --- Orders ------------------------------------------------------------------------------------------------

    def _accepted(self, event: OrderAccepted) -> None:
        self._open(
            Order(
                order=event.order,
                account=event.account,
                contract=event.contract,
                side=event.side,
                price=event.price,
                tif=event.tif,
                flags=event.flags,
                client_id=event.client_id,
                leaves=event.qty,
            )
        )

    def _ordered(
        self, event: ev.RangeAccepted | ev.BlockAccepted | ev.QuotesPut | ev.OrderAmended | ev.BlockFilled
    ) -> None:
        match event:
            case ev.RangeAccepted():
                for leg in event.legs:
                    if not leg.code:
                        self._open_leg(event, leg)
            case ev.BlockAccepted():
                self._open(
                    Order(
                        order=event.order,
                        account=event.account,
                        contract=contract_of(event.class_no, event.first_hour),
                        side=event.side,
                        price=event.price,
                        tif=event.tif,
                        flags=event.flags,
                        client_id=event.client_id,
                        leaves=event.qty,
                        hours=event.hours,
                        qty_min=event.qty_min,
                    )
                )
            case ev.QuotesPut():
                self._quoted(event)
            case ev.OrderAmended():
                order = self._orders[event.order]
                order.price, order.leaves = event.price, event.qty
                self._changed(order)
            case ev.BlockFilled():
                block = self._orders[event.order]
                block.filled += event.qty
                block.leaves = event.leaves
                self._changed(block)

    def _open_leg(self, event: ev.RangeAccepted, leg: ev.LegOutcome) -> None:
        self._open(
            Order(
                order=leg.order,
                account=event.account,
                contract=contract_of(event.class_no, event.hours[leg.leg]),
                side=event.side,
                price=event.price,
                tif=event.tif,
                flags=event.flags,
                client_id=event.client_id,
                leaves=event.qty,
            )
        )

    def _quoted(self, event: ev.QuotesPut) -> None:
        for outcome in event.outcomes:
            if outcome.code:
                continue
            contract = contract_of(event.class_no, outcome.hour)
            for number, side, price, qty in (
                (outcome.bid_order, Side.BUY, outcome.bid, outcome.bid_qty),
                (outcome.ask_order, Side.SELL, outcome.ask, outcome.ask_qty),
            ):
                known = self._orders.get(number)
                if known is not None:
                    known.leaves = qty
                    self._changed(known)
                elif number:
                    self._open(
                        Order(
                            order=number,
                            account=event.account,
                            contract=contract,
                            side=side,
                            price=price,
                            tif=Tif.GTC,
                            flags=Flag.POST_ONLY,
                            client_id="",
                            leaves=qty,
                        )
                    )

    def _open(self, order: Order) -> None:
        self._orders[order.order] = order
        self.accounts[order.account].orders[order.order] = order
        self._changed(order)

    def _changed(self, order: Order) -> None:
        """Its leaves or its price are others: so is its hold, and at 0 it has ended."""
        account = self.accounts[order.account]
        if order.side == Side.BUY:
            hold = self._hold(order)
            account.holds += hold - order.hold
            order.hold = hold
        if order.leaves == 0:
            del self._orders[order.order], account.orders[order.order]
        touched = self._touch(order.account)
        if touched is not None:
            touched.orders[order.order] = order
            touched.money = touched.money or order.side == Side.BUY

    def _hold(self, order: Order) -> Micros:
        if order.leaves == 0:
            return 0
        terms = self._terms[class_no_of(order.contract)]
        return bid_hold(order.price, order.leaves * (order.hours or 1), terms.lot, terms.bid_bp)

    def _cancelled(self, event: OrderCancelled) -> None:
        order = self._orders[event.order]
        order.cancelled, order.leaves, order.reason = event.qty, 0, event.reason
        self._changed(order)

    # --- Trades ------------------------------------------------------------------------------------------------

    def _filled(self, event: Filled) -> None:
        for number, leaves in ((event.maker_order, event.maker_leaves), (event.taker_order, event.taker_leaves)):
            order = self._orders[number] if number else None
            if order is not None and not order.hours:
                order.filled += event.qty
                order.leaves = leaves
                self._changed(order)
        contract = event.contract
        buyer, seller = self.accounts[event.buyer], self.accounts[event.seller]
        bought = _position(buyer, contract)
        sold = _position(seller, contract)
        titles = self._titles[contract]
        for move in event.moves:
            buyer.balance += move.released_buyer - move.cost
            seller.balance += move.released_seller
            self._move(titles, move, event, sold, bought)
        for account, position, buying in ((buyer, bought, True), (seller, sold, False)):
            self._collateralise(account, contract, position)
            fill = Fill(self.seq, self.time_ms, buying, event)
            account.fills.append(fill)
            touched = self._touch(account.account)
            if touched is not None:
                touched.fills.append(fill)
                touched.positions[contract] = None
                touched.money = True

    def _move(
        self, titles: dict[int, Title], move: ev.TitleMove, event: Filled, sold: Position, bought: Position
    ) -> None:
        """What one piece does to whose hours they are: see `TitleMove`."""
        qty = move.qty
        if move.source == 0:
            title = titles[move.title] = Title(event.seller, 0, move.ground, qty)
            sold.owed[move.ground] = sold.owed.get(move.ground, 0) + qty
        else:
            title = _piece(titles, move.source, move.title, qty)
            sold.held -= qty
        if move.closes == 0:
            title.holder = event.buyer
            if title.ground == Ground.READY:
                bought.running_held += qty
            else:
                bought.held += qty
            return
        if move.closes == move.title:
            # He bought back his very own: nobody owes it and nobody holds it any more.
            bought.owed[title.ground] -= qty
            del titles[move.title]
            return
        closed = _piece(titles, move.closes, move.closed, qty)
        bought.owed[closed.ground] -= qty
        closed.obligor, closed.ground = title.obligor, title.ground
        del titles[move.title]

    def _pay(self, account: int, amount: Micros) -> None:
        self.accounts[account].balance += amount
        touched = self._touch(account)
        if touched is not None:
            touched.money = True

    # --- Backing -----------------------------------------------------------------------------------------------

    def _backed(self, event: ev.BackingSet | ev.BackingCut | ev.TitleCovered) -> None:
        match event:
            case ev.BackingSet():
                account = self.accounts[event.account]
                for hour in event.hours:
                    contract = contract_of(event.class_no, hour)
                    position = _position(account, contract)
                    position.backing[event.ground] = Backing(event.qty, event.collateral_price)
                    self._collateralise(account, contract, position)
            case ev.BackingCut():
                account = self.accounts[event.account]
                position = account.positions[event.contract]
                backing = position.backing[event.ground]
                backing.qty = backing.qty - event.qty if self._reference_moves else 0
                self._collateralise(account, event.contract, position)
            case ev.TitleCovered():
                title = _piece(self._titles[event.contract], event.source, event.title, event.qty)
                account = self.accounts[title.obligor]
                position = account.positions[event.contract]
                position.owed[title.ground] -= event.qty
                position.owed[event.ground] = position.owed.get(event.ground, 0) + event.qty
                title.ground = event.ground
                self._collateralise(account, event.contract, position)

    def _collateralise(self, account: Account, contract: int, position: Position) -> None:
        """Its collateral is what backing and titles say now."""
        if not position.backing:
            return
        collateral = 0
        for ground in _COLLATERALISED:
            backing = position.backing.get(ground)
            if backing is not None and backing.price:
                rate = self._terms[class_no_of(contract)].fees.buyer_taker
                needed = max(backing.qty, position.owed.get(ground, 0))
                collateral += needed * promise_collateral(backing.price, rate)
        if collateral != position.collateral:
            account.collateral += collateral - position.collateral
            position.collateral = collateral
            touched = self._touch(account.account)
            if touched is not None:
                touched.money = True

    def _end_backing(self, contract: int, *grounds: int) -> None:
        """Of every account: what is owed stays, and at its price."""
        for account in self.accounts.values():
            position = account.positions.get(contract)
            if position is None:
                continue
            for ground in grounds:
                backing = position.backing.get(ground)
                if backing is not None:
                    backing.qty = 0
            self._collateralise(account, contract, position)

    # --- Time --------------------------------------------------------------------------------------------------

    def _set_version(self, version: int) -> None:
        self._version_next = version
        if self._version < 2 <= version:
            for contract in self._titles:
                self._plan_cover(contract)

    def _plan_cover(self, contract: int) -> None:
        deadline_ms = hour_of(contract) * MS_PER_HOUR - self._terms[class_no_of(contract)].cover_ms
        heapq.heappush(self._deadlines, (deadline_ms, contract))

    def _pass_deadlines(self) -> None:
        """Promises end at their cover deadline, also where nothing was unsold and so nothing is said."""
        while self._deadlines and self._deadlines[0][0] <= self.time_ms:
            _, contract = heapq.heappop(self._deadlines)
            if contract in self._titles:
                self._end_backing(contract, Ground.PROMISED)

    def _moment(self, event: ev.ContractListed | ev.GateClosed | ev.RunningClosed | ev.HourEnded) -> None:
        contract = event.contract
        match event:
            case ev.ContractListed():
                self._titles[contract] = {}
                if max(self._version, self._version_next) >= 2:
                    self._plan_cover(contract)
            case ev.GateClosed():
                self._end_backing(contract, Ground.DECLARED, Ground.PROMISED)
            case ev.RunningClosed():
                self._end_backing(contract, Ground.READY)
            case ev.HourEnded():
                del self._titles[contract]
                for account in self.accounts.values():
                    position = account.positions.pop(contract, None)
                    if position is None:
                        continue
                    account.collateral -= position.collateral
                    touched = self._touch(account.account)
                    if touched is not None:
                        touched.positions[contract] = None
                        touched.money = touched.money or bool(position.collateral)

    def _title_ended(self, event: ev.TitleEnded) -> None:
        """It leaves the shard; its positions do with the hour."""
        title = self._titles[event.contract].pop(event.title)
        if (title.obligor, title.holder, title.qty) != (event.obligor, event.holder, event.qty):
            raise Contradiction(f"{event}: ours is {title}")


def _position(account: Account, contract: int) -> Position:
    position = account.positions.get(contract)
    if position is None:
        position = account.positions[contract] = Position()
    return position


def _piece(titles: dict[int, Title], source: int, piece: int, qty: Gpus) -> Title:
    """`qty` of title `source`: as a title of its own, or all of it."""
    title = titles[source]
    if piece == source:
        return title
    title.qty -= qty
    split = titles[piece] = Title(title.obligor, title.holder, title.ground, qty)
    return split
