"""The market as `events` tell it, and the invariants that can be seen there.

Written from the rules (docs/engine.md, docs/decisions/002-ledger.md) without the engine: orders, books, cash, titles and
backing are rebuilt from what the events say, each event is held against what was known before it, and
nothing is taken from the engine's own idea of its state. Pure.

Effects end where the next outcome begins, or the record does: then newcomers rest, blocks are retried, and books and accounts
must be sane.
"""

from __future__ import annotations

from typing import assert_never

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import EventsRecord, Frame, Malformed
from schemas.commands import Ground
from services.audit.blocks import Blocks
from services.audit.books import Books, Level
from services.audit.fills import Fills
from services.audit.holdings import Holdings
from services.audit.market import Block, Contradiction, Market
from services.audit.means import Means
from services.audit.moments import Moments
from services.audit.outcomes import fault
from services.audit.queues import Queues
from services.audit.quotes import Quotes
from services.audit.report import Findings

OF_VERSION_2 = (
    ev.ReferenceMoved,
    ev.RangeAccepted,
    ev.BlockAccepted,
    ev.QuotesPut,
    ev.OrderAmended,
    ev.MassCancelAccepted,
    ev.CancelAllAfterSet,
    ev.CashCorrected,
    ev.BackingCut,
    ev.BlockFilled,
    ev.DeadManFired,
    ev.BuyInFailed,
    ev.StateReached,
    ev.BuyIn,
)
"""What engine version 1 never says."""
KINDS = {
    ev.RangeAccepted: "ranges",
    ev.OrderAmended: "amends",
    ev.QuotesPut: "quotes",
    ev.BlockAccepted: "blocks",
    ev.BlockFilled: "block trades",
    ev.BuyIn: "buy-ins",
    ev.BuyInFailed: "buy-ins",
    ev.CashCorrected: "corrections",
}
"""What a log may have or not have; where it has some, the checks of it must have seen them."""


