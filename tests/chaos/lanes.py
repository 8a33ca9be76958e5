"""TCP in between: whoever is told a lane's port reaches its target, until the lane is cut, silenced or slowed.

All lanes, and the load, live in one event loop in a thread of its own; the storm, which waits and starts servers, in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")
_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset, and what was not sent yet is gone."""


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        # Not uvloop's: there a connection that is cancelled while it is made stays open, and then the loop cannot be closed.
        self.loop = asyncio.new_event_loop()
        self.servers: list[asyncio.Server] = []
        """Closed at the end."""
        self._thread = threading.Thread(target=self.loop.run_forever, name="background", daemon=True)

    def do(self, what: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        """Its result, for whoever is in another thread."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(timeout_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end(self) -> None:
        for server in self.servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Way(asyncio.Queue[tuple[float, bytes]]):
    """One direction of a connection: what is on its way, and when it is due. Nothing: the sender has ended."""

    def __init__(self) -> None:
        super().__init__(maxsize=256)


class Lane:
    """From `port` to `target`, both on 127.0.0.1."""

    def __init__(self, background: Background, target: int) -> None:
        self._background = background
        self._target = target
        self._connections: set[asyncio.Task[None]] = set()
        self._is_open = True
        self._delay_s = 0.0
        self.port = 0
        background.do(self._listen())

    async def _listen(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._background.servers.append(self._server)

    # --- What is done to it, from any thread ------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection is reset, and so is each new one."""
        self._is_open = False
        self._background.do(self._abort())

    def silence(self) -> None:
        """Everything stays connected, new ones connect, and nothing arrives: a half-open line."""
        self._background.do(self._set_flowing(flowing=False))

    def slow(self, delay_s: float) -> None:
        """Whatever is sent arrives so much later, in both directions."""
        self._delay_s = delay_s

    def reset(self) -> None:
        """Every connection is reset; new ones are as before."""
        self._background.do(self._abort())

    def restore(self) -> None:
        """As before. What was silent goes on where it was."""
        self._is_open, self._delay_s = True, 0.0
        self._background.do(self._set_flowing(flowing=True))

    async def _set_flowing(self, *, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _abort(self) -> None:
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # --- A connection -----------------------------------------------------------------------------------------

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: _drop(writer))  # one that is cancelled before it began has no end of its own

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                if not self._is_open:
                    return
                further, back = await asyncio.open_connection("127.0.0.1", self._target)
                ends.append(back)
                async with asyncio.TaskGroup() as both:
                    there, home = _Way(), _Way()
                    steps = [
                        both.create_task(step)
                        for step in (
                            self._take(reader, there),
                            self._bring(there, back),
                            self._take(further, home),
                            self._bring(home, writer),
                        )
                    ]
                    brought = (steps[1], steps[3])
                    await asyncio.wait(brought, return_when=asyncio.FIRST_COMPLETED)
                    for step in steps:
                        step.cancel()
            finally:
                # One end is gone: what was still on its way is, too.
                for end in ends:
                    _drop(end)

    async def _take(self, reader: asyncio.StreamReader, way: _Way) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await way.put((time.monotonic() + self._delay_s, data))
        await way.put((0.0, b""))

    async def _bring(self, way: _Way, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while (chunk := await way.get())[1]:
                due_s, data = chunk
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


def _drop(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):  # it may be closed already, or gone
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
