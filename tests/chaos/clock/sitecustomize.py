"""The wall clock of one process under attack: Python imports this first where `HOURBOOK_CHAOS_CLOCK` names a file of eight bytes.

They are how many nanoseconds it is wrong by, signed, and may change while it runs. Only tests put this folder on a path; what
sleeps and measures durations goes by the monotonic clock, which nobody shifts.
"""

import mmap
import os
import struct
import time

if file := os.environ.get("HOURBOOK_CHAOS_CLOCK"):
    with open(file, "rb") as shift:  # noqa: PTH123 # imported before everything else: the less it needs the better
        _wrong_by = mmap.mmap(shift.fileno(), 8, prot=mmap.PROT_READ)
    _true_ns = time.time_ns

    def _time_ns() -> int:
        return _true_ns() + struct.unpack("q", _wrong_by)[0]

    def _time() -> float:
        return _time_ns() / 1e9

    time.time_ns, time.time = _time_ns, _time
