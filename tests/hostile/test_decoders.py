"""Whatever bytes come from outside: a value, or the one refusal that the decoder promises. Never anything else, never for ever.

Every reader of frames, records, headers, snapshots, segments, tokens, keys, requests, offers, references, bodies, messages of
the feed and key files is given its own good bytes with a part changed, noise, arrays nested by the hundred thousand, and
lengths that promise gigabytes. What it does read, it writes again so that the same is read. Catalogues of clouds:
tests/supply/test_any_bytes.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, http, supply
from schemas.feed_token import ExpiredToken, WrongToken, make_token, read_token
from services.cli import profile
from services.gateway.approvals import Correction, approve
from services.gateway.approvals import check as check_approval
from services.gateway.errors import ApiError
from services.gateway.keyring import Keyring
from services.gateway.offers import Offers
from services.market_data.hub import Hub
from services.market_maker.client import BadKey, read_key
from services.market_maker.risk import Day, dump_day, load_day
from services.matching import store
from services.matching.quarantine import QuarantineReader
from services.matching.references import References
from services.runtime.archive import Archive, Segment
from services.runtime.errors import Halt
from services.runtime.keys import issue_key
from services.runtime.log import LogError, Record
from services.settlement import deliveries
from services.settlement import requests as settlement
from services.simulated.client import BadKeys, read_keys
from tests.market_data.outlets import Pipe
from tests.schemas.kinds import kinds
from tests.schemas.samples import examples

KEY = bytes(range(32))
DIGEST = 32
pack = msgspec.msgpack.encode


class Reader(NamedTuple):
    """`read` gives a value, or raises one of `refusals`. `write` is its other half, where it has one."""

    samples: list[bytes]
    read: Callable[[bytes], Any]
    refusals: tuple[type[Exception], ...] = ()
    write: Callable[[Any], bytes | None] = lambda _: None


def _samples(*names: str) -> list[bytes]:
    """Good bytes of messages that are kept for years."""
    found = [bytes.fromhex("".join(pieces)) for name in names for _, _, pieces in examples(kinds()[name])]
    assert found
    return found


def _of_topic(topic: str) -> list[bytes]:
    return _samples(*[name for name in kinds() if name.startswith(f"{topic}.")])


class OneRecord:
    """A log that holds one record."""

    topic, partition = "topic", 0

    def __init__(self, value: bytes) -> None:
        self.value = value

    async def bounds(self) -> tuple[int, int]:
        return 0, 1

    async def read(self, offset: int, **_: int) -> list[Record]:
        if offset > 0:
            raise Over
        return [Record(0, 0, self.value)]


class Over(LogError):
    """There is no second record."""


def _write_frame(frame: codec.Frame) -> bytes | None:
    commands = [each for each in frame.commands if not isinstance(each, codec.Malformed)]
    return codec.encode_frame(frame.writer, frame.frame_no, commands) if len(commands) == len(frame.commands) else None


def _read_headers(data: bytes) -> codec.Envelope:
    """A byte says how long the next header is."""
    parts, rest = [], data
    while rest:
        size, rest = rest[0], rest[1:]
        parts.append(rest[:size])
        rest = rest[size:]
    return codec.read_headers(zip("cqwae", parts, strict=False))


def _headers(*parts: bytes) -> bytes:
    return b"".join(bytes([len(part)]) + part for part in parts)


def _read_segment(body: bytes) -> int:
    """As a file whose checksum is right: its writer knew what he did."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "commands-0" / f"{0:012}-{1:012}.segment"
        file.parent.mkdir()
        file.write_bytes(b"HBSEGM1\n" + hashlib.blake2b(body, digest_size=DIGEST).digest() + body)
        return Archive(Path(folder), "commands", 0).check()


def _read_snapshot(body: bytes) -> store.Snapshot:
    """Likewise."""
    magic = store.encode(SNAPSHOT)[: -DIGEST - len(pack(SNAPSHOT))]
    return store.decode(magic + hashlib.blake2b(body, digest_size=DIGEST).digest() + body)


def _take_key(data: bytes) -> dict[str, Any]:
    keyring = Keyring(OneRecord(data), KEY)
    asyncio.run(keyring.load())
    return {key_id: key.record for key_id, key in keyring.keys.items()}


def _take_offer(data: bytes) -> http.SupplyAnswer:
    offers = Offers(OneRecord(data))

    with pytest.raises(Over):
        asyncio.run(offers.follow())
    answer = offers.answer("")
    assert offers.undecodable + len(answer.offers) + len(answer.references) + len(answer.polls) <= 1
    assert msgspec.json.encode(answer)
    return answer


