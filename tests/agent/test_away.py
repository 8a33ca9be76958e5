"""The exchange away, the agent killed, clocks wrong: what a tenant notices of it, which is little."""

import asyncio
import os
import signal
import time

import pytest

from services.agent import doorway
from tests.agent.conftest import ANA, BERT, Carl, eventually, log_in, public, refused, run, runs
from tests.agent.exchange import problem

HOUR_MS = 3_600_000


async def test_while_the_exchange_is_away_access_stays_past_the_end_until_grace_is_over(carl: Carl) -> None:
    carl.exchange.grace_ms = 8_000
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    lease = carl.lease("1", lasts_s=4)
    await carl.heard("1")
    carl.exchange.away = True
    await asyncio.sleep(max(0, lease.until_ms - carl.exchange.now_ms()) / 1000 + 1)
    assert await run(report, ANA, "echo in") == "in\n"
    folder = carl.home / "leases" / "1"
    await eventually(lambda: not folder.exists())
    assert carl.exchange.now_ms() >= lease.until_ms + carl.exchange.grace_ms - 500
    assert await refused(report, ANA) == "ConnectionRefusedError"
    carl.exchange.away = False
    await carl.reported("1", "closed")


async def test_grace_ends_where_the_next_tenant_of_a_seat_begins(carl: Carl) -> None:
    carl.lease("1")
    carl.lease("2", starts_s=600, ssh_keys=(public(BERT),))
    carl.start()
    ana = await carl.reported("1", "open")
    bert = await eventually(
        lambda: report if (report := carl.exchange.report("2")) is not None and report.port else None
    )
    first = carl.lease("1", lasts_s=4)
    carl.lease("2", starts_s=(first.until_ms - carl.exchange.now_ms()) / 1000, ssh_keys=(public(BERT),))
    await carl.heard("2")
    carl.exchange.away = True
    await eventually(lambda: not (carl.home / "leases" / "1").exists())
    assert carl.exchange.now_ms() >= first.until_ms - 100
    assert await refused(ana, ANA) == "ConnectionRefusedError"
    await eventually(lambda: carl.saved("2") == "open")
    await asyncio.sleep(0.5)
    assert await run(bert, BERT, "echo in") == "in\n"


