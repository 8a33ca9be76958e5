"""Members of the simulated market, at the gateways' use cases: they place, cancel, ask again, and remember what they were told.

Drawn from one stream of chance and from what the gateways answered; nothing of the engine is looked at.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec

from schemas import http
from schemas import requests as rq
from schemas.commands import Role, State
from schemas.edge import iso
from schemas.events import StateSet
from schemas.ids import format_symbol, parse_order
from schemas.units import MS_PER_HOUR, format_usd
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.gateway.wiring import Gateway
from tests.simulation.world import Process, Signal, Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

ACCOUNTS: Final = range(1, 9)
OWNERS: Final = {account: (account + 1) // 2 * 2 - 1 if account <= 4 else account for account in ACCOUNTS}
"""1 and 2 belong together, and 3 and 4."""
SELLERS: Final = [account for account in ACCOUNTS if account % 3]
"""Providers and market makers."""
OPERATOR: Final = Caller("operator", 0, 900, ("read", "operator"))
PATIENCE_MS: Final = 12_000
LOST: Final = "lost"
"""The connection broke before an answer came."""


def role_of(account: int) -> Role:
    return Role(account % 3)


def caller(account: int) -> Caller:
    """Whoever the account's key belongs to."""
    return Caller(f"key-{account}", account, OWNERS[account], ("read", "trade", "supply"))


def wild(chance: random.Random, price: int, share: float = 0.03) -> int:
    """Now and then a price that no collar takes."""
    return price * chance.choice([3, 4]) if chance.random() < share else price


class Order(msgspec.Struct):
    """One order, range or block of a member, and all that he was told of it."""

    account: int
    body: http.OrderRequest | http.RangeRequest | http.BlockRequest
    answers: list[Any] = []
    """Of the body's kind."""
    refusals: list[str] = []
    doubts: int = 0
    """Answers that left the outcome open."""


class Request(msgspec.Struct):
    """One request that is not an order, and the last word on it."""

    request: rq.Request
    state: str = ""
    """done, refused or pending; empty: nothing was said yet."""
    code: str = ""
    outcome: dict[str, Any] = {}
    doubts: int = 0


