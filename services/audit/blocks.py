"""Blocks: what they trade, hour by hour, and when they try again. B2 on average, B3, B7, B8, B9. Pure.

Each time that a block may trade, its plan is worked out from the books (`plans`) and held against what it did. A block may trade
when it arrives, and when it is retried: the queue of retries is kept as docs/engine.md says, so that a block that was
passed over is seen, and one that pushes in.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from schemas import events as ev
from schemas.commands import Side, Tif
from schemas.ids import format_order
from schemas.units import Gpus
from services.audit.books import Books
from services.audit.market import Block, Market
from services.audit.moments import Moments
from services.audit.plans import Step, plan_of

RETRIES_MAX = 64
"""Per record."""


class Trade(Struct):
    """A block's trade under way."""

    qty: Gpus
    cash: int = 0
    done: dict[int, Gpus] = field(default_factory=dict)
    """contract -> GPUs."""
    other: int = 0
    """The block on the other side; 0: hour orders."""


class Attempt(Struct):
    """A block that may trade now."""

    block: Block
    wanted: Gpus
    """It trades at least this much, or nothing."""
    plan: list[Step]
    did: list[Step] = field(default_factory=list)


class Blocks:
    """Every block of a shard."""

    def __init__(self, market: Market, books: Books, moments: Moments) -> None:
        self.market = market
        self.found = market.found
        self._books = books
        self._moments = moments
        self._queue: list[int] = []
        self._retries = 0
        """Of this record."""
        self._trades: dict[int, Trade] = {}
        self._attempt: Attempt | None = None
        self._touched: dict[int, Block] = {}
        """Blocks that came to rest or were retried since the last outcome."""
        self._stirred: set[int] = set()
        """Blocks that came to rest or were filled since blocks last joined the queue."""

    # --- accepted, traded, cancelled -------------------------------------------------------------------

    def accepted(self, event: ev.BlockAccepted) -> None:
        """A newcomer."""
        market, name = self.market, format_order(event.order)
        self.found.expect("B6", event.order not in market.blocks, f"{name} accepted twice")
        market.owner(event.account)
        self._books.use_client_id(event.account, event.client_id, event.order)
        block = Block(
            event.order,
            event.account,
            event.class_no,
            event.first_hour,
            event.hours,
            event.side,
            event.qty,
            event.qty_min,
            event.price,
            event.tif,
            event.maker_bp,
            event.taker_bp,
            event.qty,
            event.expires_ms,
        )
        for contract in block.contracts:
            self._moments.check_forward(contract, f"{name} accepted")
            market.concerned.add((event.account, contract))
        self._books.check_rates(event.class_no, block)
        market.blocks[event.order] = block
        market.entering[event.order] = block
        self._moments.expires(block)
        self._try(block)

    def _try(self, block: Block) -> None:
        self._check_attempt()
        self._attempt = Attempt(block, min(block.qty_min, block.leaves), plan_of(self.market, block))

    def is_trying(self, number: int) -> bool:
        """Its fills are those of an attempt under way."""
        return self._attempt is not None and self._attempt.block.order == number

    def may_take(self, block: Block) -> bool:
        """It has just arrived, or it is retried now: the queue is gone through up to it."""
        if self.is_trying(block.order):
            return True
        if block.order in self.market.entering:
            return False
        self._check_attempt()
        while self._queue and self._retries < RETRIES_MAX:
            first = self._next()
            if first is block:
                return True
            self._check_attempt()
        return False

    def _next(self) -> Block:
        """The first of the queue is retried."""
        block = self.market.blocks[self._queue.pop(0)]
        self._retries += 1
        self._touched[block.order] = block
        self._try(block)
        return block

    def filled(self, event: ev.Filled, block: Block, leaves: Gpus, other: int) -> None:
        """One fill of a block: the same quantity in each hour, and the fill says how much is still to come in this one."""
        name = f"trade {event.trade}, block {format_order(block.order)}"
        trade = self._trades.setdefault(block.order, Trade(event.qty + leaves, other=other))
        before = trade.done.get(event.contract, 0)
        trade.done[event.contract] = before + event.qty
        trade.cash += event.price * event.qty
        fits = event.contract in block.contracts and before + event.qty + leaves == trade.qty and other == trade.other
        self.found.expect("B8", fits, f"{name}: {event.qty}, with {leaves} to come, after {before} of {trade.qty}")
        self.found.expect("O1", trade.qty <= block.leaves, f"{name}: {trade.qty} of {block.leaves}")

    def block_filled(self, event: ev.BlockFilled) -> None:
        """All hours have it, at an average within the limit."""
        name, market = format_order(event.order), self.market
        block = market.blocks.get(event.order)
        trade = self._trades.pop(event.order, None)
        self.found.saw("B8", "block trades")
        if block is None or trade is None:
            self.found.expect("B8", False, f"{event}: {name} has traded in none of its hours")
            return
        even = all(trade.done.get(contract, 0) == event.qty for contract in block.contracts)
        self.found.expect("B8", even and event.qty > 0, f"{name} trades {event.qty}, hour by hour {trade.done}")
        said = (event.account, event.class_no, event.first_hour, event.hours, event.average_price_num)
        known = (block.account, *block.range, trade.cash)
        self.found.expect("B8", said == known, f"{event}: {name} is {known}")
        limit = block.price * event.qty * block.hours
        within = trade.cash <= limit if block.side == Side.BUY else trade.cash >= limit
        self.found.expect("B2", within, f"{name} trades for {trade.cash}, beyond its limit {limit}")
        attempt = self._attempt
        if attempt is not None and attempt.block is block:
            attempt.did.append((trade.other, event.qty))
        else:
            enough = event.qty >= min(block.qty_min, block.leaves)
            self.found.expect("B8", enough, f"{name} trades {event.qty}, less than its minimum {block.qty_min}")
        block.filled += event.qty
        block.leaves -= event.qty
        self._stirred.add(block.order)
        self.found.saw("O1", "blocks")
        self.found.expect("O1", block.leaves == event.leaves, f"{name}: leaves {event.leaves}, due {block.leaves}")
        self._books.check_quantities(block)
        market.concerned |= {(block.account, contract) for contract in block.contracts}
        if block.leaves == 0:
            self._gone(block)

    def cancelled(self, event: ev.OrderCancelled, block: Block) -> None:
        """The rest of it, in all its hours."""
        self._moments.cancelled_in_time(event, block)
        self.found.saw("O1", "blocks")
        block.cancelled += event.qty
        block.leaves -= event.qty
        self._books.check_quantities(block)
        whose = (event.account, event.contract) == (block.account, block.contracts[0])
        breach = f"{format_order(block.order)} cancelled with {block.leaves} left: {event}"
        self.found.expect("O1", whose and block.leaves == 0, breach)
        self._gone(block)

    def rest(self, block: Block) -> None:
        """What is left of a newcomer."""
        stays = block.tif in (Tif.GTC, Tif.GTD)
        self.found.expect("O1", stays, f"{format_order(block.order)} rests, and is no GTC or GTD block")
        self.market.resting_blocks[block.range][block.order] = block
        self.market.blocks_of[block.account][block.order] = block
        self._touched[block.order] = block
        self._stirred.add(block.order)

    def _gone(self, block: Block) -> None:
        market = self.market
        market.resting_blocks[block.range].pop(block.order, None)
        market.blocks_of[block.account].pop(block.order, None)
        if block.order in self._queue:
            self._queue.remove(block.order)

    # --- retries ---------------------------------------------------------------------------------------

    def record_begins(self) -> None:
        """The bound is one of a record."""
        self._retries = 0

    def effects_ended(self, came_to_rest: Iterable[tuple[int, int]], opened: Iterable[int]) -> None:
        """What is left of newcomers rests; whom it may concern joins the queue."""
        self._check_attempt()
        rests, opens = set(came_to_rest), set(opened)
        stirred, self._stirred = self._stirred, set()
        if not rests and not opens and not stirred:
            return
        joining = [
            block
            for of_range in self.market.resting_blocks.values()
            for block in of_range.values()
            if block.order not in self._queue
            and (
                any((contract, 3 - block.side) in rests or contract in opens for contract in block.contracts)
                or any(block.order in stirred or other.order in stirred for other in self._crossed(block))
            )
        ]
        buys = sorted((b for b in joining if b.side == Side.BUY), key=lambda b: (-b.price, b.order))
        sells = sorted((b for b in joining if b.side == Side.SELL), key=lambda b: (b.price, b.order))
        self._queue += [block.order for block in (*buys, *sells)]

    def command_ended(self) -> None:
        """Whoever is still in the queue has been retried, as far as the record's bound goes, and had nothing to trade."""
        while self._queue and self._retries < RETRIES_MAX:
            self._next()
            self._check_attempt()
        touched, self._touched = self._touched, {}
        for block in touched.values():
            if block.order in self.market.resting_blocks[block.range]:
                self._check_crossed(block)

    def _crossed(self, block: Block) -> list[Block]:
        """Resting blocks of its range whose limits it meets."""
        sign = 1 if block.side == Side.BUY else -1
        resting = self.market.resting_blocks[block.range].values()
        return [o for o in resting if o.side != block.side and sign * o.price <= sign * block.price]

    def _check_attempt(self) -> None:
        """B2: a block did what the books gave it, no better and no worse. B8: at least its minimum, or nothing."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        name = format_order(attempt.block.order)
        self.found.expect("B2", attempt.did == attempt.plan, f"{name} did {attempt.did}, the books give {attempt.plan}")
        total = sum(qty for _, qty in attempt.did)
        enough = not total or total >= attempt.wanted
        self.found.expect("B8", enough, f"{name} trades {total}, at least {attempt.wanted} was wanted")

    def _check_crossed(self, block: Block) -> None:
        """B9: one that has come, or was retried, waits beside one that it crosses only where it can trade with nobody now.

        What holds them apart is a minimum that hour orders leave too little for, or a state.
        """
        market = self.market
        self.found.saw("B9", "blocks")
        crossed = [o for o in self._crossed(block) if market.owner(o.account) != market.owner(block.account)]
        apart = not crossed or block.order in self._queue or not plan_of(market, block)
        names = ", ".join(format_order(other.order) for other in crossed)
        self.found.expect("B9", apart, f"{format_order(block.order)} at {block.price} rests and crosses {names}")
