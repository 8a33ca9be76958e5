"""Connections to the broker: requests come one after the other, and are answered in their order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from io import BytesIO
from typing import Final

from aiokafka.protocol.api import RequestHeader_v1, ResponseHeader_v0

from services.memory_broker.answers import Answers
from services.memory_broker.logs import Topics

REQUEST_BYTES_MAX: Final = 64 * 1024 * 1024
_SIZE: Final = struct.Struct(">i")
_HEADER_BYTES_MIN: Final = 10
_logger = logging.getLogger(__name__)


class NotKafka(Exception):
    """What came is no request that is spoken here; its connection is closed. The message says what it was."""


async def serve(host: str, port: int) -> None:
    """For ever. Raises OSError where the address is taken."""
    answers = Answers(Topics(), host, port)
    open_connections: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            await _converse(answers, reader, writer)
        except NotKafka as error:
            _logger.warning("a connection is closed: %s", error)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            open_connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_server(connection, host, port, limit=REQUEST_BYTES_MAX) as server:
        await server.serve_forever()


async def _converse(answers: Answers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
        if not _HEADER_BYTES_MIN <= size <= REQUEST_BYTES_MAX:
            raise NotKafka(f"a request of {size} bytes")
        answer = await _answer(answers, await reader.readexactly(size))
        writer.write(_SIZE.pack(len(answer)) + answer)
        await writer.drain()


async def _answer(answers: Answers, message: bytes) -> bytes:
    """Raises NotKafka."""
    body = BytesIO(message)
    try:
        key, version, correlation, _client = RequestHeader_v1.SCHEMA.decode(body)
    except (ValueError, struct.error) as error:
        raise NotKafka(f"no header of a request: {error}") from error
    known = answers.by_kind.get((key, version))
    if known is None:
        raise NotKafka(f"request {key} in version {version}")
    kind, answer = known
    try:
        request = kind.decode(body)
    except (ValueError, struct.error) as error:
        raise NotKafka(f"a {kind.__name__} that ends early: {error}") from error
    return bytes(ResponseHeader_v0(correlation).encode() + (await answer(request)).encode())
