"""deploy/Dockerfile and deploy/compose.yaml as far as they can be judged without a container runtime."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from services.cli.rooms import SERVICES
from services.runtime.config import Settings
from services.runtime.infra.kafka import CHECKOUT as INFRA_CHECKOUT
from services.runtime.walls import USERS
from tests.cli.conftest import CHECKOUT

DOCKERFILE = (CHECKOUT / "deploy/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy/compose.yaml").read_text())
BROKER = COMPOSE["services"]["kafka"]
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "hourbook"}
KNOWN = {f"HOURBOOK_{field.name.upper()}" for field in dataclasses.fields(Settings)}
KNOWN |= {"HOURBOOK_KEY", "HOURBOOK_DESK_LIMITS", "HOURBOOK_SUPPLY_SOURCES"}


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each instruction, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last(word: str) -> str:
    return [rest for found, rest in instructions() if found == word][-1]


# --- The image ------------------------------------------------------------------------------------------------------


def test_both_files_say_that_they_were_never_tried() -> None:
    for name, first in (("Dockerfile", "Never built"), ("compose.yaml", "Never started")):
        head = (CHECKOUT / "deploy" / name).read_text()[:800]
        assert f"# {first} where this was written: there was no container runtime." in head
    assert "have never been built or started" in (CHECKOUT / "docs/operations.md").read_text()


def test_the_image_runs_as_nobody_in_particular() -> None:
    """A number, so that an orchestrator can see that it is not root; nothing is run after it as somebody else."""
    user, _, group = last("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    words = [word for word, _ in instructions()]
    assert "RUN" not in words[words.index("USER") :]


def test_every_download_of_the_image_is_checked_against_a_hash() -> None:
    """Only the lock file is installed, by its hashes, and no registry is named: the client's own is used."""
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert "--require-hashes --requirement /tmp/requirements.lock" in installs[0]
    for text in (DOCKERFILE, (CHECKOUT / "deploy/compose.yaml").read_text()):
        assert not re.search(
            r"index-url|find-links|https?://(?!gateway:|market_data:|delivery:|router:|127\.0\.0\.1:)", text
        )


def test_what_is_pinned_and_what_must_not_be_there() -> None:
    """The habits of linters for Dockerfiles: tags, absolute folders, lists as commands, no ADD, no sudo, no upgrade."""
    words = instructions()
    assert all(re.fullmatch(r"\S+:[\w.-]+( AS \w+)?", rest) for word, rest in words if word == "FROM")
    assert not [rest for word, rest in words if word == "FROM" and ":latest" in rest]
    assert not [word for word, _ in words if word in ("ADD", "MAINTAINER")]
    assert not re.search(r"\b(sudo|apt-get upgrade|curl|wget)\b", DOCKERFILE)
    assert all(rest.startswith("[") for word, rest in words if word in ("ENTRYPOINT", "CMD"))
    assert last("WORKDIR").startswith("/")
    assert "PYTHONOPTIMIZE=" not in DOCKERFILE, "services refuse to run without their assertions"


