"""The WebSocket port: sockets in front of `sessions`. What is read and sent is decided there.

picows calls back on the event loop's own thread; nothing here waits. A connection that was told to end and does not is broken off
at the second heartbeat after that, so a reader who never reads costs a socket for seconds and no memory beyond the bound.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse
from picows import WSUpgradeResponseWithListener as Answer
from picows import ws_create_server as open_port

from schemas import feeds
from services.market_data.hub import SESSIONS_MAX, Hub
from services.market_data.public import encode
from services.market_data.sessions import HEARTBEAT_MS, MESSAGE_MAX, TOO_BIG, Session
from services.runtime.log import Clock

PATH: Final = "/v1/feed"
SOCKET_BYTES: Final = 256 * 1024
"""What the system keeps of what is sent: by itself it grows to megabytes for a reader who does not read."""
UNSUPPORTED, INTERNAL, RESTARTING = 1003, 1011, 1012
_REASON_MAX: Final = 120
"""Bytes of a close frame's reason; 123 are allowed."""
_SILENT_S: Final = 20
_log = logging.getLogger("hourbook.market_data")


class Connection(WSListener):
    """One reader's socket: a `sessions.Outlet`."""

    def __init__(self, feed: FeedServer) -> None:
        self.ending = 0
        """Heartbeats since it was told to end."""
        self.transport: WSTransport | None = None
        self._feed = feed
        self._session: Session | None = None
        self._parts = bytearray()
        """Of a message in fragments."""

    # --- Outlet ------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Queue a message."""
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, data)

    def waiting(self) -> int:
        """Bytes that are queued."""
        assert self.transport is not None
        return int(self.transport.underlying_transport.get_write_buffer_size())

    def close(self, code: int, reason: str) -> None:
        """The close frame goes behind what is queued."""
        assert self.transport is not None
        self.transport.send_close(WSCloseCode(code), reason.encode()[:_REASON_MAX])

    # --- WSListener --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is over."""
        self.transport = transport
        raw = transport.underlying_transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self._feed.connections[self] = None
        self._session = self._feed.hub.connect(self, self._feed.clock.now_ms())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A message, a part of one, or a control frame."""
        assert self._session is not None
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            code = frame.get_close_code()
            transport.send_close(WSCloseCode.OK if code == WSCloseCode.NO_INFO else code)
            transport.disconnect()
        elif not self._session.admit(self._feed.clock.now_ms()):
            return
        elif kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.TEXT, WSMsgType.CONTINUATION):
            self._text(frame)
        elif kind is WSMsgType.BINARY:
            self._end(UNSUPPORTED, "unsupported: messages are text")

    def _text(self, frame: WSFrame) -> None:
        assert self._session is not None
        if len(self._parts) + frame.payload_size > MESSAGE_MAX:
            self._end(TOO_BIG, f"too_large: a message has at most {MESSAGE_MAX} bytes")
            return
        data = frame.get_payload_as_bytes()
        if not frame.fin or self._parts:
            self._parts += data
            if not frame.fin:
                return
            data = bytes(self._parts)
            self._parts.clear()
        try:
            self._session.receive(data, self._feed.clock.now_ms())
        except Exception:  # noqa: BLE001 # the answer stands below
            # A fault of ours, found by one reader: he is told, the operator reads the traceback, the others go on.
            _log.exception("fault in a reader's message")
            self._end(INTERNAL, "internal")

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 # the interface
        """However it ended. Whoever is linked is unlinked: what waited for him, megabytes, must not wait for a collection."""
        self._feed.connections.pop(self, None)
        if self._session is not None:
            self._feed.hub.leave(self._session)
        self._session = self.transport = None

    def pause_writing(self) -> None:
        """`waiting` says it."""

    def resume_writing(self) -> None:
        """He has taken some: snapshots may follow."""
        if self._session is not None:
            self._session.pump()

    def _end(self, code: int, reason: str) -> None:
        assert self._session is not None
        self._session.close(code, reason)


class FeedServer:
    """All connections. `is_ready`: whether the log has been read to its end."""

    def __init__(self, hub: Hub, clock: Clock, is_ready: Callable[[], bool]) -> None:
        self.hub = hub
        self.clock = clock
        self.connections: dict[Connection, None] = {}
        self._is_ready = is_ready
        self._server: asyncio.Server | None = None

    async def serve(self, host: str, port: int) -> int:
        """Open the port; which it is."""
        self._server = server = await open_port(
            self._admit,
            host,
            port,
            max_frame_size=MESSAGE_MAX,
            # By itself the library answers every ping, and keeps the answers of one who does not read without a bound.
            enable_auto_pong=False,
            enable_auto_ping=True,
            auto_ping_idle_timeout=_SILENT_S,
            auto_ping_reply_timeout=_SILENT_S,
            logger_name=_protocol_log(),
        )
        return int(server.sockets[0].getsockname()[1])

    def _admit(self, request: WSUpgradeRequest) -> Connection | Answer | None:
        """None: 404."""
        if request.path.partition(b"?")[0].decode("latin-1") != PATH:
            return None
        if not self._is_ready():
            return _unavailable("market data is catching up: it reads the log from its beginning")
        if len(self.connections) >= SESSIONS_MAX:
            return _unavailable(f"{SESSIONS_MAX} readers are connected")
        return Connection(self)

    async def watch(self) -> None:
        """For ever: break off who was told to end and has not."""
        while True:
            await self.clock.sleep_ms(HEARTBEAT_MS)
            self.sweep()

    def sweep(self) -> None:
        """Once in a heartbeat."""
        for connection in list(self.connections):
            transport = connection.transport
            if transport is not None and transport.is_close_frame_sent:
                connection.ending += 1
                if connection.ending > 1:
                    transport.disconnect(graceful=False)

    def close(self) -> None:
        """The process ends."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection._end(RESTARTING, "restarting: connect again")  # noqa: SLF001 # its own server


def _protocol_log() -> logging.Logger:
    """Of picows only faults: that a stranger breaks the protocol is his affair, and would fill the log."""
    log = logging.getLogger("hourbook.market_data.sockets")
    log.addFilter(lambda record: record.exc_info is not None)
    return log


def _unavailable(detail: str) -> Answer:
    body = encode(feeds.Unanswered(code="not_ready", detail=detail))
    headers = {"Content-Type": "application/json", "Retry-After": "5"}
    return Answer(WSUpgradeResponse.create_error_response(503, body, headers), None)
