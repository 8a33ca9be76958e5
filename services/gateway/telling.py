"""What the engine did → what the caller is told: fills, what became of an order, refusals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from schemas import http
from schemas.commands import Flag
from schemas.edge import SIDES, TIFS, iso, iso_or_none
from schemas.events import Code, Event, Filled, OrderAccepted, OrderCancelled, Rejected
from schemas.ids import format_order, shard_of_order
from schemas.units import Gpus, Millis, format_usd
from services.gateway.classes import Classes
from services.gateway.errors import ApiError
from services.gateway.reads import Reads, reason_name


class Fate(NamedTuple):
    """What one command's effects did to one order, as the one that came."""

    fills: tuple[Filled, ...] = ()
    filled: Gpus = 0
    cancelled: Gpus = 0
    reason: int = 0
    """`Reason` of what was cancelled; 0: nothing was."""


NOTHING: Final = Fate()


def fates(effects: Iterable[Event]) -> dict[int, Fate]:
    """By order; to those that are not in it nothing has happened."""
    found: dict[int, Fate] = {}
    fills: dict[int, list[Filled]] = {}
    for event in effects:
        if isinstance(event, Filled) and event.taker_order:
            fills.setdefault(event.taker_order, []).append(event)
        elif isinstance(event, OrderCancelled):
            found[event.order] = Fate(cancelled=event.qty, reason=event.reason)
    for order, made in fills.items():
        filled = sum(fill.qty for fill in made)
        found[order] = found.get(order, NOTHING)._replace(fills=tuple(made), filled=filled)
    return found


class Telling:
    """Builds answers; what it must look up is who is the desk, and what a class is called."""

    def __init__(self, classes: Classes, reads: Reads) -> None:
        self._classes = classes
        self._reads = reads

    async def order(self, order: OrderAccepted, done: Fate, time_ms: Millis) -> http.OrderAnswer:
        """An order that has just been accepted."""
        leaves = order.qty - done.filled - done.cancelled
        return http.OrderAnswer(
            order_id=format_order(order.order),
            client_order_id=order.client_id,
            contract=await self._classes.symbol(order.contract),
            side=SIDES[order.side],
            qty=order.qty,
            price=format_usd(order.price),
            tif=TIFS[order.tif],
            expires=iso_or_none(order.expires_ms),
            post_only=bool(order.flags & Flag.POST_ONLY),
            running=bool(order.flags & Flag.RUNNING),
            state="open" if leaves else "cancelled" if done.reason else "filled",
            reason=reason_name(done.reason),
            leaves=leaves,
            filled=done.filled,
            cancelled=done.cancelled,
            accepted_at=iso(time_ms),
            fills=await self.fills(order.account, order.order, done.fills, time_ms),
        )

    async def fills(
        self, account: int, order: int, fills: Iterable[Filled], time_ms: Millis, *, block: bool = False
    ) -> tuple[http.FillAnswer, ...]:
        """Trades that the account's order has just made, as taker."""
        return tuple([await self._fill(account, order, fill, time_ms, block=block) for fill in fills])

    async def _fill(self, account: int, order: int, fill: Filled, time_ms: Millis, *, block: bool) -> http.FillAnswer:
        buying = fill.buyer == account
        desk = await self._reads.is_desk(fill.seller if buying else fill.buyer)
        return http.FillAnswer(
            trade=f"{shard_of_order(order)}-{fill.trade}",
            contract=await self._classes.symbol(fill.contract),
            order_id=format_order(order),
            block_id=format_order(order) if block else "",
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


def refusal_of(outcome: Event) -> ApiError:
    """A rejection of the engine → what the caller is told."""
    assert isinstance(outcome, Rejected), f"{outcome!r} answers something else"
    return refusal(outcome.code, outcome.need, outcome.have)


def refusal(code: int, need: int = 0, have: int = 0) -> ApiError:
    """A code of the engine with its numbers."""
    if code == Code.DUPLICATE_CLIENT_ID:
        return duplicate(have)
    return ApiError(Code(code).name.lower(), need=need, have=have)


def duplicate(order: int) -> ApiError:
    """A client order id that is in use."""
    return ApiError("duplicate_client_id", f"it stands for order {format_order(order)}: use a new id")


def told(refused: ApiError) -> http.RefusalAnswer:
    """A refusal that is a part of an answer."""
    return http.RefusalAnswer(
        code=refused.code,
        title=refused.row.title,
        detail=str(refused),
        retryable=refused.row.retryable,
        **refused.numbers(),
    )


@contextlib.contextmanager
def after_the_fact() -> Iterator[None]:
    """What fails while an answer is being written down does not undo what it is about."""
    try:
        yield
    except ApiError as error:
        raise ApiError(
            "outcome_unknown", "it has happened, and cannot be shown yet: send the same again with the same id"
        ) from error
