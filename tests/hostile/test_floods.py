"""Clients who ask too much, too slowly or without an end: what they may take has a bound, and everybody else is served meanwhile.

Counts and bounds, and no timing: a busy machine takes longer and counts the same. Bounds of one connection by itself are in
tests/runtime/test_http.py, tests/gateway/test_edge.py and tests/market_data/test_sockets.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.usage import resident
from services.gateway.edge import BODY_MAX
from services.gateway.limits import BURST, RATE_PER_S
from services.market_data.sessions import CHANNELS_MAX, FRAMES_MAX
from services.runtime.http import CONNECTIONS_MAX
from tests.gateway.exchange import CLASSES, Exchange, Member
from tests.hostile.auditing import processes
from tests.market_data.wire import BINARY, PING, TEXT, Wire

MB = 1024 * 1024
MEMORY_MAX = 96 * MB
"""By which a process may grow while it is flooded: what thousands of connections and their requests take, and no more."""


@pytest.fixture
def others(exchange: Exchange) -> Iterator[Callable[[], None]]:
    """Somebody who trades while the flood lasts. Call it at its height: every one of his requests must be served."""
    member, hour = exchange.member(), exchange.fresh_hour()
    running = processes(exchange)

    def trade() -> None:
        for _ in range(10):
            order = _placed(member, hour)
            assert member.get(f"/v1/orders/{order}")["state"] == "open"
            assert member.ask("DELETE", f"/v1/orders/{order}").status_code == 200

    yield trade
    trade()
    assert processes(exchange) == running, "no process has ended"


def _placed(member: Member, hour: str) -> str:
    """An order's id. On a machine that tests share a shard may stand still for a moment, flood or none, and the door says so."""
    name, answers = uuid.uuid4().hex, list[int]()
    while not answers or answers[-1] == 503:
        answer = member.order(hour, "buy", 1, "2.00", client_order_id=name)
        answers.append(answer.status_code)
        assert len(answers) < 10, answer.text
    assert answers[-1] == 201, answer.text
    return str(answer.json()["order_id"])


@pytest.fixture
def door(exchange: Exchange) -> Iterator[Memory]:
    memory = Memory(exchange.supervisor.pid("gateway"))
    yield memory
    memory.check()


