"""What is judged once all is quiet: receipts against the log, the ledger against the books of those who paid, the auditor.

Nothing here trusts what a service says of itself: it reads the log and the tables past all of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Any, Final

from schemas.codec import ChainReader, decode_record, read_headers
from schemas.events import TitleEnded
from schemas.ids import parse_order
from schemas.units import parse_usd
from services.audit.report import Findings
from services.audit.run import audit
from services.cli.furnishing import BOT_USD, DESK_USD, HOST_USD, HOSTS, MEMBER_USD
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool
from services.runtime.walls import OPERATOR
from tests.chaos.exchange import SHARDS, Exchange
from tests.chaos.receipts import Fate, Receipt, Receipts
from tests.chaos.rooms import judge_rooms
from tests.chaos.verdict import Verdict
from tests.simulation.heard import Accepted, Heard, Place

NOT_IN_A_DAY: Final = {"B7"}
"""Nobody corrects a trade here, so the auditor need not have looked at corrections."""
FIRST_OPERATOR: Final = 1 << 40
"""Owner of the first operator's key, which has no account."""
_EXTERNAL: Final = 1


def judge(exchange: Exchange, receipts: Receipts) -> Verdict:
    """Everything."""
    verdict = Verdict()
    heard, ended = exchange.background.do(_read_events(exchange), 600)
    _Receipts(verdict, heard, receipts).judge()
    judge_rooms(verdict, exchange, receipts, heard, ended)
    _judge_requests(verdict, exchange, receipts)
    _judge_money(verdict, exchange, receipts)
    _judge_audit(verdict, exchange)
    return verdict


async def _read_events(exchange: Exchange) -> tuple[Heard, list[TitleEnded]]:
    """All that was ever said, each once and without a gap, and the titles of hours that are over. Raises Gap, BrokenRecord."""
    heard, ended = Heard(), list[TitleEnded]()
    async with Cluster(exchange.stack.bootstrap, login=exchange.stack.login(OPERATOR)) as cluster:
        for shard in range(SHARDS):
            log = cluster.log("events", shard)
            chain = ChainReader(0, bytes(16))
            position, end = await log.bounds()
            while position < end:
                for record in await log.read(position, wait_ms=5_000):
                    position = record.offset + 1
                    if chain.accept(read_headers(record.headers), record.value):
                        said = decode_record(record.value)
                        heard.hear(said)
                        ended += [event for event in said.events if isinstance(event, TitleEnded)]
    return heard, ended


# --- What members were told ---------------------------------------------------------------------------------------


