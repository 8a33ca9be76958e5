"""The first record of a shard, and commands about the shard itself."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed, encode_frame
from schemas.commands import Command
from schemas.events import Code
from services.matching.engine import Engine, WrongStart
from services.matching.operating import ENGINE_VERSIONS
from services.matching.replica import Contradiction, Replica
from services.runtime.log import Record
from tests.matching.market import OPERATOR, T0_MS, Market

START = cmd.StartShard(3, 1, T0_MS)


def test_a_shard_begins_with_its_start_and_says_what_it_runs_on() -> None:
    engine = Engine()

    events = engine.apply(0, T0_MS, [cmd.StartShard(255, 1, T0_MS, 60, sandbox=True)])

    assert events == [ev.ShardStarted(0, 255, 1, T0_MS, 60, sandbox=True)]
    assert (engine.shard, engine.version, engine.rate, engine.sandbox) == (255, 1, 60, True)


@pytest.mark.parametrize(
    ("offset", "commands"),
    [
        (1, [START]),
        (0, [START, cmd.Tick(5)]),
        (0, [cmd.Tick(5), START]),
        (0, [cmd.Tick(5)]),
        (0, [Malformed()]),
        (0, []),
    ],
)
def test_a_log_that_begins_with_anything_else_is_not_a_shard_s(
    offset: int, commands: list[Command | Malformed]
) -> None:
    """It was cut, or belongs to something else: the engine does not invent a beginning."""
    engine = Engine()

    with pytest.raises(
        WrongStart, match=f"record {offset} is not StartShard alone: this is not the beginning of a shard"
    ):
        engine.apply(offset, T0_MS, commands)

    assert engine.apply(0, T0_MS, [START]), "nothing was applied"


@pytest.mark.parametrize(
    "start",
    [
        cmd.StartShard(256, 1, T0_MS),
        cmd.StartShard(-1, 1, T0_MS),
        cmd.StartShard(0, 0, T0_MS),
        cmd.StartShard(0, max(ENGINE_VERSIONS) + 1, T0_MS),
        cmd.StartShard(0, 1, -1),
        cmd.StartShard(0, 1, T0_MS, 0),
        cmd.StartShard(0, 1, T0_MS, 0, sandbox=True),
        cmd.StartShard(0, 1, T0_MS, -1, sandbox=True),
        cmd.StartShard(0, 1, T0_MS, 2),
    ],
)
def test_a_start_that_this_build_cannot_make_is_refused_loudly(start: cmd.StartShard) -> None:
    """A shard that does not exist, another engine, a time before 1970, a market that is fast and no sandbox."""
    with pytest.raises(WrongStart, match="this build cannot start StartShard"):
        Engine().apply(0, T0_MS, [start])


@pytest.mark.parametrize(
    "start",
    [
        cmd.StartShard(0, 1, 0),
        cmd.StartShard(0, 1, T0_MS, 1, sandbox=True),
        cmd.StartShard(0, 1, T0_MS, 1_000, sandbox=True),
    ],
)
def test_a_sandbox_may_run_at_any_speed_from_one(start: cmd.StartShard) -> None:
    assert isinstance(Engine().apply(0, T0_MS, [start])[0], ev.ShardStarted)


def test_a_copy_refuses_the_log_of_another_shard() -> None:
    replica = Replica(1, Engine())

    with pytest.raises(Contradiction, match="offset 0 starts shard 3, this is shard 1"):
        replica.apply(Record(0, T0_MS, encode_frame(3, 1, [START])), {})


def test_a_second_start_is_an_ordinary_rejection() -> None:
    market = Market.given()

    assert market.tell(cmd.StartShard(9, 1, 0), START) == [ev.Rejected(i, 0, Code.WRONG_STATE) for i in (0, 1)]

    assert market.engine.shard == 0


# --- Engine versions ---------------------------------------------------------------------------------------------


def test_the_engine_s_version_is_set_by_command() -> None:
    market = Market.given()

    assert market.tell(cmd.SetEngineVersion(OPERATOR, 2)) == [ev.EngineVersionSet(0, OPERATOR, 2)]


@pytest.mark.parametrize("version", [1, 0, -1, max(ENGINE_VERSIONS) + 1, 2**64 - 1])
def test_a_version_that_this_build_does_not_know_is_refused(version: int) -> None:
    """Known versions never fall: the rules of yesterday do not come back."""
    market = Market.given()

    assert market.tell(cmd.SetEngineVersion(OPERATOR, version)) == [ev.Rejected(0, OPERATOR, Code.WRONG_VERSION)]
