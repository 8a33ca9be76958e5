"""Whose hours are whose: positions, backing, and what operators must see to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas import http
from schemas.commands import Ground, Role
from schemas.edge import GROUNDS, iso_hour
from schemas.ids import hour_of
from schemas.units import Gpus, format_usd
from services.gateway.reads.projection import Projection

_FREE_SQL: Final = """
    SELECT c.contract, greatest(0,
        CASE WHEN c.phase = 'forward' THEN coalesce((SELECT sum(t.qty) FROM settlement.titles t
            WHERE t.contract = c.contract AND t.holder = $1 AND t.state = 'live' AND t.ground <> 3), 0) ELSE 0 END
        + coalesce((SELECT sum(greatest(0, k.qty - k.owed)) FROM settlement.backing k
            WHERE k.account = $1 AND k.contract = c.contract AND k.ground = ANY($3::int[])), 0)
        - coalesce((SELECT sum(o.leaves) FROM settlement.orders o
            WHERE o.account = $1 AND o.contract = c.contract AND o.state = 'open' AND o.side = 2), 0)
        - coalesce((SELECT sum(b.leaves) FROM settlement.blocks b
            WHERE b.account = $1 AND b.class_no = c.class_no AND b.state = 'open' AND b.side = 2
            AND c.hour >= b.first_hour AND c.hour < b.first_hour + b.hours), 0)) AS free
    FROM settlement.contracts c WHERE c.contract = ANY($2::bigint[])
    AND NOT EXISTS (SELECT FROM settlement.quotes q WHERE q.account = $1 AND q.class_no = c.class_no AND q.hours > 0)
"""


_CAPACITY_SQL: Final = """
    WITH asked AS (
        SELECT contract, sum(leaves) AS leaves FROM (
            SELECT o.contract, o.leaves FROM settlement.orders o
            WHERE o.account = $1 AND o.state = 'open' AND o.side = 2
            UNION ALL
            SELECT c.contract, b.leaves FROM settlement.blocks b JOIN settlement.contracts c
            ON c.class_no = b.class_no AND c.hour >= b.first_hour AND c.hour < b.first_hour + b.hours
            WHERE b.account = $1 AND b.state = 'open' AND b.side = 2) each GROUP BY contract)
    SELECT k.*, coalesce(asked.leaves, 0) AS asked FROM settlement.backing k LEFT JOIN asked USING (contract)
    WHERE k.account = $1 ORDER BY k.contract, k.ground
