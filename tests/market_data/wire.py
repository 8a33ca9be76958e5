"""A WebSocket client in a page, from RFC 6455 alone: it shares nothing with the library that the server uses, and can misbehave.

async with Wire.open(port) as wire:
    await wire.say({"op": "ping"}); message = await wire.hear()
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(NamedTuple):
    """How the server ended it."""

    code: int
    reason: str


class Refused(Exception):
    """The answer to the handshake was another."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int, path: str = "/v1/feed", *, receive_bytes: int = 0) -> AsyncIterator[Wire]:
        """`receive_bytes`: how much the system takes for somebody who does not read. Raises Refused."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**16)
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if first.split()[1] != "101":
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                raise Refused(int(first.split()[1]), headers, body)
            accept = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
            assert headers["sec-websocket-accept"] == accept
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def say(self, message: Any) -> None:
        await self.send(TEXT, message if isinstance(message, bytes) else json.dumps(message).encode())

    async def send(self, kind: int, data: bytes, *, last: bool = True) -> None:
        """One frame, masked as a client's must be."""
        mask = os.urandom(4)
        size = len(data)
        if size < 126:
            length = bytes([0x80 | size])
        else:
            length = b"\xfe" + size.to_bytes(2, "big") if size <= 0xFFFF else b"\xff" + size.to_bytes(8, "big")
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self.writer.write(bytes([(0x80 if last else 0) | kind]) + length + mask + masked)
        await self.writer.drain()

    async def hear(self) -> dict[str, Any] | Closed:
        """The next message, or the end. Pings are answered."""
        while True:
            kind, data = await self._frame()
            if kind == TEXT:
                message: dict[str, Any] = json.loads(data)
                return message
            if kind == CLOSE:
                return Closed(int.from_bytes(data[:2], "big"), data[2:].decode())
            if kind == PING:
                await self.send(PONG, data)

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "the server sends each message in one frame"
        assert not second & 0x80, "a server does not mask"
        size = second
        if second >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def until(self, kind: str) -> dict[str, Any]:
        """The next message of a type."""
        while True:
            message = await self.hear()
            assert isinstance(message, dict), message
            if message["type"] == kind:
                return message

    async def end(self) -> Closed:
        """Everything up to the end."""
        while True:
            message = await self.hear()
            if isinstance(message, Closed):
                return message
