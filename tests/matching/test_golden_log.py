"""Logs of each engine version replay to the bytes that were said when they were recorded, for ever."""

from __future__ import annotations

import gzip
import random
from typing import Any

import pytest

from schemas.codec import CHAIN_START, decode_frame, decode_record, next_chain
from schemas.events import Code, Reason
from services.matching.engine import Engine
from services.matching.operating import ENGINE_VERSIONS
from services.matching.replica import Replica
from services.matching.snapshot import STATE_FORMAT, dump, load, state_hash
from tests.matching import golden

LOGS = [(version, name) for version in golden.versions() for name in golden.LOGS]
IDS = [f"v{version}-{name}" for version, name in LOGS]


@pytest.fixture(scope="module", params=LOGS, ids=IDS)
def log(request: pytest.FixtureRequest) -> golden.Log:
    version, name = request.param
    return golden.load(version, name)


def test_every_engine_version_has_golden_logs() -> None:
    """`python -m tests.matching.golden N` records those of a new one."""
    assert golden.versions() == sorted(ENGINE_VERSIONS)
    for version in ENGINE_VERSIONS:
        for name, rate in golden.LOGS.items():
            expected = golden.load(version, name).expected
            assert (expected["engine_version"], expected["rate"]) == (version, rate)


def test_a_golden_log_replays_to_the_same_bytes_chain_and_state(log: golden.Log) -> None:
    """Every record is compared, so that the first one that differs is named with what it says."""
    replica = Replica(golden.SHARD, Engine())
    chain, said = CHAIN_START, iter(log.bodies)
    for record in log.commands:
        for sealed in replica.apply(record, log.quarantine):
            body = next(said)
            chain = next_chain(chain, body)
            assert decode_record(sealed.body) == decode_record(body), f"offset {record.offset}"
            assert (sealed.body, sealed.chain) == (body, chain), (
                f"offset {record.offset}: other bytes for the same events"
            )
    assert list(said) == []
    assert counts(log, replica) == {
        name: log.expected[name] for name in ("records", "commands", "seq", "events", "chain")
    }
    assert state_hash(replica.engine).hex() == log.expected["state_hash"].get(str(STATE_FORMAT)), (
        "the state has other bytes: a new STATE_FORMAT, and then `python -m tests.matching.golden --snapshot`"
    )


def counts(log: golden.Log, replica: Replica) -> dict[str, Any]:
    return {
        "records": len(log.commands),
        "commands": replica.commands,
        "seq": replica.seq,
        "events": sum(len(decode_record(body).events) for body in log.bodies),
        "chain": replica.chain.hex(),
    }


def test_a_golden_log_replays_to_the_same_chain_from_snapshots_taken_on_the_way(log: golden.Log) -> None:
    """D2 over everything that the log holds: a copy that is loaded again at every twentieth record."""
    replica = Replica(golden.SHARD, Engine())
    chance = random.Random("snapshots")
    for record in log.commands:
        if record.offset and chance.random() < 0.05:
            stored = dump(replica.engine)
            replica.engine = load(stored)
            assert dump(replica.engine) == stored
            replica.engine.check()
        replica.apply(record, log.quarantine)
    assert replica.chain.hex() == log.expected["chain"]


def test_golden_logs_hold_every_command_code_and_reason_that_their_version_knows() -> None:
    """Else a change of what is missing would pass unnoticed. 100,000 open orders are a test of their own."""
    second = {code.name for code in Code if code > Code.MALFORMED} | {why.name for why in Reason if why > Reason.MASS}
    refused = {Reason.EXPIRED.name, Reason.DEAD_MAN.name, Reason.QUOTE_REPLACED.name, Reason.MASS.name}
    never = {1: second | refused, 2: set[str]()}
    every = {code.name for code in Code} | {reason.name for reason in Reason}
    for version in golden.versions():
        expected = golden.load(version, "clock").expected
        names = {what.split()[1] for what in expected["said"] if what.startswith(("code ", "reason "))}

        assert names == every - never[version] - {Code.TOO_MANY_ORDERS.name}, version
        assert len(expected["asked"]) == 20, "nineteen commands, and bodies that do not decode"
        moves = {what.removeprefix("move ") for what in expected["said"] if what.startswith("move ")}
        assert moves == {
            f"{source}{end}" for source in ("new", "whole", "piece") for end in ("", "/whole", "/piece", "/own")
        } - {"new/own"}


def test_a_golden_log_s_toml_counts_what_is_in_it(log: golden.Log) -> None:
    asked: dict[str, int] = {}
    for record in log.commands:
        for command in decode_frame(record.value).commands if record.offset not in log.quarantine else ():
            asked[type(command).__name__] = asked.get(type(command).__name__, 0) + 1
    said: dict[str, int] = {}
    for body in log.bodies:
        for event in decode_record(body).events:
            said[type(event).__name__] = said.get(type(event).__name__, 0) + 1

    assert asked == log.expected["asked"]
    assert said == {what: count for what, count in log.expected["said"].items() if " " not in what}


def test_a_golden_log_is_never_recorded_twice(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in golden.FOLDER.rglob("*") if path.is_file()}

    with pytest.raises(SystemExit, match="a golden log is recorded once"):
        golden.record(1)

    assert {path: path.read_bytes() for path in golden.FOLDER.rglob("*") if path.is_file()} == before
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    monkeypatch.setattr(golden, "COMMANDS", dict.fromkeys(golden.LOGS, 200))
    golden.record(1)
    assert gzip.decompress((tmp_path / "v1" / "clock.commands.gz").read_bytes()), (
        "and where there is none it is recorded"
    )
