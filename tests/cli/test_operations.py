"""docs/operations.md against the program: settings, what each service needs, topics, exit codes, and its commands."""

import dataclasses
import os
import re
import subprocess
import sys

import pytest

from services.cli import errors
from services.cli.errors import CliError
from services.cli.rooms import SERVICES
from services.runtime import errors as endings
from services.runtime.config import Settings
from services.runtime.errors import ServiceEnd
from services.runtime.topics import ALL, PROBE, wanted_settings
from services.runtime.walls import ACCESS
from tests.cli.conftest import CHECKOUT, Sandbox
from tests.cli.documents import commands, table

DOCUMENT = "docs/operations.md"
TEXT = (CHECKOUT / DOCUMENT).read_text()
OF_SINGLE_SERVICES = {
    "HOURBOOK_KEY", "HOURBOOK_DESK_LIMITS", "HOURBOOK_SUPPLY_SOURCES", "HOURBOOK_KEYS",
    "HOURBOOK_DEMO_ORDERS_PER_MINUTE", "HOURBOOK_DEMO_SEED", "HOURBOOK_HOSTS_CLASS", "HOURBOOK_HOSTS_SEATS",
}  # fmt: skip
OF_THE_COMMAND_LINE = {"HOURBOOK_HOME", "HOURBOOK_PROFILE"}


def test_every_setting_is_explained_and_none_that_is_not_there() -> None:
    rows = [row[0] for row in table(DOCUMENT, "variable")]

    assert rows == [f"`HOURBOOK_{name}`" for name in _in_order(rows)]
    assert set(re.findall(r"HOURBOOK_[A-Z_]+", TEXT)) - OF_SINGLE_SERVICES - OF_THE_COMMAND_LINE == {
        f"HOURBOOK_{field.name.upper()}" for field in dataclasses.fields(Settings)
    }


def _in_order(rows: list[str]) -> list[str]:
    """The document's own order; the names are the program's."""
    names = [row.strip("`").removeprefix("HOURBOOK_") for row in rows]
    assert sorted(names) == sorted(field.name.upper() for field in dataclasses.fields(Settings))
    return names


def test_variables_outside_the_settings_are_read_somewhere() -> None:
    source = "".join(file.read_text() for file in (CHECKOUT / "services").rglob("*.py"))

    assert {name for name in OF_SINGLE_SERVICES | OF_THE_COMMAND_LINE if f'"{name}"' not in source} == set()


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_cannot_do_without(service: str) -> None:
    """The service itself says it, when it is started with nothing."""
    row = next(row for row in table(DOCUMENT, "service") if row[0] == f"`{service}`")
    needed = row[3].partition(" (and ")[0]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOURBOOK_")}
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "run", service],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 78
    assert re.fullmatch(r"settings: (HOURBOOK_\w+ is not set(; )?)+\n", done.stderr)
    assert re.findall(r"HOURBOOK_\w+", done.stderr) == re.findall(r"HOURBOOK_\w+", needed)


def test_every_topic_and_its_settings() -> None:
    shown = dict(table(DOCUMENT, "setting"))
    wanted = wanted_settings(3)

    assert list(shown) == [f"`{name}`" for name in wanted]
    assert {name for name, value in wanted.items() if f"{value}" not in shown[f"`{name}`"]} == set()
    section = TEXT.partition("## Topics")[2].partition("\n\n")[0]
    assert {topic for topic in (*ALL, PROBE) if f"`{topic}`" not in section} == set()


def test_every_login_and_what_it_may_do() -> None:
    """The list that the broker is made to keep."""
    rows = [[re.findall(r"`(\w+)`", cell) for cell in row] for row in table(DOCUMENT, "login")]

    assert rows == [[[user], *map(list, access)] for user, access in ACCESS.items()]


def test_every_exit_code() -> None:
    of_services = {int(row[0]) for row in table(DOCUMENT, "code")}
    of_hourbook = {int(code) for row in table(DOCUMENT, "exit code") for code in row[0].split(", ")}

    assert of_services == {0, 1} | {kind.exit_code for kind in _subclasses(endings, ServiceEnd)}
    assert of_hourbook == {0, 1, 65, 69, 78} | {
        kind.exit_code for kind in _subclasses(errors, CliError) if kind is not errors.ToolEnded
    }


def _subclasses(module: object, base: type) -> list[type]:
    return [
        kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    ]


def test_every_way_to_fail_has_its_own_code() -> None:
    """Of the program's own problems; a program tells them apart by it."""
    kinds = _subclasses(errors, CliError)

    assert len({kind.code for kind in kinds}) == len(kinds) == 5


LOOKING = {
    *("hourbook status", "hourbook audit", "hourbook admin promises"),
    *("hourbook replay --shard 0", "hourbook snapshot --shard 0"),
}


def test_what_operators_type_works(sandbox: Sandbox) -> None:
    """What only looks and what archives, in the sandbox; a new exchange is opened by tests/cli/test_production.py."""
    typed = [line for line in commands(DOCUMENT) if line in LOOKING or line.startswith("hourbook archive")]
    ends = {line: sandbox.run(f".venv/bin/{line}") for line in typed}

    assert set(typed) > LOOKING
    # A young exchange: an audit without --young finds nothing to look at for some invariants, says so, and ends with 1.
    assert {line: done.code for line, done in ends.items()} == dict.fromkeys(typed, 0) | {"hourbook audit": 1}
    assert "none broken" in ends["hourbook audit"].out
    assert re.match(r"commands/0: copied below offset \d+; ", ends["hourbook archive --shard 0"].out)
