"""HTTP inside the cluster: what the gateway passes on for members, whose account it names in the path.

Whoever asks shows a token that only gateways have. Refusals are a code and a sentence; the gateway makes problems of them.
"""

from __future__ import annotations

from typing import Annotated, Final

from litestar import Litestar, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody

from schemas import rental
from schemas.router_key import HEADER, IDEMPOTENCY_HEADER, room_token
from services.router.refusals import STATUS, Refused
from services.router.shell import Router
from services.runtime.http import room_app

KEY_MAX: Final = 100


class Room:
    """The life that works now; none while this process waits for its lease."""

    def __init__(self) -> None:
        self.life: Router | None = None

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
    del account  # what a rental would buy is the same for everybody
    return await room.now.preview(data)


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
    routes = [post_rental, post_preview, get_rentals, get_rental, patch_rental, post_stop]
    return room_app(routes, room, Refused, STATUS, shown=(HEADER, room_token(router_key)))
