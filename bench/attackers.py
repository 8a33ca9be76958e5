"""Clients who take more than is meant for one: each kind in a process of its own, at low priority.

    python -m bench.attackers flood '{"connections": 64, "rate": 2000}'

prints a line when it is at its height, goes on until its input ends, and then says in one line of JSON what it got. Low priority:
on a machine with two cores the question is what the exchange does for others, not what an attacker's own work takes from it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import picows
import uvloop

from bench.crowd import answer, request, whole_answer
from bench.order_ack import BID

NICE: Final = 10
OUTSTANDING_MAX: Final = 1_000
"""Requests without an answer on a connection of a flood: who sends more only waits for the socket."""
DRIP_S: Final = 1.0
RECEIVE_BYTES: Final = 4_096

Told = dict[str, Any]


@contextmanager
def attack(environment: Mapping[str, str], kind: str, **options: object) -> Iterator[Told]:
    """An attacker at its height while the block runs; afterwards the dictionary has what it got."""
    got: Told = {}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.attackers", kind, json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(environment),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", f"{kind} did not begin: see above"
    try:
        yield got
    finally:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, kind
    got.update(json.loads(said))


# --- In the attacker's process --------------------------------------------------------------------------------


async def until_told() -> None:
    """At the height now; returns when the input ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    await lines.read()


async def flood(given: Told) -> Told:
    """One key's orders or reads at a steady rate over some connections, sent whether or not those before were answered."""
    port, bearer = int(os.environ["BENCH_PORT"]), f"Authorization: Bearer {os.environ['BENCH_OTHER_BEARER']}"
    order = {"contract": os.environ["BENCH_OTHER_CONTRACT"], "side": "buy", "qty": 1, "price": BID}
    reads, read = given["what"] == "reads", f"GET /v1/keys HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n".encode()
    answers: Counter[str] = Counter()
    sent = 0

    async def one(number: int) -> None:
        nonlocal sent
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        outstanding = 0

        async def hear() -> None:
            nonlocal outstanding
            while True:
                head, _ = await whole_answer(reader)
                status = head[9:12].decode()
                answers[f"{status} with Retry-After" if b"\r\nretry-after: " in head else status] += 1
                outstanding -= 1

        reading = asyncio.create_task(hear())
        due, turn = time.monotonic(), 0
        try:
            while not reading.done():
                if outstanding < OUTSTANDING_MAX:
                    order["client_order_id"] = f"{os.getpid()}-{number}-{turn}"
                    writer.write(read if reads else request("/v1/orders", json.dumps(order).encode(), bearer))
                    outstanding += 1
                    sent += 1
                    turn += 1
                due += given["connections"] / given["rate"]
                await asyncio.sleep(due - time.monotonic())
            reading.result()
        finally:
            reading.cancel()
            writer.close()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(given["connections"])]
        await until_told()
        for task in tasks:
            task.cancel()
    return {"sent": sent, **answers}


async def idle(given: Told) -> Told:
    """Connections to the gateway that say nothing, or a head byte by byte; opened again as soon as they are closed."""
    open_now, closed, lasted = 0, 0, list[float]()
    everybody = asyncio.Event()

    async def one(number: int) -> None:
        nonlocal open_now, closed
        while True:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["BENCH_PORT"]))
            open_now += 1
            if open_now == given["connections"]:
                everybody.set()
            dripping = asyncio.create_task(_drip(writer)) if number % 2 else None
            try:
                await reader.read()
            except ConnectionError:
                pass  # closed as well
            finally:
                if dripping is not None:
                    dripping.cancel()
                writer.close()
            open_now -= 1
            closed += 1
            lasted.append(time.monotonic() - began)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number)) for number in range(given["connections"])]
        await everybody.wait()
        await until_told()
        at_end = open_now
        for task in tasks:
            task.cancel()
    return {"open": at_end, "closed": closed, "lasted_s": round(max(lasted), 1) if lasted else None}


async def _drip(writer: asyncio.StreamWriter) -> None:
    """A head without an end."""
    writer.write(b"GET /v1/status HTTP/1.1\r\nHost: ")
    while not writer.is_closing():
        await asyncio.sleep(DRIP_S)
        writer.write(b"x")


async def subscribers(given: Told) -> Told:
    """Readers of the feed who hear channels and say nothing. `channels`: what each subscribes to."""
    heard: Counter[str] = Counter()
    gone = 0

    class Reader(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            asked = json.dumps({"op": "subscribe", "channels": given["channels"]}).encode()
            transport.send(picows.WSMsgType.TEXT, asked)

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type is picows.WSMsgType.TEXT:
                heard["messages"] += 1
                heard["bytes"] += frame.payload_size
            elif frame.msg_type is picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())

        def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 # the interface
            nonlocal gone
            gone += 1

    address = f"ws://127.0.0.1:{os.environ['BENCH_FEED_PORT']}/v1/feed"
    for _ in range(given["readers"]):
        await picows.ws_connect(Reader, address)
    await until_told()
    return {"cut_off": gone, **heard}


async def stubborn(given: Told) -> Told:
    """Readers who subscribe to everything there is and never read: not even that they are cut off."""
    asked = _masked(json.dumps({"op": "subscribe", "channels": given["channels"]}).encode())
    sockets = [_shut_ears(asked) for _ in range(given["readers"])]
    await until_told()
    return {"readers": len(sockets)}


def _shut_ears(asked: bytes) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.connect(("127.0.0.1", int(os.environ["BENCH_FEED_PORT"])))
    sock.sendall(
        b"GET /v1/feed HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # not a byte of what follows
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101"), head
    sock.sendall(asked)
    return sock


def _masked(data: bytes) -> bytes:
    """A text frame of a client, whose mask changes nothing."""
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


async def ranges(given: Told) -> Told:
    """Not an attacker: a trader who moves one bid in all hours of a class, again and again, so that the feed has much to tell."""
    port, bearer = int(os.environ["BENCH_PORT"]), f"Authorization: Bearer {os.environ['BENCH_OTHER_BEARER']}"
    answers: Counter[str] = Counter()

    async def trade() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due, turn = time.monotonic(), 0
        while True:
            name = f"{os.getpid()}-{turn}"
            body = {"class": given["class"], "from": given["from"], "count": given["count"]}
            body |= {"side": "buy", "qty": 1, "price": "1.70", "client_order_id": name}
            placed = request("/v1/ranges", json.dumps(body).encode(), bearer)
            cancelled = f"DELETE /v1/orders/client/{name} HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n".encode()
            for sent in (placed, cancelled):
                writer.write(sent)
                status, _ = await answer(reader)
                answers[str(status)] += 1
                due += 1 / given["rate"]
                await asyncio.sleep(due - time.monotonic())
            turn += 1

    trading = asyncio.create_task(trade())
    await until_told()
    if trading.done():
        trading.result()
    trading.cancel()
    return dict(answers)


KINDS: Final[Mapping[str, Callable[[Told], Awaitable[Told]]]] = {
    each.__name__: each for each in (flood, idle, subscribers, stubborn, ranges)
}


def main() -> None:
    os.nice(NICE)
    kind, given = sys.argv[1:]
    print(json.dumps(uvloop.run(KINDS[kind](msgspec.json.decode(given)))), flush=True)


if __name__ == "__main__":
    main()
