"""The HTTP server of a room, and how much of it a stranger may take. Behind TLS and limits by address: a proxy's work.

A connection costs one of `CONNECTIONS_MAX`, and 13 KiB, for as long as it is open, and it is open for nothing for `HEAD_S` at
most: before its first byte, in the middle of a request's head, and between two requests. How long a body may take is the
application's to say. A head has at most 100 headers and 400 KiB, a path 64 KiB.
"""

from __future__ import annotations

import resource
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

CONNECTIONS_MAX: Final = 4_000
"""Where the system allows so many files to a process."""
HEAD_S: Final = 30
_FILES_BESIDES: Final = 4_000
"""Of the process: broker, database, readers of a feed."""


def http_server(application: Any, address: str, port: int, *, head_s: int = HEAD_S) -> Server:  # noqa: ANN401 # Granian's own type for it
    """Serves an ASGI application in this process's event loop. `await .serve()`."""
    return Server(
        application,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        # The guess between HTTP/1 and 2 waits for the first bytes for ever, and a thousand who send none were all there is.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=head_s * 1_000),
        websockets=False,
        log_enabled=False,
        log_level=LogLevels.error,
        backpressure=_connections(),
        backlog=CONNECTIONS_MAX,
    )


def _connections() -> int:
    """As many as the system lets us have, up to `CONNECTIONS_MAX`: one more could not be told that it is."""
    files, allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    wanted = CONNECTIONS_MAX + _FILES_BESIDES
    if files < wanted:
        files = wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, allowed))
    return min(CONNECTIONS_MAX, files // 2)
