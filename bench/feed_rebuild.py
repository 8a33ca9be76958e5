"""The public feed of one book, rebuilt by a client during a million commands. Target: 20,000 changed levels per second.

Ours: records of `events` (64 commands each, the flow of `bench.flow`, in memory) → `services.market_data` as deployed: decode,
the public's books and every account's holdings, messages, a WebSocket on loopback → a client in a process of its own, which
decodes, rebuilds the book, checks the checksum of the message, and keeps one of all levels. Afterwards each of these is compared
with the book after the same record, as a plain model has it from the events; the model is compared with the engine's own resting
orders, all of them, every 256 records and at the end. One difference, and there is no figure.

Two processes work at once; the clock is the processor time of the one that needs more, from the first record to the last message:
what a quiet machine with two cores shows on the wall, which the line has beside it. The server goes no faster than the client
reads: records wait as they would in the log. What is counted are levels that changes of the book tell of.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec
import picows
import uvloop

from bench.flow import Auditor, opening_frames, order_frames, require_flow
from bench.measure import done, options, report, rounds, run_side
from bench.shard import CLASS_NO, T0_MS, first_hour
from schemas.codec import CHAIN_START, Frame, decode_record, seal
from schemas.events import Event, Filled, OrderAccepted, OrderCancelled
from schemas.ids import contract_of, format_symbol
from services.market_data.hub import Hub
from services.market_data.server import FeedServer
from services.matching.engine import Engine
from services.runtime.supervise import WallClock

ORDERS = 1_000_000
PER_FRAME = 64
WALK_EVERY = 256
"""Records between two looks at all of the engine's orders."""
WAITING = 256 * 1024
"""Bytes that may wait for the client before the next record is taken."""
CHANNEL = f"book:{format_symbol('BENCH.80.US', first_hour(T0_MS))}"


# --- The client ------------------------------------------------------------------------------------------------


