"""What everybody may read: hours, trades, corrections; and who the desk is."""

from __future__ import annotations

from collections.abc import Iterable

from schemas import http
from schemas.edge import SIDES, iso
from schemas.units import Hour, format_usd
from services.gateway.classes import contract_answer
from services.gateway.database import Row
from services.gateway.reads.projection import ROWS_MAX, Projection


class Market(Projection):
    """Public projections."""

    async def contracts(self, of_class: Row) -> list[http.ContractAnswer]:
        """Hours of a class that have not ended."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.contracts WHERE class_no = $1 AND phase <> 'ended' ORDER BY contract",
            of_class["class_no"],
        )
        return [contract_answer(of_class, row) for row in rows]

    async def hours(self, class_no: int, hours: Iterable[Hour]) -> dict[Hour, Row]:
        """Those of them that are listed and have not ended."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.contracts WHERE class_no = $1 AND hour = ANY($2::int[]) AND phase <> 'ended'",
            class_no,
            list(hours),
        )
        return {row["hour"]: row for row in rows}

    async def trades(self, symbol: str, contract: int, limit: int) -> list[http.TradeAnswer]:
        """Newest first, without names."""
        rows = await self._database.fetch(
            "SELECT shard, trade, price, qty, taker_side, time_ms FROM settlement.fills WHERE contract = $1"
            " ORDER BY trade DESC LIMIT $2",
            contract,
            min(limit, ROWS_MAX),
        )
        return [
            http.TradeAnswer(
                trade=f"{r['shard']}-{r['trade']}",
                contract=symbol,
                price=format_usd(r["price"]),
                qty=r["qty"],
                maker_side=SIDES[3 - r["taker_side"]],
                at=iso(r["time_ms"]),
            )
            for r in rows
        ]

    async def corrections(self, limit: int) -> list[http.CorrectionAnswer]:
        """Of all, newest first, without names."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.corrections ORDER BY time_ms DESC, shard, seq DESC, index DESC LIMIT $1",
            min(limit, ROWS_MAX),
        )
        return [_correction(row) for row in rows]

    async def correction(self, shard: int, trade: int, reason: str) -> http.CorrectionAnswer | None:
        """The one with these very words."""
        row = await self._database.fetchrow(
            "SELECT * FROM settlement.corrections WHERE shard = $1 AND trade = $2 AND reason = $3", shard, trade, reason
        )
        return None if row is None else _correction(row)

    async def is_desk(self, account: int) -> bool:
        """Whether the account is the aggregator's own."""
        if account not in self._desks:
            desk = await self._database.fetchval("SELECT desk FROM settlement.accounts WHERE account = $1", account)
            self._desks[account] = bool(desk)
        return self._desks[account]


def _correction(row: Row) -> http.CorrectionAnswer:
    return http.CorrectionAnswer(
        trade=f"{row['shard']}-{row['trade']}",
        amount=format_usd(row["amount"]),
        reason=row["reason"],
        at=iso(row["time_ms"]),
    )
