"""`python -m services.memory_broker PORT`: the broker on 127.0.0.1, until it is told to stop. It begins empty each time."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys

import uvloop

from services.memory_broker.server import serve


def main() -> None:
    """Exit code 0 when it was told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # that is how it is told to stop
        uvloop.run(serve("127.0.0.1", int(sys.argv[1])))


if __name__ == "__main__":
    main()
