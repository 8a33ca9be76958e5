"""Free ports on 127.0.0.1."""

import random
import socket
from typing import Final

_LISTENED: Final = range(10_000, 32_768)
"""Below the ports from which systems take those of outgoing connections: a server that is started again on its port must
not find a stranger's connection there."""
_TRIES_MAX: Final = 100


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now. Another process may take it before the caller does."""
    chosen = random.SystemRandom()
    for _ in range(_TRIES_MAX):
        port = chosen.choice(_LISTENED)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on 127.0.0.1 in {_TRIES_MAX} tries, from {_LISTENED.start} to {_LISTENED.stop - 1}")


def can_listen(port: int) -> bool:
    """Whether a server may have this port of 127.0.0.1 just now; connections that have ended do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
