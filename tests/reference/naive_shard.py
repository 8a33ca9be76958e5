"""What a shard knows, and what can be counted from it: the state of the naive engine.

No sum is kept: holds, collateral, capacity and positions are counted again whenever somebody asks. Pure.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from sortedcontainers import SortedList

from schemas.commands import CorrectCash, Ground, PlaceBlock, PlaceOrder, PlaceRange, SetClass, Side, StartShard, State
from schemas.events import Code, Event, OrderCancelled, Reason
from schemas.ids import class_no_of, contract_of, hour_of, order_id
from schemas.units import (
    BP,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    Gpus,
    Hour,
    Micros,
    Millis,
    Price,
    bid_hold,
    promise_collateral,
)
from tests.reference.naive_titles import FORWARD, Numbers, Titles

HOUR_MAX = 2**24
HOUR_ENDED, RUNNING_CLOSED, GATE_CLOSED, LISTED, COVER_DEADLINE, STATE, EXPIRED, DEAD_MAN = range(8)
"""Kinds of moments, in the order in which they happen when they are due together."""
COLLATERALISED = (Ground.PROMISED, Ground.READY)
"""Grounds on which cash stands behind what is sold; a provider's `READY` has a collateral price of 0."""


@dataclass
class Bounds:
    """How much there may be of something; part of the engine's version, and small where a test is to reach them."""

    open_orders_max: int = 100_000
    """Of an account, blocks included."""
    client_ids_max: int = 200_000
    """Of an account, in use."""
    blocks_max: int = 100
    """Of an account, resting."""
    blocks_over_hour_max: int = 256
    """Of one side, resting."""
    retries_max: int = 64
    """Of blocks, in a record."""


class Refusal(NamedTuple):
    """Why a command changes nothing."""

    code: Code
    need: int = 0
    have: int = 0


class Moment(NamedTuple):
    """Something that time alone brings about. Moments happen in the order of their fields."""

    due_ms: Millis
    kind: int
    a: int
    """Class, order or account."""
    b: int
    """Hour, or 0."""


class Phase(Enum):
    """Where a contract is in its life."""

    FORWARD = 1
    RUNNING = 2
    CLOSED = 3


@dataclass
class Account:
    owner: int
    role: int
    cash: Micros = 0
    dead_man_ms: Millis = 0
    """When all that rests of the account is cancelled; 0: never."""
    quotes: dict[int, int] = field(default_factory=dict)
    """Class → number of its last quotes."""


@dataclass
class Class:
    rules: SetClass
    reference: Price
    state: int = State.OPEN
    moved_ms: Millis | None = None
    """When the reference was moved, if ever."""


@dataclass
class Backing:
    qty: Gpus = 0
    collateral_price: Price = 0
    version: int = 0


@dataclass(eq=False)
class Order:
    number: int
    account: int
    contract: int
    side: int
    qty: Gpus
    """At acceptance."""
    price: Price
    """Of now: it can be amended."""
    leaves: Gpus
    tif: int
    flags: int
    maker_bp: int
    taker_bp: int
    arrival: int = 0
    """Its place in the queue, from when it came to rest: the lower one is the older one."""


@dataclass(eq=False)
class Block:
    number: int
    """Numbers rise in the order of arrival, and a block never loses its place."""
    account: int
    class_no: int
    first_hour: Hour
    hours: int
    side: int
    qty: Gpus
    qty_min: Gpus
    price: Price
    leaves: Gpus
    maker_bp: int
    taker_bp: int

    @property
    def range(self) -> tuple[int, Hour, int]:
        """Blocks of the same range trade with each other."""
        return self.class_no, self.first_hour, self.hours

    @property
    def contracts(self) -> list[int]:
        return [contract_of(self.class_no, self.first_hour + i) for i in range(self.hours)]

    @property
    def contract(self) -> int:
        """What events name."""
        return self.contracts[0]


@dataclass(eq=False)
class Named:
    """What an account called by a client id of its own."""

    body: PlaceOrder | PlaceRange | PlaceBlock
    number: int
    """The order's; of a range, its first leg's."""
    accepted_ms: Millis
    orders: list[Order | Block]
    """One, or the accepted legs of a range."""


def bid_rank(order: Order) -> tuple[int, int]:
    """The highest bid is the best one, the oldest of a price comes first."""
    return -order.price, order.arrival


def ask_rank(order: Order) -> tuple[int, int]:
    """The lowest ask is the best one, the oldest of a price comes first."""
    return order.price, order.arrival


