"""What stands in for the world outside a sandbox. All of it is simulated, and nothing of it belongs into production.

    HOURBOOK_GATEWAY=http://127.0.0.1:8080 HOURBOOK_KEYS=var/cloud.keys python -m services.simulated cloud
    HOURBOOK_GATEWAY=http://127.0.0.1:8080 HOURBOOK_KEYS=var/demo.keys python -m services.simulated members
    HOURBOOK_GATEWAY=http://127.0.0.1:8080 HOURBOOK_KEYS=var/hosts.keys python -m services.simulated hosts

HOURBOOK_GATEWAY   the public API
HOURBOOK_KEYS      file with keys by name, each as POST /v1/keys answers it: `operator` for the cloud, and one of scopes read
                   and agent for each account that it simulates GPU machines for; for members one for
                   each, whose name says what it is: `demo-provider`, `demo-buyer`, `demo-trader`, another `demo-buyer-2`;
                   for hosts one for each, of any name
HOURBOOK_HOSTS_CLASS, HOURBOOK_HOSTS_SEATS   what the hosts' machines are let as, and how many shares each has
HOURBOOK_DEMO_ORDERS_PER_MINUTE   of all members together; default 120
HOURBOOK_DEMO_SEED                 what they do, and which hours are not wholly delivered, follows from it; default 1
Exits: 0 stopped, 1 fault, 78 settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from services.runtime.errors import BadSettings
from services.runtime.supervise import Service, run
from services.simulated.agents import Fleet
from services.simulated.client import BadKeys, Client, Key, read_keys
from services.simulated.cloud import Cloud
from services.simulated.hosts import Host, Hosts
from services.simulated.members import Member, Members
from services.simulated.minds import WEIGHTS, Kind

PER_MINUTE: Final = 120
PER_MINUTE_MAX: Final = 6_000
OPERATOR: Final = "operator"
PREFIX: Final = "demo-"


async def serve_cloud(service: Service) -> None:
    """One loop; and a machine is a task."""
    url, keys = read_place()
    if OPERATOR not in keys:
        raise BadSettings(f"HOURBOOK_KEYS has no key named {OPERATOR!r}")
    accounts = {name: key for name, key in keys.items() if name != OPERATOR}
    async with contextlib.AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(Client(url, key, service.clock)) for name, key in keys.items()}
        async with asyncio.TaskGroup() as tasks:
            fleets = [Fleet(clients[name], key.account, service.clock, seed(), tasks) for name, key in accounts.items()]
            await Cloud(clients[OPERATOR], service.clock, service.status, seed(), fleets).run()


async def serve_members(service: Service) -> None:
    """One connection a member, one loop over all."""
    url, keys = read_place()
    kinds = {name: kind_of(name) for name in keys}
    async with contextlib.AsyncExitStack() as stack:
        members = [
            Member(name, kind, await stack.enter_async_context(Client(url, keys[name], service.clock)), seed())
            for name, kind in kinds.items()
        ]
        if not members:
            raise BadSettings("HOURBOOK_KEYS has no keys")
        run_name = f"{service.clock.now_ms():x}"
        await Members(members, service.clock, service.status, seed=seed(), per_minute=per_minute(), run=run_name).run()


async def serve_hosts(service: Service) -> None:
    """One connection a host, one loop over all."""
    url, keys = read_place()
    class_id, seats = (os.environ.get(f"HOURBOOK_HOSTS_{name}", "") for name in ("CLASS", "SEATS"))
    if not class_id or not seats.isdigit():
        raise BadSettings("HOURBOOK_HOSTS_CLASS and HOURBOOK_HOSTS_SEATS say what the hosts sell, and how much of it")
    async with contextlib.AsyncExitStack() as stack:
        hosts = [
            Host(name, class_id, int(seats), number, await stack.enter_async_context(Client(url, key, service.clock)))
            for number, (name, key) in enumerate(sorted(keys.items()))
        ]
        await Hosts(hosts, service.clock, service.status).run()


def read_place() -> tuple[str, dict[str, Key]]:
    """Gateway and keys. Raises BadSettings."""
    url, file = (os.environ.get(name, "") for name in ("HOURBOOK_GATEWAY", "HOURBOOK_KEYS"))
    if not url.startswith(("http://", "https://")):
        raise BadSettings(f"HOURBOOK_GATEWAY is {url!r}, wanted is the gateway's address, http://host:port")
    if not file:
        raise BadSettings("HOURBOOK_KEYS is not set: it names a file with keys by name")
    try:
        return url, read_keys(Path(file))
    except BadKeys as error:
        raise BadSettings(str(error)) from error


def kind_of(name: str) -> Kind:
    """`demo-buyer-2` is a buyer. Raises BadSettings."""
    word = name.removeprefix(PREFIX).partition("-")[0]
    for kind in WEIGHTS:
        if name.startswith(PREFIX) and word == kind:
            return kind
    raise BadSettings(
        f"{name!r} is no demo member: their names begin with {' or '.join(PREFIX + kind for kind in WEIGHTS)}"
    )


def per_minute() -> int:
    """Raises BadSettings."""
    text = os.environ.get("HOURBOOK_DEMO_ORDERS_PER_MINUTE", "") or str(PER_MINUTE)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PER_MINUTE_MAX:
        raise BadSettings(f"HOURBOOK_DEMO_ORDERS_PER_MINUTE is {text!r}, wanted is a number from 1 to {PER_MINUTE_MAX}")
    return int(text)


def seed() -> str:
    """Any text."""
    return os.environ.get("HOURBOOK_DEMO_SEED", "") or "1"


ROLES: Final = {"cloud": serve_cloud, "members": serve_members, "hosts": serve_hosts}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:
        sys.stderr.write(f"settings: say which of {', '.join(ROLES)} is to run\n")
        sys.exit(os.EX_CONFIG)
    sys.exit(run(f"simulated-{sys.argv[1]}", ROLES[sys.argv[1]]))
