"""What moves money that has been asked to leave. The exchange has a stand-in only: no bank is connected yet.

An adapter is asked again and again with the payouts that are under way, and answers with what it knows has happened. It tells
its provider the payout's number as the idempotency key, so that being asked twice pays once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from schemas.requests import PayoutMoved
from services.settlement.rows import Payout


class Payments(Protocol):
    """One provider."""

    name: str
    """`PayoutMoved.provider`."""

    async def progress(self, payouts: Sequence[Payout]) -> list[PayoutMoved]:
        """What is known now of payouts in state requested or sent: their next state. The same answer may come again."""


class SimulatedPayments:
    """Sandbox only: no money moves. A payout is sent at once, then paid; destination `simulated:fail...` comes back."""

    name = "simulated-payments"

    async def progress(self, payouts: Sequence[Payout]) -> list[PayoutMoved]:
        """requested → sent → paid, or returned."""
        return [self._move(payout) for payout in payouts]

    def _move(self, payout: Payout) -> PayoutMoved:
        if payout.state == "requested":
            state = "sent"
        elif payout.destination.startswith("simulated:fail"):
            state = "returned"
        else:
            state = "paid"
        return PayoutMoved(f"{self.name}:{payout.payout}:{state}", payout.payout, state, self.name)
