"""web/src/bodies.ts names fields that the API has: a slip there is a figure that is never shown."""

import re
from pathlib import Path

import msgspec
import pytest

from schemas import feeds, http, rental

TEXT = (Path(__file__).parents[2] / "web/src/bodies.ts").read_text()
INTERFACES = dict(re.findall(r"^export interface (\w+) \{\n(.*?)^\}", TEXT, re.MULTILINE | re.DOTALL))


def test_every_body_is_looked_at() -> None:
    assert len(INTERFACES) == TEXT.count("export interface") >= 20


@pytest.mark.parametrize("name", INTERFACES)
def test_a_field_of_the_page_is_a_field_of_the_api(name: str) -> None:
    struct = next(getattr(room, name) for room in (rental, http, feeds) if hasattr(room, name))
    told = {field.encode_name for field in msgspec.structs.fields(struct)}
    read = set(re.findall(r"^  (\w+)\??:", INTERFACES[name], re.MULTILINE))
    assert read
    assert read <= told
