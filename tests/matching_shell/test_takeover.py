"""Whoever dies, wherever: `events` holds what `commands` gives, without a hole, and somebody goes on."""

import pytest

from schemas.codec import decode_record, read_headers, seal
from schemas.events import Ticked
from services.matching.replica import QUARANTINED
from services.runtime.errors import Halt, Superseded
from services.runtime.log import WriteRefused, WriteUnknown
from tests.matching_shell.shard import SHARD, SimShard
from tests.simulation.simlog import Faults
from tests.simulation.stores import SimLease
from tests.simulation.world import START_MS


@pytest.mark.parametrize("steps", range(0, 240, 3))
def test_a_process_killed_between_any_two_awaits_leaves_nothing_wrong(steps: int) -> None:
    """The next process finds what is missing, and says the very same bytes."""
    shard = SimShard(seed=steps)
    shard.send(3)
    shard.snapshot_records = 2
    first = shard.start("a")
    for _ in range(steps):
        shard.world.step()
        if shard.world.steps % 5 == 0 and shard.sent < 30:
            shard.send()
    shard.world.kill(first)
    shard.check()

    shard.send(5)
    shard.start("b")
    shard.run(shard.answered)
    shard.check()


def test_the_standby_takes_over_when_the_active_is_killed() -> None:
    """Within the lease and a little: every order has its answer, the new epoch is higher."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(20)
    shard.run(shard.answered)
    shard.start("b")
    shard.run_ms(2_000)
    shard.world.kill(active)
    killed_ms = shard.world.now_ms
    shard.send(20)
    shard.run(shard.answered)
    assert shard.world.now_ms - killed_ms < 6_000
    shard.check()
    epochs = [read_headers(record.headers).epoch for record in shard.events.records]
    assert epochs == sorted(epochs)
    assert set(epochs) == {1, 2}


def test_the_standby_takes_over_while_orders_keep_coming() -> None:
    """A follower that always finds something to apply must still ask for the lease."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(5)
    shard.run(shard.answered)
    shard.start("b")
    shard.world.kill(active)
    for _ in range(100):
        shard.send(2)
        shard.run_ms(50)
    assert read_headers(shard.events.records[-1].headers).epoch == 2
    shard.check()


