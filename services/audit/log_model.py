"""The market as `events` tell it, and the invariants that can be seen there.

Written from the rules (docs/engine.md, docs/decisions/002-ledger.md) without the engine: orders, books, cash, titles and
backing are rebuilt from what the events say, each event is held against what was known before it, and
nothing is taken from the engine's own idea of its state. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct, field

from schemas import events as ev
from schemas.codec import EventsRecord, Frame
from schemas.commands import Ground, Side
from schemas.ids import class_no_of, contract_of, format_order
from schemas.units import Gpus, Micros, bid_hold, fee, notional, portion, promise_collateral
from services.audit.report import Findings

CLIENT_ID_WINDOW_MS = 900_000


class Contradiction(Exception):
    """The log speaks of something that it never made: nothing after it can be audited."""


class Order(Struct):
    """An accepted order."""

    order: int
    account: int
    contract: int
    side: int
    qty: Gpus
    price: int
    flags: int
    maker_bp: int
    taker_bp: int
    leaves: Gpus
    filled: Gpus = 0
    cancelled: Gpus = 0


class Title(Struct):
    """A title with both lists of its escrow's owners."""

    contract: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    escrow: Micros
    proceeds: Micros
    cost: Micros
    fees: Micros
    gains: dict[int, Micros] = field(default_factory=dict)
    losses: dict[int, Micros] = field(default_factory=dict)
    closed: bool = False
    """Bought back by its own obligor: counts as delivered."""

    @property
    def if_delivered(self) -> Micros:
        """All claims of a delivery, added up."""
        return self.proceeds + sum(self.gains.values()) + self.fees

    @property
    def if_not(self) -> Micros:
        """All claims of a failure, added up."""
        return self.cost + sum(self.losses.values())


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
        self.time_ms = 0
        self.shard = -1
        self.outbox = 0
        self.classes: dict[int, ev.ClassSet] = {}
        self.accounts: dict[int, ev.AccountSet] = {}
        self.phase: dict[int, str] = {}
        """contract -> forward | running | closed | ended."""
        self.cash: defaultdict[int, Micros] = defaultdict(int)
        self.orders: dict[int, Order] = {}
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
        self.held: defaultdict[tuple[int, int], Gpus] = defaultdict(int)
        self.owed: defaultdict[tuple[int, int, int], Gpus] = defaultdict(int)
        """(account, contract, ground)."""
        self.backing: defaultdict[tuple[int, int, int], Promise] = defaultdict(Promise)
        self.collateral_contracts: defaultdict[int, set[int]] = defaultdict(set)
        """account -> contracts with promised backing or titles."""
        self.title_last = 0
        self.trade_last = 0
        self._taker: Order | None = None
        self._touched: set[int] = set()
        """Contracts whose book changed since the last outcome."""
        self._outcomes: list[int] = []
        self._ending: dict[int, list[int]] = {}
        """contract -> [titles ended, escrow, collateral] until its `HourEnded`."""

    # --- records ---------------------------------------------------------------------------------------

    def apply(self, record: EventsRecord, frame: Frame | None) -> None:
        """One record. `frame` is the whole output's frame on its last part, None on earlier ones or when skipped."""
        self.found.expect("D4", record.seq == self.seq + 1, f"seq {record.seq} after {self.seq}")
        self.seq = record.seq
        self.shard = record.shard
        self.time_ms = record.time_ms
        try:
            for event in record.events:
                self._apply(event)
            if record.last:
                self._command_ended()
        except KeyError as error:
            raise Contradiction(
                f"seq {record.seq} (offset {record.offset}) names {error}, which the log never made"
            ) from error
        if record.last:
            self._check_outcomes(record, frame)

    def _check_outcomes(self, record: EventsRecord, frame: Frame | None) -> None:
        expected = list(range(len(frame.commands))) if frame else []
        self.found.looked("O3", max(0, len(expected) - 1))
        in_order = self._outcomes == expected
        self.found.expect(
            "O3", in_order, f"offset {record.offset}: outcomes {self._outcomes} for {len(expected)} commands"
        )
        self._outcomes = []

    def _apply(self, event: ev.Event) -> None:
        index = getattr(event, "index", None)
        if index is not None:
            self._command_ended()
            self._outcomes.append(index)
        match event:
            case ev.OrderAccepted():
                self._order_accepted(event)
            case ev.Filled():
                self._filled(event)
            case ev.OrderCancelled():
                self._order_cancelled(event)
            case ev.OrderRepeated():
                known = self.client_ids.get((event.account, event.client_id))
                self.found.expect(
                    "O2",
                    known is not None and known[0] == event.order,
                    f"repeat of unknown {format_order(event.order)}",
                )
            case ev.Credited() | ev.Swept():
                self._moved(event)
            case ev.AccountSet():
                self._confirm(event.outbox)
                self.accounts[event.account] = event
            case ev.ClassSet():
                self._confirm(event.outbox)
                self.classes[event.class_no] = event
            case ev.BackingSet():
                self._backing_set(event)
            case ev.OutboxRejected():
                self._confirm(event.outbox)
            case ev.ContractListed():
                self.phase[event.contract] = "forward"
            case ev.GateClosed():
                self._gate_closed(event.contract)
            case ev.RunningClosed():
                self.phase[event.contract] = "closed"
            case ev.TitleEnded():
                self._title_ended(event)
            case ev.CollateralMoved():
                self._collateral_moved(event)
            case ev.HourEnded():
                self._hour_ended(event)
            case ev.TitleCovered():
                self._title_covered(event)
            case (
                ev.Rejected()
                | ev.CancelAccepted()
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
            ):
                raise NotImplementedError(f"{type(event).__name__}: engine version 1 does not emit it")
            case _:
                assert_never(event)

    # --- orders and book -------------------------------------------------------------------------------

    def _order_accepted(self, event: ev.OrderAccepted) -> None:
        self.found.expect("B6", event.order not in self.orders, f"{format_order(event.order)} accepted twice")
        self.found.expect(
            "C3", self.phase.get(event.contract) == "forward", f"{format_order(event.order)} accepted outside its phase"
        )
        if event.client_id:
            key = (event.account, event.client_id)
            if key in self.client_ids:
                earlier, when = self.client_ids[key]
                free = self.orders[earlier].leaves == 0 and self.time_ms - when >= CLIENT_ID_WINDOW_MS
                self.found.expect("O2", free, f"{event.client_id} of account {event.account} is two orders")
            else:
                self.found.looked("O2")
            self.client_ids[key] = (event.order, self.time_ms)
        order = Order(
            event.order,
            event.account,
            event.contract,
            event.side,
            event.qty,
            event.price,
            event.flags,
            event.maker_bp,
            event.taker_bp,
            event.qty,
        )
        self.orders[event.order] = order
        self._taker = order
        self._touched.add(event.contract)

    def _command_ended(self) -> None:
        """The effects of a command are complete: what is left of its order rests; the books must be sane."""
        taker, self._taker = self._taker, None
        if taker is not None and taker.leaves:
            self.resting[taker.contract][taker.order] = taker
            if taker.side == Side.BUY:
                self.bids_of[taker.account][taker.order] = taker
            else:
                self.asks_of[taker.account, taker.contract][taker.order] = taker
        for contract in sorted(self._touched):
            self._check_book(contract)
        self._touched.clear()
        if taker is not None:
            self._check_account(taker.account, taker.contract)

    def _check_book(self, contract: int) -> None:
        book = self.resting[contract].values()
        best_bid = max((o.price for o in book if o.side == Side.BUY), default=0)
        best_ask = min((o.price for o in book if o.side == Side.SELL), default=best_bid + 1)
        self.found.expect("B1", best_bid < best_ask, f"contract {contract}: bid {best_bid} >= ask {best_ask}")

    def _check_account(self, account: int, contract: int) -> None:
        available = self.available(account)
        self.found.expect("M3", available >= 0, f"account {account}: available {available} at seq {self.seq}")
        open_asks = sum(o.leaves for o in self.asks_of[account, contract].values())
        capacity = self.capacity(account, contract)
        self.found.expect(
            "C2", open_asks <= capacity, f"account {account}, contract {contract}: asks {open_asks} > {capacity}"
        )

    def available(self, account: int) -> Micros:
        """cash − holds of resting bids − collateral."""
        return self.cash[account] - self.holds(account) - self.collateral(account)

    def holds(self, account: int) -> Micros:
        """Worst case of the account's resting bids."""
        total = 0
        for order in self.bids_of[account].values():
            lot = self.classes[class_no_of(order.contract)].lot
            total += bid_hold(order.price, order.leaves, lot, max(order.maker_bp, order.taker_bp))
        return total

    def collateral(self, account: int) -> Micros:
        """Σ over contracts of max(backing, owed) as promised × collateral per GPU-hour."""
        return sum(self._collateral(account, contract) for contract in self.collateral_contracts[account])

    def _collateral(self, account: int, contract: int) -> Micros:
        promise = self.backing[account, contract, Ground.PROMISED]
        qty = max(promise.qty, self.owed[account, contract, Ground.PROMISED])
        rate = self.classes[class_no_of(contract)].fees.buyer_taker
        return qty * promise_collateral(promise.collateral_price, rate)

    def capacity(self, account: int, contract: int) -> Gpus:
        """held + Σ over grounds max(0, backing − owed)."""
        unsold = sum(
            max(0, self.backing[account, contract, ground].qty - self.owed[account, contract, ground])
            for ground in (Ground.DECLARED, Ground.PROMISED)
        )
        return self.held[account, contract] + unsold

    def _order_cancelled(self, event: ev.OrderCancelled) -> None:
        order = self.orders[event.order]
        order.cancelled += event.qty
        order.leaves -= event.qty
        self._check_quantities(order)
        self.found.expect("O1", order.leaves == 0, f"{format_order(order.order)} cancelled with {order.leaves} left")
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
        maker, taker = self.orders[event.maker_order], self.orders[event.taker_order]
        self._check_priority(event, maker, taker)
        self._check_money(event, maker, taker)
        for order, leaves in ((maker, event.maker_leaves), (taker, event.taker_leaves)):
            order.filled += event.qty
            order.leaves -= event.qty
            self.found.expect("O1", order.leaves == leaves, f"{format_order(order.order)}: leaves {leaves}")
            self._check_quantities(order)
        if maker.leaves == 0:
            self._gone(maker)
        self._touched.add(event.contract)
        self.found.expect("S1", event.trade == self.trade_last + 1, f"trade {event.trade} after {self.trade_last}")
        self.trade_last = event.trade
        done = 0
        for move in event.moves:
            self._move(event, move, done)
            done += move.qty
        self.found.expect("C1", done == event.qty, f"trade {event.trade}: moves of {done} for {event.qty}")
        for account in (event.buyer, event.seller):
            self._check_account(account, event.contract)

    def _check_priority(self, event: ev.Filled, maker: Order, taker: Order) -> None:
        name = f"trade {event.trade}"
        self.found.expect("C3", self.phase.get(event.contract) == "forward", f"{name} outside its phase")
        self.found.expect("B3", event.price == maker.price, f"{name} at {event.price}, maker at {maker.price}")
        within = event.price <= taker.price if taker.side == Side.BUY else event.price >= taker.price
        self.found.expect("B2", within, f"{name} at {event.price} beyond the taker's {taker.price}")
        rivals = [o for o in self.resting[event.contract].values() if o.side == maker.side]
        better = (lambda o: o.price < maker.price) if maker.side == Side.SELL else (lambda o: o.price > maker.price)
        self.found.expect("B2", not any(map(better, rivals)), f"{name}: a better price was there")
        first = next((o for o in rivals if o.price == maker.price), None)
        self.found.expect("B4", first is maker, f"{name}: {format_order(maker.order)} was not the first in its level")
        owners = {self.accounts[maker.account].owner, self.accounts[taker.account].owner}
        self.found.expect("B7", len(owners) == 2, f"{name}: both sides belong to owner {owners}")
        sides = (event.buyer, event.seller) if taker.side == Side.BUY else (event.seller, event.buyer)
        self.found.expect(
            "B3", sides == (taker.account, maker.account), f"{name}: buyer and seller do not fit the orders"
        )

    def _check_money(self, event: ev.Filled, maker: Order, taker: Order) -> None:
        name = f"trade {event.trade}"
        buyer, seller = (taker, maker) if taker.side == Side.BUY else (maker, taker)
        cash = notional(event.price, event.qty, event.minutes)
        self.found.expect("M6", event.notional == cash, f"{name}: notional {event.notional}, should be {cash}")
        for order, paid in ((buyer, event.buyer_fee), (seller, event.seller_fee)):
            due = fee(cash, order.taker_bp if order is taker else order.maker_bp)
            self.found.expect("M6", paid == due, f"{name}: fee {paid} of account {order.account}, should be {due}")

    def _move(self, event: ev.Filled, move: ev.TitleMove, done: Gpus) -> None:
        """docs/decisions/002-ledger.md, 2 to 5."""
        name = f"trade {event.trade}, title {move.title}"
        net = portion(event.notional - event.seller_fee, done, move.qty, event.qty)
        fees = portion(event.seller_fee + event.buyer_fee, done, move.qty, event.qty)
        self.found.expect(
            "M6",
            (move.net, move.cost) == (net, net + fees),
            f"{name}: net {move.net}, cost {move.cost}; {net}, {fees} due",
        )
        self.cash[event.buyer] -= move.cost
        title = self._sold(event, move, name)
        if move.closes:
            title = self._bought_back(event, move, title, name)
        else:
            title.holder = event.buyer
            self.held[event.buyer, event.contract] += move.qty
        balanced = title.escrow == title.if_delivered == title.if_not and title.escrow >= 0
        self.found.expect("C6", balanced, f"{name}: {title.escrow} != {title.if_delivered} or {title.if_not}")

    def _sold(self, event: ev.Filled, move: ev.TitleMove, name: str) -> Title:
        fees = move.cost - move.net
        if move.source == 0:
            self._number(move.title, name)
            title = Title(
                event.contract,
                event.seller,
                event.buyer,
                move.ground,
                move.qty,
                event.minutes,
                move.cost,
                move.net,
                move.cost,
                fees,
            )
            self.titles[move.title] = title
            self.titles_of[event.contract].add(move.title)
            self.owed[event.seller, event.contract, move.ground] += move.qty
            if move.ground == Ground.PROMISED:
                self.collateral_contracts[event.seller].add(event.contract)
            return title
        title = self._piece(move.source, move.title, move.qty, name)
        self.found.expect("C6", title.holder == event.seller, f"{name}: sold by {event.seller}, held by {title.holder}")
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
        title.fees += fees
        return title

    def _bought_back(self, event: ev.Filled, move: ev.TitleMove, bought: Title, name: str) -> Title:
        own = move.closes == move.title or bought is self.titles.get(move.closes)
        ended = bought if own else self._piece(move.closes, move.closed, move.qty, name)
        self.found.expect("C6", ended.obligor == event.buyer, f"{name}: closes a title of {ended.obligor}")
        released = min(ended.proceeds, move.cost)
        self.found.expect(
            "C6", move.released_buyer == released, f"{name}: released {move.released_buyer}, {released} due"
        )
        self.cash[event.buyer] += released
        self.owed[event.buyer, event.contract, ended.ground] -= move.qty
        gain, loss = ended.proceeds - released, move.cost - released
        if own:
            ended.proceeds = ended.cost = 0
            ended.obligor = ended.holder = 0
            ended.closed = True
            ended.escrow -= released
        else:
            ended.escrow += bought.escrow - released
            ended.fees += bought.fees
            for mine, theirs in ((ended.gains, bought.gains), (ended.losses, bought.losses)):
                for account, amount in theirs.items():
                    mine[account] = mine.get(account, 0) + amount
            ended.obligor, ended.ground, ended.proceeds = bought.obligor, bought.ground, bought.proceeds
            del self.titles[move.title]
            self.titles_of[event.contract].remove(move.title)
        ended.gains[event.buyer] = ended.gains.get(event.buyer, 0) + gain
        ended.losses[event.buyer] = ended.losses.get(event.buyer, 0) + loss
        return ended

    def _piece(self, source: int, piece: int, qty: Gpus, name: str) -> Title:
        """The title itself when all of it moves, else a piece of `qty` under a new number."""
        title = self.titles[source]
        if piece == source:
            self.found.expect("C6", title.qty == qty, f"{name}: moves {qty} of title {source} ({title.qty}) as a whole")
            return title
        self._number(piece, name)
        self.found.expect("C6", 0 < qty < title.qty, f"{name}: cuts {qty} from title {source} of {title.qty}")
        cut = split(title, qty)
        self.titles[piece] = cut
        self.titles_of[title.contract].add(piece)
        return cut

    def _number(self, title: int, name: str) -> None:
        self.found.expect("B6", title == self.title_last + 1, f"{name}: number {title} after {self.title_last}")
        self.title_last = title

    # --- money and backing -----------------------------------------------------------------------------

    def _confirm(self, outbox: int) -> None:
        self.found.expect("S1", outbox == self.outbox + 1, f"outbox {outbox} after {self.outbox}")
        self.outbox = outbox

    def _moved(self, event: ev.Credited | ev.Swept) -> None:
        self._confirm(event.outbox)
        self.cash[event.account] += event.amount if isinstance(event, ev.Credited) else -event.amount
        balance = self.cash[event.account]
        self.found.expect(
            "M7", event.balance == balance, f"account {event.account}: {event.balance}, log says {balance}"
        )
        available = self.available(event.account)
        self.found.expect("M3", available >= 0, f"account {event.account}: available {available}")

    def _backing_set(self, event: ev.BackingSet) -> None:
        self._confirm(event.outbox)
        changed = False
        for hour in event.hours:
            contract = contract_of(event.class_no, hour)
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
        spec = self.classes[event.class_no]
        cap = spec.list_price * spec.collar_high_bp // 10_000
        enough = event.qty == 0 or event.collateral_price >= cap
        self.found.expect("C5", enough, f"account {event.account}: collateral price {event.collateral_price} < {cap}")

    def _title_covered(self, event: ev.TitleCovered) -> None:
        title = self._piece(event.source, event.title, event.qty, f"title {event.title}")
        self.owed[title.obligor, title.contract, title.ground] -= event.qty
        title.ground = event.ground
        self.owed[title.obligor, title.contract, title.ground] += event.qty

    # --- time ------------------------------------------------------------------------------------------

    def _gate_closed(self, contract: int) -> None:
        self.found.expect(
            "C3", self.phase.get(contract) == "forward", f"gate of {contract} closed in {self.phase.get(contract)}"
        )
        self.found.expect(
            "C3", not self.resting[contract], f"{len(self.resting[contract])} orders after the gate of {contract}"
        )
        self.phase[contract] = "running"
        for (_, of_contract, _), promise in self.backing.items():
            if of_contract == contract:
                promise.qty = 0

    def _title_ended(self, event: ev.TitleEnded) -> None:
        title = self.titles.get(event.title)
        if title is None or title.closed:
            self.found.expect("C6", False, f"title {event.title} ended and was not live")
            return
        said = (event.contract, event.obligor, event.holder, event.ground, event.qty, event.minutes)
        known = (title.contract, title.obligor, title.holder, title.ground, title.qty, title.minutes)
        self.found.expect("C6", said == known, f"title {event.title} ended as {said}, was {known}")
        money = (event.proceeds, event.cost, event.escrow)
        owned = (title.proceeds, title.cost, title.escrow)
        self.found.expect("C6", money == owned, f"title {event.title} ended with {money}, had {owned}")
        tally = self._ending.setdefault(event.contract, [0, 0, 0])
        tally[0] += 1
        tally[1] += event.escrow

    def _collateral_moved(self, event: ev.CollateralMoved) -> None:
        due = self._collateral(event.account, event.contract)
        self.found.expect("C5", event.amount == due, f"collateral {event.amount} of account {event.account}, {due} due")
        self.cash[event.account] -= event.amount
        self._ending.setdefault(event.contract, [0, 0, 0])[2] += event.amount

    def _hour_ended(self, event: ev.HourEnded) -> None:
        contract = event.contract
        self._check_positions(contract)
        titles, escrow, collateral = self._ending.pop(contract, [0, 0, 0])
        numbers = self.titles_of.pop(contract, set())
        closed = sum(self.titles[number].escrow for number in numbers if self.titles[number].closed)
        live = sum(not self.titles[number].closed for number in numbers)
        self.found.expect(
            "C6", (event.titles, live) == (titles, titles), f"contract {contract}: {live} live, {titles} ended"
        )
        self.found.expect("C6", event.escrow == escrow + closed, f"contract {contract}: escrow {event.escrow}")
        self.found.expect("C6", event.collateral == collateral, f"contract {contract}: collateral {event.collateral}")
        for number in numbers:
            self.ended[number] = self.titles.pop(number)
        self.phase[contract] = "ended"
        for positions in (self.held, self.owed, self.backing):
            for key in [key for key in positions if key[1] == contract]:
                del positions[key]  # type: ignore[arg-type]  # the three dicts share the place of the contract
        for contracts in self.collateral_contracts.values():
            contracts.discard(contract)

    def _check_positions(self, contract: int) -> None:
        held = sum(qty for (_, of), qty in self.held.items() if of == contract)
        owed = sum(qty for (_, of, _), qty in self.owed.items() if of == contract)
        self.found.expect("C1", held == owed, f"contract {contract}: held {held}, owed {owed}")

    def finish(self) -> None:
        """At the end of the log: what holds at every moment is looked at once more for everything alive."""
        for contract in [contract for contract, phase in self.phase.items() if phase != "ended"]:
            self._check_positions(contract)
            self._check_book(contract)
        for account in self.accounts:
            available = self.available(account)
            self.found.expect("M3", available >= 0, f"account {account}: available {available}")
        for number, title in self.titles.items():
            balanced = title.escrow == title.if_delivered == title.if_not
            self.found.expect("C6", balanced, f"title {number}: {title}")

    def escrows(self) -> dict[int, Micros]:
        """contract -> escrow of its titles."""
        total: defaultdict[int, Micros] = defaultdict(int)
        for title in self.titles.values():
            total[title.contract] += title.escrow
        return dict(total)