def test_what_is_copied_is_there_and_let_in() -> None:
    """deploy/Dockerfile.dockerignore lets in what is copied and nothing else: no keys, no data, no history."""
    copied = {rest.split()[0] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")}
    ignore = (CHECKOUT / "deploy/Dockerfile.dockerignore").read_text().splitlines()

    assert all((CHECKOUT / path).exists() for path in copied)
    assert ignore[1] == "*"
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == copied


def test_variables_of_the_image_are_settings() -> None:
    assert set(re.findall(r"HOURBOOK_\w+", last("ENV"))) <= KNOWN
    port = re.findall(r"HOURBOOK_STATUS_PORT=(\d+)", DOCKERFILE)[0]
    assert f"127.0.0.1:{port}/status" in last("HEALTHCHECK")


IN_THE_IMAGE = """
import importlib, importlib.metadata, re, sys
module, *locked = sys.argv[1:]
for name, owners in importlib.metadata.packages_distributions().items():
    if not {re.sub("[-_.]+", "-", owner).lower() for owner in owners} & {"hourbook", *locked}:
        sys.modules[name] = None  # not there
importlib.import_module(module)
"""


@pytest.mark.parametrize(
    "module", [*(f"services.{name}.__main__" for name in (*SERVICES, "audit")), "services.cli.__main__"]
)
def test_the_lock_of_the_image_holds_all_that_a_service_imports(module: str) -> None:
    """requirements.lock has neither the sandbox's servers nor the tools of development: what imports one of these ends here."""
    locked = re.findall(r"^([a-z0-9-]+)==", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_IMAGE, module, *locked], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert len(locked) > 20
    assert "pytest" not in locked


# --- Compose --------------------------------------------------------------------------------------------------------


def test_the_services_are_those_of_an_exchange() -> None:
    """Two processes for each of two shards; a broker and a database; nothing else."""
    assert set(COMPOSE["services"]) - set(OURS) == {"kafka", "postgres"}
    rooms = [service["command"][1] for service in OURS.values()]
    assert {service["command"][0] for service in OURS.values()} == {"run"}
    assert set(rooms) == set(SERVICES)
    assert sorted(
        (service["environment"]["HOURBOOK_SHARD"], name)
        for name, service in OURS.items()
        if name.startswith("matching")
    ) == [("0", "matching-0a"), ("0", "matching-0b"), ("1", "matching-1a"), ("1", "matching-1b")]


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_its_settings_and_no_others(name: str) -> None:
    """Variables that the program knows, all that it needs, and of the secrets only its own."""
    service = OURS[name]
    environment = service["environment"]
    assert set(environment) <= KNOWN
    # What the image sets for all of them comes on top.
    values = {"HOURBOOK_DATA": "/data", "HOURBOOK_LISTEN": "0.0.0.0", "HOURBOOK_STATUS_PORT": "9100", **environment}
    values = {key: re.sub(r"\$\{\w+:\?\}", "A" * 43 + "=", value) for key, value in values.items()}
    settings = Settings.from_environment(values, needs=("kafka",))
    assert settings.name in ("", name)
    room = service["command"][1]
    assert ("HOURBOOK_MASTER_KEY" in environment) == (room == "gateway")
    assert ("HOURBOOK_FEED_KEY" in environment) == (room == "market_data")
    assert ("HOURBOOK_DELIVERY_KEY" in environment) == (room == "delivery")
    assert ("HOURBOOK_ROUTER_KEY" in environment) == (room == "router")
    assert ("HOURBOOK_POSTGRES" in environment) == (room in ("settlement", "matching", "delivery", "router", "gateway"))
    assert environment["HOURBOOK_KAFKA_USER"] == room
    assert environment["HOURBOOK_KAFKA_PASSWORD"] == f"${{{room.upper()}_KAFKA_PASSWORD:?}}"
    if "HOURBOOK_POSTGRES" in environment:
        # Its own role, and no password in the file.
        own = rf"postgresql://hourbook_{room}:\$\{{[A-Z_]+:\?\}}@postgres:5432/hourbook"
        assert re.fullmatch(own, environment["HOURBOOK_POSTGRES"])


@pytest.mark.parametrize("name", OURS)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = OURS[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_prometheus_asks_every_service_at_the_port_of_the_image() -> None:
    scrape = yaml.safe_load((CHECKOUT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    port = re.findall(r"HOURBOOK_STATUS_PORT=(\d+)", DOCKERFILE)[0]
    assert sorted(scrape[0]["static_configs"][0]["targets"]) == sorted(f"{name}:{port}" for name in OURS)


def test_the_two_processes_of_a_shard_share_its_snapshots() -> None:
    """And nobody else's; every volume that is named is declared."""
    folders = {name: service.get("volumes", []) for name, service in OURS.items()}
    assert {name: mounts for name, mounts in folders.items() if mounts} == {
        f"matching-{shard}{letter}": [f"shard-{shard}:/data"] for shard in (0, 1) for letter in "ab"
    }
    named = {
        mount.partition(":")[0] for service in COMPOSE["services"].values() for mount in service.get("volumes", [])
    }
    assert named == set(COMPOSE["volumes"])
    assert COMPOSE["secrets"].keys() == {"desk_key"}
    ignored = (CHECKOUT / "deploy/.gitignore").read_text().split()
    assert {"desk.key", "secrets.env"} <= set(ignored)


def test_the_broker_knows_every_login_and_no_other() -> None:
    """Each with a password of its own; the controller lets in the broker alone."""
    names = (
        "KAFKA_LISTENER_NAME_CLIENTS_PLAIN_SASL_JAAS_CONFIG",
        "KAFKA_LISTENER_NAME_CONTROLLER_PLAIN_SASL_JAAS_CONFIG",
    )
    clients, controller = (
        dict(re.findall(r'user_(\w+)="\$\{(\w+):\?\}"', BROKER["environment"][name])) for name in names
    )

    assert clients == {user: f"{user.upper()}_KAFKA_PASSWORD" for user in (*USERS, "broker")}
    assert controller == {"broker": "BROKER_KAFKA_PASSWORD"}


def test_the_broker_is_the_version_that_is_tested() -> None:
    pom = (CHECKOUT / "deploy/kafka/pom.xml").read_text()
    assert f"apache/kafka:{re.findall(r'<kafka.version>(.+)</kafka.version>', pom)[0]}" in str(COMPOSE)
    assert INFRA_CHECKOUT == CHECKOUT
