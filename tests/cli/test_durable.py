"""`hourbook up` on Apache Kafka and Postgres: whatever is killed, orders and balances are there again; `down` keeps them too."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.cli import profile
from services.cli.stack import logins_of
from services.cli.status import Status
from services.runtime.config import Login
from services.runtime.infra import ApacheKafka, open_folder
from services.runtime.kafka import Cluster
from services.runtime.log import Outgoing
from services.runtime.positions import record_hash
from services.runtime.walls import USERS
from tests.cli.conftest import Done, Place, typed, typing_in
from tests.cli.documents import blocks
from tests.conftest import Skip

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(500)]

CLASS = "H100.SXM.80.US"
BROKEN = b"\xc1 is not a frame"


class Exchange(Place):
    """A durable exchange in a folder of its own."""

    def up(self, *words: str) -> str:
        """What it says."""
        done = self.hourbook("up", *words, timeout_s=300)
        assert done.code == 0, done
        return done.out

    def shell(self, words: str, **more: str) -> None:
        """A block of commands, which must end well."""
        done = self.run(f"set -e\n{words}", timeout_s=400, **more)
        assert done.code == 0, done

    def json(self, *words: str) -> Any:
        """Typed in this process: what is looked at often costs no start of Python."""
        done = self.typed("--json", *words)
        assert done.code == 0, done
        return json.loads(done.out)

    def typed(self, *words: str) -> Done:
        with typing_in(self):
            return typed(*words)

    def buys(self, what: str, price: str, client_id: str) -> bool:
        """Whether one hour was bought. An order that is refused for the moment is sent again with its id, as a client would."""
        when = ["--hour", "in 3 hours"]  # the desk promises nothing in the next one, shortly before it
        done = self.typed("--json", "buy", "1", what, "--price", price, "--tif", "ioc", "--id", client_id, *when)
        answer = json.loads(done.out)
        assert done.code == 0 or answer["retryable"], done
        return done.code == 0 and answer["state"] == "filled"

    def status(self) -> Status:
        return msgspec.json.decode(self.typed("--json", "status").out, type=Status)

    def pids(self) -> dict[str, int]:
        return {each.name: each.pid for each in self.status().processes}

    def keeper(self) -> int:
        return profile.owner(self.folder / "var/exchange")

    def owned(self) -> dict[str, Any]:
        """What a member would miss."""
        return {what: self.json(*what.split()) for what in ("orders --all", "positions", "balance", "ledger", "fills")}

    def until(self, true: Callable[[], bool], what: str, limit_s: float = 200) -> None:
        deadline = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < deadline, f"{what}: {self.hourbook('status')}"
            time.sleep(0.3)

    def until_the_desk_asks(self) -> None:
        """In the hour that is bought: some seconds after a start."""
        self.until(lambda: bool(self.json("book", CLASS, "--hour", "in 3 hours")["asks"]), "the desk asks")

    def until_well(self) -> None:
        self.until(lambda: self.status().well and self.typed("balance").code == 0, "all is well")


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)
    with open_folder() as folder:
        place = Exchange(folder)
        try:
            place.up()
            yield place
        finally:
            place.hourbook("down", timeout_s=120)


@pytest.fixture(scope="module")
def owned(exchange: Exchange) -> dict[str, Any]:
    """Bought, sold again, one order waiting; the desk asks before it can be bought from."""
    exchange.until_the_desk_asks()
    bought = exchange.json("buy", "2", CLASS, "--price", "6.60", "--id", "bought", "--hour", "in 3 hours")
    exchange.json("sell", "1", bought["contract"], "--price", "6.60", "--id", "waits")
    found = exchange.owned()
    assert [(order["client_order_id"], order["state"]) for order in found["orders --all"]] == [
        ("waits", "open"),
        ("bought", "filled"),
    ]
    return found


def test_up_again_finds_it_running(exchange: Exchange) -> None:
    keeper = exchange.keeper()
    found = exchange.json("up")
    assert (found["pid"], found["simulated_cloud"]) == (keeper, True)
    assert keeper > 0


def test_what_is_simulated_says_so(exchange: Exchange) -> None:
    """Found running, too; and the process by its name and its role."""
    assert (
        exchange.up().splitlines()[-1].startswith("SIMULATED: the member's and the desk's first money, and the cloud")
    )
    (cloud,) = [each for each in exchange.status().processes if each.name.startswith("simulated")]
    assert (cloud.name, cloud.does) == ("simulated-cloud", "simulated")


def test_each_process_holds_its_own_login_at_the_broker_and_no_other(exchange: Exchange) -> None:
    """Passwords are in one file, which only its owner may read; the desk has nothing of the database."""
    file = exchange.folder / "var/exchange/kafka.logins"
    passwords: dict[str, str] = json.loads(file.read_bytes())
    environments = {name: Path(f"/proc/{pid}/environ").read_bytes() for name, pid in exchange.pids().items()}
    held = {
        name: [user for user, password in passwords.items() if password.encode() in text]
        for name, text in environments.items()
    }

    assert file.stat().st_mode & 0o777 == 0o600
    assert len(set(passwords.values())) == len(passwords) == len(USERS)
    assert held == {
        "Apache Kafka": [],
        "Postgres": [],
        "settlement": ["settlement"],
        **{f"matching-{shard}{letter}": ["matching"] for shard in (0, 1) for letter in "ab"},
        "delivery": ["delivery"],
        "router": ["router"],
        "gateway": ["gateway"],
        "market_data": ["market_data"],
        "supply": ["supply"],
        "market_maker": ["market_maker"],
        "simulated-cloud": [],
    }
    assert [name for name, text in environments.items() if b"HOURBOOK_POSTGRES=postgres" in text] == [
        name for name in held if name in ("settlement", "delivery", "router", "gateway") or name.startswith("matching")
    ]


def test_every_process_may_be_killed_at_once(exchange: Exchange, owned: dict[str, Any]) -> None:
    """Servers too; each comes back by itself, and nothing is missing."""
    before = exchange.pids()
    assert len(before) == 14, (
        "broker, database, settlement, 2 x 2 of matching, delivery, router, gateway, market data, supply, desk, cloud"
    )
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    exchange.until(lambda: not set(exchange.pids().values()) & set(before.values()), "all are new")
    exchange.until_well()

    assert exchange.owned() == owned


def test_its_keeper_may_be_killed(exchange: Exchange, owned: dict[str, Any]) -> None:
    """Then all that it started ends with it; and `up` starts it again on what is there."""
    running, keeper = exchange.pids(), exchange.keeper()
    os.kill(keeper, signal.SIGKILL)
    done = exchange.hourbook("balance")
    assert done.code == 5
    exchange.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in running.values()), "all have ended")
    assert (
        exchange.hourbook("balance").err == "hourbook: the exchange in var/exchange is stopped; `make up` starts it\n"
    )

    exchange.up()

    assert exchange.owned() == owned


def test_a_halted_shard_is_shown_quarantined_and_comes_back(exchange: Exchange) -> None:
    """As docs/operations.md has it: one shard stops, the other trades on; one command, and both do."""
    # A desk that begins while a shard is halted cannot set its switch there, and quotes nowhere: it has to have begun.
    exchange.until(lambda: {each.state for each in exchange.status().processes} == {"runs"}, "all run, the desk too")
    home = exchange.folder / "var/exchange"
    environment = json.loads((home / "environment.json").read_bytes())
    # Somebody with the rights of a gateway; operators' tools have no right to write orders.
    asyncio.run(write_broken(environment["HOURBOOK_KAFKA"], Login("gateway", logins_of(home)["gateway"])))
    exchange.until(lambda: halted(exchange) == ["matching-0a", "matching-0b"], "shard 0 is halted")
    shown = exchange.hourbook("status")
    offset = int(re.findall(r"commands/0 offset (\d+) is not a frame", shown.out)[0])
    words = f"hourbook quarantine --shard 0 --offset {offset} --hash {record_hash(BROKEN).hex()}"
    assert shown.code == 1
    assert words in shown.out

    def others() -> set[str]:
        return {each.state for each in exchange.status().processes if not each.name.startswith("matching-0")}

    exchange.until(lambda: others() == {"runs"}, "all others run")
    exchange.until(lambda: exchange.buys(CLASS, "6.60", "meanwhile"), "shard 1 trades on")
    wrong = exchange.hourbook(*words.split()[1:-1], "00" * 16, "--reason", "test", "--operator", "ana")
    assert (wrong.code, "not 0000" in wrong.err) == (65, True)

    done = exchange.hourbook(*words.split()[1:], "--reason", "test", "--operator", "ana")

    assert done.out == f"commands/0 offset {offset} is out of the market; matching passes over it at its next start\n"
    exchange.until_well()
    exchange.until(lambda: exchange.buys("L40S.48.US", "1.30", "again"), "and shard 0")


async def write_broken(bootstrap: str, login: Login) -> None:
    async with Cluster(bootstrap, login=login) as cluster:
        log = cluster.log("commands", 0)
        await log.append([Outgoing(BROKEN)])
        await log.close()


def halted(exchange: Exchange) -> list[str]:
    return [each.name for each in exchange.status().processes if each.state == "halted"]


def test_down_keeps_the_data_and_the_audit_is_clean(exchange: Exchange) -> None:
    before = exchange.owned()
    stopped = exchange.json("down")
    assert stopped["stopped"] > 0
    assert exchange.json("down")["stopped"] == 0
    assert exchange.keeper() == 0

    said = exchange.up("--no-simulated-cloud")

    assert "No cloud: " in said
    assert [name for name in exchange.pids() if name.startswith("simulated")] == []
    assert exchange.owned() == before
    audited = exchange.hourbook("audit", "--young", timeout_s=120)
    assert audited.code == 0, audited
    assert "none broken" in audited.out


@pytest.mark.usefixtures("owned")
def test_a_copy_of_its_folder_is_the_exchange_as_it_was_then(exchange: Exchange) -> None:
    """As docs/operations.md has it; the original trades on beside the copy, and neither knows of the other."""
    save, restore = (
        block.replace("make ", ".venv/bin/hourbook ") for block in blocks("docs/operations.md", "Backup")[-2:]
    )
    before = exchange.owned()
    with open_folder() as backup, open_folder() as folder:
        exchange.shell(save, BACKUP=str(backup))
        exchange.until_the_desk_asks()
        exchange.until(lambda: exchange.buys(CLASS, "6.60", "later"), "the original trades on")
        elsewhere = Exchange(folder)
        (folder / "var").mkdir()
        try:
            elsewhere.shell(restore, BACKUP=str(backup))
            elsewhere.until_well()

            assert elsewhere.owned() == before
            elsewhere.until_the_desk_asks()
            elsewhere.until(lambda: elsewhere.buys(CLASS, "6.60", "in-the-copy"), "the copy trades on")
            audited = elsewhere.hourbook("audit", "--young", timeout_s=120)
            assert (audited.code, "none broken" in audited.out) == (0, True), audited
            assert [bought(each)[0] for each in (exchange, elsewhere)] == ["later", "in-the-copy"]
        finally:
            elsewhere.hourbook("down", timeout_s=120)


def bought(exchange: Exchange) -> list[str]:
    """Client ids of the orders that were filled, the newest first."""
    return [order["client_order_id"] for order in exchange.json("orders", "--all") if order["state"] == "filled"]
