"""Bytes on the log: frames of `commands`, records of `events`, and the rules of sequence and chain.

`docs/decisions/001-bytes.md` is the text of this module. Pure: no clock, no I/O.

commands  value = [FRAME_FORMAT, writer, frame_no, [body, ...]]   (one MessagePack document)
events    value = [RECORD_FORMAT, shard, seq, offset, part, last, time_ms, writer, frame_no, [event, ...]]
          headers: c chain (16 B) · q seq (8 B) · w writer, frame_no (16 B) · a accounts concerned (8 B each)
                   · e epoch of the writer (8 B; the only bytes that a replay does not reproduce)
Integers in headers are big-endian and unsigned.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw, Struct

from schemas.commands import Command
from schemas.events import CashCorrected, Event, Filled, TitleEnded
from schemas.ids import FRAME_COMMANDS_MAX

FRAME_FORMAT: Final = 1
RECORD_FORMAT: Final = 1
RECORD_BYTES_MAX: Final = 512 * 1024
"""A larger output is written in parts, each a record with its own seq."""
CHAIN_START: Final = bytes(16)
"""The chain before the first record."""

WRITER_SETTLEMENT: Final = 1
WRITER_SHELL: Final = 2
WRITER_OPERATOR: Final = 3
"""Command line tools that write to the log directly: topic creation."""
WRITER_GATEWAY_MIN: Final = 1 << 32
"""Gateways draw a random number from here up at each start."""


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises. msgspec leaves the last two to Python: text that is not UTF-8, arrays nested by the thousand."""


class BrokenFrame(Exception):
    """A record of `commands` that is not a frame. Matching stops; quarantine is an operator's act."""


class BrokenRecord(Exception):
    """A record of `events` that is not one, or contradicts its headers or its chain. The reader stops."""


class Gap(Exception):
    """A record of `events` is missing: seq is higher than the next one. It is never applied."""


class Malformed(Struct, frozen=True, gc=False):
    """Stands in a decoded frame for a body that does not decode."""


class Frame(NamedTuple):
    """A decoded record of `commands`. `writer` and `frame_no` are repeated by the events it causes."""

    writer: int
    frame_no: int
    commands: Sequence[Command | Malformed]


class _FrameDocument(Struct, array_like=True, frozen=True, gc=False):
    format: int
    writer: int
    frame_no: int
    commands: list[Command]


class _FrameEnvelope(Struct, array_like=True, frozen=True, gc=False):
    format: int
    writer: int
    frame_no: int
    bodies: list[Raw]


class EventsRecord(Struct, array_like=True, frozen=True, gc=False):
    """A decoded record of `events`: one output of one record of `commands`, or a part of it."""

    format: int
    shard: int
    seq: int
    """Dense per shard, from 1."""
    offset: int
    """The record of `commands` that caused it."""
    part: int
    """0, 1, ... of an output in parts."""
    last: bool
    """The output's last part."""
    time_ms: int
    """The engine's time after the output."""
    writer: int
    frame_no: int
    events: list[Event]


class Sealed(NamedTuple):
    """A record of `events` ready to be written, but for the writer's epoch."""

    seq: int
    chain: bytes
    body: bytes
    headers: list[tuple[str, bytes]]


_encoder = msgspec.msgpack.Encoder()
_frame = msgspec.msgpack.Decoder(_FrameDocument)
_envelope = msgspec.msgpack.Decoder(_FrameEnvelope)
_body: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_record = msgspec.msgpack.Decoder(EventsRecord)
_U64 = struct.Struct(">Q")
_PAIR = struct.Struct(">QQ")


def encode_frame(writer: int, frame_no: int, commands: Sequence[Command]) -> bytes:
    """Commands → value of one record of `commands`."""
    assert 0 < len(commands) <= FRAME_COMMANDS_MAX, f"{len(commands)} commands in one frame"
    return _encoder.encode((FRAME_FORMAT, writer, frame_no, commands))


def decode_frame(value: bytes) -> Frame:
    """Value of one record of `commands` → frame; bodies that do not decode stand as `Malformed`.

    Raises BrokenFrame.
    """
    document: _FrameDocument | _FrameEnvelope
    commands: Sequence[Command | Malformed]
    try:
        document = _frame.decode(value)
        commands = document.commands
    except UNREADABLE:
        # At least one body is bad: take them one by one.
        try:
            document = _envelope.decode(value)
        except UNREADABLE as error:
            raise BrokenFrame(str(error)) from error
        commands = [_decode_body(body) for body in document.bodies]
    if document.format != FRAME_FORMAT:
        raise BrokenFrame(f"frame format {document.format}, this build reads {FRAME_FORMAT}")
    if not 0 < len(commands) <= FRAME_COMMANDS_MAX:
        raise BrokenFrame(f"{len(commands)} commands in one frame, allowed are 1 to {FRAME_COMMANDS_MAX}")
    if document.writer < 0 or document.frame_no < 0:
        # The header that repeats them to their writer has no sign.
        raise BrokenFrame(f"writer {document.writer}, frame_no {document.frame_no}: they are not negative")
    return Frame(document.writer, document.frame_no, commands)


def _decode_body(body: Raw) -> Command | Malformed:
    try:
        return _body.decode(body)
    except UNREADABLE:
        return Malformed()


def next_chain(chain: bytes, body: bytes) -> bytes:
    """BLAKE2b-128(previous chain, body)."""
    return hashlib.blake2b(chain + body, digest_size=16).digest()


