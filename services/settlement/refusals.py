"""What comes from outside and has no place to go: noted, with its code. And what a column can hold at all. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from schemas.units import Millis
from services.settlement import rows

if TYPE_CHECKING:
    from services.settlement.state import State

NUMBER_MAX: Final = 2**63 - 1
"""A record can carry integers that no column takes: they are refused before anything is written."""
_DETAIL_MAX: Final = 1000
_TEXT = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")


def is_text(text: str, low: int, high: int) -> bool:
    """`low` to `high` characters, none of them a control character (a database takes no NUL)."""
    return low <= len(text) <= high and _TEXT.fullmatch(text) is not None


def refuse(state: State, source: int, offset: int, what: str, code: str, detail: str, time_ms: Millis) -> None:
    """Note a record that changed nothing: `detail` is shown to an operator."""
    refusal = rows.Refusal(source, offset, what, code, printable(detail), time_ms)
    state.changes.refusals.create((source, offset, what), refusal)


def printable(text: str) -> str:
    """Anybody's words, as far as a column takes them."""
    return "".join(character if character.isprintable() else "?" for character in text[:_DETAIL_MAX])
