"""Sixty-four clients at once: connections that are kept open, each with one request under way, plain HTTP/1.1 and nothing else.

The same for both sides of a bench, so that what a client costs is the same as well. `deal` says what became of a request: None,
or the same again after a pause, in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

Deal = Callable[[int, bytes], float | None]
"""(status, body) of an answer → None: done with it; a number: send it again after so many seconds. Raises AssertionError."""


class Taken(NamedTuple):
    """What a crowd has measured."""

    seconds: float
    again: int
    """Requests that were sent again."""


def request(path: str, body: bytes, *headers: str) -> bytes:
    """A POST of JSON, as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def crowd(port: int, clients: Sequence[Sequence[bytes]], deal: Deal) -> Taken:
    """All requests of all clients, from the first byte to the last answer."""
    again = 0

    async def one(requests: Sequence[bytes]) -> None:
        nonlocal again
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for sent in requests:
            while True:
                writer.write(sent)
                pause = deal(*await answer(reader))
                if pause is None:
                    break
                again += 1
                await asyncio.sleep(pause)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*map(one, clients))
    return Taken(time.perf_counter() - started, again)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(status, body)."""
    head, body = await whole_answer(reader)
    return int(head[9:12]), body


async def whole_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(head in lower case, body)."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
    return head, await reader.readexactly(int(length))