def seal(
    shard: int, seq: int, chain: bytes, offset: int, time_ms: int, frame: Frame, events: Sequence[Event]
) -> list[Sealed]:
    """One output → its records; `seq` and `chain` are those of the last record before it."""
    sealed: list[Sealed] = []
    groups = _cut(events)
    for part, (group, packed) in enumerate(groups):
        seq += 1
        last = part == len(groups) - 1
        head = (RECORD_FORMAT, shard, seq, offset, part, last, time_ms, frame.writer, frame.frame_no, packed)
        body = _encoder.encode(head)
        chain = next_chain(chain, body)
        headers = [
            ("c", chain),
            ("q", _U64.pack(seq)),
            ("w", _PAIR.pack(frame.writer, frame.frame_no)),
            ("a", pack_accounts(accounts_of(group))),
        ]
        sealed.append(Sealed(seq, chain, body, headers))
    return sealed


def _cut(events: Sequence[Event]) -> list[tuple[Sequence[Event], Raw]]:
    """Halve until every part is small enough: the same cut for the same events, whoever makes it."""
    packed = _encoder.encode(events)
    if len(packed) <= RECORD_BYTES_MAX or len(events) == 1:
        return [(events, Raw(packed))]
    middle = len(events) // 2
    return _cut(events[:middle]) + _cut(events[middle:])


def decode_record(value: bytes) -> EventsRecord:
    """Value of one record of `events`. Raises BrokenRecord."""
    try:
        record = _record.decode(value)
    except UNREADABLE as error:
        raise BrokenRecord(str(error)) from error
    if record.format != RECORD_FORMAT:
        raise BrokenRecord(f"record format {record.format}, this build reads {RECORD_FORMAT}")
    return record


def accounts_of(events: Iterable[Event]) -> list[int]:
    """Accounts concerned, in order of first mention, without repeats."""
    accounts: dict[int, None] = {}
    for event in events:
        if type(event) is Filled:
            accounts[event.buyer] = accounts[event.seller] = None
        elif type(event) is TitleEnded:
            accounts[event.obligor] = accounts[event.holder] = None
        elif type(event) is CashCorrected:
            accounts[event.payer] = accounts[event.payee] = None
        else:
            account = getattr(event, "account", 0)
            if account > 0:  # an account that a rejected body invented may be any number
                accounts[account] = None
    return list(accounts)


def pack_accounts(accounts: Sequence[int]) -> bytes:
    """Accounts → header `a`."""
    return struct.pack(f">{len(accounts)}Q", *accounts)


def unpack_accounts(header: bytes) -> tuple[int, ...]:
    """Header `a` → accounts."""
    return struct.unpack(f">{len(header) // 8}Q", header)


def epoch_header(epoch: int) -> tuple[str, bytes]:
    """The writer's epoch as a header."""
    return ("e", _U64.pack(epoch))


class Envelope(NamedTuple):
    """What the headers of a record of `events` say."""

    seq: int
    chain: bytes
    writer: int
    frame_no: int
    accounts: tuple[int, ...]
    epoch: int


def read_headers(headers: Iterable[tuple[str, bytes]]) -> Envelope:
    """Headers → envelope. Raises BrokenRecord."""
    found = dict(headers)
    try:
        writer, frame_no = _PAIR.unpack(found["w"])
        (seq,) = _U64.unpack(found["q"])
        (epoch,) = _U64.unpack(found["e"])
        return Envelope(seq, found["c"], writer, frame_no, unpack_accounts(found["a"]), epoch)
    except (KeyError, TypeError, struct.error) as error:  # TypeError: a header without a value
        raise BrokenRecord(f"headers of an events record: {error!r}") from error


CHAINS_KEPT: Final = 4096


class ChainReader:
    """Turns at-least-once into exactly-once: which record is next, which is a repeat, which is wrong.

    Guarantees: every record is applied once and in order, or an exception says why not.
    """

    def __init__(self, seq: int = 0, chain: bytes = CHAIN_START) -> None:
        self.seq = seq
        self.chain = chain
        self._recent: dict[int, bytes] = {seq: chain}

    def accept(self, envelope: Envelope, body: bytes) -> bool:
        """True: apply it now. False: a repeat of what was applied. Raises Gap, BrokenRecord."""
        if envelope.seq > self.seq + 1:
            raise Gap(f"seq {envelope.seq} after {self.seq}")
        if envelope.seq <= self.seq:
            known = self._recent.get(envelope.seq)
            if known is not None and known != envelope.chain:
                raise BrokenRecord(f"seq {envelope.seq} again with another chain: two writers that disagree")
            return False
        chain = next_chain(self.chain, body)
        if chain != envelope.chain:
            raise BrokenRecord(f"seq {envelope.seq} does not continue the chain")
        self.seq, self.chain = envelope.seq, chain
        self._recent[self.seq] = chain
        self._recent.pop(self.seq - CHAINS_KEPT, None)
        return True

    def read(self, headers: Iterable[tuple[str, bytes]], body: bytes, shard: int) -> EventsRecord | None:
        """A record of this shard's `events`, to be applied now; None: a repeat. Raises Gap, BrokenRecord."""
        if not self.accept(read_headers(headers), body):
            return None
        said = decode_record(body)
        if (said.shard, said.seq) != (shard, self.seq):
            raise BrokenRecord(f"shard {said.shard}, seq {said.seq} inside, {shard} and {self.seq} outside")
        return said
