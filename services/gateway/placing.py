"""What placing is alike in, whatever is placed: what it needs, and a client order id that is known already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from schemas.commands import PlaceBlock, PlaceOrder
from schemas.events import Event, OrderRepeated
from services.gateway.auth import Caller
from services.gateway.classes import Classes
from services.gateway.database import Row
from services.gateway.delivery import DeliveryRoom
from services.gateway.errors import ApiError
from services.gateway.funding import Funding
from services.gateway.progress import Progress
from services.gateway.reads import Known, Reads
from services.gateway.shards import Shards
from services.gateway.telling import Telling, duplicate


class Placing:
    """Of orders, blocks and ranges."""

    def __init__(
        self,
        shards: Shards,
        classes: Classes,
        reads: Reads,
        progress: Progress,
        funding: Funding,
        telling: Telling,
        delivery: DeliveryRoom,
    ) -> None:
        self._shards = shards
        self._classes = classes
        self._reads = reads
        self._progress = progress
        self._funding = funding
        self._telling = telling
        self._delivery = delivery

    async def _repeat_settled(
        self, caller: Caller, known: Known, command: PlaceOrder | PlaceBlock, terms: Iterable[str]
    ) -> Row:
        """The row of a known id, for the same body: as it is settled so far, however far settlement lags. Raises ApiError."""
        row, is_block = known.row, isinstance(command, PlaceBlock)
        if known.is_block != is_block or any(row[name] != getattr(command, name) for name in terms):
            raise duplicate(row["order_id"])
        with contextlib.suppress(ApiError):
            await self._progress.wait_for(caller.account)
            row = await self._row(caller, row["order_id"], is_block=is_block) or row
        return row

    async def _repeat_accepted(self, caller: Caller, outcome: Event, *, is_block: bool) -> Row:
        """What the engine knows under the id, once it is settled. Raises ApiError not_settled_yet."""
        assert isinstance(outcome, OrderRepeated), f"{outcome!r} answers something else"
        await self._progress.wait_for(caller.account)
        row = await self._row(caller, outcome.order, is_block=is_block)
        assert row is not None, f"{outcome.order} is settled and not there"
        return row

    async def _row(self, caller: Caller, order: int, *, is_block: bool) -> Row | None:
        return await (self._reads.block if is_block else self._reads.order)(caller.account, order)
