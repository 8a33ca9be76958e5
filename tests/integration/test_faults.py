"""What a service lacks it waits for, says so, and goes on by itself when it is there again; what contradicts it is refused.

Processes as deployed, on Apache Kafka and Postgres. Of full disks two are tried: the standby's, by a limit on the size of files
(a test may not mount disks everywhere), and the database's, by what Postgres answers then: an error of class 53.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.codec import WRITER_SETTLEMENT
from schemas.commands import Role, SetAccount, Side
from schemas.events import OrderAccepted
from schemas.requests import OpenAccount
from services.runtime.infra import ApacheKafka, free_port
from services.runtime.infra.processes import OwnedProcess
from services.runtime.kafka import Cluster
from services.runtime.lease import LEASE_MS
from services.runtime.log import Outgoing
from services.runtime.topics import create_topics, wanted_settings
from tests.integration.hall import CLASSES, Hall, open_hall, status_of
from tests.integration.test_matching import BERT, Shards, opened, order

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
MATCHING = ("matching-0a", "matching-0b", "matching-1a", "matching-1b")
AWAY_S = 10


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    """One for all faults: each must leave it as it was."""
    with open_hall(rate=1) as running:
        yield running


def bid(hall: Hall, client_id: str) -> dict[str, Any]:
    contract = hall.hours(CLASSES[0])[3]["contract"]
    return {"contract": contract, "side": "buy", "qty": 1, "price": "2.50", "client_order_id": client_id}


def placed(hall: Hall, client_id: str) -> str:
    """An acknowledged order's id."""
    answer = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], bid(hall, client_id))
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


def test_without_the_database_services_wait_and_go_on_by_themselves(hall: Hall) -> None:
    """Ten seconds. New orders are refused as retryable, cancels pass; what was acknowledged is there afterwards."""
    kept, cancelled = placed(hall, "before-1"), placed(hall, "before-2")
    body = bid(hall, "meanwhile")
    hall.until(lambda: set(hall.waits()) >= {"gateway", "settlement", *MATCHING}, "everybody is there")
    before = hall.statuses()
    hall.postgres.kill9()
    gone_s = time.monotonic()
    hall.until(lambda: hall.waits() == {"gateway": "postgres", "settlement": "postgres", **_all("lease")}, "all say so")
    assert all(said["last_error"] for said in hall.statuses().values())
    assert "Waits" in hall.alarms()
    hall.until(lambda: not hall.ask("GET", "/v1/status").json()["accepting_orders"], "the gateway says so to everybody")
    hall.until(lambda: "SettlementBehind" in hall.alarms(), "and to its operators")
    refused = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], body).json()
    assert (refused["outcome"], refused["retryable"]) == ("rejected", True), refused
    answer = hall.ask("DELETE", f"/v1/orders/{cancelled}", hall.bearers["buyer"])
    assert answer.status_code == 200, answer.text
    hall.let_pass(AWAY_S - (time.monotonic() - gone_s))
    hall.postgres.start()
    hall.until(lambda: not any(hall.waits().values()), "nobody waits any more")
    hall.until_settled()
    hall.until(lambda: not hall.alarms(), "nothing is wrong any more")
    after = hall.statuses()
    for name in ("gateway", "settlement"):
        # A standby of matching may be the first to get the lease, and then its active one begins again as a standby.
        assert after[name]["pid"] == before[name]["pid"], f"{name} has ended"
    assert placed(hall, "meanwhile")
    states = {
        order: hall.ask("GET", f"/v1/orders/{order}", hall.bearers["buyer"]).json() for order in (kept, cancelled)
    }
    assert {order: said["state"] for order, said in states.items()} == {kept: "open", cancelled: "cancelled"}


