"""Whose machines serve whom, hour after hour, so that holders stay where they are. Pure; looks at counts, at no machine.

The *host* of a lot is the provider on whose machine it runs: its obligor, unless titles were exchanged. Each provider gives in
each hour as many seats as he owes, and each of his seats *counts for* one lot that he owes: if the seat fails, that title is not
delivered, and its cost goes to whoever sat there. So a seat may serve a lot that cost as much or less at once, and a dearer one
where its provider's cover pays the difference. Costs of an exchange never have to be paid twice: whoever serves the cheaper lot
pays nothing, and around a ring of exchanges each seat is looked at for itself.

Hour by hour, with what is to come in view:
1. Lots of equal cost are shared out among the seats that count for that cost, at the least number of hand-overs: those of this
   hour, and those that each lot has ahead of it from there, were it alone (a transport problem, improved by rings of moves until
   no ring helps). Among equals, lots go where they can stay longest.
2. Whoever would have to go may change places with somebody new to his host whose lot has another cost, where cover pays for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from schemas.units import Gpus, Hour, Micros
from services.delivery.fleet import Lots

Hosts = dict[int, Lots]
"""Host → lots."""
Served = tuple[int, Micros, Lots]
"""Host, cost of the lots that his seats count for, lots."""


NOBODY: Final = 0
"""No host: accounts begin at 1."""
NOW: Final = 1 << 16
AHEAD: Final = NOW * 3 // 4
"""A hand-over that is still ahead may yet be avoided. Both are more than any number of hours."""


class Group(Struct):
    """All of one hour that cost the same: any of its seats may serve any of its lots."""

    lots: dict[int, Lots]
    """Holder → lots not yet hosted."""
    seats: Hosts
    """Host → seats not yet given."""


class Demand(Struct):
    """One hour: what is to be hosted, and by what."""

    hour: Hour
    groups: dict[Micros, Group]
    cover: dict[int, Micros]
    """Host → what is left of his collateral for exchanges."""
    fixed: dict[int, Hosts]
    """Holder → what he has already for certain, beside `groups`."""


class Hosting(Struct):
    """One hour: who serves what."""

    served: dict[tuple[int, Micros], list[Served]]
    """(holder, cost of his lots) → by whom."""
    unhosted: dict[tuple[int, Micros], Lots]
    """Only where fixed slots have left lots and seats that no cover brings together."""


def host(hours: Sequence[Demand], lot: Gpus) -> list[Hosting]:
    """`hours` rise; what is in `groups`, `cover` is used up."""
    view = View(hours)
    sits: Mapping[int, Hosts] = {}
    before = None
    hostings = []
    for at, demand in enumerate(hours):
        if before is None or demand.hour != before + 1:
            sits = {}
        sweep = Sweep(demand, at, view, sits, lot)
        hostings.append(sweep.run())
        sits, before = sweep.sits, demand.hour
    return hostings


class View:
    """What of the hours to come is looked at: with which hosts a holder could have a seat. A host is a bit.

    It is a hopeful view: it does not know who else will want these seats.
    """

    def __init__(self, hours: Sequence[Demand]) -> None:
        names = sorted({name for demand in hours for group in demand.groups.values() for name in group.seats})
        self.bit: Final = {name: 1 << place for place, name in enumerate(names)}
        self.reach: Final[list[dict[int, int]]] = [self._reach(demand) for demand in hours]
        self.follows: Final = [at > 0 and hours[at - 1].hour + 1 == demand.hour for at, demand in enumerate(hours)]
        self.known: Final[dict[tuple[int, int], tuple[int, int]]] = {}
        self.known_free: Final[dict[tuple[int, int], int]] = {}

    def _reach(self, demand: Demand) -> dict[int, int]:
        """Holder → his possible hosts: of equal cost, or through an exchange that somebody may cover."""
        reach: dict[int, int] = {}
        covering = 0
        for group in demand.groups.values():
            for name in group.seats:
                if demand.cover.get(name, 0) > 0:
                    covering |= self.bit[name]
        for group in demand.groups.values():
            hosts = covering
            for name in group.seats:
                hosts |= self.bit[name]
            for holder in group.lots:
                reach[holder] = reach.get(holder, 0) | hosts
        return reach

    def ahead(self, at: int, holder: int, name: int) -> tuple[int, int]:
        """(hand-overs still to come at least, last hour with this host) of a lot that has this host in hour number `at`."""
        key = (holder, name)
        known = self.known.get(key)
        if known is None or known[1] < at:
            last, _ = self._stay(at, holder, self.bit[name])
            known = self.known[key] = (self._free(last + 1, holder), last)
        return known

    def _free(self, at: int, holder: int) -> int:
        """Hand-overs of a lot that must leave its host as hour number `at` begins, at least."""
        key = (holder, at)
        if (known := self.known_free.get(key)) is not None:
            return known
        found = 0
        later = at
        while later < len(self.reach) and self.follows[later] and (hosts := self.reach[later].get(holder, 0)):
            found += 1
            later = self._stay(later, holder, hosts)[0] + 1
        self.known_free[key] = found
        return found

    def _stay(self, at: int, holder: int, hosts: int) -> tuple[int, int]:
        """Of these possible hosts from hour number `at` on: (last hour of those that last longest, these)."""
        for later in range(at + 1, len(self.reach)):
            narrowed = hosts & self.reach[later].get(holder, 0)
            if not narrowed or not self.follows[later]:
                return later - 1, hosts
            hosts = narrowed
        return len(self.reach) - 1, hosts


class Piece(Struct, eq=False):
    """Lots of one holder and cost in one hour that share their past."""

    holder: int
    cost: Micros
    base: int
    """Their host of the hour before; NOBODY."""
    lots: Lots
    counts_for: Micros
    """The cost of the lots that their seats count for."""
    worth: dict[int, int]
    """Host → what it costs to put them there, as far as it is known."""

    def cut(self, lots: Lots, counts_for: Micros) -> Piece:
        """So many lots of it, taken out."""
        self.lots -= lots
        assert self.lots >= 0, "more lots taken out of a piece than it has"
        return Piece(self.holder, self.cost, self.base, lots, counts_for, self.worth)


class Sweep:
    """One hour of the sweep: `run` once, then `sits` is who sits where at its end."""

    def __init__(self, demand: Demand, at: int, view: View, before: Mapping[int, Hosts], lot: Gpus) -> None:
        self.demand = demand
        self.at = at
        self.view = view
        self.before = before
        """Where they sat an hour ago."""
        self.lot = lot
        self.sits: dict[int, Hosts] = {}
        self.hosting = Hosting({}, {})
        self.claimed: dict[int, Hosts] = {}
        """What of `before` lots of an earlier group may take up again."""
        self.seated: dict[int, list[Piece]] = {}
        """Host → who sits there, where somebody else might."""

    def run(self) -> Hosting:
        """Every lot of the hour gets its host."""
        for holder, hosts in self.demand.fixed.items():
            for name, lots in hosts.items():
                self._sit(holder, name, lots)
        exchanging = any(left > 0 for left in self.demand.cover.values())
        for cost in sorted(self.demand.groups):
            group = self.demand.groups[cost]
            if len(group.seats) == 1 and not exchanging:
                self._alone(cost, group)
            elif group.seats and group.lots:
                self._seat(cost, group)
        if exchanging:
            self._exchange_all()
        for name, pieces in self.seated.items():
            for piece in pieces:
                if piece.lots:
                    self._serve(piece.holder, piece.cost, name, piece.counts_for, piece.lots)
        self._bring_together()
        return self.hosting

    def _serve(self, holder: int, cost: Micros, name: int, counts_for: Micros, lots: Lots) -> None:
        self.hosting.served.setdefault((holder, cost), []).append((name, counts_for, lots))
        self._sit(holder, name, lots)

    def _sit(self, holder: int, name: int, lots: Lots) -> None:
        hosts = self.sits.setdefault(holder, {})
        hosts[name] = hosts.get(name, 0) + lots

    def _alone(self, cost: Micros, group: Group) -> None:
        """There is only one host."""
        ((name, seats),) = group.seats.items()
        for holder in list(group.lots):
            count = min(group.lots[holder], seats)
            if count:
                seats -= count
                _less(group.lots, holder, count)
                _less(group.seats, name, count)
                self._serve(holder, cost, name, cost, count)

    def _worth(self, piece: Piece, name: int) -> int:
        """What it costs to put it there: the hand-over now, those ahead, and among equals how soon it has to go."""
        found = piece.worth.get(name)
        if found is None:
            ahead, last = self.view.ahead(self.at, piece.holder, name)
            now = 0 if piece.base in {name, NOBODY} else NOW
            found = piece.worth[name] = now + ahead * AHEAD - last
        return found

    def _seat(self, cost: Micros, group: Group) -> None:
        """The hosts of a group get its pieces, at the least cost in all."""
        pieces = [piece for holder in sorted(group.lots) for piece in self._pieces(holder, cost, group)]
        seats = group.seats
        placed: dict[int, list[Piece]] = {name: [] for name in sorted(seats)}
        rest: list[Piece] = []
        for piece in pieces:
            if piece.base in seats:
                _move(placed[piece.base], piece, min(piece.lots, seats[piece.base]), group, piece.base)
            if piece.lots:
                rest.append(piece)
        for piece in rest:
            while piece.lots and seats:
                _, name = min((self._worth(piece, one), one) for one in seats)
                _move(placed[name], piece, min(piece.lots, seats[name]), group, name)
        if len(placed) > 1:
            self._improve(placed)
        for name, seated in placed.items():
            self.seated.setdefault(name, []).extend(seated)

    def _pieces(self, holder: int, cost: Micros, group: Group) -> list[Piece]:
        lots = group.lots[holder]
        had = self.before.get(holder)
        if not had:
            return [Piece(holder, cost, NOBODY, lots, cost, {})]
        found = []
        sits, claimed = self.sits.get(holder, {}), self.claimed.setdefault(holder, {})
        for name in sorted(had, key=lambda one: (one not in group.seats, -self._last(holder, one), one)):
            count = min(lots, had[name] - sits.get(name, 0) - claimed.get(name, 0))
            if count > 0:
                if name in group.seats:
                    claimed[name] = claimed.get(name, 0) + count
                found.append(Piece(holder, cost, name, count, cost, {}))
                lots -= count
        if lots:
            found.append(Piece(holder, cost, NOBODY, lots, cost, {}))
        return found

    def _last(self, holder: int, name: int) -> int:
        return self.view.ahead(self.at, holder, name)[1] if name in self.view.bit else -1

    def _improve(self, placed: dict[int, list[Piece]]) -> None:
        """Rings of moves from host to host, as long as one makes it better: then it is the least in all."""
        names = list(placed)
        best = {name: self._best_moves(placed, name) for name in names}
        while ring := _ring(names, best):
            moving = [best[one][other][1] for one, other in ring]
            count = min(piece.lots for piece in moving)
            for (one, other), piece in zip(ring, moving, strict=True):
                _shift(placed, piece, one, other, count)
            for name in {one for one, _ in ring}:
                best[name] = self._best_moves(placed, name)

    def _best_moves(self, placed: dict[int, list[Piece]], name: int) -> dict[int, tuple[int, Piece]]:
        found: dict[int, tuple[int, Piece]] = {}
        others = [other for other in placed if other != name]
        worth = self._worth
        least = dict.fromkeys(others, 1 << 60)
        for piece in placed[name]:
            known = piece.worth
            here = known[name] if name in known else worth(piece, name)
            for other in others:
                change = (known[other] if other in known else worth(piece, other)) - here
                if change < least[other]:
                    least[other] = change
                    found[other] = (change, piece)
        return found

    def _exchange_all(self) -> None:
        """Who has to go changes places with somebody new to his host, whatever the two cost, where cover pays for it."""
        leaving = [
            (name, piece)
            for name, pieces in self.seated.items()
            for piece in pieces
            if piece.base != name and piece.base in self.seated
        ]
        new = {name: [piece for piece in pieces if piece.base != name] for name, pieces in self.seated.items()}
        for name, piece in sorted(leaving, key=lambda one: (one[1].holder, one[1].cost, one[0])):
            while piece.lots and (found := self._partner(name, piece, new[piece.base])):
                self._swap(name, piece, *found, new)

    def _partner(self, name: int, piece: Piece, others: Sequence[Piece]) -> tuple[Piece, Lots] | None:
        """With whom to change places, and how many lots; None: it helps nobody, or nothing pays for it."""
        home = piece.base
        gain = self._worth(piece, name) - self._worth(piece, home)
        best: tuple[Piece, Lots] | None = None
        least = 0
        payable: dict[tuple[Micros, Micros], Lots] = {}
        for other in others:
            costs = (other.cost, other.counts_for)
            lots = payable.get(costs)
            if lots is None:
                lots = payable[costs] = self._payable(name, piece, other)
            if lots and other.lots:
                change = self._worth(other, name) - self._worth(other, home) - gain
                if change < least:
                    best, least = (other, min(lots, other.lots)), change
        return best

    def _payable(self, name: int, piece: Piece, other: Piece) -> Lots:
        """How many lots of a piece may change places with lots that cost what `other` does."""
        lots = piece.lots
        if other.counts_for == piece.counts_for and other.cost == piece.cost:
            return 0  # they had the choice already
        for host, more in self._differences(name, piece, other):
            if more > 0:
                lots = min(lots, self.demand.cover.get(host, 0) // more)
        return lots

    def _differences(self, name: int, piece: Piece, other: Piece) -> tuple[tuple[int, Micros], tuple[int, Micros]]:
        """What more of each host's cover an exchange takes, per lot."""
        here = max(other.cost - piece.counts_for, 0) - max(piece.cost - piece.counts_for, 0)
        there = max(piece.cost - other.counts_for, 0) - max(other.cost - other.counts_for, 0)
        return (name, here * self.lot), (piece.base, there * self.lot)

    def _swap(self, name: int, piece: Piece, other: Piece, lots: Lots, new: Mapping[int, list[Piece]]) -> None:
        home = piece.base
        for host, more in self._differences(name, piece, other):
            self.demand.cover[host] = self.demand.cover.get(host, 0) - more * lots
            assert self.demand.cover[host] >= 0, "an exchange takes more cover than there is"
        came, went = piece.cut(lots, other.counts_for), other.cut(lots, piece.counts_for)
        self.seated[home].append(came)
        self.seated[name].append(went)
        if went.base != name:
            new[name].append(went)

    def _bring_together(self) -> None:
        """What fixed slots have left: lots of one group and seats of another, where cover allows."""
        groups, cover = self.demand.groups, self.demand.cover
        lots = [(cost, holder) for cost in sorted(groups) for holder in sorted(groups[cost].lots)]
        seats = [(cost, name) for cost in sorted(groups) for name in sorted(groups[cost].seats)]
        for cost, holder in lots:
            for counts_for, name in sorted(seats, key=lambda seat: (abs(seat[0] - cost), seat)):
                difference = max((cost - counts_for) * self.lot, 0)
                while (
                    holder in groups[cost].lots
                    and name in groups[counts_for].seats
                    and difference <= cover.get(name, 0)
                ):
                    cover[name] = cover.get(name, 0) - difference
                    _less(groups[cost].lots, holder, 1)
                    _less(groups[counts_for].seats, name, 1)
                    self._serve(holder, cost, name, counts_for, 1)
            if left := groups[cost].lots.get(holder, 0):
                self.hosting.unhosted[holder, cost] = left


