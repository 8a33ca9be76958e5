"""The exchange's time, without a look at the machine's clock. Pure.

An answer of the exchange says its time; from there on the machine's clock of elapsed time counts (CLOCK_BOOTTIME: never set, counts
while the machine sleeps, begins anew with each start of the machine). So a clock that is an hour off, or set, changes nothing.

After a restart of the machine how long it was off is not known. What is certain is a lower bound: the last time
heard, and what has passed since the start. By it leases may be found to be over, and nothing may be opened.
"""

from __future__ import annotations

from msgspec import Struct

from schemas.units import Millis


class Moment(Struct, frozen=True):
    """Of the machine's own."""

    boot_id: str
    elapsed_ms: Millis
    """Since the machine's start."""


class Anchor(Struct, frozen=True):
    """At `moment` an answer came that said `now_ms`: the exchange's time is later by the answer's way here, and never earlier."""

    now_ms: Millis
    moment: Moment


class Now(Struct, frozen=True):
    """The exchange's time; `certain` or no less than this."""

    ms: Millis
    certain: bool


NEVER_HEARD = Now(0, certain=False)


def exchange_now(anchor: Anchor | None, moment: Moment) -> Now:
    """What time it is at the exchange."""
    if anchor is None:
        return NEVER_HEARD
    if anchor.moment.boot_id != moment.boot_id:
        return Now(anchor.now_ms + moment.elapsed_ms, certain=False)
    return Now(anchor.now_ms + moment.elapsed_ms - anchor.moment.elapsed_ms, certain=True)


def elapsed_at(anchor: Anchor, exchange_ms: Millis) -> Millis:
    """When the machine's elapsed time, within the anchor's start of the machine, is at `exchange_ms`."""
    return anchor.moment.elapsed_ms + exchange_ms - anchor.now_ms
