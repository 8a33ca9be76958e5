"""What a shard says → entries, projections, confirmations. Pure.

Each event is settled once, by its identity (shard, seq, index). `match` is closed by `assert_never`: mypy lists an event that is
forgotten here. A difference between the event and our own books is a `Contradiction`.
"""

from __future__ import annotations

from typing import assert_never

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import Side
from schemas.ids import class_no_of, hour_of
from schemas.units import MINUTES_PER_HOUR, MS_PER_HOUR, MS_PER_MINUTE, fee, notional
from services.settlement import blocks, contracts, orders, rows, sides
from services.settlement.confirmations import confirmed
from services.settlement.corrections import cash_corrected
from services.settlement.ledger import (
    ESCROW,
    EVENT,
    NOVATION,
    TITLES,
    TRADING,
    USD,
    Contradiction,
    Origin,
)
from services.settlement.orders import accepted, trade
from services.settlement.rows import FORWARD, RUNNING
from services.settlement.state import Shard, State


def settle(state: State, record: EventsRecord) -> None:
    """Settle every event of a record, the next one of its shard. Raises Contradiction."""
    shard = state.shards[record.shard]
    origin = Origin(EVENT, record.shard, record.seq, record.time_ms)
    for index, event in enumerate(record.events):
        # Nearly all events are of these two types, and a look at the type costs a tenth of a `case`.
        if type(event) is ev.Filled:
            _filled(state, shard, origin, index, event)
        elif type(event) is ev.OrderAccepted:
            accepted(state, origin, event)
        else:
            _settle(state, shard, origin, index, event)


def _settle(state: State, shard: Shard, at: Origin, index: int, event: ev.Event) -> None:
    match event:
        case ev.OrderCancelled():
            _order_cancelled(state, at, event)
        case ev.AccountSet() | ev.Credited() | ev.Swept() | ev.BackingSet() | ev.ClassSet() | ev.OutboxRejected():
            confirmed(state, shard, at, index, event)
        case (
            ev.Filled()
            | ev.OrderAccepted()
            | ev.RangeAccepted()
            | ev.OrderAmended()
            | ev.QuotesPut()
            | ev.BlockAccepted()
            | ev.BlockFilled()
        ):
            _trading(state, shard, at, index, event)
        case ev.TitleCovered() | ev.TitleEnded() | ev.BackingCut() | ev.BuyIn() | ev.BuyInFailed():
            _titles(state, shard, at, event)
        case (
            ev.ContractListed()
            | ev.GateClosed()
            | ev.RunningClosed()
            | ev.CollateralMoved()
            | ev.HourEnded()
            | ev.StateSet()
            | ev.StateReached()
            | ev.ReferenceMoved()
        ):
            _contract(state, shard, at, index, event)
        case ev.CashCorrected():
            cash_corrected(state, at, index, event)
        case ev.ShardStarted():
            shard.start = rows.ShardRow(shard.number, event.t0_ms, event.rate)
            state.changes.shards.create(shard.number, shard.start)
        case (
            ev.Rejected()
            | ev.OrderRepeated()
            | ev.CancelAccepted()
            | ev.EngineVersionSet()
            | ev.Ticked()
            | ev.OutboxSkipped()
            | ev.MassCancelAccepted()
            | ev.CancelAllAfterSet()
            | ev.DeadManFired()
        ):
            pass  # nothing of the ledger or the projections changes; cancellations they cause are events of their own
        case _:
            assert_never(event)


_Trading = (
    ev.Filled | ev.OrderAccepted | ev.RangeAccepted | ev.OrderAmended | ev.QuotesPut | ev.BlockAccepted | ev.BlockFilled
)


def _trading(state: State, shard: Shard, at: Origin, index: int, event: _Trading) -> None:
    match event:
        case ev.Filled():
            _filled(state, shard, at, index, event)
        case ev.OrderAccepted():
            accepted(state, at, event)
        case ev.RangeAccepted():
            orders.range_accepted(state, at, event)
        case ev.OrderAmended():
            orders.amended(state, at, event)
        case ev.QuotesPut():
            orders.quotes_put(state, at, event)
        case ev.BlockAccepted():
            blocks.accepted(state, at, event)
        case ev.BlockFilled():
            blocks.filled(state, at, event)
        case _:
            assert_never(event)


def _order_cancelled(state: State, at: Origin, event: ev.OrderCancelled) -> None:
    if (order := state.orders.get(event.order)) is not None:
        orders.cancelled(state, at, order, event)
    elif (block := state.blocks.get(event.order)) is not None:
        blocks.cancelled(state, at, block, event)
    else:
        orders.check_quote(state, at, event.order, event.account, class_no_of(event.contract))


_Titles = ev.TitleCovered | ev.TitleEnded | ev.BackingCut | ev.BuyIn | ev.BuyInFailed


