"""A second engine, written from docs/engine.md alone: slow, obvious, and a judge of the rules themselves.

    engine = NaiveEngine()
    events = engine.apply(offset, stamp_ms, commands)

It has the interface of the production engine and must give the same events, byte for byte. Whoever changes it has not
opened the production engine: a copy would share its mistakes. Lists and dictionaries, walked anew at every step; no
sum is kept. Beside what an engine needs it keeps every claim on every title's escrow, and after each record it checks
that nobody's money or hours came from nowhere. Pure.

    naive_time        what time alone causes        naive_orders   place, match, cancel
    naive_settlement  accounts, money, backing      naive_titles   whose hour it is and where its money waits
    naive_shard       the state, and what can be counted from it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import Command, Side, State
from schemas.events import Code, Event
from schemas.ids import contract_of
from schemas.units import Gpus, Micros, Millis, Price
from tests.reference import naive_orders, naive_settlement, naive_time
from tests.reference.naive_shard import Class, Contract, Refusal, Shard
from tests.reference.naive_time import HOUR_MAX
from tests.reference.naive_titles import FORWARD

ENGINE_VERSIONS = (1,)
AHEAD_MS_MAX = 60_000


class NaiveEngine:
    """One shard."""

    def __init__(self) -> None:
        self._shard: Shard | None = None

    # --- One record ----------------------------------------------------------------------------------------

    def apply(self, offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> list[Event]:
        """One record of `commands` → its events. Raises ValueError when the first one does not start a shard."""
        if self._shard is None:
            self._shard = _start(offset, stamp_ms, commands)
            return self._shard.events
        shard = self._shard
        assert offset > shard.offset
        shard.offset = offset
        shard.events = []
        shard.time_ms = max(shard.time_ms, _target(shard, stamp_ms, commands))
        naive_time.let_time_pass(shard)
        for index, command in enumerate(commands):
            shard.index = index
            before = len(shard.events)
            _do(shard, command)
            assert shard.events[before].index == index, "O3: the outcome comes first"
            assert not any(hasattr(event, "index") for event in shard.events[before + 1 :]), "O3: only one outcome"
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
            for account in {account for title in titles.holding for account in (title.holder, title.obligor)}:
                owed = sum(titles.owed(account, ground) for ground in FORWARD)
                found[account, number] = (titles.held(account), owed)
        return found

    def open_orders(self) -> list[tuple[int, int, int, int, Gpus, Price]]:
        """(order, account, contract, side, leaves, price), by order."""
        return sorted(
            (order.number, order.body.account, order.body.contract, order.body.side, order.leaves, order.body.price)
            for order in self._state.orders()
        )

    def resting_count(self) -> int:
        """How many orders rest."""
        return len(self.open_orders())

    @property
    def _state(self) -> Shard:
        assert self._shard is not None, "the shard has not started"
        return self._shard

    # --- Invariants ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold after every record."""
        shard = self._state
        cash = sum(account.cash for account in shard.accounts.values())
        assert cash + sum(self.escrows().values()) == shard.paid_in - shard.paid_out, "M2: money from nowhere"
        for account in shard.accounts:
            assert shard.available(account) >= 0, f"M3: account {account}"
        for number, contract in shard.contracts.items():
            contract.titles.check()
            for title in contract.titles.owing:
                assert (title.obligor, number, title.ground) in shard.backings, f"{title} without backing"
            _check_book(shard, contract)


def _check_book(shard: Shard, contract: Contract) -> None:
    number, bids, asks = contract.number, contract.books[Side.BUY], contract.books[Side.SELL]
    if not bids and not asks:
        return
    assert not bids or not asks or bids[0].body.price < asks[0].body.price, f"B1: {number} is crossed"
    assert contract.gate_open or not contract.resting, f"C3: {number} has orders after its gate"
    assert all(order.leaves > 0 for order in contract.resting), f"O1: {number} has an empty order"
    for account in {order.body.account for order in asks}:
        assert shard.open_asks(account, number) <= shard.capacity(account, number), f"C2: account {account}"


# --- Time ---------------------------------------------------------------------------------------------------------


