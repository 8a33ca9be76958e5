"""Orders of one hour and of ranges, fills, quotes, and what a client order id stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas import http
from schemas.commands import Flag, Side
from schemas.edge import SIDES, TIFS, iso, iso_or_none
from schemas.ids import format_order
from schemas.units import Price, format_usd
from services.gateway.database import Row
from services.gateway.reads.blocks import Blocks
from services.gateway.reads.naming import reason_name
from services.gateway.reads.projection import ROWS_MAX

_FILLS_SQL: Final = (
    "SELECT f.*, b.desk AS buyer_desk, s.desk AS seller_desk, t.order_id AS taker_block, m.order_id AS maker_block"
    " FROM settlement.fills f"
    " JOIN settlement.accounts b ON b.account = f.buyer JOIN settlement.accounts s ON s.account = f.seller"
    " LEFT JOIN settlement.blocks t ON t.order_id = f.taker_order"
    " LEFT JOIN settlement.blocks m ON m.order_id = f.maker_order"
)


class Known(NamedTuple):
    """What a client order id stands for: a row of `orders`, of a range its first, or one of `blocks`."""

    row: Row
    is_block: bool


class Orders(Blocks):
    """Of an account."""

    async def orders(self, account: int, state: str, contract: int, limit: int) -> list[http.OrderAnswer]:
        """The account's, newest first. `state` and `contract` empty: all."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.orders WHERE account = $1 AND ($2 = '' OR state = $2) AND ($3 = 0 OR contract = $3)"
            " ORDER BY accepted_ms DESC, order_id DESC LIMIT $4",
            account,
            state,
            contract,
            min(limit, ROWS_MAX),
        )
        return [await self.order_answer(row) for row in rows]

    async def order(self, account: int, order: int) -> Row | None:
        """One of the account's, by id."""
        return await self._database.fetchrow(
            "SELECT * FROM settlement.orders WHERE order_id = $1 AND account = $2", order, account
        )

    async def known(self, account: int, client_id: str) -> Known | None:
        """The newest of the account's with this client id; empty: none."""
        return (await self.known_of(account, {client_id})).get(client_id) if client_id else None

    async def known_of(self, account: int, client_ids: Iterable[str]) -> dict[str, Known]:
        """The same of many client ids; those that are new are not there."""
        asked = [(account, client_id) for client_id in client_ids]
        if not asked:
            return {}
        found = await self._client_ids.known(asked)
        return {client_id: await self._known(account, stands_for) for (_, client_id), stands_for in found.items()}

    async def _known(self, account: int, stands_for: Row) -> Known:
        order, is_block = stands_for["order_id"], stands_for["is_block"]
        row = await (self.block if is_block else self.order)(account, order)
        assert row is not None, f"{order} is there and cannot be read"
        return Known(row, is_block)

    async def legs(self, account: int, client_id: str) -> list[Row]:
        """All orders of one client id: of a range one per accepted hour."""
        return await self._database.fetch(
            "SELECT * FROM settlement.orders WHERE account = $1 AND client_id = $2 ORDER BY order_id",
            account,
            client_id,
        )

    async def own_against(self, account: int, contracts: Iterable[int], side: Side) -> dict[int, list[Price]]:
        """Prices of the account's open orders on the other side, by contract."""
        rows = await self._database.fetch(
            "SELECT contract, price FROM settlement.orders WHERE account = $1 AND contract = ANY($2::bigint[])"
            " AND state = 'open' AND side <> $3",
            account,
            list(contracts),
            side,
        )
        found: dict[int, list[Price]] = {}
        for row in rows:
            found.setdefault(row["contract"], []).append(row["price"])
        return found

    async def order_answer(self, row: Row, *, repeated: bool = False) -> http.OrderAnswer:
        """A row of `orders`."""
        return http.OrderAnswer(
            order_id=format_order(row["order_id"]),
            client_order_id=row["client_id"],
            contract=await self._classes.symbol(row["contract"]),
            side=SIDES[row["side"]],
            qty=row["qty"],
            price=format_usd(row["price"]),
            tif=TIFS[row["tif"]],
            expires=iso_or_none(row["expires_ms"]),
            post_only=bool(row["flags"] & Flag.POST_ONLY),
            running=bool(row["flags"] & Flag.RUNNING),
            state=row["state"],
            reason=reason_name(row["reason"]),
            leaves=row["leaves"],
            filled=row["filled"],
            cancelled=row["cancelled"],
            accepted_at=iso(row["accepted_ms"]),
            repeated=repeated,
        )

    async def fills(self, account: int, limit: int) -> list[http.FillAnswer]:
        """The account's, newest first."""
        rows = await self._database.fetch(
            f"{_FILLS_SQL} WHERE f.buyer = $1 OR f.seller = $1 ORDER BY f.time_ms DESC, f.trade DESC LIMIT $2",
            account,
            min(limit, ROWS_MAX),
        )
        return [await self._fill(account, row) for row in rows]

    async def _fill(self, account: int, row: Row) -> http.FillAnswer:
        buying = row["buyer"] == account
        taking = (row["taker_side"] == Side.BUY) == buying
        order = row["taker_order"] if taking else row["maker_order"]
        block = row["taker_block" if taking else "maker_block"] is not None
        return http.FillAnswer(
            trade=f"{row['shard']}-{row['trade']}",
            contract=await self._classes.symbol(row["contract"]),
            order_id=format_order(order) if order else "",
            block_id=format_order(order) if block else "",
            side="buy" if buying else "sell",
            role="taker" if taking else "maker",
            qty=row["qty"],
            price=format_usd(row["price"]),
            minutes=row["minutes"],
            notional=format_usd(row["notional"]),
            fee=format_usd(row["buyer_fee"] if buying else row["seller_fee"]),
            counterparty="desk" if row["seller_desk" if buying else "buyer_desk"] else "member",
            at=iso(row["time_ms"]),
        )

    async def quotes(self, account: int) -> list[http.QuotedAnswer]:
        """The last command of the account in each class."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.quotes WHERE account = $1 ORDER BY class_no", account
        )
        return [
            http.QuotedAnswer(
                class_id=(await self._classes.number(row["class_no"]))["class_id"],
                number=row["number"],
                hours=row["hours"],
                refused=row["refused"],
                updated_at=iso(row["updated_ms"]),
            )
            for row in rows
        ]
