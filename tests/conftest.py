"""Servers for tests, and the only reasons for which a test may skip.

kafka           ApacheKafka   one for the session; marks the test `kafka`
walled_kafka    ApacheKafka   another, where clients log in (`logins`) and may do what the access lists say; marks `kafka`
broker          MemoryBroker   one for the session, in memory
postgres        LocalPostgres one for the session, the machine's or the wheel's; marks the test `postgres`
topic_prefix    str           for topics that no other test sees
database        str           connection string of an empty database, dropped afterwards
own_kafka       ApacheKafka   not started yet, for one test, which may crash it; marks `kafka`
own_postgres    LocalPostgres same; marks `postgres`
chromium        Browser       of tests/browser; marks the test `browser`
scratch         Path          an empty folder that the database's user may enter, removed afterwards
"""

import os
import secrets
from collections import Counter
from collections.abc import Generator, Iterator
from enum import StrEnum
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from services.runtime.infra import ApacheKafka, LocalPostgres, MemoryBroker, any_postgres, open_folder
from services.runtime.walls import USERS

# A property is right or wrong; how long one example takes on a busy machine says nothing of it.
hypothesis.settings.register_profile("hourbook", deadline=None)
hypothesis.settings.load_profile("hourbook")


class Skip(StrEnum):
    """Why a test may skip; any other reason fails it. With --must-run these fail as well, for SERVER_MARKERS."""

    NO_KAFKA = "this machine has no Apache Kafka: it needs java and mvn, then `make kafka`"
    NO_POSTGRES = "this machine has no Postgres of its own"
    NO_BROWSER = "this machine has no browser: it needs chromium on the PATH"
    NO_PAGE = "the page is not built here: `make web` says why"
    NO_CATALOGUES = "shared catalogues absent"
    NO_SSH = "this machine has no ssh"
    NO_USERS = "users of the system are only made by root, with useradd"


SERVER_MARKERS = ("kafka", "postgres", "browser")
"""What a green run must not have gone without."""
MARKER_OF = {
    "kafka": "kafka",
    "walled_kafka": "kafka",
    "own_kafka": "kafka",
    "postgres": "postgres",
    "own_postgres": "postgres",
    "chromium": "browser",
}
"""Fixture: the marker that it sets, so that nobody forgets it."""
TOGETHER = ("tests/browser/", "tests/cli/", "tests/gateway/", "tests/hostile/")
"""Folders whose tests share a whole exchange. Where several processes run the tests, one starts it and runs all of a folder."""
APART = (
    "tests/browser/test_bodies.py",
    "tests/cli/test_durable.py",
    "tests/cli/test_production.py",
    "tests/cli/test_deploy.py",
    "tests/hostile/test_decoders.py",
)
"""Files in them that do not."""

# Brokers come and go here: what the second compiler would gain, none of them lives to see.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


@pytest.fixture(scope="session")
def kafka() -> Iterator[ApacheKafka]:
    _require_kafka()
    with open_folder() as home, ApacheKafka(home / "kafka") as server:
        yield server


@pytest.fixture(scope="session")
def walled_kafka() -> Iterator[ApacheKafka]:
    _require_kafka()
    logins = {user: secrets.token_urlsafe(24) for user in USERS}
    with open_folder() as home, ApacheKafka(home / "kafka", logins=logins) as server:
        yield server


@pytest.fixture(scope="session")
def broker() -> Iterator[MemoryBroker]:
    with open_folder() as home, MemoryBroker(home / "broker") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    with open_folder() as home, any_postgres()(home / "postgres", fsync=False) as server:
        yield server


@pytest.fixture
def own_kafka(scratch: Path) -> Iterator[ApacheKafka]:
    _require_kafka()
    server = ApacheKafka(scratch / "kafka")
    yield server
    server.stop()


@pytest.fixture
def own_postgres(scratch: Path) -> Iterator[LocalPostgres]:
    server = any_postgres()(scratch / "postgres", fsync=False)
    yield server
    server.stop()


def _require_kafka() -> None:
    if ApacheKafka.missing() is not None:
        pytest.skip(Skip.NO_KAFKA)


@pytest.fixture
def topic_prefix() -> str:
    return f"t{secrets.token_hex(4)}-"


@pytest.fixture
def database(postgres: LocalPostgres) -> Iterator[str]:
    name = f"t{secrets.token_hex(4)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def scratch() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        default="",
        metavar="MARKERS",
        help="kafka,postgres,...: fail when a test that needs a server skips, or when none with such a marker ran",
    )


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKER_OF:
                item.add_marker(MARKER_OF[fixture])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return ByExchange(config, log)


class ByExchange(LoadFileScheduling):
    """Whole files in turn to whichever process is free, and some folders whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return next((folder for folder in TOGETHER if file.startswith(folder) and file not in APART), file)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needs = [marker for marker in SERVER_MARKERS if item.get_closest_marker(marker)]
    if report.skipped and not hasattr(report, "wasxfail"):
        _judge_skip(report, needs if item.config.getoption("--must-run") else [])
    # Not in the stash: with several processes, the report is what travels to the one that counts.
    report.servers = needs  # type: ignore[attr-defined]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _judge_skip(report, [])
    return report


def _judge_skip(report: pytest.TestReport | pytest.CollectReport, needs: list[str]) -> None:
    """Turns a skip into a failure, unless its reason is one of ours and the test may go without its server."""
    assert isinstance(report.longrepr, tuple)
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason not in list(Skip):
        report.outcome = "failed"
        report.longrepr = f"skipped for a reason that tests/conftest.py does not list: {reason}"
    elif needs:
        report.outcome = "failed"
        report.longrepr = f"must run here, as it needs {', '.join(needs)}, and skipped: {reason}"


class Ran:
    """Counts the tests that passed with each kind of server."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.count.update(report.servers)  # type: ignore[attr-defined]


RAN = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    ran = Ran()
    config.stash[RAN] = ran.count
    config.pluginmanager.register(ran)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """None looked at is a failure, too."""
    if hasattr(session.config, "workerinput"):
        return  # one of several processes; the one that started them has all reports
    idle = [marker for marker in _must_run(session.config) if not session.config.stash[RAN][marker]]
    if idle and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran = config.stash[RAN]
    if must_run := _must_run(config):
        terminalreporter.write_line("ran: " + ", ".join(f"{ran[marker]} {marker}" for marker in must_run))


def _must_run(config: pytest.Config) -> list[str]:
    return [marker for marker in config.getoption("--must-run").split(",") if marker]
