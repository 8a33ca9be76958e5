"""Bodies with one fault or two, and what they are told: of several faults the first one of docs/engine.md is the answer."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from schemas import events as ev
from schemas.events import Code, Event

Fault = tuple[Code, dict[str, Any]]
"""What is answered, and which fields of a good body make it so."""


def pairs(faults: dict[str, Fault], *but: tuple[str, str]) -> list[Any]:
    """Every two faults that one body can have at once, the earlier one first; `but`: those that together are a third."""
    for names in but:
        assert set(names) <= faults.keys(), f"no such faults: {names}"
    return [
        pytest.param(first, second, id=f"{first} before {second}")
        for first, second in itertools.combinations(faults, 2)
        if not faults[first][1].keys() & faults[second][1].keys() and (first, second) not in but
    ]


def code_of(events: list[Event]) -> Code | None:
    """Why it was refused; None: it was not."""
    said = events[-1] if isinstance(events[-1], (ev.Rejected, ev.OutboxRejected)) else None
    return None if said is None else Code(said.code)
