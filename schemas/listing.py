"""What a class must be for a shard to list it: asked by settlement before it sends the message, and by the engine."""

from __future__ import annotations

from typing import Final

from schemas.commands import SetClass
from schemas.ids import HOUR_MASK, is_class_id
from schemas.requests import ListClass
from schemas.units import BP, MS_PER_HOUR

CLASS_NO_MAX: Final = 1 << 20


def can_be_listed(c: SetClass | ListClass) -> bool:
    """Whether every value is in its range; docs/engine.md has the ranges."""
    fees = (c.fees.buyer_maker, c.fees.buyer_taker, c.fees.seller_maker, c.fees.seller_taker)
    return (
        is_class_id(c.class_id)
        and 1 <= c.lot <= 1_000
        and c.tick >= 1
        and 0 < c.list_price <= 10**9
        and c.list_price % c.tick == 0
        and all(0 <= rate <= 1_000 for rate in fees)
        and 1 <= c.horizon_hours <= 1_000
        and 0 <= c.gate_ms <= MS_PER_HOUR
        and 0 <= c.cover_ms <= 24 * MS_PER_HOUR
        and 0 <= c.running_close_ms < MS_PER_HOUR
        and 1 <= c.collar_low_bp <= BP <= c.collar_high_bp <= 10 * BP
        and 0 <= c.first_hour <= HOUR_MASK
    )
