"""The postings, read by SQL, against the log model of the same seq."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from schemas.commands import Credit, OutboxCommand
from schemas.events import Event
from schemas.ids import format_order
from services.audit import expected as chart
from services.audit.expected import Line
from services.audit.log_model import ShardModel
from services.audit.report import Findings

EVENT, DELIVERY = 1, 3
"""Sources of entries."""
_outbox = msgspec.msgpack.Decoder(OutboxCommand)

Connection = asyncpg.Connection | PoolConnectionProxy


async def check_sums(db: Connection, found: Findings) -> None:
    """M1, M2, M3, M8, C1: sums over all postings and balances."""
    entries = await db.fetchval("SELECT count(*) FROM settlement.entries")
    found.looked("M1", entries)
    for row in await db.fetch(
        "SELECT source, shard, seq, index, asset, sum(amount) AS rest FROM settlement.postings"
        " GROUP BY source, shard, seq, index, asset HAVING sum(amount) <> 0"
    ):
        found.expect("M1", False, f"entry {tuple(row)[:4]} leaves {row['rest']} of asset {row['asset']}")
    novation = "FROM settlement.postings WHERE kind = $1 GROUP BY source, shard, seq, index, asset"
    count = f"SELECT count(*) FROM (SELECT 1 {novation}) AS entry"  # noqa: S608 # a constant of ours
    found.looked("M8", await db.fetchval(count, chart.NOVATION))
    for row in await db.fetch(f"SELECT source, shard, seq, index {novation} HAVING sum(amount) <> 0", chart.NOVATION):
        found.expect("M8", False, f"entry {tuple(row)}: clearing is not flat")
    for row in await db.fetch("SELECT asset, sum(amount) AS rest FROM settlement.balances GROUP BY asset"):
        found.expect("M2", row["rest"] == 0, f"balances of asset {row['asset']} sum to {row['rest']}")
    await _check_balances(db, found)
    for row in await db.fetch(
        "SELECT asset, sum(amount) AS rest FROM settlement.balances WHERE kind = $1 GROUP BY asset", chart.TITLES
    ):
        found.expect("C1", row["rest"] == 0, f"positions of contract {row['asset']} sum to {row['rest']} minutes")


async def _check_balances(db: Connection, found: Findings) -> None:
    """M2: each balance is the sum of its postings. M3: none that is somebody's is negative."""
    rows = await db.fetch(
        "SELECT kind, shard, ref, asset, coalesce(b.amount, 0) AS balance, coalesce(p.amount, 0) AS posted"
        " FROM settlement.balances b FULL JOIN (SELECT kind, account_shard AS shard, ref, asset, sum(amount) AS amount"
        " FROM settlement.postings GROUP BY kind, account_shard, ref, asset) p USING (kind, shard, ref, asset)"
    )
    for row in rows:
        account = (row["kind"], row["shard"], row["ref"], row["asset"])
        found.expect(
            "M2", row["balance"] == row["posted"], f"account {account}: {row['balance']}, posted {row['posted']}"
        )
        if row["kind"] not in (chart.EXTERNAL, chart.TITLES, chart.NOVATION):
            found.expect("M3", row["balance"] >= 0, f"account {account}: {row['balance']}")


async def check_treasury(db: Connection, found: Findings) -> None:
    """M6: treasury is paid by deliveries and by nothing else."""
    for row in await db.fetch(
        "SELECT source, shard, seq, index, amount FROM settlement.postings WHERE kind = $1", chart.TREASURY
    ):
        found.expect("M6", row["source"] == DELIVERY and row["amount"] > 0, f"treasury moved by entry {tuple(row)}")


async def check_entries(db: Connection, found: Findings, shard: int, events: Iterable[tuple[int, int, Event]]) -> None:
    """M5, S1: the shard's entries are exactly those that its events call for, line by line.

    `events`: (seq, index in the record, event), up to settlement's cursor.
    """
    posted: defaultdict[tuple[int, int], list[Line]] = defaultdict(list)
    for row in await db.fetch(
        "SELECT seq, index, kind, account_shard, ref, asset, amount FROM settlement.postings"
        " WHERE source = $1 AND shard = $2",
        EVENT,
        shard,
    ):
        posted[row["seq"], row["index"]].append(
            (row["kind"], row["account_shard"], row["ref"], row["asset"], row["amount"])
        )
    sent = await _credits(db, shard)
    for seq, index, event in events:
        lines = chart.lines_of(event, shard, sent)
        if lines is None:
            continue
        found.expect("S1", (seq, index) in posted, f"event {seq}/{index} of shard {shard} is not settled")
        there = _net(posted.pop((seq, index), []))
        due = _net(lines)
        found.expect("M5", there == due, f"entry {seq}/{index} of shard {shard}: {there}, the log calls for {due}")
    for key in posted:
        found.expect("S1", False, f"entry {key} of shard {shard} has no event")


def _net(lines: list[Line]) -> list[Line]:
    """Lines summed per account and asset, novation kept as it passes through; zero lines dropped."""
    total: defaultdict[tuple[int, int, int, int], int] = defaultdict(int)
    through: list[Line] = []
    for kind, shard, ref, asset, amount in lines:
        if kind == chart.NOVATION:
            through.append((kind, shard, ref, asset, amount))
        else:
            total[kind, shard, ref, asset] += amount
    return sorted([(*account, amount) for account, amount in total.items() if amount] + through)


async def _credits(db: Connection, shard: int) -> dict[int, tuple[int, int]]:
    rows = await db.fetch("SELECT outbox, body FROM settlement.outbox WHERE shard = $1", shard)
    bodies = [(row["outbox"], _outbox.decode(row["body"])) for row in rows]
    return {number: (body.account, body.amount) for number, body in bodies if isinstance(body, Credit)}


