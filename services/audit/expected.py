"""The chart of accounts, and the entry that an event, a request or a delivery calls for (docs/decisions/002-ledger.md).

Separate from settlement's code on purpose. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from schemas import events as ev
from schemas.units import Micros
from services.audit.titles import Refunds, Title, paid_out

USD: Final = 0
EXTERNAL, WALLET, PAYOUT, TRANSIT, TRADING, ESCROW, CLEARING, COLLATERAL, TREASURY, NOVATION, TITLES = range(1, 12)
EVENT, REQUEST, DELIVERY, HANDOVER = 1, 2, 3, 4
"""Sources of entries."""

NOTHING_BOUGHT: Final[dict[int, tuple[int, int, int]]] = {}

Line = tuple[int, int, int, int, int]
"""(kind, shard, ref, asset, amount)."""


Bought = Mapping[int, tuple[int, Micros, int]]
"""Outbox number -> (account, cost, provider) of machines procured for it."""


def lines_of(
    event: ev.Event, shard: int, sent_credits: Mapping[int, tuple[int, Micros]], bought: Bought = NOTHING_BOUGHT
) -> list[Line] | None:
    """The lines that `event` must have posted; None: it has no entry.

    `sent_credits`: outbox number -> (account, amount) of the `Credit` messages, for those that were refused.
    """
    match event:
        case ev.Credited(amount=amount, account=account) if amount:
            return moved((TRANSIT, shard, account), (TRADING, shard, account), amount)
        case ev.OutboxRejected(outbox=outbox) if outbox in sent_credits:
            account, amount = sent_credits[outbox]
            return moved((TRANSIT, shard, account), (WALLET, 0, account), amount)
        case ev.OutboxRejected(outbox=outbox) if outbox in bought:
            account, amount, provider = bought[outbox]
            return moved((EXTERNAL, 0, provider), (WALLET, 0, account), amount)
        case ev.Swept(amount=amount, account=account) if amount:
            return moved((TRADING, shard, account), (WALLET, 0, account), amount)
        case ev.Filled():
            return _fill(event, shard)
        case ev.CollateralMoved(amount=amount, account=account):
            return moved((TRADING, shard, account), (COLLATERAL, shard, account), amount)
        case ev.CashCorrected(payer=payer, payee=payee, amount=amount):
            return moved((TRADING, shard, payer), (TRADING, shard, payee), amount)
        case ev.HourEnded(escrow=escrow, contract=contract) if escrow:
            return moved((ESCROW, shard, contract), (CLEARING, shard, contract), escrow)
    return None


def moved(source: tuple[int, int, int], target: tuple[int, int, int], amount: Micros) -> list[Line]:
    """µUSD from one account to another; accounts are (kind, shard, ref)."""
    return [(*source, USD, -amount), (*target, USD, amount)]


def _fill(event: ev.Filled, shard: int) -> list[Line]:
    cost = sum(move.cost for move in event.moves)
    to_seller = sum(move.released_seller for move in event.moves)
    to_buyer = sum(move.released_buyer for move in event.moves)
    return [
        (TRADING, shard, event.buyer, USD, to_buyer - cost),
        (TRADING, shard, event.seller, USD, to_seller),
        (ESCROW, shard, event.contract, USD, cost - to_seller - to_buyer),
        *_handed_over(shard, event.contract, event.seller, event.buyer, event.qty * event.minutes),
    ]


def _handed_over(shard: int, contract: int, giver: int, taker: int, minutes: int) -> list[Line]:
    """GPU-minutes, through clearing."""
    return [
        (TITLES, shard, giver, contract, -minutes),
        (NOVATION, shard, contract, contract, minutes),
        (NOVATION, shard, contract, contract, -minutes),
        (TITLES, shard, taker, contract, minutes),
    ]


def delivered(title: Title, shard: int, undelivered: int, refunds: Refunds) -> list[Line]:
    """A title's escrow goes to those who have a claim on it, and its hours to their end."""
    lines: list[Line] = [(CLEARING, shard, title.contract, USD, -title.escrow)]
    for account, amount in paid_out(title, undelivered, refunds).items():
        lines.append((WALLET, 0, account, USD, amount) if account else (TREASURY, 0, 0, USD, amount))
    if not title.closed:
        lines += _handed_over(shard, title.contract, title.holder, title.obligor, title.qty * title.minutes)
    return lines


def handover_credit(title: Title, undelivered: int, gpus_moved: int) -> list[Line]:
    """Fifteen minutes of each GPU that its holder had to move to, out of the fees of that hour and never beyond them."""
    fees = 0 if title.closed else title.fees * (title.minutes - undelivered) // title.minutes
    gpus = 0 if title.closed else min(gpus_moved, title.qty)
    credit = min(title.cost * gpus * 15 // (60 * title.qty), fees * gpus // title.qty)
    return moved((TREASURY, 0, 0), (WALLET, 0, title.holder), credit) if credit else []


def net(lines: Iterable[Line]) -> list[Line]:
    """Lines summed per account and asset, clearing's kept as they pass through; zero lines dropped."""
    total: defaultdict[tuple[int, int, int, int], int] = defaultdict(int)
    through: list[Line] = []
    for kind, shard, ref, asset, amount in lines:
        if kind == NOVATION:
            through.append((kind, shard, ref, asset, amount))
        else:
            total[kind, shard, ref, asset] += amount
    return sorted([(*account, amount) for account, amount in total.items() if amount] + through)
