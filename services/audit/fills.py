"""Trades: price, priority, parties, money. B2, B3, B4, B6, B7, M6, C3, D4. Pure."""

from __future__ import annotations

from msgspec import Struct

from schemas import events as ev
from schemas.commands import Ground, Side
from schemas.ids import format_order
from schemas.units import Gpus, Price
from services.audit.arithmetic import cash_of, fee_of
from services.audit.blocks import Blocks
from services.audit.books import Books
from services.audit.holdings import Holdings
from services.audit.market import Block, Contradiction, Market, Order
from services.audit.moments import Moments


class BuyIn(Struct):
    """The exchange buys in somebody's name, up to a limit: a taker without an order."""

    contract: int
    account: int
    leaves: Gpus
    price: Price
    taker_bp: int
    side: int = 1
    order: int = 0


Taker = Order | Block | BuyIn


class Fills:
    """Every trade of a shard."""

    def __init__(self, market: Market, books: Books, blocks: Blocks, holdings: Holdings, moments: Moments) -> None:
        self.market = market
        self.found = market.found
        self._books = books
        self._blocks = blocks
        self._holdings = holdings
        self._moments = moments
        self._buy_in: BuyIn | None = None

    def filled(self, event: ev.Filled) -> None:
        """One trade."""
        market = self.market
        maker, taker = self._maker(event.maker_order), self._taker(event)
        self._moments.check_trading(event.contract, f"trade {event.trade}")
        self._check_price(event, maker, taker)
        self._check_sides(event, maker, taker)
        self._check_money(event, maker, taker)
        for side, other, leaves in (
            (maker, taker, event.maker_leaves),
            (taker, maker, event.taker_leaves),
        ):
            self._traded(event, side, leaves, other.order if isinstance(other, Block) else 0)
        market.touched.add(event.contract)
        self.found.expect("D4", event.trade == market.trade_last + 1, f"trade {event.trade} after {market.trade_last}")
        market.trade_last = event.trade
        market.trades[event.trade] = event
        self._holdings.filled(event)
        # Looked at when the command has ended: what a block holds shrinks with its whole trade only.
        market.concerned.update(((event.buyer, event.contract), (event.seller, event.contract)))

    # --- who trades ------------------------------------------------------------------------------------

    def _maker(self, number: int) -> Order | Block:
        return self.market.blocks.get(number) or self.market.order(number)

    def _taker(self, event: ev.Filled) -> Taker:
        """B3: the newcomer, an order amended, a block whose turn it is, or the exchange that buys in."""
        market, name = self.market, f"trade {event.trade}"
        if event.taker_order == 0:
            if self._buy_in is None:
                raise Contradiction("C5", f"{name} is a buy-in, and there is none under way")
            return self._buy_in
        block = market.blocks.get(event.taker_order)
        if block is not None:
            turn = self._blocks.may_take(block)
            self.found.expect("B9", turn, f"{name}: it is not the turn of block {format_order(block.order)}")
            return block
        order = market.order(event.taker_order)
        newcomer = order.order in market.entering
        self.found.expect("B3", newcomer, f"{name}: {format_order(order.order)} is not the newcomer")
        return order

    def _traded(self, event: ev.Filled, side: Taker, leaves: Gpus, other: int) -> None:
        if isinstance(side, Block):
            self._blocks.filled(event, side, leaves, other)
        elif isinstance(side, Order):
            self._books.traded(side, event.qty, leaves)
        else:
            side.leaves -= event.qty
            self.found.expect("C5", side.leaves == leaves >= 0, f"trade {event.trade}: {leaves} are still to be bought")

    # --- at which price --------------------------------------------------------------------------------

    def _check_price(self, event: ev.Filled, maker: Order | Block, taker: Taker) -> None:
        name = f"trade {event.trade}"
        self.found.expect("B3", event.price == maker.price, f"{name} at {event.price}, maker at {maker.price}")
        if not isinstance(taker, Block):
            within = event.price <= taker.price if taker.side == Side.BUY else event.price >= taker.price
            self.found.expect("B2", within, f"{name} at {event.price} beyond the taker's {taker.price}")
        if isinstance(maker, Block):
            waits = maker.order in self.market.resting_blocks[maker.range]
            same = isinstance(taker, Block) and taker.range == maker.range
            self.found.expect("B6", waits and same, f"{name}: block {format_order(maker.order)} waits for others")
            return
        rivals = [o for o in self.market.resting[event.contract].values() if o.side == maker.side]
        better = (lambda o: o.price < maker.price) if maker.side == Side.SELL else (lambda o: o.price > maker.price)
        self.found.expect("B2", not any(map(better, rivals)), f"{name}: a better price was there")
        first = next((o for o in rivals if o.price == maker.price), None)
        self.found.expect("B4", first is maker, f"{name}: {format_order(maker.order)} was not the first in its level")

    def _check_sides(self, event: ev.Filled, maker: Order | Block, taker: Taker) -> None:
        name, market = f"trade {event.trade}", self.market
        owners = {market.owner(maker.account), market.owner(taker.account)}
        self.found.expect("B7", len(owners) == 2, f"{name}: both sides belong to owner {owners}")
        sides = (event.buyer, event.seller) if taker.side == Side.BUY else (event.seller, event.buyer)
        fits = sides == (taker.account, maker.account) and taker.side == event.taker_side != maker.side
        self.found.expect("B3", fits, f"{name}: buyer and seller do not fit the orders")
        books = all(
            event.contract in one.contracts if isinstance(one, Block) else event.contract == one.contract
            for one in (maker, taker)
        )
        self.found.expect("B6", books, f"{name} of contract {event.contract}: orders of other books meet")
        if market.phase.get(event.contract) == "running":
            self.found.expect("C3", taker.side == Side.BUY, f"{name}: an ask takes a bid in the running phase")

    def _check_money(self, event: ev.Filled, maker: Order | Block, taker: Taker) -> None:
        """M6, by the minutes that the hour still has."""
        name = f"trade {event.trade}"
        minutes = self.market.minutes(event.contract)
        cash = cash_of(event.price, event.qty, minutes)
        self.found.saw("M6", "trades")
        if self.market.phase.get(event.contract) == "running":
            self.found.saw("M6", "running trades")
        fits = (event.notional, event.minutes) == (cash, minutes)
        breach = f"{name}: {event.notional} for {event.minutes} minutes, should be {cash} for {minutes}"
        self.found.expect("M6", fits, breach)
        rates = (taker.taker_bp, maker.maker_bp) if taker.side == Side.BUY else (maker.maker_bp, taker.taker_bp)
        paid = ((event.buyer, event.buyer_fee), (event.seller, event.seller_fee))
        for (account, charged), rate in zip(paid, rates, strict=True):
            due = fee_of(cash, rate)
            self.found.expect("M6", charged == due, f"{name}: fee {charged} of account {account}, should be {due}")

    # --- the cover deadline ----------------------------------------------------------------------------

    def buy_in(self, event: ev.BuyIn) -> None:
        """C5: all that is owed as promised, up to what its collateral was reckoned with, and within the collar."""
        market, moments = self.market, self._moments
        promise = market.backing[event.account, event.contract, Ground.PROMISED]
        owed = market.owed[event.account, event.contract, Ground.PROMISED]
        _, cap = market.collar(event.contract)
        due = moments.by_time and moments.cover_due.get(event.contract, market.time_ms + 1) <= market.time_ms
        self.found.expect("C3", due, f"{event} at {market.time_ms}, due at {moments.cover_due.get(event.contract)}")
        self._moments.check_trading(event.contract, f"buy-in of account {event.account}")
        self.found.saw("C5", "buy-ins")
        fits = (event.qty, event.limit) == (owed, min(cap, promise.collateral_price)) and owed > 0
        self.found.expect(
            "C5", fits, f"{event}: {owed} are owed, cap {cap}, collateral price {promise.collateral_price}"
        )
        promise.qty = 0
        rate = market.spec(event.contract).fees.buyer_taker
        self._buy_in = BuyIn(event.contract, event.account, event.qty, event.limit, rate)
        market.concerned.add((event.account, event.contract))

    def buy_in_failed(self, event: ev.BuyInFailed) -> None:
        """C5: told is what is owed after all that could be bought was."""
        market = self.market
        key = (event.account, event.contract, Ground.PROMISED)
        market.backing[key].qty = 0
        owed = market.owed[key]
        self.found.saw("C5", "buy-ins")
        self.found.expect("C5", event.qty == owed > 0, f"{event}: {owed} are owed as promised")
        bought = self._buy_in
        if bought is not None and (bought.contract, bought.account) == (event.contract, event.account):
            left = market.rivals(event.contract, Side.SELL, bought.price)
            self.found.expect("C5", not left, f"{event}: {len(left)} asks within the limit were passed over")
        market.failed[event.contract, event.account] = event.qty

    def command_ended(self) -> None:
        """A buy-in is over with what time did."""
        self._buy_in = None
