"""The feed over real sockets: two clients that share no code, and everything that strangers may do to a port."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any, cast

import picows
import pytest

from services.market_data.hub import Hub
from services.market_data.server import FeedServer
from services.market_data.sessions import CHANNELS_MAX, FRAMES_MAX, MESSAGE_MAX, OPS_MAX, PACED, WAITING_MAX
from tests.clock import HandClock
from tests.market_data.client import Client
from tests.market_data.flow import CLASSES, Flow
from tests.market_data.wire import BINARY, CLOSE, PING, PONG, TEXT, Closed, Refused, Wire

CLASS = CLASSES[1].class_id
CONTINUED = 0


class Port:
    """A hub with a random market in it, behind a socket."""

    def __init__(self) -> None:
        self.hub = Hub(1, first_seq=1_000, feed_key=bytes(32))
        self.clock = HandClock(1_790_000_000_000)
        self.ready = True
        self.server = FeedServer(self.hub, self.clock, lambda: self.ready)
        self.flow = Flow("sockets")
        self.day = self.flow.day(400)
        self.number = 0

    def go_on(self, records: int) -> None:
        for _, record in zip(range(records), self.day, strict=False):
            self.hub.take(record)
            self.hub.pump()

    def to_the_end_of_an_output(self) -> None:
        while not self.hub.markets[0].whole:
            self.go_on(1)

    @property
    def books(self) -> list[str]:
        return [f"book:{contract.symbol}" for contract in self.hub.markets[0].contracts.values()]


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    made = Port()
    made.number = await made.server.serve("127.0.0.1", 0)
    made.go_on(60)
    made.to_the_end_of_an_output()
    yield made
    made.server.close()
    for connection in list(made.server.connections):
        connection.transport.disconnect(graceful=False)
    await asyncio.sleep(0.01)


async def _follow(client: Client, hear: Any) -> None:
    """Until nothing new comes."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                client.read(await hear())
                continue
        return


async def _forgotten(port: Port) -> None:
    for _ in range(100):
        if not port.hub.sessions:
            return
        await asyncio.sleep(0.01)
    pytest.fail("who has gone is still remembered")


def _is_the_market(port: Port, client: Client) -> bool:
    ours = {
        channel: ({int(price * 1_000_000): qty for price, qty in book.levels("bids").items()},
                  {int(price * 1_000_000): qty for price, qty in book.levels("asks").items()})
        for channel, book in client.books.items()
    }  # fmt: skip
    return ours == {f"book:{symbol}": sides for symbol, sides in port.flow.levels().items() if f"book:{symbol}" in ours}


async def test_a_client_of_another_make_rebuilds_the_market(port: Port) -> None:
    client = Client()
    async with Wire.open(port.number) as wire:
        client.read(json.dumps(await wire.until("hello")))
        await wire.say({"op": "subscribe", "channels": [*port.books, f"grid:{CLASS}", f"trades:{CLASS}"], "id": 7})
        await wire.until("subscribed")
        for _ in range(10):
            port.go_on(10)
            await asyncio.sleep(0)
        port.to_the_end_of_an_output()

        async def hear() -> str:
            return json.dumps(await wire.hear())

        await _follow(client, hear)
    assert client.checksums > 20
    assert client.changes > 20
    assert _is_the_market(port, client)


async def test_a_client_of_the_same_library_rebuilds_the_market(port: Port) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, _: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                queue.put_nowait(frame.get_payload_as_bytes())

    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{port.number}/v1/feed")
    ask = json.dumps({"op": "subscribe", "channels": port.books}).encode()
    transport.send(picows.WSMsgType.TEXT, ask)
    client = Client()
    while not client.books:
        client.read(await queue.get())
    port.go_on(100)
    port.to_the_end_of_an_output()
    await _follow(client, queue.get)
    transport.disconnect()
    await transport.wait_disconnected()
    assert client.changes > 20
    assert _is_the_market(port, client)
    await _forgotten(port)


