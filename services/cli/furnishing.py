"""An exchange that is new on this machine: its topics and services, then classes, accounts, simulated money and keys.

Whatever is called again completes what is missing, and opens and books nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import httpx
import msgspec

from schemas import http
from schemas.specifications import published
from services.cli import profile
from services.cli.client import Client
from services.cli.errors import Refused
from services.cli.files import write_private
from services.cli.keeper import Keeper
from services.cli.stack import Stack, key_answer
from services.runtime.errors import Halt
from services.runtime.infra import Program

READY_S: Final = 60.0
MEMBER_USD: Final = "10000"
BOT_USD: Final = "10000"
DESK_USD: Final = "3000000"
DEMO: Final = (
    ("demo-provider", "provider", "1000"),
    ("demo-buyer", "member", "2000000"),
    ("demo-trader", "member", "2000000"),
)
"""Members of a sandbox who trade by themselves: name, role, simulated USD."""
HOSTS: Final = ("host-a", "host-b")
HOST_CLASS: Final = "CPU.X86.LOCAL.UNV"
HOST_SEATS: Final = 4
HOST_USD: Final = "100"
CLOUD_OWNER: Final = (1 << 40) + 1
"""Not the first operator's: two operators of different owners are two."""
CLOUD: Final = "simulated-cloud"
CLOUD_KEYS: Final = "cloud.keys"
OPERATOR_FILE: Final = "operator.json"
MEMBER_FILE: Final = "member.json"

Say = Callable[[str], None]
Owing = tuple[str, str, str]
"""Name, role, simulated USD."""


def begin(
    stack: Stack, keeper: Keeper, say: Say, *, sandbox: bool, cloud: bool = True, demo: bool = False, rate: int = 1
) -> None:
    """Topics, services, the first key, and on a new exchange its furniture. Raises CliError.

    With `cloud` a simulated one, which procures and delivers; with `demo` members who trade by themselves. A sandbox that
    delivers has two machines as well, with agents that let tenants in. `rate`: seconds of the market in one of ours.
    Interrupted anywhere, it completes what is missing when called again.
    """
    try:
        asyncio.run(stack.create(sandbox=sandbox, rate=rate))
        say(f"{stack.shards} shards are started")
    except Halt as error:
        say(f"the log is as it was left ({error})")
    _follow_address(stack)
    stack.start(keeper.supervisor)
    file = stack.home / OPERATOR_FILE
    if not file.exists():
        issued = asyncio.run(stack.first_operator_key())
        profile.save(file, profile.Profile(stack.url, key_answer(issued)))
    desk_key = stack.home / "desk.key"
    if not (stack.home / MEMBER_FILE).exists() or not desk_key.exists():
        wait_until_open(stack, keeper)
        say(f"the gateway answers at {stack.url}")
        with contextlib.closing(operator_of(file)) as operator:
            furnish(stack, operator, say)
    keeper.supervisor.start(stack.supply())
    keeper.supervisor.start(stack.desk(desk_key))
    if cloud:
        if not (keys := stack.home / CLOUD_KEYS).exists():
            wait_until_open(stack, keeper)
            with contextlib.closing(operator_of(file)) as operator:
                write_cloud_keys(keys, operator, _owing(demo) if sandbox and stack.delivery_port else ())
        keeper.supervisor.start(stack.cloud(keys))
        say(f"{CLOUD} procures what market makers sell, and delivers")
    if sandbox and stack.delivery_port:
        with contextlib.closing(operator_of(file)) as operator:
            for program in host_programs(stack, operator, say):
                keeper.supervisor.start(program)
    if demo:
        with contextlib.closing(operator_of(file)) as operator:
            keeper.supervisor.start(stack.demo_members(demo_keys(stack, operator, say)))


def _follow_address(stack: Stack) -> None:
    """A copy has ports of its own: keys that named the original's address would trade there."""
    for file in (stack.home / name for name in (OPERATOR_FILE, MEMBER_FILE, profile.BOT)):
        if file.exists():
            kept = msgspec.json.decode(file.read_bytes(), type=profile.Profile)
            if kept.url != stack.url:
                profile.save(file, profile.Profile(stack.url, kept.key))


def operator_of(file: Path) -> Client:
    """A client with the first operator's key."""
    return Client(msgspec.json.decode(file.read_bytes(), type=profile.Profile))


