"""`hourbook audit` as an operator runs it: on a broker and a database, with a table, a document, and exit codes."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from services.audit.__main__ import main
from services.audit.report import NAMES, NOT_AUDITED, Findings
from services.runtime.infra import LocalPostgres, MemoryBroker
from services.runtime.kafka import Cluster
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.runtime.topics import create_topics
from services.settlement.__main__ import MIGRATIONS
from tests.audit.day import SHARDS, Day

ALL = {*NAMES, *NOT_AUDITED}


async def serve(day: Day, bootstrap: str, prefix: str, without: Collection[str] = ()) -> None:
    """The day's logs on a broker, with their stamps; but for topics that are not there."""
    async with Cluster(bootstrap, prefix=prefix) as cluster:
        for topic, partitions in (
            ("commands", 2),
            ("events", 2),
            ("requests", 1),
            ("delivery", 1),
            ("leases", 1),
            ("rentals", 1),
            ("quarantine", 1),
        ):
            if topic not in without:
                await cluster.create_topic(topic, partitions, 1, {})
        producer: AIOKafkaProducer = await cluster.producer()
        try:
            for (topic, partition), records in day.topics.records.items():
                if topic in without:
                    continue
                batch = producer.create_batch()
                for record in records:
                    held = batch.append(
                        key=record.key, value=record.value, timestamp=record.time_ms, headers=list(record.headers)
                    )
                    assert held is not None, "one batch is enough for a short day"
                batch.close()
                await (await producer.send_batch(batch, prefix + topic, partition=partition))
        finally:
            await producer.stop()


@pytest.fixture(scope="session")
def served(day: Day, broker: MemoryBroker) -> str:
    """Prefix of the day's topics."""
    prefix = f"t{secrets.token_hex(4)}-"
    asyncio.run(serve(day, broker.bootstrap, prefix))
    return prefix


