"""A delivery room without sockets: machines, titles and what is decided of them, one step after the other."""

from __future__ import annotations

import itertools

import msgspec

from schemas.commands import Ground
from schemas.events import Filled, TitleMove
from schemas.ids import contract_of
from schemas.leases import LeaseChecked, LeaseRecord, LeaseServes, MachineEnrolled
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE
from services.delivery import counting, deciding
from services.delivery.state import State
from services.delivery.titles import Titles

CLASS = 3
HOUR = 495_000
CARL, DANA = 11, 12
"""Providers."""
ANA, BERT = 21, 22
"""Buyers."""


def moment(hour: int, minute: float = 0) -> int:
    """Of the market."""
    return (HOUR + hour) * MS_PER_HOUR + round(minute * MS_PER_MINUTE)


class Room:
    """Hours are counted from HOUR."""

    def __init__(self, lot: int = 1) -> None:
        self.state = State()
        self.titles = Titles()
        self.lot = lot
        self.silent: set[tuple[int, str]] = set()
        """Machines whose agents have not been heard of."""
        self._numbers = itertools.count(1)

    def machine(self, provider: int, name: str, seats: int, *, now: int | None = None) -> None:
        """Enrolled."""
        uuids = tuple(f"{provider}-{name}-{seat}" for seat in range(seats))
        at = moment(-1) if now is None else now
        self.take(MachineEnrolled(1, at, provider, name, CLASS, "declared", "open", "127.0.0.1", uuids))

    def sell(
        self,
        obligor: int,
        holder: int,
        hour: int,
        qty: int,
        *,
        minutes: int = 60,
        launch: str = "",
        price: int = 100,
        rental: int = 0,
    ) -> int:
        """A new title; its number. `launch`, `rental`: what the buyer's order named, and whose it was."""
        number = next(self._numbers)
        ground = Ground.DECLARED if minutes == 60 else Ground.READY
        move = TitleMove(0, number, ground, qty, price * qty, price * qty, 0)
        contract = contract_of(CLASS, HOUR + hour)
        self.titles.fill(
            Filled(number, contract, price, qty, minutes, 1, 1, 2, 0, 0, holder, obligor, price * qty, 0, 0, (move,)),
            launch,
            rental,
        )
        return number

    def gate(self, hour: int) -> list[LeaseRecord]:
        """Five minutes before the hour begins, its titles are placed."""
        return self.place(hour, moment(hour, -5))

    def place(self, hour: int, now: int, numbers: list[int] | None = None) -> list[LeaseRecord]:
        """Decided and recorded."""
        contract = contract_of(CLASS, HOUR + hour)
        return self.take(*deciding.placements(self.state, self.titles, contract, self.lot, now, numbers, self.silent))

    def pass_to(self, now: int) -> list[LeaseRecord]:
        """What ends by then, ends."""
        return self.take(*deciding.endings(self.state, now))

    def check(self, lease: int, now: int, *, works: bool = True) -> None:
        """The login works from then on, or does not."""
        self.take(LeaseChecked(1, now, lease, works))

    def count(self, hour: int, setup_minutes: int = 0) -> list[LeaseRecord]:
        """The hour is over."""
        contract = contract_of(CLASS, HOUR + hour)
        return self.take(*counting.counts(self.state, self.titles, contract, setup_minutes, moment(hour + 1)))

    def take(self, *records: LeaseRecord) -> list[LeaseRecord]:
        """Apply; what was applied."""
        done = [msgspec.structs.replace(record, epoch=1) for record in records]
        for record in done:
            assert self.state.take(record)
        return done


def where(records: list[LeaseRecord]) -> list[tuple[int, dict[int, int], str, tuple[int, ...]]]:
    """(lease, GPUs by title, machine, seats) of each lease that serves something."""
    return [
        (each.lease, {served.title: served.qty for served in each.titles}, each.machine, each.seats)
        for each in records
        if isinstance(each, LeaseServes)
    ]
