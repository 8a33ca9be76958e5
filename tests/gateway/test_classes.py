"""Names at the edge are those of the enums, each of them."""

from __future__ import annotations

from enum import IntEnum
from typing import get_args

import pytest

from schemas import edge
from schemas.commands import Ground, Role, Side, State, Tif


@pytest.mark.parametrize(
    ("names", "enum"),
    [
        (edge.SIDES, Side), (edge.TIFS, Tif), (edge.STATES, State), (edge.ROLES, Role), (edge.GROUNDS, Ground),
    ],
)  # fmt: skip
def test_every_member_of_an_enum_has_its_lower_case_name(names: dict[int, str], enum: type[IntEnum]) -> None:
    assert names == {member.value: member.name.lower() for member in enum}


def test_bodies_know_the_same_names() -> None:
    known = [set(get_args(each)) for each in (edge.SideName, edge.TifName, edge.MarketState, edge.AccountRole)]
    assert known == [set(each.values()) for each in (edge.SIDES, edge.TIFS, edge.STATES, edge.ROLES)]
