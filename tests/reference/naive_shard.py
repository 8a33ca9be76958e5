"""What a shard knows, and what can be counted from it: the state of the naive engine.

No sum is kept: holds, collateral, capacity and positions are counted again whenever somebody asks. Pure.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import NamedTuple

from sortedcontainers import SortedList

from schemas.commands import Ground, PlaceOrder, SetClass, Side, StartShard, State
from schemas.events import Code, Event, OrderCancelled, Reason
from schemas.ids import class_no_of
from schemas.units import BP, Gpus, Hour, Micros, Millis, Price, bid_hold, promise_collateral
from tests.reference.naive_titles import FORWARD, Numbers, Titles


class Refusal(NamedTuple):
    """Why a command changes nothing."""

    code: Code
    need: int = 0
    have: int = 0


class Moment(NamedTuple):
    """Something that time alone brings about. Moments happen in the order of their fields."""

    due_ms: Millis
    kind: int
    class_no: int
    hour: Hour


@dataclass
class Account:
    owner: int
    role: int
    cash: Micros = 0


@dataclass
class Class:
    rules: SetClass
    state: int = State.OPEN


@dataclass
class Backing:
    qty: Gpus = 0
    collateral_price: Price = 0
    version: int = 0


@dataclass(eq=False)
class Order:
    number: int
    """Numbers rise in the order of arrival."""
    body: PlaceOrder
    leaves: Gpus
    maker_bp: int
    taker_bp: int
    accepted_ms: Millis


def bid_rank(order: Order) -> tuple[int, int]:
    """The highest bid is the best one, the oldest of a price comes first."""
    return -order.body.price, order.number


def ask_rank(order: Order) -> tuple[int, int]:
    """The lowest ask is the best one, the oldest of a price comes first."""
    return order.body.price, order.number


class Contract:
    """One book and its titles."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state: int = State.OPEN
        self.gate_open = True
        self.books: dict[Side, list[Order]] = {Side.BUY: [], Side.SELL: []}
        """Resting orders of a side, best first."""
        self.titles = Titles()

    def rest(self, order: Order) -> None:
        if order.body.side == Side.BUY:
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
    time_ms: Millis
    offset: int = 0
    index: int = 0
    """The place of the command at hand in its frame."""
    events: list[Event] = field(default_factory=list)
    accounts: dict[int, Account] = field(default_factory=dict)
    classes: dict[int, Class] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    backings: dict[tuple[int, int, int], Backing] = field(default_factory=dict)
    """(account, contract, ground)."""
    moments: SortedList[Moment] = field(default_factory=SortedList)
    client_ids: dict[tuple[int, str], Order] = field(default_factory=dict)
    """(account, client id) → the last order accepted under it."""
    outbox: int = 0
    trades: Numbers = field(default_factory=Numbers)
    title_numbers: Numbers = field(default_factory=Numbers)
    paid_in: Micros = 0
    paid_out: Micros = 0
    """Swept, or moved to clearing with an ended hour."""

    # --- Orders --------------------------------------------------------------------------------------------

    def rules(self, contract: int) -> SetClass:
        return self.classes[class_no_of(contract)].rules

    def state(self, contract: int) -> int:
        """The stricter state of class and contract."""
        return max(self.classes[class_no_of(contract)].state, self.contracts[contract].state)

    def same_owner(self, one: int, two: int) -> bool:
        return self.accounts[one].owner == self.accounts[two].owner

    def rests(self, order: Order) -> bool:
        contract = self.contracts.get(order.body.contract)
        return contract is not None and order in contract.resting

    def orders(self) -> list[Order]:
        """All that rest."""
        return [order for contract in self.contracts.values() for book in contract.books.values() for order in book]

    def orders_of(self, account: int) -> list[Order]:
        return [order for order in self.orders() if order.body.account == account]

    def asks_of(self, account: int, contract: int) -> list[Order]:
        """Best first."""
        return [order for order in self.contracts[contract].books[Side.SELL] if order.body.account == account]

    def remove(self, order: Order, reason: Reason) -> None:
        """A resting order is cancelled."""
        self.contracts[order.body.contract].books[Side(order.body.side)].remove(order)
        self.cancelled(order, reason)

    def cancelled(self, order: Order, reason: Reason) -> None:
        """What is open of the order is gone."""
        body = order.body
        self.events.append(OrderCancelled(order.number, body.account, body.contract, order.leaves, reason))
        order.leaves = 0

    # --- Capacity ------------------------------------------------------------------------------------------

    def backing(self, account: int, contract: int, ground: int) -> Backing:
        return self.backings.get((account, contract, ground), Backing())

    def room(self, account: int, contract: int) -> dict[int, Gpus]:
        """What the account may still owe, by ground."""
        titles = self.contracts[contract].titles
        return {
            ground: max(0, self.backing(account, contract, ground).qty - titles.owed(account, ground))
            for ground in FORWARD
        }

    def capacity(self, account: int, contract: int) -> Gpus:
        """What open asks of the account may add up to."""
        return self.contracts[contract].titles.held(account) + sum(self.room(account, contract).values())

    def open_asks(self, account: int, contract: int) -> Gpus:
        return sum(order.leaves for order in self.asks_of(account, contract))

    # --- Money ---------------------------------------------------------------------------------------------

    def hold(self, order: Order) -> Micros:
        """Cash held for what is open of a bid."""
        lot = self.rules(order.body.contract).lot
        return bid_hold(order.body.price, order.leaves, lot, max(order.maker_bp, order.taker_bp))

    def holds(self, account: int) -> Micros:
        return sum(self.hold(order) for order in self.orders_of(account) if order.body.side == Side.BUY)

    def collateral_in(self, account: int, contract: int) -> Micros:
        """Cash held for the account's promises in one contract."""
        backing = self.backing(account, contract, Ground.PROMISED)
        owed = self.contracts[contract].titles.owed(account, Ground.PROMISED)
        rate = self.rules(contract).fees.buyer_taker
        return max(backing.qty, owed) * promise_collateral(backing.collateral_price, rate)

    def collateral(self, account: int) -> Micros:
        promised = [key for key in self.backings if key[0] == account and key[2] == Ground.PROMISED]
        return sum(self.collateral_in(account, contract) for _, contract, _ in promised)

    def available(self, account: int) -> Micros:
        return self.accounts[account].cash - self.holds(account) - self.collateral(account)


def collar(rules: SetClass) -> tuple[Price, Price]:
    """The lowest and the highest price of an order."""
    return -(-rules.list_price * rules.collar_low_bp // BP), rules.list_price * rules.collar_high_bp // BP
