"""A rental, on real servers: bought ahead, logged in to, through a crash of the router, and sold again when it is stopped."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import asyncssh
import msgspec
import pytest

from schemas.http import NewKeyAnswer
from services.cli import profile
from services.cli.files import write_private
from tests.integration.hall import MACHINES, Hall, open_hall
from tests.integration.test_rental import log_in, mine

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
RATE = 60
"""An hour of the market in a minute."""
KEY = asyncssh.generate_private_key("ssh-ed25519")
LOOK_AHEAD = 3
WANTED = {"classes": [MACHINES], "gpus": 1, "max_price": "0.09", "look_ahead": LOOK_AHEAD}


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    with open_hall(RATE, delivers=True, rents=True) as opened:
        _host(opened)
        yield opened


def _host(hall: Hall) -> None:
    """A provider with a machine of two shares, who asks for them in every hour."""
    account = hall.settle("/v1/admin/accounts", {"name": "Carl", "role": "provider"})["account"]
    asked = {"account": account, "scopes": ["read", "trade", "supply", "agent"]}
    key = msgspec.json.decode(hall.ask("POST", "/v1/admin/keys", hall.operator, asked).content, type=NewKeyAnswer)
    hall.until(lambda: hall.ask("GET", "/v1/account", key.bearer).is_success, "Carl's key works")
    file = hall.stack.home / "carl.json"
    profile.save(file, profile.Profile(hall.stack.url, key))
    write_private(hall.stack.home / "hosts.keys", msgspec.json.encode({"carl": key}))
    hall.supervisor.start(hall.stack.agent("box", file, MACHINES, 2))
    hall.supervisor.start(hall.stack.hosts(hall.stack.home / "hosts.keys", MACHINES, 2))
    hall.until(lambda: len(_asks(hall)) > LOOK_AHEAD, "Carl asks")


def _asks(hall: Hall) -> list[str]:
    answer = hall.ask("GET", f"/v1/classes/{MACHINES}/grid")
    return [row["ask"] for row in answer.json()["rows"] if row["ask"]] if answer.is_success else []


def rented(hall: Hall, rental: str) -> dict[str, Any]:
    """As it stands; nothing while the router is away."""
    answer = hall.ask("GET", f"/v1/rentals/{rental}", hall.bearers["buyer"])
    found: dict[str, Any] = answer.json() if answer.is_success else {"state": "", "hours": []}
    return found


def bought(hall: Hall, rental: str) -> list[str]:
    """Contracts of the hours that are had now."""
    return [hour["contract"] for hour in rented(hall, rental)["hours"] if hour["state"] == "bought"]


def test_a_rental_is_a_shell_until_it_is_stopped(hall: Hall) -> None:
    """Bought ahead, through a crash of the router and without an hour twice; stopped, the hours ahead are offered again."""
    buyer = hall.bearers["buyer"]
    launch = {"ssh_keys": [KEY.export_public_key().decode()]}
    assert hall.ask("PUT", "/v1/launches/default", buyer, launch).is_success
    told = hall.ask("POST", "/v1/rentals/preview", buyer, WANTED).json()
    (option,) = told["options"]
    assert (option["class"], option["region"], option["minutes_to_ssh"]) == (MACHINES, "LOCAL", 2), told

    made = hall.ask("POST", "/v1/rentals", buyer, WANTED)
    assert made.status_code == 201, made.text
    rental = made.json()["rental"]
    hall.until(lambda: len(bought(hall, rental)) >= LOOK_AHEAD, "hours are bought ahead", 90)
    hall.until(lambda: bool(mine(hall)), "the lease is open", 120)
    (lease,) = mine(hall)
    assert log_in(lease, KEY, "echo in") == "in"

    os.kill(hall.supervisor.pid("router"), signal.SIGKILL)
    first = bought(hall, rental)
    hall.until(lambda: bool(set(bought(hall, rental)) - set(first)), "it buys on", 150)
    (still,) = mine(hall)
    assert still["lease"] == lease["lease"]

    held = set(bought(hall, rental))
    stopped = hall.ask("POST", f"/v1/rentals/{rental}/stop", buyer, {})
    assert stopped.is_success, stopped.text
    hall.until(lambda: rented(hall, rental)["state"] == "over", "what is left is over or sold", 300)
    after = rented(hall, rental)["hours"]
    assert {hour["state"] for hour in after} <= {"sold", "over"}
    assert held <= {hour["contract"] for hour in after}, "no hour was bought after it was stopped"

    fills = hall.ask("GET", "/v1/fills?limit=500", buyer).json()
    hours = [fill["contract"] for fill in fills if fill["side"] == "buy"]
    assert len(hours) == len(set(hours)), "no hour is bought twice"
    hall.until_settled()
    found = hall.audited()
    assert found.broken() == set()
    assert all(found[name].looked_at for name in ("R1", "R2", "R3", "R4")), "of this very rental"