class Reader(picows.WSListener):
    """Rebuilds one book from its messages. It shares nothing with the server."""

    def __init__(self) -> None:
        self.sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.seq = 0
        self.changes = self.messages = 0
        self.seen: list[tuple[int, int]] = []
        """(record of `events`, checksum of all levels)."""
        self.began = 0.0
        """Processor time at the snapshot."""

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        transport.send(picows.WSMsgType.TEXT, json.dumps({"op": "subscribe", "channels": [CHANNEL]}).encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is picows.WSMsgType.CLOSE:
            transport.disconnect()
        elif frame.msg_type is picows.WSMsgType.TEXT:
            self.read(msgspec.json.decode(frame.get_payload_as_memoryview()))

    def read(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "book":
            assert message["prev_seq"] == self.seq, (
                f"{message['seq']} follows {message['prev_seq']}, here is {self.seq}"
            )
            self.changes += len(message["bids"]) + len(message["asks"])
            self.messages += 1
        elif kind == "book_snapshot":
            self.sides = ({}, {})
            self.began = time.process_time()
            print("ready", flush=True)
        else:
            return
        self.seq = message["seq"]
        for side, levels in zip(self.sides, (message["bids"], message["asks"]), strict=True):
            for price, qty in levels:
                if qty:
                    side[price] = qty
                else:
                    del side[price]
        bids = sorted(self.sides[0], key=float, reverse=True)
        asks = sorted(self.sides[1], key=float)
        ten = [
            ",".join([f"{price}:{side[price]}" for price in prices[:10]])
            for side, prices in zip(self.sides, (bids, asks), strict=True)
        ]
        assert zlib.crc32("/".join(ten).encode()) == message["checksum"], f"the checksum of seq {self.seq} is another"
        whole = [
            (round(float(price) * 1e6), side[price])
            for side, prices in zip(self.sides, (bids, asks), strict=True)
            for price in prices
        ]
        self.seen.append((message["at"], zlib.crc32(msgspec.msgpack.encode(whole))))


async def client(port: int, file: Path) -> None:
    reader = Reader()
    transport, _ = await picows.ws_connect(lambda: reader, f"ws://127.0.0.1:{port}/v1/feed")
    await transport.wait_disconnected()
    ended = time.time()
    told = {
        "changes": reader.changes,
        "messages": reader.messages,
        "seen": reader.seen,
        "ended": ended,
        "busy": time.process_time() - reader.began,
    }
    file.write_bytes(msgspec.msgpack.encode(told))  # noqa: ASYNC240 # nothing else runs any more


# --- The server ------------------------------------------------------------------------------------------------


class Prepared:
    """Records, and what the engine's own book came to after each."""

    def __init__(self, orders: int) -> None:
        engine = Engine()
        opened = opening_frames()
        self.opening: list[bytes] = []
        self.records: list[bytes] = []
        self.books: dict[int, int] = {}
        seq, chain, auditor, model = 0, CHAIN_START, None, Model()
        for offset, frame in enumerate([*opened, *order_frames(orders, PER_FRAME, len(opened))]):
            if offset == len(opened):
                auditor = Auditor(engine)
            said = engine.apply(offset, T0_MS, frame)
            if auditor is not None:
                auditor.see(said)
            for sealed in seal(0, seq, chain, offset, engine.time_ms, Frame(1 << 32, offset, frame), said):
                seq, chain = sealed.seq, sealed.chain
                (self.opening if auditor is None else self.records).append(sealed.body)
            if auditor is not None:
                model.see(said)
                self.books[seq] = zlib.crc32(msgspec.msgpack.encode(model.levels()))
                if len(self.books) % WALK_EVERY == 0:
                    assert model.levels() == _levels(engine), f"the model's book is another after record {seq}"
        assert auditor is not None
        assert model.levels() == _levels(engine)
        self.fills = auditor.finish().fills


class Model:
    """Levels of the one book, kept from events in the plainest way."""

    def __init__(self) -> None:
        self._orders: dict[int, list[int]] = {}
        """Order -> side, price, leaves."""
        self._totals: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def see(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, OrderAccepted):
                self._orders[event.order] = [event.side - 1, event.price, 0]
                self._change(event.order, event.qty)
            elif isinstance(event, Filled):
                self._change(event.maker_order, -event.qty)
                self._change(event.taker_order, -event.qty)
            elif isinstance(event, OrderCancelled):
                self._change(event.order, -event.qty)

    def _change(self, order: int, qty: int) -> None:
        known = self._orders[order]
        side, price, _ = known
        known[2] += qty
        if not known[2]:
            del self._orders[order]
        totals = self._totals[side]
        totals[price] = totals.get(price, 0) + qty
        if not totals[price]:
            del totals[price]

    def levels(self) -> list[tuple[int, int]]:
        """(price, quantity): bids, then asks, best first."""
        bids, asks = self._totals
        return [(p, bids[p]) for p in sorted(bids, reverse=True)] + [(p, asks[p]) for p in sorted(asks)]


def _levels(engine: Engine) -> list[tuple[int, int]]:
    """The same by the engine's own resting orders: hundreds of thousands at the end, so not after each record."""
    contract = engine.contracts[contract_of(CLASS_NO, first_hour(T0_MS))]
    found: list[tuple[int, int]] = []
    for half in (contract.bids, contract.asks):
        totals: dict[int, int] = {}
        for order in half:
            totals[order.price] = totals.get(order.price, 0) + order.leaves
        found += totals.items()
    return found


async def server(given: argparse.Namespace) -> None:
    prepared = Prepared(given.orders)
    hub = Hub(1, first_seq=0, feed_key=bytes(32))
    for body in prepared.opening:
        hub.take(decode_record(body))
    feed = FeedServer(hub, WallClock(), lambda: True)
    port = await feed.serve("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told"
        command = [
            sys.executable,
            "-m",
            "bench.feed_rebuild",
            "--side",
            "client",
            "--port",
            str(port),
            "--file",
            str(file),
        ]
        reading = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert reading.stdout is not None
        assert await reading.stdout.readline() == b"ready\n"
        (connection,) = feed.connections
        gc.collect()
        gc.freeze()
        gc.disable()
        started, began = time.time(), time.process_time()
        for number, body in enumerate(prepared.records):
            hub.take(decode_record(body))
            if number % 8 == 0:
                await asyncio.sleep(0)
                while connection.waiting() > WAITING:  # noqa: ASYNC110 # the next record waits for the client, not for an event
                    await asyncio.sleep(0.001)
        busy = time.process_time() - began
        feed.close()
        assert await reading.wait() == 0
        told = msgspec.msgpack.decode(file.read_bytes())
    seen = told["seen"][1:]
    wrong = [at for at, whole in seen if prepared.books[at] != whole]
    assert not wrong, f"other books than the engine's after records {wrong[:5]}"
    assert told["messages"] == len(seen) > given.orders // PER_FRAME // 2, f"{len(seen)} checksums"
    assert seen[-1][1] == list(prepared.books.values())[-1], "the last book is another"
    done(
        told["changes"] / max(busy, told["busy"]),
        messages=told["messages"],
        changes=told["changes"],
        fills=prepared.fills,
        seconds={"server": busy, "client": told["busy"], "wall": told["ended"] - started},
    )


def main() -> None:
    if "--port" in sys.argv:
        words = sys.argv
        uvloop.run(client(int(words[words.index("--port") + 1]), Path(words[words.index("--file") + 1])))
        return
    given = options(__doc__, rounds=3, orders=ORDERS)
    if given.side:
        require_flow()
        uvloop.run(server(given))
        return
    require_flow()
    mine, _ = rounds(
        "feed_rebuild", given.rounds, lambda side: run_side("feed_rebuild", side, *given.passed_on), peer=False
    )
    (counts,) = {(run["messages"], run["changes"], run["fills"]) for run in mine}
    report(
        "feed_rebuild",
        "changes/s",
        mine,
        [],
        orders=given.orders,
        per_record=PER_FRAME,
        checksums=counts[0],
        changes=counts[1],
        fills=counts[2],
        seconds=[run["seconds"] for run in mine],
    )


if __name__ == "__main__":
    main()
