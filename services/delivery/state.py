"""Machines, launch specifications and leases, from the records of `leases` alone. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Struct

from schemas.ids import class_no_of, hour_of
from schemas.leases import (
    HourTold,
    LaunchNamed,
    LaunchPut,
    LeaseChecked,
    LeaseEnded,
    LeaseRecord,
    LeaseServes,
    MachineEnrolled,
    MachineMaintained,
    MachineRetired,
    RoomBegan,
    Served,
    TitleCounted,
    TitleUnplaced,
)
from schemas.units import MS_PER_HOUR, Gpus, Millis
from services.delivery.maintenance import Windows, is_out
from services.delivery.minutes import Checked

MachineId = tuple[int, str]
"""(provider's account, his word for it)."""
TitleId = tuple[int, int]
"""(contract, title)."""


EPOCH: Final = 0
"""Of a record that is decided: whoever writes it puts its own."""


class BadRecord(Exception):
    """A record contradicts those before it: this log is not ours, or was changed."""


def counts_for(served: Served) -> int:
    """The title that is delivered by these GPUs, or not."""
    return served.counts_for or served.title


class Part(Struct, frozen=True, gc=False):
    """What a lease serves in one hour."""

    contract: int
    titles: tuple[Served, ...]
    from_ms: Millis
    until_ms: Millis


class Lease(Struct, gc=False):
    """One holder on the same seats of one machine, without a break."""

    lease: int
    holder: int
    machine: MachineId
    seats: tuple[int, ...]
    parts: list[Part]
    """In order of time."""
    launch_name: str
    launch: LaunchPut | None
    """As it was when the lease was given; keys are the newest of that name."""
    checks: list[Checked] = msgspec.field(default_factory=list)
    detail: str = ""
    ended_ms: Millis = 0
    """0: it runs, or is to begin."""
    why: str = ""

    @property
    def from_ms(self) -> Millis:
        """Of its first hour."""
        return self.parts[0].from_ms

    @property
    def until_ms(self) -> Millis:
        """Of its last hour."""
        return self.parts[-1].until_ms

    @property
    def works(self) -> bool:
        """By the last look."""
        return bool(self.checks) and self.checks[-1].works


class State:
    """What has been recorded."""

    def __init__(self) -> None:
        self.epoch = 0
        self.machines: dict[MachineId, MachineEnrolled] = {}
        self.retired: set[MachineId] = set()
        self.maintenance: dict[MachineId, Windows] = {}
        """Hours in which a machine is given to nobody."""
        self.launches: dict[tuple[int, str], LaunchPut] = {}
        self.named: dict[int, dict[str, LaunchNamed]] = {}
        """By account, by client order id: of orders whose hours are not over."""
        self.leases: dict[int, Lease] = {}
        """By number: those that are not over, and those of hours that are not told."""
        self.lease_last = 0
        self.on: dict[MachineId, set[int]] = {}
        """Leases of a machine that are not over."""
        self.of_title: dict[TitleId, list[int]] = {}
        """Leases that serve it."""
        self.counting: dict[TitleId, list[int]] = {}
        """Leases by which it is counted: the same, unless machines were exchanged."""
        self.unplaced: dict[TitleId, Gpus] = {}
        self.counted: dict[int, dict[int, TitleCounted]] = {}
        """By contract, by title: of hours that are not told."""
        self.told: set[int] = set()
        """Contracts of which settlement was told all."""
        self.served_ms: dict[int, Millis] = {}
        """Class → market time of its first machine. From then on its hours are delivered by machines alone."""
        self.seat_of: dict[str, MachineId] = {}
        """UUID → the machine that it is in."""

    def take(self, record: LeaseRecord) -> bool:
        """Apply a record; False: it is of a writer that was late, and is passed over. Raises BadRecord."""
        if record.epoch < self.epoch:
            return False
        self.epoch = record.epoch
        match record:
            case MachineEnrolled():
                self._enrol(record)
            case MachineRetired():
                self.retired.add((record.account, record.machine))
            case MachineMaintained():
                self._maintain(record)
            case LaunchPut():
                self.launches[record.account, record.name] = record
            case LaunchNamed():
                self._forget_names(record.account, record.time_ms)
                self.named.setdefault(record.account, {})[record.client_id] = record
            case LeaseServes():
                self._serve(record)
            case TitleUnplaced():
                self.unplaced[record.contract, record.title] = record.qty
            case LeaseChecked():
                lease = self._live(record.lease)
                lease.checks.append(Checked(record.time_ms, record.works))
                lease.detail = record.detail
            case LeaseEnded():
                self._end(record)
            case TitleCounted():
                self.counted.setdefault(record.contract, {})[record.title] = record
            case HourTold():
                self._told(record.contract)
                for account in list(self.named):
                    self._forget_names(account, record.time_ms)
            case RoomBegan():
                pass
        return True

    def usable(self, machine: MachineEnrolled) -> list[int]:
        """Numbers of the seats that may be given."""
        return [seat for seat in range(len(machine.uuids)) if seat not in machine.unusable]

    def serving(self, contract: int, title: int) -> list[Served]:
        """What leases do for a title."""
        return [
            served
            for number in dict.fromkeys(self.of_title.get((contract, title), ()))
            for part in self.leases[number].parts
            if part.contract == contract
            for served in part.titles
            if served.title == title
        ]

    def served(self, contract: int, title: int) -> Gpus:
        """GPUs of a title that leases serve."""
        return sum(served.qty for served in self.serving(contract, title))

    def serves(self, contract: int) -> bool:
        """Whether its hour is delivered by machines: one of its class had come before the hour's end."""
        since_ms = self.served_ms.get(class_no_of(contract))
        return since_ms is not None and since_ms < (hour_of(contract) + 1) * MS_PER_HOUR

    def _enrol(self, record: MachineEnrolled) -> None:
        machine = (record.account, record.machine)
        self.machines[machine] = record
        self.retired.discard(machine)
        self.served_ms.setdefault(record.class_no, record.time_ms)
        for uuid in record.uuids:
            self.seat_of[uuid] = machine

    def _maintain(self, record: MachineMaintained) -> None:
        """In hours that have not begun it is taken from whoever has it there.

        Where machines were exchanged in such an hour all are given back, to be exchanged anew: else somebody who has bought from
        another provider would go without.
        """
        machine = (record.account, record.machine)
        self.maintenance[machine] = record.windows
        lost: set[int] = set()
        for number in sorted(self.on.get(machine, ())):
            lease = self.leases[number]
            taken = [
                place
                for place, part in enumerate(lease.parts)
                if part.from_ms > record.time_ms and is_out(record.windows, hour_of(part.contract))
            ]
            if taken:
                lost.update(part.contract for part in lease.parts[taken[0] :])
                self._cut(lease, taken[0])
        for lease in list(self.leases.values()):
            for place, part in enumerate(lease.parts):
                is_exchanged = any(served.counts_for for served in part.titles)
                if is_exchanged and part.contract in lost and part.from_ms > record.time_ms:
                    self._cut(lease, place)
                    break

    def _cut(self, lease: Lease, place: int) -> None:
        """Its parts from there on have no machine; a lease without any never was."""
        for part in lease.parts[place:]:
            for served in part.titles:
                key = (part.contract, served.title)
                self.of_title[key].remove(lease.lease)
                self.counting[part.contract, counts_for(served)].remove(lease.lease)
                self.unplaced[key] = self.unplaced.get(key, 0) + served.qty
        del lease.parts[place:]
        if not lease.parts:
            self.on[lease.machine].discard(lease.lease)
            del self.leases[lease.lease]

    def _serve(self, record: LeaseServes) -> None:
        machine = (record.provider, record.machine)
        where = f"lease {record.lease}"
        if sum(served.qty for served in record.titles) != len(record.seats):
            raise BadRecord(f"{where} has {len(record.seats)} seats for {record.titles}")
        if clash := self.clash(machine, record.seats, record.from_ms, record.until_ms):
            raise BadRecord(f"{where} takes seats that lease {clash} has")
        part = Part(record.contract, record.titles, record.from_ms, record.until_ms)
        if record.lease == self.lease_last + 1:
            self.lease_last = record.lease
            launch = self.launches.get((record.holder, record.launch))
            self.leases[record.lease] = Lease(
                record.lease, record.holder, machine, record.seats, [part], record.launch, launch
            )
            self.on.setdefault(machine, set()).add(record.lease)
        else:
            lease = self._live(record.lease)
            if (lease.holder, lease.machine, lease.seats, lease.until_ms) != (
                record.holder,
                machine,
                record.seats,
                record.from_ms,
            ):
                raise BadRecord(f"{where} does not go on like this: {record}")
            lease.parts.append(part)
        for served in record.titles:
            key = (record.contract, served.title)
            self.of_title.setdefault(key, []).append(record.lease)
            self.counting.setdefault((record.contract, counts_for(served)), []).append(record.lease)
            left = self.unplaced.pop(key, 0) - served.qty
            if left > 0:
                self.unplaced[key] = left

    def clash(self, machine: MachineId, seats: Collection[int], from_ms: Millis, until_ms: Millis) -> int:
        """A lease that has one of the seats at some moment in between; 0: none."""
        for number in sorted(self.on.get(machine, ())):
            lease = self.leases[number]
            if max(lease.from_ms, from_ms) < min(lease.until_ms, until_ms) and not set(lease.seats).isdisjoint(seats):
                return number
        return 0

    def _live(self, number: int) -> Lease:
        lease = self.leases.get(number)
        if lease is None or lease.ended_ms:
            raise BadRecord(f"lease {number} does not run")
        return lease

    def _end(self, record: LeaseEnded) -> None:
        lease = self._live(record.lease)
        lease.ended_ms, lease.why = record.time_ms, record.why
        if lease.works:
            lease.checks.append(Checked(record.time_ms, works=False))
        self.on[lease.machine].discard(record.lease)
        self._forget(lease)

    def _told(self, contract: int) -> None:
        self.told.add(contract)
        self.counted.pop(contract, None)
        for key in [key for key in self.of_title if key[0] == contract]:
            for number in self.of_title.pop(key):
                if number in self.leases:
                    self._forget(self.leases[number])
        for key in [key for key in self.counting if key[0] == contract]:
            del self.counting[key]
        for key in [key for key in self.unplaced if key[0] == contract]:
            del self.unplaced[key]

    def _forget_names(self, account: int, now_ms: Millis) -> None:
        names = self.named.pop(account, {})
        left = {key: named for key, named in names.items() if now_ms < (named.hour + 1) * MS_PER_HOUR}
        if left:
            self.named[account] = left

    def _forget(self, lease: Lease) -> None:
        """A lease that is over stays until all its hours are told."""
        if lease.ended_ms and all(part.contract in self.told for part in lease.parts):
            self.leases.pop(lease.lease, None)
