"""Placing and cancelling: from a body to a command, through the door, to an answer.

A client order id that settlement knows is answered from its projection: the same body with the order as it stands, another body
with a refusal, however long ago it was (the engine itself remembers for 15 minutes). Only an id that is not known goes on.

A bid that lacks cash is tried first (docs/decisions/004-try-first.md): the engine alone judges; when it says what is
missing and the wallet has it, the money is moved and the order sent again. A refusal does not use up a client order id.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from weakref import WeakValueDictionary

from schemas import http
from schemas.commands import CancelOrder, Flag, PlaceOrder, SetState, Side, Tif
from schemas.events import (
    CancelAccepted,
    Code,
    Event,
    Filled,
    OrderAccepted,
    OrderCancelled,
    OrderRepeated,
    Rejected,
    StateSet,
)
from schemas.ids import format_order, is_client_id, shard_of_order
from schemas.requests import FromTrading, ToTrading
from schemas.units import Micros, format_usd, parse_usd
from services.gateway.asks import WAIT_S, Asks, refuse
from services.gateway.auth import Caller
from services.gateway.database import Row
from services.gateway.door import Answer, Door
from services.gateway.errors import ApiError
from services.gateway.progress import LAG_MS_MAX, Progress
from services.gateway.reads import TIFS, Classes, Reads, reason_name
from services.gateway.times import MarketClock, iso
from services.runtime.log import Clock

VALID_MS_MAX: Final = 600_000
CANCEL_VALID_MS: Final = 30_000
_SKEW_MS_MAX: Final = 5_000
SILENT_S_MAX: Final = 3.0
"""For how long a shard's log may not be heard: whoever waits for an answer there would wait in vain."""
BEHIND_MS_MAX: Final = 30_000
"""How old the newest settled record of a shard may be; an active shard says something every second."""
_BEHIND: Final = "the shard does not go on at the moment: send the order again with the same client order id"
QTY_MAX: Final = 2**31
FUNDINGS_MAX: Final = 4
"""Transfers for one bid: more than one is needed only when another gateway's bids take the money on its way."""


def decimal(text: str) -> int:
    """µUSD. Raises ApiError wrong_decimal."""
    try:
        return parse_usd(text)
    except ValueError as error:
        raise ApiError("wrong_decimal", str(error)) from None


