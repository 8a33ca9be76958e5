"""Members who ask for more than one order at a time: ranges, blocks, quotes, amends, mass cancels, dead man's switches.

Like traders they look at nothing but what gateways answered; much of what they ask for is wrong, or comes too late.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from schemas import http
from schemas.edge import iso, iso_hour
from schemas.ids import parse_order
from schemas.units import MS_PER_HOUR, Hour, format_usd, parse_usd
from services.gateway.errors import ApiError
from services.gateway.wiring import Gateway
from tests.simulation.bank import MAKERS
from tests.simulation.members import ACCOUNTS, SELLERS, Member, Order, caller, is_open, wild
from tests.simulation.world import Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

DRAWS: Final = (
    *["range"] * 5,
    *["block"] * 6,
    *["quotes"] * 6,
    *["amend"] * 5,
    *["cancel"] * 2,
    *["mass cancel", "switch"],
)


class Dealer(Member):
    """Asks for any of the accounts."""

    def __init__(self, exchange: Exchange, name: str, pause_ms: int = 0) -> None:
        super().__init__(exchange, name, pause_ms)
        self._open: list[tuple[int, str, str, str]] = []
        """(account, order, price, client id) of what was left open, quotes and blocks included."""
        self._number = 0
        """Of the last quotes."""
        self._quoted: list[tuple[int, int, list[http.QuoteRequest]]] = []
        """(account, class, quotes) of the last ones: they are put again and again."""

    async def run(self) -> None:
        """Until the market closes; what is under way is asked to its end."""
        await Wait(self._world.now_ms + 120_000, self._exchange.opened)
        asks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "range": self._range,
            "block": self._block,
            "quotes": self._quotes,
            "amend": self._amend,
            "cancel": self._cancel,
            "mass cancel": self._mass_cancel,
            "switch": self._switch,
        }
        while self._exchange.open:
            await self._rest(100)
            self._drawn += 1
            await asks[self._chance.choice(DRAWS)]()

    # --- What is drawn -----------------------------------------------------------------------------------------

    def _hour(self) -> Hour:
        return self._exchange.market_ms() // MS_PER_HOUR + self._chance.choice([1, 1, 1, 1, 1, 2, 2, 2, 0])

    def _class(self) -> tuple[str, int, int, int]:
        class_no = self._chance.choice(list(self._exchange.classes))
        return (f"SIM.{class_no}", *self._exchange.classes[class_no])

    def _seller_or_buyer(self, side: str) -> int:
        return self._chance.choice(ACCOUNTS if side == "buy" or self._chance.random() < 0.1 else SELLERS)

    def _client_id(self) -> str:
        """Now and then one that stands for something already."""
        chance = self._chance
        if self._open and chance.random() < 0.08:
            return chance.choice(self._open)[3]
        return chance.choice(["", *[f"{self._name}-{self._drawn}"] * 20])

    def _dated(self, tif: str) -> str:
        return iso(self._exchange.market_ms() + self._chance.randint(1, 60) * 120_000) if tif == "gtd" else ""

    # --- Ranges and blocks -------------------------------------------------------------------------------------

    async def _range(self) -> None:
        chance = self._chance
        class_id, lot, tick, list_price = self._class()
        hours = sorted({self._hour() + chance.randint(0, 4) for _ in range(chance.randint(1, 4))})
        side: Literal["buy", "sell"] = chance.choice(["buy", "sell"])
        tif: Literal["gtc", "gtd", "ioc", "fok"] = chance.choice(["gtc", "gtc", "gtc", "gtd", "ioc", "fok"])
        body = http.RangeRequest(
            class_id=class_id,
            hours=tuple(iso_hour(hour) for hour in (hours if chance.random() < 0.9 else hours[::-1])),
            side=side,
            qty=chance.randint(1, 4) * lot,
            price=format_usd(wild(chance, list_price + chance.randint(-4, 4) * tick)),
            tif=tif,
            expires=self._dated(tif),
            post_only=tif in ("gtc", "gtd") and chance.random() < 0.2,
            running=side == "sell" and tif in ("gtc", "gtd") and chance.random() < 0.3,
            self_trade=chance.choice(["cancel_newest", "cancel_oldest"]),
            client_order_id=self._client_id(),
            valid_for_ms=chance.choice([1, *[max(1, 300_000 // self._exchange.rate)] * 20]),
        )
        account = self._seller_or_buyer(side)
        answer = await self._insist(
            "range ",
            Order(account, body),
            lambda gateway: gateway.ranges.place(caller(account), body),
            http.RangeAnswer,
        )
        for leg in answer.legs if answer is not None else ():
            if leg.order is not None:
                self._heard(account, leg.order.order_id, leg.order)

    async def _block(self) -> None:
        chance = self._chance
        class_id, lot, tick, list_price = self._class()
        side: Literal["buy", "sell"] = chance.choice(["buy", "buy", "sell"])
        tif: Literal["gtc", "gtd", "ioc", "fok"] = chance.choice(["gtc", "gtc", "gtc", "gtd", "ioc", "fok"])
        qty = chance.randint(1, 4)
        body = http.BlockRequest(
            class_id=class_id,
            from_hour=iso_hour(self._hour()),
            hours=chance.choice([1, 2, 2, 2, 3]),
            side=side,
            qty=qty * lot,
            min_qty=0 if tif == "fok" else chance.choice([0, lot, lot, qty * lot]),
            price=format_usd(wild(chance, list_price + chance.randint(-2, 6) * tick * (1 if side == "buy" else -1))),
            tif=tif,
            expires=self._dated(tif),
            client_order_id=self._client_id(),
            valid_for_ms=chance.choice([1, *[max(1, 300_000 // self._exchange.rate)] * 20]),
        )
        account = self._seller_or_buyer(side)
        answer = await self._insist(
            "block ",
            Order(account, body),
            lambda gateway: gateway.blocks.place(caller(account), body),
            http.BlockAnswer,
        )
        if answer is not None:
            self._heard(account, answer.block_id, answer)

    def _heard(self, account: int, order: str, answer: http.OrderAnswer | http.BlockAnswer) -> None:
        self._exchange.trades += [fill.trade for fill in answer.fills]
        if answer.state == "open":
            self._open.append((account, order, answer.price, answer.client_order_id))
            del self._open[:-60]

    # --- Quotes ------------------------------------------------------------------------------------------------

    async def _quotes(self) -> None:
        """Several hours of one class; the number may be an old one, or be left to the gateway."""
        chance = self._chance
        account, class_no, quotes = self._new_quotes()
        if self._quoted and chance.random() < 0.5:
            # The bids as they were, and other asks: some stay where they are, some have to go with a refusal.
            account, class_no, before = chance.choice(self._quoted)
            _, tick, list_price = self._exchange.classes[class_no]
            asks = [wild(chance, list_price + chance.randint(-1, 5) * tick, 0.15) for _ in before]
            quotes = [
                msgspec.structs.replace(quote, ask=format_usd(ask) if quote.ask_qty else "")
                for quote, ask in zip(before, asks, strict=True)
            ]
        class_id = f"SIM.{class_no}"
        self._number = max(self._number + chance.choice([1, 1, 1, 1, 0]), self._exchange.market_ms())
        number = chance.choice([None, self._number, self._number, max(0, self._number - 3_600_000)])
        body = http.QuotesRequest(tuple(quotes), number)
        answer = await self._line.ask(lambda gateway: gateway.quotes.put(caller(account), class_id, body))
        if not isinstance(answer, http.QuotesAnswer):
            self._told("quotes in doubt" if is_open(answer) else f"quotes {answer.code}")
            return
        self._told("quotes put")
        self._exchange.receipts.quotes.append((account, answer))
        self._quoted = [*self._quoted[-3:], (account, class_no, quotes)]
        for outcome in answer.outcomes:
            if outcome.refusal is not None:
                self._told(f"quotes: hour {outcome.refusal.code}")
            for order, price in ((outcome.bid_order, outcome.bid), (outcome.ask_order, outcome.ask)):
                if order:
                    self._open.append((account, order, price, ""))

    def _new_quotes(self) -> tuple[int, int, list[http.QuoteRequest]]:
        chance = self._chance
        class_no = chance.choice(list(self._exchange.classes))
        lot, tick, list_price = self._exchange.classes[class_no]
        first, quotes = self._hour(), []
        for hour in range(first, first + chance.randint(1, 4)):
            middle = wild(chance, list_price + chance.randint(-2, 2) * tick)
            bid, ask = (chance.choice([0, *[1, 2, 3] * 3]) * lot for _ in range(2))
            bid_price, ask_price = middle - chance.randint(0, 3) * tick, middle + chance.randint(1, 3) * tick
            quotes.append(
                http.QuoteRequest(
                    iso_hour(hour),
                    format_usd(bid_price) if bid else "",
                    bid,
                    format_usd(ask_price) if ask else "",
                    ask,
                )
            )
        return chance.choice(MAKERS if chance.random() < 0.97 else ACCOUNTS), class_no, quotes

    # --- What rests --------------------------------------------------------------------------------------------

    async def _amend(self) -> None:
        if not self._open:
            return
        chance = self._chance
        account, order, price, client_id = chance.choice(self._open)
        _, _, tick, _ = self._class()
        other = format_usd(wild(chance, max(0, parse_usd(price) + chance.choice([0, 0, -1, 1, 2]) * tick)))
        body = http.AmendRequest(qty=chance.randint(1, 5) * 2, price=other)
        by_client_id = client_id and chance.random() < 0.3

        def run(gateway: Gateway) -> Coroutine[Any, Any, http.AmendAnswer]:
            if by_client_id:
                return gateway.orders.amend_client_id(caller(account), client_id, body)
            return gateway.orders.amend(caller(account), parse_order(order), body)

        answer = await self._line.ask(run)
        if isinstance(answer, http.AmendAnswer):
            self._told("amended, in its place" if answer.kept_place else "amended")
            self._exchange.receipts.amends.append((account, answer))
        else:
            self._told("amend in doubt" if is_open(answer) else f"amend {answer.code}")

    async def _cancel(self) -> None:
        if not self._open:
            return
        account, order, _, client_id = self._chance.choice(self._open)
        by_client_id = client_id and self._chance.random() < 0.5

        def run(gateway: Gateway) -> Coroutine[Any, Any, http.CancelAnswer]:
            if by_client_id:
                return gateway.orders.cancel_client_id(caller(account), client_id)
            return gateway.orders.cancel(caller(account), parse_order(order))

        answer = await self._line.ask(run)
        if isinstance(answer, http.CancelAnswer):
            self._told("legs cancelled" if answer.orders > 1 else "cancelled")
            if answer.orders == 1:
                self._exchange.receipts.cancels.append((account, answer))
        else:
            self._told("cancel in doubt" if is_open(answer) else f"cancel {answer.code}")

    async def _mass_cancel(self) -> None:
        chance = self._chance
        account = chance.choice(ACCOUNTS)
        class_no = chance.choice([0, *self._exchange.classes])
        hour, side = chance.choice([0, 0, self._hour()]), chance.choice([0, 0, 1, 2])
        shards = [self._exchange.shard_of(class_no)] if class_no else list(range(self._exchange.shards))

        def run(gateway: Gateway) -> Coroutine[Any, Any, http.MassCancelAnswer]:
            command = gateway.orders.mass_cancel(caller(account), class_no, hour, side)
            return gateway.orders.cancel_all(shards, command)

        answer = await self._line.ask(run)
        if isinstance(answer, http.MassCancelAnswer):
            self._told("cancelled by the mass")
            self._exchange.receipts.mass_cancels.append((account, answer))
        else:
            self._told(self._doubt("mass cancel", answer))

    async def _switch(self) -> None:
        """A few minutes of the market's, to be renewed by nobody; or off again."""
        account = self._chance.choice(ACCOUNTS)
        seconds = self._chance.choice([0, 1, 1, 2])
        every = list(range(self._exchange.shards))
        shards = self._chance.choice([every, every, every[:1], every[1:]])
        answer = await self._line.ask(lambda gateway: gateway.orders.cancel_all_after(caller(account), shards, seconds))
        if isinstance(answer, http.CancelAllAfterAnswer):
            self._told("switch set" if answer.at else "switch off")
            self._exchange.receipts.switches.append((account, answer))
        else:
            self._told(self._doubt("switch", answer))

    @staticmethod
    def _doubt(what: str, answer: ApiError | str) -> str:
        return f"{what} in doubt" if is_open(answer) or isinstance(answer, str) else f"{what} {answer.code}"
