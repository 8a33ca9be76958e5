"""A new exchange as docs/operations.md opens it; broker and services as deploy/compose.yaml sets them, as plain processes.

Apache Kafka, Postgres, one login and one database role per service: what a container would add is the container.
"""

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from services.cli.status import Status
from services.runtime.infra import ApacheKafka, Program, Supervisor, free_port
from tests.cli.conftest import CHECKOUT, Place
from tests.cli.documents import blocks
from tests.cli.test_deploy import BROKER, OURS
from tests.conftest import Skip

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(500)]

PASSWORD = "sesame"
ROLES = ("settlement", "gateway", "matching", "delivery", "router", "audit")


class Production(Place):
    """Where an operator types, and addresses that take the place of the document's."""

    def __init__(self, folder: Path, kafka: ApacheKafka, database: str, prefix: str) -> None:
        super().__init__(folder)
        (folder / "deploy").mkdir()
        (folder / "services").symlink_to(CHECKOUT / "services")
        self.port, self.market_port, self.feed_port = free_port(), free_port(), free_port()
        self.delivery_port, self.router_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.kafka = kafka.bootstrap
        self.database = database
        self.common = {"HOURBOOK_TOPIC_PREFIX": prefix, "HOURBOOK_RUN": str(folder / "run")}
        self.master_key = base64.b64encode(bytes(range(32))).decode()
        self.environment |= {
            **self.common,
            "HOURBOOK_KAFKA": self.kafka,
            **login("administrator"),
            "HOURBOOK_SHARDS": "2",
            "HOURBOOK_MASTER_KEY": self.master_key,
            "ADMINISTRATOR": database,
            "PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}",
        }

    def dsn_of(self, service: str) -> str:
        at = urlsplit(self.database)
        return f"postgresql://hourbook_{service}:{PASSWORD}@{at.hostname}:{at.port}{at.path}"

    def shell(self, words: str) -> str:
        done = self.run(f"set -e\n{words.replace('http://gateway:8080', self.url)}", timeout_s=200)
        assert done.code == 0, done
        return done.out

    def program(self, name: str) -> Program:
        """A service of compose.yaml; names of containers become addresses of this machine, secrets their values."""
        at = urlsplit(self.database)
        put = {
            "kafka:9092": self.kafka,
            "postgres:5432/hourbook": f"{at.hostname}:{at.port}{at.path}",
            "http://gateway:8080": self.url,
            "${HOURBOOK_MASTER_KEY:?}": self.master_key,
            "${HOURBOOK_FEED_KEY:?}": self.shell("hourbook admin feed-key").strip(),
            "${HOURBOOK_DELIVERY_KEY:?}": self.shell("hourbook admin delivery-key").strip(),
            "${HOURBOOK_ROUTER_KEY:?}": self.shell("hourbook admin router-key").strip(),
            "http://market_data:8082": f"http://127.0.0.1:{self.market_port}",
            "http://delivery:8083": f"http://127.0.0.1:{self.delivery_port}",
            "http://router:8084": f"http://127.0.0.1:{self.router_port}",
            "/run/secrets/desk_key": str(self.folder / "deploy/desk.key"),
        }
        text = json.dumps(OURS[name]["environment"])
        for before, after in put.items():
            text = text.replace(before, after)
        environment: dict[str, str] = json.loads(secrets_of(text))
        ports = {
            "gateway": {"HOURBOOK_HTTP_PORT": self.port},
            "market_data": {"HOURBOOK_HTTP_PORT": self.market_port, "HOURBOOK_FEED_PORT": self.feed_port},
            "delivery": {"HOURBOOK_HTTP_PORT": self.delivery_port},
            "router": {"HOURBOOK_HTTP_PORT": self.router_port},
        }
        environment |= {variable: str(port) for variable, port in ports.get(name, {}).items()}
        for volume in OURS[name].get("volumes", []):
            environment["HOURBOOK_DATA"] = str(self.folder / volume.partition(":")[0])
        command = [str(self.folder / ".venv/bin/hourbook"), *OURS[name]["command"]]
        return Program(name, command, {"HOURBOOK_NAME": name, **self.common, **environment})

    def until(self, true: Callable[[], bool], supervisor: Supervisor, what: str) -> None:
        deadline = time.monotonic() + 200
        while not true():
            supervisor.poll()
            assert time.monotonic() < deadline, f"{what}: {self.hourbook('status')}"
            time.sleep(0.2)


def secrets_of(text: str) -> str:
    """What deploy/secrets.env would put in: every login at the broker has another password."""
    text = re.sub(r"\$\{(\w+_KAFKA)_PASSWORD:\?\}", lambda found: found[1].lower(), text)
    return re.sub(r"\$\{\w+_PASSWORD:\?\}", PASSWORD, text)


