"""The auditor shares no thought with those that it audits: what it imports is the language, never the logic."""

from __future__ import annotations

import ast
from pathlib import Path

AUDIT = Path(__file__).parents[2] / "services" / "audit"
NO_ARITHMETIC = {"HOURS_PER_DAY", "MS_PER_HOUR", "BasisPoints", "Gpus", "Hour", "Micros", "Millis", "Price"}
"""Of `schemas.units`: names of units, and how long an hour is."""


def imports(file: Path) -> set[tuple[str, str]]:
    """(module, name) of everything that a file imports."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
    return found


def test_rounding_is_its_own() -> None:
    """A mistake in `schemas.units` would else be made by engine, ledger and auditor alike, and nobody would see it."""
    used = {name for file in AUDIT.glob("*.py") for module, name in imports(file) if module == "schemas.units"}
    assert used <= NO_ARITHMETIC


def test_only_the_replay_knows_the_engine_and_nothing_knows_settlement() -> None:
    """D1, D2, M4 and M7 are about the engine that runs, so one module runs it; all else is worked out anew."""
    rooms = {
        file.name: {module for module, _ in imports(file) if module.startswith("services.")}
        for file in AUDIT.glob("*.py")
    }
    of_matching = {file for file, modules in rooms.items() if any(m.startswith("services.matching") for m in modules)}
    assert of_matching == {"run.py"}
    assert not [m for modules in rooms.values() for m in modules if m.startswith("services.settlement")]


def test_the_codec_that_it_shares_checks_nothing_for_it() -> None:
    """Chain and seq are compared by the auditor itself: `ChainReader` would stop at the first fault, and name none."""
    assert ("schemas.codec", "ChainReader") not in {pair for file in AUDIT.glob("*.py") for pair in imports(file)}