def test_a_database_without_room_is_waited_for(hall: Hall) -> None:
    """Settlement keeps nothing half done, says what the database answers, and settles when there is room again."""
    raises = (
        "CREATE FUNCTION settlement.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    fires = "BEFORE INSERT ON settlement.entries FOR EACH STATEMENT EXECUTE FUNCTION settlement.no_room()"
    _run(hall, raises, f"CREATE TRIGGER no_room {fires}")
    account = hall.ask("GET", "/v1/account", hall.bearers["buyer"]).json()["account"]
    deposit = {"account": account, "amount": "1", "provider": "simulated-faucet", "provider_ref": "no-room"}
    asked = hall.ask("POST", "/v1/admin/deposits", hall.operator, deposit)
    assert (asked.status_code, asked.json()["state"]) == (202, "pending"), asked.text
    hall.until(lambda: hall.waits()["settlement"] == "postgres", "settlement says so")
    assert "No space left on device" in hall.statuses()["settlement"]["last_error"]
    _run(hall, "DROP TRIGGER no_room ON settlement.entries", "DROP FUNCTION settlement.no_room")
    request = asked.json()["request_id"]
    hall.until(
        lambda: hall.ask("GET", f"/v1/requests/{request}", hall.operator).json().get("state") == "done", "it is done"
    )
    hall.until(lambda: not any(hall.waits().values()), "nobody waits any more")


def test_a_broker_that_hangs_is_waited_for(hall: Hall) -> None:
    """SIGSTOP: it takes connections and answers nothing. Afterwards whoever ended has begun again, and nothing is lost."""
    kept = placed(hall, "before-the-silence")
    body = bid(hall, "in-the-silence")
    gateway = hall.statuses()["gateway"]["pid"]
    os.kill(hall.kafka.pid, signal.SIGSTOP)
    try:
        asked = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], body)
        assert asked.status_code in (503, 504), asked.text
        hall.until(lambda: {"gateway", "settlement"} <= _who_waits_for(hall, "kafka"), "gateway and settlement say so")
        assert not hall.ask("GET", "/v1/status").json()["accepting_orders"]
        refused = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], body).json()
        assert (refused["code"], refused["outcome"]) == ("not_ready", "rejected"), refused
        hall.until(lambda: any(name in _who_waits_for(hall, "kafka") for name in MATCHING), "matching says so")
        assert {"Waits", "BrokerSilent"} <= hall.alarms()
    finally:
        os.kill(hall.kafka.pid, signal.SIGCONT)
    hall.until(lambda: not any(hall.waits().values()), "nobody waits any more")
    hall.until(lambda: _accepts(hall, body), "the same order, asked again, is acknowledged")
    assert hall.statuses()["gateway"]["pid"] == gateway, "the gateway has ended"
    query = "SELECT client_id FROM settlement.orders WHERE client_id LIKE '%the-silence' ORDER BY client_id"
    both = ["before-the-silence", "in-the-silence"]
    hall.until(lambda: [row["client_id"] for row in hall.rows(query)] == both, "each order is there once")
    assert hall.ask("GET", f"/v1/orders/{kept}", hall.bearers["buyer"]).json()["state"] == "open"


def test_a_shard_that_nobody_writes_is_told_by_its_alerts(hall: Hall) -> None:
    """SIGSTOP: first of its standby, then of its writer as well."""
    hall.until(lambda: not hall.alarms(), "all is well")
    roles = {name: said["role"] for name, said in hall.statuses().items() if name.startswith("matching-0")}
    standby, writer = sorted(roles, key=lambda name: roles[name] == "active")
    pids = [hall.supervisor.pid(name) for name in (standby, writer)]
    try:
        os.kill(pids[0], signal.SIGSTOP)
        assert hall.alarms() == {"NoAnswer", "NoStandby"}
        os.kill(pids[1], signal.SIGSTOP)
        hall.until(lambda: "ShardBehind" in hall.alarms(), "the gateway says so")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    hall.until(lambda: not hall.alarms(), "it goes on, and all is well")


def _accepts(hall: Hall, body: dict[str, Any]) -> bool:
    return hall.ask("POST", "/v1/orders", hall.bearers["buyer"], body).status_code == 201


def _who_waits_for(hall: Hall, what: str) -> set[str]:
    return {name for name, waits in hall.waits().items() if what in waits.split(", ")}


def _all(what: str) -> dict[str, str]:
    return dict.fromkeys(MATCHING, what)


