"""A judge that lets everything pass proves nothing: each kind of wrong receipt is found out."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.codec import RECORD_FORMAT, EventsRecord
from schemas.events import Event, OrderAccepted, OrderAmended, OrderCancelled, QuotesPut, Reason
from schemas.ids import contract_of, format_order, order_id
from tests.chaos.judge import _Receipts
from tests.chaos.receipts import Receipt, Receipts
from tests.chaos.verdict import Verdict
from tests.simulation.heard import Heard

ANA = 7
HOUR = contract_of(1, 500_000)
ORDER = order_id(0, 3, 0)
AGAIN = order_id(0, 4, 0)


def accepted(order: int = ORDER, name: str = "a-1", qty: int = 2) -> OrderAccepted:
    return OrderAccepted(0, order, ANA, HOUR, 1, qty, 3_000_000, 1, 0, name, 0, 0)


def told(order: int = ORDER, qty: int = 2, fills: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"order_id": format_order(order), "qty": qty, "repeated": False, "fills": list(fills)}


def judged(log: dict[int, list[Event]], *receipts: Receipt) -> list[str]:
    """`log`: offset in `commands` → what was said to it."""
    heard, kept, verdict = Heard(), Receipts(), Verdict()
    for seq, (offset, events) in enumerate(log.items(), start=1):
        heard.hear(EventsRecord(RECORD_FORMAT, 0, seq, offset, 0, True, 1_000, 1 << 40, 5, events))
    kept.all += receipts
    _Receipts(verdict, heard, kept).judge()
    return [sentence.split(":")[0] for sentence in verdict.sentences]


def receipt(what: str = "order", name: str = "a-1", **fields: Any) -> Receipt:
    return Receipt(ANA, what, name, {}, sent=1, **fields)


def test_what_was_told_as_it_is_passes() -> None:
    """Acknowledged and there; refused and not there; in doubt, refused, and there once."""
    assert judged({3: [accepted()]}, receipt(answers=[told()])) == []
    assert judged({}, receipt(refusal="insufficient_funds")) == []
    assert judged({3: [accepted()]}, receipt(doubts=1, refusal="too_late")) == []


@pytest.mark.parametrize(
    ("log", "one", "verdict"),
    [
        pytest.param({}, receipt(answers=[told()]), "lost", id="acknowledged and nowhere"),
        pytest.param({4: [accepted(AGAIN)]}, receipt(answers=[told()]), "lost", id="acknowledged as another one"),
        pytest.param({3: [accepted(qty=1)]}, receipt(answers=[told()]), "lost", id="acknowledged with other terms"),
        pytest.param(
            {3: [accepted()], 4: [accepted(AGAIN)]}, receipt(doubts=1, refusal="too_late"), "doubled", id="there twice"
        ),
        pytest.param(
            {3: [accepted()]},
            receipt(refusal="too_late"),
            "order a-1 of 7 was refused (too_late) and is in the log",
            id="refused and there",
        ),
        pytest.param(
            {3: [accepted()]}, receipt(doubts=3), "order a-1 of 7 was never answered, sent 1 times", id="never answered"
        ),
        pytest.param(
            {3: [accepted()]}, receipt("repeat", answers=[told(AGAIN)]), "doubled", id="a repeat that was another order"
        ),
        pytest.param(
            {3: [accepted()]},
            receipt("cancel", format_order(ORDER), answers=[{"cancelled": 2}]),
            "lost",
            id="a cancel that was none",
        ),
        pytest.param(
            {3: [accepted()], 5: [OrderCancelled(ORDER, ANA, HOUR, 1, Reason.ASKED)]},
            receipt("cancel", format_order(ORDER), answers=[{"cancelled": 2}]),
            "lost",
            id="a cancel of another quantity",
        ),
        pytest.param(
            {3: [accepted()]},
            receipt("amend", format_order(ORDER), answers=[{"qty": 1, "price": "3.00"}]),
            "lost",
            id="an amend that was none",
        ),
        pytest.param(
            {
                3: [accepted()],
                5: [OrderAmended(0, ANA, ORDER, 1, 3_000_000, True)],
                6: [OrderAmended(0, ANA, ORDER, 1, 3_000_000, True)],
            },
            receipt("amend", format_order(ORDER), answers=[{"qty": 1, "price": "3.00"}]),
            "doubled",
            id="an amend twice",
        ),
        pytest.param({}, receipt("quotes", "4", answers=[{"number": 4}]), "lost", id="a quote that was none"),
        pytest.param(
            {5: [QuotesPut(0, ANA, 1, 4, ())], 6: [QuotesPut(0, ANA, 1, 4, ())]},
            receipt("quotes", "4", answers=[{"number": 4}]),
            "doubled",
            id="a quote twice",
        ),
    ],
)
def test_what_was_told_otherwise_is_found_out(log: dict[int, list[Event]], one: Receipt, verdict: str) -> None:
    assert verdict in judged(log, one)


def test_a_fill_that_was_told_and_is_not_there_is_found_out() -> None:
    fill = {"trade": "0-1", "qty": 1, "price": "3.00", "fee": "0.00"}
    assert judged({3: [accepted()]}, receipt(answers=[told(fills=(fill,))])) == ["lost"]
