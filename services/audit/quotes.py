"""A market maker's quotes: per hour all or nothing, numbered, sizes are open quantity. O1, O3, M6. Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Flag, PutQuotes, QuoteHour, Side, Tif
from schemas.ids import class_no_of, contract_of, format_order, order_id
from services.audit.books import Books
from services.audit.market import Market, Order
from services.audit.moments import Moments


class Quotes:
    """Of all accounts of a shard."""

    def __init__(self, market: Market, books: Books, moments: Moments) -> None:
        self.market = market
        self.found = market.found
        self._books = books
        self._moments = moments
        self._sides: dict[tuple[int, int, int], int] = {}
        """(account, contract, side) -> the order of the last quote."""
        self._must_go: list[int] = []
        """Orders of former quotes that something else has taken the place of: a cancellation each follows."""

    def put(self, event: ev.QuotesPut) -> None:
        """Hour by hour: what it says is open is open, and all else of the account's former quote there goes."""
        market = self.market
        key = (event.account, event.class_no)
        last = market.quotes.get(key)
        rises = last is None or event.number > last.number
        self.found.expect("O3", rises, f"quotes number {event.number} of account {event.account} after {last}")
        market.quotes[key] = event
        command = market.commands[event.index] if event.index < len(market.commands) else None
        asked = command.quotes if isinstance(command, PutQuotes) else ()
        hours = [outcome.hour for outcome in event.outcomes]
        self.found.expect("O3", hours == [one.hour for one in asked], f"outcomes for hours {hours}, asked were {asked}")
        for place, (outcome, wanted) in enumerate(zip(event.outcomes, asked, strict=False)):
            self.found.saw("O1", "quotes")
            contract = contract_of(event.class_no, outcome.hour)
            said = {Side.BUY: (outcome.bid_order, outcome.bid, outcome.bid_qty)}
            said[Side.SELL] = (outcome.ask_order, outcome.ask, outcome.ask_qty)
            self._check_asked(outcome, wanted)
            if not outcome.code:
                self._moments.check_forward(contract, f"quotes of account {event.account}")
            for side, (number, price, qty) in said.items():
                due = order_id(market.shard, market.offset, event.index, 2 * place + (side == Side.SELL))
                self._side(event, contract, side, number, due, price, qty)
            market.touched.add(contract)
            market.concerned.add((event.account, contract))

    def _check_asked(self, outcome: ev.QuoteOutcome, wanted: QuoteHour) -> None:
        """All of the hour as it was asked, or a code and nothing."""
        said = ((outcome.bid_order, outcome.bid, outcome.bid_qty), (outcome.ask_order, outcome.ask, outcome.ask_qty))
        if outcome.code:
            self.found.expect("O3", said == ((0, 0, 0),) * 2, f"{outcome} is refused, and open")
            return
        asked = ((wanted.bid, wanted.bid_qty), (wanted.ask, wanted.ask_qty))
        due = tuple((price, qty) if qty else (0, 0) for price, qty in asked)
        fits = tuple((price, qty) for _, price, qty in said) == due
        ids = all((order != 0) == (qty != 0) for order, _, qty in said)
        self.found.expect("O3", fits and ids, f"{outcome}: asked was {wanted}")

    def _side(self, event: ev.QuotesPut, contract: int, side: int, number: int, due: int, price: int, qty: int) -> None:
        market, key = self.market, (event.account, contract, side)
        former = self._sides.pop(key, 0)
        if former and number != former and former in market.resting[contract]:
            self._must_go.append(former)
        if not number:
            return
        self._sides[key] = number
        if number == former:
            order = market.order(number)
            kept = number in market.resting[contract] and order.price == price and qty <= order.leaves
            self.found.expect("O3", kept, f"{format_order(number)} is kept at {price}, {qty}, and is {order}")
            self._books.resize(order, qty)
            return
        self.found.expect("O3", number == due, f"quote {format_order(number)}, due is {format_order(due)}")
        self.found.expect("B6", number not in market.orders, f"{format_order(number)} accepted twice")
        fees = market.spec(contract).fees
        maker, taker = (event.bid_bp, fees.buyer_taker) if side == Side.BUY else (event.ask_bp, fees.seller_taker)
        account = event.account
        order = Order(
            number, account, contract, side, qty, price, Tif.GTC, Flag.POST_ONLY, maker, taker, qty, quote=True
        )
        self._books.check_rates(class_no_of(contract), order)
        market.orders[number] = order
        self._books.rest(order)

    def command_ended(self) -> None:
        """A price that its maker no longer wants never trades."""
        gone, self._must_go = self._must_go, []
        for number in gone:
            order = self.market.order(number)
            self.found.expect("O3", order.leaves == 0, f"{format_order(number)} of a former quote rests")