@pytest.mark.parametrize("bound", [2, 10_000])
def test_a_follower_without_a_writer_stops_at_its_bound(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    """The active is dead, the database away: what is said and not written is bounded, and nothing is lost by that."""
    monkeypatch.setattr("services.matching.mirror.PENDING_MAX", bound)
    monkeypatch.setattr("services.matching.mirror.READ_MAX", 3)
    shard = SimShard()
    active = shard.start("a")
    shard.send(5)
    shard.run(shard.answered)
    follower = shard.start("b")
    shard.lease.away = True
    shard.world.kill(active)
    shard.send(200)
    steps = shard.world.steps
    shard.run_ms(10_000)
    assert shard.world.steps - steps < 1_000, "it must wait and not spin"
    assert shard.statuses["b"].values["pending"] <= bound + 2
    shard.lease.away = False
    shard.run(shard.answered)
    assert follower.alive
    shard.check()


def test_of_two_processes_one_writes() -> None:
    """As long as it renews its lease, the other follows: no record is there twice."""
    shard = SimShard()
    shard.start("a")
    shard.start("b")
    for _ in range(30):
        shard.send(3)
        shard.run_ms(700)
    shard.run(shard.answered)
    assert len(shard.chains()) == len(shard.events.records)
    shard.check()


@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_a_writer_halts_when_somebody_says_what_nobody_can_have_said(ahead: int) -> None:
    """A record that it has not come to itself: with a hole before it at once, else before anything else is said there."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(10)
    shard.run(shard.answered)
    shard.run_ms(2_000)
    there = shard.events.end()
    said = shard.said()[-1]
    (foreign,) = seal(SHARD, said.seq + ahead - 1, b"x" * 16, shard.commands.end(), START_MS, QUARANTINED, [])
    shard.write_events([foreign])
    ended = shard.end_of(active)
    assert isinstance(ended, Halt)
    assert str(ended).startswith("events/0 ")
    assert shard.events.end() - there <= 2, "it wrote on"


def test_a_writer_goes_on_behind_a_rival_that_says_the_same_before_it() -> None:
    """One that lost its lease and does not know it may well be faster."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(10)
    shard.run(shard.answered)
    shard.run_ms(2_000)
    for _ in range(5):
        shard.send(3)
        shard.write_events(shard.said()[-3:], epoch=0)
        shard.run_ms(700)
    shard.run(shard.answered)
    assert active.alive
    shard.check()


def test_a_stale_writer_is_harmless_and_stops_when_it_reads_the_higher_epoch() -> None:
    """It lost the database and went on; meanwhile another got the lease. Both write the same stream."""
    shard = SimShard()
    lost = SimLease(shard.world)
    stale = shard.start("a", lease=lost)
    shard.send(10)
    shard.run(shard.answered)
    lost.away = True
    shard.lease.held["matching-0"] = lost.held["matching-0"]
    shard.start("b")
    for _ in range(200):
        shard.send(2)
        shard.run_ms(50)
    assert isinstance(stale.ended, Superseded)
    shard.send(5)
    shard.run(shard.answered)
    shard.check()
    assert len(shard.events.records) > len(shard.chains()), "both wrote at once: there must have been repeats"


def test_without_the_database_the_active_goes_on() -> None:
    """Nobody else can get the lease either."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(5)
    shard.run(shard.answered)
    shard.start("b")
    shard.lease.away = True
    for _ in range(20):
        shard.send(5)
        shard.run_ms(1_000)
    shard.run(shard.answered)
    assert active.alive
    assert {read_headers(record.headers).epoch for record in shard.events.records} == {1}
    shard.check()


def test_an_epoch_is_above_the_log_even_when_the_database_has_forgotten() -> None:
    """Restored from an older copy: the log knows better."""
    shard = SimShard()
    for holder in "abc":
        process = shard.start(holder)
        shard.send(3)
        shard.run(shard.answered)
        shard.world.kill(process)
        shard.run_ms(4_000)
    shard.lease.held.clear()
    shard.start("d")
    shard.send(3)
    shard.run(shard.answered)
    epochs = [read_headers(record.headers).epoch for record in shard.events.records]
    assert epochs == sorted(epochs)
    assert epochs[-1] == 4


@pytest.mark.parametrize(
    ("faults", "error"),
    [(Faults(refused=1000), WriteRefused), (Faults(unknown=1000), WriteUnknown), (Faults(lost=1000), WriteUnknown)],
)
def test_a_write_that_fails_ends_the_process_and_the_next_one_writes_the_rest(
    faults: Faults, error: type[Exception]
) -> None:
    """Written or not, nobody knows: the end of `events` does."""
    shard = SimShard()
    active = shard.start("a")
    shard.send(3)
    shard.run(shard.answered)
    shard.events.faults = faults
    shard.send(3)
    assert isinstance(shard.end_of(active), error)
    shard.events.faults = Faults()
    shard.send(3)
    shard.start("b")
    shard.run(shard.answered)
    shard.check()


def test_one_that_was_stopped_wakes_up_after_its_lease_writes_the_same_and_goes() -> None:
    """SIGSTOP in the middle of a batch: what it still has in its hands is written behind its successor's records."""
    shard = SimShard()
    stale = shard.start("a")
    shard.send(10)
    shard.run(shard.answered)
    shard.start("b")
    shard.run_ms(500)
    shard.send(40)
    before = shard.events.end()
    shard.run(lambda: shard.events.end() > before)
    shard.world.stop(stale)
    shard.send(10)
    shard.run(shard.answered)
    assert read_headers(shard.events.records[-1].headers).epoch == 2
    shard.send(10)
    shard.world.resume(stale)
    assert isinstance(shard.end_of(stale), Superseded)
    shard.run(shard.answered)
    shard.check()


def test_what_vanishes_before_it_is_acknowledged_is_written_again() -> None:
    """The broker's leader changes: batches on their way are nowhere, and their writer knows nothing of them."""
    shard = SimShard()
    shard.events.faults = Faults(late_ms_max=300)
    active = shard.start("a")
    shard.send(30)
    shard.run(lambda: bool(shard.events._flying))
    shard.events.elect(clock_ms=0)
    assert isinstance(shard.end_of(active), WriteUnknown)
    shard.start("b")
    shard.run(shard.answered)
    shard.check()


def test_of_several_batches_the_first_may_be_there_and_the_rest_not() -> None:
    """An append that failed half way: the next process finds how far it has come."""
    shard = SimShard(seed=5)
    shard.events.faults = Faults(parted=1000, lost=500)
    for number in range(20):
        process = shard.start(f"p{number}")
        shard.send(10)
        if shard.ended_or_answered(process):
            shard.world.kill(process)
        shard.lease.held.clear()
        shard.check()
    shard.events.faults = Faults()
    shard.start("last")
    shard.send()
    shard.run(shard.answered)
    shard.check()
    assert shard.events.did["parted"] > 5


def test_a_broker_whose_clock_goes_back_takes_no_time_back() -> None:
    """Another leader's clock is a minute behind: market time waits for it."""
    shard = SimShard()
    shard.start("a")
    shard.run_ms(3_000)
    shard.events.elect(clock_ms=-60_000)
    shard.commands.elect(clock_ms=-60_000)
    shard.send(5)
    shard.run(shard.answered)
    shard.run_ms(70_000)
    times = [decode_record(record.value).time_ms for record in shard.events.records]
    assert times == sorted(times)
    assert times[-1] > START_MS + 5_000, "and goes on once it has come to the present"
    shard.check()


def test_a_broker_that_is_away_loses_nothing() -> None:
    """Reads find nothing, writes end unknown; afterwards the log is whole."""
    shard = SimShard()
    shard.start("a")
    shard.send(3)
    shard.run(shard.answered)
    shard.events.faults = Faults(offline=True)
    shard.send(30)
    shard.run_ms(3_000)
    shard.events.faults = Faults()
    shard.start("b")
    shard.run(shard.answered)
    shard.check()


def test_time_passes_in_an_empty_market() -> None:
    """About a tick a second, whatever the shell's own clock says; never ahead of the broker's."""
    for skew_ms in (0, -3_600_000, 3_600_000):
        shard = SimShard()
        shard.start("a", skew_ms=skew_ms)
        shard.run(shard.answered)
        shard.run_ms(20_000)
        ticks = [
            (record.time_ms, event.time_ms)
            for record in shard.events.records
            for event in decode_record(record.value).events
            if isinstance(event, Ticked)
        ]
        assert 10 <= len(ticks) <= 21
        assert all(time_ms <= written_ms for written_ms, time_ms in ticks), "time ran ahead of the broker"
        assert ticks[-1][0] - ticks[-1][1] < 100, "time fell behind"
        shard.check()


def test_after_a_long_pause_the_market_is_at_the_present_within_two_ticks() -> None:
    """A night without a process: the first tick tells the broker's time, the second goes there."""
    shard = SimShard()
    process = shard.start("a")
    shard.run(shard.answered)
    shard.world.kill(process)
    shard.world.now_ms += 9 * 3_600_000
    shard.start("b")
    shard.run_ms(4_000)
    (*_, last) = shard.events.records
    assert last.time_ms - decode_record(last.value).time_ms < 1_500
    shard.check()


def test_a_shard_that_was_never_started_is_not_started_by_a_tick() -> None:
    """Its first record must be StartShard, which the command that creates the topics writes."""
    shard = SimShard(started=False)
    process = shard.start("a")
    assert "its first record must be StartShard" in str(shard.end_of(process))
    assert shard.commands.records == []
