"""What members and the public read: settlement's projections in Postgres, turned into the answers of `schemas.http`.

Read-only; amounts leave as decimal strings. A caller's reads wait until settlement has passed what concerns him
(`progress.Progress.wait_for`). A file a theme: `orders`, `blocks`, `hours` (positions, capacity, what is owed), `income`,
`money`, `market` (what is public); over what all of them need (`projection`, `client_ids`) and small words (`naming`). Whoever
reads gets all of them in one.
"""

from __future__ import annotations

from services.gateway.reads.blocks import handovers
from services.gateway.reads.hours import Hours
from services.gateway.reads.income import Income
from services.gateway.reads.market import Market
from services.gateway.reads.money import Money, Trading
from services.gateway.reads.naming import average, reason_name
from services.gateway.reads.orders import Known, Orders

__all__ = ["Known", "Reads", "Trading", "average", "handovers", "reason_name"]


class Reads(Market, Orders, Money, Hours, Income):
    """All of it."""
