"""From a rental that begins now to a shell: p95, in seconds.

One tenant, one rental after the other: what he waits for is the rental's acknowledgement, the router's order, the room that
places his title, the agent that opens the machine, the exchange's own login, and his own. The agent runs on the same machine,
driver `open`.

The parts in the JSON line are medians: `rented` until the rental is acknowledged, `bought` until it has its hour, `placed` until
there is a lease, `opened` until the exchange has logged in itself, `login` until the tenant has. The exchange's share is the
first three; of `opened` the most is the agent's.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import asyncssh
import msgspec

from bench.measure import done, options, report, run_side
from bench.order_ack import Caller, account, first_operator, processes, until
from bench.servers import Given, servers
from schemas.http import NewKeyAnswer
from schemas.specifications import published
from services.cli import profile
from services.cli.stack import Stack
from services.runtime.infra import Supervisor

CLASS = "CPU.X86.LOCAL.UNV"
SHELLS = 24
PRICE = "0.05"
POLL_S = 0.02
PARTS = ("rented", "bought", "placed", "opened", "login")
LAST_MINUTE = 50
"""Later in an hour there may not be time enough in it for all."""


def ours(shells: int) -> None:
    with processes(Given.from_environment(), feed=True, delivery=True, router=True) as (stack, supervisor):
        tenant = furnish(stack, supervisor, shells)
        key = asyncssh.generate_private_key("ssh-ed25519")
        tenant.done("PUT", "/v1/launches/default", {"ssh_keys": [key.export_public_key().decode()]})
        took = [one(tenant, key) for _ in range(shells)]
        leases = tenant.done("GET", "/v1/leases")
        assert len({lease["lease"] for lease in leases}) == shells
        assert all(lease["state"] == "open" for lease in leases)
    whole = sorted(sum(parts.values()) for parts in took)
    parts = {name: round(statistics.median(each[name] for each in took), 3) for name in took[0]}
    done(whole[-1 - len(whole) // 20], p50=round(statistics.median(whole), 3), parts=parts)


def furnish(stack: Stack, supervisor: Supervisor, seats: int) -> Caller:
    """A provider whose machine has so many seats, all of them for sale in the running hour; a tenant."""
    operator = Caller(stack.http_port, first_operator(stack))
    operator.done("POST", "/v1/admin/classes", {"shard": 0, "specification": published()[CLASS].decode()})
    carl = operator.done("POST", "/v1/admin/accounts", {"name": "carl", "role": "provider"})["account"]
    asked = {"account": carl, "scopes": ["read", "trade", "supply", "agent"]}
    issued = operator.done("POST", "/v1/admin/keys", asked)
    file = stack.home / "carl.json"
    profile.save(file, profile.Profile(stack.url, msgspec.convert(issued, NewKeyAnswer)))
    provider = Caller(stack.http_port, issued["bearer"])
    until(lambda: provider.ask("GET", "/v1/account")[0] == 200)
    supervisor.start(stack.agent("box", file, CLASS, seats))
    until(lambda: provider.done("GET", "/v1/machines") != [], supervisor)
    hours = operator.done("GET", f"/v1/contracts?class={CLASS}")
    hour = next(hour for hour in hours if hour["phase"] == "running")
    back = {"class": CLASS, "from": hour["hour"], "hours": 1, "ground": "ready", "qty": seats, "version": 1}
    provider.done("PUT", "/v1/capacity", back)
    provider.order(contract=hour["contract"], side="sell", qty=seats, price=PRICE, running=True, client_order_id="ask")
    tenant = Caller(stack.http_port, account(operator, "tenant", "member"))
    until(lambda: tenant.ask("GET", "/v1/account")[0] == 200)
    tenant.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "100", "class": CLASS})
    return tenant


def one(tenant: Caller, key: asyncssh.SSHKey) -> dict[str, float]:
    """Seconds of each part."""
    before = {lease["lease"] for lease in tenant.done("GET", "/v1/leases")}
    wanted = {"classes": [CLASS], "gpus": 1, "max_price": PRICE, "hours": 1, "look_ahead": 1}
    moments = [time.perf_counter()]
    rental = tenant.done("POST", "/v1/rentals", wanted)
    moments.append(time.perf_counter())
    wait(tenant, f"/v1/rentals/{rental['rental']}", lambda told: told["state"] == "running")
    moments.append(time.perf_counter())
    for states in ({"opening", "open"}, {"open"}):
        leases = wait(
            tenant, "/v1/leases", lambda told, states=states: any(is_new(each, before, states) for each in told)
        )
        moments.append(time.perf_counter())
    lease = next(each for each in leases if is_new(each, before, {"open"}))
    asyncio.run(log_in(lease, key))
    moments.append(time.perf_counter())
    took = (after - earlier for earlier, after in itertools.pairwise(moments))
    return dict(zip(PARTS, took, strict=True))


def is_new(lease: dict[str, Any], before: set[str], states: set[str]) -> bool:
    return lease["lease"] not in before and lease["state"] in states


def wait(tenant: Caller, path: str, come: Callable[[Any], bool]) -> Any:  # noqa: ANN401 # whatever the route answers
    """The answer that `come` waits for."""
    deadline = time.monotonic() + 60
    while not come(told := tenant.done("GET", path)):
        assert time.monotonic() < deadline, f"a minute has passed: {told}"
        time.sleep(POLL_S)
    return told


async def log_in(lease: dict[str, Any], key: asyncssh.SSHKey) -> None:
    known = asyncssh.import_known_hosts(f"[{lease['host']}]:{lease['port']} {lease['host_key']}\n")
    async with asyncssh.connect(
        lease["host"], lease["port"], username=lease["user"], client_keys=[key], known_hosts=known, config=None,
        agent_path=None,
    ) as connection:  # fmt: skip
        answer = await connection.run("echo here", check=True)
        assert str(answer.stdout).strip() == "here"


def finish(given: argparse.Namespace) -> None:
    while time.gmtime().tm_min > LAST_MINUTE:  # an hour that is nearly over is not sold
        time.sleep(5)
    with servers() as there:
        run = run_side("time_to_shell", "ours", *given.passed_on, env=there.environment())
    report(
        "time_to_shell", "s", [run], [], more_is_better=False, p50=run["p50"], parts=run["parts"], shells=given.shells
    )


def main() -> None:
    given = options(__doc__, rounds=1, shells=SHELLS)
    if given.side:
        ours(given.shells)
    else:
        finish(given)


if __name__ == "__main__":
    main()
