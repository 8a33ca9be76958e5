"""HTTP inside the cluster: what the gateway passes on for agents, providers and members, whose account it names in the path.

Whoever asks shows a token that only gateways have. Refusals are a code and a sentence; the gateway makes problems of them.
"""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response, delete, get, post, put
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from schemas import agents, rental
from schemas.delivery_key import HEADER, room_token
from schemas.feeds import Unanswered
from services.delivery import answers
from services.delivery.refusals import STATUS, Refused
from services.delivery.shell import Delivery


class Room:
    """The life that works now; none while this process waits for its lease."""

    def __init__(self) -> None:
        self.life: Delivery | None = None

    @property
    def now(self) -> Delivery:
        """Raises Refused."""
        if self.life is None or not self.life.ready:
            raise Refused("not_ready", "delivery is starting: it reads the log from its beginning")
        return self.life


Wired = NamedDependency[Room]
Account = FromPath[int]
Name = FromPath[str]


@post("/accounts/{account:int}/machines")
async def post_machine(room: Wired, account: Account, data: JSONBody[agents.Enrolment]) -> agents.Enrolled:
    """Enrol."""
    return await room.now.enrol(account, data)


@post("/accounts/{account:int}/machines/{machine:str}/heartbeats", status_code=200)
async def post_heartbeat(
    room: Wired, account: Account, machine: Name, data: JSONBody[agents.Heartbeat]
) -> agents.HeartbeatAnswer:
    """Alive; and what is to be done."""
    return await room.now.beat(account, machine, data)


@delete("/accounts/{account:int}/machines/{machine:str}", status_code=200)
async def delete_machine(room: Wired, account: Account, machine: Name) -> dict[str, str]:
    """Retire."""
    await room.now.retire(account, machine)
    return {"retired": machine}


@put("/accounts/{account:int}/machines/{machine:str}/maintenance")
async def put_maintenance(
    room: Wired, account: Account, machine: Name, data: JSONBody[rental.MaintenanceRequest]
) -> list[rental.MachineAnswer]:
    """Hours in which it is given to nobody."""
    await room.now.maintain(account, machine, data)
    return [each for each in room.now.machines(account) if each.machine == machine]


@get("/accounts/{account:int}/machines")
async def get_machines(room: Wired, account: Account) -> list[rental.MachineAnswer]:
    """A provider's."""
    return room.now.machines(account)


@put("/accounts/{account:int}/launches/{name:str}")
async def put_launch(
    room: Wired, account: Account, name: Name, data: JSONBody[rental.LaunchRequest]
) -> list[rental.LaunchAnswer]:
    """What is to be found on the account's machines."""
    await room.now.put_launch(account, name, data)
    return answers.launches(room.now.state, account)


@get("/accounts/{account:int}/launches")
async def get_launches(room: Wired, account: Account) -> list[rental.LaunchAnswer]:
    """By name."""
    return answers.launches(room.now.state, account)


@get("/accounts/{account:int}/leases")
async def get_leases(room: Wired, account: Account) -> list[rental.LeaseAnswer]:
    """A tenant's."""
    return room.now.leases(account)


@get("/served")
async def get_served(room: Wired) -> list[str]:
    """Classes whose hours are delivered by machines, and by nobody's word."""
    return room.now.served()


def build(room: Room, delivery_key: bytes) -> Litestar:
    """The ASGI application."""
    token: Final = room_token(delivery_key)

    async def provide_room() -> Room:
        return room

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not hmac.compare_digest(connection.headers.get(HEADER, ""), token):
            raise NotAuthorizedException("only gateways ask here")

    return Litestar(
        route_handlers=[
            post_machine,
            post_heartbeat,
            delete_machine,
            put_maintenance,
            get_machines,
            put_launch,
            get_launches,
            get_leases,
            get_served,
        ],
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
    return _answer("malformed" if error.status_code < 500 else "internal", str(error.detail), error.status_code)


def _quiet(config: AppConfig) -> AppConfig:
    """Faults are logged by the process, once."""
    config.logging_config = None
    return config
