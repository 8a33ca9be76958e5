"""Records of `commands`: what is a frame, what is a bad body inside a good frame, and what stops the market."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import commands as cmd
from schemas.codec import (
    CHAIN_START,
    FRAME_FORMAT,
    WRITER_GATEWAY_MIN,
    BrokenFrame,
    Frame,
    Malformed,
    decode_frame,
    encode_frame,
    seal,
)
from schemas.ids import FRAME_COMMANDS_MAX

encode = msgspec.msgpack.encode
TICK = cmd.Tick(1_795_000_000_000)
ORDER = cmd.PlaceOrder(7, 50_829_312, 1, 3, 2_100_000, 1, 0, "spring-1", 1_795_000_030_000)
DOCUMENT = (FRAME_FORMAT, WRITER_GATEWAY_MIN, 12, [ORDER])


def frame_of(*bodies: object) -> bytes:
    """A frame whose bodies may be anything that MessagePack can say."""
    return encode((FRAME_FORMAT, WRITER_GATEWAY_MIN, 12, bodies))


# --- Good frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, FRAME_COMMANDS_MAX])
def test_a_frame_carries_one_to_512_commands_in_order(count: int) -> None:
    commands = [cmd.Tick(number) for number in range(count)]

    frame = decode_frame(encode_frame(WRITER_GATEWAY_MIN + 5, 77, commands))

    assert frame == Frame(WRITER_GATEWAY_MIN + 5, 77, commands)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whoever_writes_a_frame_reads_his_numbers_again(writer: int, frame_no: int) -> None:
    assert decode_frame(encode_frame(writer, frame_no, [TICK]))[:2] == (writer, frame_no)


def test_a_frame_is_written_in_one_way_only() -> None:
    """The shortest MessagePack of the format's number, writer, number and bodies: a replay compares bytes."""
    assert encode_frame(2, 300, [cmd.Tick(5)]).hex(" ") == "94 01 02 cd 01 2c 91 92 29 05"


@pytest.mark.parametrize("count", [0, FRAME_COMMANDS_MAX + 1])
def test_no_frame_is_written_without_commands_or_with_more_than_512(count: int) -> None:
    with pytest.raises(AssertionError, match=f"{count} commands in one frame"):
        encode_frame(2, 1, [TICK] * count)


def test_a_later_writer_may_append_to_the_frame_itself() -> None:
    assert decode_frame(encode((*DOCUMENT, "appended"))).commands == [ORDER]


# --- Bad bodies inside good frames --------------------------------------------------------------------------