REFUSED: list[tuple[object, str, str]] = [
    (b"not json", "malformed", "the message does not decode"),
    (b"", "malformed", "the message does not decode"),
    (b"\xff\xfe", "malformed", "the message does not decode"),
    (b"[" * 5_000, "malformed", "the message does not decode"),
    (b"[]", "malformed", "Expected `object`, got `array`"),
    ({}, "malformed", "required field `op`"),
    ({"op": "buy"}, "malformed", "Invalid value 'buy'"),
    ({"op": "subscribe"}, "malformed", "required field `channels`"),
    ({"op": "subscribe", "channels": "book:x"}, "malformed", "Expected `array`"),
    ({"op": "subscribe", "channels": [1]}, "malformed", "Expected `str`"),
    ({"op": "subscribe", "channels": [], "speed": 1}, "malformed", "unknown field `speed`"),
    ({"op": "ping", "id": "x" * 65}, "malformed", "length <= 64"),
    ({"op": "subscribe", "channels": ["candles:TINY"]}, "unknown_channel", "'candles:TINY' is no channel"),
    ({"op": "subscribe", "channels": ["book"]}, "unknown_channel", "'book' is no channel"),
    ({"op": "subscribe", "channels": ["book:TINY"]}, "wrong_contract", "'TINY' is not a contract"),
    ({"op": "subscribe", "channels": ["book:TINY.20260101T00-USD"]}, "unknown_contract", "is not listed, or has ended"),
    ({"op": "subscribe", "channels": ["grid:NONE"]}, "unknown_class", "'NONE' is not listed"),
    ({"op": "subscribe", "channels": ["account"]}, "unauthenticated", "POST /v1/feed-token"),
    ({"op": "resume", "channels": {"grid:NONE": 4}}, "unknown_class", "'NONE' is not listed"),
    ({"op": "unsubscribe", "channels": ["grid:TINY"]}, "not_subscribed", "this channel is not read here"),
    ({"op": "auth", "token": "abc"}, "wrong_token", "not"),
    ({"op": "auth", "token": "ümlaut"}, "wrong_token", "not a token of ours"),
    ({"op": "auth", "token": "A" * 5_000}, "wrong_token", "not a token of ours"),
]


@pytest.mark.parametrize(("said", "code", "detail"), REFUSED, ids=[str(said)[:40] for said, _, _ in REFUSED])
async def test_what_cannot_be_done_is_answered_and_the_connection_goes_on(
    port: Port, said: object, code: str, detail: str
) -> None:
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
        await wire.say(said)
        answer = await wire.hear()
        assert isinstance(answer, dict)
        assert (answer["type"], answer["code"]) == ("error", code)
        assert detail in answer["detail"]
        await wire.say({"op": "ping", "id": "still here"})
        assert await wire.hear() == {"type": "pong", "id": "still here"}