def login(user: str) -> dict[str, str]:
    return {"HOURBOOK_KAFKA_USER": user, "HOURBOOK_KAFKA_PASSWORD": f"{user}_kafka"}


def broker_of_compose(home: Path) -> ApacheKafka:
    """With the settings of the container, which the image makes of KAFKA_*, at addresses and in folders of this machine."""
    port, controller_port = free_port(), free_port()
    text = secrets_of(json.dumps(BROKER["environment"]))
    for before, after in {
        "CLIENTS://:9092": f"CLIENTS://127.0.0.1:{port}",
        "CLIENTS://kafka:9092": f"CLIENTS://127.0.0.1:{port}",
        "CONTROLLER://:9093": f"CONTROLLER://127.0.0.1:{controller_port}",
        "1@localhost:9093": f"1@127.0.0.1:{controller_port}",
        "/var/lib/kafka/data": str(home / "data"),
    }.items():
        assert before in text
        text = text.replace(before, after)
    settings = {
        # One underscore is a dot, two are one.
        re.sub("_+", lambda found: "." if len(found[0]) == 1 else "_", name.removeprefix("KAFKA_")).lower(): value
        for name, value in json.loads(text).items()
    }
    return ApacheKafka(home, port, settings=settings)


@pytest.fixture
def production(scratch: Path, database: str, topic_prefix: str) -> Iterator[Production]:
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)
    with broker_of_compose(scratch / "kafka") as kafka:
        yield Production(scratch, kafka, database, topic_prefix)
    # Roles are the whole server's; other tests make them anew.
    drop = "".join(f"DROP OWNED BY hourbook_{role}; " for role in ROLES)
    subprocess.run(["psql", database, "--quiet", "--command", drop], check=True)


def test_a_new_exchange_is_opened_as_documented(production: Production) -> None:
    topics, tables, roles, first_key = blocks("docs/operations.md")[0].splitlines()
    furnish = blocks("docs/operations.md")[1]

    assert "topics of 2 shards are there" in production.shell(topics)
    again = production.run(topics)
    assert (again.code, again.err) == (3, "hourbook: all 2 shards are started already\n")
    make_tables(production, tables)
    production.shell(roles)
    for role in ROLES:
        production.shell(f"psql $ADMINISTRATOR --quiet -c \"ALTER ROLE hourbook_{role} LOGIN PASSWORD '{PASSWORD}'\"")
    production.shell(first_key)
    assert json.loads((production.folder / "operator.json").read_bytes())["url"] == production.url

    with Supervisor(production.folder / "logs", restarts_in_a_row_max=20) as supervisor:
        for name in OURS:
            if name != "market_maker":
                supervisor.start(production.program(name))
        production.until(lambda: are_open(production, set(OURS) - {"market_maker"}), supervisor, "all but the desk run")
        production.shell(furnish)
        supervisor.start(production.program("market_maker"))
        production.until(lambda: asked(production), supervisor, "the desk asks")
        found = status(production)
        words = ("buy", "1", "H100.SXM.80.US", "--price", "6.60", "--hour", "in 3 hours")
        bought = production.hourbook("--json", *words, HOURBOOK_PROFILE="ana.json")
        audited = production.hourbook(
            "--json", "audit", "--young", HOURBOOK_POSTGRES=production.dsn_of("audit"), **login("operator")
        )

        assert sorted(each.name for each in found.processes) == sorted(OURS)
        assert bought.code == 0, bought
        assert json.loads(bought.out)["fills"][0]["counterparty"] == "desk"
        assert audited.code == 0, audited
        assert supervisor.restarts() == dict.fromkeys(OURS, 0), "each started under its own role at once"


def make_tables(production: Production, words: str) -> None:
    """Step 2: as the database's owner, until it says that it settles."""
    with (production.folder / "first.log").open("wb") as log:
        process = subprocess.Popen(
            f"exec env {words}", shell=True, cwd=production.folder, env=production.environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 100
    while '"what": "settles"' not in (production.folder / "first.log").read_text():
        assert process.poll() is None, (production.folder / "first.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 0


def are_open(production: Production, names: set[str]) -> bool:
    found = status(production)
    return (
        found.well and {each.name for each in found.processes} == names and "open" in {e.does for e in found.processes}
    )


def status(production: Production) -> Status:
    return msgspec.json.decode(production.hourbook("--json", "status").out, type=Status)


def asked(production: Production) -> bool:
    """In the hour that is bought: the desk sells nothing of an hour that is about to end, nor of the one after it."""
    words = ("book", "H100.SXM.80.US", "--hour", "in 3 hours")
    done = production.hourbook("--json", *words, HOURBOOK_PROFILE="ana.json")
    return done.code == 0 and bool(json.loads(done.out)["asks"])
