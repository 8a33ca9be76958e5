"""Names at the edge are those of the enums, each of them."""

from __future__ import annotations

from enum import IntEnum
from typing import get_args

import pytest

from schemas import http
from schemas.commands import Ground, Role, Side, State, Tif
from services.gateway import classes


@pytest.mark.parametrize(
    ("names", "enum"),
    [
        (classes.SIDES, Side), (classes.TIFS, Tif), (classes.STATES, State), (classes.ROLES, Role), (classes.GROUNDS, Ground),
    ],
)  # fmt: skip
def test_every_member_of_an_enum_has_its_lower_case_name(names: dict[int, str], enum: type[IntEnum]) -> None:
    assert names == {member.value: member.name.lower() for member in enum}


def test_bodies_know_the_same_names() -> None:
    known = [set(get_args(each)) for each in (http.SideName, http.TifName, http.MarketState, http.AccountRole)]
    assert known == [set(each.values()) for each in (classes.SIDES, classes.TIFS, classes.STATES, classes.ROLES)]