class Orders:
    """Use cases of members' orders and operators' halts."""

    def __init__(
        self,
        doors: Sequence[Door],
        classes: Classes,
        reads: Reads,
        progress: Progress,
        asks: Asks,
        clock: Clock,
        market: MarketClock,
    ) -> None:
        self._doors = doors
        self._classes = classes
        self._reads = reads
        self._progress = progress
        self._asks = asks
        self._clock = clock
        self._market = market
        self._purses: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()
        """(account, shard) → whoever moves money there for a bid; gone with the last who waits."""

    # --- Place -----------------------------------------------------------------------------------------

    async def place(self, caller: Caller, body: http.OrderRequest) -> http.OrderAnswer:
        """Raises ApiError."""
        of_class, contract = await self._classes.contract(body.contract)
        price = decimal(body.price)
        if body.client_order_id and not is_client_id(body.client_order_id):
            raise ApiError("wrong_client_id")
        if not 0 < body.valid_for_ms <= VALID_MS_MAX:
            raise ApiError("wrong_validity")
        if not 0 < body.qty < QTY_MAX:
            raise ApiError("wrong_qty", need=of_class["lot"])
        known = await self._known(caller, body.client_order_id)
        if known is not None:
            return await self._again(caller, known, self._command(caller, contract, body, price))
        if code := self.refusal(of_class["shard"]):
            raise ApiError(code, _BEHIND if code == "not_ready" else "")
        door = self._doors[of_class["shard"]]
        answer = await self._submit_funded(caller, door, lambda: self._command(caller, contract, body, price))
        return await self._placed(caller, answer)

    def refusal(self, shard: int) -> str:
        """The code with which new orders of a shard are refused just now; empty: they are taken.

        A client order id is looked for among the orders that are settled, and by the engine among those of a quarter of an
        hour. Where what is settled is older than that, an order that was sent before and is still to come would be in neither.
        """
        if self._doors[shard].silent_s > SILENT_S_MAX:
            return "not_ready"
        if self._progress.lag_ms(shard) > LAG_MS_MAX:
            return "overloaded"
        return "not_ready" if self.is_behind(shard) else ""

    def is_behind(self, shard: int) -> bool:
        """Whether what is settled of a shard is too old to take new orders: it stands still, or makes up for having done so."""
        behind_ms = self._market.market_ms(self._clock.now_ms()) - self._progress.time_ms[shard]
        return behind_ms > BEHIND_MS_MAX * self._market.rate

    def _command(self, caller: Caller, contract: int, body: http.OrderRequest, price: int) -> PlaceOrder:
        flags = (Flag.POST_ONLY if body.post_only else 0) | (
            Flag.CANCEL_OLDEST if body.self_trade == "cancel_oldest" else 0
        )
        return PlaceOrder(
            caller.account,
            contract,
            Side.BUY if body.side == "buy" else Side.SELL,
            body.qty,
            price,
            Tif[body.tif.upper()],
            int(flags),
            body.client_order_id,
            self._valid_until(body.valid_for_ms),
        )

    def _valid_until(self, valid_for_ms: int) -> int:
        """Market time. Within the engine's bound also where time runs faster, or where our clock is ahead of the broker's."""
        most_ms = max(VALID_MS_MAX - _SKEW_MS_MAX * self._market.rate, VALID_MS_MAX // 2)
        ahead_ms = min(valid_for_ms * self._market.rate, most_ms)
        return self._market.market_ms(self._clock.now_ms()) + ahead_ms

    # --- Known client order ids --------------------------------------------------------------------------

    async def _known(self, caller: Caller, client_id: str) -> Row | None:
        return await self._reads.order_by_client_id(caller.account, client_id) if client_id else None

    async def _again(self, caller: Caller, known: Row, command: PlaceOrder) -> http.OrderAnswer:
        """Of a known id: a repeat passes however far settlement lags, with the order as it is settled so far."""
        first = tuple(known[name] for name in ("contract", "side", "qty", "price", "tif", "flags"))
        if first != (command.contract, command.side, command.qty, command.price, command.tif, command.flags):
            raise _duplicate(known["order_id"])
        row = known
        with contextlib.suppress(ApiError):
            await self._progress.wait_for(caller.account)
            row = await self._reads.order(caller.account, known["order_id"]) or known
        return await self._reads.order_answer(row, repeated=True)

    # --- Money for a bid ---------------------------------------------------------------------------------

    async def _submit_funded(self, caller: Caller, door: Door, command: Callable[[], PlaceOrder]) -> Answer:
        """Submit; while money is missing, and the wallet has it, move it and submit again.

        One bid of an account at a time: two would both count on the same free balance, and one would find it gone.
        """
        answer = await door.submit(command())
        if not _is_short(answer):
            return answer
        purse = self._purses.setdefault((caller.account, door.shard), asyncio.Lock())
        others = purse.locked()
        try:
            async with asyncio.timeout(WAIT_S):
                await purse.acquire()
        except TimeoutError:
            raise ApiError("not_ready", "other bids of yours wait for their money: send it again in a moment") from None
        try:
            return await self._fund_and_submit(
                caller, door, command, await door.submit(command()) if others else answer
            )
        finally:
            purse.release()

    async def _fund_and_submit(
        self, caller: Caller, door: Door, command: Callable[[], PlaceOrder], answer: Answer
    ) -> Answer:
        moved, refused = 0, False
        try:
            for _ in range(FUNDINGS_MAX):
                if not _is_short(answer):
                    break
                moved += await self._fund(caller, door.shard, answer.outcome)
                answer = await door.submit(command())
            refused = isinstance(answer.outcome, Rejected)
        except ApiError as error:
            refused = error.outcome == "rejected"
            raise
        finally:
            if moved and refused:
                await self._give_back(caller, door.shard, moved)
        return answer

    async def _fund(self, caller: Caller, shard: int, refusal: Event) -> Micros:
        """Move what is missing from the wallet; how much. Raises ApiError insufficient_funds with what there is in all."""
        assert isinstance(refusal, Rejected)
        missing = refusal.need - refusal.have
        request = ToTrading(_own_request(caller), caller.account, shard, missing)
        outcome = await self._asks.ask(request)
        if outcome.state == "pending":
            raise ApiError(
                "not_ready", "the transfer from your wallet is still under way: send the order again in a moment"
            )
        if outcome.code == "insufficient_funds":
            raise ApiError(
                "insufficient_funds",
                f"needs {format_usd(refusal.need)} USD; {format_usd(refusal.have)} is free for trading and "
                f"{format_usd(outcome.have)} in the wallet: deposit, or ask for less",
                need=refusal.need,
                have=refusal.have + outcome.have,
            )
        refuse(outcome)
        return missing

    async def _give_back(self, caller: Caller, shard: int, moved: Micros) -> None:
        """The order that it was moved for is refused, and a refusal leaves everything as it was."""
        # What does not get through now is swept back when it has been idle for a while.
        with contextlib.suppress(ApiError):
            await self._asks.ask(FromTrading(_own_request(caller), caller.account, shard, moved))

    # --- Answers -----------------------------------------------------------------------------------------

    async def _placed(self, caller: Caller, answer: Answer) -> http.OrderAnswer:
        outcome = answer.outcome
        if isinstance(outcome, Rejected):
            raise refusal_of(outcome)
        with _after_the_fact():
            if isinstance(outcome, OrderAccepted):
                return await self._accepted(outcome, answer)
            assert isinstance(outcome, OrderRepeated), f"{outcome!r} answers something else"
            await self._progress.wait_for(caller.account)
            row = await self._reads.order(caller.account, outcome.order)
            assert row is not None, f"order {outcome.order} is settled and not there"
            return await self._reads.order_answer(row, repeated=True)

    async def _accepted(self, order: OrderAccepted, answer: Answer) -> http.OrderAnswer:
        fills = [event for event in answer.effects if isinstance(event, Filled) and event.taker_order == order.order]
        ends = [event for event in answer.effects if isinstance(event, OrderCancelled) and event.order == order.order]
        filled, cancelled = sum(fill.qty for fill in fills), sum(end.qty for end in ends)
        leaves = order.qty - filled - cancelled
        symbol = await self._classes.symbol(order.contract)
        return http.OrderAnswer(
            order_id=format_order(order.order),
            client_order_id=order.client_id,
            contract=symbol,
            side="buy" if order.side == Side.BUY else "sell",
            qty=order.qty,
            price=format_usd(order.price),
            tif=TIFS[order.tif],
            post_only=bool(order.flags & Flag.POST_ONLY),
            state="open" if leaves else "cancelled" if ends else "filled",
            reason=reason_name(ends[0].reason) if ends else "",
            leaves=leaves,
            filled=filled,
            cancelled=cancelled,
            accepted_at=iso(answer.time_ms),
            fills=tuple([await self._fill(order, symbol, fill, answer.time_ms) for fill in fills]),
        )

    async def _fill(self, order: OrderAccepted, symbol: str, fill: Filled, time_ms: int) -> http.FillAnswer:
        buying = order.side == Side.BUY
        desk = await self._reads.is_desk(fill.seller if buying else fill.buyer)
        return http.FillAnswer(
            trade=f"{shard_of_order(order.order)}-{fill.trade}",
            contract=symbol,
            order_id=format_order(order.order),
            side="buy" if buying else "sell",
            role="taker",
            qty=fill.qty,
            price=format_usd(fill.price),
            minutes=fill.minutes,
            notional=format_usd(fill.notional),
            fee=format_usd(fill.buyer_fee if buying else fill.seller_fee),
            counterparty="desk" if desk else "member",
            at=iso(time_ms),
        )

    # --- Cancel ----------------------------------------------------------------------------------------

    async def cancel(self, caller: Caller, order: int) -> http.CancelAnswer:
        """By order id. Raises ApiError."""
        shard = shard_of_order(order)
        if shard >= len(self._doors):
            raise ApiError("unknown_order")
        return await self._cancelled(shard, CancelOrder(caller.account, order, "", self._valid_until(CANCEL_VALID_MS)))

    async def cancel_client_id(self, caller: Caller, client_id: str) -> http.CancelAnswer:
        """By the account's own id: in the order's shard, or where that is not known yet in every one."""
        if not is_client_id(client_id):
            raise ApiError("wrong_client_id")
        known = None
        with contextlib.suppress(ApiError):  # a cancel passes without the database, too
            known = await self._known(caller, client_id)
        shards = range(len(self._doors)) if known is None else [known["shard"]]
        refusal = ApiError("unknown_order")
        for shard in shards:
            command = CancelOrder(caller.account, 0, client_id, self._valid_until(CANCEL_VALID_MS))
            try:
                return await self._cancelled(shard, command)
            except ApiError as error:
                if error.code not in ("unknown_order", "unknown_account"):
                    refusal = error
        raise refusal

    async def _cancelled(self, shard: int, command: CancelOrder) -> http.CancelAnswer:
        answer = await self._doors[shard].submit(command)
        if not isinstance(answer.outcome, CancelAccepted):
            raise refusal_of(answer.outcome)
        (end,) = [event for event in answer.effects if isinstance(event, OrderCancelled)]
        with _after_the_fact():
            return http.CancelAnswer(
                order_id=format_order(end.order), contract=await self._classes.symbol(end.contract), cancelled=end.qty
            )

    # --- Operators -------------------------------------------------------------------------------------

    async def set_state(self, caller: Caller, class_no: int, hour: int, state: int, reason: str) -> StateSet:
        """Halt, restrict or open. Raises ApiError."""
        row = await self._classes.number(class_no)
        answer = await self._doors[row["shard"]].submit(SetState(caller.owner, class_no, hour, state, reason))
        if not isinstance(answer.outcome, StateSet):
            raise refusal_of(answer.outcome)
        return answer.outcome


def refusal_of(outcome: Event) -> ApiError:
    """A rejection of the engine → what the caller is told."""
    assert isinstance(outcome, Rejected), f"{outcome!r} answers something else"
    if outcome.code == Code.DUPLICATE_CLIENT_ID:
        return _duplicate(outcome.have)
    return ApiError(Code(outcome.code).name.lower(), need=outcome.need, have=outcome.have)


def _duplicate(order: int) -> ApiError:
    return ApiError("duplicate_client_id", f"it stands for order {format_order(order)}: use a new id")


def _is_short(answer: Answer) -> bool:
    return isinstance(answer.outcome, Rejected) and answer.outcome.code == Code.INSUFFICIENT_FUNDS


def _own_request(caller: Caller) -> str:
    """Id of a request that the door makes for a caller: it has none of his keys' form."""
    return f"{caller.account}:auto-{secrets.token_hex(12)}"


@contextlib.contextmanager
def _after_the_fact() -> Iterator[None]:
    """What fails while an answer is being written down does not undo what it is about."""
    try:
        yield
    except ApiError as error:
        raise ApiError(
            "outcome_unknown", "it has happened, and cannot be shown yet: send the same again with the same id"
        ) from error
