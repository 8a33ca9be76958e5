"""Machines: agents that speak for them, providers who own them, tenants who are let in."""

from __future__ import annotations

from typing import Annotated, Final

from litestar import delete, get, post, put
from litestar.params import JSONBody, PathParameter

from schemas import agents, rental
from services.gateway.wiring import Known, Wired, member

Machine = Annotated[str, PathParameter(pattern=agents.MACHINE_PATTERN)]
Launch = Annotated[str, PathParameter(pattern=rental.LAUNCH_NAME)]


@post("/v1/machines", status_code=200)
async def post_machine(gateway: Wired, caller: Known, data: JSONBody[agents.Enrolment]) -> agents.Enrolled:
    """A machine is here; again, when anything of it has changed."""
    return await gateway.delivery.of(member(caller, "agent"), "POST", "machines", agents.Enrolled, data)


@post("/v1/machines/{machine:str}/heartbeats", status_code=200)
async def post_heartbeat(
    gateway: Wired, caller: Known, machine: Machine, data: JSONBody[agents.Heartbeat]
) -> agents.HeartbeatAnswer:
    """An agent is alive; the answer says what it is to do, and comes after some seconds where nothing is new."""
    path = f"machines/{machine}/heartbeats"
    return await gateway.delivery.of(member(caller, "agent"), "POST", path, agents.HeartbeatAnswer, data)


@get("/v1/machines")
async def get_machines(gateway: Wired, caller: Known) -> list[rental.MachineAnswer]:
    """A provider's own, with who is alive and what is let."""
    return await gateway.delivery.of(member(caller, "read"), "GET", "machines", list[rental.MachineAnswer])


@delete("/v1/machines/{machine:str}", status_code=200)
async def delete_machine(gateway: Wired, caller: Known, machine: Machine) -> dict[str, str]:
    """Give nothing more to it: what it has runs to its end."""
    return await gateway.delivery.of(member(caller, "supply"), "DELETE", f"machines/{machine}", dict[str, str])


@put("/v1/machines/{machine:str}/maintenance")
async def put_maintenance(
    gateway: Wired, caller: Known, machine: Machine, data: JSONBody[rental.MaintenanceRequest]
) -> rental.MachineAnswer:
    """Give it to nobody in these hours: whoever has it then has it until they begin, and what is owed stays owed."""
    path = f"machines/{machine}/maintenance"
    (answer,) = await gateway.delivery.of(member(caller, "supply"), "PUT", path, list[rental.MachineAnswer], data)
    return answer


@get("/v1/leases")
async def get_leases(gateway: Wired, caller: Known) -> list[rental.LeaseAnswer]:
    """The account's machines: how to log in, and until when. Those of hours that are not counted yet are there as well."""
    return await gateway.delivery.of(member(caller, "read"), "GET", "leases", list[rental.LeaseAnswer])


@get("/v1/launches")
async def get_launches(gateway: Wired, caller: Known) -> list[rental.LaunchAnswer]:
    """The account's launch specifications."""
    return await gateway.delivery.of(member(caller, "read"), "GET", "launches", list[rental.LaunchAnswer])


@put("/v1/launches/{name:str}")
async def put_launch(
    gateway: Wired, caller: Known, name: Launch, data: JSONBody[rental.LaunchRequest]
) -> list[rental.LaunchAnswer]:
    """What the account wants to find on its machines; `default` is for whoever names none."""
    path = f"launches/{name}"
    return await gateway.delivery.of(member(caller, "trade"), "PUT", path, list[rental.LaunchAnswer], data)


@get("/v1/admin/served")
async def get_served(gateway: Wired, caller: Known) -> list[str]:
    """Classes whose hours are delivered by machines that the exchange logs in to, and by nobody's word."""
    caller.require("operator")
    return await gateway.delivery.served()


ROUTES: Final = [
    post_machine,
    post_heartbeat,
    get_machines,
    delete_machine,
    put_maintenance,
    get_leases,
    get_launches,
    put_launch,
    get_served,
]
