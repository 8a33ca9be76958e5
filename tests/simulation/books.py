"""The simulated ledger against the log: M1, M2, M3, M5, M7, M8, C1, C6, S1, from rows and postings alone."""

from __future__ import annotations

from collections import defaultdict

from schemas.commands import Credit
from schemas.events import Event
from services.audit import expected as chart
from services.audit.log_model import ShardModel
from services.audit.report import Findings
from services.settlement.state import decode_outbox
from tests.simulation.simstore import SimDatabase


def check_books(found: Findings, db: SimDatabase) -> None:
    """Sums over everything."""
    entries: defaultdict[tuple[object, ...], defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    novation: defaultdict[tuple[object, ...], int] = defaultdict(int)
    balances: defaultdict[tuple[object, ...], int] = defaultdict(int)
    for *head, _line, kind, shard, ref, asset, amount in db.postings:
        assert isinstance(asset, int)
        assert isinstance(amount, int)
        entries[tuple(head)][asset] += amount
        balances[kind, shard, ref, asset] += amount
        if kind == chart.NOVATION:
            novation[*head, asset] += amount
        if kind == chart.TREASURY:
            found.expect("M6", head[0] == 3 and amount > 0, f"treasury moved by {head}")
    for entry, sums in entries.items():
        found.expect("M1", not any(sums.values()), f"entry {entry} leaves {dict(sums)}")
        found.expect("S1", entry in db.entries, f"postings of {entry} without their entry")
    for entry, rest in novation.items():
        found.expect("M8", rest == 0, f"clearing keeps {rest} of {entry}")
    for key, amount in db.balances.items():
        found.expect("M2", balances[key] == amount, f"balance {key} is {amount}, posted {balances[key]}")
        found.expect("M3", amount >= 0 or key[0] in (chart.EXTERNAL, chart.TITLES), f"balance {key} is {amount}")


def check_shard(
    found: Findings, db: SimDatabase, shard: int, model: ShardModel, events: list[tuple[int, int, Event]]
) -> None:
    """At the log's end: the ledger's copy of a shard is the log's, line by line."""
    sent: dict[int, tuple[int, int]] = {}
    bought = _bought(db, shard)
    waiting: defaultdict[int, int] = defaultdict(int)
    for row in db.tables["outbox"].values():
        command = decode_outbox(row[2])  # type: ignore[arg-type]  # the body's column
        if row[0] == shard and isinstance(command, Credit):
            sent[command.outbox] = (command.account, command.amount)
            if not row[4]:
                waiting[command.account] += command.amount
    posted: defaultdict[tuple[object, object], defaultdict[tuple[object, ...], int]] = defaultdict(
        lambda: defaultdict(int)
    )
    for source, of, seq, index, _line, kind, account_shard, ref, asset, amount in db.postings:
        if (source, of) == (1, shard) and kind != chart.NOVATION:
            posted[seq, index][kind, account_shard, ref, asset] += amount  # type: ignore[operator]  # an int column
    for seq, index, event in events:
        lines = chart.lines_of(event, shard, sent, bought)
        if lines is None:
            continue
        due: defaultdict[tuple[object, ...], int] = defaultdict(int)
        for line in lines:
            if line[0] != chart.NOVATION:
                due[line[:4]] += line[4]
        there = {key: amount for key, amount in posted.pop((seq, index), {}).items() if amount}
        found.expect(
            "M5", there == {key: amount for key, amount in due.items() if amount}, f"entry {seq}/{index}: {there}"
        )
    found.expect("S1", not posted, f"entries without an event: {list(posted)[:3]}")
    for kind, of_log in (
        (chart.TRADING, model.market.cash),
        (chart.ESCROW, model.market.escrows()),
        (chart.TRANSIT, waiting),
    ):
        there = {
            key[2]: amount for key, amount in db.balances.items() if key[:2] == (kind, shard) and key[3] == 0 and amount
        }
        due_now = {ref: amount for ref, amount in of_log.items() if amount}
        found.expect("M7", there == due_now, f"shard {shard}, kind {kind}: ledger {there}, log {due_now}")


def _bought(db: SimDatabase, shard: int) -> dict[int, tuple[int, int, int]]:
    """Outbox number -> (account, cost, provider) of machines procured: an entry of their request says what was paid."""
    numbers = {row["request_id"]: row["outbox"] for row in db.rows("outbox") if row["shard"] == shard}
    paid = {
        entry[2]: entry for entry in db.entered if entry[0] == chart.REQUEST and entry[4] == "simulated procurement"
    }
    found: dict[int, tuple[int, int, int]] = {}
    if not paid:
        return found
    lines: defaultdict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    for source, _, seq, _, _, kind, _, ref, _, amount in db.postings:
        if source == chart.REQUEST and seq in paid:
            lines[seq][kind] = (ref, amount)
    for row in db.rows("requests"):
        if row["log_offset"] in lines and row["request_id"] in numbers:
            of_request = lines[row["log_offset"]]
            (account, _), (provider, cost) = of_request[chart.WALLET], of_request[chart.EXTERNAL]
            found[numbers[row["request_id"]]] = (account, cost, provider)
    return found
