"""Who is let into which machine, and how that went: bodies of the topic `leases` (one partition, kept for ever).

Written by: the delivery room that holds its lease. Read by: the same room, whole, at its start. What it has written is all that
it goes by: nothing is decided twice, and a record of an epoch lower than one before it is by a room that was late, and
is passed over.

Instants are market time, in ms since the epoch. A seat is one GPU of a machine (of a CPU class: one share of it), by
its number in the inventory.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.agents import Driver, Source
from schemas.units import Gpus, Millis


class _Record(Struct, array_like=True, frozen=True, gc=False):
    epoch: int
    """Of the writer's lease."""
    time_ms: Millis


class MachineEnrolled(_Record, frozen=True, tag=1):
    """A machine is here from now on; again, when anything of it has changed."""

    account: int
    """The provider."""
    machine: str
    """His own word for it."""
    class_no: int
    source: Source
    driver: Driver
    host: str
    uuids: tuple[str, ...]
    """Of its seats."""
    unusable: tuple[int, ...] = ()
    """Seats that are gone, by number: they keep their numbers, and are given to nobody."""


class MachineRetired(_Record, frozen=True, tag=2):
    """Nothing more is given to it; what it has runs to its end."""

    account: int
    machine: str


class LaunchPut(_Record, frozen=True, tag=3):
    """What an account wants to find on its machines: of each lease that has not passed its gate, and its keys at once."""

    account: int
    name: str
    ssh_keys: tuple[str, ...]
    image: str = ""
    start_script: str = ""
    ports: tuple[int, ...] = ()


class TitlePlaced(_Record, frozen=True, tag=4):
    """`seats` of a machine are the holder's from `from_ms` until `until_ms`, for a title or a part of it, under a lease.

    A lease is one holder on one machine without a break, however many titles that takes, and is one login. It begins
    with the first title placed under its number.
    """

    lease: int
    """Of a new one: one more than the last."""
    holder: int
    provider: int
    """Whose machine it is: the obligor's own, or exchanged."""
    machine: str
    contract: int
    title: int
    seats: tuple[int, ...]
    from_ms: Millis
    until_ms: Millis
    launch: str = ""
    """The specification that a new lease begins with, as it is now."""


class TitleUnplaced(_Record, frozen=True, tag=5):
    """`qty` GPUs of a title found no machine. A machine that comes before its end is still taken."""

    contract: int
    title: int
    qty: Gpus


class LeaseChecked(_Record, frozen=True, tag=6):
    """From `time_ms` on the login of the exchange's own probe succeeds, or does not."""

    lease: int
    works: bool
    detail: str = ""


class LeaseEnded(_Record, frozen=True, tag=7):
    """Its last hour is over, or it was taken away before."""

    lease: int
    why: str = ""


class TitleCounted(_Record, frozen=True, tag=8):
    """Minutes of each GPU of a title: sold = delivered + allowance + undelivered. Written before it is told to settlement."""

    contract: int
    title: int
    delivered: int
    allowance: int
    undelivered: int


class HourTold(_Record, frozen=True, tag=9):
    """Settlement was told of every title of the hour."""

    contract: int


LeaseRecord = (
    MachineEnrolled
    | MachineRetired
    | LaunchPut
    | TitlePlaced
    | TitleUnplaced
    | LeaseChecked
    | LeaseEnded
    | TitleCounted
    | HourTold
)
