"""From an order for the running hour to a shell: p95, in seconds.

One buyer, one order after the other: what he waits for is the order's acknowledgement, the room that places his title, the
agent that opens the machine, the exchange's own login, and his own. The agent runs on the same machine, driver `open`.

The parts in the JSON line are medians: `order` until it is acknowledged, `placed` until there is a lease, `opened` until the
exchange has logged in itself, `login` until the buyer has. The exchange's share is the first two; of `opened` the most is the
agent's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
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
LAST_MINUTE = 50
"""Later in an hour there may not be time enough in it for all."""


def ours(shells: int) -> None:
    with processes(Given.from_environment(), delivery=True) as (stack, supervisor):
        buyer, contract = furnish(stack, supervisor, shells)
        key = asyncssh.generate_private_key("ssh-ed25519")
        buyer.done("PUT", "/v1/launches/default", {"ssh_keys": [key.export_public_key().decode()]})
        took = [one(buyer, contract, key) for _ in range(shells)]
        leases = buyer.done("GET", "/v1/leases")
        assert len({lease["lease"] for lease in leases}) == shells
        assert all(lease["state"] == "open" for lease in leases)
    whole = sorted(sum(parts.values()) for parts in took)
    parts = {name: round(statistics.median(each[name] for each in took), 3) for name in took[0]}
    done(whole[-1 - len(whole) // 20], p50=round(statistics.median(whole), 3), parts=parts)


def furnish(stack: Stack, supervisor: Supervisor, seats: int) -> tuple[Caller, str]:
    """A provider whose machine has so many seats, all of them for sale in the running hour; a buyer, and the hour."""
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
    buyer = Caller(stack.http_port, account(operator, "buyer", "member"))
    until(lambda: buyer.ask("GET", "/v1/account")[0] == 200)
    buyer.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "100", "class": CLASS})
    return buyer, hour["contract"]


def one(buyer: Caller, contract: str, key: asyncssh.SSHKey) -> dict[str, float]:
    """Seconds of each part."""
    before = {lease["lease"] for lease in buyer.done("GET", "/v1/leases")}
    began = time.perf_counter()
    bought = buyer.order(
        contract=contract, side="buy", qty=1, price=PRICE, tif="ioc", client_order_id=f"b{len(before)}"
    )
    assert bought["filled"] == 1, bought
    ordered = time.perf_counter()
    new = wait(buyer, before, {"opening", "open"})
    placed = time.perf_counter()
    new = wait(buyer, before, {"open"})
    opened = time.perf_counter()
    asyncio.run(log_in(new, key))
    inside = time.perf_counter()
    return {"order": ordered - began, "placed": placed - ordered, "opened": opened - placed, "login": inside - opened}


def wait(buyer: Caller, before: set[str], states: set[str]) -> dict[str, Any]:
    """Until a lease that was not there before is in one of these states."""
    deadline = time.monotonic() + 60
    while True:
        for lease in buyer.done("GET", "/v1/leases"):
            if lease["lease"] not in before and lease["state"] in states:
                found: dict[str, Any] = lease
                return found
        assert time.monotonic() < deadline, "no lease within a minute"
        time.sleep(POLL_S)


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
