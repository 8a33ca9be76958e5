"""A process begins at a snapshot that both logs bear out, or at the beginning, or not at all."""

import msgspec
import pytest

from schemas.codec import decode_record
from schemas.commands import SetAccount
from services.matching.recovery import restore
from services.matching.store import Unusable, decode, encode
from services.runtime.errors import Halt
from tests.matching_shell.shard import SHARD, SimShard


def followed(count: int = 40) -> SimShard:
    """A shard with an active process, long enough followed to have three snapshots; both are killed then."""
    shard = SimShard()
    shard.snapshot_records = 5
    active = shard.start("a")
    shard.run(shard.answered)
    follower = shard.start("b")
    while shard.sent < count or len(shard.store.files) < 3:
        shard.send()
        shard.run_ms(300)
    shard.run(shard.answered)
    shard.world.kill(active)
    shard.world.kill(follower)
    shard.lease.held.clear()
    return shard


def test_a_snapshot_is_where_the_next_process_begins() -> None:
    """It reads nothing from before: the logs may be cut there. Its chain is the same."""
    shard = followed()
    newest = decode(shard.store.files[max(shard.store.files)])
    for topic, position in ((shard.commands, newest.commands_next), (shard.events, newest.events_next)):
        del topic.records[: position - 1]
        topic.first = position - 1
    shard.send(3)
    shard.start("c")
    shard.run(shard.answered)
    last = decode_record(shard.events.records[-1].value)
    assert last.seq == newest.seq + sum(1 for record in shard.events.records if record.offset >= newest.events_next)
    assert shard.notices == []


def test_snapshot_and_tail_give_what_a_full_replay_gives() -> None:
    """D2, for every snapshot that there is."""
    shard = followed()
    said = {sealed.seq: sealed for sealed in shard.said()}
    assert len(shard.store.files) == 3
    for data in shard.store.files.values():
        replica = restore(SHARD, decode(data))
        tail = [r for r in shard.commands.records if r.offset >= replica.position.next_offset]
        for record in tail:
            for sealed in replica.apply(record, {}):
                assert sealed == said[sealed.seq]
        assert replica.chain == said[max(said)].chain


@pytest.mark.parametrize("where", [3, 20, 60, -1])
def test_a_corrupt_snapshot_is_refused_and_an_older_one_used(where: int) -> None:
    """One byte is enough, and it is said."""
    shard = followed()
    newest = max(shard.store.files)
    data = bytearray(shard.store.files[newest])
    data[where] ^= 1
    shard.store.files[newest] = bytes(data)
    shard.send(3)
    shard.start("c")
    shard.run(shard.answered)
    assert len(shard.notices) == 1
    assert newest in shard.notices[0]
    shard.check()


def test_a_snapshot_cut_off_by_a_crash_is_refused() -> None:
    """Every length of it."""
    shard = followed()
    data = max(shard.store.files.values(), key=len)
    for length in range(0, len(data), 7):
        with pytest.raises(Unusable):
            decode(data[:length])
    assert encode(decode(data)) == data


def test_an_engine_that_is_not_the_one_stored_is_refused() -> None:
    """The checksum is right, the state is not: a build that loads it differently."""
    shard = followed()
    newest = max(shard.store.files)
    stored = decode(shard.store.files[newest])
    shard.store.files[newest] = encode(msgspec.structs.replace(stored, state_hash=bytes(len(stored.state_hash))))
    shard.start("c")
    shard.run_ms(100)
    assert "another state hash" in shard.notices[0]


def test_without_its_tail_events_is_said_again_from_an_older_snapshot() -> None:
    """The log lost what a snapshot has seen: the snapshot is not used, and the same bytes are written again."""
    shard = followed()
    before = shard.chains()
    snapshots = sorted(shard.store.files)
    kept = decode(shard.store.files[snapshots[0]]).events_next + 1
    del shard.events.records[kept:]
    shard.start("c")
    shard.run(shard.answered)
    assert [notice.split()[1] for notice in shard.notices] == snapshots[:0:-1]
    assert shard.chains()[: len(before)] == before
    shard.check()