class Receipts:
    """Everything that members were told: what was acknowledged must be there at the end of the day."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.cancels: list[tuple[int, http.CancelAnswer]] = []
        """With the account; so are those that follow."""
        self.amends: list[tuple[int, http.AmendAnswer]] = []
        self.quotes: list[tuple[int, http.QuotesAnswer]] = []
        self.switches: list[tuple[int, http.CancelAllAfterAnswer]] = []
        self.mass_cancels: list[tuple[int, http.MassCancelAnswer]] = []
        self.corrections: list[http.CorrectionAnswer] = []
        self.requests: list[Request] = []
        self.deliveries: list[str] = []
        """Record ids that were acknowledged."""
        self.unseen: list[str] = []
        """Orders that were acknowledged and not shown to a read afterwards."""
        self.told: Counter[str] = Counter()


class Line:
    """How a member reaches the gateways: one connection per request, which may break."""

    def __init__(self, exchange: Exchange, chance: random.Random) -> None:
        self._exchange = exchange
        self._world = exchange.world
        self._chance = chance

    async def ask(self, run: Callable[[Gateway], Coroutine[Any, Any, Any]]) -> Any:
        """The answer, an ApiError, or LOST."""
        while not (names := sorted(self._exchange.open_gateways)):
            await Wait(self._world.now_ms + 200)
        process, gateway = self._exchange.open_gateways[self._chance.choice(names)]
        await Wait(self._world.now_ms + self._chance.randint(0, 3))
        if not process.alive:
            return LOST
        answer = await self._answer(process, gateway, run)
        await Wait(self._world.now_ms + self._chance.randint(0, 3))
        if answer is not LOST and self._chance.randrange(1000) < self._exchange.lost_answers_permille:
            self._exchange.did["answer lost"] += 1
            return LOST
        return answer

    async def _answer(
        self, process: Process, gateway: Gateway, run: Callable[[Gateway], Coroutine[Any, Any, Any]]
    ) -> Any:
        told: list[Any] = []
        over = Signal()

        async def serve() -> None:
            try:
                told.append(await run(gateway))
            except ApiError as error:
                told.append(error)
            except Exception as error:  # noqa: BLE001 # the application answers `internal`, and the day ends red
                told.append(ApiError("internal"))
                self._exchange.internal.append(repr(error))
            over.fire()

        process.create_task(serve())
        deadline_ms = self._world.now_ms + PATIENCE_MS
        while not told and process.alive and self._world.now_ms < deadline_ms:
            await Wait(deadline_ms, over, process.gone)
        return told[0] if told else LOST


def is_open(answer: Any) -> bool:
    """Whether it may have had an effect, for all that the member knows."""
    return answer is LOST or (isinstance(answer, ApiError) and answer.outcome == "unknown")


class Member:
    """Whoever asks one thing after the other until the market closes."""

    def __init__(self, exchange: Exchange, name: str, pause_ms: int = 0) -> None:
        """`pause_ms`: on average, between one thing and the next, besides what its kind leaves."""
        self._exchange = exchange
        self._world = exchange.world
        self._name = name
        self._chance = exchange.world.chance(name)
        self._line = Line(exchange, self._chance)
        self._pause_ms = pause_ms
        self._drawn = 0

    async def _rest(self, most_ms: int, least_ms: int = 0) -> None:
        await Wait(self._world.now_ms + self._chance.randint(least_ms, most_ms + 2 * self._pause_ms))

    def _told(self, what: str) -> None:
        self._exchange.receipts.told[what] += 1

    async def _insist(
        self, what: str, order: Order, run: Callable[[Gateway], Coroutine[Any, Any, Any]], kind: type[Any]
    ) -> Any:
        """Ask under one client order id until its fate is known; None: it was refused, or nobody will ever know."""
        self._exchange.receipts.orders.append(order)
        again = self._chance.random() < 0.05
        tries = 0
        while True:
            answer = await self._line.ask(run)
            tries += 1
            if isinstance(answer, kind):
                self._told(f"{what}acknowledged again" if order.answers else f"{what}acknowledged")
                order.answers.append(answer)
                if again and order.body.client_order_id:
                    again = False
                    continue
                return answer
            if is_open(answer):
                self._told(f"{what or 'order '}in doubt")
                order.doubts += 1
                if not order.body.client_order_id:
                    return None
                await Wait(self._world.now_ms + self._chance.randint(100, 2_000))
            else:
                self._told(f"{what or 'order '}{answer.code}")
                order.refusals.append(answer.code)
                if not answer.row.retryable or tries > 3:
                    return None
                if answer.code in ("overloaded", "not_ready"):
                    await Wait(self._world.now_ms + self._chance.randint(500, 2_000))
            await Wait(self._world.now_ms + self._chance.randint(10, 400))


class Trader(Member):
    """Places and cancels for any of the accounts."""

    def __init__(self, exchange: Exchange, name: str, pause_ms: int = 0) -> None:
        super().__init__(exchange, name, pause_ms)
        self._open: list[tuple[int, http.OrderAnswer]] = []

    async def run(self) -> None:
        """Until the market closes; what is under way is asked to its end."""
        await Wait(self._world.now_ms + 120_000, self._exchange.opened)
        while self._exchange.open:
            await self._rest(60)
            kind = self._chance.random()
            if kind < 0.12 and self._open:
                await self._cancel()
            elif kind < 0.125:
                await self._set_state()
            else:
                await self._place()

    # --- Orders --------------------------------------------------------------------------------------------

    def _draw(self) -> Order:
        chance, exchange = self._chance, self._exchange
        class_no = chance.choice(list(exchange.classes))
        lot, tick, list_price = exchange.classes[class_no]
        hour = exchange.market_ms() // MS_PER_HOUR + chance.choice([*[1] * 14, 2, 2, 2, 0, 0, 0, 0, 9])
        side = chance.choice(["buy", "sell"])
        self._drawn += 1
        tif = chance.choice([*["gtc"] * 6, "ioc", "ioc", "fok", "gtd"])
        if hour == exchange.market_ms() // MS_PER_HOUR and side == "buy" and chance.random() < 0.8:
            tif = chance.choice(["ioc", "fok"])
        body = http.OrderRequest(
            contract=format_symbol(f"SIM.{class_no}", hour),
            side=side,
            qty=chance.randint(1, 6) * lot,
            price=format_usd(wild(chance, list_price + chance.randint(-4, 4) * tick) + (chance.random() < 0.01)),
            tif=tif,
            expires=iso(exchange.market_ms() + chance.randint(-1, 60) * 120_000) if tif == "gtd" else "",
            post_only=tif in ("gtc", "gtd") and chance.random() < 0.2,
            running=side == "sell" and tif in ("gtc", "gtd") and chance.random() < 0.3,
            self_trade=chance.choice(["cancel_newest", "cancel_newest", "cancel_oldest"]),
            client_order_id=chance.choice(["", *[f"{self._name}-{self._drawn}"] * 30]),
            valid_for_ms=chance.choice([1, *[max(1, 300_000 // exchange.rate)] * 20, 600_000]),
        )
        account = chance.choice(ACCOUNTS if side == "buy" or chance.random() < 0.1 else SELLERS)
        if self._open and chance.random() < 0.02:
            # Somebody's old id for something new.
            account, earlier = chance.choice(self._open)
            return Order(account, msgspec.structs.replace(body, client_order_id=earlier.client_order_id))
        if chance.random() < 0.12:
            # The rest of the hour that runs, for whoever wants it now.
            now = format_symbol(f"SIM.{class_no}", exchange.market_ms() // MS_PER_HOUR)
            near = format_usd(list_price + (3 if side == "buy" else -1) * tick)
            tif = "ioc" if side == "buy" else "gtc"
            return Order(
                account,
                msgspec.structs.replace(
                    body,
                    contract=now,
                    price=near,
                    tif=tif,
                    expires="",
                    post_only=False,
                    running=side == "sell",
                    qty=lot,
                ),
            )
        if exchange.traded and chance.random() < 0.4:
            # What was bought is sold again, and what was sold is bought back.
            account, contract, side, price = chance.choice(exchange.traded[-20:])
            turned = "buy" if side == "sell" else "sell"
            return Order(account, msgspec.structs.replace(body, contract=contract, side=turned, price=price))
        return Order(account, body)

    async def _place(self) -> None:
        order = self._draw()
        answer = await self._insist("", order, lambda gateway: self._placing(gateway, order), http.OrderAnswer)
        if answer is None:
            return
        self._exchange.trades += [fill.trade for fill in answer.fills]
        self._exchange.traded += [(order.account, fill.contract, fill.side, fill.price) for fill in answer.fills]
        if answer.state == "open":
            self._open.append((order.account, answer))
            del self._open[:-40]

    async def _placing(self, gateway: Gateway, order: Order) -> http.OrderAnswer:
        who = caller(order.account)
        assert isinstance(order.body, http.OrderRequest)
        answer = await gateway.orders.place(who, order.body)
        if self._chance.random() < 0.1:
            await self._read(gateway, who, answer)
        return answer

    async def _read(self, gateway: Gateway, who: Caller, answer: http.OrderAnswer) -> None:
        """A read after an acknowledged write never shows the past; it may say that it cannot tell."""
        try:
            await gateway.progress.wait_for(who.account)
            row = await gateway.reads.order(who.account, parse_order(answer.order_id))
        except ApiError as error:
            if error.code not in ("not_settled_yet", "not_ready"):
                raise
            return
        self._told("read after write")
        if row is None or row["filled"] < answer.filled or row["cancelled"] < answer.cancelled:
            self._exchange.receipts.unseen.append(f"{answer.order_id}: {row} after {answer}")

    async def _cancel(self) -> None:
        account, order = self._chance.choice(self._open)
        if self._chance.random() < 0.05:
            account = self._chance.choice(ACCOUNTS)
        by_client_id = order.client_order_id and self._chance.random() < 0.3

        def run(gateway: Gateway) -> Coroutine[Any, Any, http.CancelAnswer]:
            who = caller(account)
            if by_client_id:
                return gateway.orders.cancel_client_id(who, order.client_order_id)
            return gateway.orders.cancel(who, parse_order(order.order_id))

        answer = await self._line.ask(run)
        if isinstance(answer, http.CancelAnswer):
            self._told("cancelled")
            self._exchange.receipts.cancels.append((account, answer))
        else:
            self._told("cancel in doubt" if is_open(answer) else f"cancel {answer.code}")

    async def _set_state(self) -> None:
        """An operator restricts a class, and opens it again."""
        class_no = self._chance.choice(list(self._exchange.classes))
        for state in (self._chance.choice([State.POST_ONLY, State.CANCEL_ONLY, State.HALTED]), State.OPEN):
            done = False
            while not done:
                answer = await self._line.ask(
                    lambda gateway: gateway.orders.set_state(OPERATOR, class_no, 0, state, "simulated")  # noqa: B023 # now
                )
                done = isinstance(answer, StateSet)
                self._told("state set" if done else "state not set")
                await Wait(self._world.now_ms + self._chance.randint(10, 1_000))
