"""Machines, leases and launch specifications as members and providers see them: bodies of the public API.

Instants are ISO 8601 in UTC; market time, which outside a sandbox is everybody's.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.agents import KEYS_MAX, SCRIPT_MAX, Driver, MachineName, Source

LAUNCH_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,35}$"
LaunchName = Annotated[str, Meta(pattern=LAUNCH_NAME)]


class LaunchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v1/launches/{name}: what the account wants to find on its machines.

    Keys apply at once, also where a lease runs; the rest from the next lease on.
    """

    ssh_keys: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=4_000)], ...], Meta(max_length=KEYS_MAX)]
    """Public keys, a line each, as in authorized_keys."""
    image: Annotated[str, Meta(max_length=300)] = ""
    """Of a container, where the machine's driver has containers; empty: the driver's own."""
    start_script: Annotated[str, Meta(max_length=SCRIPT_MAX)] = ""
    """Run by /bin/sh as the tenant when the lease opens."""
    ports: Annotated[tuple[Annotated[int, Meta(ge=1, le=65_535)], ...], Meta(max_length=32)] = ()
    """To be reachable beside SSH, where the driver has containers."""


class LaunchAnswer(Struct, frozen=True, kw_only=True):
    """A launch specification."""

    name: str
    ssh_keys: tuple[str, ...]
    image: str
    start_script: str
    ports: tuple[int, ...]


LeaseWord = Literal["waiting", "opening", "open", "unreachable", "over"]
"""Its time has not come; the machine is being prepared; one can log in; one could, and cannot now; it has ended."""


class LeaseAnswer(Struct, frozen=True, kw_only=True):
    """One machine, one tenant, without a break."""

    lease: str
    class_id: str = ""
    state: LeaseWord
    gpus: int
    """Now, or when it begins."""
    starts_at: str
    ends_at: str
    """Of what is bought; the lease goes on where the next hour is bought in time and stays on this machine."""
    contracts: tuple[str, ...]
    provider_machine: str
    """The provider's word for the machine; who he is stays between him and the exchange."""
    source: Source
    """`simulated`: there is no machine. `declared`: nobody has looked at its hardware."""
    driver: Driver
    host: str = ""
    port: int = 0
    user: str = ""
    host_key: str = ""
    """As a line of known_hosts without the host."""
    script: str = ""
    """How the start script is: running, done, failed, cut_off."""
    detail: str = ""
    """Why one cannot log in."""


class SeatAnswer(Struct, frozen=True, kw_only=True):
    """A GPU of a machine."""

    uuid: str
    usable: bool
    lease: str
    """That has it now; empty: it is idle."""


class MachineAnswer(Struct, frozen=True, kw_only=True):
    """A provider's machine."""

    machine: MachineName
    class_id: str
    source: Source
    driver: Driver
    host: str
    alive: bool
    """An agent was heard a moment ago."""
    heard_s_ago: int
    """-1: not since the exchange's delivery room began."""
    clock_off_ms: int
    """Its clock less the exchange's, by the last heartbeat; nothing is made of it."""
    retired: bool
    seats: tuple[SeatAnswer, ...]


class DeliveredAnswer(Struct, frozen=True, kw_only=True):
    """What was counted of a title: sold = delivered + allowance + undelivered, minutes of each GPU."""

    contract: str
    title: int
    delivered: int
    allowance: int
    undelivered: int