class Memory:
    """Of a process, in bytes; `check` asserts how much it has grown."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self.now()

    def now(self) -> int:
        return resident(self._pid)

    def check(self) -> None:
        assert self.now() - self._before < MEMORY_MAX


# --- At the door ---------------------------------------------------------------------------------------------


def call(exchange: Exchange) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", exchange.stack.http_port))
    made.settimeout(30)
    return made


def test_ten_times_the_rate_is_refused_beyond_it_and_others_are_served(
    exchange: Exchange, others: Callable[[], None]
) -> None:
    """One key, four connections, every request sent before the first is answered."""
    key = exchange.member().key
    asked = 10 * BURST
    ask = f"GET /v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.bearer}\r\n"
    last = f"{ask}Connection: close\r\n\r\n"

    def flood(requests: int) -> bytes:
        with call(exchange) as sock:
            sender = threading.Thread(target=sock.sendall, args=((f"{ask}\r\n" * (requests - 1) + last).encode(),))
            sender.start()
            heard = b"".join(iter(lambda: sock.recv(MB), b""))
            sender.join()
            return heard

    begin_s = time.monotonic()
    with ThreadPoolExecutor(5) as pool:
        flooding = [pool.submit(flood, asked // 4) for _ in range(4)]
        pool.submit(others).result()
        heard = b"".join(each.result() for each in flooding)
    took_s = time.monotonic() - begin_s

    statuses = Counter(re.findall(rb"HTTP/1\.1 (\d+)", heard))
    assert set(statuses) == {b"200", b"429"}
    assert statuses.total() == asked, "each is answered"
    assert statuses[b"200"] <= BURST + RATE_PER_S * took_s + 1
    assert len(re.findall(rb"\r\nretry-after: [1-9]", heard)) == statuses[b"429"]
    assert heard.count(b'"code":"rate_limited"') == statuses[b"429"]


def test_bodies_beyond_the_bound_are_refused_before_they_are_read(exchange: Exchange, door: Memory) -> None:
    """Announced or in pieces without an end: a member's body and a stranger's."""
    for key in (exchange.operator.key.bearer, "hb_0.nobody"):
        head = f"POST /v1/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
        with call(exchange) as sock:
            sock.sendall(f"{head}Content-Length: {10**12}\r\n\r\n".encode())
            assert sock.recv(MB).startswith(b"HTTP/1.1 413 ")
        with call(exchange) as sock:
            sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            pushed = 0
            with contextlib.suppress(OSError):  # the door has closed: that is the point
                while pushed < 64 * MB:
                    sock.sendall(b"10000\r\n" + b"x" * BODY_MAX + b"\r\n")
                    pushed += BODY_MAX
            assert pushed < 32 * MB, "no more than what the system keeps for two sockets"
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(MB).startswith(b"HTTP/1.1 413 ")
    assert door.now() > 0


def test_thousands_who_send_half_of_something_take_nothing_from_those_who_send_it_all(
    exchange: Exchange, door: Memory, others: Callable[[], None]
) -> None:
    """Nine tenths of all connections that there are: with nothing, half a head, half a body."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, allowed))  # they are as many files of ours
    halves = [
        b"",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthor",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{",
    ]
    with contextlib.ExitStack() as stack:
        for number in range(CONNECTIONS_MAX * 9 // 10):
            stack.enter_context(call(exchange)).sendall(halves[number % 3])
        others()
        assert door.now() > 0


# --- At the feed ---------------------------------------------------------------------------------------------

STUBBORN = 4
"""Readers of each kind at once."""


def frame(kind: int, data: bytes) -> bytes:
    """Of a client, whose mask changes nothing."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + bytes(4) + data


def test_readers_who_break_every_rule_are_cut_off_and_one_who_keeps_them_reads_on(exchange: Exchange) -> None:
    """Garbage, pings without an end, everything subscribed to a thousand times, and never read: each with its reason."""
    port, memory = exchange.stack.feed_port, Memory(exchange.supervisor.pid("market_data"))
    listed = exchange.operator.get(f"/v1/contracts?class={CLASSES[0]}")
    books = [f"book:{each['contract']}" for each in listed]

    subscribe = json.dumps({"op": "subscribe", "channels": books}).encode()
    unknown = json.dumps({"op": "subscribe", "channels": [f"x{number}" for number in range(CHANNELS_MAX)]}).encode()
    floods = {
        "unsupported": [frame(BINARY, bytes(range(256)) * 100)],
        "rate_limited": [frame(TEXT, text) * 1_000 for text in (subscribe, unknown, b"\xff\x00{" * 50)],
        "never looked": [frame(PING, b"x" * 125) * 50 * FRAMES_MAX],
    }

    async def stubborn(data: bytes, *, reads: bool) -> str:
        """How it ended for one who sends all of it at once."""
        async with Wire.open(port, receive_bytes=4_096) as wire:
            wire.writer.write(data)
            if reads:
                async with asyncio.timeout(60):
                    return (await wire.end()).reason.partition(":")[0]
            with contextlib.suppress(ConnectionError):
                await wire.writer.drain()
            return "never looked"

    async def flood() -> tuple[Counter[str], int]:
        async with Wire.open(port) as good:
            await good.say({"op": "subscribe", "channels": books[:3]})
            crowd = [
                asyncio.create_task(stubborn(data, reads=reason != "never looked"))
                for reason, all_data in floods.items()
                for data in all_data * STUBBORN
            ]
            answered = 0
            while not all(each.done() for each in crowd):
                await good.say({"op": "ping", "id": answered})
                assert (await good.until("pong"))["id"] == answered
                answered += 1
                await asyncio.sleep(0.3)
            return Counter(each.result() for each in crowd), answered

    reasons, answered = asyncio.run(flood())
    assert reasons == {"unsupported": STUBBORN, "rate_limited": 3 * STUBBORN, "never looked": STUBBORN}
    assert answered > 0
    memory.check()
    assert "Traceback" not in (exchange.stack.home / "logs" / "market_data.log").read_text()


def test_no_log_has_a_fault_of_ours_in_it(exchange: Exchange) -> None:
    """After all that was done here: what strangers do is their affair."""
    logs = sorted((exchange.stack.home / "logs").glob("*.log"))
    assert len(logs) >= len(processes(exchange))
    said = [line for log in logs for line in log.read_text().splitlines() if "Traceback" in line or '"ERROR"' in line]
    assert said == []