def _move(placed: list[Piece], piece: Piece, count: Lots, group: Group, name: int) -> None:
    """So many lots of a piece take seats of a host."""
    _less(group.lots, piece.holder, count)
    _less(group.seats, name, count)
    placed.append(piece.cut(count, piece.cost))


def _shift(placed: dict[int, list[Piece]], piece: Piece, one: int, other: int, count: Lots) -> None:
    """So many lots of a placed piece go from one host to another."""
    placed[other].append(piece.cut(count, piece.counts_for))
    if not piece.lots:
        placed[one].remove(piece)


def _ring(names: Sequence[int], best: Mapping[int, Mapping[int, tuple[int, Piece]]]) -> list[tuple[int, int]]:
    """A ring of moves whose changes add up to less than nothing; empty where there is none (Bellman and Ford)."""
    away = dict.fromkeys(names, 0)
    by: dict[int, int] = {}
    last = 0
    for _ in names:
        last = 0
        for one in names:
            for other, (change, _piece) in best[one].items():
                if away[one] + change < away[other]:
                    away[other], by[other], last = away[one] + change, one, other
        if not last:
            return []
    for _ in names:
        last = by[last]
    ring, other = [], last
    while True:
        ring.append((by[other], other))
        other = by[other]
        if other == last:
            return ring


def _less(counts: dict[int, Lots], key: int, count: Lots) -> None:
    """Takes so many away; what is used up is no key any more."""
    left = counts.get(key, 0) - count
    assert left >= 0, "more given than there is"
    if left:
        counts[key] = left
    else:
        counts.pop(key, None)
