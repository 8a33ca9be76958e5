"""Driver user, with real users of the system: only where root runs the tests."""

import os
import pwd
import shutil
from pathlib import Path

import pytest

from services.agent.drivers.user import HOMES, user_name
from tests.agent.conftest import ANA, BERT, PROBE, Carl, log_in, public, refused, run, runs
from tests.conftest import Skip


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip(Skip.NO_USERS)


def entry(lease: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user_name(lease))
    except KeyError:
        return None


async def test_each_lease_is_a_user_of_its_own_who_is_gone_with_all_he_left_when_it_is_over(carl: Carl) -> None:
    carl.words = ("--driver", "user", "--gpus", "2")
    names = {name: f"{os.getpid()}-{name}" for name in ("ana", "bert")}
    ana_lease, bert_lease = names.values()
    carl.lease(ana_lease, seats=("seat-1",))
    carl.lease(bert_lease, seats=("seat-2",), ssh_keys=(public(BERT),), start_script="id -un >who")
    carl.start()
    ana, bert = await carl.reported(ana_lease, "open"), await carl.reported(bert_lease, "open")
    left = Path("/tmp") / f"left-by-{ana_lease}"
    try:
        assert await run(ana, ANA, "id -un; echo secret >file; pwd") == f"{ana.user}\n/home/{ana.user}\n"
        assert ana.user == user_name(ana_lease) != bert.user
        found = entry(ana_lease)
        assert found is not None and found.pw_uid >= 1000
        # One cannot read what the other has, nor what root has, nor end what he runs, nor the SSH server of his own lease.
        said = await run(bert, BERT, f"cat /home/{ana.user}/file /etc/shadow 2>&1; true")
        assert said.count("Permission denied") == 2
        door = int((carl.home / "leases" / bert_lease / "door.lock").read_text())
        assert "not permitted" in await run(bert, BERT, f"kill -9 {door} 2>&1; true")
        assert await run(bert, BERT, "while [ ! -s who ]; do sleep 0.1; done; cat who") == f"{bert.user}\n"
        await run(ana, PROBE, "true")
        pid = int(await run(ana, ANA, "setsid env -i sleep 600 >/dev/null 2>&1 </dev/null & echo $!"))
        await run(ana, ANA, f"mkdir {left} && touch {left}/file && chmod 000 {left}")
        async with await log_in(ana, ANA) as connection:
            shell = await connection.create_process(term_type="xterm")
            shell.stdin.write("tty; id -un\n")
            await shell.stdout.readuntil(ana.user)

            del carl.exchange.leases[ana_lease]
            await carl.reported(ana_lease, "closed")
        assert await refused(ana, ANA) == "ConnectionRefusedError"
        assert entry(ana_lease) is None and not (HOMES / ana.user).exists() and not left.exists()
        assert not runs(pid)
        assert await run(bert, BERT, "echo still in") == "still in\n"
        del carl.exchange.leases[bert_lease]
        await carl.reported(bert_lease, "closed")
        assert entry(bert_lease) is None
    finally:
        for user in (user_name(ana_lease), user_name(bert_lease)):
            # Users outlive this test's processes where it fails.
            shutil.rmtree(HOMES / user, ignore_errors=True)
            os.system(f"pkill -9 -u {user} >/dev/null 2>&1; userdel -r {user} >/dev/null 2>&1")
        shutil.rmtree(left, ignore_errors=True)
