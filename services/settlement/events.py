"""What a shard says → entries, projections, confirmations. Pure.

Each event is settled once, by its identity (shard, seq, index). `match` is closed by `assert_never`: mypy lists an event that is
forgotten here. A difference between the event and our own books is a `Contradiction`.
"""

from __future__ import annotations

from typing import assert_never

from schemas import events as ev
from schemas.codec import EventsRecord
from schemas.commands import ALL_HOURS, Credit, SetAccount, SetBacking, SetClass, Side, Sweep
from schemas.ids import class_no_of, contract_of, hour_of
from schemas.units import Millis, fee, notional
from services.settlement import rows
from services.settlement.deliveries import settle_waiting
from services.settlement.ledger import (
    CLEARING,
    COLLATERAL,
    ESCROW,
    EVENT,
    NOVATION,
    TITLES,
    TRADING,
    TRANSIT,
    USD,
    WALLET,
    Contradiction,
    Origin,
)
from services.settlement.refusals import NUMBER_MAX
from services.settlement.state import Shard, State, decode_outbox


def settle(state: State, record: EventsRecord) -> None:
    """Settle every event of a record, the next one of its shard. Raises Contradiction."""
    shard = state.shards[record.shard]
    origin = Origin(EVENT, record.shard, record.seq, record.time_ms)
    for index, event in enumerate(record.events):
        # Nearly all events are of these two types, and a look at the type costs a tenth of a `case`.
        if type(event) is ev.Filled:
            _filled(state, shard, origin, index, event)
        elif type(event) is ev.OrderAccepted:
            _order_accepted(state, origin, event)
        else:
            _settle(state, shard, origin, index, event)


def _settle(state: State, shard: Shard, at: Origin, index: int, event: ev.Event) -> None:
    match event:
        case ev.Filled():
            _filled(state, shard, at, index, event)
        case ev.OrderAccepted():
            _order_accepted(state, at, event)
        case ev.OrderCancelled():
            _order_cancelled(state, at, event)
        case ev.AccountSet() | ev.Credited() | ev.Swept() | ev.BackingSet() | ev.ClassSet() | ev.OutboxRejected():
            _confirmed(state, shard, at, index, event)
        case ev.TitleCovered():
            shard.titles.cover(event)
        case ev.ContractListed():
            _listed(state, shard, event)
        case ev.GateClosed():
            _phase(state, event.contract, "running")
            shard.titles.close_gate(event.contract)
        case ev.RunningClosed():
            _phase(state, event.contract, "closed")
        case ev.TitleEnded():
            shard.titles.end(event)
        case ev.CollateralMoved():
            _collateral_moved(state, shard, at, index, event)
        case ev.HourEnded():
            _hour_ended(state, shard, at, index, event)
        case ev.StateSet():
            _state_set(state, event)
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
            | ev.ReferenceMoved()
            | ev.MassCancelAccepted()
            | ev.CancelAllAfterSet()
            | ev.DeadManFired()
        ):
            pass  # nothing of the ledger or the projections changes; cancellations they cause are events of their own
        case (
            ev.RangeAccepted()
            | ev.BlockAccepted()
            | ev.QuotesPut()
            | ev.OrderAmended()
            | ev.CashCorrected()
            | ev.BackingCut()
            | ev.BlockFilled()
            | ev.BuyInFailed()
            | ev.StateReached()
            | ev.BuyIn()
        ):
            raise Contradiction(
                f"{type(event).__name__} at seq {at.seq}: this build settles engine version 1, which has none"
            )
        case _:
            assert_never(event)


# --- Orders and fills ----------------------------------------------------------------------------------------


def _order_accepted(state: State, at: Origin, event: ev.OrderAccepted) -> None:
    order = rows.Order(
        event.order,
        event.account,
        event.contract,
        at.shard,
        event.side,
        event.qty,
        event.price,
        event.tif,
        event.flags,
        event.client_id,
        event.qty,
        0,
        0,
        "open",
        0,
        event.maker_bp,
        event.taker_bp,
        at.time_ms,
        at.time_ms,
        at.seq,
    )
    state.orders[event.order] = order
    state.changes.orders.create(event.order, order)


