"""Driver `simulated`: leases come and go, and nobody is let in anywhere."""

from __future__ import annotations

from typing import Final

from schemas.agents import Driver as DriverName
from schemas.agents import Lease
from services.agent.doorway import DoorOrders
from services.agent.drivers.base import Look, Prepared

DETAIL: Final = "simulated: there is no machine, and nobody can log in"


class SimulatedDriver:
    """For sandboxes."""

    name: DriverName = "simulated"

    def __init__(self) -> None:
        self._known: set[str] = set()

    async def prepare(self, lease: Lease) -> Prepared:
        """See Driver."""
        self._known.add(lease.lease)
        return Prepared(user="simulated", detail=DETAIL)

    async def begin(self, lease: Lease) -> str:
        """See Driver."""
        del lease
        return DETAIL

    def order(self, lease: Lease, orders: DoorOrders) -> None:
        """See Driver. A start script is not run, so it is not said to have been."""

    def look(self, lease: Lease) -> Look:
        """See Driver."""
        return Look(lives=lease.lease in self._known, open=True)

    async def close(self, lease: Lease) -> None:
        """See Driver."""
        self._known.discard(lease.lease)
