"""M1, M2, M3, M6, M8, C1, S1: sums over all postings and balances, without a look at any log."""

from __future__ import annotations

from services.audit import expected as chart
from services.audit.database import Connection
from services.audit.report import Findings

_ENTRY = "source, shard, seq, index"


async def check_sums(db: Connection, found: Findings) -> None:
    """Everything that the ledger says by itself."""
    await _check_entries(db, found)
    await _check_clearing(db, found)
    await _check_balances(db, found)
    await _check_treasury(db, found)
    await _check_identity(db, found)


async def _check_entries(db: Connection, found: Findings) -> None:
    sums = f"FROM settlement.postings GROUP BY {_ENTRY}, asset"
    found.looked("M1", await db.fetchval(f"SELECT count(*) FROM (SELECT 1 {sums}) AS entry"))  # noqa: S608 # constants of ours
    for row in await db.fetch(f"SELECT {_ENTRY}, asset, sum(amount) AS rest {sums} HAVING sum(amount) <> 0"):
        found.expect("M1", False, f"entry {tuple(row)[:4]} leaves {row['rest']} of asset {row['asset']}")


async def _check_clearing(db: Connection, found: Findings) -> None:
    novation = f"FROM settlement.postings WHERE kind = {chart.NOVATION} GROUP BY {_ENTRY}, asset"
    found.looked("M8", await db.fetchval(f"SELECT count(*) FROM (SELECT 1 {novation}) AS entry"))  # noqa: S608 # constants of ours
    for row in await db.fetch(f"SELECT {_ENTRY}, sum(amount) AS rest {novation} HAVING sum(amount) <> 0"):
        found.expect("M8", False, f"entry {tuple(row)[:4]}: clearing keeps {row['rest']} minutes")


async def _check_balances(db: Connection, found: Findings) -> None:
    for row in await db.fetch("SELECT asset, sum(amount) AS rest FROM settlement.balances GROUP BY asset"):
        found.expect("M2", row["rest"] == 0, f"balances of asset {row['asset']} sum to {row['rest']}")
    for row in await db.fetch(
        "SELECT asset, sum(amount) AS rest FROM settlement.balances WHERE kind = $1 GROUP BY asset", chart.TITLES
    ):
        found.expect("C1", row["rest"] == 0, f"positions of contract {row['asset']} sum to {row['rest']} minutes")
    rows = await db.fetch(
        "SELECT kind, shard, ref, asset, coalesce(b.amount, 0) AS balance, coalesce(p.amount, 0) AS posted"
        " FROM settlement.balances b FULL JOIN (SELECT kind, account_shard AS shard, ref, asset, sum(amount) AS amount"
        " FROM settlement.postings GROUP BY kind, account_shard, ref, asset) p USING (kind, shard, ref, asset)"
    )
    for row in rows:
        account, balance, posted = (row["kind"], row["shard"], row["ref"], row["asset"]), row["balance"], row["posted"]
        found.expect("M2", balance == posted, f"account {account}: {balance}, posted {posted}")
        if row["kind"] not in (chart.EXTERNAL, chart.TITLES, chart.NOVATION):
            found.expect("M3", balance >= 0, f"account {account}: {balance}")


async def _check_treasury(db: Connection, found: Findings) -> None:
    for row in await db.fetch(
        f"SELECT {_ENTRY}, amount FROM settlement.postings WHERE kind = $1",  # noqa: S608 # a constant of ours
        chart.TREASURY,
    ):
        found.saw("M6", "deliveries")
        came = row["source"] == chart.DELIVERY and row["amount"] > 0
        went = row["source"] == chart.HANDOVER and row["amount"] < 0
        found.expect("M6", came or went, f"treasury moved by entry {tuple(row)[:4]}: {row['amount']}")


async def _check_identity(db: Connection, found: Findings) -> None:
    """No postings without their entry, no entry without postings."""
    rows = await db.fetch(
        f"SELECT {_ENTRY}, e.what IS NULL AS nameless, p.lines IS NULL AS empty FROM settlement.entries e FULL JOIN"  # noqa: S608
        f" (SELECT {_ENTRY}, count(*) AS lines FROM settlement.postings GROUP BY {_ENTRY}) p USING ({_ENTRY})"
        " WHERE e.what IS NULL OR p.lines IS NULL"
    )
    for row in rows:
        what = "has postings and is no entry" if row["nameless"] else "has no postings"
        found.expect("S1", False, f"{tuple(row)[:4]} {what}")
