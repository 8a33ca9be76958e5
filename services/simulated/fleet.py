"""Which machines the simulated cloud has for whom, and which of their leases it opens. Pure.

What an obligor owes with a machine behind it is what he owes less what nobody has bought a machine for. As many GPUs as that are
open in an hour, whatever seats his machines have: an hour that was promised and never procured is not delivered by what was
procured for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from schemas.agents import GPUS_MAX, Gpu, Lease, LeaseReport
from schemas.http import PositionAnswer, PromisedAnswer, UncoveredAnswer
from schemas.ids import format_symbol, parse_symbol
from schemas.units import MS_PER_HOUR, MS_PER_MINUTE, Gpus, Millis

SIMULATED: Final = "simulated"
NOT_PROCURED: Final = "SIMULATED: no machine was procured for this hour"
OUTAGE: Final = "SIMULATED: an outage until the hour ends"

Behind = Mapping[str, Gpus]
"""Contract → GPUs of one obligor that have a machine."""


class Market(Struct, frozen=True):
    """Market time = `market_ms` + rate × (wall clock − `wall_ms`)."""

    wall_ms: Millis
    market_ms: Millis
    rate: int

    def at(self, wall_ms: Millis) -> Millis:
        """Of the market."""
        return self.market_ms + self.rate * (wall_ms - self.wall_ms)


def behind(
    account: int,
    positions: Iterable[PositionAnswer],
    promises: Iterable[PromisedAnswer],
    uncovered: Iterable[UncoveredAnswer],
) -> Behind:
    """`promises`: of hours to come; `uncovered`: title by title, of hours that have begun."""
    found = {each.contract: each.owed for each in positions if each.owed}
    for promised in promises:
        if promised.account == account and promised.contract in found:
            found[promised.contract] -= promised.owed
    for title in uncovered:
        if title.account == account and title.contract in found:
            found[title.contract] -= title.qty
    return {contract: qty for contract, qty in found.items() if qty > 0}


def seats(found: Behind, before: Mapping[str, Gpus]) -> dict[str, Gpus]:
    """By class, for its fullest hour; what is there already stays. A machine is not taken away between two hours."""
    wanted = dict(before)
    for contract, qty in found.items():
        class_id, _ = parse_symbol(contract)
        wanted[class_id] = max(wanted.get(class_id, 0), qty)
    return wanted


def machines(class_id: str, gpus: Gpus, lot: Gpus) -> Iterator[tuple[str, Gpus]]:
    """(name, GPUs) of each machine of a class: full ones of whole lots, and the rest in the last."""
    whole = GPUS_MAX // lot * lot
    for number, first in enumerate(range(0, gpus, whole), start=1):
        yield f"{class_id.lower().replace('.', '-')}-{number}", min(whole, gpus - first)


def inventory(account: int, class_id: str, machine: str, gpus: Gpus) -> tuple[Gpu, ...]:
    """Made up, and called so."""
    return tuple(
        Gpu(uuid=f"{SIMULATED}-{account}-{machine}-{number}", name=f"{SIMULATED} {class_id}") for number in range(gpus)
    )


def reports(
    leases: Sequence[Lease], class_id: str, found: Behind, outages: Mapping[str, int], market: Market, wall_ms: Millis
) -> dict[str, LeaseReport]:
    """Of all leases on an obligor's machines of a class, by number: the oldest are opened first, as far as there are machines.

    `outages`: minutes at the end of an hour, by contract. A lease that is to begin is judged by its first hour.
    """
    said: dict[str, LeaseReport] = {}
    left: dict[str, Gpus] = {}
    for lease in sorted(leases, key=lambda each: int(each.lease)):
        moment_ms = market.at(max(wall_ms, lease.from_ms))
        contract = format_symbol(class_id, moment_ms // MS_PER_HOUR)
        free = left.get(contract, found.get(contract, 0))
        fault = _fault(lease, free, outages.get(contract, 0), moment_ms)
        if fault != NOT_PROCURED:
            left[contract] = free - len(lease.seats)
        said[lease.lease] = LeaseReport(
            lease=lease.lease, state="failed" if fault else "open", user=SIMULATED, detail=fault
        )  # fmt: skip
    return said


def _fault(lease: Lease, free: Gpus, outage_minutes: int, moment_ms: Millis) -> str:
    """Empty: it is open."""
    if len(lease.seats) > free:
        return NOT_PROCURED
    return OUTAGE if MS_PER_HOUR - moment_ms % MS_PER_HOUR <= outage_minutes * MS_PER_MINUTE else ""
