"""The state of one shard, and the small steps by which it changes. Pure.

`engine.Engine` is a `Shard` with records; `trading`, `orders`, `blocks`, `quotes`, `backing`, `settling`, `operating` and
`moments` are what happens to it. Whoever changes money or capacity asserts beside it that enough is there.
Money in µUSD, quantities in GPUs, times in ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappush
from typing import Any, Final

from schemas import events as ev
from schemas.events import Event, OrderCancelled, Rejected
from schemas.ids import HOUR_MASK, contract_of
from schemas.units import BP, MS_PER_HOUR, Gpus, Hour, Micros, Millis, Price, collar
from services.matching.book import Block, BlockBook, HalfBook, Order, key_of
from services.matching.literals import BUY, OPEN, SELL
from services.matching.titles import Position, Register

VALIDITY_MS_MAX: Final = 600_000
"""How far ahead `valid_until_ms` of a member's command may lie."""
CLIENT_ID_MS: Final = 900_000
"""How long after its acceptance an order's client id is in use, whatever became of the order."""
NEED_MAX: Final = 2**63 - 1
"""No larger number is said in a refusal, so that every reader can store it."""
_DUE_MIN: Final = 1_000
"""Fewer moments than this are not looked through for those that mean nothing any more."""

HOUR_ENDED, RUNNING_CLOSED, GATE_CLOSED, LISTED, COVER, STATE, EXPIRED, DEAD_MAN = range(8)
"""Kinds of moments, in the order of those due at the same time."""

_OrderCancelled: Final = OrderCancelled
_Rejected: Final = Rejected
"""As constants: a compiled build looks other modules' names up each time."""

Refusal = tuple[int, int, int]
"""(code, need, have)."""


class Account:
    """A member's money in this shard, and what it has open."""

    __slots__ = (
        "account", "blocks", "cash", "client_ids", "collateral", "dead_ms", "fee_plan", "holds", "last_order", "numbers",
        "open_orders", "owner", "role",
    )  # fmt: skip

    def __init__(self, account: int, owner: int, role: int, fee_plan: int) -> None:
        self.account = account
        self.owner = owner
        self.role = role
        self.fee_plan = fee_plan
        self.cash: Micros = 0
        self.holds: Micros = 0
        self.collateral: Micros = 0
        self.open_orders = 0
        """Blocks included."""
        self.blocks = 0
        """Those that rest."""
        self.last_order: Order | None = None
        """The youngest of what is open; each knows the one that came before it."""
        self.client_ids = _by_client_id()
        self.numbers: dict[int, int] = {}
        """Class number -> number of its last quotes."""
        self.dead_ms: Millis = 0
        """When the dead man's switch fires; 0: off."""

    @property
    def available(self) -> Micros:
        """What an order or a promise may still take."""
        return self.cash - self.holds - self.collateral

    def open(self) -> list[Order]:
        """Orders and blocks that rest, by id."""
        found: list[Order] = []
        order = self.last_order
        while order is not None:
            found.append(order)
            order = order.older
        return sorted(found, key=_number)


class Listed:
    """A class as listed here, with what follows from its specification."""

    __slots__ = (
        "ask_bp", "bid_bp", "bid_bp_max", "high", "lot", "low", "moved_ms", "next_ms", "reference", "spec", "state", "tick",
    )  # fmt: skip

    def __init__(self, spec: ev.ClassSet) -> None:
        self.spec = spec
        self.state: int = OPEN
        self.next_ms: Millis = 0
        """When time moves the state on; 0: it does not."""
        self.lot: Gpus = spec.lot
        self.tick: Price = spec.tick
        self.bid_bp = (spec.fees.buyer_maker, spec.fees.buyer_taker)
        self.bid_bp_max = max(self.bid_bp)
        self.ask_bp = (spec.fees.seller_maker, spec.fees.seller_taker)
        self.moved_ms: Millis = -1
        """When its reference was moved; -1: never."""
        self.reference: Price = spec.list_price
        self.low: Price = 0
        self.high: Price = 0
        self.low, self.high = self.collar(spec.list_price)

    def collar(self, reference: Price) -> tuple[Price, Price]:
        """The lowest and the highest price around a reference."""
        return collar(reference, self.spec.collar_low_bp, self.spec.collar_high_bp)