def _run(hall: Hall, *statements: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(hall.stack.dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


# --- A standby without room ---------------------------------------------------------------------------------


@pytest.fixture
async def shards(kafka: ApacheKafka, topic_prefix: str, database: str, scratch: Path) -> AsyncIterator[Shards]:
    """Topics on the session's broker; every process is ended afterwards."""
    async with Cluster(kafka.bootstrap, prefix=topic_prefix) as cluster:
        await create_topics(cluster, 2, sandbox=True)
        running = Shards(cluster, database, scratch)
        yield running
        for process in running.processes:
            process.kill()


async def test_a_standby_whose_disk_is_full_takes_over_all_the_same(shards: Shards) -> None:
    """No file of it may grow any more: it says that it waits for the disk, and that costs nothing but snapshots."""
    active = shards.start(0)
    await opened(shards, 0)
    standby = shards.start(0, "--snapshot-records", "5")
    await said_by(shards, standby, "waiting_for", "")
    resource.prlimit(standby.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    for number in range(6, 16):
        await shards.send(0, [SetAccount(number, 100 + number, 100 + number, 0, 0)], WRITER_SETTLEMENT)
    assert "File too large" in (await said_by(shards, standby, "waiting_for", "disk"))["last_error"]
    assert list((shards.home / "data" / "snapshots").iterdir()) == []
    active.kill()
    frame = await shards.send(0, [order(0, BERT, Side.SELL, 1)])
    assert isinstance((await shards.answer(0, frame))[0], OrderAccepted)
    assert standby.exit_code() is None


async def said_by(shards: Shards, process: OwnedProcess, key: str, value: str) -> dict[str, Any]:
    """What a process says of itself, once `key` is `value`."""
    deadline = time.monotonic() + 20
    said: dict[str, Any] = {}
    while time.monotonic() < deadline:
        for file in (shards.home / "run").glob("*.json"):
            found = json.loads(file.read_text())
            if found["pid"] == process.pid:
                said = await asyncio.to_thread(status_of, found["status"])
                if said.get(key) == value:
                    return said
        await asyncio.sleep(0.1)
    raise AssertionError(f"{key} is not {value!r}: {said}")


# --- Logs that are not what they were -----------------------------------------------------------------------


ROOMS = ("settlement", "matching", "gateway")


def run_room(shards: Shards, room: str) -> OwnedProcess:
    """A service's process on the shards' topics."""
    log = shards.home / f"{room}-{len(shards.processes)}.log"
    environment = {
        **shards.environment,
        "HOURBOOK_SHARD": "0",
        "HOURBOOK_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
        "HOURBOOK_HTTP_PORT": str(free_port()),
    }
    process = OwnedProcess([sys.executable, "-m", f"services.{room}"], log=log, env=environment)
    shards.processes.append(process)
    return process


async def refusal_of(process: OwnedProcess) -> str:
    """Its last sentence, when it has ended as one that an operator must look at."""
    assert await asyncio.to_thread(process.wait, 30), process.log_tail()
    assert process.exit_code() == os.EX_DATAERR, process.log_tail()
    last: str = json.loads(process.log.read_text().splitlines()[-1])["what"]
    return last


async def change(shards: Shards, topic: str, **settings: str) -> None:
    """Alter a topic's settings behind everybody's back."""
    admin = AIOKafkaAdminClient(bootstrap_servers=shards.cluster.bootstrap)
    await admin.start()
    try:
        configs = {name.replace("_", "."): value for name, value in settings.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, shards.cluster.prefix + topic, configs)])
    finally:
        await admin.close()


async def test_every_service_refuses_a_topic_that_would_forget(shards: Shards) -> None:
    """With setting, found and wanted; the exit code says that a restart mends nothing."""
    await change(shards, "commands", retention_ms="86400000")
    said = await asyncio.gather(*(refusal_of(run_room(shards, room)) for room in ROOMS))
    for sentence in said:
        assert "topic commands, setting retention.ms: found 86400000, wanted -1" in sentence


@pytest.mark.parametrize("what", ["replaced", "cut"])
async def test_settlement_refuses_a_log_that_is_not_the_one_it_has_read(shards: Shards, what: str) -> None:
    """The request that it has settled is not where it was."""
    requests = shards.cluster.log("requests")
    for name in ("one", "two"):
        await requests.append([Outgoing(msgspec.msgpack.encode(OpenAccount(name, 0, name, Role.MEMBER)))])
    settlement = run_room(shards, "settlement")
    await settled(shards, "requests", 2)
    settlement.kill()
    if what == "cut":
        await shards.cluster.cut("requests", 0, 2)
    else:
        await delete_topic(shards, "requests")
        await shards.cluster.create_topic("requests", 1, 1, wanted_settings(1))
    said = await refusal_of(run_room(shards, "settlement"))
    assert re.search(
        r"requests/0 holds \d+\.\.-?\d+, and record 1 has been read from it: it was cut or replaced", said
    ), said


async def test_a_settlement_that_loads_for_longer_than_a_lease_keeps_it(shards: Shards) -> None:
    """Else the second one would get it, lose it in the same way to the first, and nobody would ever settle."""
    requests = shards.cluster.log("requests")
    await requests.append([Outgoing(msgspec.msgpack.encode(OpenAccount("one", 0, "one", Role.MEMBER)))])
    first = run_room(shards, "settlement")
    await settled(shards, "requests", 1)
    first.stop()
    connection = await asyncpg.connect(shards.environment["HOURBOOK_POSTGRES"])
    try:
        before = await connection.fetchval("SELECT epoch FROM runtime.leases")
        async with connection.transaction():
            await connection.execute("LOCK TABLE settlement.commits IN ACCESS EXCLUSIVE MODE")
            both = [run_room(shards, "settlement") for _ in range(2)]
            await asyncio.sleep(LEASE_MS / 1000 + 6)
            assert await connection.fetchval("SELECT epoch FROM runtime.leases") == before + 1
        await requests.append([Outgoing(msgspec.msgpack.encode(OpenAccount("two", 0, "two", Role.MEMBER)))])
        await settled(shards, "requests", 2)
        assert await connection.fetchval("SELECT epoch FROM runtime.leases") == before + 1
        assert [process.exit_code() for process in both] == [None, None]
    finally:
        await connection.close()


async def settled(shards: Shards, topic: str, next_offset: int) -> None:
    """Wait until settlement has committed so far."""
    query = "SELECT next_offset FROM settlement.cursors WHERE topic = $1"
    deadline = time.monotonic() + 20
    connection = await asyncpg.connect(shards.environment["HOURBOOK_POSTGRES"])
    try:
        found = None
        while found != next_offset:
            assert time.monotonic() < deadline, f"{topic} is settled up to {found}"
            await asyncio.sleep(0.1)
            with contextlib.suppress(asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                found = await connection.fetchval(query, topic)
    finally:
        await connection.close()


async def delete_topic(shards: Shards, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=shards.cluster.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([shards.cluster.prefix + topic])
        for _ in range(100):
            if shards.cluster.prefix + topic not in await admin.list_topics():
                return
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
