"""What time and operators do to classes and contracts: phases, states, references, the cover deadline, the hour's end. Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import ALL_HOURS
from schemas.ids import class_no_of, contract_of, hour_of
from schemas.units import Price, collar
from services.settlement import rows
from services.settlement.backing import PROMISED
from services.settlement.deliveries import settle_waiting
from services.settlement.ledger import CLEARING, COLLATERAL, ESCROW, TRADING, USD, Contradiction, Origin
from services.settlement.rows import CLOSED, ENDED, FORWARD, RUNNING
from services.settlement.state import Shard, State


def listed(state: State, shard: Shard, event: ev.ContractListed) -> None:
    """An hour of a class can be traded from here on."""
    class_no = class_no_of(event.contract)
    of_class = state.classes.get(class_no)
    if of_class is None or of_class.shard != shard.number:
        raise Contradiction(f"contract {event.contract} is listed in shard {shard.number}, its class is {of_class}")
    contract = rows.Contract(event.contract, class_no, hour_of(event.contract), shard.number, FORWARD, 1, False)
    state.contracts[event.contract] = contract
    state.changes.contracts.create(event.contract, contract)


# --- Phases --------------------------------------------------------------------------------------------------


def gate_closed(state: State, shard: Shard, contract: int) -> None:
    """From forward to running."""
    _phase(state, contract, RUNNING)
    shard.backing.close_gate(contract)


def running_closed(state: State, shard: Shard, contract: int) -> None:
    """From running to closed; a class without a running close says it when the hour has ended already."""
    row, of_class = state.contracts.get(contract), state.classes.get(class_no_of(contract))
    gone = row is None or row.phase == ENDED
    if gone and of_class is not None and of_class.shard == shard.number and of_class.running_close_ms == 0:
        return
    _phase(state, contract, CLOSED)
    shard.backing.close_running(contract)


def _phase(state: State, number: int, phase: str) -> rows.Contract:
    contract = state.contracts.get(number)
    if contract is None or contract.phase == ENDED:
        raise Contradiction(f"contract {number} becomes {phase}, ours is {contract}")
    contract.phase = phase
    state.changes.contracts.change(number, contract)
    return contract


# --- States and references -----------------------------------------------------------------------------------


def state_set(state: State, event: ev.StateSet | ev.StateReached) -> None:
    """The state that holds from here on, by an operator's word or because its time has come."""
    if event.hour == ALL_HOURS:
        of_class = _class(state, event)
        of_class.state = event.state
        state.changes.classes.change(event.class_no, of_class)
    else:
        contract = _contract(state, event)
        contract.state = event.state
        state.changes.contracts.change(contract.contract, contract)


def reference_moved(state: State, event: ev.ReferenceMoved) -> None:
    """A collar follows its reference: of a class, or of one contract, which then has its own."""
    of_class = _class(state, event)
    due = collar(event.price, of_class.collar_low_bp, of_class.collar_high_bp)
    if (event.low, event.high) != due:
        raise Contradiction(f"{event}: the collar is {due}")
    if event.hour == ALL_HOURS:
        of_class.reference, (of_class.collar_low, of_class.collar_high) = event.price, due
        state.changes.classes.change(event.class_no, of_class)
    else:
        contract = _contract(state, event)
        contract.reference, (contract.collar_low, contract.collar_high) = event.price, due
        state.changes.contracts.change(contract.contract, contract)


def _class(state: State, event: ev.StateSet | ev.StateReached | ev.ReferenceMoved) -> rows.ClassRow:
    of_class = state.classes.get(event.class_no)
    if of_class is None:
        raise Contradiction(f"{event}: it is not listed here")
    return of_class


def _contract(state: State, event: ev.StateSet | ev.StateReached | ev.ReferenceMoved) -> rows.Contract:
    contract = state.contracts.get(contract_of(event.class_no, event.hour))
    if contract is None:
        raise Contradiction(f"{event}: it is not listed here")
    return contract


# --- The cover deadline --------------------------------------------------------------------------------------


def buy_in(state: State, shard: Shard, event: ev.BuyIn) -> None:
    """Promises end, and what is owed on them is bought: fills without a taker's order follow."""
    limit = buy_in_limit(state, shard, event.contract, event.account)
    owed = shard.backing.end_promise(event.contract, event.account)
    contract = state.contracts.get(event.contract)
    forward = contract is not None and contract.phase == FORWARD
    if not forward or (event.limit, event.qty) != (limit, owed) or event.qty <= 0:
        raise Contradiction(f"{event}: {owed} GPUs are owed as promised, the limit is {limit}, ours is {contract}")


def buy_in_limit(state: State, shard: Shard, contract: int, account: int) -> Price:
    """The most that is paid in the account's name: the cap of the collar, or what its collateral was reckoned with."""
    row, of_class = state.contracts.get(contract), state.classes.get(class_no_of(contract))
    promise = shard.backing.find(contract, account, PROMISED)
    if row is None or of_class is None or promise is None:
        raise Contradiction(f"account {account} promises in contract {contract}: ours are {row}, {promise}")
    return min(row.collar_high if row.reference else of_class.collar_high, promise.collateral_price)


def buy_in_failed(state: State, shard: Shard, at: Origin, event: ev.BuyInFailed) -> None:
    """What could not be bought is a failure to deliver that is known before the hour."""
    owed = shard.backing.end_promise(event.contract, event.account)
    if event.qty != owed or event.qty <= 0:
        raise Contradiction(f"{event}: {owed} GPUs are owed as promised")
    failure = rows.BuyInFailure(event.contract, event.account, shard.number, event.qty, at.time_ms, at.seq)
    state.changes.buy_in_failures.create((event.contract, event.account), failure)


# --- The hour's end ------------------------------------------------------------------------------------------


def collateral_moved(state: State, shard: Shard, at: Origin, index: int, event: ev.CollateralMoved) -> None:
    """Collateral of promises still owed waits in clearing for their delivery."""
    of_class = state.classes.get(class_no_of(event.contract))
    rate = 0 if of_class is None else of_class.buyer_taker
    due = shard.backing.collateral(event.contract, event.account, rate)
    if event.amount != due or event.amount <= 0:
        raise Contradiction(f"{event}: {due} are due")
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


def hour_ended(state: State, shard: Shard, at: Origin, index: int, event: ev.HourEnded) -> None:
    """Escrow goes over to clearing, and waits for delivery records; those that came early are settled."""
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
    shard.backing.end_contract(event.contract)
    _phase(state, event.contract, ENDED)
    state.count_promised(event.contract)
    settle_waiting(state, shard, event.contract, at.time_ms)