def furnish(stack: Stack, operator: Client, say: Say) -> None:
    """A new exchange's classes, accounts and keys. Called again, it opens and books nothing twice."""
    # The class for trying out comes last: it moves no other to another shard.
    for number, (class_id, text) in enumerate(sorted(published().items(), key=lambda each: each[0] == HOST_CLASS)):
        body = http.ClassRequest(shard=number % stack.shards, specification=text.decode())
        operator.settle("POST", "/v1/admin/classes", body, key=f"start-{class_id}")
        say(f"listed {class_id} in shard {number % stack.shards}")
    for name, role, usd, scopes in (
        ("member", "member", MEMBER_USD, ("read", "trade")),
        ("desk", "market_maker", DESK_USD, ("read", "trade", "supply")),
        ("bot", "market_maker", BOT_USD, ("read", "trade", "supply")),
    ):
        issued = open_account(operator, name, role, usd, scopes, desk=name == "desk")
        if name == "desk":
            write_private(stack.home / "desk.key", msgspec.json.encode(issued))
        else:
            file = profile.BOT if name == "bot" else MEMBER_FILE
            profile.save(stack.home / file, profile.Profile(stack.url, issued))
        say(f"account {issued.key.account} ({name}) has {usd} USD from the simulated faucet")


def open_account(
    operator: Client, name: str, role: str, usd: str, scopes: tuple[str, ...], *, desk: bool = False
) -> http.NewKeyAnswer:
    """An account with simulated money, and a key of it. Called again, it opens and books nothing twice."""
    opened = http.AccountRequest(name=name, role=role, desk=desk)  # type: ignore[arg-type]  # one of the literals
    answer = operator.settle("POST", "/v1/admin/accounts", opened, key=f"start-{name}")
    account = int(answer.outcome["account"])
    deposit = http.DepositRequest(
        account=account, amount=usd, provider="simulated-faucet", provider_ref=f"start-{name}"
    )
    operator.settle("POST", "/v1/admin/deposits", deposit, key=f"start-money-{name}")
    body_of_key = http.OperatorKeyRequest(account=account, scopes=scopes, label=name)  # type: ignore[arg-type]  # likewise
    return operator.write("POST", "/v1/admin/keys", body_of_key, http.NewKeyAnswer)


def _owing(demo: bool) -> tuple[Owing, ...]:
    """Accounts of a sandbox that sell GPUs which they owe."""
    makers: tuple[Owing, ...] = (("desk", "market_maker", DESK_USD), ("bot", "market_maker", BOT_USD))
    return (*makers, DEMO[0]) if demo else makers


def write_cloud_keys(file: Path, operator: Client, owing: Iterable[Owing]) -> None:
    """The simulated cloud's keys: an operator's of its own, and an agent's for each account that it has machines for."""
    body = http.OperatorKeyRequest(account=0, owner=CLOUD_OWNER, scopes=("read", "operator"), label="simulated cloud")
    issued = operator.write("POST", "/v1/admin/keys", body, http.NewKeyAnswer)
    agents = {
        name: open_account(operator, name, role, usd, ("read", "agent"), desk=name == "desk")
        for name, role, usd in owing
    }
    write_private(file, msgspec.json.encode({"operator": issued, **agents}))


def demo_keys(stack: Stack, operator: Client, say: Say) -> Path:
    """Accounts of demo members, and a file with a key of each."""
    keys = {name: open_account(operator, name, role, usd, ("read", "trade", "supply")) for name, role, usd in DEMO}
    file = stack.home / "demo.keys"
    write_private(file, msgspec.json.encode(keys))
    say(f"{len(keys)} demo members trade with simulated money: {', '.join(keys)}")
    return file


def host_programs(stack: Stack, operator: Client, say: Say) -> list[Program]:
    """Two providers, each with this machine under another name, an agent on it, and somebody who sells its shares."""
    keys = {
        name: open_account(operator, name, "provider", HOST_USD, ("read", "trade", "supply", "agent")) for name in HOSTS
    }
    file = stack.home / "hosts.keys"
    write_private(file, msgspec.json.encode(keys))
    programs = [stack.hosts(file, HOST_CLASS, HOST_SEATS)]
    for name, key in keys.items():
        profile.save(stack.home / f"{name}.json", profile.Profile(stack.url, key))
        programs.append(stack.agent(name, stack.home / f"{name}.json", HOST_CLASS, HOST_SEATS))
    say(f"{len(keys)} agents on this machine let {HOST_SEATS} shares of it each as {HOST_CLASS}; they isolate nothing")
    return programs


def wait_until_open(stack: Stack, keeper: Keeper) -> None:
    """Until the gateway takes orders. Raises Refused."""
    deadline = time.monotonic() + READY_S
    while not is_open(stack.url):
        keeper.poll()
        if hopeless := keeper.hopeless():
            raise Refused(hopeless)
        if time.monotonic() > deadline:
            raise Refused(f"the gateway did not open within {READY_S:.0f} s; see {stack.home / 'logs'}")
        time.sleep(0.1)


def is_open(url: str) -> bool:
    """Whether the gateway takes orders."""
    try:
        answer = httpx.get(f"{url}/v1/status", timeout=2, trust_env=False)
        return answer.status_code == 200 and bool(answer.json()["accepting_orders"])
    except httpx.HTTPError:
        return False
