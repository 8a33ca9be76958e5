"""Numbers of `schemas`' enumerations that the engine compares for every order.

Pure. Literals, because a compiled build (`make compile`) takes those into its code; members of an enumeration it looks up.
"""

from __future__ import annotations

from typing import Final

from schemas.commands import Flag, Ground, Side, State, Tif
from schemas.events import Reason

BUY: Final = 1
SELL: Final = 2
assert (BUY, SELL) == (Side.BUY, Side.SELL)

GTC: Final = 1
GTD: Final = 2
IOC: Final = 3
FOK: Final = 4
assert (GTC, GTD, IOC, FOK) == (Tif.GTC, Tif.GTD, Tif.IOC, Tif.FOK)

POST_ONLY: Final = 1
RUNNING: Final = 2
CANCEL_OLDEST: Final = 4
assert (POST_ONLY, RUNNING, CANCEL_OLDEST) == (Flag.POST_ONLY, Flag.RUNNING, Flag.CANCEL_OLDEST)
AMENDED: Final = 256
"""The engine's own mark: it lost its place, so its id says nothing about it. No member's flag has this bit."""
assert all(flag < AMENDED for flag in Flag)

OPEN: Final = 1
OPENING: Final = 2
"""`State.POST_ONLY`; the flag of an order has that name here."""
CANCEL_ONLY: Final = 3
HALTED: Final = 4
assert (OPEN, OPENING, CANCEL_ONLY, HALTED) == (State.OPEN, State.POST_ONLY, State.CANCEL_ONLY, State.HALTED)

DECLARED: Final = 1
PROMISED: Final = 2
READY: Final = 3
assert (DECLARED, PROMISED, READY) == (Ground.DECLARED, Ground.PROMISED, Ground.READY)

ASKED: Final = 1
NOT_FILLED: Final = 2
"""`Reason.IOC`; the time in force has that name here."""
assert (ASKED, NOT_FILLED) == (Reason.ASKED, Reason.IOC)
