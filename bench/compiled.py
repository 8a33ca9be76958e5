"""The build of `make compile`: how a side is started on it, and whether it is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
BUILD = CHECKOUT / "var" / "compiled"


def missing() -> str:
    """Why there is nothing to measure; empty: there is."""
    built = [file.stat().st_mtime for file in BUILD.rglob("*.so")]
    if not built:
        return "not built: `make compile` builds it"
    newest = max(
        file.stat().st_mtime for room in ("schemas", "services/matching") for file in (CHECKOUT / room).glob("*.py")
    )
    return "older than its sources: `make compile` builds it again" if newest > min(built) else ""


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For a process that finds the compiled modules before their sources. Raises SystemExit where they are not there."""
    if reason := missing():
        raise SystemExit(f"var/compiled is {reason}")
    return {**given, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{BUILD}{os.pathsep}{CHECKOUT}"}


def is_compiled() -> bool:
    """Whether this process runs compiled modules."""
    from services.matching import engine

    return not str(engine.__file__).endswith(".py")
