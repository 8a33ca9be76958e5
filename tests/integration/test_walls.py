"""Walls at the broker: each login of an exchange against Apache Kafka with its access lists, and processes with a wrong one.

That the list is enough is shown by whole exchanges that run on it: test_survives, test_faults, test_desk, cli/test_durable.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import CreateAclsRequest

from services.runtime.config import Login
from services.runtime.errors import BadSettings, Halt
from services.runtime.infra import ApacheKafka, MemoryBroker, free_port, open_folder
from services.runtime.kafka import Cluster
from services.runtime.kafka_acls import Grant, Operation
from services.runtime.log import Forbidden, Outgoing, WriteRefused
from services.runtime.postgres import migrate, open_pool
from services.runtime.topics import ALL, PROBE, check_topics, create_topics
from services.runtime.walls import ACCESS, ADMINISTRATOR, USERS, Access, raise_walls
from services.settlement.__main__ import MIGRATIONS
from tests.conftest import Skip
from tests.integration.asking import asking

CHECKOUT = Path(__file__).parents[2]
EVERY = (*ALL, PROBE)


@pytest.fixture
async def prefix(walled_kafka: ApacheKafka, topic_prefix: str) -> str:
    """Of the topics of an exchange that an administrator has created."""
    async with Cluster(
        walled_kafka.bootstrap, prefix=topic_prefix, login=login(walled_kafka, ADMINISTRATOR)
    ) as cluster:
        await create_topics(cluster, 1, sandbox=True)
    return topic_prefix


@pytest.fixture
async def administrator(walled_kafka: ApacheKafka, prefix: str) -> AsyncIterator[Cluster]:
    async with Cluster(walled_kafka.bootstrap, prefix=prefix, login=login(walled_kafka, ADMINISTRATOR)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as found:
        yield found


@pytest.fixture(scope="module")
def certificate(folder: Path) -> Path:
    return make_certificate(folder / "kafka.p12", "kafka")


@pytest.fixture(scope="module")
def encrypted() -> str:
    """Address of `open_kafka` where it is encrypted."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def open_kafka(folder: Path, certificate: Path, encrypted: str) -> Iterator[ApacheKafka]:
    """Keeps no lists, and listens twice: without logins, and with logins over TLS."""
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)
    port, controller = free_port(), f"127.0.0.1:{free_port()}"
    clients = f"PLAINTEXT://127.0.0.1:{port},TLS://{encrypted}"
    settings = {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"{clients},CONTROLLER://{controller}",
        "advertised.listeners": clients,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,TLS:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.tls.plain.sasl.jaas.config": (
            'org.apache.kafka.common.security.plain.PlainLoginModule required user_supply="sesame";'
        ),
        "ssl.keystore.location": str(certificate.with_suffix(".p12")),
        "ssl.keystore.password": "sesame-sesame",
    }
    with ApacheKafka(folder / "kafka", port, settings=settings) as server:
        yield server


def login(kafka: ApacheKafka, user: str) -> Login:
    assert kafka.logins is not None
    return Login(user, kafka.logins[user])


# --- The list -------------------------------------------------------------------------------------------------------


def test_every_topic_has_a_reader_and_a_writer_and_every_line_a_topic() -> None:
    """`keys` begins with a line of the administrator's, `shards` and those of `probe` are the topics' own."""
    read = {topic for access in ACCESS.values() for topic in access.reads}
    written = {topic for access in ACCESS.values() for topic in access.writes}

    assert read == set(EVERY)
    assert written == set(EVERY) - {"shards"}
    assert {topic for access in ACCESS.values() for topic in access.cuts} == {"commands", "events"}


def test_the_desk_is_on_one_line() -> None:
    assert ACCESS["market_maker"] == Access(reads=("offers",))


async def test_a_login_may_do_what_is_on_its_list_and_nothing_else(walled_kafka: ApacheKafka, prefix: str) -> None:
    """All logins, all topics, all that can be done with a topic: what the broker lets them do is the list, word for word."""
    found = {}
    for user in ACCESS:
        async with asking(walled_kafka.bootstrap, login(walled_kafka, user)) as asks:
            found[user] = {topic: await asks.may(prefix + topic) for topic in EVERY}

    assert found == {user: {topic: listed(access, topic) for topic in EVERY} for user, access in ACCESS.items()}


def listed(access: Access, topic: str) -> str:
    lists = {"read": access.reads, "write": access.writes, "cut": access.cuts}
    words = [word for word, topics in lists.items() if topic in topics]
    return " ".join(["told", *words] if words else [])


async def test_nobody_on_the_list_makes_topics_or_changes_the_list(walled_kafka: ApacheKafka, prefix: str) -> None:
    """The operator's right to cut a log is to the broker the right to delete it as a whole: a setting stands before that."""
    found = {}
    for user in ACCESS:
        async with asking(walled_kafka.bootstrap, login(walled_kafka, user)) as asks:
            found[user] = {word for topic in EVERY for word in await asks.may_govern(prefix + topic)}

    assert found == {user: set() for user in ACCESS}