"""


class Hours(Projection):
    """Of an account, and of all."""

    async def free(self, account: int, contracts: Iterable[int], ground: tuple[int, ...]) -> dict[int, Gpus]:
        """What the account may still offer in each contract, as settled; hours in which it quotes are left out: unknown."""
        rows = await self._database.fetch(_FREE_SQL, account, list(contracts), list(ground))
        return {row["contract"]: int(row["free"]) for row in rows}

    async def positions(self, account: int) -> list[http.PositionAnswer]:
        """Hours held and owed that are not settled, by contract."""
        rows = await self._database.fetch(
            # Titles are kept for ever. The array has them looked up by contract: a plain join reads them all.
            "SELECT t.contract, c.phase,"
            " sum(CASE WHEN holder = $1 THEN qty ELSE 0 END) AS held, sum(CASE WHEN obligor = $1 THEN qty ELSE 0 END) AS owed,"
            " sum(CASE WHEN holder = $1 AND ground = $2 THEN qty ELSE 0 END) AS running,"
            " sum(CASE WHEN holder = $1 THEN cost ELSE 0 END) AS cost,"
            " sum(CASE WHEN obligor = $1 THEN proceeds ELSE 0 END) AS proceeds"
            " FROM settlement.titles t JOIN settlement.contracts c USING (contract)"
            " WHERE t.contract = ANY(ARRAY(SELECT contract FROM settlement.contracts WHERE NOT paid_out))"
            " AND (holder = $1 OR obligor = $1) AND t.state IN ('live', 'ended')"
            " GROUP BY t.contract, c.phase"
            " ORDER BY (t.contract & 16777215), t.contract",
            account,
            Ground.READY,
        )
        return [
            http.PositionAnswer(
                contract=await self._classes.symbol(row["contract"]),
                hour=iso_hour(hour_of(row["contract"])),
                phase=row["phase"],
                held=int(row["held"]),
                owed=int(row["owed"]),
                cost=format_usd(int(row["cost"])),
                proceeds=format_usd(int(row["proceeds"])),
                running=int(row["running"]),
            )
            for row in rows
        ]

    async def capacity(self, account: int) -> list[http.CapacityAnswer]:
        """Backing in hours that have not ended."""
        rows = await self._database.fetch(_CAPACITY_SQL, account)
        return [
            http.CapacityAnswer(
                contract=await self._classes.symbol(row["contract"]),
                ground=GROUNDS[row["ground"]],
                qty=row["qty"],
                owed=row["owed"],
                collateral_price=format_usd(row["collateral_price"]),
                version=row["version"],
                asked=int(row["asked"]),
            )
            for row in rows
        ]

    async def promises(self) -> list[http.PromisedAnswer]:
        """What all accounts owe as promised in forward hours, the next hour first."""
        rows = await self._database.fetch(
            "SELECT p.account, p.contract, p.owed, p.collateral_price, coalesce(d.qty, 0) AS declared"
            " FROM settlement.backing p JOIN settlement.contracts c USING (contract)"
            " LEFT JOIN settlement.backing d ON (d.account, d.contract, d.ground) = (p.account, p.contract, $2)"
            " WHERE p.ground = $1 AND p.owed > 0 AND c.phase = 'forward'"
            " ORDER BY (p.contract & 16777215), p.contract, p.account",
            Ground.PROMISED,
            Ground.DECLARED,
        )
        return [
            http.PromisedAnswer(
                account=row["account"],
                contract=await self._classes.symbol(row["contract"]),
                hour=iso_hour(hour_of(row["contract"])),
                owed=row["owed"],
                collateral_price=format_usd(row["collateral_price"]),
                declared=row["declared"],
            )
            for row in rows
        ]

    async def uncovered(self) -> list[http.UncoveredAnswer]:
        """Titles of market makers in hours that have begun, with no machine behind them and no delivery record."""
        rows = await self._database.fetch(
            "SELECT t.contract, t.title, t.obligor, t.ground, t.qty, t.minutes, t.state FROM settlement.titles t"
            " JOIN settlement.accounts a ON a.account = t.obligor"
            " WHERE t.contract = ANY(ARRAY(SELECT contract FROM settlement.contracts WHERE NOT paid_out AND phase <> 'forward'))"
            " AND t.state IN ('live', 'ended') AND t.ground = ANY($1::int[]) AND a.role = $2"
            " AND NOT EXISTS (SELECT FROM settlement.procurements p WHERE p.contract = t.contract AND p.title = t.title)"
            " AND NOT EXISTS (SELECT FROM settlement.deliveries d WHERE d.contract = t.contract AND d.title IN (0, t.title))"
            " ORDER BY (t.contract & 16777215), t.contract, t.title",
            [Ground.PROMISED, Ground.READY],
            Role.MARKET_MAKER,
        )
        return [
            http.UncoveredAnswer(
                account=row["obligor"],
                contract=await self._classes.symbol(row["contract"]),
                hour=iso_hour(hour_of(row["contract"])),
                title=row["title"],
                ground="ready" if row["ground"] == Ground.READY else "promised",
                qty=row["qty"],
                minutes=row["minutes"],
                ended=row["state"] == "ended",
            )
            for row in rows
        ]

    async def was_listed(self, contract: int) -> bool:
        """Whether it ever was."""
        query = "SELECT EXISTS (SELECT FROM settlement.contracts WHERE contract = $1)"
        return bool(await self._database.fetchval(query, contract))

    async def undelivered(self) -> list[http.UndeliveredAnswer]:
        """Ended hours with titles of which no delivery record speaks, the oldest first."""
        rows = await self._database.fetch(
            "SELECT t.contract, count(*) AS titles FROM settlement.titles t"
            " WHERE t.contract = ANY(ARRAY(SELECT contract FROM settlement.contracts WHERE NOT paid_out AND phase = 'ended'))"
            " AND t.state = 'ended' AND NOT EXISTS (SELECT FROM settlement.deliveries d"
            " WHERE d.contract = t.contract AND d.title IN (0, t.title))"
            " GROUP BY t.contract ORDER BY (t.contract & 16777215), t.contract"
        )
        return [
            http.UndeliveredAnswer(
                contract=await self._classes.symbol(row["contract"]),
                hour=iso_hour(hour_of(row["contract"])),
                titles=row["titles"],
            )
            for row in rows
        ]
