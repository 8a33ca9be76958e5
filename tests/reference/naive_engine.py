"""A second engine, written from docs/engine.md alone: slow, obvious, and a judge of the rules themselves.

    engine = NaiveEngine()
    events = engine.apply(offset, stamp_ms, commands)

It has the interface of the production engine and must give the same events, byte for byte. Whoever changes it has not
opened the production engine: a copy would share its mistakes. Lists and dictionaries, walked anew at every step; no
sum is kept. Beside what an engine needs it keeps every claim on every title's escrow, and after each record it checks
that nobody's money or hours came from nowhere. Pure. Both engine versions, by the version of the state.

    naive_time        what time alone causes      naive_orders    orders and ranges until they are accepted
    naive_settlement  accounts, money, backing    naive_matching  who trades with whom
    naive_operators   states, references          naive_changes   cancel, amend, the dead man's switch
    naive_cover       promises end                naive_blocks    plans and retries of blocks
    naive_titles      whose hour it is            naive_quotes    a market maker's prices
    naive_shard       the state, and what can be counted from it
    naive_checks      what must hold after every record
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command
from schemas.events import Code, Event
from schemas.units import Gpus, Micros, Millis, Price
from tests.reference import (
    naive_blocks,
    naive_changes,
    naive_operators,
    naive_orders,
    naive_quotes,
    naive_settlement,
    naive_time,
)
from tests.reference.naive_checks import Diary, check
from tests.reference.naive_shard import Bounds, Refusal, Shard
from tests.reference.naive_titles import GROUNDS

AHEAD_MS_MAX = 60_000
SINCE_VERSION_2 = (
    cmd.PlaceRange,
    cmd.PlaceBlock,
    cmd.AmendOrder,
    cmd.PutQuotes,
    cmd.MassCancel,
    cmd.CancelAllAfter,
    cmd.CorrectCash,
    cmd.MoveReference,
)
"""Commands to which version 1 has one answer."""


class NaiveEngine:
    """One shard."""

    def __init__(self) -> None:
        self.bounds = Bounds()
        self._shard: Shard | None = None
        self._diary = Diary()

    # --- One record ----------------------------------------------------------------------------------------

    def apply(self, offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> list[Event]:
        """One record of `commands` → its events. Raises ValueError when the first one does not start a shard."""
        if self._shard is None:
            self._shard = _start(self.bounds, offset, stamp_ms, commands)
            return self._shard.events
        shard = self._shard
        assert offset > shard.offset
        shard.offset = offset
        shard.events = []
        shard.retries_made = 0
        naive_operators.turn_version(shard)
        shard.time_ms = max(shard.time_ms, _target(shard, stamp_ms, commands))
        naive_time.let_time_pass(shard)
        naive_blocks.retry(shard, self.bounds.retries_max)
        for index, command in enumerate(commands):
            shard.index = index
            before = len(shard.events)
            _do(shard, command)
            naive_blocks.retry(shard, self.bounds.retries_max)
            assert shard.events[before].index == index, "O3: the outcome comes first"
            assert not any(hasattr(event, "index") for event in shard.events[before + 1 :]), "O3: only one outcome"
        self._diary.read(shard.events)
        self.check()
        return shard.events

    def skip(self, offset: int) -> None:
        """A record in quarantine: nothing happens, and no time passes."""
        assert self._shard is not None
        assert offset > self._shard.offset
        self._shard.offset = offset

    # --- Views ---------------------------------------------------------------------------------------------

    def balances(self) -> dict[int, Micros]:
        """Account → cash, holds and collateral included."""
        return {number: account.cash for number, account in self._state.accounts.items()}

    def holds(self) -> dict[int, Micros]:
        """Account → cash held for open bids."""
        return {account: self._state.holds(account) for account in self._state.accounts}

    def collaterals(self) -> dict[int, Micros]:
        """Account → cash held for promises."""
        return {account: self._state.collateral(account) for account in self._state.accounts}

    def escrows(self) -> dict[int, Micros]:
        """Contract → escrow, titles bought back included."""
        return {number: contract.titles.escrow() for number, contract in self._state.contracts.items()}

    def positions(self) -> dict[tuple[int, int], tuple[Gpus, Gpus]]:
        """(account, contract) → GPUs held, GPUs owed; only where there is something."""
        found = {}
        for number, contract in self._state.contracts.items():
            titles = contract.titles
            for account in {account for title in titles.alive for account in (title.holder, title.obligor)}:
                held = sum(title.qty for title in titles.alive if title.holder == account)
                found[account, number] = (held, sum(titles.owed(account, ground) for ground in GROUNDS))
        return found

    def open_orders(self) -> list[tuple[int, int, int, int, Gpus, Price]]:
        """(order, account, contract, side, leaves, price), by order; a block's contract is its first hour's."""
        return [
            (order.number, order.account, order.contract, order.side, order.leaves, order.price)
            for order in self._state.all_resting()
        ]

    def resting_count(self) -> int:
        """How many orders and blocks rest."""
        return len(self.open_orders())

    @property
    def _state(self) -> Shard:
        assert self._shard is not None, "the shard has not started"
        return self._shard

    # --- Invariants ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold after every record."""
        check(self._state)
        self._diary.compare(self._state)


