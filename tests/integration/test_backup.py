"""The database lost under an exchange that runs, and restored as docs/operations.md has it: real servers, Postgres' own tools.

The commands are the document's. Each test begins a backup, destroys the database, and leaves an exchange in which all is well.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.runtime.infra import LocalPostgres, OwnedProcess, open_folder
from tests.cli.documents import blocks
from tests.conftest import Skip
from tests.integration.hall import CLASSES, Hall, open_hall

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
STREAM, BASE, RESTORE, *_ = blocks("docs/operations.md", "Backup")
READS = ("/v1/orders", "/v1/fills", "/v1/positions", "/v1/balance", "/v1/ledger")
"""What a member would miss."""


class Backup:
    """One folder `$BACKUP`: a stream of WAL, and a base backup."""

    def __init__(self, hall: Hall, folder: Path) -> None:
        self.postgres = hall.postgres
        self.folder = folder
        self.user = hall.postgres.os_user
        self.environment = {
            "PATH": f"{hall.postgres._bin}:{os.environ['PATH']}",
            "ADMINISTRATOR": hall.postgres.dsn,
            "BACKUP": str(folder),
            "PGDATA": str(hall.postgres.home / "cluster"),
        }
        folder.mkdir()
        if self.user is not None:
            os.chown(folder, self.user.uid, self.user.gid)
        *once, self._for_ever = STREAM.splitlines()
        self.shell("\n".join(once))
        self.stream()

    def stream(self) -> None:
        """Receive WAL, until the receiver is stopped."""
        self.receiver = OwnedProcess(
            ["sh", "-c", f"exec env {self._for_ever}"],
            log=self.folder / "receiver.log",
            env=self.environment,
            cwd=self.folder,
            os_user=self.user,
        )

    def shell(self, words: str) -> None:
        """As the database's user."""
        user = {"user": self.user.uid, "group": self.user.gid, "extra_groups": []} if self.user is not None else {}
        done = subprocess.run(
            ["sh", "-ec", words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **user,  # type: ignore[call-overload] # as subprocess takes them
        )
        assert done.returncode == 0, done.stderr

    def lose_database(self) -> None:
        """In a moment; the stream ends with it."""
        self.postgres.kill9()
        self.receiver.stop()
        shutil.rmtree(self.environment["PGDATA"])

    def restore(self, *, through_wal: bool) -> None:
        """To the latest moment, or to that of the base backup alone."""
        self.shell(RESTORE if through_wal else RESTORE.splitlines()[0])
        self.postgres.start()


class Backups:
    """One after the other, each in a folder of its own."""

    def __init__(self, hall: Hall, home: Path) -> None:
        self.hall = hall
        self._home = home
        self._made: list[Backup] = []

    def begin(self) -> Backup:
        """The stream, in the place of the one before it; without any nothing commits any more, once there was one."""
        self.end()
        backup = Backup(self.hall, self._home / f"backup-{len(self._made)}")
        self._made.append(backup)
        return backup

    def end_for_ever(self) -> None:
        """Commits wait for nobody any more: processes can end."""
        self.end()
        for backup in self._made[-1:]:
            backup.shell('psql "$ADMINISTRATOR" -c "ALTER SYSTEM RESET ALL" -c "SELECT pg_reload_conf()"')

    def end(self) -> None:
        """No stream runs."""
        for backup in self._made:
            backup.receiver.stop()


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    """Whoever is halted is tried again, as `make up` and containers do it."""
    if LocalPostgres.missing() is not None:
        pytest.skip(Skip.NO_POSTGRES)  # pg_verifybackup of the wheel ends with a segmentation fault
    with open_hall(rate=1, always=True) as running:
        # What it buys with is in its shard: its bids move no money.
        fund(running, "1000")
        yield running


@pytest.fixture(scope="module")
def backups(hall: Hall) -> Iterator[Backups]:
    with open_folder() as home:
        made = Backups(hall, home)
        yield made
        made.end_for_ever()


def fund(hall: Hall, amount: str) -> None:
    hall.settle("/v1/transfers", {"direction": "to_trading", "amount": amount, "class": CLASSES[0]}, "buyer")


def trade(hall: Hall, client_id: str) -> None:
    """Two are asked, one is bought, one more is bid for; what is refused for the moment is sent again, as a client would."""
    contract = hall.hours(CLASSES[0])[3]["contract"]
    for who, side, qty, price in (
        ("provider", "sell", 2, "2.60"),
        ("buyer", "buy", 1, "2.60"),
        ("buyer", "buy", 1, "2.40"),
    ):
        terms = {"contract": contract, "side": side, "qty": qty, "price": price}
        order = {**terms, "client_order_id": f"{client_id}-{side}-{price}"}
        hall.until(lambda who=who, order=order: placed(hall, who, order), "the order is taken")


def placed(hall: Hall, who: str, order: dict[str, Any]) -> bool:
    answer = hall.ask("POST", "/v1/orders", hall.bearers[who], order)
    assert answer.status_code == 201 or answer.json()["retryable"], answer.text
    return answer.status_code == 201


def bid(hall: Hall) -> dict[str, Any]:
    return {"contract": hall.hours(CLASSES[0])[3]["contract"], "side": "buy", "qty": 1, "price": "2.40"}


def owned(hall: Hall) -> dict[str, Any]:
    """As the members see it; what is refused for the moment is its code."""
    asked = [(who, path) for who in ("buyer", "provider") for path in READS]
    answers = {f"{who} {path}": hall.ask("GET", path, hall.bearers[who]) for who, path in asked}
    return {what: answer.json() if answer.is_success else code(answer) for what, answer in answers.items()}


def settled(hall: Hall) -> dict[str, Any]:
    """The same, once nothing is refused."""
    found = owned(hall)
    assert {what: said for what, said in found.items() if not said or isinstance(said, str)} == {}
    return found


def code(answer: Any) -> str:
    return "nobody answers" if answer.status_code == 599 else answer.json()["code"]


NOT_YET = ("not_settled_yet", "not_ready", "nobody answers")


def until_all_is_there(hall: Hall, wanted: dict[str, Any]) -> None:
    """Members look all the while: they are told what they had, or nothing, and never what was before."""

    def all_is_there() -> bool:
        found = owned(hall)
        told = {what: said for what, said in found.items() if said not in NOT_YET}
        assert told == {what: wanted[what] for what in told}, "the past was told"
        return len(told) == len(wanted)

    hall.until(all_is_there, "everything is there again")


def all_is_well(hall: Hall, client_id: str) -> None:
    """It trades on, and log and ledger agree."""
    hall.until(lambda: hall.ask("GET", "/v1/status").json()["accepting_orders"], "orders are taken")
    hall.until(lambda: set(hall.waits().values()) == {""}, "nobody waits")
    trade(hall, client_id)
    hall.until_settled()
    assert {finding.name: finding.breaches for finding in hall.audited() if finding.broken} == {}


def test_restored_to_the_latest_moment_it_has_lost_nothing(hall: Hall, backups: Backups) -> None:
    """A transfer and a trade just before the end, both only in the stream."""
    backup = backups.begin()
    backup.shell(BASE)
    fund(hall, "50")
    trade(hall, "before")
    assert hall.rows("SELECT application_name, sync_state FROM pg_stat_replication") == [("hourbook_backup", "sync")]
    before = settled(hall)
    backup.lose_database()

    backup.restore(through_wal=True)
    backups.begin()

    until_all_is_there(hall, before)
    all_is_well(hall, "after")


def test_restored_to_before_what_it_has_only_read_it_catches_up(hall: Hall, backups: Backups) -> None:
    """No money was moved since the base backup, and the stream is lost as well."""
    backup = backups.begin()
    backup.shell(BASE)
    trade(hall, "only-read")
    before = settled(hall)
    backup.lose_database()

    backup.restore(through_wal=False)
    backups.begin()

    until_all_is_there(hall, before)
    all_is_well(hall, "caught-up")


def test_restored_to_before_a_confirmed_transfer_settlement_halts_and_the_right_restore_mends_it(
    hall: Hall, backups: Backups
) -> None:
    """Its sentence says why. Meanwhile cancels pass, orders are refused, and nobody is told the past."""
    backup = backups.begin()
    backup.shell(BASE)
    fund(hall, "70")
    trade(hall, "transferred")
    before = settled(hall)
    waits = hall.ask("POST", "/v1/orders", hall.bearers["maker"], bid(hall)).json()["order_id"]
    backup.lose_database()

    backup.restore(through_wal=False)
    wrong = backups.begin()

    hall.until(lambda: halted(hall) is not None, "settlement halts")
    assert re.search(r"shard 0 confirms message (\d+); confirmed so far (\d+), sent \2\b", halted(hall) or "")
    deadline = time.monotonic() + 3
    hall.until(lambda: time.monotonic() > deadline, "three seconds")
    assert {what: said for what, said in owned(hall).items() if said not in NOT_YET} == {}
    refused = hall.ask("POST", "/v1/orders", hall.bearers["buyer"], bid(hall))
    assert (refused.status_code, code(refused)) == (503, "overloaded")
    assert hall.ask("DELETE", f"/v1/orders/{waits}", hall.bearers["maker"]).json()["cancelled"] == 1
    wrong.lose_database()

    backup.restore(through_wal=True)
    backups.begin()

    until_all_is_there(hall, before)
    hall.until_settled()
    assert hall.ask("GET", f"/v1/orders/{waits}", hall.bearers["maker"]).json()["state"] == "cancelled"
    all_is_well(hall, "mended")


def halted(hall: Hall, name: str = "settlement") -> str | None:
    """What a process said when it halted; None: it has not."""
    (life,) = [life for life in hall.supervisor.lives() if life.name == name]
    return life.last_words if life.exit_code == os.EX_DATAERR else None


def test_while_the_stream_is_away_nothing_is_settled_and_afterwards_all_is(hall: Hall, backups: Backups) -> None:
    """As without Postgres: what was acknowledged is not told before it is safe, and new orders are refused."""
    backup = backups.begin()
    all_is_well(hall, "streamed")
    backup.receiver.stop()
    trade(hall, "unsafe")
    assert {what: said for what, said in owned(hall).items() if said not in NOT_YET} == {}
    hall.until(lambda: not hall.ask("GET", "/v1/status").json()["accepting_orders"], "orders are refused")

    backup.stream()

    hall.until(lambda: not any(said in NOT_YET for said in owned(hall).values()), "all is told")
    ids = {order["client_order_id"] for order in settled(hall)["buyer /v1/orders"]}
    assert ids > {"unsafe-buy-2.60", "unsafe-buy-2.40"}
    all_is_well(hall, "streamed-again")


# --- Archive and snapshots -----------------------------------------------------------------------------------


def tool(hall: Hall, words: str) -> tuple[int, str]:
    """`hourbook ...` as an operator types it: how it ended, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *words.split()[1:]],
        env={**os.environ, **hall.stack.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archived(hall: Hall) -> Path:
    """Folder of the archive: the old part of shard 0's logs is there, and nowhere else."""
    trade(hall, "archived")
    hall.until_settled()
    (block,) = blocks("docs/operations.md", "Archive")
    for words in block.splitlines():
        ended, said = tool(hall, words)
        assert ended == 0, said
    assert re.search(r"^events/0: copied below offset (\d+); the log now begins at \1$", said, re.MULTILINE)
    return hall.stack.home / "data/archive"


def test_what_was_archived_and_is_lost_is_missed_by_replay_and_audit_until_it_is_put_back(
    hall: Hall, archived: Path, tmp_path: Path
) -> None:
    """The market goes on without; the tools name what is missing, and are content with a copy."""
    typed = ("hourbook replay --shard 0", "hourbook audit --young", "hourbook archive --shard 0")
    shutil.copytree(archived, tmp_path / "archive")
    shutil.rmtree(archived)

    replayed, audited, again = (tool(hall, words) for words in typed)
    trade(hall, "without")
    shutil.copytree(tmp_path / "archive", archived)

    begins = re.findall(r"commands/0 was cut: it begins at (\d+)", replayed[1])[0]
    missing = (
        f"commands/0 was cut: it begins at {begins}, and nothing of it has been read yet; "
        "what was before is in the archive (HOURBOOK_DATA/archive)"
    )
    assert replayed == (65, f"hourbook: {missing}\n")
    assert (audited[0], f"D1: shard 0: Halt: {missing}\n" in audited[1]) == (1, True)
    between = f"commands/0 begins at {begins}, the archive ends at 0: what was between is lost"
    assert again == (65, f"hourbook: {between}\n")
    assert {words: tool(hall, words)[0] for words in typed} == dict.fromkeys(typed, 0)


def test_lost_snapshots_of_a_log_that_was_cut_are_made_from_the_archive(hall: Hall, archived: Path) -> None:
    """A shard that cannot begin says what to type, and begins by itself afterwards."""
    shutil.rmtree(archived.parent / "snapshots")
    for name in ("matching-0a", "matching-0b"):
        os.kill(hall.supervisor.pid(name), signal.SIGKILL)
    hall.until(lambda: halted(hall, "matching-0a") is not None, "the shard halts")
    advice = re.search(r"`(hourbook snapshot --shard 0)`", halted(hall, "matching-0a") or "")
    assert advice is not None

    ended, said = tool(hall, advice[1])

    assert ended == 0, said
    all_is_well(hall, "begun-again")
