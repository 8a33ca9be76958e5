"""A replay says the same bytes again, stops where it is asked to, and finds what differs."""

import pytest

from schemas.commands import SetAccount
from services.matching.engine import Engine
from services.matching.replay import Replayed, replay
from services.matching.replica import Replica
from services.matching.snapshot import state_hash
from services.runtime.errors import Halt
from tests.matching_shell.shard import SHARD, SimShard
from tests.simulation.world import SimClock


def replayed(shard: SimShard, **options) -> Replayed:
    """`replay` as a process of the world, to its end."""
    results: list[Replayed] = []

    async def run() -> None:
        clock = SimClock(shard.world)
        results.append(await replay(SHARD, shard.commands.log(), shard.quarantine.log(), clock, **options))

    process = shard.world.spawn("replay", run())
    shard.run(lambda: process.ended is not None)
    if isinstance(process.ended, BaseException):
        raise process.ended
    return results[0]


def written(count: int = 30) -> SimShard:
    """A shard with everything answered and nobody running."""
    shard = SimShard()
    process = shard.start("a")
    shard.send(count)
    shard.send_frame([SetAccount(count + n, 900 + n, 900 + n, 0, 0) for n in range(1, 6)])
    shard.run(shard.answered)
    shard.world.kill(process)
    return shard


def test_everything_is_compared_and_counted() -> None:
    shard = written()
    done = replayed(shard, events=shard.events.log())
    assert done.replica.chain == shard.chains()[-1]
    assert done.records == len(shard.commands.records)
    assert done.commands == done.records + 4
    assert done.compared == len(shard.events.records)
    assert done.commands_per_s > 0


def test_it_stops_at_the_seq_it_was_asked_for() -> None:
    """The audit compares the engine there with the ledger there."""
    shard = written()
    for seq in (1, 7, 20):
        done = replayed(shard, through_seq=seq)
        assert (done.replica.seq, done.replica.chain) == (seq, shard.chains()[seq - 1])
        apart = Replica(SHARD, Engine())
        for record in shard.commands.records[:seq]:
            apart.apply(record, {})
        assert state_hash(done.replica.engine) == state_hash(apart.engine)
        on = replayed(shard, through_seq=len(shard.events.records), start=done.replica)
        assert on.replica.chain == shard.chains()[-1]


def test_a_seq_that_the_log_does_not_reach_is_refused() -> None:
    shard = written()
    with pytest.raises(Halt, match=r"commands/0 ends at seq \d+, asked is 999"):
        replayed(shard, through_seq=999)


def test_events_that_end_earlier_are_compared_as_far_as_they_go() -> None:
    shard = written()
    del shard.events.records[12:]
    assert replayed(shard, events=shard.events.log()).compared == 12


def test_a_single_changed_record_is_found() -> None:
    """In the middle, with good headers on both sides."""
    shard = written()
    record = shard.events.records[9]
    shard.events.records[9] = record._replace(value=record.value[:-1] + bytes([record.value[-1] ^ 1]))
    with pytest.raises(Halt, match="events/0 offset 9: seq 10 does not continue the chain"):
        replayed(shard, events=shard.events.log())
