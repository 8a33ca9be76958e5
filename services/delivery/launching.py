"""Which launch specification the machines of a purchase begin with. Pure.

The gateway says so before it sends an order that names one. `market` knows the order by its client order id when it is accepted,
`titles` what it buys; `deciding` gives leases of their own to titles that name different ones.
"""

from __future__ import annotations

from typing import Final

from schemas.leases import LaunchNamed
from schemas.rental import LaunchNaming
from schemas.units import MS_PER_HOUR, Millis
from services.delivery.refusals import Refused
from services.delivery.state import State

NAMED_MAX: Final = 1_000
"""Of one account, for orders whose hours are not over."""
HORIZON_MAX: Final = 1_000
"""Hours: no class lists any that is further ahead."""


def launch_named(state: State, account: int, asked: LaunchNaming, now_ms: Millis) -> LaunchNamed | None:
    """What is to be recorded; None: nothing, it was said before. Raises Refused.

    A name stays: one that could be changed would mean another thing to whoever reads `events` again than it did at first.
    """
    if (account, asked.launch) not in state.launches:
        raise Refused(
            "unknown_launch",
            f"you have no launch specification {asked.launch!r}: make it with PUT /v1/launches/{asked.launch}, then send the "
            "order again",
        )
    hour_now = now_ms // MS_PER_HOUR
    if not hour_now <= asked.hour <= hour_now + HORIZON_MAX:
        raise Refused(
            "unknown_contract", "this hour is over or not listed yet; GET /v1/contracts?class=... lists those that are"
        )
    names = state.named.get(account, {})
    known = names.get(asked.client_order_id)
    if known is not None and known.launch != asked.launch:
        raise Refused(
            "duplicate_client_id",
            f"under {asked.client_order_id} you have named launch specification {known.launch!r}: use a new client order id",
        )
    if known is not None and known.hour >= asked.hour:
        return None
    open_now = sum(named.hour >= hour_now for named in names.values())
    if known is None and open_now >= NAMED_MAX:
        raise Refused(
            "too_many_launches",
            f"{NAMED_MAX} orders of hours that are not over name a launch specification: leave it out, put hours into one "
            "range or block, or wait until some are over",
        )
    return LaunchNamed(0, now_ms, account, asked.client_order_id, asked.launch, asked.hour)
