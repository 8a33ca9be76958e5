r"""What a process has done of late, for whoever looks at its `/status` now and then: the newest lines, numbered.

    news = "41 simulated cloud: delivered ...\n42 simulated cloud: procured ..."

A reader keeps the highest number that it has seen; numbers begin anew with each start of the process.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from services.runtime.status import Status

KEPT: Final = 20


class News:
    """The key `news`."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._told = 0
        self._lines: deque[str] = deque(maxlen=KEPT)

    def tell(self, text: str) -> None:
        """One line more."""
        self._told += 1
        self._lines.append(f"{self._told} {' '.join(text.split())}")
        self._status.set(news="\n".join(self._lines))
