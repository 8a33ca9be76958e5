"""Every kind of message whose bytes are kept for years, and how each is read and written.

A kind is split into pieces that a person can read beside its values: the array's head, then one piece a field.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

import schemas
from schemas import codec, commands, delivery, events, keys, leases, market, rentals_log, requests, supply
from services.matching.quarantine import Quarantine

pack = msgspec.msgpack.encode


class Kind(NamedTuple):
    """One kind of message."""

    name: str
    """`topic.Type`: the name of its golden file."""
    type: type[Any]
    about: str
    """First line of its docstring."""
    read: Callable[[Sequence[str]], Any]
    """Pieces, as hex → value."""
    write: Callable[[Any], list[str]]
    """Value → pieces."""


TOPICS: dict[str, Any] = {
    "commands": commands.Command,
    "events": events.Event,
    "requests": requests.Request,
    "keys": keys.KeyRecord,
    "delivery": delivery.Delivered,
    "leases": leases.LeaseRecord,
    "rentals": rentals_log.RentalRecord,
    "offers": supply.OfferRecord,
    "references": market.Reference,
    "quarantine": Quarantine,
}
"""Topic: what its bodies are."""


def kinds() -> dict[str, Kind]:
    """Name → kind, of all there are."""
    found = [_body(topic, union, one) for topic, union in TOPICS.items() for one in typing.get_args(union) or (union,)]
    found += [
        Kind("commands.frame", codec.Frame, "A record of `commands`.", _read_frame, _write_frame),
        Kind("events.record", codec.EventsRecord, "A record of `events`.", _read_record, _write_array),
        Kind("events.headers", codec.Envelope, "Headers of a record of `events`.", _read_headers, _write_headers),
    ]
    return {kind.name: kind for kind in found}


def tagged_structs() -> Iterator[type[Struct]]:
    """Every array with a tag that a module of `schemas` defines, whether or not a topic knows it.

    Messages of the feed are JSON objects: nobody keeps them.
    """
    for module in pkgutil.iter_modules(schemas.__path__):
        for one in vars(importlib.import_module(f"schemas.{module.name}")).values():
            if isinstance(one, type) and issubclass(one, Struct) and one.__struct_config__.array_like:
                if one.__struct_config__.tag is None:
                    continue
                yield one


def shown(value: Any) -> Any:
    """A value as JSON can say it: nested messages with the names of their fields, bytes as hex."""
    if isinstance(value, Struct):
        kind = {"is": type(value).__name__} if value.__struct_config__.tag is not None else {}
        return kind | {name: shown(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, (list, tuple)):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    assert value is None or isinstance(value, (int, str)), f"{value!r} has no place in a message"
    return value


def fields_of(value: Any) -> dict[str, str]:
    """Field → its value as one line of JSON."""
    names = value.__struct_fields__ if isinstance(value, Struct) else value._fields
    return {name: json.dumps(shown(getattr(value, name)), ensure_ascii=False) for name in names}


# --- Reading and writing -----------------------------------------------------------------------------------


def _body(topic: str, union: Any, one: type[Struct]) -> Kind:
    decoder = msgspec.msgpack.Decoder(union)
    return Kind(
        f"{topic}.{one.__name__}",
        one,
        (one.__doc__ or "").partition("\n")[0],
        lambda pieces: decoder.decode(bytes.fromhex("".join(pieces))),
        _write_array,
    )


def _write_array(value: Any) -> list[str]:
    """Head and elements of the array that the value is."""
    return cut(pack(value))


def cut(array: bytes) -> list[str]:
    """An encoded array → its head and each element, as hex."""
    elements = [bytes(element) for element in msgspec.msgpack.decode(array, type=list[Raw])]
    head = array[: len(array) - sum(map(len, elements))]
    return [piece.hex() for piece in (head, *elements)]


def _read_record(pieces: Sequence[str]) -> codec.EventsRecord:
    return codec.decode_record(bytes.fromhex("".join(pieces)))


def _read_frame(pieces: Sequence[str]) -> codec.Frame:
    return codec.decode_frame(bytes.fromhex("".join(pieces)))


def _write_frame(frame: codec.Frame) -> list[str]:
    return cut(codec.encode_frame(*frame))


def _read_headers(pieces: Sequence[str]) -> codec.Envelope:
    parts = (piece.split(":") for piece in pieces)
    return codec.read_headers([(name, bytes.fromhex(value)) for name, value in parts])


def _write_headers(said: codec.Envelope) -> list[str]:
    """As `seal` and the shell give them: c, q, w, a, then e. The chain of a golden record is its own file's."""
    frame = codec.Frame(said.writer, said.frame_no, ())
    effects = [events.DeadManFired(account) for account in said.accounts]
    (sealed,) = codec.seal(0, said.seq - 1, codec.CHAIN_START, 0, 0, frame, effects)
    headers = dict([*sealed.headers, codec.epoch_header(said.epoch)]) | {"c": said.chain}
    return [f"{name}:{value.hex()}" for name, value in headers.items()]