def test_all_of_events_lost_is_all_said_again() -> None:
    """From the beginning, since no snapshot is borne out."""
    shard = followed()
    before = shard.chains()
    shard.events.records.clear()
    shard.start("c")
    shard.run(shard.answered)
    assert len(shard.notices) == 3
    assert shard.chains()[: len(before)] == before
    shard.check()


def test_commands_without_its_tail_halts() -> None:
    """Events of orders that nobody has any more: an operator must look."""
    shard = followed()
    shard.store.files.clear()
    del shard.commands.records[-3:]
    end = shard.end_of(shard.start("c"))
    assert isinstance(end, Halt)
    assert "commands has lost its last records, or was replaced" in str(end)


def test_commands_replaced_halts_at_the_snapshot() -> None:
    """As long as before, and other records."""
    shard = followed()
    shard.commands.records[:] = [record._replace(value=record.value + b"x") for record in shard.commands.records]
    end = shard.end_of(shard.start("c"))
    assert isinstance(end, Halt)
    assert "the log was replaced" in str(end)


def test_commands_cut_below_the_beginning_halts() -> None:
    """Without a snapshot there is nothing to begin with."""
    shard = followed()
    shard.store.files.clear()
    del shard.commands.records[:4]
    shard.commands.first = 4
    end = shard.end_of(shard.start("c"))
    assert isinstance(end, Halt)
    assert "commands/0 was cut: it begins at 4" in str(end)


def test_a_hole_in_events_halts() -> None:
    """A record is missing and a later one is there."""
    shard = followed()
    shard.store.files.clear()
    del shard.events.records[10]
    shard.events.records[10:] = [r._replace(offset=r.offset - 1) for r in shard.events.records[10:]]
    end = shard.end_of(shard.start("c"))
    assert isinstance(end, Halt)
    assert "events/0 offset 10: seq 12 after 10" in str(end)


def test_a_foreign_record_in_events_halts_with_both_chains() -> None:
    """Another version, or another market, wrote it."""
    shard, other = followed(), SimShard(seed=2)
    other.world.now_ms += 5
    other.send(50)
    shard.store.files.clear()
    shard.events.records.clear()
    shard.write_events(other.said()[:1] + shard.said()[1:5])
    ours, theirs = shard.said()[0].chain, other.said()[0].chain
    if ours == theirs:
        shard.events.records.clear()
        shard.write_events(other.said()[:5])
        ours, theirs = shard.said()[1].chain, other.said()[1].chain
    end = shard.end_of(shard.start("c"))
    assert isinstance(end, Halt)
    assert theirs.hex() in str(end)
    assert ours.hex() in str(end)


def test_a_follower_notices_a_foreign_writer_while_it_follows() -> None:
    """Not only at the start."""
    shard = SimShard()
    shard.start("a")
    shard.send(5)
    shard.run(shard.answered)
    follower = shard.start("b")
    shard.run_ms(500)
    said = shard.said()
    foreign = SimShard(seed=3)
    foreign.send(len(shard.commands.records) + 5)
    number = len(shard.chains())
    shard.write_events(foreign.said()[number : number + 1])
    assert isinstance(shard.end_of(follower), Halt)
    assert said


def test_an_output_half_written_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of one output, of which some are there: the others are written, with the same chain, and the cut is the same."""
    monkeypatch.setattr("schemas.codec.RECORD_BYTES_MAX", 12)
    shard = SimShard()
    shard.send_frame([SetAccount(number, number, number, 0, 0) for number in range(1, 8)])
    said = shard.said()
    assert [decode_record(sealed.body).part for sealed in said] == [0, 0, 1, 2, 3, 4, 5, 6]
    for written in range(len(said)):
        shard.events.records.clear()
        shard.write_events(said[:written])
        process = shard.start(f"p{written}")
        shard.run(shard.answered)
        shard.check()
        shard.world.kill(process)
        shard.lease.held.clear()
