"""The engine under a random flow, judged by the auditor's model, which knows the rules and not the engine.

HOURBOOK_SEED=7 pytest tests/matching/test_audited_flow.py      this one flow
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import CHAIN_START, decode_frame, decode_record, encode_frame, seal
from schemas.commands import Command, Fees, Ground, Role
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from services.audit.log_model import ShardModel
from services.audit.report import Findings
from services.matching.engine import Engine
from services.matching.snapshot import dump, load

T0_MS = 1_790_000_000_000
ACCOUNTS = range(1, 7)
OWNER = {1: 1, 2: 1, 3: 2, 4: 2, 5: 5, 6: 6}
LOTS = {1: 1, 2: 2}
COMMANDS = 6_000


class Day:
    """One engine, one model, and commands drawn from one stream of chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.engine = Engine()
        self.found = Findings()
        self.model = ShardModel(self.found)
        self.stamp_ms = T0_MS
        self.offset = 0
        self.seq, self.chain = 0, CHAIN_START
        self.outbox = 0
        self.versions: Counter[tuple[int, int, int]] = Counter()
        self.orders: list[int] = []
        self.seen: Counter[str] = Counter()

    def apply(self, *commands: Command) -> None:
        """One frame through codec, engine, codec and model."""
        frame = decode_frame(encode_frame(1 << 40, self.offset, commands))
        events = self.engine.apply(self.offset, self.stamp_ms, frame.commands)
        for sealed in seal(0, self.seq, self.chain, self.offset, self.engine.time_ms, frame, events):
            self.seq, self.chain = sealed.seq, sealed.chain
            record = decode_record(sealed.body)
            self.model.apply(record, frame)
        for event in events:
            self._note(event)
        self.offset += 1

    def _note(self, event: ev.Event) -> None:
        self.seen[type(event).__name__] += 1
        if isinstance(event, ev.Filled):
            for move in event.moves:
                source = "new" if not move.source else "whole" if move.source == move.title else "piece"
                end = (
                    ""
                    if not move.closes
                    else "/own"
                    if move.closes == move.title
                    else "/whole"
                    if move.closes == move.closed
                    else "/piece"
                )
                self.seen[f"move {source}{end}"] += 1

    def open(self) -> None:
        """A shard with two classes and six accounts, some of one owner."""
        self.apply(cmd.StartShard(0, 1, T0_MS))
        for class_no, lot in LOTS.items():
            fees = Fees(5 * (class_no - 1), 10, 50, 30)
            self.apply(
                cmd.SetClass(
                    self._next(), class_no, f"TEST.{class_no}", lot, 10, 1_000 * class_no, fees, horizon_hours=4
                )
            )
        for account in ACCOUNTS:
            self.apply(cmd.SetAccount(self._next(), account, OWNER[account], Role(account % 3), 0))
            self.apply(cmd.Credit(self._next(), account, self.chance.randint(1, 10**9)))

    def _next(self) -> int:
        self.outbox += 1
        return self.outbox

    def step(self) -> None:
        """One drawn command."""
        chance = self.chance
        self.stamp_ms += chance.choice([0, 1, 100])
        if chance.random() < 0.003:
            self.stamp_ms += chance.randint(1, 60) * 60_000
            self.apply(cmd.Tick(self.stamp_ms))  # a member's record alone would move time by a minute at most
        kind = chance.random()
        if kind < 0.08:
            self.apply(self._backing())
        elif kind < 0.10:
            amount = chance.randint(1, 10**5)
            account = chance.choice(ACCOUNTS)
            self.apply(chance.choice([cmd.Credit, cmd.Sweep])(self._next(), account, amount))
        elif kind < 0.11:
            self.apply(cmd.Tick(self.stamp_ms))
        elif kind < 0.115:
            self.apply(cmd.SetState(9, chance.choice([1, 2]), 0, chance.choice([1] * 12 + [2, 3, 4]), "drawn"))
        elif kind < 0.118:
            self.apply(
                cmd.SetAccount(
                    self._next(), chance.choice([1, 4]), OWNER[chance.choice([1, 4])], Role(chance.randint(1, 2)), 0
                )
            )
        elif kind < 0.20 and self.orders:
            self.apply(
                cmd.CancelOrder(chance.choice(ACCOUNTS), chance.choice(self.orders), "", self.engine.time_ms + 1_000)
            )
        else:
            self.orders = [*self.orders[-60:], order_id(0, self.offset, 0)]
            self.apply(self._order())

    def _backing(self) -> cmd.SetBacking:
        chance = self.chance
        account, class_no, ground = (
            chance.choice(ACCOUNTS),
            chance.choice([1, 2]),
            chance.choice([Ground.DECLARED, Ground.PROMISED]),
        )
        key = (account, class_no, int(ground))
        self.versions[key] += chance.choice([0, 1, 1, 1, 1])
        now = self.engine.time_ms // MS_PER_HOUR
        hours = tuple(sorted({chance.randint(now + 1, now + 4) for _ in range(2)}))
        price = chance.choice([2_000, 4_000, 4_100]) if ground == Ground.PROMISED else 0
        return cmd.SetBacking(
            self._next(),
            account,
            class_no,
            hours,
            ground,
            chance.randint(0, 20) * class_no,
            price,
            max(1, self.versions[key]),
        )

    def _order(self) -> cmd.PlaceOrder:
        chance = self.chance
        class_no = chance.choice([1, 1, 2])
        now = self.engine.time_ms // MS_PER_HOUR
        hour = now + 1 + chance.randint(0, 1) if chance.random() > 0.1 else chance.randint(now, now + 5)
        tif, flags = chance.choice([1, 1, 1, 3, 4]), chance.choice([0, 0, 0, 1, 4])
        client_id = chance.choice(["", f"c{chance.randint(0, 3_000)}"])
        return cmd.PlaceOrder(
            chance.choice(ACCOUNTS),
            contract_of(class_no, hour),
            chance.choice([1, 2]),
            chance.randint(1, 9) * class_no,
            class_no * 1_000 + chance.randint(-6, 6) * 10,
            tif,
            flags,
            client_id,
            self.engine.time_ms + 5_000,
        )

    def finish(self) -> None:
        """Nothing is broken, and engine and model have the same money."""
        self.engine.check()
        self.model.finish()
        broken = {finding.name: finding.breaches[:3] for finding in self.found if finding.broken}
        assert not broken, broken
        assert self.engine.balances() == {account: self.model.market.cash[account] for account in self.engine.accounts}
        assert self.engine.holds() == {account: self.model.means.holds(account) for account in self.engine.accounts}
        assert self.engine.collaterals() == {
            account: self.model.means.collateral(account) for account in self.engine.accounts
        }


@pytest.mark.parametrize("number", range(3))
def test_a_random_flow_keeps_every_rule(number: int) -> None:
    """Each event is what the rules allow; now and then the engine goes through its own bytes and nothing changes."""
    seed = int(os.environ.get("HOURBOOK_SEED") or random.SystemRandom().randrange(1 << 40)) + number
    print(f"HOURBOOK_SEED={seed}", file=sys.stderr, flush=True)
    day = Day(seed)
    day.open()
    for count in range(COMMANDS):
        day.step()
        if count % 200 == 0:
            day.engine.check()
            stored = dump(day.engine)
            day.engine = load(stored)
            assert dump(day.engine) == stored, "D2: the bytes of a state changed by going through them"
    day.finish()
    rare = (
        "move new/whole",
        "move whole/piece",
        "move piece/whole",
        "move whole/own",
        "TitleEnded",
        "CollateralMoved",
        "HourEnded",
    )
    assert not [what for what in rare if not day.seen[what]], f"the flow never reached some rules: {day.seen}"
