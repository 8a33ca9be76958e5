"""Messages of ours that a shard has taken or refused: each finishes what a request began. Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Credit, SetAccount, SetBacking, SetClass, Sweep
from schemas.units import Millis
from services.settlement import rows
from services.settlement.ledger import EXTERNAL, TRADING, TRANSIT, USD, WALLET, Contradiction, Origin
from services.settlement.refusals import NUMBER_MAX
from services.settlement.state import Shard, State, decode_outbox

Confirmation = ev.AccountSet | ev.Credited | ev.Swept | ev.BackingSet | ev.ClassSet | ev.OutboxRejected


def confirmed(state: State, shard: Shard, at: Origin, index: int, event: Confirmation) -> None:
    """What the message was sent for has happened in the shard, or never will. Raises Contradiction."""
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
            shard.backing.put(event)
            outcome = {"changed": event.changed, "short": event.short}
        case ev.ClassSet(), SetClass() if event.class_no == command.class_no:
            listed = state.classes[event.class_no]
            listed.listed = True
            state.changes.classes.change(event.class_no, listed)
        case ev.OutboxRejected(), _:
            _refused(state, shard, at, index, command, request)
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
    request: rows.RequestRow | None,
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
    elif isinstance(command, SetBacking) and request is not None and (cost := request.outcome.get("cost")):
        # Machines that stand behind nothing are given back: a stand-in for a cloud can do that.
        state.ledger.post(
            at,
            index,
            "simulated procurement returned",
            (
                (EXTERNAL, 0, int(request.outcome["provider"]), USD, -int(cost)),
                (WALLET, 0, command.account, USD, int(cost)),
            ),
        )
    elif isinstance(command, SetClass) and not state.classes[command.class_no].listed:
        refused = state.classes.pop(command.class_no)
        del state.class_nos[refused.class_id]
        state.changes.classes.remove(command.class_no)


def _check_balance(state: State, shard: Shard, event: Confirmation) -> None:
    """M7, as far as an event says it."""
    if isinstance(event, ev.Credited | ev.Swept):
        ours = state.ledger.balance(TRADING, shard.number, event.account)
        if ours != event.balance:
            raise Contradiction(f"M7: {event}, ours is {ours}")


def _answer(
    state: State,
    time_ms: Millis,
    request: rows.RequestRow,
    event: Confirmation,
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
