"""What an agent is to do. Pure."""

from __future__ import annotations

from typing import Final

from schemas import agents
from schemas.market_clock import MarketClock
from schemas.units import MS_PER_MINUTE
from services.delivery.renting import rental_of
from services.delivery.state import Lease, MachineId, State
from services.delivery.titles import Titles

WARN_MINUTES: Final = (30, 5)
"""Before the end of what is bought, in minutes of the market."""
WARN_LATE_MINUTES: Final = (4,)
"""The same where the next hour of this host is bought: at its gate the lease goes on, or it is known that it does not."""


def leases_of(
    state: State, titles: Titles, machine: MachineId, clock: MarketClock, probe_key: str
) -> tuple[agents.Lease, ...]:
    """All that run on the machine or are to begin, by number."""
    return tuple(
        _lease(state, titles, state.leases[number], clock, probe_key) for number in sorted(state.on.get(machine, ()))
    )


def _may_go_on(titles: Titles, lease: Lease) -> bool:
    """Its holder has the next hour of this host, for the same rental or for none."""
    contract = lease.parts[-1].contract
    rental = rental_of(lease, contract, titles.of.get(contract, {}))
    return any((lease.holder, lease.machine[0], each) in titles.ties(contract + 1) for each in (rental, 0))


def _lease(state: State, titles: Titles, lease: Lease, clock: MarketClock, probe_key: str) -> agents.Lease:
    uuids = state.machines[lease.machine].uuids
    until_ms = lease.until_ms
    newest = state.launches.get((lease.holder, lease.launch_name))
    launch = lease.launch
    return agents.Lease(
        lease=str(lease.lease),
        seats=tuple(uuids[seat] for seat in lease.seats),
        from_ms=clock.wall_ms(lease.from_ms),
        until_ms=clock.wall_ms(until_ms),
        warn_ms=tuple(
            clock.wall_ms(until_ms - minutes * MS_PER_MINUTE)
            for minutes in (WARN_LATE_MINUTES if _may_go_on(titles, lease) else WARN_MINUTES)
            if until_ms - minutes * MS_PER_MINUTE > lease.from_ms
        ),
        probe_key=probe_key,
        ssh_keys=newest.ssh_keys if newest is not None else (),
        image=launch.image if launch is not None else "",
        start_script=launch.start_script if launch is not None else "",
        ports=launch.ports if launch is not None else (),
    )