class Quote:
    """The orders of an account's last quote in a contract, for as long as they rest."""

    __slots__ = ("ask", "bid")

    def __init__(self) -> None:
        self.bid: Order | None = None
        self.ask: Order | None = None


class Contract:
    """One hour of one class: its book, the blocks over it, and its titles."""

    __slots__ = (
        "asks", "bids", "buy_blocks", "closed", "contract", "covered", "forward", "high", "listed", "low", "moved_ms", "next_ms",
        "quotes", "reference", "register", "sell_blocks", "state",
    )  # fmt: skip

    def __init__(self, contract: int, listed: Listed) -> None:
        self.contract = contract
        self.listed = listed
        self.forward = True
        """Its gate has not closed."""
        self.closed = False
        """The running phase, too, is over."""
        self.covered = False
        """The cover deadline is over."""
        self.state: int = OPEN
        """Its own: `state_now` is what counts."""
        self.next_ms: Millis = 0
        """When time moves its state on; 0: it does not."""
        self.bids = HalfBook(BUY)
        self.asks = HalfBook(SELL)
        self.buy_blocks: list[Block] = []
        """Blocks that rest and have this hour among theirs."""
        self.sell_blocks: list[Block] = []
        self.quotes: dict[int, Quote] = {}
        self.register = Register()
        self.reference: Price = 0
        """Its own; 0: its class's."""
        self.moved_ms: Millis = -1
        self.low: Price = listed.low
        self.high: Price = listed.high

    @property
    def hour(self) -> Hour:
        """Delivery in [hour, hour + 1)."""
        return self.contract & HOUR_MASK

    def state_now(self) -> int:
        """The stricter one of its own and its class's."""
        state, of_class = self.state, self.listed.state
        return state if state > of_class else of_class

    def free(self, position: Position) -> Gpus:
        """What may still be asked for; below zero while a lowering goes on."""
        capacity = position.capacity() if self.forward else position.ready.unsold()
        return capacity - position.open_asks

    def half(self, side: int) -> HalfBook:
        """The orders of a side."""
        return self.bids if side == BUY else self.asks


