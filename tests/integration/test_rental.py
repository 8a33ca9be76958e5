"""An hour becomes a shell: on real servers, by a real agent, over TCP, and is paid by the minutes in which one could log in."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from schemas.http import NewKeyAnswer
from services.cli import profile
from tests.integration.hall import MACHINES, Hall, open_hall

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
RATE = 120
"""An hour of the market in half a minute."""
KEY = asyncssh.generate_private_key("ssh-ed25519")
STRANGER = asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    with open_hall(RATE, delivers=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def carl(hall: Hall) -> Carl:
    return Carl(hall)


class Carl:
    """A provider with a machine."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        account = hall.settle("/v1/admin/accounts", {"name": "Carl", "role": "provider"})["account"]
        asked = {"account": account, "scopes": ["read", "trade", "supply", "agent"]}
        answer = hall.ask("POST", "/v1/admin/keys", hall.operator, asked)
        key = msgspec.json.decode(answer.content, type=NewKeyAnswer)
        hall.bearers["carl"] = key.bearer
        hall.until(lambda: hall.ask("GET", "/v1/account", key.bearer).is_success, "Carl's key works")
        file = hall.stack.home / "carl.json"
        profile.save(file, profile.Profile(hall.stack.url, key))
        self.program = hall.stack.agent("box", file, MACHINES, 2)
        hall.supervisor.start(self.program)
        hall.until(lambda: any(each["alive"] for each in self.machines()), "the agent is heard")

    @property
    def leases(self) -> Path:
        """On his machine."""
        return self.hall.stack.home / "agents" / "box" / "leases"

    def machines(self) -> list[dict[str, Any]]:
        answer = self.hall.ask("GET", "/v1/machines", self.hall.bearers["carl"])
        return answer.json() if answer.is_success else []

    def sell(self, contract: str, first: str, qty: int = 1, price: str = "0.05") -> None:
        back = {"class": MACHINES, "from": first, "hours": 1, "ground": "declared", "qty": 2, "version": 1}
        self.hall.settle("/v1/capacity", back, "carl", "PUT")
        order = {"contract": contract, "side": "sell", "qty": qty, "price": price}
        answer = self.hall.ask("POST", "/v1/orders", self.hall.bearers["carl"], order)
        assert answer.status_code == 201, answer.text

    def paid(self) -> list[str]:
        """Amounts by delivery, oldest first."""
        lines = self.hall.ask("GET", "/v1/ledger", self.hall.bearers["carl"]).json()
        return [each["amount"] for each in reversed(lines) if each["what"].startswith("delivered")]


def log_in(lease: dict[str, Any], key: asyncssh.SSHKey, command: str) -> str:
    """What the command says. Raises OSError, asyncssh.Error."""

    async def run() -> str:
        known = asyncssh.import_known_hosts(f"[{lease['host']}]:{lease['port']} {lease['host_key']}\n")
        async with asyncssh.connect(
            lease["host"], lease["port"], username=lease["user"], client_keys=[key], known_hosts=known, config=None,
            agent_path=None,
        ) as connection:  # fmt: skip
            done = await connection.run(command, check=True)
            return str(done.stdout).strip()

    return asyncio.run(asyncio.wait_for(run(), 10))


def mine(hall: Hall, state: str = "open") -> list[dict[str, Any]]:
    """The buyer's leases that are in that state."""
    answer = hall.ask("GET", "/v1/leases", hall.bearers["buyer"])
    # While delivery is away nobody can tell.
    return [each for each in answer.json() if each["state"] == state] if answer.is_success else []


def test_a_buyer_logs_in_for_exactly_the_hours_he_holds(hall: Hall, carl: Carl) -> None:
    """On one machine over two hours, through crashes of delivery and agent; then his key is refused and his file is gone."""
    launch = {"ssh_keys": [KEY.export_public_key().decode()], "start_script": "echo begun > begun"}
    assert hall.ask("PUT", "/v1/launches/default", hall.bearers["buyer"], launch).is_success
    # The first hour that leaves time to trade in before its gate.
    hours = hall.hours(MACHINES)[1:3]
    for hour in hours:
        carl.sell(hour["contract"], hour["hour"])
        order = {"contract": hour["contract"], "side": "buy", "qty": 1, "price": "0.06", "tif": "ioc"}
        bought = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], order).json()
        assert bought["filled"] == 1, bought

    hall.until(lambda: bool(mine(hall)), "the lease is open", 120)
    (lease,) = mine(hall)
    assert log_in(lease, KEY, "cat begun; echo mine > file; pwd") == f"begun\n{carl.leases / lease['lease'] / 'home'}"
    with pytest.raises(asyncssh.PermissionDenied):
        log_in(lease, STRANGER, "true")

    os.kill(hall.supervisor.pid("delivery"), signal.SIGKILL)
    os.kill(hall.supervisor.pid("agent-box"), signal.SIGKILL)
    second = hours[1]["contract"]
    hall.until(lambda: any(second in each["contracts"] for each in mine(hall)), "the second hour goes on", 60)
    (still,) = mine(hall)
    assert (still["lease"], still["port"]) == (lease["lease"], lease["port"])
    assert log_in(still, KEY, "cat file") == "mine"

    hall.until(lambda: not (carl.leases / lease["lease"]).exists(), "the machine is wiped", 60)
    with pytest.raises((OSError, asyncssh.Error)):
        log_in(still, KEY, "true")

    hall.until(lambda: len(carl.paid()) == 2, "both hours are paid", 60)
    # Less what the machine was late for in the first hour, beyond the setup allowance; the seller's fee is a half per cent.
    first, last = map(Decimal, carl.paid())
    assert Decimal("0.02") < first <= last == Decimal("0.04975")
    hall.until_settled()
    assert hall.audited().broken() == set()


