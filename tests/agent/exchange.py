"""A small exchange over real HTTP, for agents: it checks signatures, hands out nonces, and judges numbers as the real one does.

It is told what to do from the test's thread: leases, being away, losing answers, a clock of its own.
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from schemas.agents import Enrolled, Enrolment, Heartbeat, HeartbeatAnswer, Lease, LeaseReport
from schemas.http import KeyAnswer, NewKeyAnswer, Problem
from schemas.signing import signature
from services.agent.exchange import Profile

SECRET = b"s" * 32
KEY_ID = "k-carl"
WINDOW_MS = 30_000


@dataclass
class Exchange:
    """Everything a test may turn."""

    leases: dict[str, Lease] = field(default_factory=dict)
    grace_ms: int = 60_000
    every_ms: int = 100
    ahead_ms: int = 0
    """Its clock before this machine's."""
    away: bool = False
    lose_answers: int = 0
    """So many of the next heartbeats are taken, and their answers lost."""
    answer_with: Problem | None = None
    """To everything."""
    alive_ms: int = 20_000
    enrolments: list[Enrolment] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    port: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _instance: str = ""
    _seen_s: float = 0.0
    _nonce: str = ""
    _last: tuple[int, str] = (0, "")
    _busy: int = 0
    overlapping: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def report(self, lease: str) -> LeaseReport | None:
        """As the last heartbeat said; None: it did not speak of it."""
        with self._lock:
            last = self.heartbeats[-1].leases if self.heartbeats else ()
        return next((each for each in last if each.lease == lease), None)

    def forget_agents(self) -> None:
        """As after a start of its own."""
        with self._lock:
            self._instance = ""

    def profile(self, folder: Path) -> Path:
        file = folder / "agent-key.json"
        key = KeyAnswer(KEY_ID, 7, ("agent",), "agent", "", ())
        answer = NewKeyAnswer(key=key, secret=base64.b64encode(SECRET).decode(), bearer="")
        file.write_bytes(msgspec.json.encode(Profile(self.url, answer)))
        return file

    # --- What it answers ------------------------------------------------------------------------------------

    def take(self, path: str, body: bytes) -> bytes | Problem | None:
        """None: the answer is lost."""
        with self._lock:
            if self.answer_with is not None:
                return self.answer_with
            if path == "/v1/machines":
                return self._enrol(msgspec.json.decode(body, type=Enrolment))
            return self._beat(msgspec.json.decode(body, type=Heartbeat))

    def _enrol(self, asked: Enrolment) -> bytes | Problem:
        if self._instance not in {"", asked.instance} and time.monotonic() - self._seen_s < self.alive_ms / 1000:
            return problem(409, "agent_running")
        self.enrolments.append(asked)
        self._instance, self._seen_s, self._last = asked.instance, time.monotonic(), (0, "")
        self._nonce = secrets.token_hex(8)
        return msgspec.json.encode(
            Enrolled(
                machine=asked.machine,
                every_ms=self.every_ms,
                grace_ms=self.grace_ms,
                nonce=self._nonce,
                now_ms=self.now_ms(),
            )
        )

    def _beat(self, heartbeat: Heartbeat) -> bytes | Problem | None:
        if not self._instance:
            return problem(404, "unknown_machine")
        if heartbeat.instance != self._instance:
            return problem(409, "agent_superseded")
        self._seen_s = time.monotonic()
        if (heartbeat.seq, heartbeat.nonce) != self._last:
            if heartbeat.seq <= self._last[0] or heartbeat.nonce != self._nonce:
                return problem(409, "stale_heartbeat")
            self._last, self._nonce = (heartbeat.seq, heartbeat.nonce), secrets.token_hex(8)
            self.heartbeats.append(heartbeat)
        if self.lose_answers > 0:
            self.lose_answers -= 1
            return None
        now_ms = self.now_ms()
        leases = tuple(lease for lease in self.leases.values() if lease.until_ms > now_ms)
        return msgspec.json.encode(
            HeartbeatAnswer(
                nonce=self._nonce, now_ms=now_ms, every_ms=self.every_ms, grace_ms=self.grace_ms, leases=leases
            )
        )


def problem(status: int, code: str, detail: str = "as the test wants it") -> Problem:
    return Problem(f"/problems/{code}", code, status, detail, code, "", status in {429, 503}, "rejected")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        exchange: Exchange = self.server.exchange  # type: ignore[attr-defined]
        if exchange.away or self.path != "/v1/time":
            self.close_connection = True
            return
        now = datetime.fromtimestamp(exchange.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        now = now.replace("+00:00", "Z")
        self._send(200, json.dumps({"now": now, "market": now, "rate": 1}).encode())

    def do_POST(self) -> None:
        exchange: Exchange = self.server.exchange  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if exchange.away:
            self.close_connection = True
            return
        exchange._busy += 1
        exchange.overlapping = max(exchange.overlapping, exchange._busy)
        try:
            answer = self._judge(exchange, body) or exchange.take(self.path, body)
        finally:
            exchange._busy -= 1
        if answer is None:
            self.close_connection = True
        elif isinstance(answer, Problem):
            exchange.refusals.append(answer.code)
            self._send(answer.status, msgspec.json.encode(answer))
        else:
            self._send(200, answer)

    def _judge(self, exchange: Exchange, body: bytes) -> Problem | None:
        stamp = self.headers["Hourbook-Timestamp"]
        if self.headers["Hourbook-Key"] != KEY_ID:
            return problem(401, "unauthenticated")
        if abs(int(stamp) - exchange.now_ms()) > WINDOW_MS:
            return problem(401, "wrong_timestamp")
        if signature(SECRET, stamp, "POST", self.path, body) != self.headers["Hourbook-Signature"]:
            return problem(401, "wrong_signature")
        return None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """An agent that is killed in the middle of an answer is no error."""


@contextmanager
def running_exchange() -> Iterator[Exchange]:
    exchange = Exchange()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.exchange = exchange  # type: ignore[attr-defined]
    exchange.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