class Shard:
    """Everything that a snapshot holds, the bounds, and what the record that is being applied has come to so far."""

    def __init__(self) -> None:
        self.shard = -1
        self.version = 0
        self.version_next = 0
        """Of the next record."""
        self.offset = -1
        self.time_ms: Millis = 0
        self.t0_ms: Millis = 0
        self.rate = 1
        self.sandbox = False
        self.outbox_last = 0
        self.trade_last = 0
        self.title_last = 0
        self.classes: dict[int, Listed] = {}
        self.accounts: dict[int, Account] = {}
        self.contracts: dict[int, Contract] = {}
        self.orders: dict[int, Order] = {}
        """Resting orders and blocks by `key_of` their ids."""
        self.block_books: dict[tuple[int, int], BlockBook] = {}
        """(first contract, hours) -> the blocks of this very range."""
        self.retries: dict[int, Block] = {}
        """Blocks that wait for a retry, by id, the first one first."""
        self.due: list[tuple[Millis, int, int, int]] = []
        """Heap of (when, kind, a, b): a class's number and an hour, an order or an account."""
        self.due_dead = 0
        """How many of them mean nothing any more."""
        self.ids_by_age: deque[Order] = deque()
        """Oldest first: what may be forgotten next."""
        self.approvals: dict[str, Millis] = {}
        """Of corrections that were made → until when each could be sent again; some whose time is over."""
        # Bounds of engine version 2, and of version 1 where it has them; tests take lower ones.
        self.open_orders_max = 100_000
        self.client_ids_max = 200_000
        """In use by one account: each is remembered for 15 minutes, so a flood of them must end somewhere."""
        self.blocks_max = 100
        """Of one account."""
        self.blocks_over_hour_max = 256
        """Of one side."""
        self.retries_max = 64
        """In one record."""
        # Of the record that is applied.
        self.out: list[Event] = []
        self.named: list[Order] = []
        """What its commands brought in with a client id; joins `ids_by_age` at the record's end."""
        self.touched: list[list[Block]] = []
        """Blocks over an hour in which an opposite order came to rest, or which opened, since `blocks.retry` last looked.
        Some may be gone since."""
        self.stirred: list[list[Block]] = []
        """A block that came to rest or was filled in part since then, and after it the blocks of its range that it crossed."""
        self.retried = 0
        """Retries made so far."""

    # --- small steps that all modules of the engine take -------------------------------------------------

    def reject(self, index: int, account: int, code: int, client_id: str = "", need: int = 0, have: int = 0) -> None:
        """The outcome of a command that changes nothing."""
        self.out.append(_Rejected(index, account, int(code), client_id, need, have))

    def say_cancelled(self, order: Order, qty: Gpus, reason: int) -> None:
        """Say that `qty` of its open quantity is gone."""
        self.out.append(_OrderCancelled(order.order, order.account, order.contract, qty, reason))

    def listed_contract(self, class_no: int, hour: Hour) -> Contract | None:
        """An hour of more bits than it may have would be read as another class's."""
        return self.contracts.get(contract_of(class_no, hour)) if 0 < hour <= HOUR_MASK else None

    def minutes_left(self, contract: Contract) -> int:
        """Whole minutes of the hour that are still to come, 60 before it begins; 0 or less: none."""
        left = ((contract.hour + 1) * MS_PER_HOUR - self.time_ms) // 60_000
        return left if left < 60 else 60

    def takes_orders(self, contract: Contract) -> bool:
        """Whether orders may enter: forward, or running with a minute left."""
        return contract.forward or (self.version > 1 and not contract.closed and self.minutes_left(contract) > 0)

    def resting(self, number: int) -> Order | None:
        """The order or block of this id, where it rests."""
        order = self.orders.get(key_of(number))
        return order if order is not None and order.order == number else None

    def young(self, known: Order) -> bool:
        """Whether its client id is in use whatever became of it."""
        return self.time_ms - known.accepted_ms < CLIENT_ID_MS

    def remembers(self, known: Order) -> bool:
        """Whether its client id is in use."""
        return self.young(known) or known.level is not None

    def enter(self, order: Order, account: Account) -> None:
        """It rests from here on: among all, and among its account's."""
        self.orders[key_of(order.order)] = order
        account.open_orders += 1
        last = account.last_order
        order.older = last
        if last is not None:
            last.newer = order
        account.last_order = order

    def end(self, order: Order, account: Account) -> None:
        """It rests no more, and will not again."""
        self.leave(order, account)
        self.forget_client_id(order, account)

    def forget_client_id(self, order: Order, account: Account) -> None:
        """The client id of an order that has ended goes when its window is over."""
        if not self.young(order) and order.client_id:
            del account.client_ids[order.client_id]

    def leave(self, order: Order, account: Account) -> None:
        """It stands no more among those that rest."""
        del self.orders[key_of(order.order)]
        account.open_orders -= 1
        older, newer = order.older, order.newer
        if older is not None:
            older.newer = newer
        if newer is not None:
            newer.older = older
        else:
            account.last_order = older
        order.older = order.newer = None
        if order.expires_ms:
            self.due_dead += 1

    def cancel_resting(self, order: Order, account: Account, reason: int) -> None:
        """Take a resting order or block out of its book."""
        leaves, order.leaves = order.leaves, 0
        if type(order) is Block:
            self.leave_block_book(order, account)
            self.end(order, account)
            self.say_cancelled(order, leaves, reason)
            return
        contract = self.contracts[order.contract]
        if order.side == BUY:
            account.holds -= order.hold
            order.hold = 0
            contract.bids.remove(order)
        else:
            assert order.position is not None
            order.position.open_asks -= leaves
            contract.asks.remove(order)
        self.end(order, account)
        self.say_cancelled(order, leaves, reason)

    def leave_block_book(self, block: Block, account: Account) -> None:
        """Its leaves are 0 now: nothing is held for it and nothing asked any more, and nobody looks for it."""
        assert block.leaves == 0
        account.blocks -= 1
        account.holds -= block.hold
        block.hold = 0
        for place, contract in enumerate(block.contracts):
            if block.side == BUY:
                contract.buy_blocks.remove(block)
            else:
                contract.sell_blocks.remove(block)
                block.positions[place].open_asks -= block.asked
        block.asked = 0
        key = (block.contract, block.hours)
        book = self.block_books[key]
        book.half(block.side).remove(block)
        if not book:
            del self.block_books[key]
        self.retries.pop(block.order, None)
        block.forget_hours()

    def recollateral(self, contract: Contract, account: Account, position: Position) -> None:
        """Collateral is what the account's promises in this contract ask for now."""
        if position.collateral or position.promised.qty or position.ready.qty:
            due = position.collateral_due(contract.listed.spec.fees.buyer_taker)
            account.collateral += due - position.collateral
            position.collateral = due

    # --- moments -----------------------------------------------------------------------------------------

    def plan(self, when_ms: Millis, kind: int, a: int, b: int) -> None:
        """Something happens at `when_ms`."""
        heappush(self.due, (when_ms, kind, a, b))
        if self.due_dead > _DUE_MIN and 2 * self.due_dead > len(self.due):
            self.due = [moment for moment in self.due if self.still_due(*moment)]
            heapify(self.due)
            self.due_dead = 0

    def still_due(self, when_ms: Millis, kind: int, a: int, b: int) -> bool:
        """Whether a moment still means something: expiries outlive their orders, and switches are set anew."""
        if kind == EXPIRED:
            return self.resting(a) is not None
        if kind == DEAD_MAN:
            return self.accounts[a].dead_ms == when_ms
        if kind == STATE:
            contract = self.contracts.get(contract_of(a, b)) if b else None
            target: Contract | Listed | None = contract if b else self.classes[a]
            return target is not None and target.next_ms == when_ms
        return True

    # --- views -------------------------------------------------------------------------------------------

    def balances(self) -> dict[int, Micros]:
        """account -> trading balance, holds and collateral included."""
        return {number: account.cash for number, account in self.accounts.items()}

    def holds(self) -> dict[int, Micros]:
        """account -> cash held for resting bids and buy blocks."""
        return {number: account.holds for number, account in self.accounts.items()}

    def collaterals(self) -> dict[int, Micros]:
        """account -> cash held for promises."""
        return {number: account.collateral for number, account in self.accounts.items()}

    def escrows(self) -> dict[int, Micros]:
        """contract -> escrow of its titles."""
        return {number: contract.register.escrow for number, contract in self.contracts.items()}

    def positions(self) -> dict[tuple[int, int], tuple[Gpus, Gpus]]:
        """(account, contract) -> (held, owed), running titles included, where either is not 0."""
        found = {}
        for number, contract in self.contracts.items():
            for account, position in contract.register.positions.items():
                held = position.held.qty + position.running.qty
                owed = position.owed_qty() + position.ready.owed_qty
                if held or owed:
                    found[account, number] = (held, owed)
        return found

    def open_orders(self) -> Iterator[tuple[int, int, int, int, Gpus, Price]]:
        """(order, account, contract, side, leaves, price) of each resting order; of a block its first contract."""
        for o in self.orders.values():
            yield o.order, o.account, o.contract, o.side, o.leaves, o.price

    def resting_count(self) -> int:
        """How many orders and blocks rest."""
        return len(self.orders)


def _by_client_id() -> dict[str, Order]:
    """An empty dict that has had a key which is no text.

    CPython keeps hashes beside the keys of such a dict; in one of texts alone it reads the texts themselves to see that they
    are others, each from somewhere else in memory. Asking whether a client id is new takes a tenth less.
    """
    ids: dict[Any, Any] = {0: None}
    del ids[0]
    return ids


def _number(order: Order) -> int:
    return order.order


def hold_of(listed: Listed, price: Price, leaves: Gpus) -> Micros:
    """`units.bid_hold`, written out: the hottest line of the engine."""
    cash = price * leaves
    return cash + cash * listed.bid_bp_max // BP + leaves // listed.lot


def hold_of_block(listed: Listed, price: Price, leaves: Gpus, hours: int) -> Micros:
    """The same over all hours of a buy block: 1 µUSD per lot and hour for the rounding up of fees."""
    cash = price * leaves * hours
    return cash + cash * listed.bid_bp_max // BP + hours * (leaves // listed.lot)