def split(title: Title, qty: Gpus) -> Title:
    """Cut `qty` off `title` and return the piece; both lists by prefix sums (002-ledger.md, 3)."""
    whole = title.qty
    gains, losses = sorted(title.gains), sorted(title.losses)
    delivered = _cut([title.proceeds, *(title.gains[a] for a in gains), title.fees], qty, whole)
    failed = _cut([title.cost, *(title.losses[a] for a in losses)], qty, whole)
    piece = Title(
        title.contract,
        title.obligor,
        title.holder,
        title.ground,
        qty,
        title.minutes,
        title.escrow * qty // whole,
        delivered[0],
        failed[0],
        delivered[-1],
        dict(zip(gains, delivered[1:-1], strict=True)),
        dict(zip(losses, failed[1:], strict=True)),
    )
    title.qty -= qty
    title.escrow -= piece.escrow
    title.proceeds -= piece.proceeds
    title.cost -= piece.cost
    title.fees -= piece.fees
    for account in gains:
        title.gains[account] -= piece.gains[account]
    for account in losses:
        title.losses[account] -= piece.losses[account]
    return piece


def _cut(claims: Sequence[Micros], qty: Gpus, whole: Gpus) -> list[Micros]:
    before = 0
    shares: list[Micros] = []
    for claim in claims:
        shares.append((before + claim) * qty // whole - before * qty // whole)
        before += claim
    return shares
