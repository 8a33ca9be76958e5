"""Blocks, with what they have traded by hour and what that means for machines."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from schemas import http
from schemas.commands import Ground, Side
from schemas.edge import SIDES, TIFS, iso, iso_hour, iso_or_none
from schemas.ids import contract_of, format_order, format_symbol, hour_of
from schemas.units import Gpus, format_usd
from services.gateway.database import Row
from services.gateway.reads.naming import average, reason_name
from services.gateway.reads.projection import ROWS_MAX, Projection


class Blocks(Projection):
    """Of an account."""

    async def blocks(self, account: int, state: str, limit: int) -> list[http.BlockAnswer]:
        """The account's, newest first. `state` empty: all."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.blocks WHERE account = $1 AND ($2 = '' OR state = $2)"
            " ORDER BY accepted_ms DESC, order_id DESC LIMIT $3",
            account,
            state,
            min(limit, ROWS_MAX),
        )
        return [await self.block_answer(row) for row in rows]

    async def block(self, account: int, order: int) -> Row | None:
        """One of the account's, by id."""
        return await self._database.fetchrow(
            "SELECT * FROM settlement.blocks WHERE order_id = $1 AND account = $2", order, account
        )

    async def block_answer(self, row: Row, *, repeated: bool = False, whole: bool = False) -> http.BlockAnswer:
        """A row of `blocks`. `whole`: with what it has traded by hour, and what that means for machines."""
        of_class = await self._classes.number(row["class_no"])
        contracts = [contract_of(row["class_no"], row["first_hour"] + hour) for hour in range(row["hours"])]
        fills = await self._block_fills(row, contracts) if row["filled"] else []
        cash = sum(fill["cash"] for fill in fills)
        return http.BlockAnswer(
            block_id=format_order(row["order_id"]),
            client_order_id=row["client_id"],
            class_id=of_class["class_id"],
            from_hour=iso_hour(row["first_hour"]),
            hours=row["hours"],
            side=SIDES[row["side"]],
            qty=row["qty"],
            min_qty=row["qty_min"],
            price=format_usd(row["price"]),
            tif=TIFS[row["tif"]],
            expires=iso_or_none(row["expires_ms"]),
            state=row["state"],
            reason=reason_name(row["reason"]),
            leaves=row["leaves"],
            filled=row["filled"],
            cancelled=row["cancelled"],
            accepted_at=iso(row["accepted_ms"]),
            repeated=repeated,
            average=average(cash, row["filled"] * row["hours"]),
            by_hour=tuple(_block_hour(of_class["class_id"], fill) for fill in fills) if whole else (),
            handovers=await self._handovers(row, contracts) if whole and fills and row["side"] == Side.BUY else None,
        )

    async def _block_fills(self, row: Row, contracts: list[int]) -> list[Row]:
        fee = "buyer_fee" if row["side"] == Side.BUY else "seller_fee"
        return await self._database.fetch(
            f"SELECT contract, sum(qty)::bigint AS qty, sum(price * qty)::bigint AS cash, sum({fee})::bigint AS fee"  # noqa: S608 # one of two columns
            " FROM settlement.fills WHERE (buyer = $1 OR seller = $1) AND contract = ANY($2::bigint[])"
            " AND (taker_order = $3 OR maker_order = $3) GROUP BY contract ORDER BY contract",
            row["account"],
            contracts,
            row["order_id"],
        )

    async def _handovers(self, row: Row, contracts: list[int]) -> int:
        titles = await self._database.fetch(
            "SELECT contract, obligor, sum(qty)::bigint AS qty FROM settlement.titles WHERE contract = ANY($2::bigint[])"
            " AND holder = $1 AND ground <> $3 GROUP BY contract, obligor",
            row["account"],
            contracts,
            Ground.READY,
        )
        held: dict[int, dict[int, Gpus]] = {contract: {} for contract in contracts}
        for title in titles:
            held[title["contract"]][title["obligor"]] = title["qty"]
        return handovers(list(held.values()), row["filled"])


def handovers(held: Sequence[Mapping[int, Gpus]], qty: Gpus) -> int:
    """How often, from hour to hour, one or more of `qty` machines must change as who owes them does. `held`: obligor → GPUs."""
    changes = 0
    for before, after in itertools.pairwise(held):
        stay = sum(min(gpus, after.get(obligor, 0)) for obligor, gpus in before.items())
        changes += stay < min(qty, sum(before.values()), sum(after.values()))
    return changes


def _block_hour(class_id: str, fill: Row) -> http.BlockHour:
    return http.BlockHour(
        contract=format_symbol(class_id, hour_of(fill["contract"])),
        qty=fill["qty"],
        average=average(fill["cash"], fill["qty"]),
        notional=format_usd(fill["cash"]),
        fee=format_usd(fill["fee"]),
    )