def _take_reference(data: bytes) -> str:
    references = References(OneRecord(data))
    asyncio.run(references.read())
    return references.fault


def _take_ban(data: bytes) -> dict[int, bytes]:
    reader = QuarantineReader(OneRecord(data), 0)
    asyncio.run(reader.refresh())
    return reader.banned


def _hear(data: bytes) -> list[bytes]:
    """A message to the feed; what it answers."""
    hub, pipe = Hub(1, first_seq=1, feed_key=KEY), Pipe(stuck=True)
    session = hub.connect(pipe, 0)
    session.account = 7
    session.receive(data, 0)
    return pipe.queued


def _file(read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    def read_bytes(data: bytes) -> Any:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return read(Path(file.name))

    return read_bytes


def _unless_none(value: object) -> bytes | None:
    return None if value is None else pack(value)


def _approval(data: bytes) -> object:
    return check_approval(KEY, data.decode("latin-1"), CORRECTION, 0)


CORRECTION = Correction(0, 17, 3, 4, 3_000_000, "a slip")
ISSUED = issue_key(KEY, account=7, owner=8, scopes=("read",), networks=("10.0.0.0/8",))
ANSWER = http.NewKeyAnswer(
    key=http.KeyAnswer(key_id="hb_1", account=7, scopes=("read",), label="", expires_at="", networks=()),
    secret=ISSUED.secret,
    bearer=ISSUED.bearer,
)
PROFILE = profile.Profile(url="http://127.0.0.1:1", key=ANSWER)
SNAPSHOT = store.Snapshot(store.FILE_FORMAT, 0, 5, KEY[:16], 7, KEY[16:], 7, KEY[:16], 1, 1_000, KEY, b"engine")
SEGMENT = Segment(1, "commands", 0, 0, 1, bytes(DIGEST), [(0, 1_000, b"value", [("q", b"1")], None)])
OPS = [
    {"op": "subscribe", "channels": ["grid:TINY", "account"], "id": 7},
    {"op": "resume", "channels": {"grid:TINY": 4}, "account": {"0": 5}},
    {"op": "auth", "token": "abc"},
    {"op": "ping", "id": "x"},
]

LATE = [
    pack(supply.OfferSeen("a", "b", "c", "spot", "TINY", 1, 5, 1, 1, "of a far future", 2**62, 2**62)),
    pack(supply.PollDone("a", 0, 0, 0, {}, -(2**62))),
]

READERS = {
    "frame": Reader(_samples("commands.frame"), codec.decode_frame, (codec.BrokenFrame,), _write_frame),
    "events": Reader(_samples("events.record"), codec.decode_record, (codec.BrokenRecord,), pack),
    "headers": Reader(
        [_headers(KEY[:16], bytes(8), bytes(16), bytes(16), bytes(8))], _read_headers, (codec.BrokenRecord,)
    ),
    "snapshot": Reader([pack(SNAPSHOT)], _read_snapshot, (store.Unusable,), pack),
    "snapshot file": Reader([store.encode(SNAPSHOT)], store.decode, (store.Unusable,), store.encode),
    "segment": Reader([pack(SEGMENT)], _read_segment, (Halt,)),
    "key": Reader([*_of_topic("keys"), pack(ISSUED.record)], _take_key, (Halt,)),
    "request": Reader(_of_topic("requests"), lambda data: settlement.decode(0, 0, data).request, (), _unless_none),
    "delivery": Reader(_of_topic("delivery"), deliveries.decode, (), _unless_none),
    "offer": Reader([*_of_topic("offers"), *LATE], _take_offer),
    "reference": Reader(_of_topic("references"), _take_reference),
    "quarantine": Reader(_of_topic("quarantine")[:1], _take_ban, (Halt,)),
    "feed token": Reader(
        [make_token(KEY, 7, 60_000, bytes(16), [1]).encode()],
        lambda data: read_token(KEY, data.decode("latin-1"), 0),
        (WrongToken, ExpiredToken),
    ),
    "approval": Reader([approve(KEY, CORRECTION, 1, 2, 60_000, bytes(8)).encode()], _approval, (ApiError,)),
    "feed message": Reader([json.dumps(op).encode() for op in OPS], _hear),
    "desk's key file": Reader([msgspec.json.encode(ANSWER)], _file(read_key), (BadKey,)),
    "members' key file": Reader([msgspec.json.encode({"ana": ANSWER})], _file(read_keys), (BadKeys,)),
    "profile": Reader([msgspec.json.encode(PROFILE)], _file(profile._read), (profile.Unusable,)),
    "desk's day": Reader([dump_day(Day(20_000, 5))], load_day, (), lambda day: None if day is None else dump_day(day)),
}
BODIES = [
    kind
    for kind in vars(http).values()
    if isinstance(kind, type) and kind.__name__.endswith("Request") and kind.__name__ != "_Request"
]


@pytest.mark.parametrize("name", READERS)
def test_good_bytes_are_read_and_written_again_the_same(name: str) -> None:
    reader = READERS[name]
    for sample in reader.samples:
        value = reader.read(sample)
        again = reader.write(value)
        # A writer that knew fewer fields wrote less; of all others it is the same bytes.
        assert again is None or again == sample or len(again) > len(sample)


HEAVY = {
    "arrays in arrays": b"\x91" * 100_000 + b"\x90",
    "maps in maps": b"\x81\x00" * 100_000 + b"\x80",
    "an array of four thousand million": b"\xdd\xff\xff\xff\xff",
    "such an array in a message": b"\x94\x01\x01\x01\xdd\xff\xff\xff\xff",
    "a map of as many": b"\xdf\xff\xff\xff\xff",
    "four gigabytes of text": b"\xdb\xff\xff\xff\xff",
    "four gigabytes": b"\xc6\xff\xff\xff\xff",
    "an extension of as many": b"\xc9\xff\xff\xff\xff\x05",
    "lists in lists": b"[" * 100_000,
    "objects in objects": b'{"op":' * 100_000,
    "a number of a hundred thousand digits": b"9" * 100_000,
    "a power beyond all": b"1e999999999",
    "half a character": b'"\\ud800"',
    "a shard of ten thousand digits": b'{"op":"resume","account":{"' + b"9" * 10_000 + b'":1}}',
    "a hundred thousand zeros": bytes(100_000),
}
"""Small, and a promise of much."""


@pytest.mark.parametrize("heavy", HEAVY)
@pytest.mark.parametrize("name", READERS)
def test_what_promises_much_costs_little(name: str, heavy: str) -> None:
    """Nothing is set aside for what is only announced: at no time more than a hundred bytes for each that came."""
    reader, data = READERS[name], HEAVY[heavy]
    tracemalloc.start()
    try:
        _refused_or_written_again(reader, data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2_000_000 + 100 * len(data)


def _refused_or_written_again(reader: Reader, data: bytes) -> None:
    try:
        value = reader.read(data)
    except reader.refusals as error:
        said = str(error)
    else:
        again = reader.write(value)
        if again is not None:
            assert reader.write(reader.read(again)) == again
        said = ""
    assert len(said) < 2_000, "a refusal is a sentence, and no copy of what was sent"


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_a_value_or_a_refusal(name: str) -> None:
    reader = READERS[name]

    @settings(max_examples=80)
    @given(st.binary(max_size=80) | _damaged(reader.samples))
    def check(data: bytes) -> None:
        _refused_or_written_again(reader, data)

    check()


def _damaged(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Near the real thing is where readers break: some bytes of a good one changed, cut out or put in."""
    part = st.binary(max_size=12) | st.sampled_from([*NASTY, *(heavy[:40] for heavy in HEAVY.values())])

    def damage(sample: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, put in cuts:
            at = place % (len(sample) + 1)
            sample = sample[:at] + put + sample[at + length :]
        return sample

    cuts = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 12), part), min_size=1, max_size=3)
    return st.builds(damage, st.sampled_from(samples), cuts)


NASTY = [
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xc0",
    b"\xcb\x7f\xf8" + bytes(6),
    b"\xff",
    b"null",
    b"-1",
    b"1e400",
    b"\xc3\x28",
]


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_any_body_is_a_request_or_does_not_decode(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    """As the door reads it: whatever JSON or no JSON comes."""
    body = data.draw(st.binary(max_size=60) | _json(kind) | st.sampled_from(list(HEAVY.values())))
    try:
        request = msgspec.json.decode(body, type=kind)
    except codec.UNREADABLE:
        return
    again = msgspec.json.encode(request)
    assert msgspec.json.decode(again, type=kind) == request


def _json(kind: type[msgspec.Struct]) -> st.SearchStrategy[bytes]:
    """An object with its fields, and anything in them."""
    leaf = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    value = leaf | st.lists(leaf, max_size=3) | st.dictionaries(st.text(max_size=4), leaf, max_size=2)
    names = st.sampled_from([field.encode_name for field in msgspec.structs.fields(kind)])
    return st.dictionaries(names, value, max_size=9).map(lambda found: json.dumps(found).encode())