async def test_what_can_be_had_of_a_list_is_had(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
        channels = [f"grid:{CLASS}", "grid:NONE", f"trades:{CLASS}", f"grid:{CLASS}"]
        await wire.say({"op": "subscribe", "channels": channels, "id": 1})
        heard = [cast("dict[str, Any]", await wire.hear()) for _ in range(4)]
    assert [(m["type"], m.get("channel"), m.get("channels"), m.get("id")) for m in heard] == [
        ("error", "grid:NONE", None, 1),
        ("subscribed", None, [f"grid:{CLASS}", f"trades:{CLASS}"], 1),
        ("grid_snapshot", f"grid:{CLASS}", None, None),
        ("trades_snapshot", f"trades:{CLASS}", None, None),
    ]


async def test_a_message_in_fragments_is_one_message(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
        await wire.send(TEXT, b'{"op":"pi', last=False)
        await wire.send(PING, b"in between")
        await wire.send(CONTINUED, b'ng","id":3', last=False)
        await wire.send(CONTINUED, b"}")
        assert await wire.hear() == {"type": "pong", "id": 3}


@pytest.mark.parametrize("fragments", [1, 3])
async def test_a_message_that_is_too_large_ends_the_connection(port: Port, fragments: int) -> None:
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
        for number in range(fragments):
            kind = CONTINUED if number else TEXT
            await wire.send(kind, b"x" * (MESSAGE_MAX // fragments + 1), last=number == fragments - 1)
        assert (await wire.end()).code == 1009


async def test_binary_messages_end_the_connection(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        await wire.send(BINARY, b'{"op":"ping"}')
        assert await wire.end() == Closed(1003, "unsupported: messages are text")


async def test_a_reader_who_talks_too_much_is_cut_off(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        for _ in range(OPS_MAX + 1):
            await wire.say({"op": "ping"})
        assert await wire.end() == Closed(1008, f"rate_limited: more than {OPS_MAX} messages in 10 s")


async def test_a_reader_who_asks_for_too_much_is_cut_off(port: Port) -> None:
    """Each channel may cost a snapshot, and each refusal a message: whoever names thousands is not served first."""
    async with Wire.open(port.number) as wire:
        names = [f"x{number}" for number in range(CHANNELS_MAX)]
        for _ in range(3):
            await wire.say({"op": "subscribe", "channels": names})
        ended = await wire.end()
    assert ended == Closed(1008, f"rate_limited: more than {2 * CHANNELS_MAX} channels named in 10 s")


async def test_who_says_goodbye_is_answered_and_forgotten(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        await wire.say({"op": "subscribe", "channels": [f"grid:{CLASS}"]})
        await wire.until("grid_snapshot")
        await wire.send(CLOSE, (1000).to_bytes(2, "big"))
        assert await wire.end() == Closed(1000, "")
        assert await wire.reader.read() == b""
    assert not port.hub.sessions
    assert not port.hub.public.channels.warm[f"grid:{CLASS}"].readers


async def test_who_vanishes_is_forgotten(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
    await _forgotten(port)


async def test_elsewhere_there_is_nothing(port: Port) -> None:
    with pytest.raises(Refused) as refused:
        async with Wire.open(port.number, "/v1/orders"):
            pass
    assert refused.value.status == 404


async def test_nobody_reads_while_the_log_is_being_read(port: Port) -> None:
    """And is told why, and when to come again."""
    port.ready = False
    with pytest.raises(Refused) as refused:
        async with Wire.open(port.number):
            pass
    assert refused.value.status == 503
    assert refused.value.headers["retry-after"] == "5"
    assert json.loads(refused.value.body)["code"] == "not_ready"
    assert "catching up" in json.loads(refused.value.body)["detail"]


# --- Slow readers --------------------------------------------------------------------------------------------


def _shout(port: Port, name: str, size: int, times: int) -> int:
    """Messages of a channel, as a very busy market would make them; the most that waited for any reader."""
    channel = port.hub.public.channels.warm[name]
    most = 0
    for _ in range(times):
        message = {"type": "noise", "channel": name, "seq": channel.seq + 1, "prev_seq": channel.seq, "x": "x" * size}
        channel.send(channel.seq + 1, json.dumps(message).encode())
        most = max([most, *(connection.waiting() for connection in port.server.connections)])
    return most


async def test_a_slow_reader_is_cut_off_with_a_reason_and_the_others_go_on(port: Port) -> None:
    """What waits for him has a bound; what was sent before is there, in order, and then the reason."""
    name = f"grid:{CLASS}"
    async with Wire.open(port.number, receive_bytes=4_096) as slow, Wire.open(port.number) as quick:
        for wire in (slow, quick):
            await wire.say({"op": "subscribe", "channels": [name]})
        await quick.until("grid_snapshot")
        await asyncio.sleep(0.05)
        heard, most = [], 0
        for _ in range(80):
            most = max(most, _shout(port, name, 20_000, 5))
            heard += [(await quick.until("noise"))["seq"] for _ in range(5)]
        assert heard == list(range(heard[0], heard[0] + 400))
        assert WAITING_MAX < most < WAITING_MAX + 2 * 20_100
        assert len(port.hub.sessions) == 2, "he is still connected, and gets no more"
        assert len(port.hub.public.channels.warm[name].readers) == 1
        seqs = []
        while isinstance(message := await slow.hear(), dict):
            if message["type"] == "noise":
                seqs.append(message["seq"])
        assert message.code == 1008
        assert message.reason.startswith("slow_reader: 4")
        assert seqs == list(range(heard[0], heard[0] + len(seqs))), "without a gap up to the end"
        assert 100 < len(seqs) < 400
        await quick.say({"op": "ping", "id": 1})
        assert await quick.until("pong")


async def test_a_reader_who_never_reads_costs_nothing_after_two_heartbeats(port: Port) -> None:
    name = f"grid:{CLASS}"
    async with Wire.open(port.number, receive_bytes=4_096) as wire:
        await wire.say({"op": "subscribe", "channels": [name]})
        await wire.until("grid_snapshot")
        _shout(port, name, 20_000, 400)
        assert [session.closed[:11] for session in port.hub.sessions] == ["slow_reader"]
        port.server.sweep()
        await asyncio.sleep(0.01)
        assert len(port.hub.sessions) == 1
        port.server.sweep()
        await asyncio.sleep(0.05)
        assert not port.hub.sessions
        assert not port.server.connections


async def test_what_waited_for_a_reader_who_has_gone_is_freed_at_once(port: Port) -> None:
    """Not when garbage is collected: old garbage waits for an idle minute, and where there is always trade none comes."""
    name = f"grid:{CLASS}"
    gc.disable()
    try:
        async with Wire.open(port.number, receive_bytes=4_096) as wire:
            await wire.say({"op": "subscribe", "channels": [name]})
            await wire.until("grid_snapshot")
            _shout(port, name, 20_000, 400)
            left = [weakref.ref(connection) for connection in port.server.connections]
            assert len(left) == 1
            port.server.sweep()
            port.server.sweep()
            await _forgotten(port)
        await asyncio.sleep(0.01)
        assert [connection() for connection in left] == [None]
    finally:
        gc.enable()


async def test_a_reader_who_pings_and_never_reads_is_cut_off(port: Port) -> None:
    """An answer waits in memory for each of his pings: there is a bound to them. Who pings now and then is answered."""
    async with Wire.open(port.number, receive_bytes=4_096) as wire:
        await wire.until("hello")
        await wire.send(PING, b"now and then")
        assert await wire._frame() == (PONG, b"now and then")
        frame = bytes([0x80 | PING, 0x80 | 125]) + bytes(4) + b"x" * 125
        for _ in range(200):
            wire.writer.write(frame * 100)
            await asyncio.sleep(0)
            waits = [connection.waiting() for connection in port.server.connections]
            assert sum(waits) <= FRAMES_MAX * len(frame)
        await asyncio.sleep(0.1)
        assert [session.closed for session in port.hub.sessions] == [
            f"rate_limited: more than {FRAMES_MAX} frames in 10 s"
        ]
        port.server.sweep()
        port.server.sweep()
        await _forgotten(port)


async def test_pieces_that_never_come_to_an_end_are_cut_off(port: Port) -> None:
    """Empty ones, which no bound on the size of a message would ever stop."""
    async with Wire.open(port.number) as wire:
        await wire.until("hello")
        await wire.send(TEXT, b"", last=False)
        for _ in range(FRAMES_MAX):
            await wire.send(CONTINUED, b"", last=False)
        assert await wire.end() == Closed(1008, f"rate_limited: more than {FRAMES_MAX} frames in 10 s")


async def test_many_snapshots_are_sent_as_they_are_taken(port: Port) -> None:
    """A reader of everything is not a slow one: however much he asks for, one snapshot at a time waits for him."""
    for contract in port.hub.markets[0].contracts.values():
        for price in range(9_000_000_000, 9_000_018_000):
            contract.book.bids.add(price, 1_000_000)
        contract.book.forget()
    names = port.books
    client = Client()
    async with Wire.open(port.number, receive_bytes=4_096) as wire:
        await wire.say({"op": "subscribe", "channels": names})
        await wire.until("subscribed")
        sizes = []
        for _ in names:
            await asyncio.sleep(0.01)
            (connection,) = port.server.connections
            waits = connection.waiting()
            message = json.dumps(await wire.until("book_snapshot"))
            client.read(message)
            sizes.append(len(message))
            assert waits < PACED + 2 * max(sizes)
    assert set(client.books) == set(names)
    assert sum(sizes) > WAITING_MAX
