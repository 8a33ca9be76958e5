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
from schemas.delivery import Refund
from schemas.units import Gpus, Hour, Millis


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


class Served(Struct, array_like=True, frozen=True, gc=False):
    """So many GPUs of a title."""

    title: int
    qty: Gpus
    counts_for: int = 0
    """The title, owed by the machine's provider, that is delivered by these GPUs, or not; 0: `title` itself. Another one where
    the machines of two titles of equal cost were exchanged."""
    moved: Gpus = 0
    """Of these, so many took the place of others that the holder had to leave as the hour began."""


class LeaseServes(_Record, frozen=True, tag=4):
    """In one hour a lease is what the holder has for some titles, or for parts of them: `seats`, from `from_ms` until `until_ms`.

    A lease is one holder on the same seats of one machine without a break: one login. It begins with the first record under its
    number, and goes on with one for each hour that follows.
    """

    lease: int
    """Of a new one: one more than the last."""
    holder: int
    provider: int
    """Whose machine it is."""
    machine: str
    seats: tuple[int, ...]
    """The same for as long as it lasts: what a container was given cannot be taken from it in the middle."""
    contract: int
    titles: tuple[Served, ...]
    """As many GPUs as seats."""
    from_ms: Millis
    until_ms: Millis
    launch: str = ""
    """The specification that it begins with, as it is then, and keeps."""


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
    moved: Gpus = 0
    refunds: tuple[Refund, ...] = ()
    """Both as settlement is told (`schemas.delivery.Delivered`)."""


class HourTold(_Record, frozen=True, tag=9):
    """Settlement was told of every title of the hour."""

    contract: int


class RoomBegan(_Record, frozen=True, tag=10):
    """A room has the lease of this epoch. What an earlier one writes after this is passed over."""


class LaunchNamed(_Record, frozen=True, tag=11):
    """What the account buys with an order begins with this launch specification. Written before the order is sent."""

    account: int
    client_id: str
    """The account's own id of the order, range or block."""
    launch: str
    hour: Hour
    """The last one that it may buy: once that is over the name is of no use."""


class MachineMaintained(_Record, frozen=True, tag=12):
    """Hours in which the machine is given to nobody, as its provider has planned them: these, and no others from now on.

    In hours that have not begun by `time_ms` leases lose it: each ends before the first of them, and what it had from there on is
    without a machine, until it is placed again.
    """

    account: int
    machine: str
    windows: tuple[tuple[Hour, Hour], ...]
    """[from, until), rising, apart from each other; those that are over are left out."""


LeaseRecord = (
    MachineEnrolled
    | MachineRetired
    | LaunchPut
    | LeaseServes
    | TitleUnplaced
    | LeaseChecked
    | LeaseEnded
    | TitleCounted
    | HourTold
    | RoomBegan
    | LaunchNamed
    | MachineMaintained
)
