"""The end of a simulated day, judged from logs, tables and what members were told: each invariant by its name.

Written from the rules: the log model of the audit, the ledger's sums, and a replay that must give the very bytes.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from schemas import http
from schemas.codec import (
    WRITER_GATEWAY_MIN,
    WRITER_SHELL,
    BrokenFrame,
    ChainReader,
    EventsRecord,
    decode_frame,
    decode_record,
    read_headers,
)
from schemas.commands import Flag, Ground, Side, Tif
from schemas.events import (
    BackingSet,
    Code,
    Event,
    Filled,
    OrderAccepted,
    OrderCancelled,
    OutboxSkipped,
    Reason,
    Rejected,
)
from schemas.ids import class_no_of, format_symbol, hour_of, parse_order
from schemas.units import parse_usd
from services.audit.books import CLIENT_ID_WINDOW_MS
from services.audit.log_model import ShardModel
from services.audit.report import Findings
from services.matching.engine import Engine
from services.matching.quarantine import Quarantine
from services.matching.recovery import restore
from services.matching.replica import Replica
from services.matching.snapshot import state_hash
from services.matching.store import Unusable, decode
from services.runtime.log import Record
from services.settlement import shell as settlement
from tests.simulation.books import check_books, check_shard
from tests.simulation.members import Order

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange


def _commands(record: Record) -> Sequence[object]:
    try:
        return decode_frame(record.value).commands
    except BrokenFrame:
        return ()


class Judge:
    """Judges one exchange after its night of peace. `verdict` raises AssertionError with every broken invariant."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.found = Findings()
        self.broken: list[str] = []
        """Of what the audit's list does not name: S2, L1 to L3."""
        self.looked: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        """Kinds of events, codes, reasons and title moves, over both shards."""
        self._accepted: dict[int, OrderAccepted] = {}
        self._accepted_ms: dict[int, int] = {}
        self._fills: defaultdict[int, list[Filled]] = defaultdict(list)
        """Taker's order -> its fills."""
        self._asked: dict[int, OrderCancelled] = {}

    def verdict(self) -> None:
        """Everything, at once."""
        exchange = self.exchange
        check_books(self.found, exchange.database)
        for shard in range(exchange.shards):
            self._shard(shard)
        self._orders()
        self._cancels()
        self._requests()
        self._expect("S2", not exchange.receipts.unseen, f"reads that showed the past: {exchange.receipts.unseen[:3]}")
        self._expect("L3", not exchange.internal, f"gateways answered faults of their own: {exchange.internal[:3]}")
        broken = [f"{finding.name}: {finding.breaches[0]}" for finding in self.found if finding.broken] + self.broken
        assert not broken, "\n".join(broken)
        self.looked.update({finding.name: finding.looked_at for finding in self.found})

    def _expect(self, name: str, holds: bool, breach: str) -> None:
        self.looked[name] += 1
        if not holds:
            self.broken.append(f"{name}: {breach}")

    # --- One shard -----------------------------------------------------------------------------------------

    def _shard(self, shard: int) -> None:
        """The log model over every record once; D1: a replay of `commands` gives the very chain."""
        exchange, found = self.exchange, self.found
        banned = self._banned(shard)
        replica, said, frames = Replica(shard, Engine()), dict[int, bytes](), {}
        answered = max(body.offset for body, _, _ in self._unique(shard))
        for record in exchange.commands[shard].all()[: answered + 1]:
            said.update({sealed.seq: sealed.chain for sealed in replica.apply(record, banned)})
            frames[record.offset] = None if record.offset in banned else decode_frame(record.value)
        model = ShardModel(found)
        settled: list[tuple[int, int, Event]] = []
        cursor = exchange.database.row("cursors", "events", shard)
        assert cursor is not None
        outcomes: set[tuple[int, int, int]] = set()
        landed: dict[int, int] = {}
        asked = 0
        for body, chain, landed_at in self._unique(shard):
            landed.setdefault(body.offset, landed_at)
            self.happened["output in several parts"] += body.part == 1
            if body.writer != WRITER_SHELL:
                asked = body.seq
            found.expect("D1", said.get(body.seq) == chain, f"shard {shard}, seq {body.seq}")
            model.apply(body, frames[body.offset])
            settled += [(body.seq, index, event) for index, event in enumerate(body.events)]
            if body.seq == cursor["seq"]:
                check_shard(found, exchange.database, shard, model, settled)
            for event in body.events:
                self._note(event)
                if isinstance(event, OrderAccepted):
                    self._accepted_ms[event.order] = body.time_ms
                if (index := getattr(event, "index", None)) is not None and body.writer >= WRITER_GATEWAY_MIN:
                    key = (body.writer, body.frame_no, index)
                    # Settlement's outbox may send a frame again; members' frames are written once.
                    found.expect("O3", key not in outcomes, f"{key} was answered twice")
                    outcomes.add(key)
        model.finish()
        self._expect("L1", asked <= cursor["seq"], f"shard {shard} is settled up to {cursor['seq']}, not to {asked}")
        replica.engine.check()
        for number, account in replica.engine.accounts.items():
            found.expect("M7", account.cash == model.market.cash[number], f"cash of account {number}")
            found.expect("M4", account.holds == model.means.holds(number), f"holds of account {number}")
            found.expect("C5", account.collateral == model.means.collateral(number), f"collateral of account {number}")
        self._window(shard)
        self._snapshots(shard, replica, banned)
        self._halts(shard, landed)

    def _banned(self, shard: int) -> dict[int, bytes]:
        entries = [msgspec.msgpack.decode(record.value, type=Quarantine) for record in self.exchange.quarantine.records]
        return {entry.offset: entry.hash for entry in entries if entry.partition == shard}

    def _unique(self, shard: int) -> Iterator[tuple[EventsRecord, bytes, int]]:
        """Each record of a shard's `events` once, with its chain and when it landed. Raises Gap, BrokenRecord."""
        topic, reader = self.exchange.events[shard], ChainReader()
        for record, landed_at in zip(topic.all(), topic.landed_at, strict=True):
            if reader.accept(read_headers(record.headers), record.value):
                yield decode_record(record.value), reader.chain, landed_at

    def _note(self, event: Event) -> None:
        happened = self.happened
        happened[type(event).__name__] += 1
        match event:
            case OrderAccepted():
                self._accepted[event.order] = event
            case Filled():
                self._fills[event.taker_order].append(event)
                for move in event.moves:
                    happened["sold short" if not move.source else "resold"] += 1
                    happened["bought back"] += bool(move.closes)
                    happened["bought back his own"] += move.closes == move.title
                    if move.ground:
                        happened[f"owed as {Ground(move.ground).name.lower()}"] += 1
            case OrderCancelled():
                happened[f"cancelled: {Reason(event.reason).name.lower()}"] += 1
                if event.reason == Reason.ASKED:
                    self._asked[event.order] = event
            case Rejected():
                happened[f"rejected: {Code(event.code).name.lower()}"] += 1
            case BackingSet(qty=qty, ground=ground) if qty:
                happened[f"backed as {Ground(ground).name.lower()}"] += 1

    def _window(self, shard: int) -> None:
        """L2: settlement has no more messages on their way than its window, by what `events` had confirmed until then."""
        if self.exchange.did["events lost its tail"]:
            return  # what was confirmed then has landed a second time since
        confirmed = [
            (landed_at, event.outbox)
            for body, _, landed_at in self._unique(shard)
            for event in body.events
            if hasattr(event, "outbox") and not isinstance(event, OutboxSkipped)
        ]
        last = 0
        topic = self.exchange.commands[shard]
        for record, landed_at in zip(topic.all(), topic.landed_at, strict=True):
            while confirmed and confirmed[0][0] < landed_at:
                last = confirmed.pop(0)[1]
            sent = [command.outbox for command in _commands(record) if hasattr(command, "outbox")]
            most = last + max(settlement.WINDOW_MAX, settlement.FRAME_MAX)
            self._expect("L2", max(sent, default=0) <= most, f"{sent} are on their way, {last} was confirmed")

    def _snapshots(self, shard: int, full: Replica, banned: dict[int, bytes]) -> None:
        """D2: any snapshot that is whole, and the tail of the log, give the full replay's state."""
        state = state_hash(full.engine)
        for name, disk in self.exchange.disks.items():
            if not name.startswith(f"matching-{shard}"):
                continue
            for data in [data for _, data in sorted(disk.files.items())][-1:]:
                try:
                    replica = restore(shard, decode(data))
                except Unusable:
                    continue
                for record in self.exchange.commands[shard].all()[replica.next_offset : full.next_offset]:
                    replica.apply(record, banned)
                self.found.expect("D2", state_hash(replica.engine) == state, f"snapshot of {name}")

    def _halts(self, shard: int, landed: dict[int, int]) -> None:
        """L3: nothing was said of a broken frame, or of what comes after it, before an operator had banned it."""
        quarantine = self.exchange.quarantine
        banned: dict[int, int] = {}
        for record, landed_at in zip(quarantine.records, quarantine.landed_at, strict=True):
            entry = msgspec.msgpack.decode(record.value, type=Quarantine)
            if entry.partition == shard:
                banned.setdefault(entry.offset, landed_at)
        for banned_offset, banned_at in banned.items():
            early = [offset for offset, at in landed.items() if offset >= banned_offset and at < banned_at]
            self._expect("L3", not early, f"shard {shard}: outputs of {early[:3]} before {banned_offset} was banned")

    # --- What members were told ----------------------------------------------------------------------------

    def _orders(self) -> None:
        """S2, and O2 from outside: what was acknowledged is there, as it was acknowledged; what was refused is not."""
        placed: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        for event in self._accepted.values():
            if event.client_id:
                placed[event.account, event.client_id].add(event.order)
        for order in self.exchange.receipts.orders:
            self._one_order(order)
            for answer in order.answers:
                self._acknowledged(order.account, answer)
            if order.refusals and not order.answers and not order.doubts and order.body.client_order_id:
                known = placed[order.account, order.body.client_order_id]
                mine = [number for number in known if self._is(self._accepted[number], order.body)]
                self._expect("S2", not mine, f"{order.body.client_order_id} was refused ({order.refusals}) and is in")

    def _one_order(self, order: Order) -> None:
        """A client order id stands for one order for as long as the engine promises it, counted in market time."""
        ids = sorted({parse_order(answer.order_id) for answer in order.answers})
        times = sorted(self._accepted_ms[number] for number in ids if number in self._accepted_ms)
        free = all(later - earlier >= CLIENT_ID_WINDOW_MS for earlier, later in itertools.pairwise(times))
        self._expect("O2", free, f"{order.body.client_order_id} was acknowledged as {ids}")
        self.happened["client order id used again after its window"] += len(ids) > 1

    def _is(self, event: OrderAccepted, body: http.OrderRequest) -> bool:
        side = "buy" if event.side == Side.BUY else "sell"
        contract = format_symbol(f"SIM.{class_no_of(event.contract)}", hour_of(event.contract))
        said = (contract, side, event.qty, event.price, Tif(event.tif).name.lower(), event.flags)
        flags = Flag.POST_ONLY * body.post_only | Flag.CANCEL_OLDEST * (body.self_trade == "cancel_oldest")
        return said == (body.contract, body.side, body.qty, parse_usd(body.price), body.tif, flags)

    def _acknowledged(self, account: int, answer: http.OrderAnswer) -> None:
        number = parse_order(answer.order_id)
        event = self._accepted.get(number)
        if event is None or event.account != account:
            self._expect("S2", False, f"order {answer.order_id} was acknowledged to {account}, and is {event}")
            return
        said = (answer.client_order_id, answer.qty, parse_usd(answer.price))
        self._expect("S2", said == (event.client_id, event.qty, event.price), f"{answer} is {event}")
        fills = self._fills[number]
        if answer.repeated:
            self._expect("S2", answer.filled + answer.cancelled + answer.leaves == event.qty, f"{answer}")
            return
        buying = event.side == Side.BUY
        due = [
            (fill.trade, fill.qty, fill.price, fill.notional, fill.buyer_fee if buying else fill.seller_fee)
            for fill in fills
        ]
        told = [
            (int(fill.trade.split("-")[1]), fill.qty, *map(parse_usd, (fill.price, fill.notional, fill.fee)))
            for fill in answer.fills
        ]
        self._expect("S2", told == due, f"order {answer.order_id}: acknowledged fills {told}, the log has {due}")
        whole = answer.filled == sum(fill.qty for fill in fills)
        self._expect("S2", whole and answer.filled + answer.cancelled + answer.leaves == event.qty, f"{answer}")

    def _cancels(self) -> None:
        for account, answer in self.exchange.receipts.cancels:
            event = self._asked.get(parse_order(answer.order_id))
            there = event is not None and (event.account, event.qty) == (account, answer.cancelled)
            self._expect("S2", there, f"cancel of {answer.order_id} was acknowledged as {answer}, and is {event}")

    def _requests(self) -> None:
        """What was said to be done or refused stands so in settlement's tables; what was written for it is confirmed."""
        database = self.exchange.database
        unconfirmed = {row["request_id"] for row in database.rows("outbox") if not row["confirmed"]}
        for told in self.exchange.receipts.requests:
            name = told.request.request_id
            row = database.row("requests", name)
            self._expect("L1", told.state in ("done", "refused"), f"request {name} was told {told.state!r} only")
            there = row is not None and (row["state"], row["code"], row["outcome"]) == (
                told.state,
                told.code,
                told.outcome,
            )
            self._expect("S2", there, f"{told} is {row}")
            self._expect("S2", name not in unconfirmed, f"{told} waits for a shard")
            self.happened[f"request {told.state}"] += 1
        written = {msgspec.msgpack.decode(record.value)[-1] for record in self.exchange.delivery.records}
        gone = [record_id for record_id in self.exchange.receipts.deliveries if record_id not in written]
        self._expect("S2", not gone, f"acknowledged delivery records are gone: {gone[:3]}")
        self.happened["money fetched for a bid"] += sum(
            ":auto-" in row["request_id"] and row["state"] == "done" for row in database.rows("requests")
        )
        for row in database.rows("payouts"):
            self.happened[f"payout {row['state']}"] += 1
        for row in database.rows("deliveries"):
            part = {0: "in full", 60: "not at all"}.get(row["undelivered"], "in part")
            self.happened[f"delivery {row['state']}, {part}"] += bool(row["title"])
