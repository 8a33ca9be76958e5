"""A rental, on real servers: bought ahead, logged in to, through a crash of the router, and sold again when it is stopped.

And one that can have nothing: its owner is told in the feed and at his webhook.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncssh
import msgspec
import pytest

from schemas.http import NewKeyAnswer
from services.cli import profile
from services.cli.files import write_private
from tests.integration.hall import MACHINES, Hall, open_hall
from tests.integration.test_rental import log_in, mine
from tests.market_data.client import Client
from tests.market_data.wire import Wire

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


class Webhook:
    """An address of the owner's."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}/hook"
        self.takes = False
        self.bodies: list[dict[str, Any]] = []
        """Of what was posted, taken or not."""


@contextmanager
def listening() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204 if webhook.takes else 503)
            self.end_headers()
            webhook.bodies.append(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = Webhook(server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield webhook
        server.shutdown()


def told(hall: Hall, hour: str) -> Client:
    """Listens to the buyer's rentals until the feed tells of that hour."""
    token = hall.ask("POST", "/v1/feed-token", hall.bearers["buyer"]).json()["token"]

    async def listen() -> Client:
        client = Client()
        async with asyncio.timeout(45), Wire.open(hall.stack.feed_port) as wire:
            await wire.say({"op": "auth", "token": token})
            await wire.say({"op": "subscribe", "channels": ["rentals"]})
            while hour not in {notice["hour"] for notice in client.notices.values()}:
                message = await wire.hear()
                assert isinstance(message, dict), message
                client.read(json.dumps(message))
        return client

    return asyncio.run(listen())


def test_who_can_have_nothing_is_told_in_the_feed_and_by_the_webhook_through_a_crash(hall: Hall) -> None:
    """Below every ask. The webhook takes nothing before the router is killed: the next one tells it the same again."""
    first = hall.hours(MACHINES)[1]["hour"]
    with listening() as webhook:
        wanted = {**WANTED, "max_price": "0.01", "from": first, "look_ahead": 24, "webhook": webhook.address}
        made = hall.ask("POST", "/v1/rentals", hall.bearers["buyer"], wanted)
        assert made.status_code == 201, made.text
        rental = made.json()["rental"]

        feed = told(hall, first)
        assert feed.rentals[rental]["state"] == "standing"
        assert feed.rentals[rental]["request"]["max_price"] == "0.01"
        notices = {each["id"]: each for each in feed.notices.values() if each["rental"] == rental}
        assert "max_price is 0.01" in next(each for each in notices.values() if each["hour"] == first)["detail"]

        hall.until(lambda: bool(webhook.bodies), "the webhook is told")
        assert webhook.bodies[0] == notices[webhook.bodies[0]["id"]], "the same as in the feed"
        os.kill(hall.supervisor.pid("router"), signal.SIGKILL)
        webhook.takes, before = True, len(webhook.bodies)
        last = max(notices)  # of an hour that is far away
        hall.until(lambda: last in {body["id"] for body in webhook.bodies[before:]}, "it is told again", 90)

    hall.until(
        lambda: hall.ask("POST", f"/v1/rentals/{rental}/stop", hall.bearers["buyer"], {}).is_success, "it is stopped"
    )
