"""The list of planted bugs fits the tree; that each is caught is what `make mutants` shows."""

from __future__ import annotations

from collections import Counter

from services.audit.report import NAMES, NOT_AUDITED
from tests.mutants.__main__ import load


def test_every_mutant_still_applies() -> None:
    """Its text is found exactly once, what comes out is still Python, and the test that must catch it is there."""
    assert len(load()) >= 30


def test_every_invariant_that_there_is_has_a_mutant() -> None:
    """Those that the audit shows, and those that tests show in its place."""
    planted = Counter(mutant.invariant for mutant in load())
    there_are = {*NAMES, *(name for name, one in NOT_AUDITED.items() if one.shown_by)}
    assert planted.keys() == there_are


def test_bugs_are_planted_in_every_room_that_can_lose_money() -> None:
    rooms = Counter(mutant.file.rpartition("/")[0].removesuffix("/migrations") for mutant in load())
    assert rooms.keys() >= {
        "schemas",
        "services/gateway",
        "services/matching",
        "services/router",
        "services/runtime",
        "services/settlement",
    }
