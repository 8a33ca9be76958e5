"""The engine of one shard: commands in, events out, nothing else.

Pure and deterministic: same records, same events, for ever. docs/engine.md is the text of this room's rules; checks stand in
its order, then a marked line, then changes that cannot fail. Money in µUSD, quantities in GPUs, times in ms.

What is asked                                                    What follows
    orders     placed, in one hour or many                           trading   fills, and what is left of a newcomer
    changes    amended, cancelled, the dead man's switch             blocks    also: those that may trade now are tried again
    blocks     all hours or none, at an average; `plans`             moments   what time alone causes: listing, gates, expiry
    quotes     a market maker's, many hours at once                What it is about
    settling   settlement's messages; `backing` of hours for sale    state     the shard itself
    operating  states, corrections, references, versions             book      who waits at which price
                                                                     titles    who owes and who holds each hour; `queues`
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop
from typing import Final, assert_never

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import CancelOrder, Command, PlaceOrder
from schemas.events import Code, Event
from schemas.ids import SHARDS_MAX
from schemas.units import Millis
from services.matching import blocks, changes, operating, orders, quotes, settling
from services.matching.blocks import retry
from services.matching.changes import cancel
from services.matching.invariants import check
from services.matching.moments import begin_covering, happen
from services.matching.operating import ENGINE_VERSIONS
from services.matching.orders import place
from services.matching.state import Shard

STEP_MS_MAX: Final = 60_000
"""How far one record that is not a tick may move time, in stamp time."""

_PlaceOrder: Final = PlaceOrder
_CancelOrder: Final = CancelOrder
"""As constants: a compiled build looks other modules' names up each time."""


_OfVersion2 = (
    cmd.PlaceRange
    | cmd.PlaceBlock
    | cmd.PutQuotes
    | cmd.AmendOrder
    | cmd.MassCancel
    | cmd.CancelAllAfter
    | cmd.MoveReference
    | cmd.CorrectCash
)
"""What engine version 1 does not offer."""


class WrongStart(Exception):
    """The first record of the shard is not `StartShard`, alone, at offset 0."""


