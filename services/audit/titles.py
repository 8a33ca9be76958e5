"""A title as the auditor knows it, with both lists of its escrow's owners, and how it is cut and paid out. Pure.

Written from docs/decisions/002-ledger.md, Titles 3 and 6; the engine's and settlement's titles are others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct, field

from schemas.units import Gpus, Micros

Refunds = Sequence[tuple[int, int]]
"""(account, GPU-minutes), by account."""


class Title(Struct):
    """Some GPUs of one contract that an obligor owes and a holder has."""

    contract: int
    obligor: int
    holder: int
    ground: int
    qty: Gpus
    minutes: int
    escrow: Micros
    proceeds: Micros
    cost: Micros
    fees: Micros
    gains: dict[int, Micros] = field(default_factory=dict)
    losses: dict[int, Micros] = field(default_factory=dict)
    closed: bool = False
    """Bought back by its own obligor: counts as delivered."""

    @property
    def if_delivered(self) -> Micros:
        """All claims of a delivery, added up."""
        return self.proceeds + sum(self.gains.values()) + self.fees

    @property
    def if_not(self) -> Micros:
        """All claims of a failure, added up."""
        return self.cost + sum(self.losses.values())

    @property
    def balanced(self) -> bool:
        """C6, and no claim is negative."""
        claims = [self.proceeds, self.cost, self.fees, *self.gains.values(), *self.losses.values()]
        return self.escrow == self.if_delivered == self.if_not and min(claims) >= 0


def split(title: Title, qty: Gpus) -> Title:
    """Cut `qty` off `title` and return the piece; both lists by prefix sums."""
    whole = title.qty
    gains, losses = sorted(title.gains), sorted(title.losses)
    delivered = _cut([title.proceeds, *(title.gains[a] for a in gains), title.fees], qty, whole)
    failed = _cut([title.cost, *(title.losses[a] for a in losses)], qty, whole)
    piece = Title(
        title.contract,
        title.obligor,
        title.holder,
        title.ground,
        qty,
        title.minutes,
        title.escrow * qty // whole,
        delivered[0],
        failed[0],
        delivered[-1],
        dict(zip(gains, delivered[1:-1], strict=True)),
        dict(zip(losses, failed[1:], strict=True)),
    )
    title.qty -= qty
    title.escrow -= piece.escrow
    title.proceeds -= piece.proceeds
    title.cost -= piece.cost
    title.fees -= piece.fees
    for account in gains:
        title.gains[account] -= piece.gains[account]
    for account in losses:
        title.losses[account] -= piece.losses[account]
    return piece


def _cut(claims: Sequence[Micros], qty: Gpus, whole: Gpus) -> list[Micros]:
    before = 0
    shares: list[Micros] = []
    for claim in claims:
        shares.append((before + claim) * qty // whole - before * qty // whole)
        before += claim
    return shares


def paid_out(title: Title, undelivered: int, refunds: Refunds = ()) -> dict[int, Micros]:
    """Account (0: treasury) -> what a title pays when `undelivered` of its minutes were not delivered.

    `refunds`: who went without, where it was not its holder.
    """
    m, u = title.minutes, 0 if title.closed else undelivered
    paid: defaultdict[int, Micros] = defaultdict(int)
    for account, claim in [(title.obligor, title.proceeds), *title.gains.items(), (0, title.fees)]:
        paid[account] += claim * (m - u) // m
    for account, claim in title.losses.items():
        paid[account] += claim * u // m
    back, minutes, given = title.cost * u // m, sum(gpu_minutes for _, gpu_minutes in refunds), 0
    for place, (account, _) in enumerate(refunds, start=1):
        up_to = back * sum(gpu_minutes for _, gpu_minutes in refunds[:place]) // minutes
        paid[account] += up_to - given
        given = up_to
    paid[title.holder] += back - given
    rest = title.escrow - sum(paid.values())
    if rest:
        paid[title.holder] += rest
    return {account: amount for account, amount in paid.items() if amount}