class ShardModel:
    """Feed it every record of one shard's `events`, in order, with the frame that caused it."""

    def __init__(self, findings: Findings) -> None:
        self.found = findings
        self.market = market = Market(findings)
        queues = Queues()
        self.moments = Moments(market, queues)
        self.means = Means(market, self.moments)
        self.books = Books(market, self.moments)
        self.blocks = Blocks(market, self.books, self.moments)
        self._quotes = Quotes(market, self.books, self.moments)
        holdings = self._holdings = Holdings(market, self.means, queues)
        self._fills = Fills(market, self.books, self.blocks, holdings, self.moments)
        self._outcomes: list[ev.Event] = []
        self._version_next = 0
        """Applies from the next record on; 0: none."""

    # --- records ---------------------------------------------------------------------------------------

    def apply(self, record: EventsRecord, frame: Frame | None) -> None:
        """One record, with the frame that it answers; None: that one is in quarantine. Raises Contradiction."""
        market = self.market
        self.found.expect("D4", record.seq == market.seq + 1, f"seq {record.seq} after {market.seq}")
        back = record.time_ms < market.time_ms
        self.found.expect("C3", not back, f"seq {record.seq}: time goes back to {record.time_ms}")
        market.seq, market.shard, market.time_ms = record.seq, record.shard, record.time_ms
        if record.part == 0:
            self._begin(record, [] if frame is None else list(frame.commands))
        for place, event in enumerate(record.events):
            self._apply(event, place)
        if record.last and market.commands:  # a record in quarantine does nothing
            self._effects_ended()
            self._command_ended()
            self.moments.record_ended()
            self._check_outcomes(record)

    def _begin(self, record: EventsRecord, commands: list[cmd.Command | Malformed]) -> None:
        market = self.market
        market.offset, market.commands = record.offset, commands
        self.moments.by_time = True
        self.blocks.record_begins()
        if self._version_next and commands:
            before, market.version = market.version, self._version_next
            self._version_next = 0
            if before == 1 < market.version:
                self.moments.version_begins()

    def _check_outcomes(self, record: EventsRecord) -> None:
        commands = self.market.commands
        said, self._outcomes = self._outcomes, []
        places = [getattr(event, "index", -1) for event in said]
        complete = places == list(range(len(commands)))
        self.found.expect("O3", complete, f"offset {record.offset}: outcomes {places} for {len(commands)} commands")
        if complete:
            for event, command in zip(said, commands, strict=True):
                if isinstance(command, cmd.CorrectCash) and isinstance(event, ev.CashCorrected):
                    self.means.approved(command)
                wrong = fault(event, command, self.market, record.offset)
                self.found.expect("O3", not wrong, f"offset {record.offset}, outcome {event.index}: {wrong}")  # type: ignore[union-attr]  # `complete` says that it has one

    # --- events ----------------------------------------------------------------------------------------

    def _apply(self, event: ev.Event, place: int) -> None:
        if self.market.version == 1 and isinstance(event, OF_VERSION_2):
            name = type(event).__name__
            raise Contradiction("O3", f"seq {self.market.seq}: {name}, which engine version 1 never says")
        if type(event) in KINDS:
            self.found.there_are(KINDS[type(event)])
        elif isinstance(event, ev.Filled) and any(move.ground == Ground.READY for move in event.moves):
            self.found.there_are("running trades")
        if hasattr(event, "index"):
            self._effects_ended()
            self._command_ended()
            self._outcomes.append(event)
        elif isinstance(event, ev.Filled) and self._is_retry(event):
            self._effects_ended()
        match event:
            case (
                ev.OrderAccepted()
                | ev.RangeAccepted()
                | ev.BlockAccepted()
                | ev.QuotesPut()
                | ev.OrderAmended()
                | ev.OrderRepeated()
                | ev.Rejected()
                | ev.MassCancelAccepted()
                | ev.CancelAllAfterSet()
            ):
                self._of_members(event)
            case ev.Filled() | ev.BlockFilled() | ev.OrderCancelled() | ev.BuyIn() | ev.BuyInFailed():
                self._trading(event)
            case ev.Credited() | ev.Swept() | ev.AccountSet() | ev.ClassSet() | ev.BackingSet() | ev.OutboxRejected():
                self.means.from_settlement(event)
            case ev.ContractListed() | ev.GateClosed() | ev.RunningClosed():
                self.moments.moment(event)
            case ev.TitleEnded() | ev.CollateralMoved() | ev.HourEnded():
                self._hour_ends(event)
            case ev.TitleCovered():
                self._holdings.covered(event)
            case ev.StateSet() | ev.StateReached() | ev.ReferenceMoved() | ev.DeadManFired():
                self._of_time(event)
            case ev.BackingCut():
                self.means.backing_cut(event)
            case ev.CashCorrected():
                self.means.cash_corrected(event, place)
            case ev.ShardStarted():
                self.market.version = event.engine_version
            case ev.EngineVersionSet():
                self._version_next = event.version
            case ev.CancelAccepted() | ev.Ticked() | ev.OutboxSkipped():
                pass  # they change nothing that is audited here
            case _:
                assert_never(event)

    def _is_retry(self, event: ev.Filled) -> bool:
        """The first fill of a block that came to rest before."""
        number = event.taker_order
        waited = number in self.market.blocks and number not in self.market.entering
        return waited and not self.blocks.is_trying(number)

    def _of_members(
        self,
        event: ev.OrderAccepted
        | ev.RangeAccepted
        | ev.BlockAccepted
        | ev.QuotesPut
        | ev.OrderAmended
        | ev.OrderRepeated
        | ev.Rejected
        | ev.MassCancelAccepted
        | ev.CancelAllAfterSet,
    ) -> None:
        match event:
            case ev.OrderAccepted():
                self.books.accepted(event)
            case ev.RangeAccepted():
                self.books.range_accepted(event)
            case ev.BlockAccepted():
                self.blocks.accepted(event)
            case ev.QuotesPut():
                self._quotes.put(event)
            case ev.OrderAmended():
                self.books.amended(event)
            case ev.OrderRepeated():
                self.books.check_known_id(event.account, event.client_id, event.order)
            case ev.Rejected():
                if event.code == ev.Code.DUPLICATE_CLIENT_ID:
                    self.books.check_known_id(event.account, event.client_id, event.have)
            case ev.MassCancelAccepted():
                self.books.mass_cancel(event)
            case ev.CancelAllAfterSet():
                self.books.switch_set(event)
            case _:
                assert_never(event)

    def _trading(self, event: ev.Filled | ev.BlockFilled | ev.OrderCancelled | ev.BuyIn | ev.BuyInFailed) -> None:
        match event:
            case ev.Filled():
                self._fills.filled(event)
            case ev.BlockFilled():
                self.blocks.block_filled(event)
            case ev.OrderCancelled():
                self.books.reason(event.reason)
                block = self.market.blocks.get(event.order)
                if block is None:
                    self.books.cancelled(event)
                else:
                    self.blocks.cancelled(event, block)
            case ev.BuyIn():
                self._fills.buy_in(event)
            case ev.BuyInFailed():
                self._fills.buy_in_failed(event)
            case _:
                assert_never(event)

    def _of_time(self, event: ev.StateSet | ev.StateReached | ev.ReferenceMoved | ev.DeadManFired) -> None:
        match event:
            case ev.StateSet():
                self.moments.state_set(event)
            case ev.StateReached():
                self.moments.state_reached(event)
            case ev.ReferenceMoved():
                self.means.collar_moves(event)
                self.moments.reference_moved(event)
            case ev.DeadManFired():
                self.moments.switch_fired(event)
            case _:
                assert_never(event)

    def _hour_ends(self, event: ev.TitleEnded | ev.CollateralMoved | ev.HourEnded) -> None:
        match event:
            case ev.TitleEnded():
                self.moments.title_ended(event)
            case ev.CollateralMoved():
                self.moments.collateral_moved(event, self.means.left_behind(event.account, event.contract))
            case ev.HourEnded():
                promised = [a for a, of in self.market.collateral_contracts.items() if event.contract in of]
                left_behind = {account: self.means.left_behind(account, event.contract) for account in promised}
                self.moments.hour_ended(event, left_behind)
            case _:
                assert_never(event)

    # --- the end of effects ----------------------------------------------------------------------------

    def _effects_ended(self) -> None:
        """What is left of newcomers rests, and blocks may be retried: what comes now is theirs, or the next command's."""
        if self.moments.by_time:
            self.moments.time_passed()
            self.moments.by_time = False
        entering, self.market.entering = self.market.entering, {}
        for newcomer in entering.values():
            if newcomer.leaves:
                if isinstance(newcomer, Block):
                    self.blocks.rest(newcomer)
                else:
                    self.books.rest(newcomer)
        self.blocks.effects_ended(self.books.came_to_rest, self.moments.opened)
        self.books.came_to_rest.clear()
        self.moments.command_ended()

    def _command_ended(self) -> None:
        self.blocks.command_ended()
        self._quotes.command_ended()
        self.books.command_ended()
        self.means.command_ended()
        self._fills.command_ended()

    def finish(self) -> None:
        """At the end of the log: what holds at every moment is looked at once more for everything alive."""
        market = self.market
        for contract in [contract for contract, phase in market.phase.items() if phase != "ended"]:
            self.moments.check_positions(contract)
            self.books.check_book(contract)
        for account in market.accounts:
            available = self.means.available(account)
            self.found.expect("M3", available >= 0, f"account {account}: available {available}")
        for number, title in market.titles.items():
            self.found.expect("C6", title.balanced, f"title {number}: {title}")

    def levels(self) -> dict[Level, tuple[int, int]]:
        """Level -> (orders, GPUs) of what settlement projects: all but quotes."""
        return self.books.levels(quotes=False)

    def open_rows(self) -> list[tuple[int, int, int, int, int, int]]:
        """(order, account, contract, side, leaves, price) of everything open; of a block its first contract."""
        orders = [(o.order, o.account, o.contract, o.side, o.leaves, o.price) for o in self.market.open_orders()]
        blocks = [(b.order, b.account, b.contracts[0], b.side, b.leaves, b.price) for b in self.market.open_blocks()]
        return sorted(orders + blocks)