class Contract:
    """One book and its titles."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state: int = State.OPEN
        self.reference: Price | None = None
        """Of the collar; None: the class's."""
        self.moved_ms: Millis | None = None
        self.gate_open = True
        self.running_closed = False
        self.books: dict[Side, list[Order]] = {Side.BUY: [], Side.SELL: []}
        """Resting orders of a side, best first."""
        self.quotes: dict[tuple[int, int], Order] = {}
        """(account, side) → the order of the account's last quote."""
        self.titles = Titles()

    def rest(self, order: Order) -> None:
        if order.side == Side.BUY:
            insort(self.books[Side.BUY], order, key=bid_rank)
        else:
            insort(self.books[Side.SELL], order, key=ask_rank)

    @property
    def resting(self) -> list[Order]:
        """Bids, then asks, best first."""
        return [*self.books[Side.BUY], *self.books[Side.SELL]]


@dataclass
class Shard:
    """Accounts, classes, contracts, and the events of the record at hand."""

    start: StartShard
    bounds: Bounds
    time_ms: Millis
    offset: int = 0
    index: int = 0
    """The place of the command at hand in its frame."""
    version: int = 0
    version_next: int = 0
    """From the next record on."""
    events: list[Event] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    classes: dict[int, Class] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    """Those that rest, oldest first."""
    backings: dict[tuple[int, int, int], Backing] = field(default_factory=dict)
    """(account, contract, ground)."""
    moments: SortedList[Moment] = field(default_factory=SortedList)
    client_ids: dict[tuple[int, str], Named] = field(default_factory=dict)
    """(account, client id) → what was last accepted under it."""
    corrections: list[CorrectCash] = field(default_factory=list)
    """Those that were made."""
    outbox: int = 0
    arrivals: Numbers = field(default_factory=Numbers)
    trades: Numbers = field(default_factory=Numbers)
    title_numbers: Numbers = field(default_factory=Numbers)
    paid_in: Micros = 0
    paid_out: Micros = 0
    """Swept, or moved to clearing with an ended hour."""

    # --- Which blocks are worth another try ------------------------------------------------------------------

    came_to_rest: set[tuple[int, int]] = field(default_factory=set)
    """(contract, side) of orders that came to rest since blocks were last asked."""
    were_open: set[int] = field(default_factory=set)
    """Contracts whose state was open then."""
    stirred: list[Block] = field(default_factory=list)
    """Those that came to rest or were filled since then."""
    retries: list[Block] = field(default_factory=list)
    retries_made: int = 0
    """In the record at hand."""

    # --- Contracts -----------------------------------------------------------------------------------------

    def rules(self, contract: int) -> SetClass:
        return self.classes[class_no_of(contract)].rules

    def state(self, contract: int) -> int:
        """The stricter state of class and contract."""
        return max(self.classes[class_no_of(contract)].state, self.contracts[contract].state)

    def minutes(self, contract: int) -> int:
        """Whole minutes left of the hour."""
        return min(60, ((hour_of(contract) + 1) * MS_PER_HOUR - self.time_ms) // MS_PER_MINUTE)

    def phase(self, contract: int) -> Phase:
        if self.contracts[contract].gate_open:
            return Phase.FORWARD
        if self.version == 1 or self.contracts[contract].running_closed or self.minutes(contract) < 1:
            return Phase.CLOSED
        return Phase.RUNNING

    def reference(self, contract: int) -> Price:
        own = self.contracts[contract].reference
        return self.classes[class_no_of(contract)].reference if own is None else own

    def collar(self, contract: int) -> tuple[Price, Price]:
        return collar(self.rules(contract), self.reference(contract))

    # --- Orders and blocks -----------------------------------------------------------------------------------

    def order_id(self, leg: int = 0) -> int:
        """Of the command at hand."""
        return order_id(self.start.shard, self.offset, self.index, leg)

    def same_owner(self, one: int, two: int) -> bool:
        return self.accounts[one].owner == self.accounts[two].owner

    def rests(self, order: Order | Block) -> bool:
        if isinstance(order, Block):
            return order in self.blocks
        contract = self.contracts.get(order.contract)
        return contract is not None and order in contract.resting

    def orders(self) -> list[Order]:
        """All that rest, without blocks."""
        return [order for contract in self.contracts.values() for book in contract.books.values() for order in book]

    def all_resting(self) -> list[Order | Block]:
        """Orders and blocks, by number."""
        return sorted([*self.orders(), *self.blocks], key=lambda order: order.number)

    def orders_of(self, account: int) -> list[Order]:
        return [order for order in self.orders() if order.account == account]

    def blocks_of(self, account: int) -> list[Block]:
        return [block for block in self.blocks if block.account == account]

    def open_orders(self, account: int) -> int:
        return len(self.orders_of(account)) + len(self.blocks_of(account))

    def asks_of(self, account: int, contract: int) -> list[Order]:
        """Best first."""
        return [order for order in self.contracts[contract].books[Side.SELL] if order.account == account]

    def sell_blocks_of(self, account: int, contract: int) -> list[Block]:
        """Those over the contract, oldest first."""
        return [block for block in self.blocks_of(account) if block.side == Side.SELL and contract in block.contracts]

    def rest(self, order: Order) -> None:
        """Last in the queue of its price."""
        order.arrival = self.arrivals.next()
        self.contracts[order.contract].rest(order)
        self.came_to_rest.add((order.contract, order.side))

    def take_out(self, order: Order | Block) -> None:
        """It rests no more."""
        if isinstance(order, Block):
            self.blocks.remove(order)
            self.retries = [block for block in self.retries if block is not order]
        else:
            self.contracts[order.contract].books[Side(order.side)].remove(order)

    def remove(self, order: Order | Block, reason: Reason) -> None:
        """A resting order is cancelled."""
        self.take_out(order)
        self.cancelled(order, reason)

    def cancelled(self, order: Order | Block, reason: Reason) -> None:
        """What is open of the order is gone."""
        self.events.append(OrderCancelled(order.number, order.account, order.contract, order.leaves, reason))
        order.leaves = 0

    # --- Capacity ------------------------------------------------------------------------------------------

    def backing(self, account: int, contract: int, ground: int) -> Backing:
        return self.backings.get((account, contract, ground), Backing())

    def room(self, account: int, contract: int) -> dict[int, Gpus]:
        """What the account may still owe, by ground."""
        titles = self.contracts[contract].titles
        return {
            ground: max(0, self.backing(account, contract, ground).qty - titles.owed(account, ground))
            for ground in (*FORWARD, Ground.READY)
        }

    def capacity(self, account: int, contract: int) -> Gpus:
        """What open asks of the account may add up to."""
        room = self.room(account, contract)
        if not self.contracts[contract].gate_open:
            return room[Ground.READY]
        return self.contracts[contract].titles.held(account) + sum(room[ground] for ground in FORWARD)

    def open_asks(self, account: int, contract: int) -> Gpus:
        asks = [*self.asks_of(account, contract), *self.sell_blocks_of(account, contract)]
        return sum(order.leaves for order in asks)

    def free(self, account: int, contract: int) -> Gpus:
        """What the account may offer beside what it offers."""
        return self.capacity(account, contract) - self.open_asks(account, contract)

    def cut_asks(self, account: int, contract: int) -> None:
        """Lowering: whole blocks and then whole asks go, from the worst rank, until the others are backed."""
        while self.open_asks(account, contract) > self.capacity(account, contract):
            blocks = self.sell_blocks_of(account, contract)
            if blocks:
                self.remove(max(blocks, key=lambda block: (block.price, block.number)), Reason.BACKING_LOWERED)
            else:
                self.remove(self.asks_of(account, contract)[-1], Reason.BACKING_LOWERED)

    # --- Money ---------------------------------------------------------------------------------------------

    def hold(self, order: Order | Block) -> Micros:
        """Cash held for what is open of a bid or buy block."""
        rate = max(order.maker_bp, order.taker_bp)
        lot = self.rules(order.contract).lot
        if isinstance(order, Block):
            return block_hold(order.price, order.leaves, order.hours, lot, rate)
        return bid_hold(order.price, order.leaves, lot, rate)

    def holds(self, account: int) -> Micros:
        bids = [order for order in [*self.orders_of(account), *self.blocks_of(account)] if order.side == Side.BUY]
        return sum(self.hold(order) for order in bids)

    def collateral_in(self, account: int, contract: int) -> Micros:
        """Cash held for the account's promises in one contract."""
        rate, titles = self.rules(contract).fees.buyer_taker, self.contracts[contract].titles
        backings = {ground: self.backing(account, contract, ground) for ground in COLLATERALISED}
        return sum(
            max(backing.qty, titles.owed(account, ground)) * promise_collateral(backing.collateral_price, rate)
            for ground, backing in backings.items()
        )

    def collateral(self, account: int) -> Micros:
        promised = {key[1] for key in self.backings if key[0] == account and key[2] in COLLATERALISED}
        return sum(self.collateral_in(account, contract) for contract in promised)

    def available(self, account: int) -> Micros:
        return self.accounts[account].cash - self.holds(account) - self.collateral(account)


def collar(rules: SetClass, reference: Price) -> tuple[Price, Price]:
    """The lowest and the highest price of an order."""
    return -(-reference * rules.collar_low_bp // BP), reference * rules.collar_high_bp // BP


def block_hold(price: Price, leaves: Gpus, hours: int, lot: Gpus, rate: int) -> Micros:
    """The same as of a bid in each hour, but that the average is not rounded hour by hour."""
    cash = price * leaves * hours
    return cash + cash * rate // BP + hours * leaves // lot