async def test_the_controller_lets_nobody_in_who_could_change_the_list_there(walled_kafka: ApacheKafka) -> None:
    """It takes changes from whoever it lets in, and listens on a port of its own."""
    (line,) = [
        line
        for line in (walled_kafka.home / "server.properties").read_text().splitlines()
        if line.startswith("controller.quorum.voters=")
    ]
    controller = line.rpartition("@")[2]
    refused = []
    for user in USERS:
        with pytest.raises(BadSettings) as told:
            await Cluster(controller, login=login(walled_kafka, user)).ping()
        refused.append(str(told.value))

    assert refused == [REFUSED.format(user=user, broker=controller) for user in USERS]
    host, _, port = controller.partition(":")
    nobody = await create_conn(host, int(port))
    with pytest.raises(KafkaConnectionError):
        await nobody.send(CreateAclsRequest(2, "events", 3, "User:market_maker", "*", Operation.READ, 3))
    nobody.close()


async def test_the_list_is_put_right_again(administrator: Cluster) -> None:
    """What an older build has granted is taken back, what is missing is added; grants of others stay theirs."""
    too_much = Grant("events", "market_maker", Operation.READ)
    missing = Grant("commands", "gateway", Operation.WRITE)
    others = Grant("events", "backup", Operation.READ)
    before = await administrator.grants(EVERY)
    await administrator.change_grants([too_much, others], [missing])

    with pytest.raises(Halt, match="all 1 shards are started already"):
        await create_topics(administrator, 1, sandbox=True)

    assert await administrator.grants(EVERY) == before | {others}
    assert missing in before


@pytest.mark.kafka
async def test_a_broker_that_keeps_no_lists_is_refused(open_kafka: ApacheKafka) -> None:
    """A login at a broker that lets everybody do everything would only look like a wall."""
    open_to_all = Cluster(open_kafka.bootstrap)
    with pytest.raises(Halt, match=r"lists of who may do what cannot be written: access lists: SecurityDisabled"):
        await raise_walls(open_to_all, EVERY)


# --- What a process meets -------------------------------------------------------------------------------------------


async def test_our_own_client_says_what_it_may_not(walled_kafka: ApacheKafka, prefix: str) -> None:
    """At once, and not after it has looked for the topic in vain."""
    async with Cluster(walled_kafka.bootstrap, prefix=prefix, login=login(walled_kafka, "gateway")) as gateway:
        with pytest.raises(Forbidden, match=r"^requests/0: the broker does not let login 'gateway' read it$"):
            await gateway.log("requests").read(0, wait_ms=100)
        with pytest.raises(Forbidden, match=r"^references/0: the broker does not show it to login 'gateway'$"):
            await gateway.log("references").bounds()
        with pytest.raises(WriteRefused, match=r"TopicAuthorizationFailedError"):
            await gateway.log("events").append([Outgoing(b"forged")])
        with pytest.raises(Halt, match=r"^topic references does not exist, or login 'gateway' may not see it: "):
            await check_topics(gateway, 1, ["references"])
        await gateway.log("requests").append([Outgoing(b"asked")])
    async with Cluster(walled_kafka.bootstrap, prefix=prefix, login=login(walled_kafka, "market_maker")) as desk:
        assert await desk.topics() == {"offers"}
        with pytest.raises(WriteRefused, match=r"ClusterAuthorizationFailedError"):
            await desk.log("offers").append([Outgoing(b"forged")])


