"""The judge of rentals, machines and minutes: what is as it should be passes, and each planted wrong is found out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.codec import RECORD_FORMAT, EventsRecord
from schemas.delivery import Delivered
from schemas.events import Filled, OrderAccepted, TitleEnded, TitleMove
from schemas.ids import contract_of, order_id
from schemas.leases import LaunchPut, LeaseEnded, LeaseServes, Served, TitleCounted
from schemas.rentals_log import RentalChanged, RentalMade, RentalStopped, Terms
from tests.chaos.receipts import Receipt, Receipts
from tests.chaos.rooms import in_force, judge_launches, judge_rentals, judge_seats, judge_titles
from tests.chaos.verdict import Verdict
from tests.simulation.heard import Heard

CARL, ANA, BERT = 11, 21, 22
HOUR = contract_of(1, 500_000)


def sentences(verdict: Verdict) -> list[str]:
    return [sentence.split(":")[0] for sentence in verdict.sentences]


# --- Seats --------------------------------------------------------------------------------------------------------


def serves(lease: int = 1, holder: int = ANA, **more: Any) -> LeaseServes:
    said = {
        "epoch": 1, "time_ms": 0, "lease": lease, "holder": holder, "provider": CARL, "machine": "a", "seats": (0,),
        "contract": HOUR, "titles": (Served(lease, 1),), "from_ms": 100, "until_ms": 200,
    }  # fmt: skip
    return LeaseServes(**said | more)


def seats(*records: Any) -> list[str]:
    judge_seats(verdict := Verdict(), in_force(records))
    return sentences(verdict)


def test_one_tenant_after_the_other_is_no_wrong() -> None:
    """Also where one goes on, has another seat or machine, or was put out before his time."""
    assert seats(serves(1), serves(2, BERT, from_ms=200, until_ms=300)) == []
    assert seats(serves(1), serves(1, from_ms=200, until_ms=300), serves(2, BERT, seats=(1,))) == []
    assert seats(serves(1), serves(2, BERT, machine="b"), serves(3, BERT, provider=CARL + 1)) == []
    assert seats(serves(1), LeaseEnded(1, 150, 1), serves(2, BERT, from_ms=150)) == []


def test_what_a_room_wrote_that_was_over_counts_for_nobody() -> None:
    assert seats(serves(1, epoch=2), serves(2, BERT, epoch=1)) == []


@pytest.mark.parametrize(
    "records",
    [
        pytest.param((serves(1), serves(2, BERT)), id="at once"),
        pytest.param((serves(2, BERT, from_ms=150), serves(1)), id="the second half"),
        pytest.param((serves(1, seats=(0, 1)), serves(2, BERT, seats=(1, 2))), id="one of two seats"),
        pytest.param((serves(1), LeaseEnded(1, 150, 1), serves(2, BERT, from_ms=140)), id="a moment too soon"),
        pytest.param(
            (serves(1, until_ms=400), serves(2, ANA, from_ms=400, until_ms=500), serves(3, BERT, from_ms=300, until_ms=310)),
            id="in the middle of a long one",
        ),
    ],
)  # fmt: skip
def test_two_tenants_on_one_seat_are_found_out(records: tuple[Any, ...]) -> None:
    assert seats(*records) == ["doubled"]


# --- Minutes ------------------------------------------------------------------------------------------------------

TITLE = TitleEnded(HOUR, 7, CARL, ANA, 1, 1, 60, 1, 1, 1)
COUNTED = TitleCounted(1, 200, HOUR, 7, 50, 4, 6)
TOLD = Delivered(HOUR, 7, 6, "login checks", f"delivery-{HOUR}-7", 4)


def titles(*records: Any) -> list[str]:
    verdict = Verdict()
    told = [record for record in records if isinstance(record, Delivered)]
    leases = [record for record in records if not isinstance(record, Delivered)]
    judge_titles(verdict, {(HOUR, 7): TITLE}, in_force(leases), told)
    return sentences(verdict)


def test_a_title_that_is_counted_once_and_told_passes() -> None:
    """Told again after a crash, it is told the same; and what is said of others is no matter."""
    assert titles(COUNTED, TOLD) == []
    assert titles(COUNTED, TOLD, TOLD) == []
    assert titles(COUNTED, TOLD, Delivered(HOUR, 8, 60, "login checks", "another")) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        pytest.param((), "lost", id="not counted"),
        pytest.param((COUNTED,), "lost", id="counted and not told"),
        pytest.param((COUNTED, COUNTED, TOLD), "doubled", id="counted twice"),
        pytest.param(
            (COUNTED, msgspec.structs.replace(COUNTED, epoch=2, delivered=49, undelivered=7), TOLD),
            "doubled",
            id="counted by two rooms",
        ),
        pytest.param(
            (COUNTED, TOLD, msgspec.structs.replace(TOLD, undelivered=5)), "TitleCounted(epoch", id="told otherwise later"
        ),
        pytest.param(
            (msgspec.structs.replace(COUNTED, delivered=49), TOLD), "TitleCounted(epoch", id="a minute is missing"
        ),
    ],
)  # fmt: skip
def test_a_title_that_is_not_counted_once_and_told_so_is_found_out(records: tuple[Any, ...], found: str) -> None:
    assert [each[: len(found)] for each in titles(*records)] == [found]


def test_a_launch_specification_that_was_acknowledged_and_is_nowhere_is_found_out() -> None:
    receipts = Receipts()
    receipts.all.append(Receipt(ANA, "launch", "default", {"start_script": "# 1"}, sent=1, answers=[{}]))
    judge_launches(there := Verdict(), [LaunchPut(1, 0, ANA, "default", (), "", "# 1")], receipts)
    judge_launches(nowhere := Verdict(), [LaunchPut(1, 0, BERT, "default", (), "", "# 1")], receipts)
    assert (sentences(there), sentences(nowhere)) == ([], ["lost"])


# --- Rentals ------------------------------------------------------------------------------------------------------

TERMS = Terms(("CPU",), 1, 100_000, 0, 500_000, 0, 2, "sell", "default", "")
MADE = RentalMade(1, 0, 1, ANA, "a", TERMS)
STOPPED = RentalStopped(1, 0, 1, "sell")


def receipt(what: str = "rental", name: str = "a", **fields: Any) -> Receipt:
    return Receipt(ANA, what, name, {"look_ahead": 3}, sent=1, **fields)


def told(**more: Any) -> dict[str, Any]:
    return {"answers": [{"rental": "1"}], **more}


def bought(*numbers: int, qty: int = 1) -> Heard:
    """Orders of rental 1 for the same hour, filled at once."""
    heard = Heard()
    for seq, number in enumerate(numbers, start=1):
        order = order_id(0, seq, 0)
        move = TitleMove(0, seq, 1, qty, 1, 1, 0)
        events = [
            OrderAccepted(0, order, ANA, HOUR, 1, qty, 50_000, 1, 0, f"r1-{number}", 0, 0),
            Filled(seq, HOUR, 50_000, qty, 60, 1, 99, order, 0, 0, ANA, CARL, 50_000 * qty, 0, 0, (move,)),
        ]
        heard.hear(EventsRecord(RECORD_FORMAT, 0, seq, seq, 0, True, 1_000, 1 << 40, 5, events))
    return heard


def rentals(records: tuple[Any, ...], *receipts: Receipt, heard: Heard | None = None) -> list[str]:
    kept, verdict = Receipts(), Verdict()
    kept.all += receipts
    judge_rentals(verdict, in_force(records), kept, heard or Heard())
    return sentences(verdict)


def test_a_rental_as_it_was_told_passes() -> None:
    """In doubt and refused it may be there or not; of a change that was in doubt a copy may come after the next one."""
    changed = RentalChanged(1, 0, 1, msgspec.structs.replace(TERMS, look_ahead=3))
    assert rentals((MADE, changed, STOPPED), receipt(**told()), receipt("change", "1", **told()), heard=bought(0)) == []
    assert rentals((MADE, STOPPED), receipt(**told()), receipt("stop", "1", **told())) == []
    assert rentals((MADE,), receipt(doubts=1, refusal="too_many_rentals")) == []
    assert rentals((), receipt(doubts=1, refusal="too_many_rentals")) == []
    late = Receipt(ANA, "change", "1", {"look_ahead": 2}, sent=2, doubts=1, **told())
    assert rentals((MADE,), late, receipt("change", "1", **told())) == []


@pytest.mark.parametrize(
    ("records", "one", "found"),
    [
        pytest.param((), receipt(**told()), "lost", id="acknowledged and nowhere"),
        pytest.param(
            (msgspec.structs.replace(MADE, rental=2),), receipt(**told()), "lost", id="acknowledged as another one"
        ),
        pytest.param(
            (MADE, msgspec.structs.replace(MADE, rental=2)), receipt(**told()), "doubled", id="made twice under one key"
        ),
        pytest.param((), receipt(doubts=2), "rental a of 21 was never answered, sent 1 times", id="never answered"),
        pytest.param((MADE,), receipt(refusal="x"), "rental a of 21 was refused (x) and is there", id="refused and there"),
        pytest.param((MADE,), receipt("stop", "1", **told()), "lost", id="a stop that was none"),
        pytest.param((MADE, STOPPED, STOPPED), receipt("stop", "1", **told()), "doubled", id="stopped twice"),
        pytest.param((MADE,), receipt("change", "1", **told()), "lost", id="a change that was none"),
    ],
)  # fmt: skip
def test_a_rental_that_is_not_as_it_was_told_is_found_out(records: tuple[Any, ...], one: Receipt, found: str) -> None:
    assert rentals(records, one) == [found]


def test_an_hour_that_was_bought_twice_for_a_rental_is_found_out() -> None:
    assert rentals((MADE,), heard=bought(0)) == []
    assert rentals((MADE,), heard=bought(0, 1)) == ["doubled"]
    assert rentals((MADE,), heard=bought(0, qty=2)) == ["doubled"]
