"""Ends the processes of a program that died without ending them itself.

Runs as a process of its own, one per program that owns processes (`processes.py` starts it), and reads lines from
the owner on its standard input:

    own <process group> <signal that asks it to stop>
    free <process group>

When the input ends, or the parent changes, the owner is gone: every group still owned is asked to stop, and killed
when it has not done so by the deadline.

Not PR_SET_PDEATHSIG: that exists on Linux only, fires when the *thread* that started the child ends, reaches no
grandchildren, and cannot wait for an orderly stop. Imports nothing of the project, so that it starts in 10 ms.
"""

import os
import select
import signal
import sys
import time

STOP_S_MAX = 5.0
PARENT_CHECK_S = 0.5


def main() -> None:
    """Guards until the owner is gone, then ends what it left behind."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    owner = int(sys.argv[1])
    groups: dict[int, int] = {}
    unread = b""
    while True:
        # The parent is checked as well: a process forked from the owner may hold the other end of the pipe open. Then
        # what the owner has written is still to be read, since it may have died before this process began.
        owner_is_gone = os.getppid() != owner
        if not select.select([0], [], [], 0 if owner_is_gone else PARENT_CHECK_S)[0]:
            if owner_is_gone:
                break
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, unread = (unread + chunk).split(b"\n")
        for line in lines:
            word, group, *stop_signal = line.split()
            if word == b"own":
                groups[int(group)] = int(stop_signal[0])
            else:
                groups.pop(int(group), None)
    end(groups)


def end(groups: dict[int, int]) -> None:
    """Asks every group to stop, in the order in which they began; kills those that are there after STOP_S_MAX."""
    for group, stop_signal in groups.items():
        send(group, stop_signal)
    deadline = time.monotonic() + STOP_S_MAX
    while time.monotonic() < deadline and any(send(group, 0) for group in groups):
        time.sleep(0.02)
    for group in groups:
        send(group, signal.SIGKILL)


def send(group: int, number: int) -> bool:
    """Whether the group was there to receive it. Signal 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone, or (macOS) only a zombie is left
        return False
    return True


if __name__ == "__main__":
    main()
