"""Blocks: contiguous hours, one limit on the average, all hours or none. Placing them; cancelling is `orders.Orders.cancel`."""

from __future__ import annotations

from typing import Final

from schemas import http
from schemas.commands import PlaceBlock
from schemas.edge import SIDES, TIFS, iso, iso_hour, iso_or_none
from schemas.events import BlockAccepted, BlockFilled, Rejected
from schemas.ids import format_order
from schemas.units import format_usd
from services.gateway.auth import Caller
from services.gateway.database import Row
from services.gateway.door import Answer
from services.gateway.errors import ApiError
from services.gateway.placing import Placing
from services.gateway.reads import average, reason_name
from services.gateway.telling import NOTHING, after_the_fact, fates, refusal_of
from services.gateway.times import parse_hour
from services.gateway.values import QTY_MAX, check_launch, check_terms, decimal, side_of, tif_of

HOURS_MAX: Final = 168
_TERMS: Final = (
    "class_no", "first_hour", "hours", "side", "qty", "qty_min", "price", "tif", "flags", "expires_ms",
)  # fmt: skip
"""In which a repeat is like the first."""


class Blocks(Placing):
    """Use cases of blocks."""

    async def place(self, caller: Caller, body: http.BlockRequest) -> http.BlockAnswer:
        """Raises ApiError."""
        of_class = await self._classes.get(body.class_id)
        asked = self.command(caller, of_class, body)  # says what is wrong before anything is looked up
        known = await self._reads.known(caller.account, body.client_order_id)
        if known is not None:
            same = await self._repeat_settled(caller, known, self.command(caller, of_class, body), _TERMS)
            return await self._reads.block_answer(same, repeated=True)
        hour = asked.first_hour + asked.hours - 1
        await self._delivery.name_launch(caller.account, body.client_order_id, body.launch, hour)
        door = self._shards.open_door(of_class["shard"])
        answer = await self._funding.submit(caller, door, lambda: self.command(caller, of_class, body))
        return await self._placed(caller, answer)

    def command(self, caller: Caller, of_class: Row, body: http.BlockRequest) -> PlaceBlock:
        """Raises ApiError."""
        tif, expires_ms = tif_of(body.tif, body.expires)
        check_terms(body.client_order_id, body.valid_for_ms, body.qty, of_class["lot"])
        check_launch(body.launch, body.client_order_id, body.side)
        if not 0 <= body.min_qty < QTY_MAX:
            raise ApiError("wrong_qty", need=of_class["lot"])
        if not 1 <= body.hours <= HOURS_MAX:
            raise ApiError("wrong_hours")
        return PlaceBlock(
            caller.account,
            of_class["class_no"],
            parse_hour(body.from_hour),
            body.hours,
            side_of(body.side),
            body.qty,
            body.min_qty or body.qty,
            decimal(body.price),
            tif,
            0,
            body.client_order_id,
            self._shards.valid_until(body.valid_for_ms),
            expires_ms,
        )

    async def _placed(self, caller: Caller, answer: Answer) -> http.BlockAnswer:
        outcome = answer.outcome
        if isinstance(outcome, Rejected):
            raise refusal_of(outcome)
        with after_the_fact():
            if isinstance(outcome, BlockAccepted):
                return await self._accepted(outcome, answer)
            return await self._reads.block_answer(
                await self._repeat_accepted(caller, outcome, is_block=True), repeated=True
            )

    async def _accepted(self, block: BlockAccepted, answer: Answer) -> http.BlockAnswer:
        trades = [each for each in answer.effects if isinstance(each, BlockFilled) and each.order == block.order]
        done = fates(answer.effects).get(block.order, NOTHING)
        filled = sum(trade.qty for trade in trades)
        leaves = block.qty - filled - done.cancelled
        fills = await self._telling.fills(block.account, block.order, done.fills, answer.time_ms, block=True)
        return http.BlockAnswer(
            block_id=format_order(block.order),
            client_order_id=block.client_id,
            class_id=(await self._classes.number(block.class_no))["class_id"],
            from_hour=iso_hour(block.first_hour),
            hours=block.hours,
            side=SIDES[block.side],
            qty=block.qty,
            min_qty=block.qty_min,
            price=format_usd(block.price),
            tif=TIFS[block.tif],
            expires=iso_or_none(block.expires_ms),
            state="open" if leaves else "cancelled" if done.reason else "filled",
            reason=reason_name(done.reason),
            leaves=leaves,
            filled=filled,
            cancelled=done.cancelled,
            accepted_at=iso(answer.time_ms),
            average=average(sum(trade.average_price_num for trade in trades), filled * block.hours),
            fills=fills,
        )
