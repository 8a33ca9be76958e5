"""What random days can reach, and must: commands, events, codes by where they come from, reasons; and the line that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, get_args

from schemas.commands import Command
from schemas.events import Code, Event, Reason

COMMANDS: Final = {kind.__name__ for kind in get_args(Command)}
EVENTS: Final = {kind.__name__ for kind in get_args(Event)}
REASONS: Final = {f"cancelled: {reason.name.lower()}" for reason in Reason}


def _codes(where: str, *codes: Code) -> set[str]:
    return {f"{where}: {code.name.lower()}" for code in codes}


CODES: Final = (
    _codes(
        "rejected",
        *(Code.NOT_OFFERED_YET, Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.HALTED, Code.WRONG_TIF, Code.WRONG_FLAGS),
        *(Code.WRONG_QTY, Code.WRONG_PRICE, Code.OUTSIDE_COLLAR, Code.INSUFFICIENT_FUNDS, Code.INSUFFICIENT_BACKING),
        *(Code.DUPLICATE_CLIENT_ID, Code.TOO_LATE, Code.WRONG_VALIDITY, Code.WOULD_TRADE, Code.CANNOT_FILL),
        *(Code.UNKNOWN_ORDER, Code.WRONG_ROLE, Code.WRONG_HOURS, Code.WRONG_EXPIRY, Code.WRONG_REFERENCE),
        *(Code.STALE_NUMBER, Code.UNKNOWN_TRADE),
    )
    | _codes(
        "settlement rejected",
        *(Code.NOT_OFFERED_YET, Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.STALE_VERSION, Code.WRONG_ROLE),
        Code.WRONG_COLLATERAL,
    )
    | _codes(
        "leg",
        *(Code.UNKNOWN_CONTRACT, Code.WRONG_PHASE, Code.HALTED, Code.WRONG_TIF, Code.OUTSIDE_COLLAR),
        *(Code.INSUFFICIENT_BACKING, Code.WOULD_TRADE, Code.CANNOT_FILL, Code.WRONG_EXPIRY),
    )
    | _codes(
        "quote",
        *(Code.WRONG_PHASE, Code.HALTED, Code.OUTSIDE_COLLAR, Code.INSUFFICIENT_BACKING, Code.WOULD_TRADE),
    )
)
"""Where a code may come from. Others need an input that no gateway lets through (the reference engine's days have them)."""
FEATS: Final = {
    *("amended anew", "amended in its place", "block traded at once", "block traded while it waited", "bought back"),
    *("bought back his own", "bought in", "cut of promised", "cut of ready", "dated order accepted"),
    *("running ask accepted", "owed as ready", "owed as promised", "owed as declared", "opened", "reopened", "resold"),
    *("sold short", "traded with a quote", "backed as ready", "Procure done", "EngineVersionSet 2", "ShardStarted 1"),
}
ALL: Final = {f"command {name}" for name in COMMANDS} | EVENTS | REASONS | CODES | FEATS


def coverage(happened: Mapping[str, int]) -> str:
    """One line: how much of everything a run has reached, and what not."""
    groups = {
        "commands": {f"command {name}" for name in COMMANDS},
        "events": EVENTS,
        "codes": CODES,
        "reasons": REASONS,
        "feats": FEATS,
    }
    shares = ", ".join(
        f"{sum(happened.get(name, 0) > 0 for name in names)}/{len(names)} {group}" for group, names in groups.items()
    )
    return f"reached {shares}; not: {', '.join(missing(happened)) or 'nothing'}"


def missing(happened: Mapping[str, int]) -> list[str]:
    """What was not reached."""
    return sorted(name for name in ALL if not happened.get(name, 0))


def commands_of(frames: Mapping[int, object]) -> Counter[str]:
    """Commands that stand in a shard's log, by kind."""
    found: Counter[str] = Counter()
    for frame in frames.values():
        found.update(f"command {type(each).__name__}" for each in getattr(frame, "commands", ()))
    return found
