"""The door of a lease, from inside."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from services.agent.door import Door
from services.agent.doorway import HOST_KEY, DoorConfig, DoorOrders, DoorSaid, How
from services.agent.keys import authorized_keys, sort_out
from tests.agent.conftest import ANA, PROBE, eventually, public


def door(folder: Path) -> Door:
    how = How(user="ana", home=str(folder), login=("/bin/sh",), command=("/bin/sh", "-c"))
    config = DoorConfig(listen="127.0.0.1", ports=(0,), how=how, banner="", before=DoorSaid())
    return Door(folder, config, DoorOrders(ends_elapsed_ms=0))


async def test_a_command_that_ends_at_once_is_not_taken_for_an_orphan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its exit status is lost, and 255 is told in its place."""
    ours, start = door(tmp_path), asyncio.create_subprocess_exec

    async def slowly(*words: str, **options: Any) -> asyncio.subprocess.Process:
        child = await start(*words, **options)
        with contextlib.suppress(ChildProcessError):
            # The loop stands still meanwhile: asyncio has not seen the end yet.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 # on purpose
        ours.reap()
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    child = await ours._start(("/bin/sh", "-c", "exit 3"), asyncio.subprocess.DEVNULL)
    assert await child.wait() == 3


async def test_whose_home_is_gone_gets_in_all_the_same(tmp_path: Path) -> None:
    ours = door(tmp_path / "gone")
    child = await ours._start(("/bin/sh", "-c", "exit 0"), asyncio.subprocess.DEVNULL)
    assert await child.wait() == 0


async def test_whoever_knocks_and_says_nothing_keeps_nobody_out_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.agent.door.KNOCKING_MAX", 2)
    (tmp_path / HOST_KEY).write_bytes(PROBE.export_private_key("openssh"))
    ours = door(tmp_path)
    ours.orders = DoorOrders(ends_elapsed_ms=0, open=True, keys=sort_out((public(ANA),))[0])
    async with await ours._listen() as listener:
        port = listener.get_port()
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, _ in silent:
            assert (await reader.readline()).startswith(b"SSH-2.0")
        third, closing = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            while await asyncio.wait_for(third.read(100), 10):
                pass
        closing.close()
        assert len(ours.knocking) == 2
        for _, writer in silent:
            writer.close()
        await eventually(lambda: not ours.knocking)
        async with asyncssh.connect(
            "127.0.0.1", port, username="ana", client_keys=[ANA], known_hosts=None, config=None, agent_path=None
        ):
            assert len(ours.connections) == 1
            assert not ours.knocking


def test_the_probe_gets_no_more_than_true_and_a_tenant_with_its_key_no_less_than_a_tenant() -> None:
    ana, probe = (sort_out((public(key),))[0] for key in (ANA, PROBE))
    lines = authorized_keys(ana, probe).splitlines()
    assert [line.split(" ")[-2:] for line in lines] == [ana[0].split(), probe[0].split()]
    assert 'command="true"' not in lines[0]
    assert lines[1].startswith('command="true",no-pty,no-port-forwarding,')
    assert authorized_keys(ana, ana) == authorized_keys(ana, ())
