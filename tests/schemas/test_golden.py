"""What stands in a log is read for ever: every kind of message has bytes that must never change their meaning."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from schemas.codec import CHAIN_START, Frame, seal
from tests.schemas import golden
from tests.schemas.kinds import Kind, cut, fields_of, kinds, tagged_structs

KINDS = kinds()
HINT = "`python -m tests.schemas.golden` writes it"


@pytest.mark.parametrize("name", KINDS)
def test_golden_bytes_decode_to_the_values_beside_them(name: str) -> None:
    """Fields that came later have their defaults, and are not asked for here."""
    for example in golden.load(name):
        now = fields_of(KINDS[name].read(example.pieces))

        assert set(example.fields) <= set(now), f"{name}, {example.about}: a field was renamed or removed"
        for field, said in example.fields.items():
            assert _covers(json.loads(now[field]), json.loads(said)), (
                f"{name}, {example.about}: {field} is {now[field]}"
            )


@pytest.mark.parametrize("name", KINDS)
def test_golden_bytes_are_written_again_as_they_were(name: str) -> None:
    """Byte for byte; only where a field was appended since, its default follows."""
    kind = KINDS[name]
    for example in golden.load(name):
        again = kind.write(kind.read(example.pieces))
        assert again == example.pieces or _extends(again, example.pieces), (
            f"{name}, {example.about}: written as {again}"
        )


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_message_has_golden_bytes_with_every_field_of_today(name: str) -> None:
    assert golden.path_of(name).exists(), f"{name} has no golden bytes: {HINT}"
    assert any(golden.complete(KINDS[name], example) for example in golden.load(name)), f"{name} has grown: {HINT}"


@pytest.mark.parametrize("name", [name for name in KINDS if name != "events.headers"])
def test_golden_bytes_are_grouped_as_the_message_is(name: str) -> None:
    """The reader of the file sees each field's bytes beside its value."""
    for example in golden.load(name):
        assert cut(bytes.fromhex("".join(example.pieces))) == example.pieces, f"{name}, {example.about}"


def test_no_golden_file_is_left_without_its_kind() -> None:
    """A message type that is gone would take its old records with it: none is ever removed."""
    assert sorted(path.stem for path in golden.FOLDER.iterdir()) == sorted(KINDS)


def test_every_struct_with_a_tag_belongs_to_a_topic() -> None:
    """An event that is declared and left out of the union could be written and never be read."""
    known = {kind.type for kind in KINDS.values()}

    assert [one.__name__ for one in tagged_structs() if one not in known] == []
    assert len(known) == len(KINDS) == 100, "97 bodies, frame, record and headers: raise this when one is added"


def test_tags_of_a_topic_are_not_used_twice() -> None:
    tags: dict[tuple[str, Any], list[str]] = {}
    for name, kind in KINDS.items():
        config = getattr(kind.type, "__struct_config__", None)
        if config is not None and config.tag is not None:
            tags.setdefault((name.split(".", maxsplit=1)[0], config.tag), []).append(name)

    assert [names for names in tags.values() if len(names) > 1] == []


def test_the_golden_record_is_what_the_engine_s_output_is_sealed_into() -> None:
    """Its chain is BLAKE2b-128 of the chain before and the body, its headers repeat what a reader needs to skip it."""
    (example, *_) = golden.load("events.record")
    said = KINDS["events.record"].read(example.pieces)

    (sealed,) = seal(
        said.shard,
        said.seq - 1,
        CHAIN_START,
        said.offset,
        said.time_ms,
        Frame(said.writer, said.frame_no, ()),
        said.events,
    )

    assert sealed.body.hex() == "".join(example.pieces)
    assert {name: value.hex() for name, value in sealed.headers} == {
        "c": sealed.chain.hex(),
        "q": f"{said.seq:016x}",
        "w": f"{said.writer:016x}{said.frame_no:016x}",
        "a": f"{1001:016x}",
    }
    assert sealed.chain.hex() == "f62d8a2bb6376907fa712309e780a7a9"


def test_writing_what_is_missing_leaves_what_is_there() -> None:
    before = {path.name: path.read_bytes() for path in golden.FOLDER.iterdir()}

    assert golden.write_missing() == []

    assert {path.name: path.read_bytes() for path in golden.FOLDER.iterdir()} == before


def test_a_field_that_is_appended_gets_one_more_example_and_the_old_ones_stay(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rehearsal: the day on which a tick gets a field."""

    class Tick(msgspec.Struct, array_like=True, frozen=True, tag=41):
        """Lets time pass."""

        until_ms: int
        shard: int = 7

    kind = KINDS["commands.Tick"]
    grown = Kind(
        kind.name,
        Tick,
        kind.about,
        lambda pieces: msgspec.msgpack.decode(bytes.fromhex("".join(pieces)), type=Tick),
        kind.write,
    )
    old = golden.path_of(kind.name).read_text(encoding="utf-8")
    (tmp_path / "commands.Tick.txt").write_text(old, encoding="utf-8")
    monkeypatch.setattr(golden, "FOLDER", tmp_path)
    monkeypatch.setattr(golden, "kinds", lambda: {kind.name: grown})

    assert golden.write_missing() == ["commands.Tick: one more example"]

    assert (tmp_path / "commands.Tick.txt").read_text(encoding="utf-8").startswith(old)
    *first, last = golden.load(kind.name)
    assert last.fields == {"until_ms": "1795467600200", "shard": "1"}
    assert golden.complete(grown, last)
    for example in first:
        assert _extends(grown.write(grown.read(example.pieces)), example.pieces)


def _covers(now: Any, said: Any) -> bool:
    """`now` is `said`, but for fields appended to nested messages."""
    if isinstance(now, dict) and isinstance(said, dict):
        return set(said) <= set(now) and all(_covers(now[name], said[name]) for name in said)
    if isinstance(now, list) and isinstance(said, list):
        return len(now) == len(said) and all(map(_covers, now, said))
    return bool(now == said)


def _extends(now: list[str], old: list[str]) -> bool:
    """The same elements, then more: at the end of the message or of a message in it."""
    return _longer(*(msgspec.msgpack.decode(bytes.fromhex("".join(pieces))) for pieces in (now, old)))


def _longer(now: Any, old: Any) -> bool:
    if isinstance(now, list) and isinstance(old, list):
        return len(now) >= len(old) and all(_longer(a, b) for a, b in zip(now, old, strict=False))
    return bool(type(now) is type(old) and now == old)
