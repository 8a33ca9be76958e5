"""The market as `events` tell it, and the invariants that can be seen there.

Written from the rules (docs/engine.md, docs/decisions/002-ledger.md) without the engine: orders, books, cash, titles and
backing are rebuilt from what the events say, each event is held against what was known before it, and
nothing is taken from the engine's own idea of its state. Pure.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from schemas import events as ev
from schemas.codec import EventsRecord, Frame
from schemas.commands import Ground, Side, Tif
from schemas.ids import class_no_of, contract_of, format_order, hour_of
from schemas.units import MS_PER_HOUR, Gpus, Micros, Millis
from services.audit.arithmetic import cash_of, collateral_of, fee_of, hold_of, share
from services.audit.outcomes import fault
from services.audit.queues import Queues
from services.audit.report import Findings
from services.audit.titles import Title, split

CLIENT_ID_WINDOW_MS = 900_000

PHASES = ("forward", "running", "closed", "ended")

Level = tuple[int, int, int]
"""(contract, side, price)."""


class Contradiction(Exception):
    """The log speaks of something that it never made: nothing after it can be audited."""

    def __init__(self, name: str, breach: str) -> None:
        super().__init__(f"{name}: {breach}")
        self.name = name
        """The invariant that is broken."""
        self.breach = breach


class Order(Struct):
    """An accepted order."""

    order: int
    account: int
    contract: int
    side: int
    qty: Gpus
    price: int
    tif: int
    flags: int
    maker_bp: int
    taker_bp: int
    leaves: Gpus
    filled: Gpus = 0
    cancelled: Gpus = 0


class Promise(Struct):
    """Backing of one account in one contract on one ground."""

    qty: Gpus = 0
    collateral_price: int = 0
    version: int = 0


class ShardModel:
    """Feed it every record of one shard's `events`, in order, with the frame that caused it."""

    def __init__(self, findings: Findings) -> None:
        self.found = findings
        self.seq = 0
        self.time_ms: Millis = 0
        self.shard = -1
        self.outbox = 0
        """The last number that was answered."""
        self.classes: dict[int, ev.ClassSet] = {}
        self.accounts: dict[int, ev.AccountSet] = {}
        self.phase: dict[int, str] = {}
        """contract -> one of PHASES."""
        self.cash: defaultdict[int, Micros] = defaultdict(int)
        self.orders: dict[int, Order] = {}
        self.trades: dict[int, ev.Filled] = {}
        self.resting: defaultdict[int, dict[int, Order]] = defaultdict(dict)
        """contract -> order id -> order, oldest first (a rest happens in log order)."""
        self.bids_of: defaultdict[int, dict[int, Order]] = defaultdict(dict)
        """account -> resting bids."""
        self.asks_of: defaultdict[tuple[int, int], dict[int, Order]] = defaultdict(dict)
        """(account, contract) -> resting asks."""
        self.client_ids: dict[tuple[int, str], tuple[int, int]] = {}
        """-> (order, when accepted)."""
        self.titles: dict[int, Title] = {}
        self.titles_of: defaultdict[int, set[int]] = defaultdict(set)
        """contract -> live and closed titles."""
        self.ended: dict[int, Title] = {}
        """Titles of ended hours, as they left the shard."""
        self.bought: defaultdict[int, defaultdict[int, Gpus]] = defaultdict(lambda: defaultdict(int))
        """contract -> account -> bought minus sold, by the fills alone."""
        self.held: defaultdict[tuple[int, int], Gpus] = defaultdict(int)
        self.owed: defaultdict[tuple[int, int, int], Gpus] = defaultdict(int)
        """(account, contract, ground)."""
        self.backing: defaultdict[tuple[int, int, int], Promise] = defaultdict(Promise)
        self.collateral_contracts: defaultdict[int, set[int]] = defaultdict(set)
        """account -> contracts with promised backing or titles."""
        self.moved_collateral: dict[tuple[int, int], Micros] = {}
        """(contract, account) -> what left the shard at the hour's end."""
        self.title_last = 0
        self.trade_last = 0
        self._queues = Queues()
        self._moments: list[tuple[Millis, int, str]] = []
        """Heap of (when, contract, phase from then on)."""
        self._taker: Order | None = None
        self._touched: set[int] = set()
        """Contracts whose book changed since the last outcome."""
        self._concerned: set[tuple[int, int]] = set()
        """(account, contract) whose means changed since the last outcome."""
        self._outcomes: list[ev.Event] = []
        self._ending: dict[int, list[int]] = {}
        """contract -> [titles ended, escrow] until its `HourEnded`."""

    # --- records ---------------------------------------------------------------------------------------

    def apply(self, record: EventsRecord, frame: Frame | None) -> None:
        """One record. `frame` is the whole output's frame on its last part, None on earlier ones. Raises Contradiction."""
        self.found.expect("D4", record.seq == self.seq + 1, f"seq {record.seq} after {self.seq}")
        self.found.expect("C3", record.time_ms >= self.time_ms, f"seq {record.seq}: time goes back to {record.time_ms}")
        self.seq = record.seq
        self.shard = record.shard
        self.time_ms = record.time_ms
        for event in record.events:
            self._apply(event)
        if record.last:
            self._command_ended()
            self._check_moments()
            self._check_outcomes(record, frame)

    def _check_outcomes(self, record: EventsRecord, frame: Frame | None) -> None:
        commands = frame.commands if frame else ()
        said, self._outcomes = self._outcomes, []
        places = [getattr(event, "index", -1) for event in said]
        complete = places == list(range(len(commands)))
        self.found.expect("O3", complete, f"offset {record.offset}: outcomes {places} for {len(commands)} commands")
        if complete:
            for event, command in zip(said, commands, strict=True):
                wrong = fault(event, command, record.shard, record.offset, record.time_ms)
                self.found.expect("O3", not wrong, f"offset {record.offset}, outcome {event.index}: {wrong}")  # type: ignore[union-attr]  # `complete` says that it has one

    def _apply(self, event: ev.Event) -> None:
        if hasattr(event, "index"):
            self._command_ended()
            self._outcomes.append(event)
        match event:
            case ev.OrderAccepted():
                self._order_accepted(event)
            case ev.Filled():
                self._filled(event)
            case ev.OrderCancelled():
                self._order_cancelled(event)
            case ev.OrderRepeated():
                self._check_known_id(event.account, event.client_id, event.order)
            case ev.Rejected():
                if event.code == ev.Code.DUPLICATE_CLIENT_ID:
                    self._check_known_id(event.account, event.client_id, event.have)
            case ev.Credited() | ev.Swept() | ev.AccountSet() | ev.ClassSet() | ev.BackingSet() | ev.OutboxRejected():
                self._from_settlement(event)
            case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed():
                self._moment(event)
            case ev.TitleEnded():
                self._title_ended(event)
            case ev.CollateralMoved():
                self._collateral_moved(event)
            case ev.HourEnded():
                self._hour_ended(event)
            case ev.TitleCovered():
                self._title_covered(event)
            case (
                ev.CancelAccepted()
                | ev.StateSet()
                | ev.EngineVersionSet()
                | ev.ShardStarted()
                | ev.Ticked()
                | ev.OutboxSkipped()
            ):
                pass  # they change nothing that is audited here
            case (
                ev.ReferenceMoved()
                | ev.RangeAccepted()
                | ev.BlockAccepted()
                | ev.QuotesPut()
                | ev.OrderAmended()
                | ev.MassCancelAccepted()
                | ev.CancelAllAfterSet()
                | ev.CashCorrected()
                | ev.BackingCut()
                | ev.BlockFilled()
                | ev.DeadManFired()
                | ev.BuyInFailed()
                | ev.StateReached()
                | ev.BuyIn()
            ):
                raise Contradiction("O3", f"seq {self.seq}: {type(event).__name__}, which engine version 1 never says")
            case _:
                assert_never(event)

    # --- what the log must have said before -----------------------------------------------------------------

    def _order(self, number: int) -> Order:
        if number not in self.orders:
            raise Contradiction(
                "B6", f"seq {self.seq} speaks of order {format_order(number)}, which was never accepted"
            )
        return self.orders[number]

    def _title(self, number: int) -> Title:
        if number not in self.titles:
            raise Contradiction("C6", f"seq {self.seq} speaks of title {number}, which is not alive")
        return self.titles[number]

    def _owner(self, account: int) -> int:
        if account not in self.accounts:
            raise Contradiction("B7", f"seq {self.seq} speaks of account {account}, which was never set")
        return self.accounts[account].owner

    def _spec(self, contract: int) -> ev.ClassSet:
        if class_no_of(contract) not in self.classes:
            raise Contradiction("C3", f"seq {self.seq} speaks of contract {contract}, whose class was never set")
        return self.classes[class_no_of(contract)]

    # --- orders and book -------------------------------------------------------------------------------

    def _order_accepted(self, event: ev.OrderAccepted) -> None:
        name = format_order(event.order)
        self.found.expect("B6", event.order not in self.orders, f"{name} accepted twice")
        self._check_phase(event.contract, f"{name} accepted")
        self._owner(event.account)
        if event.client_id:
            key = (event.account, event.client_id)
            earlier = self.client_ids.get(key)
            free = earlier is None or (
                self.orders[earlier[0]].leaves == 0 and self.time_ms - earlier[1] >= CLIENT_ID_WINDOW_MS
            )
            self.found.expect("O2", free, f"{event.client_id} of account {event.account} is two orders")
            self.client_ids[key] = (event.order, self.time_ms)
        order = Order(
            event.order,
            event.account,
            event.contract,
            event.side,
            event.qty,
            event.price,
            event.tif,
            event.flags,
            event.maker_bp,
            event.taker_bp,
            event.qty,
        )
        self._check_rates(order)
        self.orders[event.order] = order
        self._taker = order
        self._touched.add(event.contract)
        self._concerned.add((event.account, event.contract))

    def _check_known_id(self, account: int, client_id: str, order: int) -> None:
        known = self.client_ids.get((account, client_id))
        self.found.expect(
            "O2",
            known is not None and known[0] == order,
            f"{client_id} of account {account} is not {format_order(order)}",
        )

    def _check_phase(self, contract: int, what: str) -> None:
        """Forward by the log's own events, and before the gate by the clock."""
        open_ = self.phase.get(contract) == "forward" and self.time_ms < self._due_ms(contract, "running")
        self.found.expect("C3", open_, f"{what} outside its phase ({self.phase.get(contract)}) at {self.time_ms}")

    def _check_rates(self, order: Order) -> None:
        fees = self._spec(order.contract).fees
        due = (fees.buyer_maker, fees.buyer_taker) if order.side == Side.BUY else (fees.seller_maker, fees.seller_taker)
        fits = (order.maker_bp, order.taker_bp) == due
        self.found.expect("M6", fits, f"{format_order(order.order)} has rates other than {due}")

    def _command_ended(self) -> None:
        """The effects of a command are complete: what is left of its order rests; books and accounts must be sane."""
        taker, self._taker = self._taker, None
        if taker is not None and taker.leaves:
            self._rest(taker)
        for contract in sorted(self._touched):
            self._check_book(contract)
        for account, contract in sorted(self._concerned):
            self._check_account(account, contract)
        self._touched.clear()
        self._concerned.clear()

    def _rest(self, order: Order) -> None:
        self.found.expect("O1", order.tif == Tif.GTC, f"{format_order(order.order)} rests, and is no GTC order")
        self.resting[order.contract][order.order] = order
        if order.side == Side.BUY:
            self.bids_of[order.account][order.order] = order
        else:
            self.asks_of[order.account, order.contract][order.order] = order

    def _check_book(self, contract: int) -> None:
        bids = [order.price for order in self.resting[contract].values() if order.side == Side.BUY]
        asks = [order.price for order in self.resting[contract].values() if order.side == Side.SELL]
        if bids and asks:
            self.found.expect("B1", max(bids) < min(asks), f"contract {contract}: bid {max(bids)} >= ask {min(asks)}")

    def _check_account(self, account: int, contract: int) -> None:
        available = self.available(account)
        self.found.expect("M3", available >= 0, f"account {account}: available {available} at seq {self.seq}")
        if open_asks := sum(o.leaves for o in self.asks_of[account, contract].values()):
            capacity = self.capacity(account, contract)
            breach = f"account {account}, contract {contract}: asks {open_asks} > {capacity}"
            self.found.expect("C2", open_asks <= capacity, breach)

    def available(self, account: int) -> Micros:
        """cash − holds of resting bids − collateral."""
        return self.cash[account] - self.holds(account) - self.collateral(account)

    def holds(self, account: int) -> Micros:
        """Worst case of the account's resting bids."""
        return sum(
            hold_of(order.price, order.leaves, self._spec(order.contract).lot, max(order.maker_bp, order.taker_bp))
            for order in self.bids_of[account].values()
        )

    def collateral(self, account: int) -> Micros:
        """Σ over contracts of max(backing, owed) as promised × collateral per GPU-hour."""
        return sum(self._collateral(account, contract) for contract in self.collateral_contracts[account])

    def _collateral(self, account: int, contract: int) -> Micros:
        promise = self.backing[account, contract, Ground.PROMISED]
        qty = max(promise.qty, self.owed[account, contract, Ground.PROMISED])
        return qty * collateral_of(promise.collateral_price, self._spec(contract).fees.buyer_taker)

    def unsold(self, account: int, contract: int, ground: int) -> Gpus:
        """What may still be sold on a ground."""
        return max(0, self.backing[account, contract, ground].qty - self.owed[account, contract, ground])

    def capacity(self, account: int, contract: int) -> Gpus:
        """held + Σ over grounds max(0, backing − owed)."""
        unsold = sum(self.unsold(account, contract, ground) for ground in (Ground.DECLARED, Ground.PROMISED))
        return self.held[account, contract] + unsold

    def open_orders(self) -> Iterator[Order]:
        """What rests; in the middle of an output also the newcomer, as far as it is open."""
        for book in self.resting.values():
            yield from book.values()
        if self._taker is not None and self._taker.leaves:
            yield self._taker

    def levels(self) -> dict[Level, tuple[int, Gpus]]:
        """Level -> (orders, GPUs) of what is open."""
        found: dict[Level, tuple[int, Gpus]] = {}
        for order in self.open_orders():
            level = (order.contract, order.side, order.price)
            orders, gpus = found.get(level, (0, 0))
            found[level] = (orders + 1, gpus + order.leaves)
        return found

    def _order_cancelled(self, event: ev.OrderCancelled) -> None:
        order = self._order(event.order)
        order.cancelled += event.qty
        order.leaves -= event.qty
        self._check_quantities(order)
        whose = (event.account, event.contract) == (order.account, order.contract)
        self.found.expect(
            "O1",
            whose and order.leaves == 0,
            f"{format_order(order.order)} cancelled with {order.leaves} left: {event}",
        )
        self._gone(order)

    def _gone(self, order: Order) -> None:
        self.resting[order.contract].pop(order.order, None)
        self.bids_of[order.account].pop(order.order, None)
        self.asks_of[order.account, order.contract].pop(order.order, None)
        self._touched.add(order.contract)

    def _check_quantities(self, order: Order) -> None:
        whole = order.leaves >= 0 and order.filled + order.leaves + order.cancelled == order.qty
        self.found.expect("O1", whole, f"{format_order(order.order)}: {order}")

    # --- fills -----------------------------------------------------------------------------------------

    def _filled(self, event: ev.Filled) -> None:
        maker, taker = self._order(event.maker_order), self._order(event.taker_order)
        self._check_priority(event, maker, taker)
        self._check_sides(event, maker, taker)
        self._check_money(event, maker, taker)
        for order, leaves in ((maker, event.maker_leaves), (taker, event.taker_leaves)):
            order.filled += event.qty
            order.leaves -= event.qty
            self.found.expect("O1", order.leaves == leaves, f"{format_order(order.order)}: leaves {leaves}")
            self._check_quantities(order)
        if maker.leaves == 0:
            self._gone(maker)
        self._touched.add(event.contract)
        self.found.expect("D4", event.trade == self.trade_last + 1, f"trade {event.trade} after {self.trade_last}")
        self.trade_last = event.trade
        self.trades[event.trade] = event
        self.bought[event.contract][event.buyer] += event.qty
        self.bought[event.contract][event.seller] -= event.qty
        done = 0
        for move in event.moves:
            self._move(event, move, done)
            done += move.qty
        self.found.expect("C1", done == event.qty, f"trade {event.trade}: moves of {done} for {event.qty}")
        for account in (event.buyer, event.seller):
            self._check_account(account, event.contract)

    def _check_priority(self, event: ev.Filled, maker: Order, taker: Order) -> None:
        name = f"trade {event.trade}"
        self._check_phase(event.contract, name)
        self.found.expect("B3", event.price == maker.price, f"{name} at {event.price}, maker at {maker.price}")
        within = event.price <= taker.price if taker.side == Side.BUY else event.price >= taker.price
        self.found.expect("B2", within, f"{name} at {event.price} beyond the taker's {taker.price}")
        rivals = [o for o in self.resting[event.contract].values() if o.side == maker.side]
        better = (lambda o: o.price < maker.price) if maker.side == Side.SELL else (lambda o: o.price > maker.price)
        self.found.expect("B2", not any(map(better, rivals)), f"{name}: a better price was there")
        first = next((o for o in rivals if o.price == maker.price), None)
        self.found.expect("B4", first is maker, f"{name}: {format_order(maker.order)} was not the first in its level")

    def _check_sides(self, event: ev.Filled, maker: Order, taker: Order) -> None:
        name = f"trade {event.trade}"
        owners = {self._owner(maker.account), self._owner(taker.account)}
        self.found.expect("B7", len(owners) == 2, f"{name}: both sides belong to owner {owners}")
        sides = (event.buyer, event.seller) if taker.side == Side.BUY else (event.seller, event.buyer)
        fits = sides == (taker.account, maker.account) and taker.side == event.taker_side != maker.side
        self.found.expect("B3", fits, f"{name}: buyer and seller do not fit the orders")
        self.found.expect("B3", taker is self._taker, f"{name}: {format_order(taker.order)} is not the newcomer")
        books = {event.contract, maker.contract, taker.contract}
        self.found.expect("B6", len(books) == 1, f"{name}: orders of the books {books} meet")

    def _check_money(self, event: ev.Filled, maker: Order, taker: Order) -> None:
        name = f"trade {event.trade}"
        buyer, seller = (taker, maker) if taker.side == Side.BUY else (maker, taker)
        cash = cash_of(event.price, event.qty, 60)
        self.found.saw("M6", "trades")
        fits = (event.notional, event.minutes) == (cash, 60)
        self.found.expect("M6", fits, f"{name}: {event.notional} for {event.minutes} minutes, should be {cash} for 60")
        for order, paid in ((buyer, event.buyer_fee), (seller, event.seller_fee)):
            due = fee_of(cash, order.taker_bp if order is taker else order.maker_bp)
            self.found.expect("M6", paid == due, f"{name}: fee {paid} of account {order.account}, should be {due}")

    def _move(self, event: ev.Filled, move: ev.TitleMove, done: Gpus) -> None:
        """docs/decisions/002-ledger.md, Titles 2 to 5."""
        name = f"trade {event.trade}, title {move.title}"
        net = share(event.notional - event.seller_fee, done, move.qty, event.qty)
        fees = share(event.seller_fee + event.buyer_fee, done, move.qty, event.qty)
        self.found.expect(
            "M6",
            (move.net, move.cost) == (net, net + fees),
            f"{name}: net {move.net}, cost {move.cost}; {net}, {fees} due",
        )
        self.found.saw("C6", "titles")
        self.cash[event.buyer] -= move.cost
        next_owed = self._queues.next_owed(event.buyer, event.contract)
        in_turn = self._queues.sold(event.seller, event.contract, move.source, move.title)
        self.found.expect("C6", in_turn, f"{name}: {move.source} is not the oldest that account {event.seller} holds")
        title = self._new_title(event, move, name) if move.source == 0 else self._resold(event, move, name)
        if move.closes:
            title = self._bought_back(event, move, title, next_owed)
        else:
            in_turn = self._queues.bought(event.buyer, event.contract, move.title)
            self.found.expect("C6", in_turn, f"{name}: account {event.buyer} owes, and closes nothing")
            title.holder = event.buyer
            self.held[event.buyer, event.contract] += move.qty
        self.found.expect("C6", title.balanced, f"{name}: {title.escrow} != {title.if_delivered} or {title.if_not}")

    def _new_title(self, event: ev.Filled, move: ev.TitleMove, name: str) -> Title:
        self._number(move.title, name)
        seller, contract = event.seller, event.contract
        declared, on_ground = (self.unsold(seller, contract, g) for g in (Ground.DECLARED, move.ground))
        fits = move.qty <= on_ground and (move.ground == Ground.DECLARED or declared == 0)
        self.found.expect("C2", fits, f"{name}: {move.qty} sold on ground {move.ground}, where {on_ground} were unsold")
        self.found.expect("C6", move.released_seller == 0, f"{name}: {move.released_seller} released for a new title")
        title = Title(
            contract,
            seller,
            event.buyer,
            move.ground,
            move.qty,
            event.minutes,
            move.cost,
            move.net,
            move.cost,
            move.cost - move.net,
        )
        self.titles[move.title] = title
        self.titles_of[contract].add(move.title)
        self.owed[seller, contract, move.ground] += move.qty
        self._queues.owes(seller, contract, move.ground, move.title)
        if move.ground == Ground.PROMISED:
            self.collateral_contracts[seller].add(contract)
        return title

    def _resold(self, event: ev.Filled, move: ev.TitleMove, name: str) -> Title:
        title = self._piece(move.source, move.title, move.qty, name)
        if move.title != move.source:
            self._queues.split_owed(title.obligor, title.contract, title.ground, move.source, move.title)
        fits = (title.holder, title.minutes) == (event.seller, event.minutes)
        self.found.expect("C6", fits, f"{name}: sold by {event.seller} for {event.minutes} minutes, it is {title}")
        released = min(move.net, title.cost)
        self.found.expect(
            "C6", move.released_seller == released, f"{name}: released {move.released_seller}, {released} due"
        )
        self.cash[event.seller] += released
        self.held[event.seller, event.contract] -= move.qty
        title.escrow += move.cost - released
        title.gains[event.seller] = title.gains.get(event.seller, 0) + move.net - released
        title.losses[event.seller] = title.losses.get(event.seller, 0) + title.cost - released
        title.cost = move.cost
        title.fees += move.cost - move.net
        return title

    def _bought_back(self, event: ev.Filled, move: ev.TitleMove, bought: Title, next_owed: int) -> Title:
        """`next_owed`: what the buyer owed first, before either title was cut."""
        name = f"trade {event.trade}, title {move.title}"
        own = move.closes == move.title
        wanted = move.source if own else move.closes
        self.found.expect("C6", wanted == next_owed, f"{name}: closes {wanted}, it is the turn of {next_owed}")
        ended = bought if own else self._piece(move.closes, move.closed, move.qty, name)
        self.found.expect("C6", ended.obligor == event.buyer, f"{name}: closes a title of {ended.obligor}")
        released = min(ended.proceeds, move.cost)
        self.found.expect(
            "C6", move.released_buyer == released, f"{name}: released {move.released_buyer}, {released} due"
        )
        self.cash[event.buyer] += released
        self.owed[event.buyer, event.contract, ended.ground] -= move.qty
        gain, loss = ended.proceeds - released, move.cost - released
        self._queues.settled(event.buyer, event.contract, ended.ground, move.closed)
        if own:
            ended.proceeds = ended.cost = 0
            ended.obligor = ended.holder = 0
            ended.closed = True
            ended.escrow -= released
        else:
            if move.closed != move.closes:
                self._queues.split_held(ended.holder, event.contract, move.closes, move.closed)
            self._queues.replaced(bought.obligor, event.contract, bought.ground, move.title, move.closed)
            _take_over(ended, bought)
            ended.escrow -= released
            del self.titles[move.title]
            self.titles_of[event.contract].remove(move.title)
        ended.gains[event.buyer] = ended.gains.get(event.buyer, 0) + gain
        ended.losses[event.buyer] = ended.losses.get(event.buyer, 0) + loss
        return ended

    def _piece(self, source: int, piece: int, qty: Gpus, name: str) -> Title:
        """The title itself when all of it moves, else a piece of `qty` under a new number."""
        title = self._title(source)
        if piece == source:
            self.found.expect("C6", title.qty == qty, f"{name}: moves {qty} of title {source} ({title.qty}) as a whole")
            return title
        self._number(piece, name)
        if not 0 < qty < title.qty:
            raise Contradiction("C6", f"{name}: cuts {qty} from title {source} of {title.qty}")
        cut = split(title, qty)
        self.titles[piece] = cut
        self.titles_of[title.contract].add(piece)
        return cut

    def _number(self, title: int, name: str) -> None:
        self.found.expect("D4", title == self.title_last + 1, f"{name}: number {title} after {self.title_last}")
        self.title_last = title

    # --- settlement's messages -------------------------------------------------------------------------

    def _from_settlement(
        self, event: ev.Credited | ev.Swept | ev.AccountSet | ev.ClassSet | ev.BackingSet | ev.OutboxRejected
    ) -> None:
        self.found.expect("S1", event.outbox == self.outbox + 1, f"outbox {event.outbox} after {self.outbox}")
        self.outbox = event.outbox
        match event:
            case ev.Credited() | ev.Swept():
                self._moved(event)
            case ev.AccountSet():
                self._account_set(event)
            case ev.ClassSet():
                self._class_set(event)
            case ev.BackingSet():
                self._backing_set(event)
            case ev.OutboxRejected():
                pass  # it changed nothing here
            case _:
                assert_never(event)

    def _account_set(self, event: ev.AccountSet) -> None:
        known = self.accounts.get(event.account)
        same = known is None or known.owner == event.owner
        self.found.expect("B7", same, f"account {event.account} goes to owner {event.owner}")
        self.accounts[event.account] = event

    def _class_set(self, event: ev.ClassSet) -> None:
        known = self.classes.setdefault(event.class_no, event)
        again = replace(event, index=known.index, outbox=known.outbox)
        self.found.expect("C4", again == known, f"class {event.class_no} was {known}, and is set to {event}")

    def _moved(self, event: ev.Credited | ev.Swept) -> None:
        self.cash[event.account] += event.amount if isinstance(event, ev.Credited) else -event.amount
        balance = self.cash[event.account]
        self.found.expect(
            "M7", event.balance == balance, f"account {event.account}: {event.balance}, log says {balance}"
        )
        available = self.available(event.account)
        self.found.expect("M3", available >= 0, f"account {event.account}: available {available}")

    def _backing_set(self, event: ev.BackingSet) -> None:
        changed = False
        for hour in event.hours:
            contract = contract_of(event.class_no, hour)
            self._check_phase(contract, f"backing of account {event.account}")
            self._concerned.add((event.account, contract))
            promise = self.backing[event.account, contract, event.ground]
            if promise.version == event.version:
                same = (promise.qty, promise.collateral_price) == (event.qty, event.collateral_price)
                self.found.expect("C4", same, f"backing version {event.version} of account {event.account} changed")
                continue
            self.found.expect(
                "C4", event.version > promise.version, f"backing version {event.version} after {promise.version}"
            )
            changed = True
            promise.qty, promise.collateral_price, promise.version = event.qty, event.collateral_price, event.version
            if event.ground == Ground.PROMISED:
                self._check_promise(event, contract)
        self.found.expect(
            "C4", changed == event.changed, f"backing of account {event.account}: changed is {event.changed}"
        )
        available = self.available(event.account)
        self.found.expect("C5", available >= 0, f"account {event.account}: {available} available after its promise")

    def _check_promise(self, event: ev.BackingSet, contract: int) -> None:
        self.collateral_contracts[event.account].add(contract)
        spec = self._spec(contract)
        cap = spec.list_price * spec.collar_high_bp // 10_000
        if event.qty:
            self.found.saw("C5", "promises")
        enough = event.qty == 0 or event.collateral_price >= cap
        self.found.expect("C5", enough, f"account {event.account}: collateral price {event.collateral_price} < {cap}")

    def _title_covered(self, event: ev.TitleCovered) -> None:
        name = f"title {event.title}"
        whole = self._title(event.source)
        obligor, contract = whole.obligor, whole.contract
        oldest = self._queues.owed[obligor, contract, Ground.PROMISED][:1] == [event.source]
        fits = oldest and event.ground == Ground.DECLARED and event.qty <= self.unsold(obligor, contract, event.ground)
        self.found.expect("C2", fits, f"{name}: {event.qty} of title {event.source} go over to ground {event.ground}")
        title = self._piece(event.source, event.title, event.qty, name)
        if title is whole:
            self._queues.settled(obligor, contract, title.ground, event.source)
        else:
            self._queues.split_held(title.holder, contract, event.source, event.title)
        self.owed[obligor, contract, title.ground] -= event.qty
        title.ground = event.ground
        self.owed[obligor, contract, title.ground] += event.qty
        self._queues.owes(obligor, contract, title.ground, event.title)
        self._concerned.add((obligor, contract))

    # --- time ------------------------------------------------------------------------------------------

    def _due_ms(self, contract: int, phase: str) -> Millis:
        """When the contract comes into a phase."""
        spec, hour = self._spec(contract), hour_of(contract)
        end_ms = (hour + 1) * MS_PER_HOUR
        return {
            "forward": (hour - spec.horizon_hours) * MS_PER_HOUR,
            "running": hour * MS_PER_HOUR - spec.gate_ms,
            "closed": end_ms - spec.running_close_ms,
            "ended": end_ms,
        }[phase]

    def _moment(self, event: ev.ContractListed | ev.GateClosed | ev.RunningClosed) -> None:
        match event:
            case ev.ContractListed(contract=contract):
                self._phase(contract, "forward")
                for phase in PHASES[1:]:
                    heapq.heappush(self._moments, (self._due_ms(contract, phase), contract, phase))
            case ev.GateClosed(contract=contract):
                self._phase(contract, "running")
                left = self.resting[contract]
                self.found.expect("C3", not left, f"{len(left)} orders after the gate of {contract}")
                for (_, of_contract, _), promise in self.backing.items():
                    if of_contract == contract:
                        promise.qty = 0
            case ev.RunningClosed(contract=contract):
                self._phase(contract, "closed")
            case _:
                assert_never(event)

    def _phase(self, contract: int, phase: str) -> None:
        """One after the other, and none before its time."""
        place = PHASES.index(phase)
        is_now, due_ms = self.phase.get(contract), self._due_ms(contract, phase)
        fits = is_now == (PHASES[place - 1] if place else None) and self.time_ms >= due_ms
        self.found.expect(
            "C3", fits, f"contract {contract}: {is_now} becomes {phase} at {self.time_ms}, due at {due_ms}"
        )
        self.phase[contract] = phase

    def _check_moments(self) -> None:
        """What was due by now has happened."""
        while self._moments and self._moments[0][0] <= self.time_ms:
            when, contract, phase = heapq.heappop(self._moments)
            done = PHASES.index(self.phase[contract]) >= PHASES.index(phase)
            self.found.expect("C3", done, f"contract {contract} should be {phase} since {when}")

    def _title_ended(self, event: ev.TitleEnded) -> None:
        title = self._title(event.title)
        said = (event.contract, event.obligor, event.holder, event.ground, event.qty, event.minutes)
        known = (title.contract, title.obligor, title.holder, title.ground, title.qty, title.minutes)
        self.found.expect("C6", said == known, f"title {event.title} ended as {said}, was {known}")
        money = (event.proceeds, event.cost, event.escrow)
        owned = (title.proceeds, title.cost, title.escrow)
        self.found.expect("C6", money == owned, f"title {event.title} ended with {money}, had {owned}")
        self.found.saw("C6", "hours that ended")
        tally = self._ending.setdefault(event.contract, [0, 0])
        tally[0] += 1
        tally[1] += event.escrow

    def _collateral_moved(self, event: ev.CollateralMoved) -> None:
        due = self._collateral(event.account, event.contract)
        self.found.saw("C5", "hours that ended")
        self.found.expect("C5", event.amount == due, f"collateral {event.amount} of account {event.account}, {due} due")
        self.cash[event.account] -= event.amount
        self.moved_collateral[event.contract, event.account] = event.amount

    def _hour_ended(self, event: ev.HourEnded) -> None:
        contract = event.contract
        self._phase(contract, "ended")
        self._check_positions(contract)
        titles, escrow = self._ending.pop(contract, [0, 0])
        numbers = self.titles_of.pop(contract, set())
        closed = sum(self.titles[number].escrow for number in numbers if self.titles[number].closed)
        live = sum(not self.titles[number].closed for number in numbers)
        self.found.expect(
            "C6", (event.titles, live) == (titles, titles), f"contract {contract}: {live} live, {titles} ended"
        )
        self.found.expect("C6", event.escrow == escrow + closed, f"contract {contract}: escrow {event.escrow}")
        self._check_collateral_moved(event)
        for number in numbers:
            self.ended[number] = self.titles.pop(number)
        for positions in (self.held, self.owed, self.backing):
            for key in [key for key in positions if key[1] == contract]:
                del positions[key]  # type: ignore[arg-type]  # the three dicts share the place of the contract
        for contracts in self.collateral_contracts.values():
            contracts.discard(contract)
        self._queues.ended(contract)
        self.bought.pop(contract, None)

    def _check_collateral_moved(self, event: ev.HourEnded) -> None:
        """Whoever owes as promised leaves his collateral behind, and nobody else does."""
        contract = event.contract
        moved = {account: amount for (of, account), amount in self.moved_collateral.items() if of == contract}
        due = {
            account: self._collateral(account, contract)
            for account, contracts in self.collateral_contracts.items()
            if contract in contracts
        }
        due = {account: amount for account, amount in due.items() if amount}
        self.found.expect("C5", moved == due, f"contract {contract}: collateral {moved} left the shard, {due} due")
        self.found.expect(
            "C5", event.collateral == sum(due.values()), f"contract {contract}: collateral {event.collateral}"
        )

    def _check_positions(self, contract: int) -> None:
        """By its titles each account has what it bought minus what it sold, which sums to zero; and who holds owes nothing."""
        held: defaultdict[int, Gpus] = defaultdict(int)
        owed: defaultdict[int, Gpus] = defaultdict(int)
        for number in self.titles_of.get(contract, ()):
            title = self.titles[number]
            if not title.closed:
                held[title.holder] += title.qty
                owed[title.obligor] += title.qty
        of_fills = self.bought[contract]
        for account in held.keys() | owed.keys() | of_fills.keys():
            has, owes, bought = held[account], owed[account], of_fills[account]
            fits = has - owes == bought and not (has and owes)
            self.found.expect(
                "C1", fits, f"contract {contract}, account {account}: holds {has}, owes {owes}, has bought {bought} net"
            )

    # --- the end ---------------------------------------------------------------------------------------

    def finish(self) -> None:
        """At the end of the log: what holds at every moment is looked at once more for everything alive."""
        for contract in [contract for contract, phase in self.phase.items() if phase != "ended"]:
            self._check_positions(contract)
            self._check_book(contract)
        for account in self.accounts:
            available = self.available(account)
            self.found.expect("M3", available >= 0, f"account {account}: available {available}")
        for number, title in self.titles.items():
            self.found.expect("C6", title.balanced, f"title {number}: {title}")

    def escrows(self) -> dict[int, Micros]:
        """contract -> escrow of its titles."""
        total: defaultdict[int, Micros] = defaultdict(int)
        for title in self.titles.values():
            total[title.contract] += title.escrow
        return dict(total)


def _take_over(ended: Title, bought: Title) -> None:
    """The bought title's obligor stands in for the buyer, with all claims on both."""
    ended.escrow += bought.escrow
    ended.fees += bought.fees
    for mine, theirs in ((ended.gains, bought.gains), (ended.losses, bought.losses)):
        for account, amount in theirs.items():
            mine[account] = mine.get(account, 0) + amount
    ended.obligor, ended.ground, ended.proceeds = bought.obligor, bought.ground, bought.proceeds