def _order_cancelled(state: State, at: Origin, event: ev.OrderCancelled) -> None:
    order = _open_order(state, event.order)
    if (order.leaves, order.account) != (event.qty, event.account):
        raise Contradiction(f"{event}: ours is {order}")
    order.cancelled, order.leaves = event.qty, 0
    order.state, order.reason = "cancelled", event.reason
    order.updated_ms, order.seq = at.time_ms, at.seq
    del state.orders[event.order]
    state.changes.orders.change(event.order, order)


def _open_order(state: State, number: int) -> rows.Order:
    order = state.orders.get(number)
    if order is None:
        raise Contradiction(f"order {number} is not open here")
    return order


def _filled(state: State, shard: Shard, at: Origin, index: int, event: ev.Filled) -> None:
    maker, taker = _open_order(state, event.maker_order), _open_order(state, event.taker_order)
    _check_fill(event, maker, taker)
    cost, to_seller, to_buyer = shard.titles.fill(event)
    _trade(state, at, maker, event.qty, event.maker_leaves)
    _trade(state, at, taker, event.qty, event.taker_leaves)
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
    """Money and parties of a fill follow from the two orders. Raises Contradiction."""
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


def _trade(state: State, at: Origin, order: rows.Order, qty: int, leaves: int) -> None:
    order.filled += qty
    order.leaves = leaves
    order.updated_ms, order.seq = at.time_ms, at.seq
    assert leaves >= 0, f"O1: {order}"
    assert order.filled + order.cancelled + leaves == order.qty, f"O1: {order}"
    if leaves == 0:
        order.state = "filled"
        del state.orders[order.order_id]
    state.changes.orders.change(order.order_id, order)


# --- Messages of ours that the shard has taken ---------------------------------------------------------------

_Confirmation = ev.AccountSet | ev.Credited | ev.Swept | ev.BackingSet | ev.ClassSet | ev.OutboxRejected


def _confirmed(state: State, shard: Shard, at: Origin, index: int, event: _Confirmation) -> None:
    message, request, last = state.confirm(shard.number, event.outbox)
    command = decode_outbox(message.body)
    outcome: dict[str, int | bool | str] = {}
    match event, command:
        case ev.Credited(), Credit() if (event.account, event.amount) == (command.account, command.amount):
            state.ledger.post(
                at,
                index,
                "credited",
                (
                    (TRANSIT, shard.number, event.account, USD, -event.amount),
                    (TRADING, shard.number, event.account, USD, event.amount),
                ),
            )
            outcome = {"amount": event.amount, "balance": event.balance}
        case ev.Swept(), Sweep() if event.account == command.account and 0 <= event.amount <= command.amount:
            state.ledger.post(
                at,
                index,
                "swept",
                (
                    (TRADING, shard.number, event.account, USD, -event.amount),
                    (WALLET, 0, event.account, USD, event.amount),
                ),
            )
            outcome = {"amount": event.amount, "balance": event.balance}
        case ev.AccountSet(), SetAccount() if event.account == command.account:
            account = state.accounts[event.account]
            account.role, account.fee_plan = event.role, event.fee_plan
            state.changes.accounts.change(event.account, account)
        case ev.BackingSet(), SetBacking() if (event.account, event.hours) == (command.account, command.hours):
            shard.titles.back(event)
            outcome = {"changed": event.changed, "short": event.short}
        case ev.ClassSet(), SetClass() if event.class_no == command.class_no:
            listed = state.classes[event.class_no]
            listed.listed = True
            state.changes.classes.change(event.class_no, listed)
        case ev.OutboxRejected(), _:
            _refused(state, shard, at, index, command)
        case _:
            raise Contradiction(f"shard {shard.number} answers {command} with {event}")
    _check_balance(state, shard, event)
    if request is not None:
        _answer(state, at.time_ms, request, event, outcome, last)


def _refused(
    state: State,
    shard: Shard,
    at: Origin,
    index: int,
    command: SetAccount | Credit | Sweep | SetBacking | SetClass,
) -> None:
    """The message changed nothing in the shard: what was set aside for it goes back."""
    if isinstance(command, Credit):
        state.ledger.post(
            at,
            index,
            "credit_refused",
            (
                (TRANSIT, shard.number, command.account, USD, -command.amount),
                (WALLET, 0, command.account, USD, command.amount),
            ),
        )
    elif isinstance(command, SetClass) and not state.classes[command.class_no].listed:
        refused = state.classes.pop(command.class_no)
        del state.class_nos[refused.class_id]
        state.changes.classes.remove(command.class_no)