class _Receipts:
    """Orders, ranges, blocks, cancels, amends and quotes."""

    def __init__(self, verdict: Verdict, heard: Heard, receipts: Receipts) -> None:
        self._verdict = verdict
        self._heard = heard
        self._receipts = receipts
        self._placed: defaultdict[tuple[int, str], defaultdict[Place, list[Accepted]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for event in heard.accepted.values():
            if event.client_id:
                self._placed[event.account, event.client_id][event.place].append(event)

    def judge(self) -> None:
        judges = {
            "order": self._placing, "range": self._placing, "block": self._placing, "repeat": self._repeat,
            "cancel": self._cancel, "quotes": self._quotes,
        }  # fmt: skip
        for receipt in self._receipts.all:
            if receipt.what in judges:
                self._verdict.looked_at[f"{receipt.what}s told"] += 1
                judges[receipt.what](receipt)
        self._amends()
        for account, events in self._heard.quotes.items():
            # Numbered by account and class.
            for (class_no, number), count in Counter((event.class_no, event.number) for event in events).items():
                if count > 1:
                    self._verdict.doubled.append(f"quote {number} of {account} in class {class_no}: {count} times")

    def _placing(self, receipt: Receipt) -> None:
        """Acknowledged: in the log once, as it was told. Refused, and never in doubt: not there. Nobody is left in doubt."""
        commands = self._placed.get((receipt.account, receipt.name), {})
        what = f"{receipt.what} {receipt.name} of {receipt.account}"
        if len(commands) > 1:
            self._verdict.doubled.append(f"{what}: at {sorted(commands)}")
        if receipt.fate is Fate.UNKNOWN:
            self._verdict.wrong.append(f"{what} was never answered, sent {receipt.sent} times")
        if receipt.fate is Fate.REFUSED and not receipt.doubts and commands:
            self._verdict.wrong.append(f"{what} was refused ({receipt.refusal}) and is in the log")
        there = {event.order: event for events in commands.values() for event in events}
        for answer in receipt.answers:
            told = _orders_told(receipt.what, answer)
            if receipt.what == "range" and not told:
                continue  # each hour was refused by itself
            if told != set(there):
                self._verdict.lost.append(f"{what}: told {sorted(told)}, the log has {sorted(there)}")
            elif receipt.what != "range":
                self._terms(what, answer, next(iter(there.values())))

    def _terms(self, what: str, answer: dict[str, Any], event: Accepted) -> None:
        """What cannot change any more, and what it traded at once."""
        told = [
            (int(fill["trade"].split("-")[1]), fill["qty"], parse_usd(fill["price"]), parse_usd(fill["fee"]))
            for fill in answer["fills"]
        ]
        fills = [
            (fill.trade, fill.qty, fill.price, fill.buyer_fee if event.side == 1 else fill.seller_fee)
            for fill in self._heard.fills[event.order, event.place]
        ]
        if answer["qty"] != event.qty or (not answer["repeated"] and told != fills):
            self._verdict.lost.append(f"{what}: told {answer['qty']}, {told}, the log has {event.qty}, {fills}")

    def _repeat(self, receipt: Receipt) -> None:
        """A request sent once more is the order that it was."""
        commands = self._placed.get((receipt.account, receipt.name), {})
        there = {event.order for events in commands.values() for event in events}
        for answer in receipt.answers:
            if _orders_told("order", answer) != there:
                self._verdict.doubled.append(f"repeat of {receipt.name}: told {answer['order_id']}, first {there}")

    def _cancel(self, receipt: Receipt) -> None:
        event = self._heard.asked.get(parse_order(receipt.name))
        told = [answer["cancelled"] for answer in receipt.answers]
        there = [event.qty] if event is not None and event.account == receipt.account else []
        if told and told != there:
            self._verdict.lost.append(f"cancel of {receipt.name}: told {told}, the log has {there}")
        if receipt.fate is Fate.REFUSED and not receipt.doubts and there:
            self._verdict.wrong.append(f"cancel of {receipt.name} was refused ({receipt.refusal}) and is in the log")
        if receipt.fate is Fate.UNKNOWN:
            self._verdict.wrong.append(f"cancel of {receipt.name} was never answered, sent {receipt.sent} times")

    def _quotes(self, receipt: Receipt) -> None:
        numbers = [event.number for event in self._heard.quotes[receipt.account]]
        for answer in receipt.answers:
            if numbers.count(answer["number"]) == 0:
                self._verdict.lost.append(f"quote {answer['number']} of {receipt.account}")

    def _amends(self) -> None:
        """Sent once each: never more in the log than were sent, never less than were acknowledged, and these as told."""
        by_order: defaultdict[int, list[Receipt]] = defaultdict(list)
        for receipt in self._receipts.of("amend"):
            self._verdict.looked_at["amends told"] += 1
            by_order[parse_order(receipt.name)].append(receipt)
        for order, receipts in by_order.items():
            there = Counter((event.qty, event.price) for event, _ in self._heard.amended[order])
            told = Counter(
                (answer["qty"], parse_usd(answer["price"])) for receipt in receipts for answer in receipt.answers
            )
            if told - there:
                self._verdict.lost.append(f"amends of {order}: told {told}, the log has {there}")
            if there.total() > sum(receipt.sent for receipt in receipts if receipt.answers or receipt.doubts):
                self._verdict.doubled.append(f"amends of {order}: {there}, sent {len(receipts)}")


def _orders_told(what: str, answer: dict[str, Any]) -> set[int]:
    match what:
        case "range":
            return {parse_order(leg["order"]["order_id"]) for leg in answer["legs"] if leg["order"]}
        case "block":
            return {parse_order(answer["block_id"])}
        case _:
            return {parse_order(answer["order_id"])}


# --- Requests to settlement, and the money that came and went -----------------------------------------------------


def _judge_requests(verdict: Verdict, exchange: Exchange, receipts: Receipts) -> None:
    """Deposits, transfers, withdrawals, backing: each stands in the tables as it was told, and moved money once."""
    rows = {row["request_id"]: row for row in exchange.rows("SELECT request_id, state, code FROM settlement.requests")}
    messages = Counter(row["request_id"] for row in exchange.rows("SELECT request_id FROM settlement.outbox"))
    payouts = Counter(row["request_id"] for row in exchange.rows("SELECT request_id FROM settlement.payouts"))
    deposits = Counter(row["request_id"] for row in exchange.rows("SELECT request_id FROM settlement.deposits"))
    effects = {"transfer": messages, "backing": messages, "withdrawal": payouts, "deposit": deposits}
    for receipt in receipts.of(*effects):
        verdict.looked_at[f"{receipt.what}s told"] += 1
        name = f"{receipt.account or f'op{FIRST_OPERATOR}'}:{receipt.name}"
        row = rows.get(name)
        what = f"{receipt.what} {name}"
        if receipt.fate is Fate.UNKNOWN:
            verdict.wrong.append(f"{what} was never answered, sent {receipt.sent} times")
        elif receipt.fate is Fate.ACKNOWLEDGED and (row is None or row["state"] != "done"):
            verdict.lost.append(f"{what} was acknowledged, and is {row}")
        elif receipt.fate is Fate.REFUSED and row is not None and row["state"] != "refused":
            verdict.wrong.append(f"{what} was refused ({receipt.refusal}), and is {row}")
        if receipt.answers and effects[receipt.what][name] != 1:
            kind = verdict.lost if effects[receipt.what][name] == 0 else verdict.doubled
            kind.append(f"{what} had {effects[receipt.what][name]} effects")


def _judge_money(verdict: Verdict, exchange: Exchange, receipts: Receipts) -> None:
    """What came in less what went out is what accounts hold, to the µUSD: by the books of those who paid, and by all postings."""
    for row in exchange.rows("SELECT asset, sum(amount) AS total FROM settlement.postings GROUP BY asset"):
        verdict.looked_at["assets summed"] += 1
        if row["total"]:
            verdict.wrong.append(f"asset {row['asset']} sums to {row['total']}")
    came = sum(
        parse_usd(usd) for usd in (MEMBER_USD, DESK_USD, BOT_USD, *(HOST_USD for _ in HOSTS), *exchange.start_usd)
    )
    came += sum(parse_usd(receipt.body["amount"]) for receipt in receipts.of("deposit") if receipt.answers)
    went = sum(parse_usd(receipt.body["amount"]) for receipt in receipts.of("withdrawal") if receipt.answers)
    query = "SELECT coalesce(sum(amount), 0)::bigint AS usd FROM settlement.postings WHERE asset = 0 AND kind "
    ((held,),) = exchange.rows(f"{query}<> {_EXTERNAL}")
    ((waiting,),) = exchange.rows(f"{query}= 3")
    # Machines that the simulated cloud has procured were paid by the market makers' wallets.
    ((procured,),) = exchange.rows(
        "SELECT coalesce(sum(amount), 0)::bigint AS usd FROM settlement.postings"
        f" JOIN settlement.entries USING (source, shard, seq, index) WHERE asset = 0 AND kind = {_EXTERNAL}"
        " AND what LIKE 'simulated procurement%'"
    )
    verdict.unaccounted_micros = held - (came - (went - waiting) - procured)
    verdict.looked_at["µUSD held"] = held


def _judge_audit(verdict: Verdict, exchange: Exchange) -> None:
    async def run() -> Findings:
        pool = await open_pool(exchange.stack.dsn)
        try:
            async with Cluster(exchange.stack.bootstrap, login=exchange.stack.login(OPERATOR)) as cluster:
                return await audit(cluster, pool, SHARDS, exchange.home / "data" / "snapshots", lambda _: None)
        finally:
            await pool.close()

    found = asyncio.run(run())
    verdict.looked_at["objects audited"] = sum(finding.looked_at for finding in found)
    verdict.wrong += found.stopped
    verdict.wrong += [f"{each.name}: {breach}" for each in found if each.broken for breach in each.breaches]
    verdict.unseen = sorted(set(found.unseen()) - NOT_IN_A_DAY)
