"""Old readers survive new writers, and new readers old ones: fields are only appended, with a default."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import NODEFAULT

from schemas import commands as cmd
from schemas.codec import Malformed, decode_frame
from tests.schemas import golden
from tests.schemas.kinds import Kind, fields_of, kinds, pack

BODIES = {name: kind for name, kind in kinds().items() if name not in {"commands.frame", "events.headers"}}


def array_of(name: str) -> list[Any]:
    """The golden message with plain values in every field of today, as MessagePack elements."""
    pieces = next(example.pieces for example in golden.load(name) if golden.complete(BODIES[name], example))
    return list(msgspec.msgpack.decode(bytes.fromhex("".join(pieces))))


def read(kind: Kind, elements: list[Any]) -> Any:
    return kind.read([pack(elements).hex()])


@pytest.mark.parametrize("name", BODIES)
def test_fields_that_a_later_writer_appends_are_passed_over(name: str) -> None:
    kind, elements = BODIES[name], array_of(name)

    assert read(kind, [*elements, 17, "appended", [1, 2], None]) == read(kind, elements)


@pytest.mark.parametrize("name", BODIES)
def test_a_field_that_an_earlier_writer_did_not_know_has_its_default(name: str) -> None:
    """However many of them are missing, from the last one on; without a default nothing may be missing."""
    kind, elements = BODIES[name], array_of(name)
    fields = msgspec.structs.fields(kind.type)
    whole = read(kind, elements)
    optional = [field for field in fields if field.required is False]
    assert list(fields)[len(fields) - len(optional) :] == optional, "a field without a default follows one with"

    for missing in range(1, len(optional) + 1):
        said = read(kind, elements[:-missing])
        for field in fields[:-missing]:
            assert getattr(said, field.name) == getattr(whole, field.name)
        for field in optional[len(optional) - missing :]:
            default = field.default_factory() if field.default is NODEFAULT else field.default
            assert getattr(said, field.name) == default
    with pytest.raises(Exception, match="Expected `array` of at least length"):
        read(kind, elements[: -len(optional) - 1])


def test_nested_messages_grow_in_the_same_way() -> None:
    """Fees of a class with a rate that this build does not know, and by a writer that knew two."""
    name = "commands.SetClass"
    kind, elements = BODIES[name], array_of(name)
    place = 1 + list(fields_of(read(kind, elements))).index("fees")

    def with_fees(*fees: int) -> cmd.Fees:
        said = read(kind, [*elements[:place], list(fees), *elements[place + 1 :]])
        assert isinstance(said, cmd.SetClass)
        return said.fees

    assert with_fees(5, 10, 40, 50, 7) == cmd.Fees(5, 10, 40, 50)
    assert with_fees(5, 10) == cmd.Fees(5, 10, 50, 50)
    assert with_fees() == cmd.Fees(0, 0, 50, 50)


def test_a_later_gateway_s_body_is_a_command_and_one_that_lacks_a_field_is_malformed() -> None:
    order = array_of("commands.PlaceOrder")

    grown, short = decode_frame(pack([1, 2, 3, [[*order, "appended"], order[:-2]]])).commands

    assert grown == read(BODIES["commands.PlaceOrder"], order)
    assert short == Malformed()


def test_defaults_are_part_of_the_bytes_and_never_change() -> None:
    """An old record without the field would mean something else. Most are nothing at all; these are the others."""
    said = {
        f"{name}.{field.name}": field.default
        for name, kind in BODIES.items()
        for field in msgspec.structs.fields(kind.type)
        if field.default is not NODEFAULT
    }

    assert {name: default for name, default in said.items() if default not in {0, ""}} == {
        f"{kind}.{field}": value
        for kind in ("commands.SetClass", "requests.ListClass")
        for field, value in {
            "collar_high_bp": 20_000,
            "collar_low_bp": 5_000,
            "cover_ms": 1_800_000,
            "gate_ms": 300_000,
            "horizon_hours": 168,
            "running_close_ms": 600_000,
        }.items()
    } | {
        "commands.StartShard.rate": 1,
        "delivery.Delivered.refunds": (),
        "leases.LaunchPut.ports": (),
        "leases.MachineEnrolled.unusable": (),
        "leases.TitleCounted.refunds": (),
    }