async def check_shard(db: Connection, found: Findings, shard: int, model: ShardModel) -> None:
    """M7, C1, C6, B5 at one (seq, chain): the ledger's copy of a shard against the log's."""
    await _compare(db, found, "M7", chart.TRADING, shard, dict(model.cash))
    await _compare(db, found, "M7", chart.ESCROW, shard, model.escrows())
    await _check_transit(db, found, shard)
    await _check_positions(db, found, shard, model)
    await _check_titles(db, found, shard, model)
    await _check_orders(db, found, shard, model)


async def _compare(db: Connection, found: Findings, name: str, kind: int, shard: int, due: dict[int, int]) -> None:
    rows = await db.fetch(
        "SELECT ref, amount FROM settlement.balances WHERE kind = $1 AND shard = $2 AND asset = 0", kind, shard
    )
    there = {row["ref"]: row["amount"] for row in rows}
    for ref in there.keys() | due.keys():
        fits = there.get(ref, 0) == due.get(ref, 0)
        found.expect(
            name, fits, f"kind {kind}, shard {shard}, {ref}: ledger {there.get(ref, 0)}, log {due.get(ref, 0)}"
        )


async def _check_transit(db: Connection, found: Findings, shard: int) -> None:
    waiting: defaultdict[int, int] = defaultdict(int)
    for row in await db.fetch("SELECT body FROM settlement.outbox WHERE shard = $1 AND NOT confirmed", shard):
        body = _outbox.decode(row["body"])
        if isinstance(body, Credit):
            waiting[body.account] += body.amount
    await _compare(db, found, "M7", chart.TRANSIT, shard, dict(waiting))


async def _check_positions(db: Connection, found: Findings, shard: int, model: ShardModel) -> None:
    due: defaultdict[tuple[int, int], int] = defaultdict(int)
    for title in model.titles.values():
        if not title.closed:
            due[title.holder, title.contract] += title.qty * title.minutes
            due[title.obligor, title.contract] -= title.qty * title.minutes
    ended = {contract for contract, phase in model.phase.items() if phase == "ended"}
    rows = await db.fetch(
        "SELECT ref, asset, amount FROM settlement.balances WHERE kind = $1 AND shard = $2", chart.TITLES, shard
    )
    there = {(row["ref"], row["asset"]): row["amount"] for row in rows if row["asset"] not in ended}
    for key in there.keys() | due.keys():
        fits = there.get(key, 0) == due.get(key, 0)
        found.expect("C1", fits, f"position {key}: ledger {there.get(key, 0)} minutes, log {due.get(key, 0)}")


async def _check_titles(db: Connection, found: Findings, shard: int, model: ShardModel) -> None:
    claims: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for row in await db.fetch("SELECT title, account, gain, loss FROM settlement.claims WHERE shard = $1", shard):
        claims[row["title"]].append((row["account"], row["gain"], row["loss"]))
    rows = await db.fetch(
        "SELECT title, escrow, proceeds, cost, fees FROM settlement.titles WHERE shard = $1 AND state IN ('live', 'closed')",
        shard,
    )
    for row in rows:
        number, escrow = row["title"], row["escrow"]
        gains = sum(gain for _, gain, _ in claims[number])
        losses = sum(loss for _, _, loss in claims[number])
        sums = (row["proceeds"] + gains + row["fees"], row["cost"] + losses)
        found.expect("C6", sums == (escrow, escrow), f"title {number}: escrow {escrow}, claims {sums}")
        title = model.titles.get(number)
        known = title is not None and (title.escrow, title.proceeds, title.cost) == (
            escrow,
            row["proceeds"],
            row["cost"],
        )
        found.expect("C6", known, f"title {number} of the ledger is {title} in the log")
    found.expect(
        "C6", len(rows) == len(model.titles), f"shard {shard}: {len(rows)} titles, the log has {len(model.titles)}"
    )


async def _check_orders(db: Connection, found: Findings, shard: int, model: ShardModel) -> None:
    rows = await db.fetch(
        "SELECT order_id, leaves, price FROM settlement.orders WHERE shard = $1 AND state = 'open'", shard
    )
    there = {row["order_id"]: (row["leaves"], row["price"]) for row in rows}
    due = {order.order: (order.leaves, order.price) for book in model.resting.values() for order in book.values()}
    for order in there.keys() | due.keys():
        fits = there.get(order) == due.get(order)
        found.expect("B5", fits, f"{format_order(order)}: projected {there.get(order)}, log {due.get(order)}")


async def check_deliveries(db: Connection, found: Findings, shard: int, model: ShardModel) -> None:
    """M6, C6: each settled title paid what its delivery record says, and an ended contract keeps no escrow of them."""
    paid: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in await db.fetch(
        "SELECT index, kind, ref, amount FROM settlement.postings"
        " WHERE source = $1 AND account_shard IN (0, $2) AND shard = $2 AND asset = 0 AND kind IN ($3, $4)",
        DELIVERY,
        shard,
        chart.WALLET,
        chart.TREASURY,
    ):
        paid[row["index"]][row["ref"] if row["kind"] == chart.WALLET else 0] += row["amount"]
    settled = await db.fetch(
        "SELECT title, undelivered FROM settlement.deliveries WHERE shard = $1 AND state = 'settled' AND title <> 0",
        shard,
    )
    for row in settled:
        title = model.ended.get(row["title"])
        if title is None:
            found.expect("C6", False, f"title {row['title']} was delivered and never ended")
            continue
        due = chart.delivered(title, row["undelivered"])
        there = {account: amount for account, amount in paid[row["title"]].items() if amount}
        found.expect("M6", there == due, f"title {row['title']}: paid {there}, due {due}")
