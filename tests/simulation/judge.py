"""The end of a simulated day, judged from logs, tables and what members were told: each invariant by its name.

Written from the rules: the log model of the audit, the ledger's sums, and a replay that must give the very bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

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
from schemas.events import Event, OutboxSkipped
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
from tests.simulation.heard import Heard
from tests.simulation.reach import commands_of
from tests.simulation.receipts import check_receipts

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
        self.heard = Heard()
        self._ended = True
        """Whether everything is at rest."""
        self.happened = self.heard.happened
        """Kinds of events, codes, reasons and title moves, over all shards."""

    def verdict(self) -> None:
        """Everything, at once."""
        self._ended = True
        self._verdict()

    def _verdict(self) -> None:
        exchange = self.exchange
        check_books(self.found, exchange.database)
        for shard in range(exchange.shards):
            self._shard(shard)
        if self._ended:
            check_receipts(exchange, self.heard, self._expect)
        self._delivered()
        self._expect("L3", not exchange.internal, f"gateways answered faults of their own: {exchange.internal[:3]}")
        broken = [f"{finding.name}: {finding.breaches[0]}" for finding in self.found if finding.broken] + self.broken
        assert not broken, "\n".join(broken)
        self.looked.update({finding.name: finding.looked_at for finding in self.found})

    def look(self) -> None:
        """In the middle of everything: what holds at every moment; what is under way is nobody's breach."""
        self._ended = False
        self._verdict()

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
        self.happened.update(commands_of(frames))
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
            self.heard.hear(body)
            for event in body.events:
                if (index := getattr(event, "index", None)) is not None and body.writer >= WRITER_GATEWAY_MIN:
                    key = (body.writer, body.frame_no, index)
                    # Settlement's outbox may send a frame again; members' frames are written once.
                    found.expect("O3", key not in outcomes, f"{key} was answered twice")
                    outcomes.add(key)
        model.finish()
        self._quantities(model)
        if self._ended:
            self._expect(
                "L1", asked <= cursor["seq"], f"shard {shard} is settled up to {cursor['seq']}, not to {asked}"
            )
        replica.engine.check()
        for number, account in replica.engine.accounts.items():
            found.expect("M7", account.cash == model.market.cash[number], f"cash of account {number}")
            found.expect("M4", account.holds == model.means.holds(number), f"holds of account {number}")
            found.expect("C5", account.collateral == model.means.collateral(number), f"collateral of account {number}")
        self._window(shard)
        self._snapshots(shard, replica, banned)
        self._halts(shard, landed)

    def _quantities(self, model: ShardModel) -> None:
        """O1: of every order and block of the day, quotes and legs included."""
        market = model.market
        for each in [*market.orders.values(), *market.blocks.values()]:
            whole = each.filled + each.leaves + each.cancelled == each.qty
            self.found.expect("O1", whole and min(each.filled, each.leaves, each.cancelled) >= 0, f"{each}")

    def _delivered(self) -> None:
        """C6: of an hour that ended and was delivered nothing is left anywhere."""
        db = self.exchange.database
        left = {(key[0], key[2]): amount for key, amount in db.balances.items() if amount and key[0] in (6, 7)}
        kept = {row["contract"] for row in db.rows("collateral")}
        for contract in self.exchange.delivered_last if self._ended else ():
            row = db.row("contracts", contract)
            self.found.expect("C6", row is not None and row["paid_out"], f"{contract} was delivered, and is {row}")
        for row in db.rows("contracts"):
            if row["paid_out"]:
                contract = row["contract"]
                nothing = not left.get((6, contract)) and not left.get((7, contract)) and contract not in kept
                self.found.expect("C6", nothing, f"{contract} is paid out, with money left: {left}")

    def _banned(self, shard: int) -> dict[int, bytes]:
        entries = [msgspec.msgpack.decode(record.value, type=Quarantine) for record in self.exchange.quarantine.records]
        return {entry.offset: entry.hash for entry in entries if entry.partition == shard}

    def _unique(self, shard: int) -> Iterator[tuple[EventsRecord, bytes, int]]:
        """Each record of a shard's `events` once, with its chain and when it landed. Raises Gap, BrokenRecord."""
        topic, reader = self.exchange.events[shard], ChainReader()
        for record, landed_at in zip(topic.all(), topic.landed_at, strict=True):
            if reader.accept(read_headers(record.headers), record.value):
                yield decode_record(record.value), reader.chain, landed_at

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