REFUSED = (
    "HOURBOOK_KAFKA_USER is '{user}', and the broker at {broker} refuses it: "
    "no such user, or HOURBOOK_KAFKA_PASSWORD is not its password"
)
WRONG = {
    "a wrong password": (
        {"HOURBOOK_KAFKA_USER": "supply", "HOURBOOK_KAFKA_PASSWORD": "guessed"},
        REFUSED.format(user="supply", broker="{broker}"),
    ),
    "no login": ({}, "HOURBOOK_KAFKA_USER is not set, and the broker at {broker} wants a login"),
    "half a login": (
        {"HOURBOOK_KAFKA_USER": "supply"},
        "HOURBOOK_KAFKA_USER is set and HOURBOOK_KAFKA_PASSWORD is not: a login is both",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_service_that_is_not_let_in_says_which_setting_in_one_line(walled_kafka: ApacheKafka, what: str) -> None:
    """And ends with 78: waiting would not help. The password is nowhere."""
    variables, sentence = WRONG[what]
    done = run(walled_kafka.bootstrap, "services.supply", **variables)

    assert done.returncode == 78
    assert sentence.format(broker=walled_kafka.bootstrap) in done.stderr.splitlines()[-1]
    assert "guessed" not in done.stderr


async def test_the_audit_says_so_too(walled_kafka: ApacheKafka, database: str) -> None:
    pool = await open_pool(database)
    await migrate(pool, "settlement", MIGRATIONS)
    await pool.close()
    variables, sentence = WRONG["a wrong password"]
    more = {"HOURBOOK_POSTGRES": database, "HOURBOOK_SHARDS": "1"}
    done = await asyncio.to_thread(run, walled_kafka.bootstrap, "services.audit", **more, **variables)

    assert (done.returncode, done.stderr) == (78, f"audit: {sentence.format(broker=walled_kafka.bootstrap)}\n")


@pytest.mark.parametrize(
    ("words", "code"), [("topics --shards 1", 2), ("first-key --url http://x --profile x.json", 3)]
)
def test_an_administrator_who_is_not_let_in_is_told_in_one_line(
    walled_kafka: ApacheKafka, tmp_path: Path, words: str, code: int
) -> None:
    variables, sentence = WRONG["a wrong password"]
    key = {"HOURBOOK_MASTER_KEY": base64.b64encode(bytes(32)).decode()}
    done = run(walled_kafka.bootstrap, "services.cli", "admin", *words.split(), at=tmp_path, **variables, **key)

    line = done.stderr.removesuffix("\n")
    assert (done.returncode, line.count("\n"), "guessed" in line) == (code, 0, False)
    assert sentence.format(broker=walled_kafka.bootstrap) in line
    assert not (tmp_path / "x.json").exists()


def test_a_login_at_the_sandbox_s_broker_is_a_wrong_setting(broker: MemoryBroker) -> None:
    """It has neither logins nor lists: whoever sets one believes in a wall that is not there."""
    done = run(broker.bootstrap, "services.supply", HOURBOOK_KAFKA_USER="supply", HOURBOOK_KAFKA_PASSWORD="guessed")

    assert done.returncode == 78
    assert f"HOURBOOK_KAFKA_USER is set, and the broker at {broker.bootstrap} takes no logins (PLAIN)" in done.stderr


# --- Encrypted ------------------------------------------------------------------------------------------------------


@pytest.mark.kafka
async def test_a_login_over_tls(open_kafka: ApacheKafka, encrypted: str, certificate: Path) -> None:
    """With the brokers' certificate: known by it, read and written as without."""
    async with Cluster(encrypted, login=Login("supply", "sesame", certificate)) as cluster:
        assert await cluster.ping() == 1
        await cluster.create_topic("offers", 1, 1, {})
        await cluster.log("offers").append([Outgoing(b"offered")])
    async with Cluster(open_kafka.bootstrap) as cluster:
        assert [record.value for record in await cluster.log("offers").read(0, wait_ms=5_000)] == [b"offered"]


@pytest.mark.kafka
@pytest.mark.usefixtures("open_kafka")
def test_a_broker_that_the_certificates_do_not_vouch_for_is_told_nothing(encrypted: str, scratch: Path) -> None:
    """Whoever else listens there might want the password: the process ends before it sends it."""
    other = make_certificate(scratch / "other.p12", "otherwise")
    said = {
        file: run(
            encrypted,
            "services.supply",
            HOURBOOK_KAFKA_USER="supply",
            HOURBOOK_KAFKA_PASSWORD="sesame",
            HOURBOOK_KAFKA_CA=str(file),
        )
        for file in (other, CHECKOUT / "README.md", scratch / "nothing.pem")
    }

    assert [done.returncode for done in said.values()] == [78, 78, 78]
    sentences = [
        rf"HOURBOOK_KAFKA_CA is {other}, and the broker at {encrypted} does not pass it: .*certificate verify failed",
        r"HOURBOOK_KAFKA_CA is .*README\.md, and no certificates in PEM are in it",
        r"HOURBOOK_KAFKA_CA is '.*nothing\.pem', wanted is a file that can be read: No such file",
    ]
    for sentence, done in zip(sentences, said.values(), strict=True):
        assert re.search(sentence, done.stderr.splitlines()[-1]), done.stderr


def make_certificate(store: Path, name: str) -> Path:
    """A key with a certificate that vouches for itself, as Java keeps it; the certificate as PEM."""
    keytool = ["keytool", "-alias", "kafka", "-keystore", store, "-storepass", "sesame-sesame"]
    kind = ["-keyalg", "EC", "-dname", f"CN={name}", "-ext", "san=ip:127.0.0.1", "-ext", "bc:critical=ca:true"]
    use = ["-ext", "ku:critical=digitalSignature,keyCertSign", "-validity", "30", "-storetype", "PKCS12"]
    subprocess.run([*keytool, "-genkeypair", *kind, *use], check=True, capture_output=True)
    subprocess.run(
        [*keytool, "-exportcert", "-rfc", "-file", store.with_suffix(".pem")], check=True, capture_output=True
    )
    return store.with_suffix(".pem")


def run(
    bootstrap: str, module: str, *words: str, at: Path = CHECKOUT, **variables: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HOURBOOK_")}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=at,
        env={**clean, "PYTHONPATH": str(CHECKOUT), "HOURBOOK_KAFKA": bootstrap, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
