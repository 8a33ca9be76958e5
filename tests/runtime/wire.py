"""Stands between a pool and its database server, and can say what a server says when it is about to die."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit


class Wire:
    """`async with Wire(dsn) as other_dsn`; `die` says to every client that the server ends, `cut` ends the connections."""

    FATAL = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash of another server process\0\0"

    def __init__(self, dsn: str) -> None:
        self._server_port = urlsplit(dsn).port
        self._dsn = dsn
        self._to_clients: list[asyncio.StreamWriter] = []
        self._links = asyncio.TaskGroup()

    async def __aenter__(self) -> str:
        """The connection string of this side."""
        await self._links.__aenter__()
        self._listener = await asyncio.start_server(self._link, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        return self._dsn.replace(f":{self._server_port}/", f":{port}/")

    async def __aexit__(self, *end: object) -> None:
        self._listener.close()
        self.cut()
        await self._links.__aexit__(None, None, None)

    async def _link(self, reader: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        answers, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._to_clients.append(to_client)
        self._links.create_task(_pump(answers, to_client))
        await _pump(reader, to_server)

    def die(self) -> None:
        for writer in self._to_clients:
            writer.write(b"E" + (len(self.FATAL) + 4).to_bytes(4, "big") + self.FATAL)

    def cut(self) -> None:
        for writer in self._to_clients:
            writer.transport.abort()
        self._to_clients.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()
