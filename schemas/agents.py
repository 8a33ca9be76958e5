"""What an agent on a provider's machine and the exchange tell each other: JSON over the gateway, by a key of scope `agent`.

The agent speaks, the exchange answers; nothing is ever sent to a machine unasked. An answer names every lease that the
machine has now or has been told of in advance: what it does not name is over. So an answer that is lost, repeated or
late does no harm, and a machine that was away learns all it missed from the next one.

Instants are the exchange's wall clock in ms since the epoch; an agent uses differences to `now_ms` and its own
monotonic clock, never its own idea of the time. Requests: `POST /v1/machines` (Enrolment → Enrolled), `POST
/v1/machines/{machine}/heartbeats` (Heartbeat → HeartbeatAnswer).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from schemas.units import Millis

MACHINE_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,35}$"
GPUS_MAX: Final = 64
KEYS_MAX: Final = 32
SCRIPT_MAX: Final = 16_384
"""Characters of a start script."""

MachineName = Annotated[str, Meta(pattern=MACHINE_PATTERN)]
"""The provider's own word for a machine; unique within his account."""
Source = Literal["nvml", "declared", "simulated"]
"""Where the inventory comes from: read off the GPUs, only said, or made up by a simulated cloud (which says so)."""
Driver = Literal["open", "user", "docker", "podman", "simulated"]
"""How tenants are let in: an SSH server that isolates nothing, a user of the system's, a container, or not at all."""
LeaseState = Literal["preparing", "open", "failed", "closed"]
_Text = Annotated[str, Meta(max_length=200)]
# What a provider names ends up in a tenant's commands and known_hosts: no option, no second word, no second line.
HOST_PATTERN: Final = r"^[A-Za-z0-9:][A-Za-z0-9.:_-]*$"
USER_PATTERN: Final = r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$"
LINE_PATTERN: Final = r"^[ -~]*$"


class Gpu(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU (of a CPU class: one seat). What NVML does not tell is absent, never made up."""

    uuid: Annotated[str, Meta(min_length=1, max_length=80)]
    name: _Text
    memory_mib: Annotated[int, Meta(ge=0)] = 0
    pci_bus: _Text = ""
    driver: _Text = ""
    power_limit_w: int | None = None
    temperature_c: int | None = None
    utilisation_percent: int | None = None
    throttled: bool | None = None
    ecc_uncorrected: int | None = None
    retired_pages: int | None = None
    remapped_rows: int | None = None
    xids: tuple[int, ...] = ()


class Enrolment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine is here, and is for a class."""

    machine: MachineName
    class_id: str
    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    """Random, new with each start of an agent: two agents of one machine are told apart."""
    boot_id: Annotated[str, Meta(min_length=1, max_length=64)]
    agent_version: _Text
    source: Source
    driver: Driver
    host: Annotated[str, Meta(min_length=1, max_length=253, pattern=HOST_PATTERN)]
    """Where tenants reach it."""
    inventory: Annotated[tuple[Gpu, ...], Meta(min_length=1, max_length=GPUS_MAX)]


class Enrolled(Struct, frozen=True, kw_only=True):
    """It is known from here on."""

    machine: str
    every_ms: Millis
    """A heartbeat is due this often."""
    grace_ms: Millis
    """While the exchange is away: how long access stays after the last known end of a lease."""
    nonce: str
    """To be echoed in the first heartbeat."""
    now_ms: Millis


class Lease(Struct, frozen=True, kw_only=True):
    """Some seats of a machine belong to one tenant from `from_ms` until `until_ms`; a later answer may move that end."""

    lease: str
    seats: tuple[str, ...]
    """UUIDs of its GPUs."""
    from_ms: Millis
    until_ms: Millis
    warn_ms: tuple[Millis, ...]
    """When the tenant is told that the end is near, unless `until_ms` has moved on by then."""
    probe_key: str
    """Public key of the exchange: with it, it checks that one can log in. Its login may run `true` and nothing else."""
    ssh_keys: tuple[str, ...] = ()
    """Public keys of the tenant; none: nobody but the probe gets in, and the machine waits (counted as delivered)."""
    image: str = ""
    start_script: str = ""
    ports: tuple[int, ...] = ()


class LeaseReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a lease is on the machine."""

    lease: Annotated[str, Meta(max_length=64)]
    state: LeaseState
    """`closed`: access is gone and the disk is wiped. `failed`: it cannot be opened, `detail` says why."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    user: Annotated[str, Meta(max_length=200, pattern=USER_PATTERN)] = ""
    host_key: Annotated[str, Meta(max_length=2_000, pattern=LINE_PATTERN)] = ""
    """Of the SSH server, as a line of known_hosts without the host."""
    detail: _Text = ""
    script: Literal["", "running", "done", "failed", "cut_off"] = ""
    """The start script. One that fails or never ends does not keep the tenant out."""


class Heartbeat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """I am alive, and this is how it is."""

    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    seq: Annotated[int, Meta(ge=1)]
    """1, 2, … of the instance."""
    nonce: Annotated[str, Meta(max_length=64)]
    """Of the last answer: a heartbeat recorded and sent again is refused."""
    boot_id: Annotated[str, Meta(min_length=1, max_length=64)]
    sent_at_ms: Millis
    """By the machine's clock, to tell its owner how wrong that is; nothing else is made of it."""
    inventory: Annotated[tuple[Gpu, ...], Meta(min_length=1, max_length=GPUS_MAX)]
    leases: Annotated[tuple[LeaseReport, ...], Meta(max_length=4 * GPUS_MAX)]


class HeartbeatAnswer(Struct, frozen=True, kw_only=True):
    """What the machine is to do."""

    nonce: str
    now_ms: Millis
    every_ms: Millis
    """Until the next heartbeat; sooner, down to a second, while a lease is to begin."""
    grace_ms: Millis
    leases: tuple[Lease, ...]
    """All that begin soon or run. A lease that the machine has and that is not named is to be ended at once."""
