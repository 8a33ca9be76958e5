"""How many minutes of a title were delivered. Pure. docs/rules.md says the same in words.

A minute counts as delivered when the exchange's own login worked at its end: a machine that is reached in the middle
of a minute has that minute, one that is lost in the middle of it has not. Before the first login that worked, the
class's setup allowance stands in, for minutes at the beginning of a lease only; of a running title at most a third of
its minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.units import MINUTES_PER_HOUR, MS_PER_HOUR, MS_PER_MINUTE, Gpus, Hour, Millis


class Checked(NamedTuple):
    """From `time_ms` on (market time) the login works, or does not."""

    time_ms: Millis
    works: bool


class Share(NamedTuple):
    """Some GPUs of a title on one machine."""

    qty: Gpus
    checks: Sequence[Checked]
    """Of the lease, in order of time; all of it, also those of earlier hours."""
    is_new: bool
    """The lease begins with this title: the tenant was not on this machine before."""


class Minutes(NamedTuple):
    """sold = delivered + allowance + undelivered."""

    delivered: int
    allowance: int
    undelivered: int


def count(hour: Hour, sold: int, qty: Gpus, shares: Sequence[Share], setup_minutes: int) -> Minutes:
    """Of one title of `qty` GPUs and `sold` minutes, the hour's last ones. What of it has no machine was not delivered.

    Where shares differ, each number is per GPU of the title on average, and what does not divide counts as undelivered.
    """
    assert 0 < sold <= MINUTES_PER_HOUR, f"{sold} minutes sold"
    assert sum(share.qty for share in shares) <= qty, "more GPUs on machines than the title has"
    allowed = _allowed(sold, setup_minutes)
    delivered = allowance = 0
    for share in shares:
        of_share = _of_share(hour, sold, share, allowed)
        delivered += share.qty * of_share.delivered
        allowance += share.qty * of_share.allowance
    delivered, allowance = delivered // qty, allowance // qty
    return Minutes(delivered, allowance, sold - delivered - allowance)


def lost(hour: Hour, sold: int, share: Share, setup_minutes: int) -> int:
    """GPU-minutes of a share that were not delivered."""
    return share.qty * _of_share(hour, sold, share, _allowed(sold, setup_minutes)).undelivered


def _allowed(sold: int, setup_minutes: int) -> int:
    return setup_minutes if sold == MINUTES_PER_HOUR else min(setup_minutes, sold // 3)


def _of_share(hour: Hour, sold: int, share: Share, allowed: int) -> Minutes:
    end_ms = (hour + 1) * MS_PER_HOUR
    ends = [end_ms - k * MS_PER_MINUTE for k in reversed(range(sold))]
    worked = _states(share.checks, ends)
    delivered = sum(worked)
    setup = worked.index(True) if delivered else sold
    # A machine that never answered had no setup that anybody could wait for.
    allowance = min(setup, allowed) if share.is_new and delivered else 0
    return Minutes(delivered, allowance, sold - delivered - allowance)


def _states(checks: Sequence[Checked], moments: Sequence[Millis]) -> list[bool]:
    """Whether the login worked just before each of the moments, which rise."""
    states: list[bool] = []
    works, k = False, 0
    for moment in moments:
        while k < len(checks) and checks[k].time_ms < moment:
            works = checks[k].works
            k += 1
        states.append(works)
    return states