@pytest.fixture
def settings(day: Day, served: str, broker: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `hourbook` sets for the tool."""
    (tmp_path / "snapshots").symlink_to(day.folder)
    for name, value in (
        ("KAFKA", broker.bootstrap),
        ("POSTGRES", day.dsn),
        ("SHARDS", str(SHARDS)),
        ("DATA", str(tmp_path)),
        ("TOPIC_PREFIX", served),
    ):
        monkeypatch.setenv(f"HOURBOOK_{name}", value)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def spoilt(settings: None, day: Day, postgres: LocalPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001 # they come first
    """The same, with another balance in the database, and more than one line to say about it."""
    name = f"t{secrets.token_hex(4)}"
    postgres._sql(f'CREATE DATABASE "{name}" TEMPLATE "audit_day"')
    monkeypatch.setenv("HOURBOOK_POSTGRES", postgres.dsn_of(name))

    async def spoil() -> None:
        pool = await open_pool(postgres.dsn_of(name))
        await pool.execute("UPDATE settlement.balances SET amount = amount + 1 WHERE kind = 2 AND ref = 6")
        await pool.close()

    asyncio.run(spoil())
    yield
    postgres.drop_database(name)


@pytest.fixture
def young(settings: None, broker: MemoryBroker, database: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 # they come first
    """An exchange that was started a moment ago, and nothing happened in it."""
    prefix = f"t{secrets.token_hex(4)}-"
    monkeypatch.setenv("HOURBOOK_TOPIC_PREFIX", prefix)
    monkeypatch.setenv("HOURBOOK_POSTGRES", database)

    async def start() -> None:
        async with Cluster(broker.bootstrap, prefix=prefix) as cluster:
            await create_topics(cluster, SHARDS, sandbox=True)
        pool = await open_pool(database)
        await migrate_runtime(pool)
        await migrate(pool, "settlement", MIGRATIONS)
        await pool.close()

    asyncio.run(start())


def rows(table: str) -> dict[str, list[str]]:
    """Name -> the rest of its line."""
    lines = [line.split() for line in table.splitlines()]
    return {words[0]: words[1:] for words in lines if words and words[0] in ALL}


@pytest.mark.usefixtures("settings")
def test_a_clean_exchange_has_a_line_for_every_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert found.keys() == ALL, "those too that cannot be audited"
    assert [found[name][-1] for name in NAMES] == ["0"] * len(NAMES), "broken"
    assert all(int(found[name][-2].replace(",", "")) > 0 for name in NAMES), "looked at"
    assert "Not to be seen from logs and ledger:" in out
    assert "tests/integration/test_survives.py" in out
    assert out.splitlines()[-1].endswith("objects looked at; none broken")
    assert err == ""


@pytest.mark.usefixtures("settings")
def test_the_document_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["clean"] is True
    assert document["stopped"] == []
    assert [(one["name"], one["rule"]) for one in document["invariants"]] == list(NAMES.items())
    assert all(one["looked_at"] > 0 and one["broken"] == 0 for one in document["invariants"])
    assert [one["name"] for one in document["not_audited"]] == list(NOT_AUDITED)


@pytest.mark.usefixtures("settings")
def test_an_exchange_that_is_older_than_rentals_and_machines_is_clean(
    day: Day, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It lacks their topics."""
    prefix = f"t{secrets.token_hex(4)}-"
    asyncio.run(serve(day, broker.bootstrap, prefix, without=("leases", "rentals")))
    monkeypatch.setenv("HOURBOOK_TOPIC_PREFIX", prefix)

    assert main([]) == 0
    found = rows(capsys.readouterr().out)
    assert {name for name in NAMES if found[name][-2] == "0"} == {"H2", "H3", "R1", "R2", "R3", "R4"}


@pytest.mark.usefixtures("spoilt")
def test_what_is_broken_is_said_by_name_and_by_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    out = capsys.readouterr().out
    assert {name: line[-1] for name, line in rows(out.split("Not to be seen")[0]).items() if line[-1] != "0"} == {
        "M2": "2"
    }
    assert "M2: account (2, 0, 6, 0): " in out
    assert out.splitlines()[-1].endswith("; broken: M2")


@pytest.mark.usefixtures("spoilt")
def test_youth_forgives_nothing_that_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--young", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["clean"] is False
    assert [one["name"] for one in document["invariants"] if one["broken"]] == ["M2"]


@pytest.mark.usefixtures("young")
def test_a_check_that_had_nothing_to_look_at_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert rows(out)["C6"][-2:] == ["0", "0"]
    assert err.startswith("nothing to look at for M1 (anything), M2 (anything), ")
    assert "C6 (titles, hours that ended, titles paid out)" in err
    assert err.endswith("; with --young that is forgiven\n")


def test_an_invariant_of_several_things_wants_each_of_them() -> None:
    """Fees of trades were looked at, and no delivery has paid treasury yet: half of M6 proves nothing."""
    found = Findings()
    found.expect("M6", True, "")
    found.saw("M6", "trades")
    assert found["M6"].unseen == ["deliveries"]
    assert not found.clean(["M6"])
    found.saw("M6", "deliveries")
    assert found.clean(["M6"])


@pytest.mark.usefixtures("young")
def test_a_young_exchange_is_forgiven_and_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--young"]) == 0
    assert capsys.readouterr().err.endswith(" (forgiven: the exchange is young)\n")


def test_help_says_what_young_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "A check that found nothing to look at proves nothing, so it has failed." in said
    assert "--young forgives those checks and shows which they were; it forgives nothing that is broken." in said
    assert "exit codes: 0 clean; 1 " in said


def test_without_settings_it_says_which(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("KAFKA", "POSTGRES", "SHARDS"):
        monkeypatch.delenv(f"HOURBOOK_{name}", raising=False)
    assert main([]) == 78
    assert "HOURBOOK_KAFKA is not set" in capsys.readouterr().err


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("what", ["KAFKA", "POSTGRES"])
def test_a_server_that_is_away_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    address = {"KAFKA": "127.0.0.1:1", "POSTGRES": "postgresql://nobody@127.0.0.1:1/none"}[what]
    monkeypatch.setenv(f"HOURBOOK_{what}", address)
    assert main([]) == 69
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("audit: nothing was judged: ")
