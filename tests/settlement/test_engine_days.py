"""Random days of the reference room, through the real engine, settled: the ledger equals the engine after every record.

What the flow sends as settlement's messages is put into settlement's outbox first, with the money that stands behind it, as if it
had been asked for. Every few records the memory is lost, and is the same when it is loaded again.

    HOURBOOK_SEED=7 pytest -s tests/settlement/test_engine_days.py     other days
"""

from __future__ import annotations

import os
import sys
from collections import Counter

import msgspec

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Ground, OutboxCommand
from schemas.units import AMOUNT_MAX, collar
from services.matching.engine import Engine
from services.settlement import deliveries, events, rows
from services.settlement.ledger import CLEARING, COLLATERAL, EXTERNAL, REQUEST, TITLES, TRANSIT, USD, Origin
from services.settlement.state import State
from tests.reference.days import day_of
from tests.reference.script import Record, play
from tests.settlement.dict_store import DictStore
from tests.settlement.people import check, check_batch, memory

DAYS = 60
RESTART_EVERY = 7
SEED = os.environ.get("HOURBOOK_SEED", "0")


class Shadow:
    """Settlement beside an engine that other people drive."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.store = DictStore()
        self.state = State(1)
        self.seq = self.requests = self.deliveries = 0
        self.quotes: set[int] = set()
        self.ended: set[int] = set()
        self.seen: Counter[str] = Counter()

    def play(self, record: Record) -> None:
        if record.quarantined:
            self.engine.skip(record.offset)
            return
        for command in record.commands:
            if isinstance(command, OutboxCommand) and command.outbox == self.state.next_outbox(0):
                self._send(command)
        said = self.engine.apply(record.offset, record.stamp_ms, record.commands)
        self.seq += 1
        for event in said:
            self._note(event)
        events.settle(self.state, EventsRecord(1, 0, self.seq, record.offset, 0, True, self.engine.time_ms, 1, 1, said))
        self._commit(rows.Cursor("events", 0, self.seq, b"h", self.seq, bytes(16), self.engine.time_ms))
        check(self.state, [self.engine], self.quotes)
        if self.seq % RESTART_EVERY == 0:
            known = memory(self.state)
            self.state = State(1, self.store.loaded())
            assert memory(self.state) == known

    def _note(self, event: ev.Event) -> None:
        self.seen[type(event).__name__] += 1
        if isinstance(event, ev.QuotesPut):
            self.quotes |= {number for one in event.outcomes for number in (one.bid_order, one.ask_order)}
        elif isinstance(event, ev.HourEnded):
            self.ended.add(event.contract)
        elif isinstance(event, ev.Filled):
            self.seen["running fills"] += event.moves[0].ground == Ground.READY
            self.seen["fills of quotes"] += event.maker_order in self.quotes
            self.seen["fills of blocks"] += (
                event.taker_order in self.state.blocks or event.maker_order in self.state.blocks
            )
            self.seen["bought in"] += event.taker_order == 0

    def _send(self, command: OutboxCommand) -> None:
        """As if a request had asked for it; what no request could ask for goes as a message that changes nothing when refused."""
        self.requests += 1
        state, at = self.state, Origin(REQUEST, 0, self.requests, 0)
        match command:
            case cmd.SetAccount(_, account, owner, role) if 0 < account < 2**63 and 0 <= role <= 2:
                if account not in state.accounts:
                    row = rows.Account(account, owner, f"account {account}", role, 0, False, 0)
                    state.accounts[account] = row
                    state.changes.accounts.create(account, row)
            case cmd.Credit(_, account, amount) if 0 < amount <= AMOUNT_MAX and account in state.accounts:
                money = ((EXTERNAL, 0, 1, USD, -amount), (TRANSIT, 0, account, USD, amount))
                state.ledger.post(at, 0, "deposit_simulated", money)
            case cmd.SetClass() if command.class_no not in state.classes and command.class_id not in state.class_nos:
                row = class_row(command)
                state.classes[row.class_no], state.class_nos[row.class_id] = row, row.class_no
                state.changes.classes.create(row.class_no, row)
            case cmd.Credit(outbox, account, _):
                command = cmd.SetAccount(outbox, account, 0, 0, 0)
            case cmd.SetClass(outbox) if command.class_no not in state.classes:
                command = cmd.SetAccount(outbox, 0, 0, 0, 0)
            case _:
                pass
        state.send(0, command, f"request {self.requests}")

    def deliver_all(self) -> None:
        """13 minutes of every hour that has ended did not come."""
        for contract in sorted(self.ended):
            record = deliveries.Delivered(contract, 0, 13, "simulated", "r")
            known = self.store.deliveries(deliveries.keys(record))
            assert deliveries.take(self.state, self.deliveries, self.engine.time_ms, record, known) == ""
            self.deliveries += 1
            self._commit(rows.Cursor("delivery", 0, self.deliveries, b"h", 0, b"", self.engine.time_ms))
        check(self.state, [self.engine], self.quotes)

    def _commit(self, cursor: rows.Cursor) -> None:
        batch = self.state.take(cursor)
        check_batch(batch)
        self.store.commit_now(batch)


def class_row(c: cmd.SetClass) -> rows.ClassRow:
    terms = msgspec.structs.asdict(c) | msgspec.structs.asdict(c.fees)
    low, high = collar(c.list_price, c.collar_low_bp, c.collar_high_bp)
    known = {name: terms[name] for name in rows.ClassRow.__struct_fields__ if name in terms}
    return rows.ClassRow(
        **known,
        shard=0,
        specification="",
        listed=False,
        state=1,
        reference=c.list_price,
        collar_low=low,
        collar_high=high,
    )


def live(number: int) -> Shadow:
    """One day, and the deliveries of its hours."""
    day = day_of(f"settled {SEED}", number)
    shadow = Shadow()
    shadow.engine.retries_max = day.setting.retries_max
    for record in play(day.flow, day.setting._replace(shard=0)):
        shadow.play(record)
    shadow.deliver_all()
    left = {
        (kind, asset)
        for (kind, _, _, asset) in shadow.state.ledger.balances()
        if kind in (CLEARING, COLLATERAL, TITLES)
    }
    alive = {contract for contract, row in shadow.state.contracts.items() if row.phase != "ended"}
    assert left <= {(TITLES, contract) for contract in alive}, f"C1, C5, C6: {left}"
    return shadow


REACHED = (
    "RangeAccepted", "OrderAmended", "QuotesPut", "BlockAccepted", "BlockFilled", "MassCancelAccepted", "DeadManFired",
    "CashCorrected", "ReferenceMoved", "StateReached", "BackingCut", "BuyIn", "BuyInFailed", "CollateralMoved", "TitleCovered",
    "EngineVersionSet", "running fills", "fills of quotes", "fills of blocks", "bought in",
)  # fmt: skip


def test_on_any_day_the_ledger_is_the_engine() -> None:
    """Most days are of the second version, some come to it. Each kind of event is there: none is settled by never coming."""
    print(f"HOURBOOK_SEED={SEED} pytest {__file__}", file=sys.stderr, flush=True)
    seen: Counter[str] = Counter()
    for number in range(DAYS):
        print(f"day {number}", file=sys.stderr)  # the last one that is shown is the one that failed
        seen += live(number).seen
    if SEED == "0":
        assert min(seen[name] for name in REACHED) > 0, {name: seen[name] for name in REACHED}
