"""Clear errors put right in cash: an entry of its own, and a public row. Pure."""

from __future__ import annotations

from schemas import events as ev
from services.settlement import rows
from services.settlement.ledger import TRADING, USD, Contradiction, Origin
from services.settlement.refusals import printable
from services.settlement.state import State


def cash_corrected(state: State, at: Origin, index: int, event: ev.CashCorrected) -> None:
    """By two operators who answer to different owners. Raises Contradiction."""
    first, second = state.accounts.get(event.operator), state.accounts.get(event.second_operator)
    known = event.payer in state.accounts and event.payee in state.accounts and event.payer != event.payee
    if not known or first is None or second is None or first.owner == second.owner or event.amount <= 0:
        raise Contradiction(f"{event}: its operators are {first} and {second}")
    state.ledger.post(
        at,
        index,
        "cash_corrected",
        (
            (TRADING, at.shard, event.payer, USD, -event.amount),
            (TRADING, at.shard, event.payee, USD, event.amount),
        ),
    )
    row = rows.Correction(
        at.shard,
        at.seq,
        index,
        event.trade,
        event.payer,
        event.payee,
        event.amount,
        event.operator,
        event.second_operator,
        printable(event.reason),
        at.time_ms,
    )
    state.changes.corrections.create((at.shard, at.seq, index), row)
