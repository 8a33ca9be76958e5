"""Promises that nobody may count on any more: docs/engine.md, "Cover deadline" and `MoveReference`. Pure."""

from __future__ import annotations

from schemas import events as ev
from schemas.commands import Flag, Ground, Side, State, Tif
from schemas.units import Price
from tests.reference.naive_matching import match
from tests.reference.naive_orders import rates
from tests.reference.naive_shard import COLLATERALISED, Order, Phase, Shard


def cover_deadline(shard: Shard, number: int) -> None:
    """What is promised and not sold ends; what is owed as promised is bought in."""
    for account in sorted(shard.accounts):
        if (account, number, Ground.PROMISED) in shard.backings:
            cut(shard, account, number, Ground.PROMISED, keep=0)
    for account in sorted(shard.contracts[number].titles.owes(Ground.PROMISED)):
        if shard.phase(number) == Phase.FORWARD and shard.state(number) == State.OPEN:
            _buy_in(shard, account, number)
        owed = shard.contracts[number].titles.owed(account, Ground.PROMISED)
        if owed:
            shard.events.append(ev.BuyInFailed(number, account, owed))


def cut(shard: Shard, account: int, number: int, ground: Ground, keep: int) -> None:
    """Unsold backing ends, and the asks that it stood behind."""
    backing = shard.backing(account, number, ground)
    unsold = backing.qty - shard.contracts[number].titles.owed(account, ground)
    backing.qty = keep
    if unsold > 0:
        shard.events.append(ev.BackingCut(number, account, ground, unsold))
        shard.cut_asks(account, number)


def _buy_in(shard: Shard, account: int, number: int) -> None:
    """A bid of the exchange in the account's name; the collateral of what comes back pays for it."""
    owed = shard.contracts[number].titles.owed(account, Ground.PROMISED)
    _, cap = shard.collar(number)
    limit = min(cap, shard.backing(account, number, Ground.PROMISED).collateral_price)
    shard.events.append(ev.BuyIn(number, account, owed, limit))
    _, taker_bp = rates(shard.rules(number), Side.BUY)
    bid = Order(
        0,
        account,
        number,
        Side.BUY,
        owed,
        limit,
        owed,
        Tif.IOC,
        Flag.CANCEL_OLDEST,
        maker_bp=taker_bp,
        taker_bp=taker_bp,
    )
    match(shard, bid)
    assert shard.available(account) >= 0, "the collateral does not pay for what it was bought back for"


def cut_below(shard: Shard, before: dict[int, Price]) -> None:
    """Collars rose: `before` has the caps as they were. Unsold backing at a lower collateral price ends."""
    for number in sorted(before):
        _, cap = shard.collar(number)
        if cap <= before[number]:
            continue
        for account in sorted(shard.accounts):
            for ground in COLLATERALISED:
                backing = shard.backing(account, number, ground)
                owed = shard.contracts[number].titles.owed(account, ground)
                if 0 < backing.collateral_price < cap and backing.qty > owed:
                    cut(shard, account, number, ground, keep=owed)
