"""What goes to and fro between a tenant's session and the program that was started for it: bytes, signals, the size of a window.

`asyncssh` could redirect by itself. Its redirections lost the end of what `cat` says where it reads and writes much at once, so these
are our own: one loop a direction, each waiting until the other side has room.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Final

import asyncssh

Session = asyncssh.SSHServerProcess[bytes]
CHUNK: Final = 65_536
LAST_OUTPUT_S: Final = 1.0
"""A shell has ended, and something that it has left in the background still holds its terminal: so long is waited for what it says."""
LOST: Final = (asyncssh.Error, OSError)
"""The tenant is gone."""


async def on_pipes(session: Session, child: asyncio.subprocess.Process) -> None:
    """A command. Like any SSH server, it ends the session when nobody holds the ends of its outputs any more."""
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    stdin = child.stdin

    async def give(data: bytes) -> None:
        stdin.write(data)
        await stdin.drain()

    async def feed() -> None:
        await _incoming(session, child.pid, give, lambda: None)
        stdin.close()

    feeding = asyncio.create_task(feed())
    try:
        await asyncio.gather(_outgoing(child.stdout, session.stdout), _outgoing(child.stderr, session.stderr))
        _exit(session, await child.wait())
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def on_terminal(session: Session, child: asyncio.subprocess.Process, master: int) -> None:
    """A shell, or a command with a terminal. `master` is ours from here on; when it is closed, what runs there is hung up on."""
    loop = asyncio.get_running_loop()
    os.set_blocking(master, False)
    output = asyncio.StreamReader()
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(os.dup(master), "rb", buffering=0)
    )
    feeding = asyncio.create_task(
        _incoming(session, child.pid, lambda data: _write(master, data), lambda: set_size(master, session))
    )
    telling = asyncio.create_task(_outgoing(output, session.stdout))
    ending = asyncio.create_task(child.wait())
    try:
        await asyncio.wait({feeding, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done() and not feeding.result():
            # Its input is at an end, and the tenant is still there.
            await ending
        if ending.done():
            await asyncio.wait({telling}, timeout=LAST_OUTPUT_S)
            _exit(session, ending.result())
    finally:
        for task in (feeding, telling):
            task.cancel()
        await asyncio.gather(feeding, telling, return_exceptions=True)
        reading.close()
        os.close(master)
    await ending


def set_size(terminal: int, session: Session) -> None:
    """Of a terminal, as the tenant's window is now."""
    width, height, across, down = session.term_size
    fcntl.ioctl(
        terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *(min(n, 0xFFFF) for n in (height, width, across, down)))
    )


async def _incoming(
    session: Session, pid: int, give: Callable[[bytes], Awaitable[None]], resize: Callable[[], None]
) -> bool:
    """From the tenant to the program, until there is no more; True: because he is gone."""
    listening = True
    while True:
        try:
            data = await session.stdin.read(CHUNK)
        except asyncssh.TerminalSizeChanged:
            resize()
            continue
        except asyncssh.BreakReceived:
            _send(pid, "INT")
            continue
        except asyncssh.SignalReceived as received:
            _send(pid, received.signal)
            continue
        except LOST:
            return True
        if not data:
            return session.is_closing()
        if listening:
            try:
                await give(data)
            except OSError:
                # It does not read any more; what comes is still taken, or the session would stand still.
                listening = False


async def _outgoing(reader: asyncio.StreamReader, writer: asyncssh.SSHWriter[bytes]) -> None:
    """From the program to the tenant, until its end; where he is gone it is thrown away, so that what runs on is not stopped by it."""
    hearing = True
    # EIO: nobody has the other side of a terminal open any more.
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            if hearing:
                try:
                    writer.write(data)
                    await writer.drain()
                except LOST:
                    hearing = False


async def _write(descriptor: int, data: bytes) -> None:
    """All of it. Raises OSError."""
    loop = asyncio.get_running_loop()
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            room = asyncio.Event()
            loop.add_writer(descriptor, room.set)
            try:
                await room.wait()
            finally:
                loop.remove_writer(descriptor)


def _send(pid: int, name: str) -> None:
    """To the program and what it has started in its group; unknown names are passed over."""
    number = getattr(signal, f"SIG{name}", None)
    if isinstance(number, signal.Signals):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _exit(session: Session, status: int) -> None:
    with contextlib.suppress(*LOST):
        if status < 0:
            session.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            session.exit(status)
