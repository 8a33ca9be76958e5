"""What must hold after every record: the invariants that a shard can see, and what a reader of its events must find. Pure.

M2 M3 M4 money · C1 C2 C3 C5 C6 hours · B1 B4 B6 B9 the book · O1 quantities. B2, B3, B7, B8 and C3 of each trade are asserted
where it happens (naive_matching, naive_blocks), O3 where a command is done (naive_engine).
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas import events as ev
from schemas.commands import Flag, Ground, Side, State
from schemas.events import Event
from schemas.units import fee
from tests.reference.naive_matching import meets
from tests.reference.naive_shard import (
    COLLATERALISED,
    Block,
    Contract,
    Order,
    Phase,
    Shard,
    ask_rank,
    bid_rank,
)


def check(shard: Shard) -> None:
    """Raises AssertionError."""
    cash = sum(account.cash for account in shard.accounts.values())
    escrow = sum(contract.titles.escrow() for contract in shard.contracts.values())
    assert cash + escrow == shard.paid_in - shard.paid_out, "M2: money from nowhere"
    for account in shard.accounts:
        assert shard.available(account) >= 0, f"M3: account {account}"
    for order in shard.all_resting():
        assert order.side == Side.SELL or shard.hold(order) >= _worst_case(shard, order), f"M4: {order}"
    numbers = [order.number for order in shard.all_resting()]
    assert len(numbers) == len(set(numbers)), "B6: an order rests twice"
    for contract in shard.contracts.values():
        contract.titles.check()
        _check_grounds(shard, contract)
        _check_book(shard, contract)
    for block in shard.blocks:
        _check_block(shard, block)
    assert len({id(block) for block in shard.retries}) == len(shard.retries), "a block waits twice"


def _worst_case(shard: Shard, order: Order | Block) -> int:
    """M4: a bid filled lot by lot at its limit, each fee rounded up."""
    lot = shard.rules(order.contract).lot
    cash, hours = order.price * lot, order.hours if isinstance(order, Block) else 1
    return (order.leaves // lot) * hours * (cash + fee(cash, max(order.maker_bp, order.taker_bp)))


def _check_grounds(shard: Shard, contract: Contract) -> None:
    number, titles = contract.number, contract.titles
    for title in titles.owing + titles.running:
        assert (title.obligor, number, title.ground) in shard.backings, f"{title} without backing"
    for account in titles.owes(Ground.PROMISED):
        price = shard.backing(account, number, Ground.PROMISED).collateral_price
        assert price > 0, f"C5: account {account} owes in {number} without collateral"
    for (account, its, ground), backing in shard.backings.items():
        if its != number:
            continue
        unsold = backing.qty - titles.owed(account, ground)
        if not contract.gate_open and ground != Ground.READY:
            assert backing.qty == 0, f"{ground} of account {account} outlives the gate of {number}"
        if contract.running_closed:
            assert unsold <= 0, f"{ground} of account {account} outlives the running phase of {number}"
        if ground in COLLATERALISED:
            assert backing.qty >= 0
            assert backing.collateral_price >= 0


def _check_book(shard: Shard, contract: Contract) -> None:
    number, bids, asks = contract.number, contract.books[Side.BUY], contract.books[Side.SELL]
    if not bids and not asks:
        return
    assert not bids or not asks or bids[0].price < asks[0].price, f"B1: {number} is crossed"
    assert bids == sorted(bids, key=bid_rank), f"B4: bids of {number} are out of order"
    assert asks == sorted(asks, key=ask_rank), f"B4: asks of {number} are out of order"
    arrivals = [order.arrival for order in contract.resting]
    assert len(arrivals) == len(set(arrivals)), f"B4: {number} has two orders in one place"
    assert contract.gate_open or not bids, f"C3: {number} has bids after its gate"
    assert not contract.running_closed, f"C3: {number} has orders after its end"
    assert all(order.leaves > 0 for order in contract.resting), f"O1: {number} has an empty order"
    assert all(order.side == Side.SELL for order in contract.resting if order.flags & Flag.RUNNING)
    for account in {order.account for order in asks}:
        assert shard.open_asks(account, number) <= shard.capacity(account, number), f"C2: account {account}"


def _check_block(shard: Shard, block: Block) -> None:
    assert 0 < block.leaves <= block.qty, f"O1: {block}"
    assert all(shard.phase(contract) == Phase.FORWARD for contract in block.contracts), f"C3: {block}"
    if block.side == Side.SELL:
        for contract in block.contracts:
            open_asks, capacity = shard.open_asks(block.account, contract), shard.capacity(block.account, contract)
            assert open_asks <= capacity, f"C2: account {block.account}"
        return
    for sell in shard.blocks:
        if sell.side == Side.SELL and sell.range == block.range and _could_trade(shard, block, sell):
            assert not meets(Side.BUY, block.price, sell.price), f"B9: {block} and {sell} cross"


def _could_trade(shard: Shard, block: Block, other: Block) -> bool:
    """Two blocks that no minimum, no owner, no state and no bound of retries keeps from each other."""
    lot = shard.rules(block.contract).lot
    return (
        block.qty_min == other.qty_min == lot
        and not shard.same_owner(block.account, other.account)
        and all(shard.state(contract) == State.OPEN for contract in block.contracts)
        and not any(its is waiting for its in (block, other) for waiting in shard.retries)
    )


class Diary:
    """What is open, as a reader of the events alone knows it (O1): fills + leaves + cancelled = quantity."""

    def __init__(self) -> None:
        self._leaves: dict[int, int] = {}
        """Order or block → what is open of it."""
        self._blocks: set[int] = set()

    def compare(self, shard: Shard) -> None:
        """Raises AssertionError where the events tell another story than the state."""
        open_now = {order.number: order.leaves for order in shard.all_resting()}
        told = {number: leaves for number, leaves in self._leaves.items() if leaves}
        assert told == open_now, f"O1: told {told}, there are {open_now}"

    def read(self, events: Iterable[Event]) -> None:
        """The events of one record, in order."""
        for event in events:
            match event:
                case ev.OrderAccepted():
                    self._leaves[event.order] = event.qty
                case ev.BlockAccepted():
                    self._leaves[event.order] = event.qty
                    self._blocks.add(event.order)
                case ev.RangeAccepted():
                    self._leaves.update({leg.order: event.qty for leg in event.legs if leg.order})
                case ev.QuotesPut():
                    self._quotes(event)
                case ev.OrderAmended():
                    assert event.order in self._leaves, event
                    self._leaves[event.order] = event.qty
                case ev.Filled():
                    self._fill(event.maker_order, event.qty, event.maker_leaves)
                    self._fill(event.taker_order, event.qty, event.taker_leaves)
                case ev.BlockFilled():
                    assert self._leaves[event.order] == event.qty + event.leaves, f"O1: {event}"
                    self._leaves[event.order] = event.leaves
                case ev.OrderCancelled():
                    left = self._leaves.pop(event.order)
                    assert left == event.qty, f"O1: {left} of {event}"
                case _:
                    pass
        self._leaves = {number: leaves for number, leaves in self._leaves.items() if leaves}

    def _quotes(self, put: ev.QuotesPut) -> None:
        for its in put.outcomes:
            for number, qty in ((its.bid_order, its.bid_qty), (its.ask_order, its.ask_qty)):
                assert bool(number) == bool(qty), f"an order without a size, or a size without an order: {its}"
                assert qty <= self._leaves.get(number, qty), f"a kept side grew: {its}"
                if number:
                    self._leaves[number] = qty

    def _fill(self, order: int, qty: int, leaves: int) -> None:
        if order == 0 or order in self._blocks:
            return  # the exchange buys in; or the block's own event follows
        assert self._leaves[order] == qty + leaves, f"O1: order {order}"
        self._leaves[order] = leaves
