"""Which of a holder's leases is for which of his rentals, so that ending one leaves the machine of the other alone. Pure.

A seat may serve any of its holder's titles, and where he has two rentals nobody but he can tell their machines apart. So a lease
stays with the rental that it was for, as long as that holds hours, and is given up before others when it holds none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple

from schemas.units import Gpus
from services.delivery.state import Lease, MachineId
from services.delivery.titles import Title

Titles = Mapping[int, Title]
"""Of one hour, by number."""
Seat = tuple[MachineId, int]


class Use(NamedTuple):
    """What a seat is for."""

    title: int
    counts_for: int


def rental_of(lease: Lease, contract: int, titles: Titles) -> int:
    """Whose the lease is in that hour; 0: of none, or of several."""
    found = {
        titles[served.title].rental
        for part in lease.parts
        if part.contract == contract
        for served in part.titles
        if served.title in titles
    }
    return found.pop() if len(found) == 1 else 0


def keep_first(leases: Iterable[tuple[Lease, int]], wanted: Titles) -> list[Lease]:
    """(lease, its rental) → the leases: first those that fit into what their rentals hold of the `wanted`, then the others."""
    holds: Counter[tuple[int, int]] = Counter()
    for title in wanted.values():
        holds[title.holder, title.rental] += title.qty
    of: defaultdict[tuple[int, int], list[Lease]] = defaultdict(list)
    for lease, rental in leases:
        of[lease.holder, rental].append(lease)
    kept = {lease.lease for key, mine in of.items() for lease in _fitting(mine, holds[key])}
    return sorted(
        (lease for mine in of.values() for lease in mine), key=lambda lease: (lease.lease not in kept, lease.lease)
    )


def _fitting(leases: Sequence[Lease], gpus: Gpus) -> list[Lease]:
    """Those with as many seats together as can be without having more than `gpus`; the first ones where there is a choice."""
    within = (1 << gpus + 1) - 1
    sums = [1]
    """Of none, of the last, of the last two, ...: bit n is set where some of them have n seats together."""
    for lease in reversed(leases):
        sums.append((sums[-1] | sums[-1] << len(lease.seats)) & within)
    left = sums.pop().bit_length() - 1
    found = []
    for lease in leases:
        size, later = len(lease.seats), sums.pop()
        if size <= left and later >> (left - size) & 1:
            found.append(lease)
            left -= size
    return found


def share_out(uses: MutableMapping[Seat, Use], leases: Iterable[tuple[Lease, int]], wanted: Titles) -> None:
    """Of one holder, on machines of one provider: each lease gets titles of its rental's where it can. Changes `uses`.

    Of each title as many seats as before, and one after the other, so that lots stay whole.
    """
    if len({wanted[use.title].rental for use in uses.values()}) < 2:
        return
    left = sorted(uses.values())
    given: dict[Seat, Use] = {}
    for lease, rental in leases:
        seats = [seat for number in lease.seats if (seat := (lease.machine, number)) in uses]
        own = [use for use in left if wanted[use.title].rental == rental]
        for seat, use in zip(seats, own, strict=False):
            given[seat] = use
            left.remove(use)
    uses.update(given)
    uses.update(zip(sorted(uses.keys() - given.keys()), left, strict=True))
