"""Placing and cancelling: from a body to a command, through the door, to an answer.

A bid that lacks cash is tried first (docs/decisions/004-try-first.md): the engine alone judges; when it says what is
missing and the wallet has it, the money is moved and the order sent again. A refusal does not use up a client order id.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

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
from schemas.requests import ToTrading
from schemas.units import format_usd, parse_usd
from services.gateway.asks import Asks, refuse
from services.gateway.auth import Caller
from services.gateway.door import Answer, Door
from services.gateway.errors import ApiError
from services.gateway.reads import LAG_MS_MAX, TIFS, Classes, Progress, Reads, Row, reason_name
from services.gateway.times import MarketClock, iso
from services.runtime.log import Clock

VALID_MS_MAX: Final = 600_000
ENGINE_WINDOW_MS: Final = 900_000
"""How long the engine itself knows a client order id; with a minute to spare the door looks further back."""
QTY_MAX: Final = 2**31


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

    # --- Place -----------------------------------------------------------------------------------------

    async def place(self, caller: Caller, body: http.OrderRequest) -> http.OrderAnswer:
        """Raises ApiError."""
        of_class, contract = await self._classes.contract(body.contract)
        price = decimal(body.price)
        client_id = body.client_order_id
        if client_id and not is_client_id(client_id):
            raise ApiError("wrong_client_id")
        if not 0 < body.valid_for_ms <= VALID_MS_MAX:
            raise ApiError("wrong_validity")
        if not 0 < body.qty < QTY_MAX:
            raise ApiError("wrong_qty", need=of_class["lot"])
        known = await self._reads.order_by_client_id(caller.account, client_id) if client_id else None
        if known is None and self._progress.lag_ms(of_class["shard"]) > LAG_MS_MAX:
            raise ApiError("overloaded")
        if known is not None and self._is_forgotten(known):
            return await self._old(known, contract, body, price)
        door = self._doors[of_class["shard"]]
        answer = await door.submit(self._command(caller, contract, body, price))
        outcome = answer.outcome
        if isinstance(outcome, Rejected) and outcome.code == Code.INSUFFICIENT_FUNDS:
            await self._fund(caller, door.shard, outcome)
            answer = await door.submit(self._command(caller, contract, body, price))
        return await self._placed(caller, door.shard, answer)

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
        """Market time; a sandbox whose time runs faster still stays within the engine's bound."""
        ahead_ms = min(valid_for_ms * self._market.rate, VALID_MS_MAX)
        return self._market.market_ms(self._clock.now_ms()) + ahead_ms

    async def _fund(self, caller: Caller, shard: int, refusal: Rejected) -> None:
        """Move what is missing from the wallet. Raises ApiError insufficient_funds with what there is in all."""
        missing = refusal.need - refusal.have
        request = ToTrading(f"{caller.account}:auto-{secrets.token_hex(12)}", caller.account, shard, missing)
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

    def _is_forgotten(self, known: Row) -> bool:
        """Whether the engine may no longer know this client id."""
        age_ms = self._market.market_ms(self._clock.now_ms()) - int(known["accepted_ms"])
        return known["state"] != "open" and age_ms >= ENGINE_WINDOW_MS - 60_000 * self._market.rate

    async def _old(self, known: Row, contract: int, body: http.OrderRequest, price: int) -> http.OrderAnswer:
        first = (known["contract"], known["side"], known["qty"], known["price"], known["tif"])
        again = (contract, Side.BUY if body.side == "buy" else Side.SELL, body.qty, price, Tif[body.tif.upper()])
        if first != again:
            raise ApiError(
                "duplicate_client_id", f"it stands for order {format_order(known['order_id'])}: use a new id"
            )
        return await self._reads.order_answer(known, repeated=True)

    async def _placed(self, caller: Caller, shard: int, answer: Answer) -> http.OrderAnswer:
        outcome = answer.outcome
        self._progress.wrote(caller.account, shard, answer.seq)
        if isinstance(outcome, OrderAccepted):
            return await self._accepted(outcome, answer)
        if isinstance(outcome, OrderRepeated):
            await self._progress.wait_for(caller.account)
            row = await self._reads.order(caller.account, outcome.order)
            if row is None:
                raise ApiError("not_settled_yet")
            return await self._reads.order_answer(row, repeated=True)
        raise refusal_of(outcome)

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
        return await self._cancelled(caller, shard, CancelOrder(caller.account, order, "", self._valid_until(30_000)))

    async def cancel_client_id(self, caller: Caller, client_id: str) -> http.CancelAnswer:
        """By the account's own id: every shard is asked, since only the engines know what is open."""
        if not is_client_id(client_id):
            raise ApiError("wrong_client_id")
        command = CancelOrder(caller.account, 0, client_id, self._valid_until(30_000))
        refusal = ApiError("unknown_order")
        for shard in range(len(self._doors)):
            try:
                return await self._cancelled(caller, shard, command)
            except ApiError as error:
                if error.code not in ("unknown_order", "unknown_account"):
                    raise
                refusal = error
        raise refusal

    async def _cancelled(self, caller: Caller, shard: int, command: CancelOrder) -> http.CancelAnswer:
        answer = await self._doors[shard].submit(command)
        self._progress.wrote(caller.account, shard, answer.seq)
        if not isinstance(answer.outcome, CancelAccepted):
            raise refusal_of(answer.outcome)
        (end,) = [event for event in answer.effects if isinstance(event, OrderCancelled)]
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
        self._progress.wrote(caller.account, row["shard"], answer.seq)
        return answer.outcome


def refusal_of(outcome: Event) -> ApiError:
    """A rejection of the engine → what the caller is told."""
    assert isinstance(outcome, Rejected), f"{outcome!r} answers something else"
    code = Code(outcome.code).name.lower()
    if outcome.code == Code.DUPLICATE_CLIENT_ID:
        return ApiError(code, f"it stands for order {format_order(outcome.have)}: use a new id")
    return ApiError(code, need=outcome.need, have=outcome.have)
