"""What a look at a source gives, wherever the source is.

A place remembers what it saw last, so that what has not changed is not read again.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from schemas.units import Millis

BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one catalogue."""


class Document(Struct, frozen=True, kw_only=True):
    """A catalogue with news, or one that is seen for the first time."""

    name: str
    """`PollDone.source`."""
    catalogue: str
    label: str
    as_of_ms: Millis
    data: bytes


class Same(Struct, frozen=True):
    """It is there and has not changed."""

    name: str


class Unread(Struct, frozen=True):
    """It is there and cannot be read; its neighbours can."""

    name: str
    why: str


class BeingWritten(Struct, frozen=True):
    """It has changed just now: half of it would look like offers that are gone."""

    name: str


Finding = Document | Same | Unread | BeingWritten


class Away(Exception):
    """The source as a whole cannot be asked; nothing is known of what it lists."""

    def __init__(self, why: str, wanted_ms: Millis = 0) -> None:
        """`wanted_ms`: the pause that it asks for."""
        super().__init__(why)
        self.wanted_ms = wanted_ms


class Place(Protocol):
    """Where a source is."""

    async def look(self, now_ms: Millis) -> list[Finding]:
        """Every catalogue that is there now, by name. Raises Away."""