def _check_balance(state: State, shard: Shard, event: _Confirmation) -> None:
    """M7, as far as an event says it."""
    if isinstance(event, ev.Credited | ev.Swept):
        ours = state.ledger.balance(TRADING, shard.number, event.account)
        if ours != event.balance:
            raise Contradiction(f"M7: {event}, ours is {ours}")


def _answer(
    state: State,
    time_ms: Millis,
    request: rows.RequestRow,
    event: _Confirmation,
    outcome: dict[str, int | bool | str],
    last: bool,
) -> None:
    """A request is done when every message of it is confirmed, and refused by the first that is."""
    request.updated_ms = time_ms
    if isinstance(event, ev.OutboxRejected):
        request.state, request.code = "refused", ev.Code(event.code).name.lower()
        request.need, request.have, request.outcome = _shown(event.need), _shown(event.have), {}
    else:
        request.outcome = {**request.outcome, **outcome}
        if last:
            request.state = "done"
    if request.state != "pending":
        del state.requests[request.request_id]
    state.changes.requests.change(request.request_id, request)


def _shown(number: int) -> int:
    """A refusal repeats numbers of what was asked: a column may not hold them."""
    return max(-NUMBER_MAX, min(number, NUMBER_MAX))


# --- Contracts -----------------------------------------------------------------------------------------------


def _listed(state: State, shard: Shard, event: ev.ContractListed) -> None:
    class_no = class_no_of(event.contract)
    of_class = state.classes.get(class_no)
    if of_class is None or of_class.shard != shard.number:
        raise Contradiction(f"contract {event.contract} is listed in shard {shard.number}, its class is {of_class}")
    contract = rows.Contract(event.contract, class_no, hour_of(event.contract), shard.number, "forward", 1, False)
    state.contracts[event.contract] = contract
    state.changes.contracts.create(event.contract, contract)


def _phase(state: State, number: int, phase: str) -> rows.Contract:
    contract = state.contracts.get(number)
    if contract is None or contract.phase == "ended":
        raise Contradiction(f"contract {number} becomes {phase}, ours is {contract}")
    contract.phase = phase
    state.changes.contracts.change(number, contract)
    return contract


def _state_set(state: State, event: ev.StateSet) -> None:
    number = contract_of(event.class_no, event.hour)
    if event.class_no not in state.classes or (event.hour and number not in state.contracts):
        raise Contradiction(f"{event}: it is not listed here")
    if event.hour == ALL_HOURS:
        of_class = state.classes[event.class_no]
        of_class.state = event.state
        state.changes.classes.change(event.class_no, of_class)
    else:
        contract = state.contracts[number]
        contract.state = event.state
        state.changes.contracts.change(number, contract)


def _collateral_moved(state: State, shard: Shard, at: Origin, index: int, event: ev.CollateralMoved) -> None:
    state.ledger.post(
        at,
        index,
        "collateral_moved",
        (
            (TRADING, shard.number, event.account, USD, -event.amount),
            (COLLATERAL, shard.number, event.account, USD, event.amount),
        ),
    )
    row = rows.Collateral(event.contract, event.account, shard.number, event.amount)
    state.collateral[event.contract, event.account] = row
    state.changes.collateral.create((event.contract, event.account), row)


def _hour_ended(state: State, shard: Shard, at: Origin, index: int, event: ev.HourEnded) -> None:
    ended, escrow = shard.titles.end_contract(event.contract)
    collateral = sum(row.amount for row in state.collateral.values() if row.contract == event.contract)
    booked = state.ledger.balance(ESCROW, shard.number, event.contract)
    if (event.titles, event.escrow, event.escrow, event.collateral) != (ended, escrow, booked, collateral):
        raise Contradiction(
            f"{event}: ours are {ended} titles, escrow {escrow} ({booked} booked), collateral {collateral}"
        )
    state.ledger.post(
        at,
        index,
        "hour_ended",
        (
            (ESCROW, shard.number, event.contract, USD, -event.escrow),
            (CLEARING, shard.number, event.contract, USD, event.escrow),
        ),
    )
    _phase(state, event.contract, "ended")
    state.count_promised(event.contract)
    settle_waiting(state, shard, event.contract, at.time_ms)
