"""What client order ids stand for. Every order asks it of an id that is new, so many at once ask together.

One query is under way; what comes meanwhile is in the next one, like commands in a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from services.gateway.database import Database, Row
from services.gateway.errors import ApiError

ClientId = tuple[int, str]
"""(account, its own id of an order)."""

# For each id a look into two indexes, however large the tables and however many the ids: LATERAL with LIMIT leaves no other plan.
_SQL: Final = """
    SELECT asked.account, asked.client_id, known.order_id, known.is_block
    FROM unnest($1::bigint[], $2::text[]) AS asked (account, client_id),
    LATERAL (
        SELECT order_id, accepted_ms, false AS is_block FROM settlement.orders
            WHERE account = asked.account AND client_id = asked.client_id
        UNION ALL SELECT order_id, accepted_ms, true FROM settlement.blocks
            WHERE account = asked.account AND client_id = asked.client_id
        ORDER BY accepted_ms DESC, order_id LIMIT 1
    ) AS known
"""


class _Question:
    """Ids that are asked for together, and once somebody has asked, the answer."""

    def __init__(self) -> None:
        self.ids: set[ClientId] = set()
        self.answer: dict[ClientId, Row] | ApiError | None = None


class ClientIds:
    """Of all accounts, as they are settled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking = asyncio.Lock()
        self._next = _Question()

    async def known(self, ids: Collection[ClientId]) -> dict[ClientId, Row]:
        """(order_id, is_block) of the newest that has each id; new ids are not there. Raises ApiError not_ready."""
        assert ids, "the query has nothing to look up"
        question = self._next
        question.ids.update(ids)
        async with self._asking:
            if question.answer is None:  # who came first asks; if he has gone, the next one
                if question is self._next:
                    self._next = _Question()
                question.answer = await self._ask(question.ids)
        if isinstance(question.answer, ApiError):
            raise question.answer
        return {each: question.answer[each] for each in ids if each in question.answer}

    async def _ask(self, ids: set[ClientId]) -> dict[ClientId, Row] | ApiError:
        try:
            rows = await self._database.fetch(_SQL, *map(list, zip(*ids, strict=True)))
        except ApiError as error:
            return error
        return {(row["account"], row["client_id"]): row for row in rows}
