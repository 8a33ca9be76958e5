"""HTTP inside the cluster: what the gateway passes on for members, whose account it names in the path.

Whoever asks shows a token that only gateways have. Refusals are a code and a sentence; the gateway makes problems of them.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from litestar import Litestar, Request, Response, get, patch, post
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody

from schemas import rental
from schemas.feeds import Unanswered
from schemas.router_key import HEADER, IDEMPOTENCY_HEADER, room_token
from services.router.previewing import Facts
from services.router.refusals import STATUS, Refused
from services.router.shell import Router

KEY_MAX: Final = 100


class Room:
    """The life that works now; none while this process waits for its lease."""

    def __init__(self, facts: Callable[[int, tuple[str, ...]], Awaitable[dict[str, Facts]]]) -> None:
        """`facts`: what a preview says of classes, by their ids, asked on behalf of an account."""
        self.life: Router | None = None
        self.facts = facts

    @property
    def now(self) -> Router:
        """Raises Refused."""
        if self.life is None or not self.life.ready:
            raise Refused("not_ready", "the router is starting: it reads the log from its beginning")
        return self.life


Wired = NamedDependency[Room]
Account = FromPath[int]
Number = FromPath[int]
Key = Annotated[str, HeaderParameter(name=IDEMPOTENCY_HEADER, min_length=1, max_length=KEY_MAX)]


@post("/accounts/{account:int}/rentals")
async def post_rental(
    room: Wired, account: Account, idempotency_key: Key, data: JSONBody[rental.RentalRequest]
) -> rental.RentalAnswer:
    """Begin one; the same again is the same one."""
    return await room.now.make(account, idempotency_key, data)


@post("/accounts/{account:int}/rentals/preview", status_code=200)
async def post_preview(
    room: Wired, account: Account, data: JSONBody[rental.RentalRequest]
) -> rental.RentalPreviewAnswer:
    """What it would do now."""
    room.now.check(data)
    return await room.now.preview(data, await room.facts(account, data.classes))


@get("/accounts/{account:int}/rentals")
async def get_rentals(room: Wired, account: Account) -> list[rental.RentalAnswer]:
    """An account's, the newest first."""
    return room.now.rentals(account)


@get("/accounts/{account:int}/rentals/{number:int}")
async def get_rental(room: Wired, account: Account, number: Number) -> rental.RentalAnswer:
    """One of them."""
    return room.now.rental(account, number)


@patch("/accounts/{account:int}/rentals/{number:int}")
async def patch_rental(
    room: Wired, account: Account, number: Number, data: JSONBody[rental.RentalChange]
) -> rental.RentalAnswer:
    """Other limits."""
    return await room.now.change(account, number, data)


@post("/accounts/{account:int}/rentals/{number:int}/stop", status_code=200)
async def post_stop(
    room: Wired, account: Account, number: Number, data: JSONBody[rental.RentalStop]
) -> rental.RentalAnswer:
    """Buy nothing more."""
    return await room.now.stop(account, number, data)


def build(room: Room, router_key: bytes) -> Litestar:
    """The ASGI application."""
    token: Final = room_token(router_key)

    async def provide_room() -> Room:
        return room

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not hmac.compare_digest(connection.headers.get(HEADER, ""), token):
            raise NotAuthorizedException("only gateways ask here")

    return Litestar(
        route_handlers=[post_rental, post_preview, get_rentals, get_rental, patch_rental, post_stop],
        dependencies={"room": Provide(provide_room)},
        guards=[guard],
        exception_handlers={Refused: _refused, HTTPException: _http},
        openapi_config=None,
        on_app_init=[_quiet],
    )


def _answer(code: str, detail: str, status: int) -> Response[bytes]:
    body = msgspec.json.encode(Unanswered(code=code, detail=detail))
    return Response(body, status_code=status, media_type="application/json")


def _refused(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    assert isinstance(error, Refused)
    return _answer(error.code, str(error), STATUS[error.code])


def _http(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    assert isinstance(error, HTTPException)
    return _answer("malformed" if error.status_code < 500 else "internal", _detail(error), error.status_code)


def _detail(error: HTTPException) -> str:
    faults = error.extra if isinstance(error.extra, list) else []
    said = "; ".join(
        f"{fault.get('key', '')}: {fault.get('message', '')}" for fault in faults if isinstance(fault, dict)
    )
    return said or str(error.detail)


def _quiet(config: AppConfig) -> AppConfig:
    """Faults are logged by the process, once."""
    config.logging_config = None
    return config
