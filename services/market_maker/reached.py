"""Each limit as it stands: its bound, how far it is, whether it holds the desk back just now, and since when. Pure.

The names are those of limits.toml, and with them the units.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from schemas.units import Millis


class Stand(Struct, frozen=True, kw_only=True):
    """One limit, at one moment."""

    name: str
    what: str
    """That is limited, for people."""
    bound: int
    stands: int
    why: str = ""
    """What it forbids, and why; empty: it is not reached."""


class Watch:
    """Since when each limit is reached."""

    def __init__(self) -> None:
        self._since: dict[str, Millis] = {}

    def look(self, stands: Iterable[Stand], now_ms: Millis) -> list[tuple[Stand, bool]]:
        """What is different from before: (the limit, whether it is reached now)."""
        changed = []
        for each in stands:
            if bool(each.why) == (each.name in self._since):
                continue
            if each.why:
                self._since[each.name] = now_ms
            else:
                del self._since[each.name]
            changed.append((each, bool(each.why)))
        return changed

    def since_ms(self, name: str) -> Millis:
        """0: it is not reached."""
        return self._since.get(name, 0)