# --- Time ---------------------------------------------------------------------------------------------------------


def _start(bounds: Bounds, offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> Shard:
    start = commands[0]
    if offset != 0 or len(commands) != 1 or not isinstance(start, cmd.StartShard):
        raise ValueError("the first record of a shard is StartShard, alone, at offset 0")
    if start.engine_version not in naive_operators.ENGINE_VERSIONS or not 0 <= start.shard <= 255 or start.t0_ms < 0:
        raise ValueError(f"{start} cannot be started")
    if start.rate < 1 or (start.rate > 1 and not start.sandbox):
        raise ValueError(f"{start}: time runs at rate 1, and faster in a sandbox only")
    s = start
    started = ev.ShardStarted(0, s.shard, s.engine_version, s.t0_ms, s.rate, s.sandbox)
    time_ms = max(0, _market_time(start, stamp_ms))
    return Shard(start, bounds, time_ms, version=s.engine_version, version_next=s.engine_version, events=[started])


def _market_time(start: cmd.StartShard, stamp_ms: Millis) -> Millis:
    return start.t0_ms + start.rate * (stamp_ms - start.t0_ms)


def _target(shard: Shard, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> Millis:
    first = commands[0]
    if len(commands) == 1 and isinstance(first, cmd.Tick):
        return _market_time(shard.start, first.until_ms)
    return min(_market_time(shard.start, stamp_ms), shard.time_ms + AHEAD_MS_MAX * shard.start.rate)


# --- One command --------------------------------------------------------------------------------------------------


def _do(shard: Shard, command: Command | Malformed) -> None:
    if shard.version == 1 and isinstance(command, SINCE_VERSION_2):
        account = getattr(command, "account", getattr(command, "operator", 0))
        _answer(shard, Refusal(Code.NOT_OFFERED_YET), account, getattr(command, "client_id", ""))
        return
    match command:
        case Malformed():
            _answer(shard, Refusal(Code.MALFORMED))
        case cmd.PlaceOrder():
            _answer(shard, naive_orders.place(shard, command), command.account, command.client_id)
        case cmd.PlaceRange():
            _answer(shard, naive_orders.place_range(shard, command), command.account, command.client_id)
        case cmd.PlaceBlock():
            _answer(shard, naive_blocks.place_block(shard, command), command.account, command.client_id)
        case cmd.CancelOrder():
            _answer(shard, naive_changes.cancel(shard, command), command.account, command.client_id)
        case cmd.AmendOrder():
            _answer(shard, naive_changes.amend(shard, command), command.account, command.client_id)
        case cmd.PutQuotes():
            _answer(shard, naive_quotes.put_quotes(shard, command), command.account)
        case cmd.MassCancel():
            _answer(shard, naive_changes.mass_cancel(shard, command), command.account)
        case cmd.CancelAllAfter():
            _answer(shard, naive_changes.cancel_all_after(shard, command), command.account)
        case cmd.SetAccount() | cmd.Credit() | cmd.Sweep() | cmd.SetBacking() | cmd.SetClass():
            naive_settlement.hear(shard, command)
        case cmd.SetState():
            _answer(shard, naive_operators.set_state(shard, command), command.operator)
        case cmd.SetEngineVersion():
            _answer(shard, naive_operators.set_engine_version(shard, command), command.operator)
        case cmd.CorrectCash():
            _answer(shard, naive_operators.correct_cash(shard, command), command.operator)
        case cmd.MoveReference():
            _answer(shard, naive_operators.move_reference(shard, command))
        case cmd.StartShard():
            _answer(shard, Refusal(Code.WRONG_STATE))
        case cmd.Tick():
            shard.events.append(ev.Ticked(shard.index, shard.time_ms))
        case _:
            assert_never(command)


def _answer(shard: Shard, refusal: Refusal | None, account: int = 0, client_id: str = "") -> None:
    if refusal is not None:
        code, need, have = refusal
        shard.events.append(ev.Rejected(shard.index, account, code, client_id, need, have))
