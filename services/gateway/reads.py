"""What members and the public read: settlement's projections in Postgres, turned into the answers of `schemas.http`.

Read-only. A caller's reads wait until settlement has passed what concerns him (`progress.Progress.wait_for`).
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from schemas import http
from schemas.commands import Flag, Ground, Role, Side
from schemas.events import Reason
from schemas.ids import class_no_of, contract_of, format_order, format_symbol, hour_of
from schemas.units import Gpus, Hour, Micros, Price, bid_hold, format_usd, promise_collateral
from services.gateway.classes import GROUNDS, ROLES, SIDES, TIFS, Classes, contract_answer
from services.gateway.database import Database, Row
from services.gateway.errors import ApiError
from services.gateway.times import iso, iso_hour, iso_or_none

ROWS_MAX: Final = 500
_KINDS: Final = {2: "wallet", 3: "payout", 4: "transit", 5: "trading", 8: "collateral"}
_KNOWN_SQL: Final = (
    "SELECT order_id, is_block FROM ("
    "SELECT order_id, accepted_ms, false AS is_block FROM settlement.orders WHERE account = $1 AND client_id = $2"
    " UNION ALL SELECT order_id, accepted_ms, true FROM settlement.blocks WHERE account = $1 AND client_id = $2"
    ") known ORDER BY accepted_ms DESC, order_id LIMIT 1"
)
_FILLS_SQL: Final = (
    "SELECT f.*, b.desk AS buyer_desk, s.desk AS seller_desk, t.order_id AS taker_block, m.order_id AS maker_block"
    " FROM settlement.fills f"
    " JOIN settlement.accounts b ON b.account = f.buyer JOIN settlement.accounts s ON s.account = f.seller"
    " LEFT JOIN settlement.blocks t ON t.order_id = f.taker_order"
    " LEFT JOIN settlement.blocks m ON m.order_id = f.maker_order"
)
_MONEY_SQL: Final = (
    "SELECT kind, shard, amount FROM settlement.balances WHERE ref = $1 AND asset = 0 AND kind IN (2, 3, 4, 5, 8)"
)
_BIDS_SQL: Final = (
    "SELECT shard, (contract >> 24)::int AS class_no, 1 AS hours, price, leaves, maker_bp, taker_bp FROM settlement.orders"
    " WHERE account = $1 AND state = 'open' AND side = $2"
    " UNION ALL SELECT shard, class_no, hours, price, leaves, maker_bp, taker_bp FROM settlement.blocks"
    " WHERE account = $1 AND state = 'open' AND side = $2"
)

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


class Known(NamedTuple):
    """What a client order id stands for: a row of `orders`, of a range its first, or one of `blocks`."""

    row: Row
    is_block: bool


class Trading(NamedTuple):
    """A trading balance, µUSD. Holds of quotes are not in it."""

    balance: Micros = 0
    holds: Micros = 0
    collateral: Micros = 0

    @property
    def available(self) -> Micros:
        """What new bids may use."""
        return self.balance - self.holds - self.collateral


class Reads:
    """Queries. Amounts leave as decimal strings."""

    def __init__(self, database: Database, classes: Classes) -> None:
        self._database = database
        self._classes = classes
        self._desks: dict[int, bool] = {}
        """account -> whether it is the aggregator's own, which never changes."""

    # --- Market ----------------------------------------------------------------------------------------

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

    async def free(self, account: int, contracts: Iterable[int], ground: tuple[int, ...]) -> dict[int, Gpus]:
        """What the account may still offer in each contract, as settled; hours in which it quotes are left out: unknown."""
        rows = await self._database.fetch(_FREE_SQL, account, list(contracts), list(ground))
        return {row["contract"]: int(row["free"]) for row in rows}

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

    # --- Orders and fills ------------------------------------------------------------------------------

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
        """The newest of the account's with this client id. One query for the many that are new."""
        if not client_id:
            return None
        found = await self._database.fetchrow(_KNOWN_SQL, account, client_id)
        if found is None:
            return None
        is_block = found["is_block"]
        row = await (self.block if is_block else self.order)(account, found["order_id"])
        assert row is not None, f"{found['order_id']} is there and cannot be read"
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

    # --- Blocks, quotes, corrections -------------------------------------------------------------------

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

    # --- Money and hours -------------------------------------------------------------------------------

    async def account(self, account: int, scopes: tuple[str, ...]) -> http.AccountAnswer:
        """Raises ApiError unknown_account."""
        row = await self._database.fetchrow("SELECT * FROM settlement.accounts WHERE account = $1", account)
        if row is None:
            raise ApiError("unknown_account")
        return http.AccountAnswer(
            account=account, owner=row["owner"], name=row["name"], role=ROLES[row["role"]], scopes=scopes
        )

    async def balance(self, account: int, shards: int) -> http.BalanceAnswer:
        """At one moment of settlement."""
        async with self._database.snapshot() as db:
            rows = await db.fetch(_MONEY_SQL, account)
            trading = await self._trading(db, account, rows)
            quoted = await db.fetch(
                "SELECT DISTINCT shard FROM settlement.quotes WHERE account = $1 AND hours > 0", account
            )
        total: defaultdict[str, int] = defaultdict(int)
        for row in rows:
            total[_KINDS[row["kind"]]] += row["amount"]
        with_quotes = {row["shard"] for row in quoted}
        return http.BalanceAnswer(
            account=account,
            wallet=format_usd(total["wallet"]),
            in_transit=format_usd(total["transit"]),
            payouts=format_usd(total["payout"]),
            waiting_collateral=format_usd(total["collateral"]),
            trading=tuple(
                _trading(shard, trading.get(shard, Trading()), quoted=shard in with_quotes) for shard in range(shards)
            ),
        )

    async def trading(self, account: int, shard: int) -> Trading:
        """The account's trading balance in one shard, as it is settled."""
        async with self._database.snapshot() as db:
            trading = await self._trading(db, account, await db.fetch(_MONEY_SQL, account))
        return trading.get(shard, Trading())

    async def wallet(self, account: int) -> Micros:
        """Money at rest."""
        rows = await self._database.fetch(_MONEY_SQL, account)
        return sum(row["amount"] for row in rows if _KINDS[row["kind"]] == "wallet")

    async def _trading(self, db: Any, account: int, money: Sequence[Row]) -> dict[int, Trading]:  # noqa: ANN401 # a connection
        bids = await db.fetch(_BIDS_SQL, account, Side.BUY)
        promises = await db.fetch(
            "SELECT contract, qty, owed, collateral_price FROM settlement.backing WHERE account = $1 AND ground = ANY($2::int[])",
            account,
            [Ground.PROMISED, Ground.READY],
        )
        found: defaultdict[int, Trading] = defaultdict(Trading)
        for row in money:
            if _KINDS[row["kind"]] == "trading":
                shard = found[row["shard"]]
                found[row["shard"]] = shard._replace(balance=shard.balance + row["amount"])
        for bid in bids:
            lot = (await self._classes.number(bid["class_no"]))["lot"]
            hold = bid_hold(bid["price"], bid["leaves"] * bid["hours"], lot, max(bid["maker_bp"], bid["taker_bp"]))
            shard = found[bid["shard"]]
            found[bid["shard"]] = shard._replace(holds=shard.holds + hold)
        for promise in promises:
            row = await self._classes.number(class_no_of(promise["contract"]))
            unit = promise_collateral(promise["collateral_price"], row["buyer_taker"])
            shard = found[row["shard"]]
            collateral = shard.collateral + max(promise["qty"], promise["owed"]) * unit
            found[row["shard"]] = shard._replace(collateral=collateral)
        return dict(found)

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

    async def ledger(self, account: int, limit: int) -> list[http.LineAnswer]:
        """The account's lines, newest first."""
        rows = await self._database.fetch(
            "SELECT e.source, e.shard, e.seq, e.index, e.what, e.time_ms, p.kind, p.amount FROM settlement.postings p"
            " JOIN settlement.entries e USING (source, shard, seq, index)"
            " WHERE p.ref = $1 AND p.kind IN (2, 3, 4, 5, 8) AND p.asset = 0"
            " ORDER BY e.time_ms DESC, e.source, e.shard, e.seq DESC, e.index DESC, p.line LIMIT $2",
            account,
            min(limit, ROWS_MAX),
        )
        return [
            http.LineAnswer(
                entry=f"{r['source']}-{r['shard']}-{r['seq']}-{r['index']}",
                what=r["what"],
                kind=_KINDS[r["kind"]],
                amount=format_usd(r["amount"]),
                at=iso(r["time_ms"]),
            )
            for r in rows
        ]

    async def withdrawals(self, account: int, *, simulated: bool) -> list[http.WithdrawalAnswer]:
        """Newest first. `simulated`: what pays them out is a stand-in."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.payouts WHERE account = $1 ORDER BY payout DESC LIMIT $2", account, ROWS_MAX
        )
        return [
            http.WithdrawalAnswer(
                payout=r["payout"],
                amount=format_usd(r["amount"]),
                destination=r["destination"],
                state=r["state"],
                created_at=iso(r["created_ms"]),
                updated_at=iso(r["updated_ms"]),
                simulated=simulated,
            )
            for r in rows
        ]

    async def capacity(self, account: int) -> list[http.CapacityAnswer]:
        """Backing in hours that have not ended."""
        rows = await self._database.fetch(
            "SELECT * FROM settlement.backing WHERE account = $1 ORDER BY contract, ground", account
        )
        return [
            http.CapacityAnswer(
                contract=await self._classes.symbol(row["contract"]),
                ground=GROUNDS[row["ground"]],
                qty=row["qty"],
                owed=row["owed"],
                collateral_price=format_usd(row["collateral_price"]),
                version=row["version"],
            )
            for row in rows
        ]


def average(cash: Micros, gpu_hours: int) -> str:
    """USD per GPU-hour, rounded to the nearest µUSD; nothing traded: empty."""
    return format_usd((2 * cash + gpu_hours) // (2 * gpu_hours)) if gpu_hours else ""


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


def _correction(row: Row) -> http.CorrectionAnswer:
    return http.CorrectionAnswer(
        trade=f"{row['shard']}-{row['trade']}",
        amount=format_usd(row["amount"]),
        reason=row["reason"],
        at=iso(row["time_ms"]),
    )


def reason_name(reason: int) -> str:
    """`Reason` → its name at the edge; 0: none."""
    return Reason(reason).name.lower() if reason else ""


def _trading(shard: int, money: Trading, *, quoted: bool) -> http.TradingAnswer:
    return http.TradingAnswer(
        shard=shard,
        balance=format_usd(money.balance),
        holds=format_usd(money.holds),
        collateral=format_usd(money.collateral),
        available=format_usd(money.available),
        quoted=quoted,
    )
