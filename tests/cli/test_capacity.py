"""A provider says what he has machines for, and takes it back: what is sold stays owed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.cli.conftest import Sandbox, typed, wait_for_asks
from tests.cli.test_newcomer import told

CLASS = "L40S.48.US"
SPAN = ("--class", CLASS, "--from", "in 50 hours", "--hours", "3")
HOURS = ("--hours", "in 50 hours", "--for", "3")


@pytest.fixture
def provider(inside: Sandbox) -> Iterator[pytest.MonkeyPatch]:
    """Commands are his; `undo` makes them the member's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOURBOOK_PROFILE", str(inside.folder / "var/sandbox/host-b.json"))
        yield patch


def of_class() -> list[tuple[int, int, int]]:
    """(backed, owed, asked) by hour."""
    rows: list[dict[str, Any]] = told("capacity")
    return [(row["qty"], row["owed"], row["asked"]) for row in rows if row["contract"].startswith(CLASS)]


def between(contracts: Iterable[str]) -> str:
    """A price above every bid and below every other ask of these hours: whoever asks it is the one who is bought from."""
    wait_for_asks(CLASS)
    quotes = {row["contract"]: row for row in told("book", CLASS, "--hours", "60")}
    rows = [quotes[contract] for contract in contracts]
    best_bid, best_ask = max(float(row["bid"] or 0) for row in rows), min(float(row["ask"]) for row in rows)
    return f"{(best_bid + best_ask) / 2:.2f}"


def test_what_is_sold_stays_owed(provider: pytest.MonkeyPatch) -> None:
    nothing = typed("capacity", "withdraw", *SPAN)
    assert (nothing.code, "nothing of L40S.48.US is declared in 3 hours" in nothing.err) == (3, True)

    first = typed("capacity", "declare", *SPAN, "--gpus", "8")
    typed("capacity", "declare", *SPAN, "--gpus", "8")
    assert first.out.startswith("8 GPUs of L40S.48.US declared in each of 3 hours, ")
    assert of_class() == [(8, 0, 0)] * 3, "twice the same is the same"

    price = between(row["contract"] for row in told("capacity") if row["contract"].startswith(CLASS))
    assert typed("sell", "5", CLASS, *HOURS, "--price", price).code == 0
    provider.undo()
    bought = told("buy", "2", CLASS, *HOURS, "--price", price, "--tif", "ioc")
    provider.setenv("HOURBOOK_PROFILE", "var/sandbox/host-b.json")
    sold = [leg["order"]["filled"] for leg in bought["legs"]]
    assert sold == [2, 2, 2], bought
    assert of_class() == [(8, 2, 3)] * 3
    assert "to offer still" in typed("capacity").out

    less = typed("capacity", "withdraw", *SPAN, "--keep", "1")

    assert of_class() == [(1, 2, 0)] * 3
    assert "sold is more than that in 3 hours (up to 2): what is owed stays owed" in less.out