def test_two_purchases_of_an_hour_begin_each_with_what_its_order_named(hall: Hall, carl: Carl) -> None:
    """An order and a block; delivery is killed in between, and reads both again from the log."""
    buyer = hall.bearers["buyer"]
    for name in ("train", "serve"):
        launch = {"ssh_keys": [KEY.export_public_key().decode()], "start_script": f"echo {name} > what"}
        assert hall.ask("PUT", f"/v1/launches/{name}", buyer, launch).is_success
    hour = hall.hours(MACHINES)[1]
    carl.sell(hour["contract"], hour["hour"], 2)
    terms = {"side": "buy", "qty": 1, "price": "0.06", "tif": "ioc"}
    order = {"contract": hour["contract"], "launch": "train", "client_order_id": "one", **terms}
    block = {"class": MACHINES, "from": hour["hour"], "hours": 1, "launch": "serve", "client_order_id": "two", **terms}

    unknown = hall.ask("POST", "/v1/orders", buyer, {**order, "launch": "nothing"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_launch")
    assert "PUT /v1/launches/nothing" in unknown.json()["detail"]
    assert hall.ask("POST", "/v1/orders", buyer, order).json()["filled"] == 1
    assert hall.ask("POST", "/v1/orders", buyer, order).json()["repeated"]
    os.kill(hall.supervisor.pid("delivery"), signal.SIGKILL)

    def placed() -> bool:
        answer = hall.ask("POST", "/v1/blocks", buyer, block)
        assert answer.status_code in (201, 503), answer.text
        return bool(answer.status_code == 201 and answer.json()["filled"] == 1)

    hall.until(placed, "delivery is back, and the block is sent")

    def shells() -> set[str]:
        try:
            return {log_in(lease, KEY, "cat what") for lease in mine(hall) if hour["contract"] in lease["contracts"]}
        except (OSError, asyncssh.Error):
            return set()

    hall.until(lambda: shells() == {"train", "serve"}, "each has a machine of its own", 120)


def test_a_block_is_foretold_by_whose_machines_it_would_be(hall: Hall, carl: Carl) -> None:
    """Two hours of Carl's at two prices: by the prices alone it would be another machine in the second."""
    hours = hall.hours(MACHINES)[3:5]
    for hour, price in zip(hours, ("0.04", "0.06"), strict=True):
        carl.sell(hour["contract"], hour["hour"], price=price)
    body = {"class": MACHINES, "from": hours[0]["hour"], "hours": 2, "side": "buy", "qty": 1, "price": "0.05"}

    def foretold() -> tuple[int, str]:
        answer = hall.ask("POST", "/v1/blocks/preview", hall.bearers["buyer"], body)
        told = answer.json()
        if answer.status_code == 503 or told["handovers"] is None:  # something is not read to its end yet
            return -1, ""
        return told["handovers"]["likely"], told["handovers"]["basis"].split(",")[0]

    hall.until(lambda: foretold() == (0, "by whose machines asks stand for now"), "delivery has read the asks")
    delivery = hall.supervisor.pid("delivery")
    os.kill(delivery, signal.SIGSTOP)
    try:
        assert foretold()[0] == 1, "while delivery is away, by the prices"
    finally:
        os.kill(delivery, signal.SIGCONT)
    gone = hall.ask("DELETE", f"/v1/orders?class={MACHINES}", hall.bearers["carl"])
    assert gone.json()["cancelled"] == 2, gone.text


def test_an_hour_without_a_machine_is_paid_back(hall: Hall) -> None:
    """Dana sells what she has no machine for: Ana's money comes back, and Dana gets nothing."""
    account = hall.settle("/v1/admin/accounts", {"name": "Dana", "role": "provider"})["account"]
    asked = {"account": account, "scopes": ["read", "trade", "supply"]}
    hall.bearers["dana"] = hall.ask("POST", "/v1/admin/keys", hall.operator, asked).json()["bearer"]
    dana = hall.bearers["dana"]
    hall.until(lambda: hall.ask("GET", "/v1/account", dana).is_success, "Dana's key works")
    hour = hall.hours(MACHINES)[1]
    back = {"class": MACHINES, "from": hour["hour"], "hours": 1, "ground": "declared", "qty": 1, "version": 1}
    hall.settle("/v1/capacity", back, "dana", "PUT")
    for who, side in (("dana", "sell"), ("buyer", "buy")):
        order = {"contract": hour["contract"], "side": side, "qty": 1, "price": "0.07"}
        assert hall.ask("POST", "/v1/orders", hall.bearers[who], order).status_code == 201

    def refunded() -> bool:
        lines = hall.ask("GET", "/v1/ledger", hall.bearers["buyer"]).json()
        return any((each["what"], each["amount"]) == ("delivered", "0.07") for each in lines)

    hall.until(refunded, "the money is back", 150)
    lines = hall.ask("GET", "/v1/ledger", dana).json()
    assert [each for each in lines if each["kind"] == "wallet"] == []
    hall.until_settled()
    time.sleep(1)
    assert hall.audited().broken() == set()
