"""What a process tells about itself: `GET /status` (JSON) and `GET /metrics` (Prometheus).

    status = Status("settlement")
    status.set(lag=0, commits=812)      # any number, string or boolean
    status.set_of(1, seq=17)            # numbers of one shard
    async with serve(status, port=0) as address: ...

Common keys: `lag` (records behind), `seq`, `epoch`, `waiting_for` (empty: nothing), `last_error`. Every number is also the gauge
`hourbook_<key>` (the counter `hourbook_<key>`, where the key ends in `_total`), that of a shard with the label `shard`, and
`hourbook_waiting{what="postgres"}` is 1 while that is waited for; anything else a service registers with `prometheus_client` is
shown as well.
A process is found by `<run>/<name>.json`: {"name", "pid", "status": "127.0.0.1:port", "started_ms"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Value = int | float | str | bool
Family = GaugeMetricFamily | CounterMetricFamily

_REQUEST_BYTES_MAX: Final = 8_192
_REQUEST_S_MAX: Final = 5
_CLIENT_FAULTS = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Status(Collector):
    """A service's own words on how it is. Setting a key again replaces it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, Value] = {"waiting_for": "", "last_error": ""}
        self.started_ms = time.time_ns() // 1_000_000
        self._of_shards: dict[str, dict[int, float]] = {}
        """Key -> shard -> value."""
        self._waits: dict[str, None] = {}
        """What is waited for, in the order in which it went away."""

    def set(self, **values: Value) -> None:
        """Keys are lower_case names; a number also becomes a gauge."""
        self.values.update(values)

    def set_of(self, shard: int, **values: float) -> None:
        """Numbers of one shard: `seq_0` in `/status`, `hourbook_seq{shard="0"}` in `/metrics`."""
        for key, value in values.items():
            self._of_shards.setdefault(key, {})[shard] = value

    def wait(self, what: str, error: str = "") -> None:
        """Something is missing. `waiting_for` names all that is; `last_error` keeps the newest reason."""
        self._waits[what] = None
        self.set(waiting_for=", ".join(self._waits), last_error=error or self.values["last_error"])

    def go_on(self, what: str) -> None:
        """It is there again, or always was."""
        if what in self._waits:
            del self._waits[what]
            self.set(waiting_for=", ".join(self._waits))

    def document(self) -> dict[str, Value]:
        """The body of `/status`."""
        of_shards = {f"{key}_{n}": value for key, by_shard in self._of_shards.items() for n, value in by_shard.items()}
        return {"name": self.name, "pid": os.getpid(), "started_ms": self.started_ms, **self.values, **of_shards}

    def collect(self) -> Iterator[Family]:
        """Numbers, for `prometheus_client`."""
        for key, value in self.values.items():
            if not isinstance(value, str):
                family = self._family(key)
                family.add_metric([], float(value))
                yield family
        for key, by_shard in self._of_shards.items():
            family = self._family(key, "shard")
            for number, of_shard in by_shard.items():
                family.add_metric([str(number)], float(of_shard))
            yield family
        waits = GaugeMetricFamily("hourbook_waiting", f"what {self.name} waits for", labels=["what"])
        for what in self._waits:
            waits.add_metric([what], 1.0)
        yield waits

    def _family(self, key: str, *labels: str) -> Family:
        kind = CounterMetricFamily if key.endswith("_total") else GaugeMetricFamily
        return kind(f"hourbook_{key}", f"{key} of {self.name}", labels=labels)


@contextlib.asynccontextmanager
async def serve(status: Status, port: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Answer on host:port (0: any free one) while the block runs; gives `host:port`."""
    own = CollectorRegistry()
    own.register(status)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(*_CLIENT_FAULTS):
            # A broken connection or a client that does not finish its request: nobody is left to be told.
            async with asyncio.timeout(_REQUEST_S_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head, status, own))
                await writer.drain()

    server = await asyncio.start_server(answer, host, port, limit=_REQUEST_BYTES_MAX)
    async with server:
        shown = f"[{host}]" if ":" in host else host
        yield f"{shown}:{server.sockets[0].getsockname()[1]}"


@contextlib.contextmanager
def run_file(folder: Path, status: Status, address: str) -> Iterator[Path]:
    """`<folder>/<name>.json` while the block runs, whole or not at all; a living namesake keeps its own."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{status.name}.json"
    if _living(path):
        path = folder / f"{status.name}-{os.getpid()}.json"
    body = {"name": status.name, "pid": os.getpid(), "status": address, "started_ms": status.started_ms}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(body))
    temporary.replace(path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _living(path: Path) -> bool:
    """Whether another process that is alive has written this run file."""
    try:
        pid = int(json.loads(path.read_text())["pid"])
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return pid != os.getpid()


def _answer(head: bytes, status: Status, own: CollectorRegistry) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if method != b"GET":
        return _response("405 Method Not Allowed", "text/plain", b"only GET\n")
    if path == b"/status":
        return _response("200 OK", "application/json", json.dumps(status.document()).encode() + b"\n")
    if path == b"/metrics":
        text = generate_latest(own) + generate_latest(REGISTRY)
        return _response("200 OK", "text/plain; version=0.0.4", text)
    return _response("404 Not Found", "text/plain", b"/status or /metrics\n")


def _response(code: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
