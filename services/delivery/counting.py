"""What is said of an hour that is over: minutes of each title, and who went without. Pure.

A title is counted by the seats that count for it: those of its own obligor, whoever sat there. Where machines were exchanged
what was not delivered of it is therefore missing to somebody else, who paid as much for his hour: he is to get it back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction

from schemas.delivery import Refund
from schemas.ids import hour_of
from schemas.leases import LeaseRecord, TitleCounted
from schemas.units import Gpus, Millis
from services.delivery import minutes
from services.delivery.minutes import Share
from services.delivery.state import EPOCH, State, counts_for
from services.delivery.titles import Title, Titles


def counts(state: State, titles: Titles, contract: int, setup_minutes: int, now_ms: Millis) -> list[LeaseRecord]:
    """Of each title of an hour that is over and has no count yet."""
    owed = {number: title for number, title in sorted(titles.of.get(contract, {}).items()) if title.obligor}
    done = state.counted.get(contract, {})
    seatless = _seatless(state, list(owed.values()))
    records: list[LeaseRecord] = []
    for number, title in owed.items():
        if number in done:
            continue
        shares = list(_shares(state, title))
        found = minutes.count(
            hour_of(contract), title.minutes, title.qty, [share for _, share in shares], setup_minutes
        )
        lost = Counter({holder: gpus * title.minutes for holder, gpus in seatless[number].items()})
        for holder, share in shares:
            lost[holder] += minutes.lost(hour_of(contract), title.minutes, share, setup_minutes)
        # What does not divide among the GPUs of a title is its holder's, whoever sat on them.
        lost[title.holder] += found.undelivered * title.qty - lost.total()
        refunds = tuple(Refund(holder, gpu_minutes) for holder, gpu_minutes in sorted(lost.items()) if gpu_minutes)
        if all(refund.account == title.holder for refund in refunds):
            refunds = ()
        moved = sum(served.moved for served in state.serving(contract, number))
        records.append(TitleCounted(EPOCH, now_ms, contract, number, *found, moved, refunds))
    return records


def _shares(state: State, title: Title) -> Iterator[tuple[int, Share]]:
    """(who sat there, what) of each lease that counts for a title."""
    for number in dict.fromkeys(state.counting.get((title.contract, title.title), ())):
        lease = state.leases[number]
        for part in lease.parts:
            if part.contract == title.contract:
                qty = sum(served.qty for served in part.titles if counts_for(served) == title.title)
                yield lease.holder, Share(qty, lease.checks, is_new=part is lease.parts[0])


def _seatless(state: State, titles: Collection[Title]) -> Mapping[int, Counter[int]]:
    """Title → holder → GPUs that no seat counts for and that he went without: he holds the title, or one that cost as much."""
    found: dict[int, Counter[int]] = {title.title: Counter() for title in titles}
    without: defaultdict[Fraction, Counter[int]] = defaultdict(Counter)
    """Cost of a GPU → holder → GPUs that he went without, for which another's title is to be counted."""
    uncounted: list[tuple[Title, Gpus]] = []
    for title in titles:
        lacking = title.qty - sum(share.qty for _, share in _shares(state, title))
        wanting = title.qty - state.served(title.contract, title.title)
        own = min(lacking, wanting)
        found[title.title][title.holder] += own
        uncounted.append((title, lacking - own))
        without[_each(title)][title.holder] += wanting - own
    for title, gpus in uncounted:
        waiting, left = without[_each(title)], gpus
        for holder in sorted(waiting):
            count = min(left, waiting[holder])
            found[title.title][holder] += count
            waiting[holder] -= count
            left -= count
        assert not left, f"{left} GPUs of {title} have no seat, and nobody went without"
    return found


def _each(title: Title) -> Fraction:
    return Fraction(title.cost, title.qty)
