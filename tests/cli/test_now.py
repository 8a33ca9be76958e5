"""The running hour where there is none, and what a command says that got nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from schemas import http
from schemas.ids import format_symbol
from services.cli.change import cancelled_words
from services.cli.errors import Refused
from services.cli.hours import running_contract
from services.cli.trade import cancelled_line
from tests.cli.conftest import Sandbox, typed
from tests.cli.documents import within_a_day

CLASS = "L40S.48.US"
TEN = datetime(2026, 11, 27, 10, tzinfo=UTC)


class Answers:
    """Context and client in one: a class whose hours are in these phases, one after the other, from 9:00 UTC on."""

    def __init__(self, *phases: str) -> None:
        self._first = int(TEN.timestamp()) // 3600 - 1
        self._phases = phases

    def client(self) -> Answers:
        return self

    def get(self, path: str, answer: Any, **_: str) -> Any:
        if path == f"/v1/classes/{CLASS}":
            return msgspec.convert(_filled(http.ClassAnswer) | {"class": CLASS, "gate_minutes": 5}, answer)
        return msgspec.convert([self._hour(*each) for each in enumerate(self._phases)], answer)

    def _hour(self, place: int, phase: str) -> dict[str, object]:
        hour = self._first + place
        begins = f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H:%M:%SZ}"
        contract = format_symbol(CLASS, hour)
        return _filled(http.ContractAnswer) | {"contract": contract, "class": CLASS, "hour": begins, "phase": phase}


def _filled(kind: type[msgspec.Struct]) -> dict[str, object]:
    """Whatever is of the right type."""
    some: dict[object, object] = {int: 1}
    return {
        field.encode_name: "open" if field.name == "state" else some.get(field.type, "1")
        for field in msgspec.structs.fields(kind)
    }


def test_the_hour_that_runs_is_found() -> None:
    assert running_contract(Answers("running", "forward"), CLASS) == format_symbol(
        CLASS, int(TEN.timestamp()) // 3600 - 1
    )  # type: ignore[arg-type]


def test_between_two_hours_it_says_from_when_on_the_next_is_sold() -> None:
    """It may be five minutes: whoever is told to try again in a moment tries in vain."""
    with pytest.raises(Refused) as refused:
        running_contract(Answers("closed", "forward", "forward"), CLASS)  # type: ignore[arg-type]

    message = within_a_day(refused.value.message)
    assert message == within_a_day(
        "no hour of L40S.48.US is sold just now: of the one that ends the last minutes are not, the next is from "
        "Fri 27 Nov 09:55:00 (09:55 UTC) on; ahead with --hour 'in 3 hours'"
    )


def test_a_class_without_hours_has_none_that_runs() -> None:
    with pytest.raises(Refused, match=r"no hour of L40S\.48\.US is listed"):
        running_contract(Answers(), CLASS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 orders or blocks"), (1, "1 order or block"), (5, "5 orders or blocks")]
)
def test_what_was_cancelled_is_counted_in_words(count: int, words: str) -> None:
    assert cancelled_words(count) == f"{words} cancelled"


@pytest.mark.parametrize(
    ("side", "reason", "line"),
    [
        ("buy", "ioc", "  1 cancelled (ioc): nobody asks 3.60 or less for it just now; who asks what: hourbook book X"),
        (
            "sell",
            "ioc",
            "  1 cancelled (ioc): nobody bids 3.60 or more for it just now; who bids what: hourbook book X",
        ),
        ("buy", "self_trade_newest", "  1 cancelled (self_trade_newest)"),
    ],
)
def test_what_found_nobody_says_so_and_where_to_look(side: str, reason: str, line: str) -> None:
    assert cancelled_line(1, reason, side=side, price="3.60", class_id="X").replace(".venv/bin/", "") == line


@pytest.mark.usefixtures("inside")
def test_an_order_that_takes_what_is_there_and_finds_nothing(inside: Sandbox) -> None:  # noqa: ARG001 # where it is typed
    ended = typed("buy", "1", CLASS, "--hour", "in 9 hours", "--price", "0.60", "--tif", "ioc")

    assert ended.code == 0, ended
    assert ended.out.splitlines()[1:] == [
        f"  1 cancelled (ioc): nobody asks 0.60 or less for it just now; who asks what: hourbook book {CLASS}"
    ]