class Engine(Shard):
    """One shard. State changes in `apply` and nowhere else."""

    def apply(self, offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> list[Event]:
        """One record of `commands`: what is due first, then each command; the events in order."""
        assert offset > self.offset, f"offset {offset} after {self.offset}"
        if self.shard < 0:
            _check_start(offset, commands)
        else:
            if self.version != self.version_next:
                self.version = self.version_next
                begin_covering(self)
            self._pass_time(stamp_ms, commands)
        self.offset = offset
        out: list[Event] = []
        self.out = out
        self.retried = 0
        # What makes something due puts it among what is still to do: a long silence lists, closes and ends an hour in one record.
        while self.due and self.due[0][0] <= self.time_ms:
            happen(self, *heappop(self.due))
        if self.touched or self.stirred or self.retries:  # news for blocks that rest, or some that wait for their turn
            retry(self)
        self._forget_ids()
        for index, command in enumerate(list(commands)):  # a list is what a compiled build walks fastest
            if type(command) is _PlaceOrder:
                place(self, index, command)
            elif type(command) is _CancelOrder:
                cancel(self, index, command)
            else:
                self._apply_rarer(index, command, stamp_ms)
            if self.touched or self.stirred or self.retries:
                retry(self)
        if self.named:
            self.ids_by_age.extend(self.named)
            self.named = []
        return out

    def skip(self, offset: int) -> None:
        """A quarantined record: no command, and no time passes."""
        assert offset > self.offset, f"offset {offset} after {self.offset}"
        self.offset = offset

    def check(self) -> None:
        """Every invariant that can be seen from inside; AssertionError names the one that is broken."""
        check(self)

    def market_ms(self, stamp_ms: Millis) -> Millis:
        """Market time of a stamp."""
        return self.t0_ms + self.rate * (stamp_ms - self.t0_ms)

    def _pass_time(self, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> None:
        first = commands[0]
        if len(commands) == 1 and type(first) is cmd.Tick:
            target = self.market_ms(first.until_ms)
        else:
            target = min(self.market_ms(stamp_ms), self.time_ms + STEP_MS_MAX * self.rate)
        self.time_ms = max(self.time_ms, target)

    def _forget_ids(self) -> None:
        ids = self.ids_by_age
        while ids and not self.young(ids[0]):
            known = ids.popleft()
            if known.level is None:
                # It may be away already: what is due comes first and ends orders older than the window (`forget_client_id`).
                self.accounts[known.account].client_ids.pop(known.client_id, None)

    def _apply_rarer(self, index: int, command: Command | Malformed, stamp_ms: Millis) -> None:
        match command:
            case PlaceOrder():  # these two come from `apply` by a shorter way; mypy wants to see them
                place(self, index, command)
            case CancelOrder():
                cancel(self, index, command)
            case cmd.SetAccount() | cmd.Credit() | cmd.Sweep() | cmd.SetBacking() | cmd.SetClass():
                settling.apply_message(self, index, command)
            case cmd.SetState():
                operating.change_state(self, index, command)
            case cmd.SetEngineVersion():
                operating.set_version(self, index, command)
            case cmd.StartShard():
                self._start(index, command, stamp_ms)
            case cmd.Tick():
                self.out.append(ev.Ticked(index, self.time_ms))
            case Malformed():
                self.reject(index, 0, Code.MALFORMED)
            case _:
                if self.version > 1:
                    self._apply_of_version_2(index, command)
                else:
                    self._not_offered(index, command)

    def _apply_of_version_2(self, index: int, command: _OfVersion2) -> None:
        """What engine version 1 does not know."""
        match command:
            case cmd.PlaceRange():
                orders.place_range(self, index, command)
            case cmd.PlaceBlock():
                blocks.place_block(self, index, command)
            case cmd.PutQuotes():
                quotes.put_quotes(self, index, command)
            case cmd.AmendOrder():
                changes.amend(self, index, command)
            case cmd.MassCancel():
                changes.mass_cancel(self, index, command)
            case cmd.CancelAllAfter():
                changes.cancel_all_after(self, index, command)
            case cmd.MoveReference():
                operating.move_reference(self, index, command)
            case cmd.CorrectCash():
                operating.correct_cash(self, index, command)
            case _:
                assert_never(command)

    def _not_offered(self, index: int, command: _OfVersion2) -> None:
        match command:
            case cmd.PlaceRange() | cmd.PlaceBlock() | cmd.AmendOrder():
                self.reject(index, command.account, Code.NOT_OFFERED_YET, command.client_id)
            case cmd.PutQuotes() | cmd.MassCancel() | cmd.CancelAllAfter():
                self.reject(index, command.account, Code.NOT_OFFERED_YET)
            case cmd.CorrectCash():
                self.reject(index, command.operator, Code.NOT_OFFERED_YET)
            case cmd.MoveReference():
                self.reject(index, 0, Code.NOT_OFFERED_YET)
            case _:
                assert_never(command)

    def _start(self, index: int, c: cmd.StartShard, stamp_ms: Millis) -> None:
        if self.shard >= 0:
            return self.reject(index, 0, Code.WRONG_STATE)
        self.shard, self.version, self.t0_ms, self.rate, self.sandbox = (
            c.shard,
            c.engine_version,
            c.t0_ms,
            c.rate,
            c.sandbox,
        )
        self.version_next = self.version
        self.time_ms = max(0, self.market_ms(stamp_ms))
        self.out.append(ev.ShardStarted(index, c.shard, c.engine_version, c.t0_ms, c.rate, c.sandbox))
        return None


def _check_start(offset: int, commands: Sequence[Command | Malformed]) -> None:
    if offset != 0 or len(commands) != 1 or not isinstance(commands[0], cmd.StartShard):
        raise WrongStart(f"record {offset} is not StartShard alone: this is not the beginning of a shard")
    start = commands[0]
    rate_allowed = start.rate == 1 or (start.rate > 1 and start.sandbox)
    if (
        start.engine_version not in ENGINE_VERSIONS
        or not 0 <= start.shard < SHARDS_MAX
        or start.t0_ms < 0
        or not rate_allowed
    ):
        raise WrongStart(f"this build cannot start {start}")
