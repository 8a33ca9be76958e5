"""A member who keeps the rules, at a steady pace, and what he is served: the one whom attacks must not reach.

He places an order every 50 ms on one of four connections that he keeps open: half rest and half buy at once, in an hour
where nobody else trades; he reads that hour's book on the feed; and once a second somebody who was not there before connects
and asks for the state of the market. An order's time begins when it was due and not when it could be sent, so that whoever is
kept waiting is counted for all that he would have done.

In a process of its own: a line on its input asks for what was seen since the line before, the input's end ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import picows
import uvloop
from msgspec import Struct

from bench.crowd import answer, request
from bench.order_ack import ASK, BID

EVERY_S: Final = 0.05
CONNECTIONS: Final = 4
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NEWCOMER_S: Final = 1.0
PATIENCE_S: Final = 5.0
"""An order that the feed has not told of for so long counts as left out."""
_LEVELS: Final = {"asks": ASK, "bids": BID}


class Seen(Struct, frozen=True):
    """What he was served in a while. Times in milliseconds."""

    orders: int
    refused: dict[str, int]
    """Answers other than 201, and newcomers', by status; 0: none came."""
    order: list[float]
    """How long each took, sorted; so for the others."""
    told: list[float]
    """From when an order was due to the message of the feed that has it."""
    left_out: int
    """Orders that the feed did not tell of in time, and messages that are missing by their numbers."""
    newcomer: list[float]
    """From a new connection's first packet to the answer."""
    waiting: int
    """Newcomers who have no answer yet."""


def at(times: list[float], part: float) -> float:
    """`part` of all are at most this. `times` sorted and not empty."""
    return times[min(len(times) - 1, int(part * len(times)))]


class Asked:
    """The member's process, from outside."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.member"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(environment),
        )
        assert self._line() == "ready"

    def seen(self) -> Seen:
        """Since it was asked before."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return msgspec.json.decode(self._line(), type=Seen)

    def during(self, seconds: float) -> Seen:
        """Of so many seconds from now on."""
        self.seen()
        time.sleep(seconds)
        return self.seen()

    def stop(self) -> None:
        """He goes."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the member has gone: see above"
        return line


# --- In his process -------------------------------------------------------------------------------------------


class Watch(picows.WSListener):
    """His book on the feed: `due` holds when each order was due that it has not told of yet."""

    def __init__(self, channel: str) -> None:
        self.due: dict[str, deque[float]] = {side: deque() for side in _LEVELS}
        self.told: list[float] = []
        self.missing = 0
        self.ready = asyncio.Event()
        self._channel = channel
        self._seq = 0
        self._qty = dict.fromkeys(_LEVELS, 0)

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        transport.send(picows.WSMsgType.TEXT, json.dumps({"op": "subscribe", "channels": [self._channel]}).encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type is picows.WSMsgType.TEXT:
            self._read(msgspec.json.decode(frame.get_payload_as_memoryview()))

    def _read(self, message: dict[str, Any]) -> None:
        if message["type"] == "book":
            self.missing += message["prev_seq"] != self._seq
        elif message["type"] != "book_snapshot":
            return
        self._seq = message["seq"]
        now = time.monotonic()
        for side, price in _LEVELS.items():
            for level, qty in message[side]:
                if float(level) == float(price):
                    if self.ready.is_set():
                        self._tell(side, abs(qty - self._qty[side]), now)
                    self._qty[side] = qty
        self.ready.set()

    def _tell(self, side: str, orders: int, now: float) -> None:
        for _ in range(orders):
            if self.due[side]:  # else it was so late that it counts as left out
                self.told.append(1000 * (now - self.due[side].popleft()))

    def late(self) -> int:
        """Orders that nothing was told of; they are not waited for any more."""
        before, late = time.monotonic() - PATIENCE_S, 0
        for due in self.due.values():
            while due and due[0] < before:
                due.popleft()
                late += 1
        return late


class Steady:
    """All that he does, and how long it took since it was last asked for."""

    def __init__(self) -> None:
        self._port = int(os.environ["BENCH_PORT"])
        self._watch = Watch(f"book:{os.environ['BENCH_CONTRACT']}")
        self._bearer = f"Authorization: Bearer {os.environ['BENCH_BEARER']}"
        self._orders: list[float] = []
        self._refused: Counter[str] = Counter()
        self._newcomers: list[float] = []
        self._waiting = 0

    async def run(self) -> None:
        await picows.ws_connect(lambda: self._watch, f"ws://127.0.0.1:{os.environ['BENCH_FEED_PORT']}/v1/feed")
        await self._watch.ready.wait()
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        tasks = [asyncio.create_task(task) for task in (self._trade(), self._newcome())]
        print("ready", flush=True)
        while await lines.readline():
            print(msgspec.json.encode(self._seen()).decode(), flush=True)
            for task in tasks:
                if task.done():
                    task.result()
        for task in tasks:
            task.cancel()

    def _seen(self) -> Seen:
        late = self._watch.late()
        seen = Seen(
            orders=len(self._orders),
            refused=dict(self._refused),
            order=sorted(self._orders),
            told=sorted(self._watch.told),
            left_out=late + self._watch.missing,
            newcomer=sorted(self._newcomers),
            waiting=self._waiting,
        )
        self._orders.clear()
        self._refused.clear()
        self._newcomers.clear()
        self._watch.told.clear()
        self._watch.missing = 0
        return seen

    async def _trade(self) -> None:
        """Each order when it is due, on whichever connection is free: one that takes long must not make the next ones late."""
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))
        async with asyncio.TaskGroup() as group:
            due, number = time.monotonic(), 0
            while True:
                await asyncio.sleep(due - time.monotonic())
                group.create_task(self._order(number, due, await free.get(), free))
                due += EVERY_S
                number += 1

    async def _order(self, number: int, due: float, connection: Connection, free: asyncio.Queue[Connection]) -> None:
        reader, writer = connection
        side = ("asks", "bids")[number % 2]
        order = {"contract": os.environ["BENCH_CONTRACT"], "side": "buy", "qty": 1, "price": _LEVELS[side]}
        self._watch.due[side].append(due)
        body = json.dumps(order | {"client_order_id": f"m-{number}"}).encode()
        writer.write(request("/v1/orders", body, self._bearer))
        status, _ = await answer(reader)
        free.put_nowait(connection)
        self._orders.append(1000 * (time.monotonic() - due))
        if status != 201:
            self._refused[str(status)] += 1
            self._watch.due[side].remove(due)

    async def _newcome(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._ask_once())
                await asyncio.sleep(NEWCOMER_S)

    async def _ask_once(self) -> None:
        began = time.monotonic()
        self._waiting += 1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            status, _ = await answer(reader)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            status = 0  # turned away without an answer
        self._waiting -= 1
        if status == 200:
            self._newcomers.append(1000 * (time.monotonic() - began))
        else:
            self._refused[f"newcomer {status}"] += 1


if __name__ == "__main__":
    uvloop.run(Steady().run())