def _titles(state: State, shard: Shard, at: Origin, event: _Titles) -> None:
    match event:
        case ev.TitleCovered():
            shard.titles.cover(event)
        case ev.TitleEnded():
            shard.titles.end(event)
        case ev.BackingCut():
            shard.backing.cut(event.contract, event.account, event.ground, event.qty)
        case ev.BuyIn():
            contracts.buy_in(state, shard, event)
        case ev.BuyInFailed():
            contracts.buy_in_failed(state, shard, at, event)
        case _:
            assert_never(event)


_Contract = (
    ev.ContractListed
    | ev.GateClosed
    | ev.RunningClosed
    | ev.CollateralMoved
    | ev.HourEnded
    | ev.StateSet
    | ev.StateReached
    | ev.ReferenceMoved
)


def _contract(state: State, shard: Shard, at: Origin, index: int, event: _Contract) -> None:
    match event:
        case ev.ContractListed():
            contracts.listed(state, shard, event)
        case ev.GateClosed():
            contracts.gate_closed(state, shard, event.contract)
        case ev.RunningClosed():
            contracts.running_closed(state, shard, event.contract)
        case ev.CollateralMoved():
            contracts.collateral_moved(state, shard, at, index, event)
        case ev.HourEnded():
            contracts.hour_ended(state, shard, at, index, event)
        case ev.StateSet() | ev.StateReached():
            contracts.state_set(state, event)
        case ev.ReferenceMoved():
            contracts.reference_moved(state, event)
        case _:
            assert_never(event)


# --- Fills ---------------------------------------------------------------------------------------------------


def _filled(state: State, shard: Shard, at: Origin, index: int, event: ev.Filled) -> None:
    maker, taker = state.orders.get(event.maker_order), state.orders.get(event.taker_order)
    if maker is not None and taker is not None:
        _check_fill(event, maker, taker)
    else:
        sides.check_fill(state, shard, at, event)
    of_contract = state.contracts.get(event.contract)
    running = of_contract is None or of_contract.phase != FORWARD
    if running or event.minutes != MINUTES_PER_HOUR:
        _check_running(of_contract, at, event)
    cost, to_seller, to_buyer = shard.titles.fill(event, running=running)
    if maker is not None and taker is not None:
        trade(state, at, maker, event.qty, event.maker_leaves)
        trade(state, at, taker, event.qty, event.taker_leaves)
    else:
        sides.trade(state, at, event, event.maker_order, event.maker_leaves)
        sides.trade(state, at, event, event.taker_order, event.taker_leaves)
    number, contract, buyer, seller = shard.number, event.contract, event.buyer, event.seller
    minutes = event.qty * event.minutes
    state.ledger.post(
        at,
        index,
        "filled",
        (
            (TRADING, number, buyer, USD, to_buyer - cost),
            (TRADING, number, seller, USD, to_seller),
            (ESCROW, number, contract, USD, cost - to_seller - to_buyer),
            (TITLES, number, seller, contract, -minutes),
            (NOVATION, number, contract, contract, minutes),
            (NOVATION, number, contract, contract, -minutes),
            (TITLES, number, buyer, contract, minutes),
        ),
    )
    # The columns of `rows.Fill`.
    state.changes.fills.append(
        (
            number,
            event.trade,
            at.seq,
            contract,
            event.price,
            event.qty,
            event.minutes,
            event.taker_side,
            event.maker_order,
            event.taker_order,
            buyer,
            seller,
            event.notional,
            event.buyer_fee,
            event.seller_fee,
            at.time_ms,
        )
    )


def _check_fill(event: ev.Filled, maker: rows.Order, taker: rows.Order) -> None:
    """Money and parties of a fill follow from its two orders; of fills with another side: `sides`. Raises Contradiction."""
    cash = notional(event.price, event.qty, event.minutes)
    if event.taker_side == Side.BUY:
        buyer_bp, seller_bp, buyer, seller = taker.taker_bp, maker.maker_bp, taker.account, maker.account
    else:
        buyer_bp, seller_bp, buyer, seller = maker.maker_bp, taker.taker_bp, maker.account, taker.account
    if not (
        event.notional == cash
        and event.buyer_fee == fee(cash, buyer_bp)
        and event.seller_fee == fee(cash, seller_bp)
        and event.buyer == buyer
        and event.seller == seller
        and taker.side == event.taker_side != maker.side
        and maker.contract == taker.contract == event.contract
        and maker.leaves - event.qty == event.maker_leaves
        and taker.leaves - event.qty == event.taker_leaves
    ):
        raise Contradiction(f"{event} does not follow from {maker} and {taker}")


def _check_running(contract: rows.Contract | None, at: Origin, event: ev.Filled) -> None:
    """Behind the gate the rest of the hour is sold, to whoever takes it at once. Raises Contradiction."""
    left = ((hour_of(event.contract) + 1) * MS_PER_HOUR - at.time_ms) // MS_PER_MINUTE
    running = contract is not None and contract.phase == RUNNING and event.taker_side == Side.BUY
    if not running or not 0 < event.minutes == min(MINUTES_PER_HOUR, left):
        raise Contradiction(f"{event} in {contract}, {left} minutes before the end of its hour")
