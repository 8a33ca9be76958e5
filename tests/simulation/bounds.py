"""Bounds of the shells, drawn small: whatever is cut, queued, batched or waited for reaches its bound in a short day."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any, Final

import schemas.codec
import services.gateway.door
import services.matching.mirror
import services.matching.shell
import services.settlement.shell

DRAWN: Final[list[tuple[list[Any], str, list[int]]]] = [
    ([schemas.codec], "RECORD_BYTES_MAX", [60, 300, 524_288, 524_288]),
    ([services.matching.mirror], "PENDING_MAX", [2, 20, 10_000]),
    ([services.matching.mirror, services.matching.shell], "READ_MAX", [2, 10, 500]),
    ([services.matching.shell], "_WRITE_BYTES", [200, 1_048_576]),
    ([services.settlement.shell], "READ_MAX", [2, 20, 500]),
    ([services.settlement.shell], "EVENTS_MAX", [2, 50, 40_000]),
    ([services.settlement.shell], "FRAME_MAX", [1, 5, 64]),
    ([services.settlement.shell], "WINDOW_MAX", [2, 20, 1_024]),
    ([services.gateway.door], "FRAME_MAX", [1, 2, 64]),
    ([services.gateway.door], "QUEUE_MAX", [2, 10_000, 10_000]),
]
"""Modules that know a bound, its name, and values one of which a seed draws."""


@contextlib.contextmanager
def bounds(seed: int) -> Iterator[None]:
    """The seed's bounds are in force while it is open."""
    chance = random.Random(f"{seed}/bounds")
    before = [(module, name, getattr(module, name)) for modules, name, _ in DRAWN for module in modules]
    try:
        for modules, name, values in DRAWN:
            value = chance.choice(values)
            for module in modules:
                setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
