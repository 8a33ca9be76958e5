"""The HTTP server of a room, and how much of it a stranger may take. Behind TLS and limits by address: a proxy's work.

A connection costs one of `CONNECTIONS_MAX`, and 13 KiB, for as long as it is open, and it is open for nothing for `HEAD_S` at
most: before its first byte, in the middle of a request's head, and between two requests. How long a body may take is the
application's to say. A head has at most 100 headers and 400 KiB, a path 64 KiB.

`room_app` is the application of a room that gateways ask inside the cluster.
"""

from __future__ import annotations

import hmac
import resource
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, Request, Response
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler

from schemas.feeds import Unanswered

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


# --- Rooms that gateways ask ---------------------------------------------------------------------------------


def room_app(
    routes: Sequence[Any],
    room: Any,  # noqa: ANN401 # each room's own
    refused: type[Exception],
    statuses: Mapping[str, int],
    *,
    shown: tuple[str, str] | None = None,
) -> Litestar:
    """The ASGI application of a room, whose handlers are given `room`. What it does not answer is `Unanswered`.

    `refused` is raised with a `code`, which has its status in `statuses`. `shown`: a header and the token that gateways show
    in it; None: whoever reaches the room may ask.
    """

    async def provide_room() -> Any:  # noqa: ANN401 # likewise
        return room

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if shown is not None and not hmac.compare_digest(connection.headers.get(shown[0], ""), shown[1]):
            raise NotAuthorizedException("only gateways ask here")

    def refuse(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        code: str = error.code  # type: ignore[attr-defined]  # as `refused` is said to have
        return _unanswered(code, str(error), statuses[code])

    return Litestar(
        route_handlers=routes,
        dependencies={"room": Provide(provide_room)},
        guards=[guard],
        exception_handlers={refused: refuse, HTTPException: _fault},
        openapi_config=None,
        on_app_init=[quiet],
    )


def quiet(config: AppConfig) -> AppConfig:
    """Faults are logged by the process, once; Litestar's own logging would print bodies of failed requests."""
    config.logging_config = None
    return config


def _unanswered(code: str, detail: str, status: int) -> Response[bytes]:
    body = msgspec.json.encode(Unanswered(code=code, detail=detail))
    return Response(body, status_code=status, media_type="application/json")


def _fault(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "malformed" if error.status_code < 500 else "internal")
    return _unanswered(code, _said(error), error.status_code)


def _said(error: HTTPException) -> str:
    """Of a body or query that does not decode: what is wrong with which field."""
    faults = error.extra if isinstance(error.extra, list) else []
    said = (f"{fault.get('key', '')}: {fault.get('message', '')}" for fault in faults if isinstance(fault, dict))
    return "; ".join(said) or str(error.detail)