async def test_an_agent_killed_in_mid_lease_finds_its_tenants_again_and_they_notice_nothing(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    before = await carl.reported("1", "open")
    async with await log_in(before, ANA) as connection:
        session = await connection.create_process("cat")
        carl.kill(signal.SIGKILL)
        carl.exchange.alive_ms = 0
        session.stdin.write("without an agent\n")
        assert await session.stdout.readline() == "without an agent\n"
        carl.exchange.heartbeats.clear()
        carl.start()
        after = await carl.reported("1", "open")
        session.stdin.write("with the next one\n")
        assert await session.stdout.readline() == "with the next one\n"
    assert (after.port, after.host_key) == (before.port, before.host_key)
    assert await run(after, ANA, "echo again") == "again\n"


@pytest.mark.parametrize("agent_dies", [True, False])
async def test_a_door_that_was_killed_opens_again_on_the_same_port_with_the_same_host_key(
    carl: Carl, agent_dies: bool
) -> None:
    carl.lease("1", start_script="echo once >>runs")
    carl.start()
    before = await carl.reported("1", "open")
    await run(before, ANA, "echo kept >file")
    await eventually(lambda: (carl.exchange.report("1") or before).script == "done")
    folder = carl.home / "leases" / "1"
    door = int((folder / doorway.LOCK).read_text())
    if agent_dies:
        carl.kill(signal.SIGKILL)
        carl.exchange.alive_ms = 0
        carl.exchange.heartbeats.clear()
    os.kill(door, signal.SIGKILL)
    if agent_dies:
        carl.start()
    await eventually(lambda: int((folder / doorway.LOCK).read_text() or door) != door and doorway.lives(folder))
    after = await carl.reported("1", "open")
    assert (after.port, after.host_key) == (before.port, before.host_key)
    await eventually(lambda: (carl.exchange.report("1") or after).script == "done")
    await asyncio.sleep(0.5)
    assert await run(after, ANA, "cat file runs") == "kept\nonce\n"


async def test_what_a_killed_door_has_left_running_is_killed_at_the_end(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    pid = int(await run(report, ANA, "setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!"))
    os.kill(int((carl.home / "leases" / "1" / doorway.LOCK).read_text()), signal.SIGKILL)
    assert runs(pid)
    del carl.exchange.leases["1"]
    await carl.reported("1", "closed")
    assert not runs(pid)


async def test_a_lease_ends_although_no_agent_is_there_and_is_wiped_before_the_next_one_says_a_word(carl: Carl) -> None:
    carl.exchange.grace_ms = 1_000
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    pid = int(await run(report, ANA, "echo secret >file; setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!"))
    carl.lease("1", lasts_s=4)
    await carl.heard("1")
    await asyncio.sleep(0.5)
    carl.kill(signal.SIGKILL)
    folder = carl.home / "leases" / "1"
    await eventually(lambda: not doorway.lives(folder))
    assert await refused(report, ANA) == "ConnectionRefusedError"
    assert not runs(pid)
    assert (folder / "home" / "file").exists(), "the disk waits for the next agent"

    carl.exchange.away = True
    carl.start()
    await eventually(lambda: "closed and wiped" in carl.log(), carl.log)
    assert not folder.exists()


async def test_a_stopped_agent_leaves_its_tenants_in_and_says_so(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    assert carl.kill(signal.SIGTERM) == 0
    assert "stopped; leases that stay open and end by themselves: 1" in carl.log()
    assert await run(report, ANA, "echo in") == "in\n"


@pytest.mark.parametrize("ahead_ms", [HOUR_MS, -HOUR_MS])
async def test_a_clock_an_hour_off_changes_nothing(carl: Carl, ahead_ms: int) -> None:
    carl.exchange.ahead_ms = ahead_ms
    carl.lease("1", starts_s=600)
    carl.start()
    await eventually(lambda: (report := carl.exchange.report("1")) is not None and report.port > 0)
    lease = carl.lease("1", starts_s=3)
    report = await carl.reported("1", "open")
    assert carl.exchange.now_ms() >= lease.from_ms
    assert await run(report, ANA, "echo in") == "in\n"
    lease = carl.lease("1", lasts_s=3)
    await carl.reported("1", "closed")
    assert carl.exchange.now_ms() >= lease.until_ms
    assert carl.exchange.refusals == ["wrong_timestamp"]


async def test_an_answer_that_is_lost_is_asked_for_again_with_the_very_same_heartbeat(carl: Carl) -> None:
    carl.start()
    await eventually(lambda: len(carl.exchange.heartbeats) > 2)
    carl.exchange.lose_answers = 3
    taken = len(carl.exchange.heartbeats)
    await eventually(lambda: len(carl.exchange.heartbeats) > taken + 3)
    assert [each.seq for each in carl.exchange.heartbeats] == list(range(1, len(carl.exchange.heartbeats) + 1))
    assert (len(carl.exchange.enrolments), carl.exchange.refusals, carl.exchange.overlapping) == (1, [], 1)


async def test_an_exchange_that_was_started_anew_is_enrolled_at_again(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        carl.exchange.forget_agents()
        await eventually(lambda: len(carl.exchange.enrolments) == 2)
        await eventually(lambda: carl.exchange.heartbeats[-1].seq < 3)
        assert (await connection.run("echo in")).stdout == "in\n"
    assert carl.exchange.enrolments[0].instance == carl.exchange.enrolments[1].instance


@pytest.mark.parametrize("status", [429, 503])
async def test_an_exchange_that_asks_to_wait_is_waited_for(carl: Carl, status: int) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    carl.exchange.answer_with = problem(status, "too_many_requests")
    await eventually(lambda: carl.exchange.refusals)
    assert await run(report, ANA, "echo in") == "in\n"
    carl.exchange.answer_with = None
    taken = len(carl.exchange.heartbeats)
    await eventually(lambda: len(carl.exchange.heartbeats) > taken)
    assert len(carl.exchange.enrolments) == 1


async def test_an_agent_that_another_has_replaced_stops_and_touches_no_tenant(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    carl.exchange._instance = "another"
    assert carl.ended() == 3
    assert "another agent has taken this machine over" in carl.log()
    assert await run(report, ANA, "echo in") == "in\n"


async def test_a_second_agent_of_a_machine_waits_until_the_first_is_gone(carl: Carl) -> None:
    carl.exchange._instance, carl.exchange._seen_s = "another", time.monotonic()
    carl.exchange.alive_ms = 600_000
    carl.start()
    await eventually(lambda: "agent_running" in carl.exchange.refusals)
    await eventually(lambda: "waits until another agent of this machine is gone" in carl.log())
    assert not carl.exchange.heartbeats
    carl.exchange.alive_ms = 0
    await eventually(lambda: carl.exchange.heartbeats)


async def test_a_machine_that_is_known_already_is_said_in_a_sentence(carl: Carl) -> None:
    carl.exchange.answer_with = problem(409, "machine_known", "seat-1 is another account's")
    carl.start()
    assert carl.ended() == 3
    assert "the exchange knows this machine already" in carl.log()
    assert "Traceback" not in carl.log()


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (403, "missing_scope")])
async def test_a_key_that_is_refused_is_said_and_tenants_stay(carl: Carl, status: int, code: str) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    carl.exchange.answer_with = problem(status, code)
    assert carl.ended() == 3
    assert f"does not take this key ({code}" in carl.log()
    assert await run(report, ANA, "echo in") == "in\n"
