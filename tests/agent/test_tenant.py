"""A tenant on a machine, over TCP, from the first login to the last."""

import asyncio
import os
import shutil
import socket
from pathlib import Path

import asyncssh
import pytest

from services.agent import processes
from tests.agent.conftest import ANA, BERT, PROBE, Carl, eventually, log_in, provider_at, public, refused, run, runs
from tests.agent.exchange import running_exchange


async def test_ana_logs_in_writes_a_file_and_after_her_lease_the_same_key_is_refused_and_the_file_is_gone(
    carl: Carl,
) -> None:
    carl.lease("1", lasts_s=600)
    carl.start()
    report = await carl.reported("1", "open")
    assert await run(report, ANA, "echo weights >model.bin && cat model.bin") == "weights\n"
    assert (carl.tenant_home("1") / "model.bin").read_text() == "weights\n"
    assert await refused(report, BERT) == "PermissionDenied"

    carl.lease("1", lasts_s=0.5)

    await carl.reported("1", "closed")
    assert await refused(report, ANA) == "ConnectionRefusedError"
    assert not (carl.home / "leases" / "1").exists()


async def test_a_lease_that_is_withdrawn_early_ends_at_once(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        process = await connection.create_process("echo in; sleep 600")
        assert await process.stdout.readline() == "in\n"

        del carl.exchange.leases["1"]

        await asyncio.wait_for(connection.wait_closed(), 10)
    await carl.reported("1", "closed")
    assert await refused(report, ANA) == "ConnectionRefusedError"
    await eventually(lambda: carl.exchange.report("1") is None, lambda: "still reported, though it was heard")


async def test_a_door_ends_when_its_agents_home_is_removed(carl: Carl) -> None:
    """As a sandbox's is: nobody is left who could end it."""
    carl.lease("1", lasts_s=600)
    carl.start()
    report = await carl.reported("1", "open")
    carl.kill()

    shutil.rmtree(carl.home)

    def is_free() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", report.port)) != 0

    await eventually(is_free)


async def test_what_the_exchange_has_heard_is_closed_is_reported_until_it_has_heard_it(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    await carl.reported("1", "open")
    carl.exchange.lose_answers = 3
    del carl.exchange.leases["1"]
    await carl.reported("1", "closed")
    await eventually(lambda: carl.exchange.report("1") is None)
    assert carl.exchange.overlapping == 1


async def test_a_tenant_gets_in_when_his_lease_begins_and_not_before(carl: Carl) -> None:
    """Made ready early, so that the login works at once; the exchange's own key gets in as soon as there is a door."""
    carl.lease("1", starts_s=600)
    carl.start()
    await eventually(lambda: (report := carl.exchange.report("1")) is not None and report.port > 0)
    report = carl.exchange.report("1")
    assert report is not None
    assert report.state == "preparing"
    assert await refused(report, ANA) == "PermissionDenied"
    await run(report, PROBE, "true")
    carl.lease("1", starts_s=2)
    await carl.reported("1", "open")
    assert carl.exchange.now_ms() >= carl.exchange.leases["1"].from_ms
    assert await run(report, ANA, "echo in") == "in\n"


async def test_without_keys_of_a_tenant_only_the_probe_gets_in_and_runs_true_and_nothing_else(carl: Carl) -> None:
    carl.lease("1", ssh_keys=())
    carl.start()
    report = await carl.reported("1", "open")
    assert await refused(report, ANA) == "PermissionDenied"
    async with await log_in(report, PROBE) as connection:
        assert (await connection.run("true")).exit_status == 0
        done = await connection.run("touch here; id")
        assert done.stdout == ""
        assert not (carl.tenant_home("1") / "here").exists()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process(term_type="xterm")
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", carl.exchange.port)


async def test_the_probe_is_not_led_by_what_a_tenant_does_to_his_shell(carl: Carl) -> None:
    """Who could make his machine look unreachable would get his money back."""
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    await run(report, ANA, "printf 'exit 1\\n' | tee .bashrc .profile .bash_profile .ssh_rc >/dev/null")
    async with await log_in(report, PROBE) as connection:
        assert (await connection.run("true")).exit_status == 0


async def test_a_key_that_is_none_is_named_and_left_out_and_the_others_get_in(carl: Carl) -> None:
    carl.lease("1", ssh_keys=("ssh-ed25519 nonsense", public(ANA), 'command="id" ' + public(BERT)))
    carl.start()
    report = await carl.reported("1", "open")
    assert await run(report, ANA, "echo in") == "in\n"
    assert await refused(report, BERT) == "PermissionDenied"
    await eventually(
        lambda: "SSH key 1, 3 of 3 is none and was left out" in (carl.exchange.report("1") or report).detail
    )


async def test_keys_may_change_while_it_runs_and_whose_key_is_taken_away_is_out(carl: Carl) -> None:
    carl.lease("1", ssh_keys=(public(ANA), public(BERT)))
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as ana, await log_in(report, BERT) as bert:
        carl.lease("1", ssh_keys=(public(BERT),))
        await asyncio.wait_for(ana.wait_closed(), 10)
        assert str((await bert.run("echo still in")).stdout) == "still in\n"
    assert await refused(report, ANA) == "PermissionDenied"


async def test_an_end_that_is_moved_out_interrupts_nothing(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        process = await connection.create_process("cat")
        end = carl.lease("1", lasts_s=4).until_ms
        await carl.heard("1")
        carl.lease("1")
        await asyncio.sleep((end - carl.exchange.now_ms()) / 1000 + 1)
        process.stdin.write("still here\n")
        assert await process.stdout.readline() == "still here\n"


async def test_another_exchanges_lease_of_the_same_number_ends_nobody_elses_session(carl: Carl, tmp_path: Path) -> None:
    """Two agents of two exchanges on one machine."""
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    (tmp_path / "dora").mkdir()
    async with await log_in(report, ANA) as connection:
        process = await connection.create_process("cat")
        with running_exchange() as other, provider_at(tmp_path / "dora", other) as dora:
            dora.lease("1")
            dora.start()
            await dora.reported("1", "open")
            del other.leases["1"]
            await dora.reported("1", "closed")
        process.stdin.write("still here\n")
        assert await process.stdout.readline() == "still here\n"


async def test_a_shell_has_a_terminal_of_the_right_size_which_ctrl_c_reaches(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        shell = await connection.create_process(term_type="xterm", term_size=(91, 37))
        shell.stdin.write("stty size; echo $TERM; pwd\n")
        await asyncio.wait_for(shell.stdout.readuntil("37 91"), 10)
        await asyncio.wait_for(shell.stdout.readuntil(str(carl.tenant_home("1"))), 10)
        shell.change_terminal_size(100, 40)
        await asyncio.sleep(0.5)
        shell.stdin.write("stty size\n")
        await asyncio.wait_for(shell.stdout.readuntil("40 100"), 10)
        shell.stdin.write("sleep 600; echo it was $?\n")
        await asyncio.sleep(0.5)
        shell.stdin.write("\x03")
        shell.stdin.write("echo after=$((1+1))\n")
        await asyncio.wait_for(shell.stdout.readuntil("after=2"), 10)
        shell.stdin.write("exit 7\n")
        assert (await asyncio.wait_for(shell.wait(), 10)).exit_status == 7


async def test_commands_get_their_input_say_both_outputs_whole_and_how_they_ended(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        done = await connection.run("echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_status) == ("out\n", "err\n", 3)
        much = "x" * 3_000_000
        assert (await connection.run("cat", input=much)).stdout == much
        # What does not read its input does not end the connection.
        assert (await connection.run("true", input=much)).exit_status == 0
        assert (await connection.run("kill -TERM $$")).exit_signal is not None
        assert (await connection.run("no-such-command-here")).exit_status == 127
        running = await connection.create_process(
            "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done"
        )
        await running.stdout.readline()
        running.send_signal("INT")
        assert (await asyncio.wait_for(running.wait(), 10)).exit_status == 5


async def test_files_come_and_go_by_sftp_and_land_in_the_tenants_folder(carl: Carl, tmp_path: Path) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    (tmp_path / "data").write_bytes(os.urandom(1_000_000))
    async with await log_in(report, ANA) as connection:
        async with connection.start_sftp_client() as files:
            await files.put(tmp_path / "data", "data")
            await files.get("data", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "data").read_bytes()
        assert (carl.tenant_home("1") / "data").exists()
        await asyncssh.scp(tmp_path / "data", (connection, "again"))
    assert (carl.tenant_home("1") / "again").exists()


async def test_a_tenant_reaches_his_own_server_on_the_machine_through_his_login_and_nothing_elsewhere(
    carl: Carl,
) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    with socket.create_server(("127.0.0.1", 0)) as notebook:
        async with await log_in(report, ANA) as connection:
            _, writer = await connection.open_connection("127.0.0.1", notebook.getsockname()[1])
            writer.write(b"hello")
            accepted, _ = await asyncio.get_running_loop().run_in_executor(None, notebook.accept)
            with accepted:
                assert await asyncio.get_running_loop().run_in_executor(None, accepted.recv, 5) == b"hello"
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("192.0.2.1", 80)


ESCAPES = {
    "in the background": "sleep 600 >/dev/null 2>&1 &",
    "without hang-up": "nohup sleep 600 >/dev/null 2>&1 &",
    "in a session of its own": "setsid sleep 600 >/dev/null 2>&1 </dev/null &",
    "as an orphan's orphan": "setsid sh -c 'setsid sleep 600 & exit' >/dev/null 2>&1 </dev/null &",
    "deaf to signals": "setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' >/dev/null 2>&1 </dev/null &",
    "without its mark": "setsid env -i sleep 600 >/dev/null 2>&1 </dev/null &",
    "forking without end": "setsid sh -c 'f() { sleep 0.05; f & f2=$!; wait $f2; }; f' >/dev/null 2>&1 </dev/null &",
}


async def test_whatever_a_tenant_leaves_behind_is_killed_and_wiped_however_it_tries_to_stay(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        for escape in ESCAPES.values():
            await connection.run(escape, check=True)
        await connection.run("mkdir -p deep/er && touch deep/er/file && chmod 000 deep/er deep && ln -s /etc link")
    folder = carl.home / "leases" / "1"
    door = int((folder / "door.lock").read_text())
    living = processes.descendants(door)
    assert len(living) >= len(ESCAPES)

    del carl.exchange.leases["1"]

    await carl.reported("1", "closed")
    assert [pid for pid in (*living, door) if runs(pid)] == []
    assert not folder.exists()
    assert os.access("/etc/passwd", os.R_OK), "a link in the folder is not followed"


async def test_the_end_is_announced_on_every_terminal_and_in_a_file_once(carl: Carl) -> None:
    lease = carl.lease("1", lasts_s=240)
    carl.start()
    report = await carl.reported("1", "open")
    async with await log_in(report, ANA) as connection:
        shells = [await connection.create_process(term_type="xterm") for _ in range(2)]
        for shell in shells:
            shell.stdin.write("echo re''ady\n")
            await asyncio.wait_for(shell.stdout.readuntil("ready"), 10)
        carl.lease(
            "1",
            lasts_s=240,
            warn_ms=(carl.exchange.now_ms() - 60_000, carl.exchange.now_ms() + 500, lease.until_ms - 1),
        )
        for shell in shells:
            # The one whose time had passed, then the one that became due.
            for _ in range(2):
                said = await asyncio.wait_for(shell.stdout.readuntil("is wiped."), 10)
                assert "your time on this machine ends at" in said.replace("\r\n", " ")
    file = carl.tenant_home("1") / "WARNINGS.txt"
    await eventually(lambda: file.exists() and len(file.read_text().splitlines()) == 2)
    await asyncio.sleep(1)
    assert len(file.read_text().splitlines()) == 2


async def test_a_start_script_runs_once_as_the_tenant_and_its_output_waits_for_him(carl: Carl) -> None:
    carl.lease("1", start_script='echo "began in $PWD"\necho it >>runs\n')
    carl.start()
    report = await carl.reported("1", "open")
    await eventually(lambda: (carl.exchange.report("1") or report).script == "done")
    assert await run(report, ANA, "cat start-script.log runs") == f"began in {carl.tenant_home('1')}\nit\n"


async def test_a_start_script_that_fails_keeps_nobody_out(carl: Carl) -> None:
    carl.lease("1", start_script="#!/bin/no-such-interpreter\n")
    carl.start()
    report = await carl.reported("1", "open")
    await eventually(lambda: (carl.exchange.report("1") or report).script == "failed")
    assert await run(report, ANA, "echo in") == "in\n"


async def test_a_start_script_that_never_ends_holds_up_no_login_and_is_cut_off_at_the_end(carl: Carl) -> None:
    carl.lease("1", start_script="#!/bin/sh\necho $$ >pid\ntrap '' TERM\nwhile :; do sleep 1; done\n")
    carl.start()
    report = await carl.reported("1", "open")
    await eventually(lambda: (carl.exchange.report("1") or report).script == "running")
    pid = int(await run(report, ANA, "while [ ! -s pid ]; do sleep 0.1; done; cat pid"))
    assert runs(pid)
    del carl.exchange.leases["1"]
    closed = await carl.reported("1", "closed")
    assert closed.script == "cut_off"
    assert not runs(pid)


async def test_two_tenants_of_one_machine_have_a_door_each(carl: Carl) -> None:
    carl.lease("1", seats=("seat-1",))
    carl.lease("2", seats=("seat-2",), ssh_keys=(public(BERT),))
    carl.start()
    ana, bert = await carl.reported("1", "open"), await carl.reported("2", "open")
    assert ana.port != bert.port
    assert ana.host_key != bert.host_key
    assert await refused(ana, BERT) == await refused(bert, ANA) == "PermissionDenied"
    del carl.exchange.leases["1"]
    await carl.reported("1", "closed")
    assert await run(bert, BERT, "echo still in") == "still in\n"


async def test_every_login_is_told_that_driver_open_isolates_nothing(carl: Carl) -> None:
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    banners: list[str] = []

    class Listening(asyncssh.SSHClient):
        def auth_banner_received(self, msg: str, lang: str) -> None:
            del lang
            banners.append(msg)

    connection, _ = await asyncssh.create_connection(
        Listening, "127.0.0.1", report.port, username=report.user, client_keys=[ANA], known_hosts=None, config=None
    )
    connection.close()
    assert any("isolates nothing" in banner for banner in banners)


async def test_the_simulated_driver_opens_leases_and_lets_nobody_in(carl: Carl) -> None:
    carl.words = ("--driver", "simulated", "--gpus", "3")
    carl.lease("1")
    carl.start()
    report = await carl.reported("1", "open")
    assert (report.port, report.script) == (0, "")
    assert "simulated" in report.detail
    enrolment = carl.exchange.enrolments[0]
    assert (enrolment.source, enrolment.driver) == ("simulated", "simulated")
    assert all("simulated" in gpu.uuid and "simulated" in gpu.name for gpu in enrolment.inventory)
    del carl.exchange.leases["1"]
    await carl.reported("1", "closed")