def _start(offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> Shard:
    start = commands[0]
    if offset != 0 or len(commands) != 1 or not isinstance(start, cmd.StartShard):
        raise ValueError("the first record of a shard is StartShard, alone, at offset 0")
    if start.engine_version not in ENGINE_VERSIONS or not 0 <= start.shard <= 255 or start.t0_ms < 0:
        raise ValueError(f"{start} cannot be started")
    if start.rate < 1 or (start.rate > 1 and not start.sandbox):
        raise ValueError(f"{start}: time runs at rate 1, and faster in a sandbox only")
    s = start
    started = ev.ShardStarted(0, s.shard, s.engine_version, s.t0_ms, s.rate, s.sandbox)
    return Shard(start, max(0, _market_time(start, stamp_ms)), events=[started])


def _market_time(start: cmd.StartShard, stamp_ms: Millis) -> Millis:
    return start.t0_ms + start.rate * (stamp_ms - start.t0_ms)


def _target(shard: Shard, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> Millis:
    first = commands[0]
    if len(commands) == 1 and isinstance(first, cmd.Tick):
        return _market_time(shard.start, first.until_ms)
    return min(_market_time(shard.start, stamp_ms), shard.time_ms + AHEAD_MS_MAX * shard.start.rate)


# --- One command --------------------------------------------------------------------------------------------------


def _do(shard: Shard, command: Command | Malformed) -> None:
    match command:
        case Malformed():
            _answer(shard, Refusal(Code.MALFORMED))
        case cmd.PlaceOrder():
            _answer(shard, naive_orders.place(shard, command), command.account, command.client_id)
        case cmd.CancelOrder():
            _answer(shard, naive_orders.cancel(shard, command), command.account, command.client_id)
        case cmd.SetAccount() | cmd.Credit() | cmd.Sweep() | cmd.SetBacking() | cmd.SetClass():
            naive_settlement.hear(shard, command)
        case cmd.SetState():
            _answer(shard, _set_state(shard, command), command.operator)
        case cmd.SetEngineVersion():
            _answer(shard, _set_engine_version(shard, command), command.operator)
        case cmd.StartShard():
            _answer(shard, Refusal(Code.WRONG_STATE))
        case cmd.Tick():
            shard.events.append(ev.Ticked(shard.index, shard.time_ms))
        case cmd.PlaceRange() | cmd.PlaceBlock() | cmd.AmendOrder():
            _answer(shard, Refusal(Code.NOT_OFFERED_YET), command.account, command.client_id)
        case cmd.PutQuotes() | cmd.MassCancel() | cmd.CancelAllAfter():
            _answer(shard, Refusal(Code.NOT_OFFERED_YET), command.account)
        case cmd.CorrectCash():
            _answer(shard, Refusal(Code.NOT_OFFERED_YET), command.operator)
        case cmd.MoveReference():
            _answer(shard, Refusal(Code.NOT_OFFERED_YET))
        case _:
            assert_never(command)


def _answer(shard: Shard, refusal: Refusal | None, account: int = 0, client_id: str = "") -> None:
    if refusal is not None:
        code, need, have = refusal
        shard.events.append(ev.Rejected(shard.index, account, code, client_id, need, have))


def _set_state(shard: Shard, body: cmd.SetState) -> Refusal | None:
    if body.state not in {State.OPEN, State.POST_ONLY, State.CANCEL_ONLY, State.HALTED}:
        return Refusal(Code.WRONG_STATE)
    target: Class | Contract | None = shard.classes.get(body.class_no)
    if target is None:
        return Refusal(Code.UNKNOWN_CLASS)
    if body.hour != cmd.ALL_HOURS:
        in_range = 0 < body.hour < HOUR_MAX
        target = shard.contracts.get(contract_of(body.class_no, body.hour)) if in_range else None
    if target is None:
        return Refusal(Code.UNKNOWN_CONTRACT)
    target.state = body.state
    b = body
    shard.events.append(ev.StateSet(shard.index, b.operator, b.class_no, b.hour, b.state, b.reason))
    return None


def _set_engine_version(shard: Shard, body: cmd.SetEngineVersion) -> Refusal | None:
    if body.version not in ENGINE_VERSIONS:
        return Refusal(Code.WRONG_VERSION)
    shard.events.append(ev.EngineVersionSet(shard.index, body.operator, body.version))
    return None
