"""Random days of the reference room, through the real engine: the auditor finds nothing, and has what the engine has.

HOURBOOK_SEED=7 pytest -s tests/audit/test_engine_days.py     other days
"""

from __future__ import annotations

import os
import sys
from collections import Counter

import pytest

from schemas import events as ev
from schemas.codec import WRITER_OPERATOR, EventsRecord, Frame
from schemas.commands import Ground
from services.audit import blocks
from services.audit.log_model import ShardModel
from services.audit.report import NAMES, WHERE_THERE_ARE, Findings
from services.matching.engine import Engine
from tests.reference.days import day_of
from tests.reference.script import Record, play

DAYS = 60
SEED = os.environ.get("HOURBOOK_SEED", "0")
OF_LEDGER = {"M1", "M2", "M5", "M8", "B5", "D1", "D2", "H1", "H2", "H3", "R1", "R2", "R3", "R4"}
"""What neither a log of commands and events nor the engine's own views show."""


class Watched:
    """An engine, and the model of its log beside it."""

    def __init__(self, found: Findings, shard: int, retries_max: int) -> None:
        self.found = found
        self.engine = Engine()
        self.engine.retries_max = retries_max
        self.model = ShardModel(found)
        self.shard = shard
        self.seq = 0
        self.seen: Counter[str] = Counter()

    def play(self, record: Record) -> None:
        commands = [] if record.quarantined else record.commands
        if record.quarantined:
            self.engine.skip(record.offset)
        said = [] if record.quarantined else self.engine.apply(record.offset, record.stamp_ms, commands)
        self.seq += 1
        told = EventsRecord(
            1, self.shard, self.seq, record.offset, 0, True, self.engine.time_ms, WRITER_OPERATOR, 1, said
        )
        self.model.apply(told, Frame(WRITER_OPERATOR, 1, list(commands)))
        self.compare()
        for event in said:
            self.seen[type(event).__name__] += 1
            if isinstance(event, ev.Filled):
                self.seen["running fills"] += event.moves[0].ground == Ground.READY
                self.seen["bought in"] += event.taker_order == 0

    def compare(self) -> None:
        """M4, M7, B6, C1, C5: the engine's own idea of its state."""
        engine, model, where = self.engine, self.model, f"seq {self.seq}"
        self.found.expect("B6", model.open_rows() == sorted(engine.open_orders()), f"{where}: open orders")
        for name, of_engine, of_log in (
            ("M7", engine.balances(), model.market.cash.__getitem__),
            ("M4", engine.holds(), model.means.holds),
            ("C5", engine.collaterals(), model.means.collateral),
        ):
            for account, there in of_engine.items():
                due = of_log(account)
                self.found.expect(name, there == due, f"{where}: {there} of account {account}, log {due}")
        escrows = {contract: amount for contract, amount in engine.escrows().items() if amount}
        self.found.expect("C6", model.market.escrows() == escrows, f"{where}: escrows")


def watch(number: int, found: Findings, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    day = day_of(f"audited {SEED}", number)
    monkeypatch.setattr(blocks, "RETRIES_MAX", day.setting.retries_max)
    watched = Watched(found, day.setting.shard, day.setting.retries_max)
    for record in play(day.flow, day.setting):
        watched.play(record)
    watched.model.finish()
    return watched.seen


def test_the_auditor_agrees_with_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is broken, everything that a log can show was looked at, and of each kind there was some."""
    print(f"HOURBOOK_SEED={SEED} pytest {__file__}", file=sys.stderr, flush=True)
    found = Findings()
    seen: Counter[str] = Counter()
    for number in range(DAYS):
        seen += watch(number, found, monkeypatch)
        broken = {finding.name: finding.breaches for finding in found if finding.broken}
        assert broken == {}, f"day {number}"
    assert {name for name in NAMES if not found[name].looked_at} == OF_LEDGER
    if SEED == "0":
        of_kinds = {(name, kind) for name, kinds in WHERE_THERE_ARE.items() if name not in OF_LEDGER for kind in kinds}
        assert {(name, kind) for name, kind in of_kinds if kind not in found[name].seen} == set()
        assert min(seen["running fills"], seen["bought in"], seen["CashCorrected"], seen["BlockFilled"]) > 0