BAD_BODIES = {
    "a tag nobody knows": [999, 1, 2],
    "no tag": [],
    "a tag that is text": ["place_order", 1],
    "a number": 41,
    "nothing": None,
    "a map": {"account": 7},
    "too few fields": [1, 7, 50_829_312],
    "text for a number": [41, "5"],
    "a number for text": [20, 900, 1, 0, 2, 17],
    "a float for a number": [41, 5.0],
    "a truth for a number": [41, True],
    "a number for a truth": [40, 0, 1, 0, 1, 1],
    "bytes for text": [20, 900, 1, 0, 2, b"reason"],
    "nothing for a number": [41, None],
    "a number for hours": [33, 1, 7, 1, 5, 1, 1, 0, 1],
    "text among hours": [33, 1, 7, 1, ["5"], 1, 1, 0, 1],
    "short fees": [34, 1, 1, "H100", 1, 1, 1, 7],
    "a time stamp for a number": [41, msgspec.Raw(b"\xd6\xff\x00\x00\x00\x00")],
    "text that is not UTF-8": [20, 900, 1, 0, 2, msgspec.Raw(b"\xa2\xc3\x28")],
    "a client id that is not UTF-8": [1, 7, 9, 1, 3, 2, 1, 0, msgspec.Raw(b"\xa1\xff"), 5],
    "half a surrogate": [20, 900, 1, 0, 2, msgspec.Raw(b"\xa3\xed\xa0\x80")],
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_stands_as_malformed_and_its_neighbours_as_they_are(body: object) -> None:
    assert decode_frame(frame_of(TICK, body, ORDER)).commands == [TICK, Malformed(), ORDER]


def test_a_frame_may_hold_nothing_but_bad_bodies() -> None:
    assert decode_frame(frame_of([999], [999])).commands == [Malformed(), Malformed()]


_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
_anything = _scalars | st.lists(_scalars, max_size=3)
_body = st.builds(lambda tag, fields: [tag, *fields], st.integers(0, 45), st.lists(_anything, max_size=12))


@given(st.lists(_body, min_size=1, max_size=4))
def test_any_messagepack_is_a_command_or_malformed_and_never_stops_the_market(bodies: Sequence[object]) -> None:
    """And what it is does not depend on its neighbours: the fast path and the slow one agree."""
    together = decode_frame(frame_of(*bodies)).commands

    alone = [decode_frame(frame_of(body)).commands[0] for body in bodies]
    assert together == alone


# --- Broken frames ------------------------------------------------------------------------------------------

BROKEN = {
    "nothing": (b"", "Input data was truncated"),
    "not MessagePack": (b"\xc1", "MessagePack data is malformed"),
    "cut off": (encode(DOCUMENT)[:-1], "Input data was truncated"),
    "followed by something": (encode(DOCUMENT) + b"\x00", "trailing characters"),
    "a map": (encode({"format": 1}), "Expected `array`, got `object`"),
    "text": (encode("frame"), "Expected `array`, got `str`"),
    "too short": (encode(DOCUMENT[:3]), "Expected `array` of at least length 4, got 3"),
    "another format": (encode((2, *DOCUMENT[1:])), "frame format 2, this build reads 1"),
    "format 0": (encode((0, *DOCUMENT[1:])), "frame format 0, this build reads 1"),
    "another format with a bad body": (encode((2, 1, 1, [[999]])), "frame format 2, this build reads 1"),
    "a format that is text": (encode(("1", *DOCUMENT[1:])), "Expected `int`, got `str`"),
    "a writer that is a float": (encode((1, 1.0, 1, [TICK])), "Expected `int`, got `float`"),
    "a negative writer": (encode((1, -1, 1, [TICK])), "writer -1, frame_no 1"),
    "a negative number": (encode((1, 1, -(2**63), [TICK])), "writer 1, frame_no -9223372036854775808"),
    "bodies that are a map": (encode((1, 1, 1, {1: TICK})), "Expected `array`, got `object`"),
    "no bodies": (encode((1, 1, 1, [])), "0 commands in one frame, allowed are 1 to 512"),
    "513 bodies": (encode((1, 1, 1, [TICK] * 513)), "513 commands in one frame, allowed are 1 to 512"),
    "513 bad bodies": (encode((1, 1, 1, [[999]] * 513)), "513 commands in one frame, allowed are 1 to 512"),
    "bodies without end": (b"\x94\x01\x01\x01\xdd\xff\xff\xff\xff", "Input data was truncated"),
    "arrays in arrays in arrays": (frame_of(msgspec.Raw(b"\x91" * 10**6 + b"\x90")), "maximum recursion depth"),
}


@pytest.mark.parametrize(("value", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_frame_is_broken_and_says_why(value: bytes, sentence: str) -> None:
    with pytest.raises(BrokenFrame) as broken:
        decode_frame(value)

    assert sentence in str(broken.value)


@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: encode(DOCUMENT)[:-8] + tail))
def test_any_bytes_are_a_frame_that_can_be_answered_or_a_broken_one(value: bytes) -> None:
    """Nothing else may come out: another exception would end the process without naming the record."""
    try:
        frame = decode_frame(value)
    except BrokenFrame:
        return
    assert 1 <= len(frame.commands) <= FRAME_COMMANDS_MAX
    assert seal(0, 0, CHAIN_START, 0, 0, frame, []), "a frame that was read can be answered"
