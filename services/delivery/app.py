"""HTTP inside the cluster: what the gateway passes on for agents, providers and members, whose account it names in the path.

Whoever asks shows a token that only gateways have. Refusals are a code and a sentence; the gateway makes problems of them.
"""

from __future__ import annotations

from litestar import Litestar, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from schemas import agents, rental
from schemas.delivery_key import HEADER, room_token
from services.delivery import answers
from services.delivery.refusals import STATUS, Refused
from services.delivery.shell import Delivery
from services.runtime.http import room_app


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


@post("/accounts/{account:int}/named", status_code=200)
async def post_named(room: Wired, account: Account, data: JSONBody[rental.LaunchNaming]) -> dict[str, str]:
    """What an order is to begin with, before it is sent."""
    await room.now.name_launch(account, data)
    return {"named": data.launch}


@post("/accounts/{account:int}/foresee", status_code=200)
async def post_foresee(room: Wired, account: Account, data: JSONBody[rental.Foresight]) -> rental.ForesightAnswer:
    """What a purchase would bring, before anything is bought."""
    return rental.ForesightAnswer(handovers=await room.now.handovers(account, data))


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
    routes = [
        post_machine,
        post_heartbeat,
        delete_machine,
        put_maintenance,
        get_machines,
        put_launch,
        get_launches,
        post_named,
        post_foresee,
        get_leases,
        get_served,
    ]
    return room_app(routes, room, Refused, STATUS, shown=(HEADER, room_token(delivery_key)))
