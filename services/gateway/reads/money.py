"""Money: balances, the ledger, payouts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from schemas import http
from schemas.commands import Ground, Side
from schemas.edge import ROLES, iso
from schemas.ids import class_no_of
from schemas.units import Micros, bid_hold, format_usd, promise_collateral
from services.gateway.database import Row
from services.gateway.errors import ApiError
from services.gateway.reads.projection import ROWS_MAX, Projection

_KINDS: Final = {2: "wallet", 3: "payout", 4: "transit", 5: "trading", 8: "collateral"}
_MONEY_SQL: Final = (
    "SELECT kind, shard, amount FROM settlement.balances WHERE ref = $1 AND asset = 0 AND kind IN (2, 3, 4, 5, 8)"
)
_BIDS_SQL: Final = (
    "SELECT shard, (contract >> 24)::int AS class_no, 1 AS hours, price, leaves, maker_bp, taker_bp FROM settlement.orders"
    " WHERE account = $1 AND state = 'open' AND side = $2"
    " UNION ALL SELECT shard, class_no, hours, price, leaves, maker_bp, taker_bp FROM settlement.blocks"
    " WHERE account = $1 AND state = 'open' AND side = $2"
)


class Trading(NamedTuple):
    """A trading balance, µUSD. Holds of quotes are not in it."""

    balance: Micros = 0
    holds: Micros = 0
    collateral: Micros = 0

    @property
    def available(self) -> Micros:
        """What new bids may use."""
        return self.balance - self.holds - self.collateral


class Money(Projection):
    """Of an account."""

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


def _trading(shard: int, money: Trading, *, quoted: bool) -> http.TradingAnswer:
    return http.TradingAnswer(
        shard=shard,
        balance=format_usd(money.balance),
        holds=format_usd(money.holds),
        collateral=format_usd(money.collateral),
        available=format_usd(money.available),
        quoted=quoted,
    )
