"""What was delivered: bodies of the topic `delivery` (one partition).

Written by: gateways on an operator's word (`simulated`), later the delivery room. Read by: settlement.
Delivery: at least once; the first record of a title counts, a repeat of it changes nothing, a
contradicting one is refused and reported.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.units import Gpus


class Refund(Struct, array_like=True, frozen=True, gc=False):
    """So many GPU-minutes of a title were not delivered to this account."""

    account: int
    gpu_minutes: int


class Delivered(Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Of `minutes` of each GPU of a title, `undelivered` were not delivered.

    A record for an hour that has not ended waits until it has.
    """

    contract: int
    title: int
    """0: every title of the contract that has no record of its own yet."""
    undelivered: int
    """Minutes, 0 to the title's minutes (a title with fewer minutes: at most these)."""
    source: str
    """`simulated` when no machine was looked at."""
    record_id: str
    allowance: int = 0
    """Of the delivered minutes, those that the class's setup allowance stood in for. It pays like any other, and is only told."""
    moved: Gpus = 0
    """GPUs of the title whose holder had to leave the machine that he had in the hour before; he is credited for them."""
    refunds: tuple[Refund, ...] = ()
    """Who went without, by account, where machines were exchanged: they share what the title's holder would get back. Empty: it
    was himself."""
