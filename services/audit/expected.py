"""The entry that each event must have in the ledger (docs/decisions/002-ledger.md), and what a delivery pays.

Separate from settlement's code on purpose. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from schemas import events as ev
from schemas.units import Micros
from services.audit.log_model import Title

USD: Final = 0
EXTERNAL, WALLET, PAYOUT, TRANSIT, TRADING, ESCROW, CLEARING, COLLATERAL, TREASURY, NOVATION, TITLES = range(1, 12)

Line = tuple[int, int, int, int, int]
"""(kind, shard, ref, asset, amount)."""


def lines_of(event: ev.Event, shard: int, sent_credits: dict[int, tuple[int, Micros]]) -> list[Line] | None:
    """The lines that `event` must have posted; None: it has no entry.

    `sent_credits`: outbox number -> (account, amount) of the `Credit` messages, for those that were refused.
    """
    match event:
        case ev.Credited(amount=amount, account=account) if amount:
            return [(TRANSIT, shard, account, USD, -amount), (TRADING, shard, account, USD, amount)]
        case ev.OutboxRejected(outbox=outbox) if outbox in sent_credits:
            account, amount = sent_credits[outbox]
            return [(TRANSIT, shard, account, USD, -amount), (WALLET, 0, account, USD, amount)]
        case ev.Swept(amount=amount, account=account) if amount:
            return [(TRADING, shard, account, USD, -amount), (WALLET, 0, account, USD, amount)]
        case ev.Filled():
            return _fill(event, shard)
        case ev.CollateralMoved(amount=amount, account=account):
            return [(TRADING, shard, account, USD, -amount), (COLLATERAL, shard, account, USD, amount)]
        case ev.HourEnded(escrow=escrow, contract=contract) if escrow:
            return [(ESCROW, shard, contract, USD, -escrow), (CLEARING, shard, contract, USD, escrow)]
    return None


def _fill(event: ev.Filled, shard: int) -> list[Line]:
    cost = sum(move.cost for move in event.moves)
    to_seller = sum(move.released_seller for move in event.moves)
    to_buyer = sum(move.released_buyer for move in event.moves)
    minutes = event.qty * event.minutes
    contract = event.contract
    return [
        (TRADING, shard, event.buyer, USD, to_buyer - cost),
        (TRADING, shard, event.seller, USD, to_seller),
        (ESCROW, shard, contract, USD, cost - to_seller - to_buyer),
        (TITLES, shard, event.seller, contract, -minutes),
        (NOVATION, shard, contract, contract, minutes),
        (NOVATION, shard, contract, contract, -minutes),
        (TITLES, shard, event.buyer, contract, minutes),
    ]


def delivered(title: Title, undelivered: int) -> dict[int, Micros]:
    """Account (0: treasury) -> what a title pays when `undelivered` of its minutes were not delivered."""
    m, u = title.minutes, 0 if title.closed else undelivered
    paid: defaultdict[int, Micros] = defaultdict(int)
    for account, claim in [(title.obligor, title.proceeds), *title.gains.items(), (0, title.fees)]:
        paid[account] += claim * (m - u) // m
    for account, claim in [(title.holder, title.cost), *title.losses.items()]:
        paid[account] += claim * u // m
    rest = title.escrow - sum(paid.values())
    if rest:
        paid[title.holder] += rest
    return {account: amount for account, amount in paid.items() if amount}
